"""Convergence of the inference of temporal predictive coding: every step of every sequence is a sample of its own.

Inference in a step of time is that of sPC or ePC on the chain "prediction, blocks above" (:mod:`minipc.timestep`), so the
report is that of :mod:`.convergence`; what is new is where the predictions come from.
"""

import numpy as np

from .. import epc, spc
from ..arguments import check_count, check_positive_number, check_word
from ..inference import check_options
from ..recurrent import flat_time, prepare_sequences
from ..timestep import Timestep
from ..trajectory import CARRIES, walk
from .convergence import WORDS, Convergence, examine, told

ENGINES = {"spc": spc, "epc": epc}


def convergence_in_time(
    net,
    params,
    inputs,
    targets,
    h0=None,
    *,
    inference="spc",
    carry="state",
    beta=1.0,
    inference_steps,
    step_size,
    tolerance=1e-6,
    precision=None,
    modes=None,
) -> Convergence:
    """How fast the inference of tPC converges in every step of time, and how fast it should, Eqs. (CHK.9)-(CHK.12).

    Parameters
    ----------
    net, params, inputs (T, B, ...), targets (T, B, o), h0
        as in :func:`minipc.tpc.gradient`; the last cell has real states
    inference : "spc" or "epc"
    carry, beta, precision            as in :func:`minipc.tpc.gradient`; inference starts at the prediction
    inference_steps, step_size, tolerance, modes
        as in :func:`minipc.check.convergence`; the step is that of F_t, "adaptive" for epc

    Returns
    -------
    Convergence
        In the place of B samples T B of them, sequence by sequence within a step; ``names`` says which. Steps and eigenvalues
        are those of F_t, residuals and the tolerance those of F_t/beta, as in tPC.

    Raises
    ------
    ValueError, TypeError             as :func:`minipc.tpc.gradient`; a cell with complex states
    FloatingPointError                the trajectory leaves the finite numbers

    Notes
    -----
    Cost: that of tPC without its gradients, and of :func:`minipc.check.convergence` for T B samples.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity"), pc.Dense(1, 1)])
    >>> params = net.init(seed=0)
    >>> params[1]["W"][...] = 2.0                    # the energy of a step has the one eigenvalue 1 + 2 * 2
    >>> x, y = np.ones((3, 1, 1)), np.zeros((3, 1, 1))
    >>> c = convergence_in_time(net, params, x, y, inference_steps=40, step_size=0.1)
    >>> c.names, c.bracket
    (['step 0, sample 0', 'step 1, sample 0', 'step 2, sample 0'], array([0.4, 0.4, 0.4]))
    """
    check_word("inference", inference, ENGINES)
    check_word("carry", carry, CARRIES)
    words = tuple(word for word in WORDS[inference] if word == "adaptive")
    check_options(inference_steps, step_size, 1.0, 0, words=words)
    check_positive_number("tolerance", tolerance)
    if modes is not None:
        check_count("modes", modes, least=1)
    p = prepare_sequences(net, params, inputs, targets, None, h0, None)
    options = {
        "inference": inference,
        "beta": beta,
        "inference_steps": inference_steps,
        "step_size": step_size,
    }
    step = Timestep(net, params, precision, **options, tolerance=None, start="prediction")
    if step.complex:
        raise ValueError(f"the last cell must have real states, got {step.cell!r}")
    T, B = p.targets.shape[:2]
    with np.errstate(all="ignore"):  # an inference that diverges is said to do so by the walk
        (path,) = walk(net, params, p, step, carry, T)
    mu, y = flat_time(path.mu), flat_time(p.targets)
    found = examine(
        ENGINES[inference],
        step.net,
        step.params,
        mu,
        y,
        step.Pi,
        inference_steps,
        step.step_size,
        tolerance,
        modes,
    )
    names = [f"step {t}, sample {b}" for t in range(T) for b in range(B)]
    return told(_of_the_energy(found, float(beta))._replace(names=names))


def _of_the_energy(c, beta):
    """Steps and eigenvalues of F in the place of those of F/beta."""
    return c._replace(
        step_size=c.step_size / beta,
        bracket=c.bracket / beta,
        best_step=c.best_step / beta,
        eigenvalues=c.eigenvalues * beta,
        error=c.error * beta,
    )
