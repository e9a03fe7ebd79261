"""The checks of the suite: for each equation, what an engine says beside what an independent oracle says.

An engine is ``minipc`` itself or what ``minipc.mistakes.load`` returns. A check is a function of an engine and
a problem and returns ``(actual, expected)``. ``tests/oracles`` runs every check on random problems,
``tests/mistakes`` runs the same checks on fixed problems, on the engine and on its mutants.
"""

import warnings
from functools import partial
from itertools import pairwise

import autograd.numpy as anp
import numpy as np
from autograd import elementwise_grad, grad, hessian, jacobian, make_jvp

from minipc.verify import network, oracle
from reference import autograd_oracles as ad
from reference import index_loops as loops
from reference.problems import make

from .block_battery import BLOCK_CHECKS
from .checks import leaves, worst_error

CHECKS = dict(BLOCK_CHECKS)
LAM, N = 0.05, 3  # step size and steps of the checks of inference
RMS = {"learning_rate": 0.1, "decay": 0.7, "eps": 0.05}
DECAY = 0.3
ADAM = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 0.05}  # eps large enough to be seen


def check(*equations):
    """Register the decorated function as the check of these equations."""

    def register(function):
        CHECKS.update(dict.fromkeys(equations, function))
        return function

    return register


def by_block(p):
    """(layer, params, input, vector at the output) of every block: the states, and the target at the top."""
    return list(zip(p.layers, p.params, p.s, [*p.s[1:], p.y], strict=True))


def sample(p, b):
    """The problem of sample ``b`` alone."""
    one = slice(b, b + 1)
    return p._replace(x=p.x[one], y=p.y[one], s=[v[one] for v in p.s], e=[None, *(v[one] for v in p.e[1:])])


def samples(p):
    """The problems of the single samples."""
    return [sample(p, b) for b in range(len(p.x))]


def with_mse(p):
    """The same problem with squared error."""
    return p._replace(loss="mse")


def zero_errors(p):
    """The start of ePC, e = 0; ``(B, n[l])``."""
    return [None, *(np.zeros_like(v) for v in p.e[1:])]


# ---------------------------------------------------------------------- functions and blocks


def _activation(name, engine, p):
    """Value and derivative at entries of both signs."""
    a = np.concatenate([v.ravel() for v in (p.x, -p.x, p.y, -p.y)])
    phi, expected = engine.functions.ACTIVATIONS[name], ad.ACTIVATIONS[name]
    mu = phi.phi(a)
    return [mu, phi.dphi(a, mu)], [expected(a), elementwise_grad(expected)(a)]


NAMES = ("identity", "tanh", "sigmoid", "relu", "leaky_relu", "gelu", "softplus")
CHECKS.update({f"ACT.{i}": partial(_activation, name) for i, name in enumerate(NAMES, start=1)})


def _bend(name, engine, p):
    """Second derivative at entries of both signs; 1 is added, because some are zero everywhere."""
    a = np.concatenate([v.ravel() for v in (p.x, -p.x, p.y, -p.y)])
    phi, expected = engine.functions.ACTIVATIONS[name], ad.ACTIVATIONS[name]
    bend = 0 * a if name in PIECEWISE_LINEAR else elementwise_grad(elementwise_grad(expected))(a)
    return 1 + phi.d2phi(a, phi.phi(a)), 1 + bend


PIECEWISE_LINEAR = (
    "identity",
    "relu",
    "leaky_relu",
)  # autograd has no second derivative to offer: it is zero
CHECKS.update({f"ACT.{i}": partial(_bend, name) for i, name in enumerate(NAMES, start=8)})


def _outputs(p, loss):
    """Outputs and targets (B, n[L]) that fit the loss; no softmax is saturated."""
    yhat = 2 * np.sin(ad.feedforward(p.layers, p.params, p.x)[-1])
    return yhat, p.y if loss == "mse" else np.exp(p.y) / np.exp(p.y).sum(axis=1, keepdims=True)


def _loss(name, engine, p):
    """Value and error of a loss."""
    (yhat, y), loss = _outputs(p, name), engine.functions.LOSSES[name]
    error = grad(lambda yhat: -anp.sum(ad.loss_value(name, yhat, y)))(yhat)
    return [loss.value(yhat, y), loss.error(yhat, y)], [ad.loss_value(name, yhat, y), error]


LOSS_NAMES = {"LOSS.1": "mse", "LOSS.2": "cross_entropy", "LOSS.4": "binary_cross_entropy"}
CHECKS.update({equation: partial(_loss, name) for equation, name in LOSS_NAMES.items()})


@check("LOSS.3")
def curvature_of_the_loss(engine, p):
    """Second derivative times a vector, every loss."""
    actual, expected = [], []
    for name, loss in engine.functions.LOSSES.items():
        yhat, y = _outputs(p, name)
        slope = grad(lambda yhat, name=name, y=y: anp.sum(ad.loss_value(name, yhat, y)))
        actual.append(loss.curvature(yhat, p.y))
        expected.append(grad(lambda yhat, slope=slope: anp.sum(p.y * slope(yhat)))(yhat))
    return actual, expected


