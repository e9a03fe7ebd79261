"""What a student can be asked to write: for every equation a function, problems for it, and the right answer.

>>> print(EXERCISES["sPC.4"])                               # doctest: +ELLIPSIS
(sPC.4)  activity_gradient(net, params, s, y, precision)
<BLANKLINE>
dE/ds[l] of the free layers l = 1..L-1: a list of L arrays (B, n[l]), entry 0 None...
"""

from . import in_approximation, in_blocks, in_diagonal, in_space, in_time, in_tpc, in_training, in_variants
from .register import EXERCISES, Draw, Exercise, exercise, twin

__all__ = [
    "EXERCISES",
    "Draw",
    "Exercise",
    "exercise",
    "in_approximation",
    "in_blocks",
    "in_diagonal",
    "in_space",
    "in_time",
    "in_tpc",
    "in_training",
    "in_variants",
    "twin",
]
