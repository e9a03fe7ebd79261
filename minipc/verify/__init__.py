"""The proof table: every claim on fresh random problems, against an oracle that shares no code with the engine.

This is the one package that imports ``reference/`` (and with it HIPS autograd), and only the command
``python -m minipc verify`` imports it. A trial returns two numbers: how far the engine is from the oracle,
and how far a *wrong* version of the same thing is, the negative control. A claim holds if the first is within
the tolerance in every trial and the second is above it, and above 1e-3, in every trial: a check that could not
fail proves nothing. Counts (claims about signs, order and brackets) are numbers of violations. Where a claim is
about a rate, ``worst`` is the relative deviation of the ratio over a decade from 10, or from 100.

``setting`` has what all claims use, ``runner`` runs them, and the claims stand by topic: ``gradients``,
``coordinates`` (sPC and ePC), ``linear_nets``, ``travel`` (of the error), ``exact_backprop`` (and what is none),
``learning``, ``examples``, ``conventions``; in time ``through_time`` (BPTT), ``influences`` (RTRL),
``diagonal_cells``, ``stacks``, ``approximate`` (of RTRL), ``local_credit`` (e-prop, DNI), ``temporal_pc`` (tPC and
tPC-RTRL), ``kalman``,
``public_code`` (its mistakes).
"""

from . import (  # noqa: F401  they register their claims
    approximate,
    conventions,
    coordinates,
    diagonal_cells,
    exact_backprop,
    examples,
    gradients,
    influences,
    kalman,
    learning,
    linear_nets,
    local_credit,
    public_code,
    stacks,
    temporal_pc,
    through_time,
    travel,
)
from .runner import CONTROL, verify
from .setting import CLAIMS, Claim, claim, network, oracle

__all__ = ["CLAIMS", "CONTROL", "Claim", "claim", "network", "oracle", "verify"]
