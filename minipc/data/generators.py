r"""Made tasks: two moons, adding, delayed parity, copying, and Bogacz's example with one unknown.

=========  ==========================================================================================
(MOON.1)   :math:`(\cos a, \sin a)` and :math:`(1 - \cos a, \tfrac12 - \sin a)`, :math:`0 \le a \le \pi`
(ADD.1)    :math:`y = \sum_t m_t u_t`, marks :math:`m_t` 0 or 1, two of them, one in each half
(PAR.1)    :math:`y_t = x_{t-d} \oplus x_{t-d-1}`, defined from :math:`t = d + 1` on
(COPY.1)   :math:`y_t = x_{t-D-d}` on the last D of :math:`T = 2D + d` steps
(BOG.1)    :math:`p(s) = \exp(-E(s))/Z` with :math:`E = \tfrac12 (s-3)^2 + \tfrac12 (2-s^2)^2`, and its mode
=========  ==========================================================================================

Time counts from 0. Every function draws from ``seed`` alone, in float64, and rounds to ``dtype`` at the end: the
same seed gives the same samples in both precisions. What a predictor that ignores the input can reach is stated;
a rule that does not get below it has learned nothing. Derivations: reference/equations.md, section 12.
"""

from typing import NamedTuple

import numpy as np

from ..arguments import check_count, check_number_between, float_dtype, generator
from .containers import Points, Sequences


