"""BPTT and exact RTRL in JAX and PyTorch, written as their users would: the opponents of temporal.py.

``jax_programs(problem)`` and ``torch_programs(problem)`` give ``{program: {"BPTT": ..., "RTRL": ...}}`` for the tanh
RNN, ``lru_jax`` and ``lru_torch`` the same for the LRU. A call computes the parameter gradient of a batch of sequences
and waits for it; RTRL also returns the influence at the end, as a stream needs it.

RTRL by hand is the step with one product for each sample, M <- (D W) M, and the immediate term added on the diagonal.
Gradients are tuples of tuples, in the order of minipc's parameters.
"""


def jax_programs(params, u, y):
    """JAX, jit, ``lax.scan``: derivatives by hand, and BPTT by ``jax.grad``."""
    import jax
    import jax.numpy as jnp

    theta = jax.tree.map(jnp.asarray, params)
    u, y = jnp.asarray(u), jnp.asarray(y)
    (_, B, m), n = u.shape, params[0]["b"].size
    n_z, unit = n + m + 1, jnp.arange(n)

    def states(theta, u):
        p = theta[0]

        def step(h, x):
            h = jnp.tanh(h @ p["W"].T + x)
            return h, h

        return jax.lax.scan(step, jnp.zeros((B, n), u.dtype), u @ p["U"].T + p["b"])[1]

    def loss(theta, u, y):
        out = states(theta, u) @ theta[1]["W"].T + theta[1]["b"]
        return 0.5 * jnp.sum((out - y) ** 2)

    def readout(theta, h, dy):
        return {"W": jnp.einsum("tbo,tbn->on", dy, h), "b": dy.sum((0, 1))}

    def bptt(theta, u, y):
        W, h = theta[0]["W"], states(theta, u)
        dy = h @ theta[1]["W"].T + theta[1]["b"] - y
        q, D = dy @ theta[1]["W"], 1 - h * h

        def back(v, qD):
            w = qD[1] * (v + qD[0])
            return w @ W, w

        _, w = jax.lax.scan(back, jnp.zeros((B, n), u.dtype), (q, D), reverse=True)
        before = jnp.concatenate([jnp.zeros((1, B, n), u.dtype), h[:-1]])
        own = {
            "W": jnp.einsum("tbi,tbj->ij", w, before),
            "U": jnp.einsum("tbi,tbj->ij", w, u),
            "b": w.sum((0, 1)),
        }
        return [own, readout(theta, h, dy)]

    def rtrl(theta, u, y):
        p, V = theta
        one = jnp.ones((B, 1), u.dtype)

        def step(state, now):
            (h, M, g), (u, y) = state, now
            z = jnp.concatenate([h, u, one], axis=1)
            h = jnp.tanh(h @ p["W"].T + u @ p["U"].T + p["b"])
            D = 1 - h * h
            M = jax.lax.batch_matmul(D[:, :, None] * p["W"], M.reshape(B, n, n * n_z))
            M = M.reshape(B, n, n, n_z).at[:, unit, unit].add(D[:, :, None] * z[:, None])
            dy = h @ V["W"].T + V["b"] - y
            g = g + (dy @ V["W"]).reshape(-1) @ M.reshape(B * n, n * n_z)
            return (h, M, g), (h, dy)

        start = (jnp.zeros((B, n), u.dtype), jnp.zeros((B, n, n, n_z), u.dtype), jnp.zeros(n * n_z, u.dtype))
        (_, M, g), (h, dy) = jax.lax.scan(step, start, (u, y))
        g = g.reshape(n, n_z)
        return [{"W": g[:, :n], "U": g[:, n:-1], "b": g[:, -1]}, readout(theta, h, dy)], M

    def timed(function):
        jitted = jax.jit(function)
        return lambda: jax.block_until_ready(jitted(theta, u, y))

    return {
        "jax hand": {"BPTT": timed(bptt), "RTRL": timed(rtrl)},
        "jax autodiff": {"BPTT": timed(jax.grad(loss))},
    }


