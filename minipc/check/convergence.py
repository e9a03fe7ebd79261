r"""Convergence of inference: the observed rate against the spectrum of the energy, sample by sample.

=========  ==========================================================================================
(CHK.9)    observed rate :math:`(|g_b|/|g_a|)^{1/(b-a)}`, g the gradient of inference, a..b the last tenth of its steps
(CHK.10)   predicted :math:`|g_k|^2 = \sum_i c_i^2 \mu_i^2 \prod_{n \le k} (1-\lambda_n\mu_i)^2`,
           in the end :math:`\rho = \max_i |1-\lambda\mu_i|` over the modes with a share
(CHK.11)   predicted steps: the first k with :math:`|g_k|` below the tolerance
(CHK.12)   bracket :math:`0 < \lambda < 2/\mu_{\max}`; best step :math:`2/(\mu_{\max}+\mu_{\min})` with rate
           :math:`(\kappa-1)/(\kappa+1)`, :math:`\kappa = \mu_{\max}/\mu_{\min}`
=========  ==========================================================================================

The inference that is looked at is the engine's own, as recorded; the spectrum comes from :mod:`.landscape`.
"""

from typing import NamedTuple

import numpy as np  # host only: reports

from .. import epc, spc
from ..arguments import check_count, check_positive_number, prepare, real_precision
from ..backend import is_array, to_numpy
from ..inference import check_options, check_precision
from ..network import check_loss
from . import tables
from .descent import CLEAR, run
from .landscape import EPS, Landscape, equilibrium, length, rounding, shares_of, spectrum

RULES = {"spc": spc, "epc": epc, spc.gradient: spc, epc.gradient: epc}
NAMES = {spc: "spc", epc: "epc"}
WORDS = {"spc": (), "epc": ("adaptive", "power")}
FULL = 512  # up to so many free variables a sample all modes are computed, beyond LANCZOS of them
LANCZOS = 100
NEARLY = 1e4  # times rounding is zero
SHARE = 1e-10  # of the displacement: a mode with less of it is not excited
FOREVER = 2**60  # more steps than that are never
FASTER = 1.5  # the best step is worth a word if it is so many times faster
SLOW = 1e3  # condition number from which on inference is called slow