@check("BP.1")
def prediction(engine, p):
    """Every block alone, and the forward pass of the network."""
    net = network(p, engine)
    actual = [f.forward(q, s)[0] for f, (_, q, s, _) in zip(net.blocks, by_block(p), strict=True)]
    expected = [ad.predict(layer, q, s) for layer, q, s, _ in by_block(p)]
    return [*actual, net.forward(p.params, p.x)], [*expected, ad.feedforward(p.layers, p.params, p.x)[-1]]


def _vjp(engine, p):
    """(J^T v, parameter gradient) of every block."""
    net = network(p, engine)
    return [f.vjp(q, f.forward(q, s)[1], v) for f, (_, q, s, v) in zip(net.blocks, by_block(p), strict=True)]


@check("BP.2")
def transposed_jacobian(engine, p):
    """J^T v of every block."""
    expected = [grad(lambda s, c=c: anp.sum(c[3] * ad.predict(c[0], c[1], s)))(c[2]) for c in by_block(p)]
    return [down for down, _ in _vjp(engine, p)], expected


@check("BP.5", "BP.6")
def block_parameters(engine, p):
    """Parameter gradient of every block."""
    expected = [grad(lambda q, c=c: anp.sum(c[3] * ad.predict(c[0], q, c[2])))(c[1]) for c in by_block(p)]
    return [grads for _, grads in _vjp(engine, p)], expected


@check("JVP.1")
def forward_mode(engine, p):
    """Tangent of every block: along the input alone, and along input and parameters."""
    actual, expected = [], []
    for f, (layer, q, s, _) in zip(network(p, engine).blocks, by_block(p), strict=True):
        _, tape = f.forward(q, s)
        s_dot, q_dot = np.cos(s), {name: np.cos(value) for name, value in q.items()}
        actual += [f.jvp(q, tape, s_dot), f.jvp(q, tape, s_dot, q_dot)]
        expected += [
            make_jvp(lambda s, layer=layer, q=q: ad.predict(layer, q, s))(s)(s_dot)[1],
            make_jvp(lambda c, layer=layer: ad.predict(layer, {"W": c[0], "b": c[1]}, c[2]))(
                (q["W"], q["b"], s)
            )((q_dot["W"], q_dot["b"], s_dot))[1],
        ]
    return actual, expected


@check("BP.3", "BP.4")
def backpropagation(engine, p):
    """Every field that backprop returns."""
    g = engine.backprop.gradient(network(p, engine), p.params, p.x, p.y)
    *states, yhat = ad.feedforward(p.layers, p.params, p.x)
    arrows = [-delta for delta in oracle(ad.deltas, p, p.x, p.y, precision=False)[1:]]
    expected = (
        oracle(ad.loss_gradient, p, p.x, p.y, precision=False),
        ad.loss_value(p.loss, yhat, p.y),
        states,
        arrows,
    )
    return [g.grads, g.loss, g.states, g.errors[1:]], list(expected)


# ---------------------------------------------------------------------- sPC


def state_errors(p):
    """eps[1..L] at the problem's states, the last one minus the derivative of the unweighted loss."""
    *mu, yhat = [ad.predict(layer, q, s) for layer, q, s, _ in by_block(p)]
    top = grad(lambda yhat: -anp.sum(ad.loss_value(p.loss, yhat, p.y)))(yhat)
    return [*(s - m for s, m in zip(p.s[1:], mu, strict=True)), top]


@check("sPC.1")
def prediction_errors(engine, p):
    """Errors at any states, and the feedforward start."""
    net = network(p, engine)
    eps = engine.spc.errors(net, p.params, p.s, p.y, p.precision).eps[1:]
    return [eps, engine.spc.feedforward(net, p.params, p.x)], [
        state_errors(p),
        ad.feedforward(p.layers, p.params, p.x)[:-1],
    ]


@check("sPC.2")
def state_energy(engine, p):
    """Energy of each sample at any states."""
    net = network(p, engine)
    return engine.spc.energy(net, p.params, p.s, p.y, p.precision), oracle(ad.spc_energy, p, p.s, p.y)


@check("sPC.3")
def weighted_errors(engine, p):
    """xi = Pi eps."""
    xi = engine.spc.errors(network(p, engine), p.params, p.s, p.y, p.precision).xi
    return xi, oracle(loops.weighted_errors, p, p.s, p.y)


@check("sPC.4")
def activity_gradient(engine, p):
    """dE/ds."""
    actual = engine.spc.activity_gradient(network(p, engine), p.params, p.s, p.y, p.precision)
    return actual, oracle(ad.spc_activity_gradient, p, p.s, p.y)


def descend(gradient, start, step_size=LAM, steps=N):
    """Plain gradient descent on the by-layer list ``start``; entry 0 stays. The obvious form of inference."""
    for _ in range(steps):
        slope = gradient(start)
        start = [start[0], *(v - step_size * g for v, g in zip(start[1:], slope[1:], strict=True))]
    return start


@check("sPC.5")
def relaxed_states(engine, p):
    """States after a few steps."""
    run = engine.spc.infer(
        network(p, engine), p.params, p.s, p.y, p.precision, inference_steps=N, step_size=LAM
    )
    return run.s, descend(lambda s: oracle(ad.spc_activity_gradient, p, s, p.y), p.s)


