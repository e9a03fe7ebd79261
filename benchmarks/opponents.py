"""The same three algorithms in JAX and PyTorch, written as their users would: the opponents of spatial.py.

Each opponent offers ``build(params, x, y) -> {line: function of no argument}``; a call computes the parameter
gradient of one batch and waits for it. tanh in post form below, a linear output, squared error, unit precisions.
sPC: N steps from the feedforward pass, errors at the final states, local weight gradient (sPC.5), (sPC.6).
ePC: N fixed steps from zero errors (ePC.5), (ePC.6). The input's prediction is computed once.
"""

SPC = {"steps": 20, "lam": 0.1}
EPC = {"steps": 5, "lam": 0.001}


def jax_programs(params, x, y):
    """JAX, jit: derivatives by hand, and by ``jax.grad`` of the energy."""
    import jax
    import jax.numpy as jnp

    theta = [(jnp.asarray(p["W"]), jnp.asarray(p["b"])) for p in params]
    x, y = jnp.asarray(x), jnp.asarray(y)
    L = len(theta)

    def predict(l, p, s):
        a = s @ p[0].T + p[1]
        return jnp.tanh(a) if l < L else a

    def forward(theta, x):
        s = [x]
        for l, p in enumerate(theta, start=1):
            s.append(predict(l, p, s[-1]))
        return s

    def loss(theta, x, y):
        return 0.5 * jnp.sum((y - forward(theta, x)[-1]) ** 2)

    # ------------------------------------------------------------------ derivatives by hand
    def slope(l, mu, v):
        return v * (1 - mu * mu) if l < L else v

    def weights(theta, s, mu, xi):
        grads = []
        for l in range(1, L + 1):
            back = slope(l, mu[l], xi[l])
            grads.append((-back.T @ s[l - 1], -back.sum(axis=0)))
        return grads

    def bp_hand(theta, x, y):
        s = forward(theta, x)
        delta, grads = s[L] - y, [None] * L
        for l in range(L, 0, -1):
            back = slope(l, s[l], delta)
            grads[l - 1] = (back.T @ s[l - 1], back.sum(axis=0))
            if l > 1:
                delta = back @ theta[l - 1][0]
        return grads

    def errors(theta, s, mu1, y):
        mu = [None, mu1, *(predict(l, theta[l - 1], s[l - 1]) for l in range(2, L + 1))]
        return mu, [None, *(s[l] - mu[l] for l in range(1, L)), y - mu[L]]

    def spc_hand(theta, x, y):
        s = forward(theta, x)
        mu1 = s[1]

        def step(_, free):
            s = [x, *free]
            mu, eps = errors(theta, s, mu1, y)
            down = [None, *(slope(l + 1, mu[l + 1], eps[l + 1]) @ theta[l][0] for l in range(1, L))]
            return [s[l] - SPC["lam"] * (eps[l] - down[l]) for l in range(1, L)]

        s = [x, *jax.lax.fori_loop(0, SPC["steps"], step, s[1:L])]
        mu, eps = errors(theta, s, mu1, y)
        return weights(theta, s, mu, eps)

    def derive(theta, e, mu1, x):
        s, mu = [x], [None]
        for l in range(1, L + 1):
            mu.append(mu1 if l == 1 else predict(l, theta[l - 1], s[l - 1]))
            if l < L:
                s.append(mu[l] + e[l - 1])
        return s, mu

    def epc_hand(theta, x, y):
        mu1 = predict(1, theta[0], x)

        def step(_, e):
            _, mu = derive(theta, e, mu1, x)
            d, new = y - mu[L], [None] * (L - 1)
            for l in range(L - 1, 0, -1):
                d = slope(l + 1, mu[l + 1], d) @ theta[l][0]
                new[l - 1] = e[l - 1] - EPC["lam"] * (e[l - 1] - d)
            return new

        e = [jnp.zeros((len(x), len(p[1])), x.dtype) for p in theta[:-1]]
        e = jax.lax.fori_loop(0, EPC["steps"], step, e)
        s, mu = derive(theta, e, mu1, x)
        return weights(theta, s, mu, [None, *e, y - mu[L]])

    # ------------------------------------------------------------------ derivatives by jax.grad
    def spc_energy(free, theta, x, y):
        s = [x, *free]
        mu = [predict(l, p, s[l - 1]) for l, p in enumerate(theta, start=1)]
        return sum(0.5 * jnp.sum((a - b) ** 2) for a, b in zip([*free, y], mu, strict=True))

    def spc_auto(theta, x, y):
        def step(_, free):
            g = jax.grad(spc_energy)(free, theta, x, y)
            return [a - SPC["lam"] * b for a, b in zip(free, g, strict=True)]

        free = jax.lax.fori_loop(0, SPC["steps"], step, forward(theta, x)[1:L])
        return jax.grad(spc_energy, argnums=1)(free, theta, x, y)

    def epc_energy(e, theta, x, y):
        s, _ = derive(theta, e, predict(1, theta[0], x), x)
        yhat = predict(L, theta[-1], s[-1])
        return sum(0.5 * jnp.sum(v * v) for v in [*e, y - yhat])

    def epc_auto(theta, x, y):
        def step(_, e):
            g = jax.grad(epc_energy)(e, theta, x, y)
            return [a - EPC["lam"] * b for a, b in zip(e, g, strict=True)]

        e = [jnp.zeros((len(x), len(p[1])), x.dtype) for p in theta[:-1]]
        e = jax.lax.fori_loop(0, EPC["steps"], step, e)
        s, _ = derive(theta, e, predict(1, theta[0], x), x)
        return jax.grad(spc_energy, argnums=1)(s[1:], theta, x, y)  # states held

    def timed(function):
        jitted = jax.jit(function)
        return lambda: jax.block_until_ready(jitted(theta, x, y))

    return {
        "jax hand": {"BP": timed(bp_hand), "sPC": timed(spc_hand), "ePC": timed(epc_hand)},
        "jax autodiff": {"BP": timed(jax.grad(loss)), "sPC": timed(spc_auto), "ePC": timed(epc_auto)},
    }