def torch_programs(params, u, y):
    """PyTorch, eager: by hand without a graph, in place where it can be; BPTT by autograd, of its own RNN, too."""
    import torch

    p, V = ({k: torch.tensor(v) for k, v in q.items()} for q in params)
    u, y = torch.tensor(u), torch.tensor(y)
    (T, B, m), n = u.shape, params[0]["b"].size
    n_z, unit = n + m + 1, torch.arange(n)

    def forward():
        a, h, states = u @ p["U"].T + p["b"], torch.zeros(B, n), []
        for t in range(T):
            h = torch.tanh(torch.addmm(a[t], h, p["W"].T))
            states.append(h)
        return torch.stack(states)

    def readout(h, dy):
        flat = dy.reshape(-1, dy.shape[-1])
        return {"W": flat.T @ h.reshape(-1, n), "b": flat.sum(0)}

    @torch.no_grad()
    def bptt():
        h = forward()
        dy = h @ V["W"].T + V["b"] - y
        q, D, w, v = dy @ V["W"], 1 - h * h, torch.empty(T, B, n), torch.zeros(B, n)
        for t in range(T - 1, -1, -1):
            torch.mul(D[t], v.add_(q[t]), out=w[t])
            torch.mm(w[t], p["W"], out=v)
        flat = w.reshape(-1, n)
        before = torch.cat([torch.zeros(1, B, n), h[:-1]]).reshape(-1, n)
        own = {"W": flat.T @ before, "U": flat.T @ u.reshape(-1, m), "b": flat.sum(0)}
        return [own, readout(h, dy)]

    @torch.no_grad()
    def rtrl():
        h, M, new = torch.zeros(B, n), torch.zeros(B, n, n * n_z), torch.empty(B, n, n * n_z)
        g, one, states, errors = torch.zeros(n * n_z), torch.ones(B, 1), [], []
        for t in range(T):
            z = torch.cat([h, u[t], one], 1)
            h = torch.tanh(h @ p["W"].T + u[t] @ p["U"].T + p["b"])
            D = 1 - h * h
            torch.bmm(D[:, :, None] * p["W"], M, out=new)
            new.view(B, n, n, n_z)[:, unit, unit] += D[:, :, None] * z[:, None]
            M, new = new, M
            dy = h @ V["W"].T + V["b"] - y[t]
            g.addmv_(M.view(B * n, -1).T, (dy @ V["W"]).reshape(-1))
            states.append(h)
            errors.append(dy)
        g = g.view(n, n_z)
        own = {"W": g[:, :n], "U": g[:, n:-1], "b": g[:, -1]}
        return [own, readout(torch.stack(states), torch.stack(errors))], M

    def bptt_auto():
        leaves = [*p.values(), *V.values()]
        for v in leaves:
            v.requires_grad_(True)
        out = forward() @ V["W"].T + V["b"]
        grads = torch.autograd.grad(0.5 * ((out - y) ** 2).sum(), leaves)
        for v in leaves:
            v.requires_grad_(False)
        return [dict(zip(p, grads, strict=False)), dict(zip(V, grads[3:], strict=False))]

    return {"torch hand": {"BPTT": bptt, "RTRL": rtrl}, "torch autograd": {"BPTT": bptt_auto}}


def lru_jax(params, u, y):
    """The LRU in JAX: BPTT by ``jax.grad``, and exact RTRL by complex traces, step by step."""
    import jax
    import jax.numpy as jnp

    theta = jax.tree.map(jnp.asarray, params)
    u, y = jnp.asarray(u), jnp.asarray(y)
    (n, d), B = params[0]["B_re"].shape, u.shape[1]

    def modes(p):
        return jnp.exp(-jnp.exp(p["nu"]) + 1j * jnp.exp(p["th"])), jnp.exp(p["lg"])

    def loss(theta, u, y):
        (p,) = theta
        zeta, gam = modes(p)

        def step(h, x):
            h = zeta * h + x
            return h, h

        driven = gam * (u @ p["B_re"].T + 1j * (u @ p["B_im"].T))
        h = jax.lax.scan(step, jnp.zeros((B, n), "F"), driven)[1]
        out = h.real @ p["C_re"].T - h.imag @ p["C_im"].T + u @ p["D"].T
        return 0.5 * jnp.sum((out - y) ** 2)

    def rtrl(theta, u, y):
        (p,) = theta
        zeta, gam = modes(p)

        def step(state, now):
            (h, ez, eg, EB, gz, gg, gB, gC, gD), (u, y) = state, now
            Bu = u @ p["B_re"].T + 1j * (u @ p["B_im"].T)
            ez, eg, EB = zeta * ez + h, zeta * eg + Bu, zeta[:, None] * EB + u[:, None]
            h = zeta * h + gam * Bu
            dy = h.real @ p["C_re"].T - h.imag @ p["C_im"].T + u @ p["D"].T - y
            q = dy @ p["C_re"] + 1j * (dy @ p["C_im"])
            gz, gg = gz + (q * ez).sum(0), gg + (q * eg).sum(0)
            gB = gB + jnp.einsum("bn,bnd->nd", q, EB)
            return (h, ez, eg, EB, gz, gg, gB, gC + dy.T @ h, gD + dy.T @ u), None

        zero = [jnp.zeros(s, "F") for s in ((B, n), (B, n), (B, n), (B, n, d), n, n, (n, d))]
        zero += [jnp.zeros((y.shape[2], n), "F"), jnp.zeros((y.shape[2], d), "f")]
        (_, ez, eg, EB, gz, gg, gB, gC, gD), _ = jax.lax.scan(step, tuple(zero), (u, y))
        rate = jnp.exp(p["nu"])
        grads = {
            "nu": (gz * (-rate * zeta)).real,
            "th": (gz * (1j * jnp.exp(p["th"]) * zeta)).real,
            "lg": gam * gg.real,
            "B_re": gam[:, None] * gB.real,
            "B_im": -gam[:, None] * gB.imag,
            "C_re": gC.real,
            "C_im": -gC.imag,
            "D": gD,
        }
        return [grads], (ez, eg, EB)

    def timed(function):
        jitted = jax.jit(function)
        return lambda: jax.block_until_ready(jitted(theta, u, y))

    return {"jax hand": {"RTRL": timed(rtrl)}, "jax autodiff": {"BPTT": timed(jax.grad(loss))}}