def flat(grads):
    """All entries in one vector: after a few steps the errors of deep layers drown in the rounding of the states."""
    return np.concatenate([value.ravel() for value in leaves(grads)])


@check("sPC.6", "sPC.7")
def state_weight_gradient(engine, p):
    """dE/dW at any states, and that of the whole rule at its final states."""
    net = network(p, engine)
    g = engine.spc.gradient(net, p.params, p.x, p.y, p.precision, inference_steps=N, step_size=LAM)
    at_s, at_the_end = (oracle(ad.spc_weight_gradient, p, s, p.y) for s in (p.s, g.states))
    return [engine.spc.weight_gradient(net, p.params, p.s, p.y, p.precision), flat(g.grads)], [
        at_s,
        flat(at_the_end),
    ]


# ---------------------------------------------------------------------- ePC


@check("ePC.1")
def derived_states(engine, p):
    """States from errors."""
    actual = engine.epc.states_from_errors(network(p, engine), p.params, p.e, p.x)
    return actual, ad.states_from_errors(p.layers, p.params, p.e, p.x)


@check("ePC.2")
def error_energy(engine, p):
    """Energy of each sample at any errors."""
    net = network(p, engine)
    return engine.epc.energy(net, p.params, p.e, p.x, p.y, p.precision), oracle(
        ad.epc_energy, p, p.e, p.x, p.y
    )


@check("ePC.3", "ePC.4")
def error_gradient(engine, p):
    """dE/de."""
    actual = engine.epc.error_gradient(network(p, engine), p.params, p.e, p.x, p.y, p.precision)
    return actual, oracle(ad.epc_error_gradient, p, p.e, p.x, p.y)


@check("ePC.5")
def relaxed_errors(engine, p):
    """Errors after a few fixed steps."""
    options = {"inference_steps": N, "step_size": LAM}
    run = engine.epc.infer(network(p, engine), p.params, p.e, p.x, p.y, p.precision, **options)
    return run.e, descend(lambda e: oracle(ad.epc_error_gradient, p, e, p.x, p.y), p.e)


def local_gradient(p, e):
    """dE/dW where the states follow from ``e`` and are then held; no error is taken as a difference of states."""
    s = ad.states_from_errors(p.layers, p.params, e, p.x)
    xi = [
        np.dot(v, full(Pi, v.shape[1]))
        for v, Pi in zip(e[1:], ad.precisions(p.layers, p.precision), strict=False)
    ]

    def held(params):
        *mu, yhat = [ad.predict(layer, q, below) for layer, q, below in zip(p.layers, params, s, strict=True)]
        top = anp.sum(ad.loss_value(p.loss, yhat, p.y, ad.precisions(p.layers, p.precision)[-1]))
        return top - sum(anp.sum(arrow * m) for arrow, m in zip(xi, mu, strict=True))  # dE/dmu = -xi

    return grad(held)(p.params)


@check("ePC.6")
def error_weight_gradient(engine, p):
    """Local dE/dW at any errors, and that of the whole rule, with fixed and adaptive steps, at its final errors."""
    net = network(p, engine)
    actual = [engine.epc.weight_gradient(net, p.params, p.e, p.x, p.y, p.precision)]
    expected = [oracle(ad.epc_weight_gradient, p, p.e, p.x, p.y)]
    for step_size in (LAM, "adaptive"):
        g = engine.epc.gradient(net, p.params, p.x, p.y, p.precision, inference_steps=N, step_size=step_size)
        actual.append(flat(g.grads))  # a block may be dead at these states
        expected.append(flat(local_gradient(p, [None, *g.errors[1:-1]])))
    return actual, expected


def full(Pi, n):
    """A precision as a matrix (n, n)."""
    return np.diag(np.ones(n) if Pi is None else np.broadcast_to(Pi, n)) if np.ndim(Pi) < 2 else Pi


def block_diagonal(matrices):
    """One matrix with these along its diagonal."""
    ends = np.cumsum([0, *(len(A) for A in matrices)])
    out = np.zeros((ends[-1], ends[-1]))
    for A, (start, end) in zip(matrices, pairwise(ends), strict=True):
        out[start:end, start:end] = A
    return out


def linearised(p, e):
    """Of one sample: yhat (n[L],), J = dyhat/de (n[L], n), and the matrices Pi (n, n) and Pi[L] of the problem."""
    widths = p.sizes[1:-1]

    def output(vector):
        s = ad.states_from_errors(p.layers, p.params, [None, *ad.unstack(vector, widths)], p.x)
        return ad.predict(p.layers[-1], p.params[-1], s[-1])[0]

    Pi = [full(Pi, n) for Pi, n in zip(ad.precisions(p.layers, p.precision), p.sizes[1:], strict=True)]
    vector = ad.stack(e[1:])
    return output(vector), jacobian(output)(vector), block_diagonal(Pi[:-1]), Pi[-1]


@check("ePC.15")
def gauss_newton(engine, p):
    """The step of each sample, by the normal equations of the linearised energy; all layers in one row."""
    p, expected = with_mse(p), []
    for one in samples(p):
        yhat, J, Pi, Pi_L = linearised(one, one.e)
        rho = one.y[0] - yhat + J @ ad.stack(one.e[1:])
        expected.append(np.linalg.solve(Pi + J.T @ Pi_L @ J, J.T @ Pi_L @ rho))
    actual = engine.epc.gauss_newton_step(network(p, engine), p.params, p.e, p.x, p.y, p.precision)
    return np.concatenate(actual[1:], axis=1), np.array(expected)


