"""Claims: where predictive coding gives backprop's gradient, and where it does not."""

import numpy as np

from .. import backprop, epc, mistakes, variants
from ..optim import SGD, Adam
from .setting import ad, cf, claim, flat, linear, make, network, oracle, rel, smooth, times


@claim(
    "S22", "ZIL.1", "Z-IL is backprop: step 1, each block learns when its error arrives", "autograd", 1e-12
)
def s22(rng):
    p = make(rng, depth=(3, 4), precision=None)
    exact = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    wrong = mistakes.load("all blocks learn at the last step")
    late = wrong.variants.z_il(network(p, wrong), p.params, p.x, p.y)
    return rel(variants.z_il(network(p), p.params, p.x, p.y), exact), rel(late, exact)


@claim(
    "S23",
    "FPA.1, FPA.2, FPA.3",
    "fixed prediction: backprop's error times a binomial tail",
    "closed form, autograd",
    1e-12,
)
def s23(rng):
    p, lam = make(rng, precision=None), float(rng.uniform(0.1, 0.9))
    net, L = network(p), len(p.layers)
    k, delta = L - 1 + int(rng.integers(1, 6)), oracle(ad.deltas, p, p.x, p.y, precision=False)
    g = variants.fixed_prediction(net, p.params, p.x, p.y, inference_steps=k, step_size=lam)

    def law(share):
        return [-share(k, L - l, lam) * delta[l] for l in range(1, L)]

    exact = variants.fixed_prediction(net, p.params, p.x, p.y, inference_steps=L - 1, step_size=1.0)
    error = max(
        rel(g.errors[1:L], law(cf.binomial_tail)),
        rel(exact, oracle(ad.loss_gradient, p, p.x, p.y, precision=False)),
    )
    return error, rel(g.errors[1:L], law(cf.binomial_point_mass))


@claim(
    "S24", "FPA.1, FPA.3", "fixed prediction converges to backprop for any step below 2", "autograd", 1e-10
)
def s24(rng):
    p, lam = make(rng, activation="tanh", precision=None, gain=0.8), float(rng.choice([0.3, 1.0, 1.5]))
    exact = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    wrong = mistakes.load("the Jacobians move with the states")

    def settled(rule, net, lam):
        return rule.fixed_prediction(net, p.params, p.x, p.y, inference_steps=200, step_size=lam)

    live = settled(wrong.variants, network(p, wrong), 0.3)
    return rel(settled(variants, network(p), lam), exact), rel(live, exact)


@claim(
    "S25",
    "ePC.11",
    "one ePC step: e = -lam delta, dE/dW_1 = lam dLoss/dW_1, others + O(lam)",
    "autograd",
    1e-12,
)
def s25(rng):
    p = smooth(rng, precision=None)
    net = network(p)
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)
    loss = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    deviation = []
    for lam in (1e-4, 1e-5):
        g = epc.gradient(net, p.params, p.x, p.y, inference_steps=1, step_size=lam)
        error = max(
            rel(g.errors[1:-1], [-lam * d for d in delta[1:-1]]), rel(g.grads[:1], times(lam, loss[:1]))
        )
        deviation.append([rel(g.grads[1:-1], times(lam, loss[1:-1])), rel(g.grads[-1:], loss[-1:])])
    ratios = np.array(deviation[0]) / np.array(deviation[1])
    first_order = bool((abs(ratios / 10 - 1) < 0.2).all())
    return (error if first_order else np.inf), rel(g.grads[-1:], times(lam, loss[-1:]))


@claim(
    "S26",
    "ePC.11, ADAM.1-ADAM.4",
    "Adam's first update: one ePC step = backprop (1 - cosine)",
    "the other rule",
    1e-3,
)
def s26(rng):  # lam |g| >> eps, and lam small enough that no entry changes its sign
    p = make(rng, activation="tanh", output="identity", precision=None, gain=0.7)
    top = {**p.params[-1], "W": 3 * p.params[-1]["W"]}  # gives the hidden layers a fair share of the gradient
    p = p._replace(params=[*p.params[:-1], top])
    net = network(p)
    bp = backprop.gradient(net, p.params, p.x, p.y)
    one = epc.gradient(net, p.params, p.x, p.y, inference_steps=1, step_size=1e-6)

    def updates(optimizer, g):
        new, _ = optimizer.step(p.params, times(1 / len(p.x), g.grads), optimizer.init(p.params))
        return [flat([a]) - flat([b]) for a, b in zip(new, p.params, strict=True)]  # block by block

    def apart(optimizer):
        u, v = updates(optimizer, one), updates(optimizer, bp)
        pairs = [*zip(u, v, strict=True), (np.concatenate(u), np.concatenate(v))]
        return [1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]

    return max(apart(Adam(1e-3, eps=1e-16))), apart(SGD(1e-3))[-1]


def _settling(rng):
    """A well-conditioned linear problem, unit precision, and the options of sPC that settle it (sPC.24)."""
    while True:
        p = linear(rng, depth=(3, 4), precision=None, gain=0.6)
        ev = np.linalg.eigvalsh(cf.hessian_states(p.params))
        if ev.max() < 40 * ev.min():
            steps, _ = cf.contraction_steps(ev, 1e-15)
            return p, {"inference_steps": steps, "step_size": 1 / float(ev.max())}


@claim(
    "S27",
    "sPC.15",
    "target interpolation gives P' Omega^-1 r for every beta, not backprop",
    "closed form",
    1e-10,
    trials=5,
)
def s27(rng):
    p, options = _settling(rng)
    net, L = network(p), len(p.layers)
    star = cf.equilibrium(p.params, p.x, p.y).errors[1:L]
    scaled = []
    for beta in (1.0, 0.1, -0.5):
        g = variants.target_interpolation(net, p.params, p.x, p.y, beta=beta, **options)
        scaled.append([e / beta for e in g.errors[1:L]])
    bp = [-d for d in oracle(ad.deltas, p, p.x, p.y, precision=False)[1:L]]
    return max(rel(e, star) for e in scaled), min(rel(e, bp) for e in scaled)


@claim(
    "S28",
    "sPC.16, sPC.17",
    "loss weighting is backprop + O(beta), centred + O(beta^2)",
    "ratio over a decade",
    0.2,
    trials=5,
)
def s28(rng):
    p, options = _settling(rng)
    net, bp = network(p), flat(oracle(ad.loss_gradient, p, p.x, p.y, precision=False))
    scale = 1 / float(np.linalg.eigvalsh(cf.omega(p.params)).max())

    def ratio(rule, share):
        """Distance from backprop with beta = share / ev_max over that with a tenth of it."""
        far, near = (
            np.linalg.norm(flat(rule(net, p.params, p.x, p.y, beta=beta, **options).grads) - bp)
            for beta in (share * scale, share * scale / 10)
        )
        return far / near

    first, second = ratio(variants.nudged, 1e-2) / 10, ratio(variants.centred, 1e-1) / 100
    return max(abs(first - 1), abs(second - 1)), abs(ratio(variants.target_interpolation, 1e-2) / 10 - 1)


@claim("S30", "sPC.20", "PC with multipliers converges to backprop", "autograd", 1e-9, trials=5)
def s30(rng):
    p, options = _settling(rng)
    net, exact = network(p), oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    long = {**options, "inference_steps": 2000}
    g = variants.pc_alm(net, p.params, p.x, p.y, **long, dual_step=0.2)
    plain = variants.pc_alm(net, p.params, p.x, p.y, **options, dual_step=0)
    return rel(g, exact), rel(plain, exact)
