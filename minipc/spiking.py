r"""Spiking cells: LIF and ALIF, leaky integrators that speak in spikes.

=========  ==========================================================================================
(EPROP.1)  LIF: :math:`v_t = \kappa v_{t-1} + W\,\mathrm{spike}_{t-1} + U u_t + b`, :math:`\mathrm{spike}_t = \Theta(x_t)`,
           :math:`x_t = v_t - v_{th}`, and :math:`\psi(x_t)` in the place of the derivative of :math:`\Theta`
(EPROP.2)  ALIF: :math:`x_t = v_t - v_{th} - \mathrm{bt}\,\mathrm{ad}_t`, :math:`\mathrm{ad}_t = \rho\,\mathrm{ad}_{t-1} + \mathrm{spike}_{t-1}`
=========  ==========================================================================================

The spike, 0 or 1, is what the next block sees; the state is ``[spike; v]`` (B, 2n), of an ALIF ``[spike; v; ad]`` (B, 3n).
Theta is a step, whose derivative is zero wherever there is one. In its place all rules put the surrogate

.. math:: \psi(x) = k\,\sigma(k x)(1 - \sigma(k x)), \qquad k \text{ the slope},

so **what BPTT and RTRL return for these cells is a surrogate gradient**, not the derivative of the loss. ``spike="smooth"``
puts sigma(k x), whose derivative psi is, in the place of the step: then they are exact, and the proofs rest on that.

Nothing resets v after a spike. A reset by subtraction is a self weight, W_ii = -v_th, and so W begins. That path belongs to
the recurrent weights, and e-prop (:mod:`minipc.eprop`) cuts it with them, as its authors do.
Source: Bellec et al. (2020), Nature Communications 11, 3625; surrogate gradients: Neftci, Mostafa & Zenke (2019), IEEE
Signal Processing Magazine 36(6).
"""

from dataclasses import dataclass

from .arguments import check_number_between, check_positive_number, check_share, check_word
from .backend import array_module
from .cells import GatedCell, Group, Local
from .functions import sigmoid

SPIKES = ("hard", "smooth")


class SpikingCell(GatedCell):
    """What LIF and ALIF share: one pre-activation a unit, which moves its potential and so its spike."""

    decays = ("kappa",)

    def _check(self):
        super()._check()
        for name in self.decays:
            check_share(f"{name} of {self._name}", getattr(self, name))
        check_positive_number(f"threshold of {self._name}", self.threshold)
        check_positive_number(f"slope of {self._name}", self.slope)
        check_word(f"spike of {self._name}", self.spike, SPIKES)

    def init_params(self, rng, dtype) -> dict:
        """As the other gated cells; W gets -v_th on its diagonal: it begins with a reset by subtraction."""
        p = super().init_params(rng, dtype)
        p["W"].reshape(-1)[:: self.n + 1] -= self.threshold
        return p

    def _fire(self, x):
        """The spike of x = v minus threshold: 0 or 1, or sigma(slope x); the numbers of x."""
        if self.spike == "smooth":
            return sigmoid(float(self.slope) * x)
        return (x.real > 0) + 0 * x  # (EPROP.1); a sum, so that NaN stays NaN

    def _surrogate(self, x):
        """psi, in the place of the derivative of the spike by x."""
        k = float(self.slope)
        r = sigmoid(k * x)
        return k * r * (1 - r)  # (EPROP.1)