def gauss_newton_matrix(p, e):
    """G of one sample, (n, n), Eq. (EPS.3)."""
    yhat, J, Pi, Pi_L = linearised(p, e)
    C = Pi_L if p.loss == "mse" else hessian(lambda yhat: ad.loss_value(p.loss, yhat[None], p.y)[0])(yhat)
    return Pi + J.T @ C @ J


@check("EPS.3")
def power_iteration(engine, p):
    """The Rayleigh quotient after four products, by the dense matrix."""
    expected = []
    for one in samples(p):
        Pi, G = linearised(one, one.e)[2], gauss_newton_matrix(one, one.e)
        e, slope = one.e, oracle(ad.epc_error_gradient, one, one.e, one.x, one.y)
        v = Pi @ ad.stack(e[1:]) - ad.stack(slope[1:])  # d
        v = np.linalg.matrix_power(G, 3) @ v
        expected.append(v @ G @ v / (v @ v))
    actual = engine.epc.largest_eigenvalue(
        network(p, engine), p.params, p.e, p.x, p.y, p.precision, iterations=4
    )
    return actual, np.array(expected)


def secants(slopes, step_size=LAM):
    """Curvatures (N, B) along the steps between successive gradients, Eq. (EPS.2)."""
    rows = []
    for before, after in pairwise(slopes):
        turned = sum(((g - h) * g).sum(axis=1) for g, h in zip(before[1:], after[1:], strict=True))
        rows.append(turned / (step_size * sum((g * g).sum(axis=1) for g in before[1:])))
    return np.array(rows)


@check("EPS.2", "ePC.17")
def curvature_and_regime(engine, p):
    """What fixed-step ePC reports about the fastest mode it met."""
    g = engine.epc.gradient(
        network(p, engine), p.params, p.x, p.y, p.precision, inference_steps=N, step_size=LAM, record_every=1
    )
    slopes = []
    descend(
        lambda e: slopes.append(oracle(ad.epc_error_gradient, p, e, p.x, p.y)) or slopes[-1],
        zero_errors(p),
        steps=N + 1,
    )
    ev = np.maximum(secants(slopes).max(axis=0), 0)
    return [1 + g.curvature, 2 - g.regime], [1 + ev, 1 + abs(1 - LAM * ev) ** N]


def backtrack(p, steps=6, share=0.45, shorten=0.3, lengthen=1.5, longest=1.0):
    """(EPS.1) for one sample, as long as no decision is one of rounding: one tuple a step.

    Errors, energy, next step size, largest curvature met (EPS.2), share of its mode that is left (ePC.17).
    """

    def look(vector):
        e = [None, *ad.unstack(vector, p.sizes[1:-1])]
        return oracle(ad.epc_energy, p, e, p.x, p.y)[0], ad.stack(
            oracle(ad.epc_error_gradient, p, e, p.x, p.y)[1:]
        )

    e, path, used = np.zeros(sum(p.sizes[1:-1])), [], []
    energy, g = look(e)
    ev = (g @ gauss_newton_matrix(p, zero_errors(p)) @ g) / (g @ g)
    lam = min(1 / ev, longest)
    for _ in range(steps):
        trial_energy, trial_g = look(e - lam * g)
        surplus = energy - share * lam * (g @ g) - trial_energy
        if abs(surplus) < 1e-12 * (1 + energy):
            break
        if surplus > 0:
            ev = max(ev, (g - trial_g) @ g / (lam * (g @ g)))
            used.append(lam)
            e, energy, g, lam = e - lam * g, trial_energy, trial_g, min(lengthen * lam, longest)
        else:
            lam = shorten * lam
        left = np.prod([min(abs(1 - step * ev), 1) for step in used])
        path.append((ad.unstack(e, p.sizes[1:-1]), energy, lam, ev, left))
    return path


@check("EPS.1")
def safe_step(engine, p):
    """Errors, energy, step, curvature and regime after up to six adaptive steps."""
    paths = [backtrack(one) for one in samples(p)]
    steps = min(len(path) for path in paths)
    g = engine.epc.gradient(network(p, engine), p.params, p.x, p.y, p.precision, inference_steps=steps)
    e, *numbers = zip(*(path[steps - 1] for path in paths), strict=True)
    expected = [np.concatenate(layer) for layer in zip(*e, strict=True)], *map(np.array, numbers)
    return [g.errors[1:-1], g.energy, g.step_size, g.curvature, 2 - g.regime], [
        *expected[:-1],
        1 + expected[-1],
    ]


# ---------------------------------------------------------------------- variants

OPTIONS = {"inference_steps": N, "step_size": LAM}
BETA, RHO, TAU = 0.3, 1.3, 0.7


def gave(g):
    """What a rule returns; errors and gradients in one vector: deep layers may have received nothing but rounding."""
    return [g.states, flat(g.errors[1:]), flat(g.grads), g.loss, g.energy, 1 + g.residual]


