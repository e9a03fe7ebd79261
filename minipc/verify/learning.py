"""Claims: what a weight step at the equilibrium does that one of backprop does not."""

import numpy as np

from .. import backprop, epc
from ..blocks import Dense
from ..network import Network
from .setting import cf, claim, rel, times


def _equilibrium_gradient(net, params, x, y):
    """Weight gradient of E* of a linear network: one Gauss-Newton step, then the local rule."""
    e = epc.gauss_newton_step(net, params, epc.feedforward(net, params, x), x, y)
    return epc.weight_gradient(net, params, e, x, y)


def _backprop_gradient(net, params, x, y):
    return backprop.gradient(net, params, x, y).grads


def _chain(w):
    """Parameters of the scalar chain with the weights w."""
    return [{"W": np.reshape(v, (1, 1)), "b": np.zeros(1)} for v in w]


def _chain_gradient(rule, w, x, y):
    """Derivatives with respect to the weights of the chain, an array like w; the biases stay zero."""
    grads = rule(Network([Dense(1, 1) for _ in w]), _chain(w), x, y)
    return np.array([g["W"][0, 0] for g in grads])


def _escapes_first(L, x, y):
    """Is predictive coding through, at a tenth of the loss, while backprop still has more than half of it?"""
    net, rules = Network([Dense(1, 1) for _ in range(L)]), (_backprop_gradient, _equilibrium_gradient)
    w, start = [np.full(L, 0.1)] * 2, 0.5 * (y * y).sum()
    for _ in range(300):
        w = [v - 0.1 * _chain_gradient(rule, v, x, y) for rule, v in zip(rules, w, strict=True)]
        slow, fast = (0.5 * ((y - net.forward(_chain(v), x)) ** 2).sum() / start for v in w)
        if fast < 0.1:
            return bool(slow > 0.5)
    return False


@claim(
    "S39",
    "LIN.10",
    "the saddle at the origin: curvatures; from L = 3 on PC escapes first",
    "closed form",
    1e-6,
    trials=3,
)
def s39(rng):
    x, y = rng.uniform(0.8, 1.5, (2, 1)), rng.uniform(0.8, 1.5, (2, 1))
    deviation, found = [], {}
    for L in (2, 3, 4):
        found[L] = [  # complex step through the gradient of the loss, and through that of E*
            np.array([_chain_gradient(rule, step, x, y).imag for step in 1e-200j * np.eye(L)]) / 1e-200
            for rule in (_backprop_gradient, _equilibrium_gradient)
        ]
        deviation.append(rel(found[L], list(cf.saddle_hessians(x, y, L))))
        deviation.append(rel([np.linalg.eigvalsh(H) for H in found[L]], list(cf.saddle_eigenvalues(x, y, L))))
    late = [not _escapes_first(L, x[:1], y[:1]) for L in (3, 4)]
    level = not _escapes_first(1, x[:1], y[:1])  # without a hidden layer the two are the same
    of_loss = [np.linalg.eigvalsh(found[L][0]) for L in (2, 3)]
    of_energy = [cf.saddle_eigenvalues(x, y, L)[1] for L in (2, 3)]
    return max(*deviation, *late), min(rel(of_loss, of_energy), level)


def _alignments(net, params, x, y, rule):
    """cos(y - yhat, change of yhat) of every sample after an infinitesimal weight step on it alone."""
    cosines = []
    for b in range(len(x)):
        one, target = x[b : b + 1], y[b : b + 1]
        s, s_dot, step = one, 0 * one, times(-1, rule(net, params, one, target))
        for block, p, p_dot in zip(net.blocks, params, step, strict=True):
            s, tape = block.forward(p, s)
            s_dot = block.jvp(p, tape, s_dot, p_dot)
        r = target - s
        cosines.append((r * s_dot).sum() / (np.linalg.norm(r) * np.linalg.norm(s_dot)))
    return np.array(cosines)


@claim(
    "S40",
    "sPC.22",
    "PC's weight step is better aligned with the target: depths 2, 5, 12, 25",
    "closed form",
    1e-10,
    trials=1,
)
def s40(rng):
    def mean_advantage(depth):
        """Over 8 random linear nets and 8 samples each: alignment of PC minus that of backprop; and the error."""
        net, advantage, error = Network([Dense(64, 64) for _ in range(depth)]), [], []
        for _ in range(8):
            params, x, y = net.init(seed=rng), rng.standard_normal((8, 64)), rng.standard_normal((8, 64))
            bp, pc = (
                _alignments(net, params, x, y, rule) for rule in (_backprop_gradient, _equilibrium_gradient)
            )
            exact = [cf.target_alignment(params, x, y, rule) for rule in ("backprop", "equilibrium")]
            error.append(rel([bp, pc], exact))
            advantage.append((pc - bp).mean())
        return np.mean(advantage), max(error)

    table = [mean_advantage(depth) for depth in (2, 5, 12, 25)]
    violations = sum(advantage <= 1e-6 for advantage, _ in table)
    return max(violations, *(error for _, error in table)), float(mean_advantage(1)[0] <= 1e-6)