def two_moons(*, samples=200, noise=0.1, seed=0, dtype="float64") -> Points:
    r"""Two interleaved half circles, Eq. (MOON.1), two classes that no straight line separates.

    Class 0 is the upper half of the unit circle around (0, 0), class 1 the lower half of the one around (1, 1/2), the
    curves of scikit-learn's ``make_moons``. The angles of each class are evenly spaced from 0 to pi, both ends
    included; the order of the samples is random.

    Parameters
    ----------
    samples : int                       N, at least 2; half of them, rounded down, are of class 0
    noise : float                       standard deviation of the normal noise on both coordinates
    seed : int or numpy.random.Generator
    dtype : "float32" or "float64"

    Returns
    -------
    Points                              x (N, 2), y (N,) int64, 0 or 1

    Raises
    ------
    ValueError, TypeError               samples below 2; noise negative, not finite or no number; seed; dtype

    Examples
    --------
    >>> moons = two_moons(samples=4, noise=0.0)
    >>> sorted(moons.x[moons.y == 0].round(3).tolist())  # the two ends of the upper half circle
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    check_count("samples", samples, least=2)
    check_number_between("noise", noise, 0)
    dtype, rng = float_dtype(dtype), generator(seed)
    upper = np.linspace(0, np.pi, samples // 2)
    lower = np.linspace(0, np.pi, samples - samples // 2)
    curves = [
        np.stack([np.cos(upper), np.sin(upper)], axis=1),  # (MOON.1)
        np.stack([1 - np.cos(lower), 0.5 - np.sin(lower)], axis=1),  # (MOON.1)
    ]
    y = np.repeat([0, 1], [len(upper), len(lower)])
    order = rng.permutation(samples)
    x = np.concatenate(curves)[order] + noise * rng.normal(size=(samples, 2))
    return Points(x.astype(dtype), y[order].astype(np.int64))


def adding(*, T=50, samples=1000, seed=0, dtype="float64") -> Sequences:
    r"""The adding problem, Eq. (ADD.1): remember two marked numbers and give their sum at the end.

    Channel 0 holds numbers, uniform in [0, 1); channel 1 marks two of them by a one, the first somewhere in the steps
    0..T//2-1, the second in T//2..T-1. The target counts at the last step alone and is 0 before.

    Parameters
    ----------
    T : int                             steps, at least 2
    samples : int                       B
    seed : int or numpy.random.Generator
    dtype : "float32" or "float64"

    Returns
    -------
    Sequences                           inputs (T, B, 2), targets (T, B, 1), mask (T, B), True at the last step

    Raises
    ------
    ValueError, TypeError               T below 2, samples below 1; seed; dtype

    Notes
    -----
    Baseline: the best constant, 1, has the mean squared error 1/6, the variance of the sum of two uniform numbers
    (``loss="mse"`` has the factor 1/2: 1/12). One number remembered and the other guessed: 1/12.

    Source: Hochreiter & Schmidhuber (1997), Neural Computation 9(8), experiment 4, in the form of Arjovsky, Shah
    & Bengio (2016). The original has numbers in [-1, 1], lengths between T and 1.1 T, marks -1 at both
    ends, both marked numbers in the first half, and the target 1/2 + (sum)/4.

    Examples
    --------
    >>> task = adding(T=6, samples=1)
    >>> values, marks = task.inputs[:, 0].T
    >>> bool(task.targets[-1, 0, 0] == values[marks == 1].sum())
    True
    """
    check_count("T", T, least=2)
    check_count("samples", samples, least=1)
    dtype, rng = float_dtype(dtype), generator(seed)
    values, marks, b = rng.uniform(size=(T, samples)), np.zeros((T, samples)), np.arange(samples)
    marks[rng.integers(0, T // 2, samples), b] = 1
    marks[rng.integers(T // 2, T, samples), b] = 1
    values = values.astype(dtype)  # before the sum, so that it is the sum of the numbers shown
    targets, mask = np.zeros((T, samples, 1), dtype), np.zeros((T, samples), bool)
    targets[-1, :, 0] = (marks * values).sum(axis=0)  # (ADD.1)
    mask[-1] = True
    return Sequences(np.stack([values, marks.astype(dtype)], axis=2), targets, mask)


def delayed_parity(*, T=100, delay=5, samples=100, seed=0, dtype="float64") -> Sequences:
    r"""Parity of two neighbouring bits of the past, Eq. (PAR.1): ``y[t] = x[t - delay] xor x[t - delay - 1]``.

    Parameters
    ----------
    T : int                             steps, at least delay + 2
    delay : int                         d, at least 0
    samples : int                       B
    seed : int or numpy.random.Generator
    dtype : "float32" or "float64"      of the inputs

    Returns
    -------
    Sequences                           inputs (T, B, 1), 0 or 1, fair and independent; targets (T, B) int64 classes
                                        0 and 1; mask (T, B), False at the steps 0..delay (their target is 0)

    Raises
    ------
    ValueError, TypeError               T below delay + 2, delay below 0, samples below 1; seed; dtype

    Notes
    -----
    Baseline: without both bits both classes are equally likely, cross-entropy log 2 = 0.693; one of the two bits
    alone says nothing, nor does any weighted sum of them decide it: memory and a nonlinearity are both needed.

    Examples
    --------
    >>> task = delayed_parity(T=8, delay=2, samples=1, seed=1)
    >>> task.inputs[:, 0, 0].astype(int)
    array([0, 1, 1, 1, 0, 0, 1, 1])
    >>> task.targets[:, 0]
    array([0, 0, 0, 1, 0, 0, 1, 0])
    """
    check_count("delay", delay, least=0)
    check_count("T", T, least=delay + 2)
    check_count("samples", samples, least=1)
    dtype, rng = float_dtype(dtype), generator(seed)
    x = rng.integers(0, 2, (T, samples))
    targets, mask = np.zeros((T, samples), np.int64), np.zeros((T, samples), bool)
    targets[delay + 1 :] = x[1 : T - delay] ^ x[: T - delay - 1]  # (PAR.1)
    mask[delay + 1 :] = True
    return Sequences(x[:, :, None].astype(dtype), targets, mask)


BLANK, GO = 0, 10  # symbols of the copy task besides the digits 1..9


def copy_task(*, digits=30, delay=10, samples=1000, seed=0) -> Sequences:
    r"""Show digits, wait, ask for them in the same order, Eq. (COPY.1).

    The symbols are 0 = blank, 1..9 = digits, 10 = go. With D digits and the delay d a sequence has T = 2 D + d steps:

    ================  ==============  ======================  ===========
    steps             inputs          targets                 mask
    ================  ==============  ======================  ===========
    0..D-1            the D digits    blank                   False
    D..D+d-2          blank           blank                   False
    D+d-1             go              blank                   False
    D+d..2D+d-1       blank           the D digits, in order  True
    ================  ==============  ======================  ===========

    Parameters
    ----------
    digits : int                        D, at least 1
    delay : int                         d, at least 1: the steps between the last digit and the first answer, go included
    samples : int                       B
    seed : int or numpy.random.Generator

    Returns
    -------
    Sequences                           inputs (T, B) int64, 11 symbols; targets (T, B) int64, 10 classes; mask (T, B)

    Raises
    ------
    ValueError, TypeError               digits, delay or samples below 1; seed

    Notes
    -----
    Baseline: without memory every digit is equally likely, cross-entropy log 9 = 2.197 on the steps that count,
    accuracy 1/9. One-hot inputs: ``numpy.eye(11)[inputs]``.

    Source: after Potter & Rhodes (2026), arXiv 2602.18131, 30 digits 1-9 and a delay of 10 steps. We know that
    description second-hand; blank, go and mask are our choice, in the manner of Arjovsky, Shah & Bengio (2016).

    Examples
    --------
    >>> task = copy_task(digits=3, delay=2, samples=1)
    >>> task.inputs[:, 0], task.targets[:, 0]
    (array([ 8,  6,  5,  0, 10,  0,  0,  0]), array([0, 0, 0, 0, 0, 8, 6, 5]))
    """
    check_count("digits", digits, least=1)
    check_count("delay", delay, least=1)
    check_count("samples", samples, least=1)
    rng, T, answer = generator(seed), 2 * digits + delay, digits + delay
    inputs, targets = np.full((2, T, samples), BLANK, np.int64)
    inputs[:digits] = rng.integers(1, 10, (digits, samples))
    inputs[answer - 1] = GO
    targets[answer:] = inputs[:digits]  # (COPY.1)
    mask = np.zeros((T, samples), bool)
    mask[answer:] = True
    return Sequences(inputs, targets, mask)


class Bogacz(NamedTuple):
    """One unknown s, its prior mean, its observation, and what is known exactly about it.

    Attributes
    ----------
    observation, prior : float          2 and 3, both with variance 1
    mode : float                        the s of highest posterior density
    s : (G,)                            grid from -5 to 5, step 0.01
    energy : (G,)                       E at the grid
    density : (G,)                      posterior density at the grid
    """

    observation: float
    prior: float
    mode: float
    s: np.ndarray
    energy: np.ndarray
    density: np.ndarray


def bogacz(*, dtype="float64") -> Bogacz:
    r"""Bogacz's example: a size s, prior N(3, 1), is seen as s^2 = 2 with noise N(0, 1), Eqs. (sPC.23), (BOG.1).

    Nothing is drawn. Predictive coding goes to the mode; ``density`` is the whole posterior that it stands for.
    The dynamics and their values are those of (sPC.23) and of claim S41 (``python -m minipc verify --only S41``).

    Parameters
    ----------
    dtype : "float32" or "float64"      of the arrays

    Returns
    -------
    Bogacz                              numbers, and arrays (1001,) on a grid

    Raises
    ------
    TypeError                           dtype

    Notes
    -----
    The grid reaches so far that the density is below 1e-16 at its ends; the sum over the grid is then exact to
    rounding, since the density is smooth. Negative s are part of the prior, and hold 0.26 % of the posterior.

    Source: Bogacz (2017), J. Math. Psychol. 76, where the grid is 0.01 to 5.

    Examples
    --------
    >>> example = bogacz()
    >>> round(example.mode, 5), float(example.s[example.density.argmax()])
    (1.56747, 1.57)
    """
    dtype = float_dtype(dtype)
    observation, prior = 2.0, 3.0
    s = np.arange(-500, 501) / 100
    energy = 0.5 * (s - prior) ** 2 + 0.5 * (observation - s**2) ** 2  # (BOG.1)
    density = np.exp(-energy) / (np.exp(-energy).sum() * 0.01)  # (BOG.1)
    mode = float(np.cbrt((3 + 7**0.5) / 4) + np.cbrt((3 - 7**0.5) / 4))  # (BOG.1)
    return Bogacz(observation, prior, mode, *(array.astype(dtype) for array in (s, energy, density)))