def length(slope, B):
    """1 + the norm of a by-layer list, per sample."""
    return 1 + sum(((v * v).sum(axis=1) for v in slope[1:]), np.zeros(B)) ** 0.5


def expected_of(p, s, energy, scale=1.0):
    """The same, of the states ``s`` of an energy ``energy(params, s) -> (B,)``, by autograd."""
    yhat = ad.feedforward(p.layers, p.params, p.x)[-1]
    at = p._replace(s=s)
    slope = ad.in_states(lambda s: energy(p.params, s), s)
    grads = ad.in_params(lambda params: energy(params, s), p.params)
    return [
        s,
        flat(state_errors(at)),
        scale * flat(grads),
        ad.loss_value(p.loss, yhat, p.y),
        energy(p.params, s),
        length(slope, len(p.x)),
    ]


def forward_states(p):
    """s[0..L-1] of the feedforward pass."""
    return ad.feedforward(p.layers, p.params, p.x)[:-1]


def plain_energy(p):
    """E as a function of parameters and states, (sPC.2)."""
    return lambda params, s: ad.spc_energy(p.layers, params, s, p.y, p.loss, p.precision)


@check("sPC.11")
def sweeps(engine, p):
    """N sweeps, one layer after the other, each by autograd of the whole energy."""
    s, L = forward_states(p), len(p.layers)
    for _ in range(N):
        for l in range(L - 1, 0, -1):
            s = [*s[:l], s[l] - LAM * oracle(ad.spc_activity_gradient, p, s, p.y)[l], *s[l + 1 :]]
    g = engine.variants.top_down(network(p, engine), p.params, p.x, p.y, p.precision, **OPTIONS)
    return gave(g), expected_of(p, s, plain_energy(p))


@check("MOM.1")
def heavy_ball(engine, p):
    """N steps with momentum; written with the last move instead of a velocity."""
    before, s, m = forward_states(p), forward_states(p), 0.6
    for _ in range(N):
        slope = oracle(ad.spc_activity_gradient, p, s, p.y)
        moved = [a - LAM * g + m * (a - b) for a, g, b in zip(s[1:], slope[1:], before[1:], strict=True)]
        before, s = s, [p.x, *moved]
    g = engine.variants.momentum(network(p, engine), p.params, p.x, p.y, p.precision, **OPTIONS, momentum=m)
    return gave(g), expected_of(p, s, plain_energy(p))


@check("sPC.13")
def joint_steps(engine, p):
    """N joint steps of states and weights: new parameters, and what is there at the end."""
    s, params, eta = forward_states(p), p.params, 0.1
    for _ in range(N):
        at = p._replace(params=params)
        slope, grads = (
            f(p.layers, params, s, p.y, p.loss, p.precision)
            for f in (ad.spc_activity_gradient, ad.spc_weight_gradient)
        )
        s = [p.x, *(a - LAM * g for a, g in zip(s[1:], slope[1:], strict=True))]
        params = [{k: q[k] - eta * g[k] / len(p.x) for k in q} for q, g in zip(params, grads, strict=True)]
    at = expected_of(p._replace(params=params), s, plain_energy(p))
    at[3] = ad.loss_value(p.loss, ad.feedforward(p.layers, p.params, p.x)[-1], p.y)  # before the first update
    options = {**OPTIONS, "optimizer": engine.optim.SGD(eta), "state": None, "precision": p.precision}
    new, _, g = engine.variants.incremental(network(p, engine), p.params, p.x, p.y, **options)
    return [new, gave(g)], [params, at]


@check("sPC.14")
def learned_precisions(engine, p):
    """The full energy and its derivative in the precisions, for numbers, diagonals and matrices."""
    net, n = network(p, engine), p.sizes
    kinds = [
        [None, 0.7, np.linspace(0.5, 2, m), full(1.5, m) + 0.3][(l + len(n)) % 4] for l, m in enumerate(n[1:])
    ]
    actual, expected = [], []
    for precision in (p.precision or kinds, [*kinds[:-1], None if p.loss != "mse" else kinds[-1]]):
        q = p._replace(precision=precision if p.loss == "mse" else [*precision[:-1], None])
        actual.append(engine.variants.full_energy(net, q.params, q.s, q.y, q.precision))
        actual.append(engine.variants.precision_gradient(net, q.params, q.s, q.y, q.precision))
        expected.append(oracle(ad.full_energy, q, q.s, q.y))
        gradient = oracle(ad.precision_gradient, q, q.s, q.y)
        expected.append([None if g is None else np.asarray(g) for g in gradient])
    return actual, expected


GUESS = {
    "mse": lambda yhat: yhat,
    "cross_entropy": lambda yhat: np.exp(ad.log_softmax(yhat)),
    "binary_cross_entropy": lambda yhat: 1 / (1 + np.exp(-yhat)),
}


@check("sPC.15")
def nearer_target(engine, p):
    """N steps towards the interpolated target."""
    guess = GUESS[p.loss](ad.feedforward(p.layers, p.params, p.x)[-1])
    q = p._replace(y=guess + BETA * (p.y - guess))
    s = descend(lambda s: oracle(ad.spc_activity_gradient, q, s, q.y), forward_states(p))
    expected = expected_of(q, s, plain_energy(q), 1 / BETA)
    expected[3] = ad.loss_value(p.loss, ad.feedforward(p.layers, p.params, p.x)[-1], p.y)
    g = engine.variants.target_interpolation(
        network(p, engine), p.params, p.x, p.y, p.precision, **OPTIONS, beta=BETA
    )
    return gave(g), expected