class Convergence(NamedTuple):
    """Result of :func:`convergence`; prints as a table. B samples, K steps, m modes; NumPy arrays on the host.

    Attributes
    ----------
    rule : str                       "spc" or "epc"
    tolerance : float                of the residual, the norm of the gradient of inference
    step_size : (B,)                 the step lambda; of adaptive steps the mean of the later ones
    eigenvalues : (B, m)             mu_i of the Hessian at the equilibrium, ascending (CHK.10)
    shares : (B, m)                  |c_i|, how much of the way from the start to the equilibrium lies in the mode
    excited : (B, m)                 bool: modes with a share above rounding; the others never matter
    residuals : (K + 1, B)           observed, from the start on; infinite after it has diverged
    predicted : (K + 1, B)           by the modes (CHK.10)
    observed_rate : (B,)             factor a step at the end of the run (CHK.9); NaN if there is none to see
    predicted_rate : (B,)            the same by the modes, from where inference was at a (CHK.10)
    final_rate : (B,)                factor a step in the end, of the slowest excited mode (CHK.10)
    observed_steps : (B,)            steps to the tolerance; inf if the run did not reach it
    predicted_steps : (B,)           by the modes, from the start on (CHK.11); inf: never
    more_steps : (B,)                by the modes, from the end of the run on; 0 if it is below the tolerance
    bracket : (B,)                   2/mu_max: a fixed step must be shorter (CHK.12)
    best_step, best_rate : (B,)      of the excited modes (CHK.12)
    condition : (B,)                 condition number, of the excited modes
    slowest : (B, L - 1)             where the slowest excited mode lives: its share of each layer 1..L-1
    equilibrium : list               free variables at the equilibrium, by layer, entry 0 None: states or errors
    gap : (B,)                       norm of the gradient there: rounding, or there is no smooth minimum
    settled : (B,)                   bool: is it rounding?
    rounding : (B,)                  how long a gradient there may be by rounding alone, in the precision of the run
    error : (B, 2)                   bounds on the errors of mu_min and mu_max; zero if all modes were computed
    adaptive : bool                  are the steps adaptive?
    crossings : (B,)                 how many relu units, or pixels of a max pool, are on other sides at the start
    kinks : (B,)                     how many change sides in a step from where the search for the equilibrium ended
    regime, curvature : (B,)         of ePC as the engine reports them (ePC.17), (EPS.2); None for sPC
    names : list of B str            "sample 0", ...
    verdicts : list of B str         what it means
    """

    rule: str
    tolerance: float
    step_size: np.ndarray
    eigenvalues: np.ndarray
    shares: np.ndarray
    excited: np.ndarray
    residuals: np.ndarray
    predicted: np.ndarray
    observed_rate: np.ndarray
    predicted_rate: np.ndarray
    final_rate: np.ndarray
    observed_steps: np.ndarray
    predicted_steps: np.ndarray
    more_steps: np.ndarray
    bracket: np.ndarray
    best_step: np.ndarray
    best_rate: np.ndarray
    condition: np.ndarray
    slowest: np.ndarray
    equilibrium: list
    gap: np.ndarray
    settled: np.ndarray
    rounding: np.ndarray
    error: np.ndarray
    crossings: np.ndarray
    kinks: np.ndarray
    regime: np.ndarray
    curvature: np.ndarray
    adaptive: bool
    names: list
    verdicts: list

    @property
    def stable(self):
        """Is there a minimum, and the step inside its bracket? Adaptive steps always are. ``(B,)`` booleans."""
        inside = (self.step_size < self.bracket) | self.adaptive  # (CHK.12)
        return self.settled & (self.eigenvalues[:, 0] > 0) & inside

    def __str__(self):
        lines = [tables.text(_HEADER, _rows(self))]
        return "\n".join([*lines, *map(": ".join, zip(self.names, self.verdicts, strict=True))])

    def _repr_html_(self):
        rows = [[*row, text] for row, text in zip(_rows(self), self.verdicts, strict=True)]
        return tables.html(f"Convergence of {_TITLE[self.rule]}", [*_HEADER, "verdict"], rows)

    def to_dict(self):
        """All of it as lists, numbers and words, for JSON; a number that is not finite is None."""
        fields = {name: _plain(value) for name, value in self._asdict().items()}
        return {**fields, "stable": self.stable.tolist()}


_TITLE = {"spc": "sPC", "epc": "ePC"}
_HEADER = (
    *("", "step", "2/mu_max", "mu_min", "mu_max", "condition", "rate: in the end", "predicted", "observed"),
    *("steps: predicted", "observed"),
)  # fmt: skip


def _rows(c):
    columns = (c.step_size, c.bracket, c.eigenvalues[:, 0], c.eigenvalues[:, -1], c.condition)
    rates = (c.final_rate, c.predicted_rate, c.observed_rate)
    steps = ((c.predicted_steps, "never"), (c.observed_steps, "not yet"))
    return [
        [
            c.names[b],
            *(f"{v[b]:.4g}" for v in columns),
            *(f"{v[b]:.6f}" for v in rates),
            *(f"{v[b]:.0f}" if np.isfinite(v[b]) else otherwise for v, otherwise in steps),
        ]
        for b in range(len(c.step_size))
    ]


