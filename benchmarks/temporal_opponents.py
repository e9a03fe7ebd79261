"""BPTT, RTRL and its approximations, and tPC-RTRL in JAX and PyTorch, written as their users would: the opponents of
temporal.py.

``jax_programs()`` and ``torch_programs()`` give (put, programs). ``put`` makes the library's arrays of NumPy's;
``programs[name][rule, cell]`` is ``f(params, u, y, carry) -> (gradients like params, carry)``, a call on (T, B, m)
inputs that waits for its result. A carry is (state, influence) at the end of a stretch, None before the first one;
BPTT and tPC-RTRL take none and give none. UORO draws its signs, as minipc does, or takes those (T, B, n) that it is
given, so that all programs can have the same.

RNN: a tanh RNN in post form below a linear readout, (RNN.1), (RNN.6). Influence step by step, (RTRL.1), by products of
matrices, and the immediate term (RNN.5). LRU: traces (LRU.6), with gam and the factors that do not change left to the
end. Squared error, sums over time and batch. Of two forms or more that were timed the fastest stands here; automatic
RTRL, and the LRU's BPTT by hand, have been written in one form only.

SnAp-1 (SNAP.3), RFLO (RFLO.1) and UORO (UORO.1)-(UORO.3): the same RNN with a leak of ``ALPHA``, without which RFLO has
no trace. tPC-RTRL: the LRU, its inferred state handed on, plain influence (TPR.1)-(TPR.5), ``TPC`` steps of inference of
``TPC`` size, beta and precision one. Its readout is linear, so the error of the state stays in the row space of C, and
inference goes on in as many numbers as there are outputs: in JAX half the time of inference in the states.
"""

ALPHA = 0.5  # leak of the RNN of the approximations
TPC = {"inference_steps": 10, "step_size": 0.1}
TINY = 1e-30  # in the ratios of norms of UORO, as in minipc