def nudge(p, beta):
    """States after N steps on E_beta, and E_beta of parameters and states."""

    def energy(params, s):
        return ad.nudged_energy(p.layers, params, s, p.y, p.loss, p.precision, beta)

    return descend(lambda s: ad.in_states(lambda s: energy(p.params, s), s), forward_states(p)), energy


@check("sPC.16")
def weighted_loss(engine, p):
    """N steps with the loss weighted by beta."""
    g = engine.variants.nudged(network(p, engine), p.params, p.x, p.y, p.precision, **OPTIONS, beta=BETA)
    return gave(g), expected_of(p, *nudge(p, BETA), 1 / BETA)


@check("sPC.17")
def two_nudges(engine, p):
    """N steps with beta and with -beta."""
    g = engine.variants.centred(network(p, engine), p.params, p.x, p.y, p.precision, **OPTIONS, beta=BETA)
    plus, minus = (expected_of(p, *nudge(p, beta)) for beta in (BETA, -BETA))
    plus[2], plus[5] = (plus[2] - minus[2]) / (2 * BETA), np.maximum(plus[5], minus[5])
    return gave(g), plus


@check("sPC.20")
def multipliers(engine, p):
    """N steps of states and multipliers."""
    s, v = forward_states(p), [None, *(np.zeros_like(a) for a in p.s[1:])]

    def energy(params, s):
        return ad.lagrangian(p.layers, params, s, p.y, p.loss, p.precision, v, RHO)

    for _ in range(N):
        s = descend(lambda s: ad.in_states(lambda s: energy(p.params, s), s), s, steps=1)
        eps = [None, *state_errors(p._replace(s=s))[:-1]]
        v = [None, *(a + TAU * e for a, e in zip(v[1:], eps[1:], strict=True))]
    expected = expected_of(p, s, energy)
    slope = ad.in_states(lambda s: energy(p.params, s), s)
    expected[5] = length([*slope, *eps[1:]], len(p.x))
    options = {**OPTIONS, "penalty": RHO, "dual_step": TAU}
    g = engine.variants.pc_alm(network(p, engine), p.params, p.x, p.y, p.precision, **options)
    return gave(g), expected


@check("sPC.21")
def newton(engine, p):
    """A step of every unit by its own second derivative, taken from the dense Hessian; no precision matrices."""
    Pi = [np.diag(Pi) if np.ndim(Pi) == 2 else Pi for Pi in ad.precisions(p.layers, p.precision)]
    p = with_mse(p)._replace(precision=Pi)
    rows = []
    for one in samples(p):
        curvature = np.diag(oracle(ad.energy_hessian_states, one, one.s, one.y))
        slope = ad.stack(oracle(ad.spc_activity_gradient, one, one.s, one.y)[1:])
        rows.append(ad.stack(one.s[1:]) - slope / curvature)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="newton_step climbs"
        )  # random states: not convex everywhere
        s = engine.variants.newton_step(network(p, engine), p.params, p.s, p.y, Pi)
    return np.concatenate(s[1:], axis=1), np.array(rows)


@check("ZIL.1")
def timed_updates(engine, p):
    """Backprop's gradient, by autograd of the loss."""
    g = engine.variants.z_il(network(p, engine), p.params, p.x, p.y)
    return [flat(g.grads), g.loss], [
        flat(oracle(ad.loss_gradient, p, p.x, p.y, precision=False)),
        ad.loss_value(p.loss, ad.feedforward(p.layers, p.params, p.x)[-1], p.y),
    ]


@check("FPA.1")
def frozen_predictions(engine, p):
    """N + 2 steps with predictions and Jacobians of the feedforward pass."""
    *mu, yhat = ad.feedforward(p.layers, p.params, p.x)

    def frozen(eps):
        return ad.frozen_gradient(p.layers, p.params, p.x, p.y, p.loss, eps, p.precision)

    eps = descend(frozen, zero_errors(p), steps=N + 2)
    slope = frozen(eps)
    Pi = ad.precisions(p.layers, p.precision)
    xi = [np.dot(e, full(P, e.shape[1])) for e, P in zip(eps[1:], Pi[:-1], strict=True)]
    top = grad(lambda yhat: -anp.sum(ad.loss_value(p.loss, yhat, p.y, Pi[-1])))(yhat)

    def held(params):  # dE/dmu = -xi
        found = [ad.predict(layer, q, s) for layer, q, s in zip(p.layers, params, mu, strict=True)]
        return -sum(anp.sum(arrow * m) for arrow, m in zip([*xi, top], found, strict=True))

    g = engine.variants.fixed_prediction(
        network(p, engine), p.params, p.x, p.y, p.precision, inference_steps=N + 2, step_size=LAM
    )
    states = [p.x, *(m + e for m, e in zip(mu[1:], eps[1:], strict=True))]
    return [g.states, flat(g.errors[1:-1]), flat(g.grads), 1 + g.residual], [
        states,
        flat(eps[1:]),
        flat(grad(held)(p.params)),
        length(slope, len(p.x)),
    ]