@dataclass(frozen=True)
class LIF(SpikingCell):
    """Leaky integrate-and-fire cell, Eq. (EPROP.1), with recurrent weights.

    Parameters
    ----------
    n_in, n : int            m and n, widths of the input and of the spikes, positive
    kappa : float            decay of the potential in [0, 1), exp(-dt/tau)
    threshold : float        v_th, positive
    slope : float            k of the surrogate derivative, positive
    spike : str              "hard", 0 or 1; or "smooth", the antiderivative of the surrogate, for proofs
    init, gain               of W before its diagonal: "orthogonal" (default), "xavier", "kaiming" or "normal", times gain
    learn_h0 : bool          the initial state is a parameter ``h0 (2n,)`` that starts at zero; else it is zero or given

    Raises
    ------
    ValueError, TypeError    for a width that is no positive integer, a number out of range, an unknown word

    Notes
    -----
    Parameters ``W (n, n)``, ``U (n, m)``, ``b (n,)``; state ``[spike; v]``. Gradients with "hard" are surrogate gradients.
    Source: Bellec et al. (2020), Nature Communications 11, 3625.

    Examples
    --------
    >>> import numpy as np
    >>> cell = LIF(1, 1, kappa=0.5)
    >>> p = {"W": np.array([[-1.0]]), "U": np.array([[1.0]]), "b": np.zeros(1)}
    >>> cell.scan(p, np.zeros((1, 2)), np.full((4, 1, 1), 0.75))[0][:, 0]
    array([[0.     , 0.75   ],
           [1.     , 1.125  ],
           [0.     , 0.3125 ],
           [0.     , 0.90625]])
    """

    n_in: int
    n: int
    kappa: float = 0.9
    threshold: float = 1.0
    slope: float = 4.0
    spike: str = "hard"
    init: str = "orthogonal"
    gain: float = 1.0
    learn_h0: bool = False

    parts = 2

    def __post_init__(self):
        self._check()

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "LIF" if self.spike == "hard" else "LIF, smooth"

    def _advance(self, p, h, a_u):
        n, xp = self.n, array_module(h)
        v = float(self.kappa) * h[:, n:] + h[:, :n] @ p["W"].T + a_u  # (EPROP.1)
        x = v - float(self.threshold)
        return xp.concatenate([self._fire(x), v], axis=1), (x,)

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eq. (EPROP.1), with psi for that of the spike."""
        xp, (x,), kappa = array_module(tape.u), tape.kept, float(self.kappa)
        psi = self._surrogate(x)
        moved = xp.stack([psi, xp.ones_like(psi)], axis=2)  # of [spike; v] by a or v
        group = Group(("W", "U", "b"), moved[:, :, :, None], (tape.before[..., : self.n], tape.u))
        return Local((group,), (None, kappa * moved), None)


@dataclass(frozen=True)
class ALIF(SpikingCell):
    """Leaky integrate-and-fire cell with an adaptive threshold, Eq. (EPROP.2): each spike raises it for a while.

    Parameters
    ----------
    n_in, n, kappa, threshold, slope, spike, init, gain
        as in :class:`LIF`
    rho : float              decay of the adaptation in [0, 1)
    adaptation : float       bt, how much a spike raises the threshold; zero is a LIF
    learn_h0 : bool          the initial state is a parameter ``h0 (3n,)`` that starts at zero; else it is zero or given

    Raises
    ------
    ValueError, TypeError    as :class:`LIF`

    Notes
    -----
    Parameters ``W (n, n)``, ``U (n, m)``, ``b (n,)``; state ``[spike; v; ad]``. Gradients with "hard" are surrogate gradients.
    Source: Bellec et al. (2020), Nature Communications 11, 3625.
    """

    n_in: int
    n: int
    kappa: float = 0.9
    threshold: float = 1.0
    slope: float = 4.0
    spike: str = "hard"
    rho: float = 0.97
    adaptation: float = 0.2
    init: str = "orthogonal"
    gain: float = 1.0
    learn_h0: bool = False

    parts, decays = 3, ("kappa", "rho")

    def __post_init__(self):
        self._check()
        check_number_between("adaptation of an ALIF cell", self.adaptation, 0)

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "ALIF" if self.spike == "hard" else "ALIF, smooth"

    def _advance(self, p, h, a_u):
        xp = array_module(h)
        spike, v, ad = xp.split(h, 3, axis=1)
        v = float(self.kappa) * v + spike @ p["W"].T + a_u  # (EPROP.1)
        ad = float(self.rho) * ad + spike  # (EPROP.2)
        x = v - float(self.threshold) - float(self.adaptation) * ad  # (EPROP.2)
        return xp.concatenate([self._fire(x), v, ad], axis=1), (x,)

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eqs. (EPROP.1), (EPROP.2), with psi for that of the spike."""
        xp, (x,), kappa, rho = array_module(tape.u), tape.kept, float(self.kappa), float(self.rho)
        psi = self._surrogate(x)
        one, zero = xp.ones_like(psi), xp.zeros_like(psi)
        by_v = xp.stack([psi, one, zero], axis=2)  # of [spike; v; ad] by a or v
        by_ad = xp.stack([-float(self.adaptation) * psi, zero, one], axis=2)  # (EPROP.2)
        group = Group(("W", "U", "b"), by_v[:, :, :, None], (tape.before[..., : self.n], tape.u))
        direct = (by_ad, kappa * by_v, rho * by_ad)  # beside the weights a spike moves ad alone
        return Local((group,), direct, None)
