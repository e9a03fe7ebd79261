r"""The same inference, faster: chains of Dense blocks with unit precisions and a fixed step.

:mod:`minipc.spc` and :mod:`minipc.epc` hold the readable loops, which run for every network and every option.
Where :func:`applies`, they hand the steps to this module, which computes the same numbers (pinned to the readable
form at 1e-12 in ``tests/oracles/test_fast.py``; timed in ``benchmarks/spatial.py``) with less work:

* **No work on what cannot move.** From the feedforward pass the error needs L - l steps to reach layer l, Eq. (sPC.8):
  until then layer l has no error, exactly, and is left out. On a net deeper than N this halves the work.
* **One sweep a step.** Layer l-1 moves as soon as layer l has been predicted from its old state, while both are in
  the cache. It is still the simultaneous (Jacobi) update: every number that is read is an old one.
* **No prediction twice.** The errors at the start are known, and with them the first prediction of every layer.
* **Samples as columns.** States are ``(n, B)`` here, so that every product reads its factors along the rows.
* **Buffers.** The arrays of a step are overwritten in the next; biases are spread over the batch once.
* **The step size rides along.** The recursion of (ePC.3) is linear in its start, so lam times the output error
  gives lam times every d.
"""

from .backend import array_module
from .blocks import Dense
from .functions import ACTIVATIONS


def applies(net, params, states, y, Pi, record_every, tolerance) -> bool:
    """Is the fast form there for this case? Real numbers, Dense blocks, unit precisions, no look on the way.

    ``states``: the input, and the states or errors of the free layers.
    """
    return (
        len(net.blocks) > 1
        and not record_every
        and tolerance is None
        and y is not None
        and all(value is None for value in Pi)
        and all(type(block) is Dense and block.bias and block.scale == 1 for block in net.blocks)
        and all(value.dtype.kind == "f" for value in (*states, y))
        and all(value.dtype.kind == "f" for p in params for value in p.values())
    )


class Layer:
    """One Dense block on columns: arrays are (n, B), results go into buffers of this layer.

    ``tape`` is that of the block's forward pass at the start: the prediction that is there from the beginning.
    ``room(name, shape)`` gives a buffer; those of one name and shape are one and the same.
    """

    def __init__(self, block, p, tape, room, l, keep):
        self.xp, self.W, self.post = array_module(p["W"]), p["W"], block.form == "post"
        self.name, self.act, B = block.activation, ACTIVATIONS[block.activation], len(tape.s)
        self.b = room(f"b {l}", (block.n_out, B))
        self.b[...] = p["b"][:, None]
        self.up, self.back = room(f"up {l if keep else ''}", self.b.shape), room("back", self.b.shape)
        self.down = room(f"down {l % 2}", (block.n_in, B))  # read while the next one is written
        self.a, self.r = tape.a.T, tape.r.T  # argument and value of phi

    def predict(self, s):
        """mu (n_out, B) from s (n_in, B), Eq. (BP.1); kept for :meth:`pull`."""
        if self.post:
            self.a = self.xp.matmul(self.W, s, out=self.up)
            self.a += self.b
            self.r = self._phi(self.a)
            return self.r  # (BP.1)
        self.a, self.r = s, self.act.phi(s)
        mu = self.xp.matmul(self.W, self.r, out=self.up)
        mu += self.b
        return mu  # (BP.1)

    def pull(self, v):
        """J^T v (n_in, B) at the last prediction, Eq. (BP.2); ``v (n_out, B)`` is not changed."""
        if self.post:
            return self.xp.matmul(self.W.T, self._through_phi(v, self.back), out=self.down)  # (BP.2)
        down = self.xp.matmul(self.W.T, v, out=self.down)
        return self._through_phi(down, down)  # (BP.2)

    def _phi(self, a):
        """phi(a); in the place of ``a`` where phi' needs only the value."""
        if self.name == "tanh":
            return self.xp.tanh(a, out=a)
        return a if self.name == "identity" else self.act.phi(a)

    def _through_phi(self, v, out):
        """phi'(a) * v."""
        if self.name == "identity":
            return v
        if self.name == "tanh" and out is not v:
            self.xp.multiply(self.r, self.r, out=out)
            self.xp.subtract(1, out, out=out)  # (ACT.2)
            out *= v
            return out
        return self.xp.multiply(v, self.act.dphi(self.a, self.r), out=out)


