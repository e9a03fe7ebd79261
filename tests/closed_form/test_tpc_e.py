"""tPC-E: a leaky linear state whose traces are RFLO's, written out for every number of every sequence."""

import numpy as np

import minipc as pc
from tests.helpers.checks import assert_differ, assert_same

T, B, m, n, o, ALPHA, BETA, LAM, N = 6, 2, 3, 4, 5, 0.5, 0.7, 0.1, 8


def loop(p, q, u, y, h0):
    """s = (1 - a) s' + a (A s' + B u + b); tr <- (1 - a) tr + a [s'; u; 1]; d[A B b] = -eps tr'/beta; N steps a state."""
    grads = [{k: np.zeros_like(v) for k, v in g.items()} for g in (p, q)]
    for b in range(B):
        s, tr = h0[b], np.zeros(n + m + 1)
        for t in range(T):
            before = s
            mu = (1 - ALPHA) * before + ALPHA * (p["W"] @ before + p["U"] @ u[t, b] + p["b"])
            tr = (1 - ALPHA) * tr + ALPHA * np.concatenate([before, u[t, b], [1.0]])
            s = mu
            for _ in range(N):
                s = s - LAM * ((s - mu) - BETA * q["W"].T @ (y[t, b] - q["W"] @ s - q["b"]))
            eps, r = s - mu, y[t, b] - q["W"] @ s - q["b"]
            g = -np.outer(eps, tr) / BETA
            for name, part in (("W", g[:, :n]), ("U", g[:, n : n + m]), ("b", g[:, -1])):
                grads[0][name] += part
            grads[1]["W"] -= np.outer(r, s)
            grads[1]["b"] -= r
    return grads


def test_tpc_e():
    """The rule of the paper, number by number."""
    rng = np.random.default_rng(0)
    net = pc.RecurrentNetwork([pc.RNN(m, n, "identity", form="pre", alpha=ALPHA), pc.Dense(n, o)])
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(0)]
    u, y, h0 = (rng.standard_normal(shape) for shape in ((T, B, m), (T, B, o), (B, n)))
    options = {"beta": BETA, "inference_steps": N, "step_size": LAM}
    g = pc.tpc.gradient(net, params, u, y, None, h0, influence="rflo", **options)
    assert_same(g, loop(*params, u, y, h0), 1e-12)
    assert_differ(g, pc.tpc.gradient(net, params, u, y, None, h0, influence="plain", **options))
    assert_differ(g, pc.tpc.gradient(net, params, u, y, None, h0, influence=None, **options))
