r"""Schedules: the learning rate as a function of the number of updates done before.

=========  ==========================================================================================
(WARM.1)   :math:`\eta_t = \eta_\text{peak}\, (t + 1) / w` for :math:`t < w`
(COS.1)    :math:`\eta_t = \eta_\text{final} + \frac12 (\eta_\text{peak} - \eta_\text{final})
           (1 + \cos(\pi (t - w) / (N - w)))` for :math:`w \le t \le N`, then :math:`\eta_\text{final}`
(STEP.1)   :math:`\eta_t = \eta_\text{start}\, f^{\lfloor (t - w) / k \rfloor}` for :math:`t \ge w`
=========  ==========================================================================================

The first update has t = 0. A schedule stands where an optimiser takes a learning rate, ``Adam(Cosine(1e-3, 1000))``;
so does any other function of t. It counts updates, not epochs: an epoch of N samples has ``ceil(N / batch_size)``.
"""

import math
from dataclasses import dataclass

from .arguments import check_count, check_number_between, check_positive_number


@dataclass(frozen=True)
class WarmUp:
    """A rate that rises along a line, then stays, Eq. (WARM.1).

    Parameters
    ----------
    peak : float       learning rate from the last update of the warm-up on, positive
    warm_up : int      its number of updates w, at least 1

    Notes
    -----
    The first update has the rate peak / w, not 0: an update of size zero would be a gradient thrown away.
    Source: Goyal et al. (2017), arXiv 1706.02677.

    Examples
    --------
    >>> rate = WarmUp(0.1, warm_up=4)
    >>> [round(rate(t), 4) for t in range(6)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    """

    peak: float
    warm_up: int

    def __post_init__(self):
        check_positive_number("peak", self.peak)
        check_count("warm_up", self.warm_up, least=1)

    def __call__(self, t):
        """The learning rate after ``t`` updates."""
        peak, w = float(self.peak), int(self.warm_up)
        return peak * min((t + 1) / w, 1.0)  # (WARM.1)


@dataclass(frozen=True)
class Cosine:
    """Half a period of a cosine from the peak to the final rate, Eq. (COS.1), after a warm-up, Eq. (WARM.1).

    Parameters
    ----------
    peak : float       largest learning rate, positive
    steps : int        number of updates until the final rate, the warm-up among them
    warm_up : int      the first so many of them rise along a line to the peak; below ``steps``
    final : float      learning rate from update ``steps`` on, between 0 and the peak

    Notes
    -----
    Source: Loshchilov & Hutter (2017), arXiv 1608.03983, without their restarts.

    Examples
    --------
    >>> rate = Cosine(0.1, 10, warm_up=2)
    >>> [round(rate(t), 4) for t in (0, 1, 2, 6, 10, 99)]
    [0.05, 0.1, 0.1, 0.05, 0.0, 0.0]
    """

    peak: float
    steps: int
    warm_up: int = 0
    final: float = 0.0

    def __post_init__(self):
        check_positive_number("peak", self.peak)
        check_count("steps", self.steps, least=1)
        check_count("warm_up", self.warm_up, least=0)
        if self.warm_up >= self.steps:
            raise ValueError(f"warm_up must be below steps = {self.steps}, got {self.warm_up}")
        check_number_between("final", self.final, 0, self.peak)

    def __call__(self, t):
        """The learning rate after ``t`` updates."""
        peak, final, N, w = float(self.peak), float(self.final), int(self.steps), int(self.warm_up)
        if t < w:
            return WarmUp(peak, w)(t)
        done = min((t - w) / (N - w), 1.0)
        return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * done))  # (COS.1)


@dataclass(frozen=True)
class StepDecay:
    """A rate that falls by a factor every so many updates, Eq. (STEP.1), after a warm-up, Eq. (WARM.1).

    Parameters
    ----------
    start : float      learning rate at the end of the warm-up, positive
    factor : float     what the rate is multiplied by, between 0 and 1
    every : int        after so many updates, at least 1; counted from the end of the warm-up
    warm_up : int      so many updates rise along a line to ``start``

    Examples
    --------
    >>> rate = StepDecay(0.1, factor=0.5, every=3)
    >>> [rate(t) for t in range(7)]
    [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]
    """

    start: float
    factor: float
    every: int
    warm_up: int = 0

    def __post_init__(self):
        check_positive_number("start", self.start)
        check_positive_number("factor", self.factor)
        check_number_between("factor", self.factor, 0, 1)
        check_count("every", self.every, least=1)
        check_count("warm_up", self.warm_up, least=0)

    def __call__(self, t):
        """The learning rate after ``t`` updates."""
        start, f, k, w = float(self.start), float(self.factor), int(self.every), int(self.warm_up)
        if t < w:
            return WarmUp(start, w)(t)
        return start * f ** ((t - w) // k)  # (STEP.1)