def torch_programs(params, x, y):
    """PyTorch, eager: derivatives by hand without a graph, and by autograd."""
    import torch

    W = [None, *(torch.tensor(p["W"]) for p in params)]
    b = [None, *(torch.tensor(p["b"]) for p in params)]
    x, y = torch.tensor(x), torch.tensor(y)
    L = len(params)

    def predict(l, s):
        a = torch.addmm(b[l], s, W[l].T)
        return torch.tanh(a) if l < L else a

    def slope(l, mu, v):
        return v * (1 - mu * mu) if l < L else v

    def weights(s, mu, xi):
        back = [None, *(slope(l, mu[l], xi[l]) for l in range(1, L + 1))]
        return [(-back[l].T @ s[l - 1], -back[l].sum(0)) for l in range(1, L + 1)]

    def forward():
        s = [x]
        for l in range(1, L + 1):
            s.append(predict(l, s[-1]))
        return s

    @torch.no_grad()
    def bp_hand():
        s = forward()
        delta, grads = s[L] - y, [None] * L
        for l in range(L, 0, -1):
            back = slope(l, s[l], delta)
            grads[l - 1] = (back.T @ s[l - 1], back.sum(0))
            if l > 1:
                delta = back @ W[l]
        return grads

    @torch.no_grad()
    def spc_hand():
        s = forward()[:L]
        mu1 = s[1]
        for step in range(SPC["steps"] + 1):
            mu = [None, mu1, *(predict(l, s[l - 1]) for l in range(2, L + 1))]
            eps = [None, *(s[l] - mu[l] for l in range(1, L)), y - mu[L]]
            if step < SPC["steps"]:
                down = [None, *(slope(l + 1, mu[l + 1], eps[l + 1]) @ W[l + 1] for l in range(1, L))]
                s = [x, *(s[l] - SPC["lam"] * (eps[l] - down[l]) for l in range(1, L))]
        return weights(s, mu, eps)

    def derive(e, mu1):
        s, mu = [x], [None]
        for l in range(1, L + 1):
            mu.append(mu1 if l == 1 else predict(l, s[l - 1]))
            if l < L:
                s.append(mu[l] + e[l])
        return s, mu

    @torch.no_grad()
    def epc_hand():
        mu1 = predict(1, x)
        e = [None, *(torch.zeros(len(x), len(b[l])) for l in range(1, L))]
        for step in range(EPC["steps"] + 1):
            s, mu = derive(e, mu1)
            if step < EPC["steps"]:
                d = y - mu[L]
                for l in range(L - 1, 0, -1):
                    d = slope(l + 1, mu[l + 1], d) @ W[l + 1]
                    e[l] = e[l] - EPC["lam"] * (e[l] - d)
        return weights(s, mu, [*e, y - mu[L]])

    def with_weights(energy):
        """Gradient of an energy with respect to all parameters."""
        leaves = [v for pair in zip(W[1:], b[1:], strict=True) for v in pair]
        for v in leaves:
            v.requires_grad_(True)
        grads = torch.autograd.grad(energy(), leaves)
        for v in leaves:
            v.requires_grad_(False)
        return grads

    def bp_auto():
        return with_weights(lambda: 0.5 * ((y - forward()[-1]) ** 2).sum())

    def spc_energy(free):
        s = [x, *free]
        mu = [predict(l, s[l - 1]) for l in range(1, L + 1)]
        return sum(0.5 * ((a - m) ** 2).sum() for a, m in zip([*free, y], mu, strict=True))

    def spc_auto():
        with torch.no_grad():
            free = forward()[1:L]
        for _ in range(SPC["steps"]):
            free = [v.requires_grad_(True) for v in free]
            g = torch.autograd.grad(spc_energy(free), free)
            free = [v.detach() - SPC["lam"] * a for v, a in zip(free, g, strict=True)]
        return with_weights(lambda: spc_energy(free))

    def epc_auto():
        with torch.no_grad():
            mu1 = predict(1, x)
        e = [torch.zeros(len(x), len(b[l])) for l in range(1, L)]
        for _ in range(EPC["steps"]):
            e = [v.requires_grad_(True) for v in e]
            _, mu = derive([None, *e], mu1)
            energy = sum(0.5 * (v * v).sum() for v in [*e, y - mu[L]])
            g = torch.autograd.grad(energy, e)
            e = [v.detach() - EPC["lam"] * a for v, a in zip(e, g, strict=True)]
        with torch.no_grad():
            s, _ = derive([None, *e], mu1)
        return with_weights(lambda: spc_energy(s[1:]))

    return {
        "torch hand": {"BP": bp_hand, "sPC": spc_hand, "ePC": epc_hand},
        "torch autograd": {"BP": bp_auto, "sPC": spc_auto, "ePC": epc_auto},
    }
