"""Claims: single worked examples of the literature."""

import numpy as np

from .. import check, mistakes, spc, variants
from ..blocks import Dense
from ..functions import ACTIVATIONS
from ..network import Network
from .setting import ad, cf, claim, rel

H = 1e-5  # how far around its minimum gelu is used: a parabola there


def _parabola():
    """Where gelu has its minimum, its value there, and half its second derivative."""
    gelu, at = ACTIVATIONS["gelu"], np.array([-0.75])

    def slope(a):
        return gelu.dphi(a, gelu.phi(a)).sum()

    for _ in range(5):
        at = at - slope(at) / check.complex_step(slope, at)  # Newton's method
    return at[0], gelu.phi(at)[0], check.complex_step(slope, at)[0] / 2


def _square(observation, prior):
    """The chain prior -> s -> s^2 of (sPC.23): network, parameters, input, target, precisions.

    minipc has no activation s^2, but gelu is a parabola around its minimum: gelu(a + H s) = c + q H^2 s^2 up to
    a share of order H s. So the free state is u = a + H s with the precision 1/H^2, which gives
    1/2 (s - prior)^2, the output is (gelu(u) - c) / (q H^2), and a step lam in s is the step H^2 lam in u.
    """
    a, c, q = _parabola()
    net = Network([Dense(1, 1), Dense(1, 1, "gelu", form="pre")])
    below = {"W": np.array([[H * prior]]), "b": np.array([a])}
    top = {"W": np.array([[1 / (q * H**2)]]), "b": np.array([-c / (q * H**2)])}
    return net, [below, top], np.ones((1, 1)), np.full((1, 1), observation), [H**-2, None]


def _value(s):
    """s from the state u = a + H s."""
    return (s[1][0, 0] - _parabola()[0]) / H


def _direct(problem, **options):
    """s after sPC inference from the prior: s follows the gradient of the energy."""
    return _value(spc.gradient(*problem, step_size=0.01 * H**2, **options).states)


def _error_units(problem, steps, sign=1.0):
    """s when the weighted errors are units of their own, that relax to their values from zero, (sPC.23)."""
    net, params, x, y, Pi = problem
    s, xi = spc.feedforward(net, params, x), [None, np.zeros((1, 1)), np.zeros((1, 1))]
    for _ in range(steps):
        now = spc.errors(net, params, s, y, Pi)
        ds = spc._activity_gradient(net, params, now._replace(xi=[None, sign * xi[1], xi[2]]))
        s = [s[0], s[1] - 0.01 * H**2 * ds[1]]
        xi = [None, *(unit + 0.01 * (value - unit) for unit, value in zip(xi[1:], now.xi[1:], strict=True))]
    return _value(s)


@claim(
    "S41",
    "sPC.23",
    "Bogacz's example: 1.5524, direct flow 1.5675, mode 1.56747",
    "closed form, scalar loop",
    1e-4,
    trials=2,
)
def s41(rng):
    stated = _square(2.0, 3.0)
    steps = {"inference_steps": 500}
    values = [_error_units(stated, 500), _direct(stated, **steps), _direct(stated, inference_steps=1000)]
    deviation = [abs(a / b - 1) for a, b in zip(values, (1.5524, 1.5675, 1.56747), strict=True)]
    u, v = float(rng.uniform(1, 3)), float(rng.uniform(2, 4))  # other observations, other priors
    other = _square(u, v)
    pairs = [
        (_error_units(other, 200), cf.warm_up_flow(u, v, 0.01, 200, error_units=True)),
        (_direct(other, inference_steps=20), cf.warm_up_flow(u, v, 0.01, 20, error_units=False)),
        (_direct(other, inference_steps=1000), cf.warm_up_mode(u, v)),
    ]
    deviation += [abs(a / b - 1) for a, b in pairs]
    return max(deviation), abs(_error_units(stated, 500, sign=-1.0) / 1.5524 - 1)


def _newton(rng, form):
    """Deviation of the diagonal step from Newton's, and that of the step without g''."""
    layer = str(rng.choice(["tanh", "sigmoid", "softplus"])), form
    Pi = rng.uniform(0.5, 2, 2).tolist()

    def chain(network, dense):
        return network([dense(1, 1), dense(1, 1, layer[0], form=layer[1])])

    net = chain(Network, Dense)

    def draw():  # around a bend of g, an error of order one
        below = {"W": 0.3 * rng.normal(size=(1, 1)), "b": rng.choice([-1.0, 1.0], size=1)}
        above = {"W": rng.uniform(0.8, 1.6, (1, 1)), "b": 0.3 * rng.normal(size=1)}
        x, dev = rng.normal(size=(3, 1)), rng.choice([-1.0, 1.0], (3, 1)) * rng.uniform(1, 2, (3, 1))
        return [below, above], x, net.forward([below, above], x) + dev

    params, x, y = draw()
    while cf.newton_unit(layer, params, x, y, Pi)[1].min() < 0.2 * Pi[0]:  # where it would climb
        params, x, y = draw()
    start = spc.feedforward(net, params, x)
    layers = [("identity", "post"), layer]
    slope, newton = ad.spc_activity_gradient(layers, params, start, y, "mse", Pi)[1], []
    for b in range(len(x)):
        one = [v[b : b + 1] for v in start]
        newton.append(-slope[b] / ad.energy_hessian_states(layers, params, one, y[b : b + 1], "mse", Pi)[0])
    stated = cf.newton_unit(layer, params, x, y, Pi)[0] - start[1]

    def deviation(step):
        return max(rel(step[1] - start[1], stated), rel(step[1] - start[1], np.array(newton)))

    where = " (pre form)" if form == "pre" else ""
    wrong = mistakes.load(f"phi'' is dropped in the curvature{where}")
    dropped = wrong.variants.newton_step(chain(wrong.Network, wrong.Dense), params, start, y, Pi)
    return deviation(variants.newton_step(net, params, start, y, Pi)), deviation(dropped)


@claim(
    "S42",
    "sPC.21",
    "the diagonal step of a scalar parent with one child is Newton's",
    "closed form, autograd",
    1e-10,
    trials=10,
)
def s42(rng):
    errors, controls = zip(*(_newton(rng, form) for form in ("pre", "post")), strict=True)
    return max(errors), min(controls)