def layers(net, params, tape, keep):
    """[None, None, layer 2, ..., layer L]: the first prediction never changes.

    ``keep``: are the predictions of all layers needed at the same time? Buffers that are not are shared, so that
    they stay in the cache.
    """
    found, buffers, W = [None, None], {}, params[-1]["W"]

    def room(name, shape):
        if (name, shape) not in buffers:
            buffers[name, shape] = array_module(W).empty(shape, W.dtype)
        return buffers[name, shape]

    for l, (block, p) in enumerate(zip(net.blocks[1:], params[1:], strict=True), start=2):
        found.append(Layer(block, p, tape[l], room, l, keep))
    return found, room


def columns(v):
    """A copy of ``v (B, n)`` as columns, (n, B)."""
    return v.T.copy(order="C")


def spc_steps(net, params, s, y, now, first, steps, lam, *, feedforward):
    """States after ``steps`` of (sPC.5) from the states ``s`` with the errors ``now``; the result is like ``s``.

    ``first`` is the forward pass of block 1. ``feedforward``: is ``s`` the feedforward pass?
    """
    xp, L = array_module(s[0]), len(net.blocks)
    (f, _), start = layers(net, params, now.tape, keep=False), [*(v.T for v in s), now.yhat.T]
    S, eps = [None, *(columns(v) for v in s[1:])], [None, *(xp.empty_like(v.T) for v in s[1:])]
    mu1, y = columns(first[0]), columns(y).T
    for k in range(steps):
        front = feedforward and k <= L - 2  # the first error now reaches layer L-1-k, where nothing has moved
        lowest = L - 1 - k if front else 1
        if front:
            eps[lowest][...] = 0  # (sPC.8)
        elif L > 1:
            xp.subtract(S[1], mu1, out=eps[1])  # (sPC.1)
        for l in range(lowest + 1, L + 1):
            mu = start[l] if front and l == lowest + 1 else f[l].predict(S[l - 1])
            xi = (
                net.loss.error(mu.T, y).T if l == L else xp.subtract(S[l], mu, out=eps[l])
            )  # (sPC.1), (sPC.3)
            gradient = eps[l - 1]  # in the place of an error that nobody needs any more
            gradient -= f[l].pull(xi)  # (sPC.4)
            gradient *= lam
            S[l - 1] -= gradient  # (sPC.5)
    return [s[0], *(v.T for v in S[1:])]


class ErrorDescent:
    """Steps of (ePC.5) from the errors ``e`` at the point ``at``; ``lam`` is a number or one for each sample, (B,)."""

    def __init__(self, net, params, e, y, at, first, lam):
        self.xp, self.L, self.loss = array_module(first[0]), len(net.blocks), net.loss
        self.f, room = layers(net, params, at.tape, keep=True)
        self.e, self.mu1, self.y, self.lam = (
            [None, *(columns(v) for v in e[1:])],
            columns(first[0]),
            columns(y).T,
            lam,
        )
        shared = all(block.form == "post" for block in net.blocks)  # in pre form phi' is taken at the states
        self.s = [
            None,
            *(room("s" if shared else f"s {l}", v.shape) for l, v in enumerate(self.e[1:], start=1)),
        ]
        self.xi = at.xi[self.L].T  # of the next step, if it is known

    def step(self, look):
        """One step; the gradient before it if ``look``, a list by layer of (B, n), else None."""
        f, e, s, L = self.f, self.e, self.s, self.L
        xi, self.xi = self.xi, None
        if xi is None:
            for l in range(1, L):
                self.xp.add(self.mu1 if l == 1 else f[l].predict(s[l - 1]), e[l], out=s[l])  # (ePC.1)
            xi = self.loss.error(f[L].predict(s[L - 1]).T, self.y).T
        d, gradient = (xi if look else self.lam * xi), [None] * L  # (ePC.3)
        for l in range(L - 1, 0, -1):
            d = f[l + 1].pull(d)  # (ePC.3)
            if look:
                gradient[l] = (e[l] - d).T  # (ePC.4)
                e[l] -= self.lam * gradient[l].T  # (ePC.5)
            else:
                e[l] *= 1 - self.lam
                e[l] += d  # (ePC.4), (ePC.5): d is lam d here
        return gradient if look else None

    def errors(self):
        """The errors now, like ``e``."""
        return [None, *(v.T for v in self.e[1:])]
