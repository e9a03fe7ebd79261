"""Claims: deep linear networks, where linear algebra says what inference approaches, and how."""

import numpy as np

from .. import backprop, check, epc, spc
from ..blocks import Dense
from ..network import Network
from .setting import cf, claim, linear, make, network, rel


@claim(
    "S11", "LIN.1-LIN.6", "converged sPC and ePC = closed form = block solve", "closed form", 1e-10, trials=5
)
def s11(rng):
    p = linear(rng, depth=(3, 4), precision="full", gain=0.8)
    net, Pi = network(p), p.precision
    star = cf.equilibrium(p.params, p.x, p.y, Pi)
    lam_s = 1 / np.linalg.eigvalsh(cf.hessian_states(p.params, Pi)).max()
    lam_e = 1 / np.linalg.eigvalsh(cf.hessian_errors(p.params, Pi)).max()
    options = {"inference_steps": 100_000, "tolerance": 1e-13}
    a = spc.gradient(net, p.params, p.x, p.y, Pi, step_size=lam_s, **options)
    b = epc.gradient(net, p.params, p.x, p.y, Pi, step_size=lam_e, **options)
    error = max(
        rel(cf.block_solve(p.params, p.x, p.y, Pi), star.states),
        *(rel(g.states, star.states) for g in (a, b)),
        *(rel(g.errors, star.errors) for g in (a, b)),
        *(rel(g.energy, star.energy) for g in (a, b)),
        *(rel(g, cf.weight_gradient(star)) for g in (a, b)),
    )
    r, wrong = cf.residual(p.params, p.x, p.y), cf.omega(p.params, None)  # Omega without Pi^{-1}
    return error, rel(0.5 * (r * np.linalg.solve(wrong, r.T).T).sum(axis=1), star.energy)


@claim("S12", "LIN.4, LIN.5", "the total derivative of E* is the local gradient", "complex step", 1e-10)
def s12(rng):
    p = linear(rng)
    net, star = network(p), cf.equilibrium(p.params, p.x, p.y, p.precision)
    total = []
    for l, block in enumerate(p.params):
        total.append({})
        for k, value in block.items():

            def energy(v, l=l, k=k):
                moved = [*p.params[:l], {**p.params[l], k: v}, *p.params[l + 1 :]]
                return cf.energy_star(moved, p.x, p.y, p.precision).sum()

            total[l][k] = check.complex_step(energy, value)
    error = rel(spc.weight_gradient(net, p.params, star.states, p.y, p.precision), total)
    s = spc.feedforward(net, p.params, p.x)
    wrong = [{"W": -xi.T @ s[l], "b": -xi.sum(axis=0)} for l, xi in enumerate(star.weighted[1:])]
    return error, rel(wrong[1:], total[1:])


@claim(
    "S13",
    "LIN.7, LIN.8",
    "Pi_L = beta: backprop as beta -> 0, exact fit as beta -> inf",
    "ratio over a decade",
    0.1,
)
def s13(rng):
    p = linear(rng, precision=None)
    net, L = network(p), len(p.layers)
    delta = backprop.gradient(net, p.params, p.x, p.y).errors[1:L]
    fit = cf.large_beta_limit(p.params, p.x, p.y)[1:]

    def hidden(beta):
        e = epc.gauss_newton_step(
            net, p.params, epc.feedforward(net, p.params, p.x), p.x, p.y, [None] * (L - 1) + [beta]
        )
        return e[1:]

    low = [rel([e / beta for e in hidden(beta)], delta) for beta in (1e-4, 1e-5)]
    scale = np.linalg.eigvalsh(cf.omega(p.params) - np.eye(net.sizes[-1]))
    high = [10.0, 1.0]
    if (
        scale.min() > 1e-3 * scale.max()
    ):  # (LIN.8) approaches its limit at a rate set by the smallest eigenvalue
        high = [rel(hidden(beta / scale.min()), fit) for beta in (1e4, 1e5)]
    one = {"W": np.array([[2.0]]), "b": np.zeros(1)}, {"W": np.array([[3.0]]), "b": np.zeros(1)}
    star = cf.equilibrium(list(one), np.array([[1.0]]), np.array([[1.0]]))
    tiny = Network([Dense(1, 1), Dense(1, 1)])
    e = epc.gauss_newton_step(tiny, list(one), [None, np.zeros((1, 1))], np.array([[1.0]]), np.array([[1.0]]))
    by_hand = abs(star.energy[0] - 1.25) + abs(e[1][0, 0] + 1.5) + abs(star.errors[2][0, 0] + 0.5)
    ratios = [abs(pair[0] / pair[1] / 10 - 1) for pair in (low, high)]
    return max(*ratios, by_hand / 1e-14), rel(hidden(1.0), delta)


