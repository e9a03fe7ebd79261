"""What a student can be asked to write: for every equation a function, problems for it, and the right answer.

>>> print(EXERCISES["sPC.4"])                               # doctest: +ELLIPSIS
(sPC.4)  activity_gradient(net, params, s, y, precision)
<BLANKLINE>
dE/ds[l] of the free layers l = 1..L-1: a list of L arrays (B, n[l]), entry 0 None...
"""

from . import in_approximation, in_blocks, in_diagonal, in_space, in_time, in_tpc, in_training, in_variants
from .register import EXERCISES, Draw, Exercise, exercise, twin

_ROOMS = (in_space, in_blocks, in_variants, in_training, in_time, in_diagonal, in_approximation, in_tpc)
_ORDER = [room.__name__ for room in _ROOMS]  # that of a course; imports are sorted by their names
_SORTED = sorted(EXERCISES.items(), key=lambda item: _ORDER.index(item[1].answer.__module__))
EXERCISES.clear()
EXERCISES.update(_SORTED)

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