def lru_torch(params, u, y):
    """The LRU in PyTorch: BPTT by autograd, and exact RTRL by complex traces in place, step by step."""
    import torch

    p = {k: torch.tensor(v) for k, v in params[0].items()}
    u, y = torch.tensor(u), torch.tensor(y)
    (n, d), (T, B) = p["B_re"].shape, u.shape[:2]

    def modes():
        return torch.exp(torch.complex(-torch.exp(p["nu"]), torch.exp(p["th"]))), torch.exp(p["lg"])

    def bptt_auto():
        for v in p.values():
            v.requires_grad_(True)
        zeta, gam = modes()
        driven = gam * torch.complex(u @ p["B_re"].T, u @ p["B_im"].T)
        h, states = torch.zeros(B, n, dtype=torch.complex64), []
        for t in range(T):
            h = zeta * h + driven[t]
            states.append(h)
        h = torch.stack(states)
        out = h.real @ p["C_re"].T - h.imag @ p["C_im"].T + u @ p["D"].T
        grads = torch.autograd.grad(0.5 * ((out - y) ** 2).sum(), list(p.values()))
        for v in p.values():
            v.requires_grad_(False)
        return [dict(zip(p, grads, strict=True))]

    @torch.no_grad()
    def rtrl():
        zeta, gam = modes()
        complex64 = {"dtype": torch.complex64}
        h, ez, eg = (torch.zeros(B, n, **complex64) for _ in range(3))
        EB, gB = torch.zeros(B, n, d, **complex64), torch.zeros(n, d, **complex64)
        gz, gg, gC = torch.zeros(n, **complex64), torch.zeros(n, **complex64), 0
        gD, Bu_all = 0, torch.complex(u @ p["B_re"].T, u @ p["B_im"].T)
        for t in range(T):
            ez.mul_(zeta).add_(h)
            eg.mul_(zeta).add_(Bu_all[t])
            EB.mul_(zeta[:, None]).add_(u[t][:, None])
            h = zeta * h + gam * Bu_all[t]
            dy = h.real @ p["C_re"].T - h.imag @ p["C_im"].T + u[t] @ p["D"].T - y[t]
            q = torch.complex(dy @ p["C_re"], dy @ p["C_im"])
            gz += (q * ez).sum(0)
            gg += (q * eg).sum(0)
            gB += torch.bmm(q.T[:, None], EB.transpose(0, 1))[:, 0]
            gC, gD = gC + dy.T.to(torch.complex64) @ h, gD + dy.T @ u[t]
        rate = torch.exp(p["nu"])
        grads = {
            "nu": (gz * (-rate * zeta)).real,
            "th": (gz * (1j * torch.exp(p["th"]) * zeta)).real,
            "lg": gam * gg.real,
            "B_re": gam[:, None] * gB.real,
            "B_im": -gam[:, None] * gB.imag,
            "C_re": gC.real,
            "C_im": -gC.imag,
            "D": gD,
        }
        return [grads], (ez, eg, EB)

    return {"torch hand": {"RTRL": rtrl}, "torch autograd": {"BPTT": bptt_auto}}
