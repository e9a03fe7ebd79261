"""Claims: sPC and ePC are one energy in two coordinate systems."""

import numpy as np

from .. import epc, mistakes, spc
from ..inference import local_gradient
from .setting import ad, cf, claim, first_sample, hessian, linear, make, network, oracle, rel, smooth, stack


@claim("S05", "ePC.1, ePC.2", "E(e) = E(s(e)); e -> s -> e; e = 0 is feedforward", "identity", 1e-13)
def s05(rng):
    p = make(rng)
    net = network(p)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    energy = epc.energy(net, p.params, p.e, p.x, p.y, p.precision)
    back = spc.errors(net, p.params, s, p.y, p.precision).eps[:-1]
    start = epc.states_from_errors(net, p.params, epc.feedforward(net, p.params, p.x), p.x)
    error = max(
        rel(energy, spc.energy(net, p.params, s, p.y, p.precision)),
        rel(back, p.e),
        rel(start, spc.feedforward(net, p.params, p.x)),
    )
    wrong = mistakes.load("the error is not added to the state")
    return error, rel(wrong.epc.states_from_errors(network(p, wrong), p.params, p.e, p.x)[1:], s[1:])


@claim("S07", "ePC.7", "dE/de = M' dE/ds, M = ds/de unit lower-triangular", "identity, autograd M", 1e-12)
def s07(rng):
    p = first_sample(smooth(rng))
    net = network(p)
    M = ad.state_error_jacobian(p.layers, p.params, p.e, p.x)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    dE_de = stack(epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision))
    dE_ds = stack(spc.activity_gradient(net, p.params, s, p.y, p.precision))
    shape = np.abs(np.triu(M, 1)).max() + np.abs(np.diag(M) - 1).max() + abs(np.linalg.det(M) - 1)
    return max(rel(dE_de, M.T @ dE_ds), shape), rel(dE_de, M @ dE_ds)


@claim(
    "S08", "ePC.8", "an ePC step moves the states by -lam M M' dE/ds + O(lam^2)", "ratio over a decade", 0.2
)
def s08(rng):
    p = first_sample(smooth(rng))
    net = network(p)
    M = ad.state_error_jacobian(p.layers, p.params, p.e, p.x)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    dE_ds = stack(spc.activity_gradient(net, p.params, s, p.y, p.precision))
    g = epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    deviation = []  # from the claimed direction, and from an sPC step's
    for lam in (1e-4, 1e-5):
        e = [None, *(a - lam * b for a, b in zip(p.e[1:], g[1:], strict=True))]
        moved = (stack(epc.states_from_errors(net, p.params, e, p.x)) - stack(s)) / lam
        deviation.append([np.linalg.norm(moved - direction) for direction in (-M @ M.T @ dE_ds, -dE_ds)])
    right, wrong = abs(np.array(deviation[0]) / np.array(deviation[1]) / 10 - 1)
    return right, wrong


@claim("S09", "ePC.10", "direct minus local weight gradient is the error gradient's", "autograd", 1e-12)
def s09(rng):
    p = make(rng)
    net = network(p)
    at = epc._point(net, p.params, p.e, p.x, p.y, spc.check_precision(net, p.params, p.precision))
    g = epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    local = epc.weight_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    direct = oracle(ad.epc_total_weight_gradient, p, p.e, p.x, p.y)
    right = local_gradient(net, p.params, at._replace(xi=[*g, 0 * at.xi[-1]]))  # (ePC.10)
    hidden = slice(0, len(p.layers) - 1)  # at the output the two agree
    difference = [{k: a[k] - b[k] for k in a} for a, b in zip(local, direct, strict=True)]
    return rel(difference[hidden], right[hidden]), rel(local[hidden], direct[hidden])


