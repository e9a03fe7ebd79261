"""The checks of the approximations of RTRL, for the battery: an engine beside dense influences in index loops.

As in ``temporal_battery.py``; signs are given, so that a wrong ratio of two norms shows in every number.
"""

from functools import cache

import numpy as np

from reference import approximation_oracles as oracles
from reference.temporal_problems import Sequence, make

from .checks import worst_error
from .temporal_battery import call, check_in, flat, kept

CHECKS = {}
check = check_in(CHECKS)


class Fed:
    """A method whose signs are given, ``(T, B, width)``; of one cell."""

    def __init__(self, method, signs):
        self.method, self.signs, self.name = method, signs, method.name

    def start(self, net, params, h):
        """As the method, with another ``draw``."""
        influence, rows = self.method.start(net, params, h), iter(self.signs)
        influence.draw = lambda B, width: next(rows)
        return influence


def signs(p, width):
    """Signs ``(T, B, width)``, of each lane its own."""
    return np.random.default_rng(5).choice([-1.0, 1.0], (*p.inputs.shape[:2], width))


def kernel(p):
    """A and alpha of a problem's cell; one unit remembers nothing."""
    rng, n = np.random.default_rng(6), len(p.params[0]["W"])
    alpha = rng.uniform(0.1, 1.0, n)
    alpha[0] = 1.5
    return rng.standard_normal((n, n)), alpha


def expected(name, p, estimate, *more):
    """The gradient by the dense influence of each lane; ``more`` are arrays with an axis of lanes, (T, B, ...)."""

    def compute():
        lanes = oracles.linearised(p)
        found = [estimate(steps, *(a[:, b] for a in more)) for b, steps in enumerate(lanes)]
        return flat(p, oracles.gradient(p, found))

    return kept(name, p, compute)


def found(engine, p, method):
    """The engine's gradient with a method."""
    return flat(p, call(engine, "rtrl.gradient", p, influence=method).grads)


@check("SNAP.1", "SNAP.2", "SNAP.3")
def sparse(engine, p):
    """SnAp-1, 2 and 3 on sparse weights."""
    orders = (1, 2, 3)
    actual = [found(engine, p, engine.approximations.SnAp(order)) for order in orders]
    return actual, [
        expected(f"snap-{o}", p, lambda steps, order=o: oracles.snap(steps, order)) for o in orders
    ]


@check("RFLO.1")
def leaking(engine, p):
    """RFLO."""
    return [found(engine, p, engine.approximations.RFLO())], [expected("rflo", p, oracles.rflo)]


@check("KERNL.1")
def by_a_kernel(engine, p):
    """KeRNL with a kernel that is not symmetric."""
    A, alpha = kernel(p)
    right = expected("kernl", p, lambda steps: oracles.kernl(steps, A, alpha))
    return [found(engine, p, engine.approximations.KeRNL(A, alpha))], [right]


@check("KERNL.2")
def learning_a_kernel(engine, p):
    """The gradients of a kernel, by complex step through the error that it has."""
    (A, alpha), (T, B, n) = kernel(p), (*p.inputs.shape[:2], len(p.params[0]["W"]))
    alpha = np.minimum(alpha, 0.9)
    rng = np.random.default_rng(8)
    noise, moved = rng.standard_normal((2, T, B, n))

    def derivative(name, place):
        kernel = {"A": A.astype(complex), "alpha": alpha.astype(complex)}
        kernel[name][place] += 1e-200j
        lanes = range(B)
        return sum(
            oracles.kernel_error(*kernel.values(), noise[:, b], moved[:, b]).imag / 1e-200 for b in lanes
        )

    def compute():
        return [
            np.array([[derivative("A", (k, i)) for i in range(n)] for k in range(n)]),
            np.array([derivative("alpha", i) for i in range(n)]),
        ]

    nf, gf, total = np.zeros((B, n)), np.zeros((B, n)), [0.0, 0.0]
    for t in range(T):
        nf, gf, dA, dalpha = engine.approximations.kernel_step(A, alpha, nf, gf, noise[t], moved[t])
        total = [total[0] + dA, total[1] + dalpha]
    return total, kept("kernel", p, compute)


@check("UORO.2", "UORO.3")
def one_product(engine, p):
    """UORO with given signs."""
    nu = signs(p, p.h0[0].shape[1])
    actual = found(engine, p, Fed(engine.approximations.UORO(), nu))
    return [actual], [expected("uoro", p, oracles.uoro, nu)]


@check("KF.2")
def kronecker(engine, p):
    """KF-RTRL with given signs."""
    c = signs(p, 2)
    return [found(engine, p, Fed(engine.approximations.KF(), c))], [expected("kf", p, oracles.kf, c)]


@check("KF.5")
def reversed_kronecker(engine, p):
    """Reverse KF-RTRL with given signs."""
    nu = signs(p, len(p.params[0]["W"]))
    actual = found(engine, p, Fed(engine.approximations.ReverseKF(), nu))
    return [actual], [expected("reverse_kf", p, oracles.reverse_kf, nu)]


@check("SK.1", "SK.2")
def sketched(engine, p):
    """SK-RTRL of ranks 0, 1 and 2, and what it certifies at the end."""
    actual, right = [], []
    for rank in range(3):
        g = call(engine, "rtrl.gradient", p, influence=engine.approximations.Sketch(rank))
        lanes = kept(
            f"sketch-{rank}", p, lambda r=rank: [oracles.sketch(steps, r) for steps in oracles.linearised(p)]
        )
        actual += [flat(p, g.grads), g.carry.influence.certificate]
        grads = oracles.gradient(p, [[M for M, _ in steps] for steps in lanes])
        right += [flat(p, grads), np.array([steps[-1][1] for steps in lanes])]
    return actual, right


_CELLS = [
    (["rnn"], {"form": "post", "alpha": 0.4, "reset": True}),
    (["rnn"], {"form": "pre", "alpha": 0.4}),
]
_GATED = [*_CELLS, (["gru"], {}), (["lstm"], {"reset": True})]
RECIPES = {
    "SNAP": _GATED,
    "RFLO": _GATED,
    "KERNL": _CELLS,
    "UORO": _GATED,
    "KF": [*_CELLS, (["lstm"], {})],
    "KF.5": _GATED,
    "SK": [*_CELLS, (["gru"], {})],
}


def problems(equation) -> list[Sequence]:
    """Fixed problems for the check of an equation: one cell of four units; sparse weights for the patterns."""
    return _drawn(equation if equation in RECIPES else equation.split(".")[0])


@cache
def _drawn(key):
    found = []
    for seed, (chain, options) in enumerate(RECIPES[key]):
        options = {"activation": "tanh", "loss": "mse", "T": 5, "B": 3, "widths": [3, 4], **options}
        p = make(np.random.default_rng(seed), chain, **options)
        found.append(in_a_ring(p) if key == "SNAP" else p)
    return found


def in_a_ring(p):
    """The same problem; every unit sees itself, the one before and, in half of the cases, the next but one."""
    theta = p.params[0]
    n = theta["W"].shape[1]
    seen = np.eye(n) + np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), 2, axis=1) * (np.arange(n) % 2)
    W = theta["W"].reshape(-1, n, n) * (seen > 0)
    return p._replace(params=[{**theta, "W": W.reshape(theta["W"].shape)}])


def approximation_error(engine, equation) -> float:
    """Worst relative error of an engine in the check of one equation, on its problems."""
    return max(worst_error(*CHECKS[equation](engine, p)) for p in problems(equation))