def _plain(value):
    """Arrays as lists, what is not finite as None."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def convergence(
    net, params, x, y, precision=None, *, rule="spc", inference_steps, step_size, tolerance=1e-6, modes=None
) -> Convergence:
    r"""How fast inference converges, and how fast it should, Eqs. (CHK.9)-(CHK.12); every sample on its own.

    Runs the engine's inference from its feedforward start, finds the equilibrium below, takes the modes of
    the Hessian there, and predicts from the shares of the start in these modes every residual on the way. For linear
    networks the prediction is exact from the first step; for others it is the linearisation at the equilibrium, so the rate
    at the end agrees, and the number of steps approximately. Networks with relu or max pools may have their minimum at a
    kink, where there is no Hessian; the verdict says so.

    Parameters
    ----------
    net : Network
    params : list of dicts            as :meth:`minipc.Network.init` draws them
    x : (B, n[0])                     input, clamped
    y : (B, n[L]) or labels (B,)      target
    precision : list of L, or None    Pi[1..L]: None, a number, (n[l],) or SPD (n[l], n[l]); None means one
    rule : "spc", "epc", or their ``gradient`` function      the Hessian is that in the states, or in the errors
    inference_steps : int             number of steps to run
    step_size : float, or for ePC also "adaptive" or "power"      as in :func:`minipc.spc.infer`, :func:`minipc.epc.infer`
    tolerance : float                 of the residual, to which steps are counted
    modes : int, optional             so many steps of Lanczos; without it all modes are computed where a sample has at most
                                      512 free variables, else 100 steps of Lanczos are taken. Lanczos finds excited
                                      modes alone, the extreme ones first; ``error`` says how well

    Returns
    -------
    Convergence

    Raises
    ------
    ValueError, TypeError             bad shapes, values or options; a network without a hidden layer; one whose samples
                                      interact (BatchNorm2d on the statistics of the batch)
    FloatingPointError                the feedforward loss is not finite

    Notes
    -----
    Cost: twice the inference, and a complex forward and backward pass for each free variable (or step of Lanczos), on the
    host in float64, where D eigenvalues of B matrices (D, D) cost O(B D^3).
    Source: of the theory of stability any textbook of gradient descent; Golub & Meurant (2010) of the quadrature.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(1, 1), pc.Dense(1, 1)])
    >>> params = [{"W": np.array([[1.0]]), "b": np.zeros(1)}, {"W": np.array([[2.0]]), "b": np.zeros(1)}]
    >>> x, y = np.array([[1.0]]), np.array([[4.0]])
    >>> c = convergence(net, params, x, y, inference_steps=40, step_size=0.1)
    >>> c.eigenvalues, c.bracket, c.final_rate       # one mode, 1 + 2 * 2
    (array([[5.]]), array([0.4]), array([0.5]))
    >>> int(c.predicted_steps[0]), int(c.observed_steps[0]), bool(c.stable[0])     # 4 * 0.5**22 < 1e-6
    (22, 22, True)
    """
    engine = _engine(rule)
    check_options(inference_steps, step_size, 1.0, 0, words=WORDS[NAMES[engine]])
    check_positive_number("tolerance", tolerance)
    if modes is not None:
        check_count("modes", modes, least=1)
    if getattr(net, "recurrent", False):
        raise TypeError(
            "net must be a Network, got a RecurrentNetwork: take check.convergence_in_time, on sequences"
        )
    x, y = prepare(net, params, x, y)
    _check_network(net)
    Pi = check_precision(net, params, precision)
    check_loss(net, params, x, net.loss.value(net.forward(params, x), y))
    return told(examine(engine, net, params, x, y, Pi, inference_steps, step_size, tolerance, modes))


def examine(engine, net, params, x, y, Pi, inference_steps, step_size, tolerance, modes) -> Convergence:
    """:func:`convergence` on checked arguments, with precisions ``Pi`` by layer; without the verdicts."""
    land = _host(NAMES[engine], net, params, x, y, Pi)
    modes = modes or (None if sum(land.sizes) <= FULL else LANCZOS)
    eps = float(np.finfo(real_precision(params, x)).eps)
    with np.errstate(all="ignore"):  # a run may diverge: its numbers overflow, and are reported as infinite
        seen = run(engine, land, net, params, x, y, Pi[1:], inference_steps, step_size)
        star = equilibrium(land, seen.end, seen.start)
        found = spectrum(land, star, seen.start - star, modes)
        return _result(land, seen, star, found, step_size == "adaptive", float(tolerance), eps)


def _engine(rule):
    """The module of a rule."""
    try:
        return RULES[rule]
    except (KeyError, TypeError):
        raise ValueError(f'rule must be "spc" or "epc", or their gradient function; got {rule!r}') from None


def _check_network(net):
    """Is there something to infer, sample by sample?"""
    if hasattr(net, "parents"):
        raise TypeError(f"net must be a Network, a chain of blocks, got {type(net).__name__}")
    if len(net.blocks) < 2:
        raise ValueError("net must have a hidden layer: with a single block there is no state to infer")
    blocks = list(net.blocks)
    while blocks:
        block = blocks.pop()
        if getattr(block, "statistics", "") == "batch":
            raise ValueError(
                f"net must treat samples separately, but {block!r} makes them interact: "
                f"take net, params = minipc.freeze_statistics(net, params, x)"
            )
        blocks += getattr(block, "blocks", [])


def _host(name, net, params, x, y, Pi):
    """The landscape of checked arguments: on the host, in float64."""

    def move(v):
        if not is_array(v):
            return v
        v = to_numpy(v)
        return v if v.dtype.kind in "iu" else v.astype(float)

    moved = [{key: move(v) for key, v in p.items()} for p in params]
    return Landscape(name, net, moved, move(x), move(y), [move(v) for v in Pi])


# ---------------------------------------------------------------------- what the modes say


def _result(land, seen, star, found, adaptive, tolerance, eps):
    """All that is to be said of the run ``seen``, the equilibrium ``star`` and the modes ``found`` there."""
    values, noise, gap = found.eigenvalues, rounding(land, star), length(land.gradient(star))
    settled, noise = gap <= NEARLY * noise, noise * eps / EPS
    window = _window(seen, noise)
    lam, factors = seen.step_size, abs(1 - seen.step_size[:, None] * values)
    if adaptive and len(seen.steps):
        lam, factors = _adaptive(seen, values, window[1])
    each = np.arange(len(star))
    late = seen.path[window[0] // seen.stride, each]
    excited = _excited(land, star, seen, found, late)
    sizes = np.where(excited, found.shares * abs(values), 0)  # |c_i mu_i|
    predicted, left = _predict(seen, values, sizes)
    low = np.where(excited, values, np.inf).min(axis=1)
    high = np.where(excited, values, -np.inf).max(axis=1)
    bracket = np.where(values[:, -1] > 0, 2 / values[:, -1], np.inf)  # (CHK.12)
    condition = np.where(low > 0, high / low, np.inf)  # (CHK.12)
    best = np.where(low > 0, 2 / (high + low), np.nan)  # (CHK.12)
    slowest = np.where(excited, factors, -1).argmax(axis=1)
    sides = land.sides(star)
    return Convergence(
        rule=land.rule,
        tolerance=tolerance,
        step_size=lam,
        eigenvalues=values,
        shares=found.shares,
        excited=excited,
        residuals=seen.residuals,
        predicted=predicted,
        observed_rate=_rate(seen.residuals, *window),
        predicted_rate=_predicted_rate(seen, late - star, found, *window),
        final_rate=factors[each, slowest],  # (CHK.10)
        observed_steps=_first_below(seen.residuals, tolerance),
        predicted_steps=_steps(predicted, left, np.where(excited, factors, 0), tolerance),
        more_steps=_steps(*_ahead(seen, star, found), np.where(excited, factors, 0), tolerance),
        bracket=bracket,
        best_step=best,
        best_rate=np.where(low > 0, (high - low) / (high + low), np.inf),  # (CHK.12)
        condition=condition,
        slowest=_by_layer(land, found.vectors[each, :, slowest]),
        equilibrium=land.split(star),
        gap=gap,
        settled=settled,
        rounding=noise,
        error=found.error[:, [0, -1]],
        crossings=(land.sides(seen.start) != sides).sum(axis=1),
        kinks=(land.sides(star - land.gradient(star) / high[:, None]) != sides).sum(axis=1),
        regime=seen.regime,
        curvature=seen.curvature,
        adaptive=adaptive,
        names=[f"sample {b}" for b in range(len(lam))],
        verdicts=[],
    )


def _by_layer(land, v):
    """Squared length of ``v (B, D)`` in each layer 1..L-1, ``(B, L - 1)``."""
    return np.stack([(u.reshape(len(u), -1) ** 2).sum(axis=1) for u in land.split(v)[1:]], axis=1)


def _excited(land, star, seen, found, late):
    """Modes with a share above rounding at the start or at the ``late`` place; all of a sample that starts at its equilibrium."""
    gap = length(land.gradient(star)) + rounding(land, star)
    noise = gap[:, None] / abs(found.eigenvalues)  # by so much the equilibrium may be off along the mode
    excited = np.zeros(noise.shape, bool)
    for way in (seen.start - star, late - star):
        floor = np.maximum(SHARE * length(way)[:, None], noise)
        excited |= shares_of(found.vectors, way) > floor
    return excited | ~excited.any(axis=1, keepdims=True)


def _predict(seen, values, sizes):
    """Residuals ``(K + 1, B)`` by the modes, Eq. (CHK.10), and what is left of each mode at the end, ``(B, m)``."""
    left, predicted = sizes, [length(sizes)]
    for lam in seen.steps:
        left = left * abs(1 - lam[:, None] * values)  # (CHK.10)
        predicted.append(length(left))
    return np.array(predicted), left


def _ahead(seen, star, found):
    """The residual at the end of the seen, ``(1, B)``, and what is left of each mode there."""
    left = shares_of(found.vectors, seen.end - star) * abs(found.eigenvalues)
    return seen.residuals[-1:], np.where(np.isnan(left), np.inf, left)


def _adaptive(seen, values, last):
    """The mean step, and the mean factor of every mode, in the second half of the steps that are clear of rounding."""
    steps = np.arange(len(seen.steps))[:, None]
    late = (steps >= last // 2) & (steps < np.maximum(last, 1))
    number = np.maximum(late.sum(axis=0), 1)
    logs = np.where(late[:, :, None], np.log(abs(1 - seen.steps[:, :, None] * values)), 0)
    taken = late & (seen.steps > 0)
    mean = (seen.steps * taken).sum(axis=0) / np.maximum(taken.sum(axis=0), 1)
    return mean, np.exp(logs.sum(axis=0) / number[:, None])


def _window(seen, noise):
    """The last tenth of the steps whose residuals are clear of rounding and finite: two indices, each ``(B,)``."""
    clear = np.isfinite(seen.residuals) & (seen.residuals > CLEAR * noise)
    last = np.logical_and.accumulate(clear).sum(axis=0) - 1
    b = np.maximum(last, 0)
    return (b - np.ceil(b / 10).astype(int)) // seen.stride * seen.stride, b


def _predicted_rate(seen, way, found, a, b):
    """Factor a step from a to b by the modes, ``(B,)``, from the way to the equilibrium at a."""
    each, values = np.arange(len(a)), found.eigenvalues
    left = shares_of(found.vectors, way) * abs(values)
    there = length(left)
    for n in range(int((b - a).max())):
        lam = np.where(n < b - a, seen.steps[np.minimum(a + n, len(seen.steps) - 1), each], 0)
        left = left * abs(1 - lam[:, None] * values)  # (CHK.10)
    return np.where(b > a, (length(left) / there) ** (1 / (b - a)), np.nan)


def _rate(residuals, a, b):
    """Factor a step from a to b, Eq. (CHK.9), ``(B,)``; NaN where there is no step."""
    each = np.arange(residuals.shape[1])
    return np.where(b > a, (residuals[b, each] / residuals[a, each]) ** (1 / (b - a)), np.nan)  # (CHK.9)


def _first_below(residuals, tolerance):
    """The first step with a residual below the tolerance, ``(B,)``; infinite if there is none."""
    below = residuals < tolerance
    return np.where(below.any(axis=0), below.argmax(axis=0), np.inf)


def _steps(predicted, left, factors, tolerance):
    """Steps to the tolerance, Eq. (CHK.11), ``(B,)``: in the run or beyond it, where every step has the same factors."""
    steps = _first_below(predicted, tolerance)
    for b in np.flatnonzero(np.isinf(steps)):
        steps[b] = len(predicted) - 1 + _more(left[b], factors[b], tolerance)  # (CHK.11)
    return steps


def _more(left, factors, tolerance):
    """The least n with ``|left * factors**n|`` below the tolerance, by bisection; infinite if there is none."""
    if not np.isfinite(left).all() or length(left[factors >= 1]) >= tolerance:
        return np.inf
    few, many = 0, 1
    while length(left * factors**many) >= tolerance:
        few, many = many, 2 * many
        if many > FOREVER:
            return np.inf
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if length(left * factors**middle) >= tolerance else (few, middle)
    return many


# ---------------------------------------------------------------------- what it means


def told(c):
    """The report with its verdicts."""
    return c._replace(verdicts=[_verdict(c, b) for b in range(len(c.step_size))])


def _verdict(c, b):
    """One sentence on a sample, and what to do."""
    low, high, lam, far = c.eigenvalues[b, 0], c.eigenvalues[b, -1], c.step_size[b], c.residuals[-1, b]
    if not c.settled[b]:
        return _no_equilibrium(c, b)
    if low < -1e-9 * abs(high):
        return (
            f"not a minimum: the Hessian where inference rests has the eigenvalue {low:.3g} "
            f"(the energy is not convex there); a step of any size moves away from it"
        )
    if lam * high >= 2 and not c.adaptive:
        what = "diverged" if np.isinf(far) else _wandering(c.observed_rate[b])
        return f"step too large: lambda mu_max = {lam * high:.3g}, above 2; {what}; take less than {c.bracket[b]:.3g}"
    return _stable(c, b)


def _no_equilibrium(c, b):
    """The search ended where the gradient is not zero."""
    if c.kinks[b]:
        return (
            f"no smooth minimum: units of relu or max sit at their kink ({c.kinks[b]}), so that the gradient, "
            f"{c.gap[b]:.1e}, jumps instead of going to zero; no spectrum tells anything there"
        )
    return (
        f"no equilibrium found: the search ended with the gradient {c.gap[b]:.1e}; "
        f"the spectrum is that of a point on the way"
    )


def _wandering(rate):
    """What a run with too large a step does that is still finite: the mode that grows may begin small."""
    if rate > 1.001:
        return "it grows"
    return "it oscillates and does not settle" if rate > 0.999 else "it has not grown yet"


def _stable(c, b):
    """Inside the bracket: how long it takes, what slows it down, what could be better."""
    parts = [_how_long(c, b)]
    if c.condition[b] > SLOW:
        layer = int(c.slowest[b].argmax())
        where = f"{100 * c.slowest[b, layer]:.0f} % in layer {layer + 1}"
        parts.append(f"slow: condition number {c.condition[b]:.2g}, the slowest mode lies {where}")
    if not c.adaptive and c.best_rate[b] < c.final_rate[b] ** FASTER:
        parts.append(f"the best step is {c.best_step[b]:.3g}, rate {c.best_rate[b]:.4g}")
    if c.regime is not None:
        parts.append(_regime(c.regime[b]))
    if c.crossings[b]:
        units = (
            "a unit of relu or max changes"
            if c.crossings[b] == 1
            else f"{c.crossings[b]} units of relu or max change"
        )
        parts.append(f"{units} sides on the way, the prediction holds after that")
    if c.error[b].max() > 0.01 * c.eigenvalues[b, 0]:
        parts.append(f"mu_min is known to {c.error[b, 0]:.1e} only: take more modes")
    return "; ".join(parts)


def _how_long(c, b):
    observed, predicted, more = c.observed_steps[b], c.predicted_steps[b], c.more_steps[b]
    if c.tolerance < c.rounding[b]:
        return f"stable: but the tolerance {c.tolerance:.1e} is below rounding, {c.rounding[b]:.1e}"
    if np.isfinite(observed):
        return f"stable: converged in {observed:.0f} steps, {predicted:.0f} predicted"
    if np.isinf(more):
        return "stable, but the last steps do not shrink every mode"
    return f"stable: will converge in about {more:.0f} more steps, {len(c.residuals) - 1 + more:.0f} in all"


def _regime(f):
    """What (ePC.17) says of the gradient of the weights after these steps."""
    if f < 0.1:
        return f"regime {f:.2f}: backprop-like" if f >= 0 else f"regime {f:.2f}: the fastest mode moves away"
    return f"regime {f:.2f}: near the equilibrium" if f > 0.9 else f"regime {f:.2f}: between"