def graph(p):
    """A graph with the nodes of the problem: node j has the parents j - 2 and j - 1, in turns the other way round."""
    parents = [(0,), *(((j - 2, j - 1) if j % 2 else (j - 1, j - 2)) for j in range(2, len(p.layers) + 1))]
    params = []
    for j, (nodes, q) in enumerate(zip(parents, p.params, strict=True), start=1):
        shapes = [(len(q["b"]), p.sizes[i]) for i in nodes]
        parts = [q["W"] if i == j - 1 else skip(shape) for i, shape in zip(nodes, shapes, strict=True)]
        params.append({"W": np.concatenate(parts, axis=1), "b": q["b"]})
    return parents, params


def skip(shape):
    """Weights of a connection that a chain has not."""
    return np.sin(1 + np.arange(shape[0] * shape[1])).reshape(shape) / shape[1] ** 0.5


@check("ePC.16")
def graph_of_blocks(engine, p):
    """Every verb at any errors, and the whole rule at its final errors."""
    parents, params = graph(p)
    data = (p.layers, params, parents)
    blocks = [
        engine.Dense(sum(p.sizes[i] for i in nodes), n, kind, form=form)
        for nodes, n, (kind, form) in zip(parents, p.sizes[1:], p.layers, strict=True)
    ]
    net, dag, rest = engine.Dag(blocks, parents, p.loss), engine.dag, (p.loss, p.precision)
    g = dag.gradient(net, params, p.x, p.y, p.precision, **OPTIONS)
    actual = [
        dag.states_from_errors(net, params, p.e, p.x),
        net.forward(params, p.x),
        dag.energy(net, params, p.e, p.x, p.y, p.precision),
        dag.error_gradient(net, params, p.e, p.x, p.y, p.precision),
        dag.weight_gradient(net, params, p.e, p.x, p.y, p.precision),
        dag.infer(net, params, p.e, p.x, p.y, p.precision, **OPTIONS).e,
        [g.errors[1:-1], g.states, g.energy, g.loss, 1 + g.residual],
    ]

    def slope(e):
        return ad.dag_error_gradient(*data, e, p.x, p.y, *rest)

    e = descend(slope, zero_errors(p))
    at_rest = ad.dag_states(*data, zero_errors(p), p.x)
    return actual, [
        ad.dag_states(*data, p.e, p.x)[:-1],
        at_rest[-1],
        ad.dag_energy(*data, p.e, p.x, p.y, *rest),
        slope(p.e),
        ad.dag_weight_gradient(*data, p.e, p.x, p.y, *rest),
        descend(slope, p.e),
        [
            e[1:],
            ad.dag_states(*data, e, p.x)[:-1],
            ad.dag_energy(*data, e, p.x, p.y, *rest),
            ad.loss_value(p.loss, at_rest[-1], p.y),
            length(slope(e), len(p.x)),
        ],
    ]


# ---------------------------------------------------------------------- optimisers


def _updates(p, optimizer, step, change=lambda grads: grads):
    """Five updates with five different gradients, by the optimiser, and entry by entry with ``step``.

    ``step((w, m, v), g, t)`` returns the new three; ``change`` is what happens to a list of all gradients before.
    """
    params, state = p.params, optimizer.init(p.params)
    entries = [{name: (value, 0 * value, 0 * value) for name, value in q.items()} for q in p.params]
    for t in range(1, 6):
        grads = [{name: np.sin(t + value) for name, value in q.items()} for q in p.params]
        params, state = optimizer.step(params, grads, state)
        changed = iter(change([g for q in grads for g in q.values()]))
        entries = [
            {name: step(entry, next(changed), t) for name, entry in entry_of.items()} for entry_of in entries
        ]
    return params, [{name: entry[0] for name, entry in entry_of.items()} for entry_of in entries]


def plain_step(rate):
    """(SGD.1) as a ``step``; ``rate(t)`` is the learning rate of update t = 1, 2, ..."""
    return lambda entry, g, t: (loops.sgd_step(entry[0], g, rate(t)), None, None)


def momentum_step(nesterov):
    """(SGD.2) or (SGD.3) as a ``step``."""

    def step(entry, g, t):
        w, v = loops.momentum_step(entry[0], g, entry[2], 0.1, 0.6, nesterov)
        return w, None, v

    return step


def rmsprop_step(entry, g, t):
    """(RMS.1), (RMS.2) as a ``step``."""
    w, v = loops.rmsprop_step(entry[0], g, entry[2], **RMS)
    return w, None, v


def adam_step(entry, g, t):
    """(ADAM.1)-(ADAM.4) as a ``step``."""
    return loops.adam_step(entry[0], g, *entry[1:], t, **ADAM)


def coupled(step):
    """A ``step`` with the decay in the gradient."""
    return lambda entry, g, t: step(entry, loops.coupled_decay(entry[0], g, DECAY), t)