@claim(
    "S10", "sPC.5, ePC.5, ePC.7", "sPC and ePC reach the same equilibrium", "the other rule", 1e-9, trials=5
)
def s10(rng):
    # larger weights and farther targets can make several minima, and descents that end in different ones
    p = make(rng, activation="tanh", depth=(3, 4), B=3, gain=0.6)
    net = network(p)
    if p.loss == "mse":
        yhat = net.forward(p.params, p.x)
        p = p._replace(y=yhat + 0.3 * (p.y - yhat))

    def run(steps, tolerance):
        lam = 0.4 / _largest_state_curvature(p)
        a = spc.gradient(
            net, p.params, p.x, p.y, p.precision, inference_steps=steps, step_size=lam, tolerance=tolerance
        )
        short = 0.02  # a long adaptive step may land in the valley of another minimum
        options = {"inference_steps": steps, "step_size": short, "tolerance": tolerance}
        b = epc.gradient(net, p.params, p.x, p.y, p.precision, **options)
        return a, b

    a, b = run(100_000, 1e-13)
    error = max(rel(a.states, b.states), rel(a.energy, b.energy), rel(a, b))
    a, b = run(5, None)
    return error, rel(a, b)


def _largest_state_curvature(p):
    """Largest eigenvalue of H_s over the samples, at the feedforward pass and at the problem's states."""
    points = [spc.feedforward(network(p), p.params, p.x), p.s]
    largest = 0.0
    for s in points:
        for b in range(len(p.x)):
            one = [v[b : b + 1] for v in s]
            H = ad.energy_hessian_states(p.layers, p.params, one, p.y[b : b + 1], p.loss, p.precision)
            largest = max(largest, np.linalg.eigvalsh(H).max())
    return largest


def _state_hessian(p, s):
    """H_s of a problem of one sample, by complex step through the engine's gradient."""

    def gradient(s):
        x, y = (np.repeat(v, len(s[1]), axis=0) for v in (p.x, p.y))
        return spc.activity_gradient(network(p), p.params, [x, *s[1:]], y, p.precision)

    return hessian(gradient, s)


def _error_hessian(p, e):
    """H_e of a problem of one sample, by complex step through the engine's gradient."""

    def gradient(e):
        x, y = (np.repeat(v, len(e[1]), axis=0) for v in (p.x, p.y))
        return epc.error_gradient(network(p), p.params, e, x, y, p.precision)

    return hessian(gradient, e)


def _at_rest(p):
    """Errors of a problem of one sample where dE/de = 0: descent, finished by Newton's method."""
    net, ends = network(p), np.cumsum(p.sizes[1:-1])
    options = {"inference_steps": 10_000, "tolerance": 1e-6}
    e = epc.gradient(net, p.params, p.x, p.y, p.precision, **options).errors[:-1]
    for _ in range(3):
        step = np.linalg.solve(
            _error_hessian(p, e), stack(epc.error_gradient(net, p.params, e, p.x, p.y, p.precision))
        )
        e = [None, *(v - d for v, d in zip(e[1:], np.split(step, ends[:-1]), strict=True))]
    return e


@claim(
    "S14",
    "ePC.9, ePC.13",
    "H_e = M' H_s M, linear or at rest; excited eigenvalues are Omega's",
    "autograd, closed form",
    1e-10,
    trials=10,
)
def s14(rng):
    def difference(p, e):
        s, M = (
            epc.states_from_errors(network(p), p.params, e, p.x),
            ad.state_error_jacobian(p.layers, p.params, e, p.x),
        )
        return rel(M.T @ _state_hessian(p, s) @ M, _error_hessian(p, e))

    p, u = first_sample(linear(rng)), first_sample(linear(rng, precision=None))
    q = first_sample(make(rng, activation="tanh", depth=(3, 4), loss="mse", gain=0.8))
    star, zero = _at_rest(q), [None, *(0 * v for v in q.e[1:])]
    exact = [
        rel(_error_hessian(v, e), oracle(ad.energy_hessian_errors, v, e, v.x, v.y))
        for v, e in ((p, p.e), (q, star))
    ]
    H_e, omega = _error_hessian(u, u.e), cf.omega(u.params)
    spectrum = np.sort([*np.linalg.eigvalsh(H_e), *np.ones(len(omega))])  # where nothing is excited, ones
    modes = rel(spectrum, np.sort([*np.linalg.eigvalsh(omega), *np.ones(len(H_e))]))
    far = q._replace(y=10 * q.y)  # not at rest: the second term counts
    return max(difference(p, p.e), difference(q, star), modes, *exact), difference(far, zero)
