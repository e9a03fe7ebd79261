"""Running the claims: fresh random problems, one row a claim."""

import warnings
import zlib

import numpy as np

from ..arguments import check_count
from .setting import CLAIMS

CONTROL = 1e-3


def verify(only=None, trials=None, seed=0, on_row=None):
    """Run the claims and return the table.

    Parameters
    ----------
    only : list of str, optional     ids, e.g. ["S02", "S06"]
    trials : int, optional           the same number for every claim; None takes each claim's own
    seed : int                       every claim draws from its own generator, made of the seed and its id
    on_row : callable, optional      called with each row as it is ready

    Returns
    -------
    list of dicts                    id, equations, claim, oracle, trials, worst, tolerance, control, holds

    Raises
    ------
    ValueError                       for an unknown id, or trials below 1
    """
    if isinstance(only, str):
        raise TypeError(f"only must be a list of ids, got {only!r}")
    if only is not None and not only:
        raise ValueError("only must name at least one claim, got an empty list")
    unknown = sorted(set(only or ()) - set(CLAIMS))
    if unknown:
        raise ValueError(f"unknown claim {', '.join(unknown)}; there are {', '.join(sorted(CLAIMS))}")
    if trials is not None:
        check_count("trials", trials, least=1)
    check_count("seed", seed, least=0)
    rows = []
    for id in sorted(only or CLAIMS):
        c = CLAIMS[id]
        rng = np.random.default_rng([seed, zlib.crc32(id.encode())])
        results = []
        with warnings.catch_warnings():
            # what some claims are about; and what does not settle shows in its numbers
            warnings.filterwarnings("ignore", message=".* inference (diverged|did not converge)")
            for _ in range(trials or c.trials):
                results.append(c.trial(rng))
        worst, control = (
            float(np.max([r[0] for r in results])),
            float(np.min([r[1] for r in results])),
        )  # NaN stays
        holds = bool(worst <= c.tolerance and control > max(CONTROL, c.tolerance))
        row = {
            "id": id,
            "equations": c.equations,
            "claim": c.claim,
            "oracle": c.oracle,
            "trials": len(results),
            "worst": worst,
            "tolerance": float(c.tolerance),
            "control": control,
            "holds": holds,
        }
        rows.append(row)
        if on_row:
            on_row(row)
    return rows