@check("SGD.1")
def gradient_descent(engine, p):
    """Five updates, and one epoch of training with a single batch, which divides by its size."""
    sgd = engine.optim.SGD(0.1)
    actual, expected = _updates(p, sgd, plain_step(lambda t: 0.1))
    options = {
        "rule": engine.backprop.gradient,
        "optimizer": sgd,
        "epochs": 1,
        "batch_size": len(p.x),
        "progress": False,
    }
    trained, _ = engine.train.fit(network(p, engine), p.params, (p.x, p.y), **options)
    g = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    once = [{k: q[k] - 0.1 * h[k] / len(p.x) for k in q} for q, h in zip(p.params, g, strict=True)]
    return [actual, trained], [expected, once]


@check("SGD.2", "SGD.3")
def momentum(engine, p):
    """Five updates of each kind."""
    runs = [
        _updates(p, engine.optim.SGD(0.1, momentum=0.6, nesterov=nesterov), momentum_step(nesterov))
        for nesterov in (False, True)
    ]
    return list(zip(*runs, strict=True))


@check("RMS.1", "RMS.2")
def rmsprop(engine, p):
    """Five updates."""
    return _updates(p, engine.optim.RMSprop(**RMS), rmsprop_step)


@check("ADAM.1", "ADAM.2", "ADAM.3", "ADAM.4")
def adam(engine, p):
    """Five updates."""
    return _updates(p, engine.optim.Adam(**ADAM), adam_step)


@check("DECAY.1")
def coupled_decay(engine, p):
    """Five updates of every optimiser that has it."""
    runs = [
        _updates(p, engine.optim.SGD(0.1, weight_decay=DECAY), coupled(plain_step(lambda t: 0.1))),
        _updates(
            p, engine.optim.SGD(0.1, momentum=0.6, weight_decay=DECAY), coupled(momentum_step(nesterov=False))
        ),
        _updates(p, engine.optim.RMSprop(**RMS, weight_decay=DECAY), coupled(rmsprop_step)),
        _updates(p, engine.optim.Adam(**ADAM, weight_decay=DECAY), coupled(adam_step)),
    ]
    return list(zip(*runs, strict=True))


@check("DECAY.2")
def decoupled_decay(engine, p):
    """Five updates."""

    def step(entry, g, t):
        w = loops.decoupled_decay(entry[0], ADAM["learning_rate"], DECAY)
        return adam_step((w, *entry[1:]), g, t)

    return _updates(p, engine.optim.AdamW(**ADAM, weight_decay=DECAY), step)


@check("CLIP.1")
def clipping(engine, p):
    """Five updates with gradients that are all too long, and five with gradients that are all short enough."""
    runs = [
        _updates(
            p,
            engine.optim.Clip(engine.optim.SGD(0.1), norm),
            plain_step(lambda t: 0.1),
            lambda grads, norm=norm: loops.clip(grads, norm),
        )
        for norm in (0.5, 1e3)
    ]
    return list(zip(*runs, strict=True))


def _rates(engine, p, schedule, rate):
    """A schedule at t = 0..24, and five updates with it; ``rate(t)`` is the oracle."""
    run = _updates(p, engine.optim.SGD(schedule), plain_step(lambda t: rate(t - 1)))
    return [np.array([schedule(t) for t in range(25)]), run[0]], [np.array([*map(rate, range(25))]), run[1]]


@check("WARM.1")
def warm_up(engine, p):
    """Before, at and after the peak."""
    return _rates(engine, p, engine.schedules.WarmUp(0.1, 4), lambda t: loops.warm_up_rate(t, 0.1, 4))


@check("COS.1")
def cosine(engine, p):
    """Warm-up, fall, and beyond the end."""
    schedule = engine.schedules.Cosine(0.1, 17, warm_up=2, final=0.01)
    return _rates(engine, p, schedule, lambda t: loops.cosine_rate(t, 0.1, 17, 2, 0.01))


@check("STEP.1")
def step_decay(engine, p):
    """Warm-up and many steps."""
    schedule = engine.schedules.StepDecay(0.1, 0.7, 3, warm_up=2)
    return _rates(engine, p, schedule, lambda t: loops.step_decay_rate(t, 0.1, 0.7, 3, 2))


# ---------------------------------------------------------------------- fixed problems

CASES = (
    ("post", "mse", "diagonal"),
    ("pre", "mse", "full"),
    ("post", "cross_entropy", "full"),
    ("pre", "mse", "diagonal"),
)


def fixed(sizes, B=3, activation="tanh", precision=True):
    """Four problems of these widths: both forms, both losses, diagonal and full precisions; nothing zero."""
    found = []
    for seed, (form, loss, kind) in enumerate(CASES):
        options = {"form": form, "loss": loss, "precision": kind if precision else None}
        rng = np.random.default_rng(seed)
        found.append(make(rng, sizes=sizes, B=B, activation=activation, output=activation, **options))
    return found


GOOD = fixed((3, 5, 4, 6, 2))
SQUARE = fixed((4, 4, 4, 4, 4))  # here a missing transpose is no shape error


def battery_error(engine, equation, problems) -> float:
    """Worst relative error of an engine in the check of one equation."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* inference diverged|newton_step climbs")  # mutants may
        return max(worst_error(*CHECKS[equation](engine, p)) for p in problems)


BATTERY = {equation: partial(battery_error, equation=equation, problems=GOOD) for equation in CHECKS}