def jax_programs():
    """JAX, jit of the whole stretch, ``lax.scan``: derivatives by hand, and by autodiff."""
    import jax
    import jax.numpy as jnp

    # ------------------------------------------------------------------ RNN
    def readout(p, h):
        return h @ p["W"].T + p["b"]

    def forward(p, h0, u):
        """States (T, B, n); the inputs' share in one product."""
        a_u, W = u @ p["U"].T + p["b"], p["W"].T

        def step(h, a):
            h = jnp.tanh(h @ W + a)
            return h, h

        return jax.lax.scan(step, h0, a_u)[1]

    def readout_gradient(p, h, y):
        """Credit q (T, B, n) of every state and the readout's gradient, of all steps at once."""
        dy = readout(p, h) - y
        flat = dy.reshape(-1, dy.shape[-1])
        return dy @ p["W"], {"W": flat.T @ h.reshape(len(flat), -1), "b": flat.sum(0)}

    def regressors(h0, h, u):
        before = jnp.concatenate([h0[None], h[:-1]])
        return jnp.concatenate([before, u, jnp.ones_like(u[..., :1])], axis=-1)

    def split(g, n):
        return {"W": g[:, :n], "U": g[:, n:-1], "b": g[:, -1]}

    def rnn_zero(params, u):
        (n, m), B = params[0]["U"].shape, u.shape[1]
        return jnp.zeros((B, n), u.dtype), jnp.zeros((n, B, n, n + m + 1), u.dtype)

    def rnn_zero_auto(params, u):
        (n, m), B = params[0]["U"].shape, u.shape[1]
        return jnp.zeros((B, n), u.dtype), jnp.zeros((B, n, n * (n + m + 1)), u.dtype)

    def rnn_exact_hand(params, u, y, carry):
        cell, (h0, M) = params[0], carry  # M (n, B, n, n_z): one product for the whole batch
        h = forward(cell, h0, u)
        q, out = readout_gradient(params[1], h, y)
        z, D, n, unit = regressors(h0, h, u), 1 - h * h, len(M), jnp.eye(len(M), dtype=u.dtype)

        def step(state, now):
            M, g = state
            z, D, q = now
            own = unit[:, None, :, None] * (D[:, :, None] * z[:, None, :])  # fused with the next line
            M = D.T[:, :, None, None] * (cell["W"] @ M.reshape(n, -1)).reshape(M.shape) + own
            return (M, g + q.T.reshape(-1) @ M.reshape(q.size, -1)), None

        (M, g), _ = jax.lax.scan(step, (M, jnp.zeros(M[0, 0].size, u.dtype)), (z, D, q))
        return [split(g.reshape(n, -1), n), out], (h[-1], M)

    def rnn_step(p, h, u):
        return jnp.tanh(p["W"] @ h + p["U"] @ u + p["b"])

    def rnn_exact_auto(params, u, y, carry):
        cell, n = params[0], params[0]["W"].shape[0]
        jacobians = jax.vmap(jax.jacrev(rnn_step, argnums=(0, 1)), (None, 0, 0))
        names = ("W", "U", "b")

        def loss(p, h, y):
            return 0.5 * jnp.sum((readout(p, h) - y) ** 2)

        def step(state, now):
            h, M, g, out = state
            u, y = now
            Mbar, J = jacobians(cell, h, u)
            h = jax.vmap(rnn_step, (None, 0, 0))(cell, h, u)
            M = J @ M + jnp.concatenate([Mbar[k].reshape(*h.shape, -1) for k in names], axis=-1)
            d_out, q = jax.grad(loss, argnums=(0, 1))(params[1], h, y)
            out = jax.tree.map(jnp.add, out, d_out)
            return (h, M, g + q.reshape(-1) @ M.reshape(q.size, -1), out), None

        h, M = carry
        start = (h, M, jnp.zeros_like(M[0, 0]), jax.tree.map(jnp.zeros_like, params[1]))
        (h, M, g, out), _ = jax.lax.scan(step, start, (u, y))
        ends = [n * n, n * n + cell["U"].size]
        parts = zip(names, jnp.split(g, ends), strict=True)
        return [{k: v.reshape(cell[k].shape) for k, v in parts}, out], (h, M)

    def rnn_bptt_hand(params, u, y, _):
        cell, h0 = params[0], jnp.zeros((u.shape[1], len(params[0]["b"])), u.dtype)
        h = forward(cell, h0, u)
        q, out = readout_gradient(params[1], h, y)

        def back(v, now):
            q, D = now
            w = D * (q + v)
            return w @ cell["W"], w

        _, w = jax.lax.scan(back, jnp.zeros_like(h0), (q, 1 - h * h), reverse=True)
        z = regressors(h0, h, u)
        g = w.reshape(-1, w.shape[-1]).T @ z.reshape(-1, z.shape[-1])
        return [split(g, w.shape[-1]), out], None

    def rnn_loss(params, u, y):
        h = forward(params[0], jnp.zeros((u.shape[1], len(params[0]["b"])), u.dtype), u)
        return 0.5 * jnp.sum((readout(params[1], h) - y) ** 2)

    # ------------------------------------------------------------------ LRU
    def lru_parts(p):
        zeta = jnp.exp(-jnp.exp(p["nu"]) + 1j * jnp.exp(p["th"]))
        return zeta, jnp.exp(p["lg"]), p["B_re"] + 1j * p["B_im"]

    def lru_forward(p, h0, u):
        """States (T, B, n) and B u, complex."""
        zeta, gam, _ = lru_parts(p)
        Bu = jax.lax.complex(u @ p["B_re"].T, u @ p["B_im"].T)

        def step(h, v):
            h = zeta * h + v
            return h, h

        return jax.lax.scan(step, h0, gam * Bu)[1], Bu

    def lru_output(p, h, u):
        return h.real @ p["C_re"].T - h.imag @ p["C_im"].T + u @ p["D"].T

    def lru_credit(p, h, u, y):
        """q (T, B, n) (LRU.5) and the gradients of C and D."""
        dy = lru_output(p, h, u) - y
        return jax.lax.complex(dy @ p["C_re"], dy @ p["C_im"]), lru_output_gradients(dy, h, u)

    def lru_output_gradients(dy, h, u):
        flat, h = dy.reshape(-1, dy.shape[-1]), h.reshape(-1, h.shape[-1])
        return {"C_re": flat.T @ h.real, "C_im": -flat.T @ h.imag, "D": flat.T @ u.reshape(len(flat), -1)}

    def lru_gradients(p, c_zeta, c_gam, c_B):
        """From sums of q times trace to the parameters, (LRU.7), (LRU.8)."""
        zeta, gam, _ = lru_parts(p)
        return {
            "nu": (c_zeta * (-jnp.exp(p["nu"]) * zeta)).real,
            "th": (c_zeta * (1j * jnp.exp(p["th"]) * zeta)).real,
            "lg": gam * c_gam.real,
            "B_re": gam[:, None] * c_B.real,
            "B_im": -gam[:, None] * c_B.imag,
        }

    def lru_zero(params, u):
        (n, m), B = params[0]["B_re"].shape, u.shape[1]
        v = jnp.zeros((B, n), jnp.complex64)
        return v, (v, v, jnp.zeros((n, B, m), jnp.float32), jnp.zeros((n, B, m), jnp.float32))

    def traced(p, h0, traces, h, Bu, u, q):
        """Gradients through the traces, and the traces at the end; ``h`` (T, B, n) the states handed on."""
        zeta, _, _ = lru_parts(p)
        a, b = zeta.real[:, None, None], zeta.imag[:, None, None]
        before = jnp.concatenate([h0[None], h[:-1]])

        def step(state, now):
            (ez, eg, E, F), (c_z, c_g, c_E, c_F) = state
            before, Bu, u, q = now
            ez, eg = zeta * ez + before, zeta * eg + Bu
            E, F = a * E - b * F + u, a * F + b * E  # real and imaginary part apart: the fastest of six forms
            both = jnp.stack([q.real.T, q.imag.T], axis=1)  # (n, 2, B)
            sums = c_z + (q * ez).sum(0), c_g + (q * eg).sum(0), c_E + both @ E, c_F + both @ F
            return ((ez, eg, E, F), sums), None

        c, c_B = jnp.zeros_like(zeta), jnp.zeros((*p["B_re"].shape[:1], 2, u.shape[-1]), u.dtype)
        (traces, (c_z, c_g, E, F)), _ = jax.lax.scan(step, (traces, (c, c, c_B, c_B)), (before, Bu, u, q))
        c_B = jax.lax.complex(E[:, 0] - F[:, 1], F[:, 0] + E[:, 1])
        return lru_gradients(p, c_z, c_g, c_B), traces

    def lru_exact_hand(params, u, y, carry):
        p, (h0, traces) = params[0], carry
        h, Bu = lru_forward(p, h0, u)
        q, own = lru_credit(p, h, u, y)
        grads, traces = traced(p, h0, traces, h, Bu, u, q)
        return [grads | own], (h[-1], traces)

    def lru_bptt_hand(params, u, y, _):
        p = params[0]
        zeta, _, _ = lru_parts(p)
        h0 = jnp.zeros((u.shape[1], len(zeta)), zeta.dtype)
        h, Bu = lru_forward(p, h0, u)
        q, own = lru_credit(p, h, u, y)

        def back(v, q):
            v = zeta * v + q
            return v, v

        _, v = jax.lax.scan(back, h0, q, reverse=True)
        before = jnp.concatenate([h0[None], h[:-1]])
        flat, rows = u.reshape(-1, u.shape[-1]), v.reshape(-1, v.shape[-1]).T
        c_B = jax.lax.complex(rows.real @ flat, rows.imag @ flat)
        return [lru_gradients(p, (v * before).sum((0, 1)), (v * Bu).sum((0, 1)), c_B) | own], None

    def lru_loss(params, u, y):
        p = params[0]
        h, _ = lru_forward(p, jnp.zeros((u.shape[1], len(p["nu"])), jnp.complex64), u)
        return 0.5 * jnp.sum((lru_output(p, h, u) - y) ** 2)

    # ------------------------------------------------------------------ approximations, of a leaky RNN
    def leaky(params, h0, u, y):
        """States, D and regressors of all steps, credit, the readout's gradient."""
        p = params[0]
        a_u, W = u @ p["U"].T + p["b"], p["W"].T

        def step(h, a):
            r = jnp.tanh(h @ W + a)
            h = (1 - ALPHA) * h + ALPHA * r
            return h, (h, ALPHA * (1 - r * r))

        _, (h, D) = jax.lax.scan(step, h0, a_u)
        q, out = readout_gradient(params[1], h, y)
        return h, D, regressors(h0, h, u), q, out

    def trace_zero(params, u):
        (n, m), B = params[0]["U"].shape, u.shape[1]
        return jnp.zeros((B, n), u.dtype), jnp.zeros((n, B, n + m + 1), u.dtype)

    def trace_rule(keep_of):
        """A trace of each row that ``keep`` (T, B, n) carries on, (n, B, n_z): the readout is a product for each unit."""

        def rule(params, u, y, carry):
            h0, trace = carry
            h, D, z, q, out = leaky(params, h0, u, y)

            def step(state, now):
                trace, g = state
                keep, D, z, q = now
                trace = keep.T[:, :, None] * trace + D.T[:, :, None] * z
                return (trace, g + (q.T[:, None] @ trace)[:, 0]), None

            start = trace, jnp.zeros_like(trace[:, 0])
            (trace, g), _ = jax.lax.scan(step, start, (keep_of(params[0], D), D, z, q))
            return [split(g, len(g)), out], (h[-1], trace)

        return rule

    snap = trace_rule(lambda p, D: 1 - ALPHA + D * jnp.diag(p["W"]))
    rflo = trace_rule(lambda p, D: jnp.full_like(D, 1 - ALPHA))

    def uoro_zero(params, u):
        (n, m), B = params[0]["U"].shape, u.shape[1]
        h = jnp.zeros((B, n), u.dtype)
        return h, (h, jnp.zeros((B, n, n + m + 1), u.dtype))

    def uoro(params, u, y, carry, signs):
        h0, (s, w) = carry
        h, D, z, q, out = leaky(params, h0, u, y)
        W, n = params[0]["W"].T, s.shape[1]
        immediate = signs * D
        size = jnp.linalg.norm(immediate, axis=2) * jnp.linalg.norm(z, axis=2)  # |nu * Mbar|

        def step(state, now):
            s, w, g = state
            D, z, q, nu, row, size = now
            s = (1 - ALPHA) * s + D * (s @ W)
            r0 = jnp.sqrt((jnp.sqrt((w * w).sum((1, 2))) + TINY) / (jnp.linalg.norm(s, axis=1) + TINY))
            r1 = jnp.sqrt((size + TINY) / (n**0.5 + TINY))
            s = r0[:, None] * s + r1[:, None] * nu
            w = w / r0[:, None, None] + (row / r1[:, None])[:, :, None] * z[:, None]
            return (s, w, g + (q * s).sum(1) @ w.reshape(len(w), -1)), None

        start = s, w, jnp.zeros_like(w[0].reshape(-1))
        (s, w, g), _ = jax.lax.scan(step, start, (D, z, q, signs, immediate, size))
        return [split(g.reshape(n, -1), n), out], (h[-1], (s, w))

    def uoro_drawn(params, u, y, carry, key):
        signs = jax.random.rademacher(key, (*u.shape[:2], carry[0].shape[1]), u.dtype)
        return uoro(params, u, y, carry, signs)

    # ------------------------------------------------------------------ tPC-RTRL of the LRU
    def lru_tpc(params, u, y, _):
        p, lam = params[0], TPC["step_size"]
        zeta, gam, _ = lru_parts(p)
        h0, traces = lru_zero(params, u)
        n, C = len(zeta), jnp.concatenate([p["C_re"], -p["C_im"]], axis=1)  # states as [re, im]
        CT, G, a, b = C.T, C @ C.T, zeta.real, zeta.imag
        Bu = jax.lax.complex(u @ p["B_re"].T, u @ p["B_im"].T)
        driven = jnp.concatenate([gam * Bu.real, gam * Bu.imag], axis=-1)

        def step(s, now):
            driven, y = now
            re, im = s[:, :n], s[:, n:]
            mu = jnp.concatenate([a * re - b * im, a * im + b * re], axis=-1) + driven
            e, k = y - mu @ CT, jnp.zeros_like(y)  # eps = k C
            for _ in range(TPC["inference_steps"]):
                k = k - lam * (k - e + k @ G)
            eps = k @ C
            return mu + eps, (mu + eps, eps, k @ G - e)

        start = jnp.zeros((u.shape[1], 2 * n), u.dtype)
        _, (s, eps, dy) = jax.lax.scan(step, start, (driven, y - u @ p["D"].T))
        h, q = jax.lax.complex(s[..., :n], s[..., n:]), jax.lax.complex(-eps[..., :n], eps[..., n:])
        grads, _ = traced(p, h0, traces, h, Bu, u, q)
        return [grads | lru_output_gradients(dy, h, u)], None

    # ------------------------------------------------------------------ as functions that wait
    def timed(function, zero=None):
        jitted = jax.jit(function)

        def call(params, u, y, carry=None, *more):
            carry = zero(params, u) if zero and carry is None else carry
            return jax.block_until_ready(jitted(params, u, y, carry, *more))

        return call

    def derivative(loss):
        return timed(lambda params, u, y, _: (jax.grad(loss)(params, u, y), None))

    hand = {("RTRL", "RNN"): timed(rnn_exact_hand, rnn_zero), ("BPTT", "RNN"): timed(rnn_bptt_hand)}
    hand |= {("RTRL", "LRU"): timed(lru_exact_hand, lru_zero), ("BPTT", "LRU"): timed(lru_bptt_hand)}
    hand |= {("SnAp-1", "RNN"): timed(snap, trace_zero), ("RFLO", "RNN"): timed(rflo, trace_zero)}
    given, drawn, key = timed(uoro, uoro_zero), timed(uoro_drawn, uoro_zero), jax.random.key(0)

    def uoro_call(params, u, y, carry=None, signs=None):
        return drawn(params, u, y, carry, key) if signs is None else given(params, u, y, carry, signs)

    hand |= {("UORO", "RNN"): uoro_call, ("tPC-RTRL", "LRU"): timed(lru_tpc)}
    auto = {("RTRL", "RNN"): timed(rnn_exact_auto, rnn_zero_auto), ("BPTT", "RNN"): derivative(rnn_loss)}
    auto |= {("BPTT", "LRU"): derivative(lru_loss)}
    return lambda tree: jax.tree.map(jnp.asarray, tree), {"jax hand": hand, "jax autodiff": auto}