@claim(
    "S15", "ePC.13", "inference converges at .95 and diverges at 1.05 of 2/ev_max", "closed form", 0, trials=5
)
def s15(rng):
    p = linear(rng, depth=(3, 4), precision=None, gain=0.8)
    net = network(p)

    def violations(factor):
        """Brackets that do not hold if the gradient were ``factor`` times what it is."""
        wrong = 0
        for rule, H in ((spc, cf.hessian_states(p.params)), (epc, cf.omega(p.params))):
            bound = 2 / np.linalg.eigvalsh(H).max()
            for share, shrinks in ((0.95, True), (1.05, False)):
                lam = share * bound * factor
                a, b = (
                    rule.gradient(net, p.params, p.x, p.y, inference_steps=n, step_size=lam)
                    for n in (100, 300)
                )
                wrong += bool((b.residual < a.residual).all()) != shrinks
        return wrong

    return violations(1.0), violations(1.2)


@claim("S16", "ePC.12", "ePC relaxes mode by mode, 1 - (1 - lam ev)^N", "closed form", 1e-12)
def s16(rng):
    p = linear(rng, depth=(4, 5), precision=None)
    ev = np.linalg.eigvalsh(cf.omega(p.params))
    lam, N = float(rng.uniform(0.2, 1.8)) / ev.max(), int(rng.integers(2, 8))
    g = epc.gradient(network(p), p.params, p.x, p.y, inference_steps=N, step_size=lam)
    residual, e = cf.mode_law(p.params, p.x, p.y, lam, N)
    error = max(rel(g.errors[-1], residual), rel(g.errors[1:-1], e[1:]))
    r, V = cf.residual(p.params, p.x, p.y), np.linalg.eigh(cf.omega(p.params))[1]
    other = np.linalg.eigvalsh(cf.hessian_states(p.params))[-len(ev) :]  # the wrong spectrum
    wrong = (r @ V / other * (1 + (other - 1) * (1 - lam * other) ** N)) @ V.T
    return error, rel(wrong, residual)


@claim("S17", "ePC.14", "one long ePC step reverses the output gradient along the top mode", "closed form", 0)
def s17(rng):
    p = linear(rng, precision=None)
    ev, V = np.linalg.eigh(cf.omega(p.params))
    top, r = V[:, -1], cf.residual(p.params, p.x, p.y)

    def reversed_sign(lam, N):
        g = epc.gradient(network(p), p.params, p.x, p.y, inference_steps=N, step_size=lam)
        return np.sign(g.errors[-1] @ top) == -np.sign(r @ top)

    long, short = 1.5 / (ev[-1] - 1), 0.5 / (ev[-1] - 1)
    violations = (~reversed_sign(long, 1)).sum() + reversed_sign(long, 2).sum()
    return int(violations), int((~reversed_sign(short, 1)).sum())


@claim("S18", "ePC.15", "a Gauss-Newton step lands on the equilibrium of a linear net", "closed form", 1e-10)
def s18(rng):
    p = linear(rng)
    net = network(p)
    e = epc.gauss_newton_step(net, p.params, p.e, p.x, p.y, p.precision)
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)
    error = rel(epc.states_from_errors(net, p.params, e, p.x), star.states)
    q = make(rng, activation="tanh", loss="mse")
    net = network(q)
    e = epc.gauss_newton_step(net, q.params, q.e, q.x, q.y, q.precision)
    before, after = (epc.error_gradient(net, q.params, v, q.x, q.y, q.precision) for v in (q.e, e))
    return error, max(
        np.linalg.norm(b) / np.linalg.norm(a) for a, b in zip(before[1:], after[1:], strict=True)
    )


@claim(
    "S37", "sPC.5, ePC.5", "the energy falls in every step for lam < 2/ev_max", "closed form", 0, trials=10
)
def s37(rng):
    p = linear(rng, depth=(3, 4), gain=0.8)
    net, Pi = network(p), p.precision

    def rises(share, steps):
        count = 0
        for rule, H in ((spc, cf.hessian_states(p.params, Pi)), (epc, cf.hessian_errors(p.params, Pi))):
            lam = share * 2 / np.linalg.eigvalsh(H).max()
            run = rule.gradient(
                net, p.params, p.x, p.y, Pi, inference_steps=steps, step_size=lam, record_every=1
            )
            count += int((np.diff(run.recording.energy, axis=0) >= 0).any())
        return count

    return rises(0.95, 20), rises(1.05, 300)