def torch_programs():
    """PyTorch, eager: derivatives by hand in place, and by autograd; its own RNN module where it has one."""
    import torch

    # ------------------------------------------------------------------ RNN
    def forward(p, h, u):
        """States (T + 1, B, n) with the first one."""
        T, B, m = u.shape
        a = torch.addmm(p["b"], u.reshape(T * B, m), p["U"].T).reshape(T, B, -1)
        states, W = torch.cat([h[None], a]), p["W"].T
        for t in range(T):
            torch.addmm(states[t + 1], states[t], W, out=states[t + 1]).tanh_()
        return states

    def readout_gradient(p, h, y):
        """Credit q (T, B, n) of every state and the readout's gradient, of all steps at once."""
        h, y = h.reshape(-1, h.shape[-1]), y.reshape(-1, y.shape[-1])
        dy = torch.addmm(p["b"], h, p["W"].T).sub_(y)
        return dy @ p["W"], {"W": dy.T @ h, "b": dy.sum(0)}

    def split(g, n):
        return {"W": g[:, :n], "U": g[:, n:-1], "b": g[:, -1]}

    @torch.no_grad()
    def rnn_exact_hand(params, u, y, carry=None):
        (cell, readout), (T, B, _) = params, u.shape
        n, m = cell["U"].shape
        n_z = n + m + 1
        if carry is None:
            carry = torch.zeros(B, n), torch.zeros(B, n, n * n_z)
        h0, M = carry
        states = forward(cell, h0, u)
        h = states[1:]
        q, out = readout_gradient(readout, h, y)
        z = torch.cat([states[:-1], u, torch.ones(T, B, 1)], dim=2)
        J = (1 - h * h)[..., None] * cell["W"]
        own, q = (1 - h * h)[..., None] * z[:, :, None], q.reshape(T, 1, B * n)
        g, buffers = torch.zeros(1, n * n_z), (torch.empty_like(M), torch.empty_like(M))
        for t in range(T):
            new = buffers[t % 2]  # the given one is not written to
            torch.bmm(J[t], M, out=new)
            new.view(B, n * n, n_z)[:, :: n + 1] += own[t]
            M = new
            g.addmm_(q[t], M.view(B * n, -1))
        return [split(g.view(n, n_z), n), out], (h[-1], M)

    def rnn_step(W, U, b, h, u):
        return torch.tanh(W @ h + U @ u + b)

    jacobians = torch.func.vmap(torch.func.jacrev(rnn_step, argnums=(0, 1, 2, 3)), (None, None, None, 0, 0))

    def rnn_exact_auto(params, u, y, carry=None):
        (cell, readout), (T, B, _) = params, u.shape
        n, m = cell["U"].shape
        if carry is None:
            carry = torch.zeros(B, n), torch.zeros(B, n, n * (n + m + 1))
        (h, M), g = carry, torch.zeros(n * (n + m + 1))
        leaves = [v.detach().requires_grad_(True) for v in (readout["W"], readout["b"])]
        out = [torch.zeros_like(v) for v in leaves]
        for t in range(T):
            with torch.no_grad():
                *Mbar, J = jacobians(cell["W"], cell["U"], cell["b"], h, u[t])
                h = torch.tanh(h @ cell["W"].T + u[t] @ cell["U"].T + cell["b"])
                M = torch.baddbmm(torch.cat([v.reshape(B, n, -1) for v in Mbar], dim=2), J, M)
            h = h.requires_grad_(True)
            loss = 0.5 * ((torch.addmm(leaves[1], h, leaves[0].T) - y[t]) ** 2).sum()
            q, *d_out = torch.autograd.grad(loss, [h, *leaves])
            g += q.reshape(-1) @ M.view(B * n, -1)
            out = [a.add_(b) for a, b in zip(out, d_out, strict=True)]
            h = h.detach()
        parts = zip(("W", "U", "b"), g.split([n * n, n * m, n]), strict=True)
        return [{k: v.view(cell[k].shape) for k, v in parts}, {"W": out[0], "b": out[1]}], (h, M)

    @torch.no_grad()
    def rnn_bptt_hand(params, u, y, carry=None):
        (cell, readout), (T, B, _) = params, u.shape
        n = len(cell["b"])
        states = forward(cell, torch.zeros(B, n), u)
        h = states[1:]
        q, out = readout_gradient(readout, h, y)
        w, D = q.reshape(T, B, n), 1 - h * h
        w[-1] *= D[-1]
        for t in range(T - 2, -1, -1):
            torch.addmm(w[t], w[t + 1], cell["W"], out=w[t]).mul_(D[t])
        z = torch.cat([states[:-1], u, torch.ones(T, B, 1)], dim=2)
        return [split(w.view(T * B, n).T @ z.view(T * B, -1), n), out], None

    modules = {}

    def rnn_bptt_auto(params, u, y, carry=None):
        cell, readout = params
        n, m = cell["U"].shape
        if (n, m) not in modules:  # torch.nn.RNN: its loop over time is in C++
            modules[n, m] = torch.nn.RNN(m, n), torch.nn.Linear(n, len(readout["b"]))
        rnn, linear = modules[n, m]
        given = (cell["U"], cell["W"], cell["b"], torch.zeros(n), readout["W"], readout["b"])
        leaves = [*rnn.parameters(), *linear.parameters()]
        with torch.no_grad():
            for leaf, value in zip(leaves, given, strict=True):
                leaf.copy_(value)
        leaves[3].requires_grad_(False)  # it has two biases
        h, _ = rnn(u)
        loss = 0.5 * ((linear(h) - y) ** 2).sum()
        U, W, b, V, c = torch.autograd.grad(loss, leaves[:3] + leaves[4:])
        return [{"W": W, "U": U, "b": b}, {"W": V, "b": c}], None

    # ------------------------------------------------------------------ approximations, of a leaky RNN
    def leaky(params, h, u, y):
        """States, D and regressors of all steps, credit, the readout's gradient."""
        (p, readout), (T, B, m) = params, u.shape
        a = torch.addmm(p["b"], u.reshape(T * B, m), p["U"].T).reshape(T, B, -1)
        states, W = torch.empty(T + 1, *h.shape), p["W"].T.contiguous()
        states[0] = h
        for t in range(T):
            a[t].addmm_(states[t], W).tanh_()
            torch.lerp(states[t], a[t], ALPHA, out=states[t + 1])
        q, out = readout_gradient(readout, states[1:], y)
        z = torch.cat([states[:-1], u, torch.ones(T, B, 1)], dim=2)
        return states[-1], ALPHA * (1 - a * a), z, q.reshape(T, B, -1), out

    def trace_rule(keep_of):
        """A trace of each row that ``keep`` (T, B, n) carries on, (n, B, n_z): the readout is a product for each unit."""

        @torch.no_grad()
        def rule(params, u, y, carry=None):
            (n, m), B = params[0]["U"].shape, u.shape[1]
            if carry is None:
                carry = torch.zeros(B, n), torch.zeros(n, B, n + m + 1)
            h, D, z, q, out = leaky(params, carry[0], u, y)
            trace, g = carry[1].clone(), torch.zeros(n, 1, n + m + 1)
            columns = lambda v: v.transpose(1, 2)[..., None].contiguous()  # noqa: E731  (T, n, B, 1)
            keep, D, q = columns(keep_of(params[0], D)), columns(D), columns(q).transpose(2, 3)
            for t in range(len(u)):
                trace.mul_(keep[t]).addcmul_(D[t], z[t])
                g.baddbmm_(q[t], trace)
            return [split(g[:, 0], n), out], (h, trace)

        return rule

    snap = trace_rule(lambda p, D: 1 - ALPHA + D * torch.diag(p["W"]))
    rflo = trace_rule(lambda p, D: torch.full_like(D, 1 - ALPHA))

    @torch.no_grad()
    def uoro(params, u, y, carry=None, signs=None):
        (n, m), B = params[0]["U"].shape, u.shape[1]
        if signs is None:
            signs = 2.0 * torch.randint(0, 2, (len(u), B, n)) - 1
        if carry is None:
            carry = torch.zeros(B, n), (torch.zeros(B, n), torch.zeros(B, n, n + m + 1))
        h0, (s, w) = carry
        h, D, z, q, out = leaky(params, h0, u, y)
        w, g, W = w.clone(), torch.zeros(1, n * (n + m + 1)), params[0]["W"].T.contiguous()
        rows = signs * D
        size, norm = rows.norm(dim=2) * z.norm(dim=2), torch.linalg.vector_norm
        for t in range(len(u)):
            s = (1 - ALPHA) * s + D[t] * (s @ W)
            r0 = ((norm(w, dim=(1, 2)) + TINY) / (norm(s, dim=1) + TINY)).sqrt()[:, None]
            r1 = ((size[t] + TINY) / (n**0.5 + TINY)).sqrt()[:, None]
            s = r0 * s + r1 * signs[t]
            w.mul_(1 / r0[:, :, None]).addcmul_((rows[t] / r1)[:, :, None], z[t][:, None])
            g.addmm_((q[t] * s).sum(1)[None], w.view(B, -1))
        return [split(g.view(n, -1), n), out], (h, (s, w))

    # ------------------------------------------------------------------ LRU
    def lru_parts(p):
        zeta = torch.exp(torch.complex(-torch.exp(p["nu"]), torch.exp(p["th"])))
        return zeta, torch.exp(p["lg"])

    def lru_forward(p, h0, u):
        """States (T + 1, B, n) with the first one, and B u, complex."""
        zeta, gam = lru_parts(p)
        Bu = torch.complex(u @ p["B_re"].T, u @ p["B_im"].T)
        states = torch.cat([h0[None], gam * Bu])
        for t in range(len(u)):
            states[t + 1].addcmul_(zeta, states[t])
        return states, Bu

    def lru_output(p, h, u):
        return h.real @ p["C_re"].T - h.imag @ p["C_im"].T + u @ p["D"].T

    def lru_credit(p, h, u, y):
        """q (T, B, n) (LRU.5) and the gradients of C and D."""
        dy = lru_output(p, h, u) - y
        return torch.complex(dy @ p["C_re"], dy @ p["C_im"]), lru_output_gradients(dy, h, u)

    def lru_output_gradients(dy, h, u):
        flat, h = dy.reshape(-1, dy.shape[-1]), h.reshape(-1, h.shape[-1])
        return {"C_re": flat.T @ h.real, "C_im": -flat.T @ h.imag, "D": flat.T @ u.reshape(len(flat), -1)}

    def lru_gradients(p, c_zeta, c_gam, c_B):
        """From sums of q times trace to the parameters, (LRU.7), (LRU.8)."""
        zeta, gam = lru_parts(p)
        return {
            "nu": (c_zeta * (-torch.exp(p["nu"]) * zeta)).real,
            "th": (c_zeta * (1j * torch.exp(p["th"]) * zeta)).real,
            "lg": gam * c_gam.real,
            "B_re": gam[:, None] * c_B.real,
            "B_im": -gam[:, None] * c_B.imag,
        }

    def traced(p, carry, h, Bu, u, q):
        """Gradients through the traces, and the traces at the end; ``h`` (T, B, n) the states handed on."""
        (T, B, m), (zeta, _) = u.shape, lru_parts(p)
        n = len(zeta)
        if carry is None:
            v = torch.zeros(B, n, dtype=torch.complex64)
            carry = v, (v, v, torch.zeros(n, B, m, dtype=torch.complex64))
        before, (ez, eg, E) = carry
        ez, eg, E = ez.clone(), eg.clone(), E.clone()
        c_z, c_g = torch.zeros_like(zeta), torch.zeros_like(zeta)
        c_B, columns = torch.zeros(n, 1, m, dtype=torch.complex64), zeta[:, None, None]
        rows = q.permute(0, 2, 1)[:, :, None].contiguous()  # (T, n, 1, B)
        for t in range(T):
            ez.mul_(zeta).add_(before)
            eg.mul_(zeta).add_(Bu[t])
            E.mul_(columns).add_(u[t])
            c_z += (q[t] * ez).sum(0)
            c_g += (q[t] * eg).sum(0)
            c_B.baddbmm_(rows[t], E)
            before = h[t]
        return lru_gradients(p, c_z, c_g, c_B[:, 0]), (h[-1], (ez, eg, E))

    @torch.no_grad()
    def lru_exact_hand(params, u, y, carry=None):
        p = params[0]
        h0 = torch.zeros(u.shape[1], len(p["nu"]), dtype=torch.complex64) if carry is None else carry[0]
        states, Bu = lru_forward(p, h0, u)
        q, own = lru_credit(p, states[1:], u, y)
        grads, carry = traced(p, carry, states[1:], Bu, u, q)
        return [grads | own], carry

    @torch.no_grad()
    def lru_tpc(params, u, y, carry=None):
        p, (zeta, gam), lam = params[0], lru_parts(params[0]), TPC["step_size"]
        C = torch.stack([p["C_re"], -p["C_im"]], dim=2).flatten(1)  # of states [re, im, re, im, ...]
        CT, G = C.T.contiguous(), C @ C.T
        Bu = torch.complex(u @ p["B_re"].T, u @ p["B_im"].T)
        s, r, dy = (
            gam * Bu,
            y - u @ p["D"].T,
            torch.empty_like(y),
        )  # s makes room for the states, step by step
        eps, before = torch.empty_like(s), torch.zeros_like(s[0])
        for t in range(len(u)):
            s[t].addcmul_(zeta, before)  # mu
            pairs = torch.view_as_real(s[t]).flatten(1)
            e = torch.addmm(r[t], pairs, CT, alpha=-1)
            k = lam * e  # eps = k C
            for _ in range(TPC["inference_steps"] - 1):
                k = torch.addmm(k, k, G, beta=1 - lam, alpha=-lam).add_(e, alpha=lam)
            torch.mm(k, C, out=torch.view_as_real(eps[t]).flatten(1))
            torch.addmm(e, k, G, beta=-1, out=dy[t])
            s[t] += eps[t]
            before = s[t]
        grads, _ = traced(p, None, s, Bu, u, (-eps.conj()).resolve_conj())
        return [grads | lru_output_gradients(dy, s, u)], None

    @torch.no_grad()
    def lru_bptt_hand(params, u, y, carry=None):
        p, (T, B, m) = params[0], u.shape
        zeta, _ = lru_parts(p)
        states, Bu = lru_forward(p, torch.zeros(B, len(zeta), dtype=torch.complex64), u)
        v, own = lru_credit(p, states[1:], u, y)
        for t in range(T - 2, -1, -1):
            v[t].addcmul_(zeta, v[t + 1])
        flat, rows = u.reshape(T * B, m), v.reshape(T * B, -1).T
        c_B = torch.complex(rows.real @ flat, rows.imag @ flat)
        return [lru_gradients(p, (v * states[:-1]).sum((0, 1)), (v * Bu).sum((0, 1)), c_B) | own], None

    def lru_bptt_auto(params, u, y, carry=None):
        p = {k: v.detach().requires_grad_(True) for k, v in params[0].items()}
        zeta, gam = lru_parts(p)
        steps = (gam * torch.complex(u @ p["B_re"].T, u @ p["B_im"].T)).unbind()
        h, states = torch.zeros(u.shape[1], len(zeta), dtype=torch.complex64), []
        for v in steps:
            h = torch.addcmul(v, zeta, h)
            states.append(h)
        loss = 0.5 * ((lru_output(p, torch.stack(states), u) - y) ** 2).sum()
        return [dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))], None

    def put(tree):
        if isinstance(tree, dict):
            return {k: put(v) for k, v in tree.items()}
        return [put(v) for v in tree] if isinstance(tree, (list, tuple)) else torch.from_numpy(tree)

    hand = {("RTRL", "RNN"): rnn_exact_hand, ("BPTT", "RNN"): rnn_bptt_hand}
    hand |= {("RTRL", "LRU"): lru_exact_hand, ("BPTT", "LRU"): lru_bptt_hand}
    hand |= {
        ("SnAp-1", "RNN"): snap,
        ("RFLO", "RNN"): rflo,
        ("UORO", "RNN"): uoro,
        ("tPC-RTRL", "LRU"): lru_tpc,
    }
    auto = {("RTRL", "RNN"): rnn_exact_auto, ("BPTT", "RNN"): rnn_bptt_auto, ("BPTT", "LRU"): lru_bptt_auto}
    return put, {"torch hand": hand, "torch autograd": auto}
