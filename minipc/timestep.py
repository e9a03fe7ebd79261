r"""One step of time: the state of a cell is inferred between its prediction and what is read out of it.

=========  ==========================================================================================
(tPC.1)    :math:`\mu_t = f(c_{t-1}, u_t; \theta)`, :math:`\varepsilon_t = s_t - \mu_t`
(tPC.2)    :math:`F_t(s) = \frac12 \varepsilon_t^\top \Pi \varepsilon_t + \frac12 \sum_l \varepsilon_{t,l}^\top \Pi_l \varepsilon_{t,l} + \beta \mathcal L_t`,
           l the hidden states of the readout
(tPC.4)    :math:`\partial F_t/\partial s = \Pi\varepsilon_t + \beta q_t(s)`; N steps of descent
(tPC.5)    inference starts at :math:`\mu_t`, or at the state carried from the step before
(tPC.8)    nothing observed: :math:`s_t = \mu_t`, no error, no update
(tPC.11)   linear readout V, scalar Pi, start at mu: :math:`\varepsilon = V^\top w`, :math:`w \leftarrow w - \lambda(\Pi w - \beta\xi_y)`,
           :math:`\xi_y` at :math:`\hat y = \hat y(\mu) + V V^\top w`
(TPR.6)    :math:`H_t`, second derivative of :math:`F_t` in all free states
(TPR.10)   fixed prediction: Jacobians stay those of the forward pass, :math:`\Pi\varepsilon_t = -\beta q_t(\mu_t)`
=========  ==========================================================================================

Beta needs no code of its own. Divided by beta, the energy has the precisions Pi/beta and the loss with weight one, and a
step of lambda beta there is a step of lambda here. So inference is that of :mod:`minipc.spc` or :mod:`minipc.epc` on the
chain "prediction, blocks above", with the prediction clamped, and its weighted error at the state is the credit
Pi eps/beta of (TPR.3). Everything in this module is of :math:`F_t/\beta`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from . import epc, spc
from .arguments import check_count, check_positive_number, check_word
from .backend import Array, array_module
from .blocks import Dense, Flatten, WithoutParameters
from .diagonal import complexes, interleaved, pairs
from .functions import ACTIVATIONS
from .inference import check_precision, local_gradient, norm_squared, total_energy, weigh
from .network import Network
from .registry import BLOCKS

INFERENCES = ("spc", "epc", "newton", "fixed")
STARTS = ("prediction", "previous")


class Inferred(NamedTuple):
    """What inference finds of one step, or of many as lanes of one; energies of F/beta.

    ``s (B, N)`` the state, real (of an LRU in pairs); ``now`` the errors at the end, as :class:`minipc.spc.Errors`;
    ``loss (B,)`` of the prediction; ``start``, ``energy``, ``residual`` (B,) of the energy before and after.
    """

    s: Array
    now: Any
    loss: Array
    start: Array
    energy: Array
    residual: Array


class Timestep:
    """The chain "prediction, blocks above the last cell", with the options of inference.

    Attributes
    ----------
    net, params                the chain as a :class:`Network`: block 1 passes the clamped prediction on as state 1
    Pi : list                  precisions over beta, by layer; that of the output as it is: it belongs to the loss
    """

    def __init__(
        self, net, params, precision, *, inference, beta, inference_steps, step_size, tolerance, start
    ):
        check_word("inference", inference, INFERENCES)
        check_word("start", start, STARTS)
        if inference == "fixed" and start != "prediction":
            raise ValueError(
                f"start must be prediction with inference fixed, whose equilibrium is known; got {start!r}"
            )
        check_positive_number("beta", beta)
        check_count("inference_steps", inference_steps, least=0)
        if tolerance is not None:
            check_positive_number("tolerance", tolerance)
        if inference == "epc" and step_size == "adaptive":
            self.step_size = step_size
        elif isinstance(step_size, str):
            where = ' or "adaptive"' if inference == "epc" else ""
            raise ValueError(
                f"step_size of inference {inference} must be a positive number{where}; got {step_size!r}"
            )
        else:
            check_positive_number("step_size", step_size)
            self.step_size = float(step_size) * float(beta)
        self.inference, self.steps, self.tolerance, self.start = inference, inference_steps, tolerance, start
        self.beta, c = float(beta), net.cells[-1]
        self.cell, above, self.alone = net.blocks[c], list(net.blocks[c + 1 :]), c == 0
        self.complex, width = self.cell.complex_state, self.cell.state_size
        theta = list(params[c + 1 :])
        if self.complex:
            width = 2 * width
            above = [ComplexOutput(self.cell, params[c]), *above]
            theta = [{name: params[c][name] for name in self.cell.output_shapes}, *theta]
        elif self.cell.n_out != width:
            above = [OfFirst(above[0] if above else Flatten(), self.cell.n_out), *above[1:]]
        self.net = _Chain([Flatten(), *(above or [Flatten()])], net.loss.name, input_shape=(width,))
        self.params = [{}, *(theta if above and theta else [{}])]
        self.loss = self.net.loss
        given = check_precision(self.net, params, precision)
        self.unit_precision = all(v is None for v in given)
        self.Pi = [None, *(_over(v, self.beta) for v in given[1:-1]), given[-1]]
        if inference == "newton":
            self.check_second_derivatives("inference newton")
        self.matrix, self.gram = self._linear_readout(), None
        if self.matrix is not None:
            self.gram = self.matrix @ self.matrix.T  # (o, o)

    def _linear_readout(self):
        """The matrix V (o, N) of a single linear block above the state, if inference may go on in its output; else None."""
        constant = getattr(self.Pi[1], "ndim", 0) == 0
        if (
            self.layers != 1
            or self.inference != "spc"
            or self.start != "prediction"
            or self.tolerance
            or not constant
        ):
            return None
        block, p = self.net.blocks[1], self.params[1]
        if isinstance(block, ComplexOutput):
            V = block.C
        elif isinstance(block, Dense) and block.activation == "identity":
            V = p["W"] if block.scale == 1 else float(block.scale) * p["W"]
        else:
            return None
        return V if len(V) <= V.shape[1] else None

    @property
    def layers(self) -> int:
        """Number of blocks above the state."""
        return len(self.net.blocks) - 1

    def infer(self, mu, y, u=None, weight=None, previous=None, Pi=None, idle=False) -> Inferred:
        """Infer the states of all lanes.

        Parameters
        ----------
        mu : (B, N)                  predictions (tPC.1), as the cell has them
        y : (B, o)                   targets
        u : (B, m)                   inputs of the cell: the output of an LRU sees them
        weight : (B, 1), (B, o)      of each lane's loss, or of each channel's: 0 or 1; None is 1
        previous : (B, N)            the carried state, where inference starts there (tPC.5)
        Pi : (B, N, N), optional     precision over beta of the state of each lane, in place of the constant one (KAL.4)
        idle : bool                  nothing is observed in any lane
        """
        net, theta = self.net, self.params
        net.loss = self.loss if weight is None else _weighted(self.loss, weight)
        mu = self.real(mu)
        if self.complex:
            net.blocks[1].see(u)
        precisions = self.Pi if Pi is None else [None, Pi, *self.Pi[2:]]
        s, now, first = spc._feedforward(net, theta, mu, y, precisions)  # (tPC.1), (tPC.2)
        loss = net.loss.value(now.yhat, y)
        if idle:
            return Inferred(mu, now, loss, loss, loss, 0 * loss)  # (tPC.8)
        if self.inference == "fixed":
            return self._fixed(mu, y, precisions, now, loss)
        if self.start == "previous" and previous is not None:  # (tPC.5)
            begin = self.real(previous)
            if weight is not None:  # an unobserved lane is at its equilibrium already (tPC.8)
                begin = array_module(mu).where((weight != 0).any(axis=1)[:, None], begin, mu)
            s = [mu, *spc._feedforward(net, theta, begin, y, precisions)[0][1:]]
            now = spc._errors(net, theta, s, y, precisions, first)
        if self.inference == "epc":
            e = [None, *now.eps[1:-1]]
            point = epc._point(net, theta, e, mu, y, precisions, first)
            run, now, start = epc.relax(
                net, theta, e, mu, y, precisions, first, point, self.steps, self.step_size, self.tolerance, 0
            )
            return Inferred(now.s[1], now, loss, start, run.energy, run.residual)
        if self.inference == "newton":
            return self._newton(s, y, precisions, now, first, loss)
        if Pi is None and self.gram is not None:
            return self._in_output(mu, y, now, first, loss)
        run, now, start = spc.relax(  # (tPC.4)
            net, theta, s, y, precisions, now, first, self.steps, self.step_size, self.tolerance, 0
        )
        return Inferred(run.s[1], now, loss, start, run.energy, run.residual)

    def _in_output(self, mu, y, now, first, loss):
        """(tPC.11): the steps of spc where they all lie, in the rows of a linear readout V: eps = V^T w.

        A step costs o^2 for each lane in the place of 2 o N.
        """
        s = mu + self._rows(now.yhat, y, self.net.loss) @ self.matrix
        return self._at(s, mu, y, now, first, loss)

    def _rows(self, yhat, y, loss):
        """w (B, o) after all steps of (tPC.11), from the output at the prediction."""
        k, w, lam = 1.0 if self.Pi[1] is None else self.Pi[1], 0 * yhat, self.step_size
        for step in range(self.steps):
            xi = weigh(self.Pi[-1], loss.error(yhat + w @ self.gram if step else yhat, y))
            w = (1 - lam * k) * w + lam * xi  # (tPC.11)
        return w

    def _at(self, s, mu, y, now, first, loss):
        """Errors and energies at a state ``s`` above the prediction; ``now``, ``first`` and ``loss`` at the start."""
        net, theta, start = self.net, self.params, total_energy(self.net, now, y)
        now = spc._errors(net, theta, [mu, s], y, self.Pi, first)
        energy = total_energy(net, now, y)
        residual = norm_squared(spc._activity_gradient(net, theta, now), energy) ** 0.5
        return Inferred(s, now, loss, start, energy, residual)

    def follower(self, y, u, weight=None):
        """Inference alone, for all steps of a stretch: ``land(t, mu) -> s``, both (B, N) as the cell has them.

        Where (tPC.11) holds; else None. :meth:`look` finds the errors, of all steps at once. Arguments (T, B, ...) as in
        :meth:`infer`.
        """
        if self.gram is None:
            return None
        block, p = self.net.blocks[1], self.params[1]
        other = u @ p["D"].T if self.complex else p["b"][None, None] if block.bias else 0 * y[:1, :1]
        V, VT = self.matrix, array_module(y).ascontiguousarray(self.matrix.T)

        def land(t, mu):
            loss = self.loss if weight is None else _weighted(self.loss, weight[t])
            mu = self.real(mu)
            yhat = mu @ VT + other[t if self.complex else 0]
            return self.as_state(mu + self._rows(yhat, y[t], loss) @ V)

        return land

    def look(self, s, mu, y, u, weight=None) -> Inferred:
        """What :meth:`infer` gives, of states that :meth:`follower` has inferred; all lanes at once."""
        net, s, mu = self.net, self.real(s), self.real(mu)
        net.loss = self.loss if weight is None else _weighted(self.loss, weight)
        if self.complex:
            net.blocks[1].see(u)
        _, now, first = spc._feedforward(net, self.params, mu, y, self.Pi)
        return self._at(s, mu, y, now, first, net.loss.value(now.yhat, y))

    def _fixed(self, mu, y, Pi, now, loss):
        """(TPR.10): predictions and Jacobians stay those of the forward pass; the equilibrium is known."""
        xi, theta = list(now.xi), self.params
        for l in range(len(xi) - 2, 0, -1):
            xi[l] = self.net.blocks[l].vjp(theta[l], now.tape[l + 1], xi[l + 1], params=False)[0]  # (TPR.10)
        zero = 0 * loss
        return Inferred(mu + _solved(Pi[1], xi[1]), now._replace(xi=xi), loss, loss, loss, zero)

    def _newton(self, s, y, Pi, now, first, loss):
        """s <- s - H^-1 dF/ds in all free states at once, exact in one step where the readout is linear (tPC.9)."""
        net, theta, xp = self.net, self.params, array_module(loss)
        start = total_energy(net, now, y)
        sizes = net.sizes[1 : len(net.blocks)]
        ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        for _ in range(self.steps):
            gradient = spc._activity_gradient(net, theta, now)
            H, _ = self.second_derivatives(now, Pi, mixed=False)  # linear: (tPC.9), (KAL.1)
            step = xp.linalg.solve(H, xp.concatenate(gradient[1:], axis=1)[:, :, None])[:, :, 0]
            s = [s[0], *(v - step[:, a:b] for v, a, b in zip(s[1:], ends[:-1], ends[1:], strict=True))]
            now = spc._errors(net, theta, s, y, Pi, first)
        energy = total_energy(net, now, y)
        residual = norm_squared(spc._activity_gradient(net, theta, now), energy) ** 0.5
        return Inferred(s[1], now, loss, start, energy, residual)

    def outputs(self, s, u=None):
        """What is read out of states ``s (B, N)``, ``(B, o)``."""
        if self.complex:
            self.net.blocks[1].see(u)
        *_, yhat = self.net.outputs(self.params, self.real(s))
        return yhat

    def real(self, h):
        """A state in real numbers, ``(B, N)``; of an LRU (B, 2n): Re, Im, Re, Im, ..."""
        return pairs(array_module(h).ascontiguousarray(h)) if self.complex else h

    def as_state(self, s):
        """The inverse: as the cell has it."""
        return complexes(array_module(s).ascontiguousarray(s)) if self.complex else s

    def credit(self, now):
        """q_t (B, N) = -Pi eps/beta at the state, as the influence wants it: of an LRU conjugate (LRU.5)."""
        q = self.as_state(-now.xi[1])
        return q.conj() if self.complex else q  # (LRU.5)

    def direct(self, now):
        """Credit (B, m) at the cell's input that does not pass its state: through the D of an LRU; else None."""
        return -(now.xi[2] @ self.params[1]["D"]) if self.complex else None

    def gradients(self, now):
        """Gradients of the parameters above the state, sums over the lanes: list, one entry a layer."""
        return local_gradient(self.net, self.params, now)[1:]  # (TPR.3)

    # ------------------------------------------------------------------ second derivatives
    def check_second_derivatives(self, influence):
        """Are there second derivatives? A ValueError that names the influence and the block if not."""
        for block in self.net.blocks[1:]:
            block = block.block if type(block) is OfFirst else block
            if not isinstance(block, Dense | Flatten | ComplexOutput):
                raise ValueError(
                    f"{influence} needs the second derivatives of every block above the last cell, which Dense alone "
                    f"has; got {block!r}"
                )

    def second_derivatives(self, now, Pi=None, mixed=True):
        """H_t (B, n, n) of F/beta in all free states, Eq. (TPR.6), and the mixed derivative (B, n, P) in state and
        parameter, Eq. (TPR.7), in the order of ``params``."""
        net, params, Pi = self.net, self.params, self.Pi if Pi is None else Pi
        xp, L, dtype = array_module(now.yhat), len(net.blocks), now.yhat.dtype
        sizes = net.sizes[1:L]
        ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        B, n = len(now.yhat), ends[-1]
        H = xp.zeros((B, n, n), dtype)
        width = sum(v.size for p in params for v in p.values()) if mixed else 0
        C, at = xp.zeros((B, n, width), dtype), 0
        for l in range(1, L):
            here = slice(ends[l - 1], ends[l])
            H[:, here, here] += weigh_rows(Pi[l], xp.eye(sizes[l - 1], dtype=dtype)[None])
        for l in range(2, L + 1):  # block l takes the free state l - 1
            here, above = slice(ends[l - 2], ends[l - 1]), slice(ends[l - 1], ends[l] if l < L else n)
            bent = _Bent(net.blocks[l - 1], params[l - 1], now.tape[l], now.xi[l], sizes[l - 2])
            if l == L:
                columns = [net.loss.curvature(now.yhat, bent.J[:, :, k]) for k in range(sizes[l - 2])]
                PJ = weigh_rows(Pi[L], xp.stack(columns, axis=1))  # (B, n_in, o): columns of J as rows
            else:
                PJ = weigh_rows(Pi[l], xp.swapaxes(bent.J, 1, 2))
                H[:, here, above] -= PJ
                H[:, above, here] -= xp.swapaxes(PJ, 1, 2)
            H[:, here, here] += PJ @ bent.J - bent.curvature  # (TPR.6)
            if mixed:
                k = sum(v.size for v in params[l - 1].values())
                C[:, here, at : at + k] = bent.mixed(PJ)  # (TPR.7)
                if l < L:
                    rows = weigh_rows(Pi[l], xp.eye(sizes[l - 1], dtype=dtype)[None])
                    C[:, above, at : at + k] = bent.mixed_above(rows)
                at += k
        return H, C


class _Bent:
    """First and second derivatives of a Dense block at its input: of xi^T f(s; W, b) at a fixed error xi."""

    def __init__(self, block, p, tape, xi, n_in):
        xp = array_module(xi)
        if type(block) is OfFirst:
            select = xp.eye(n_in, dtype=xi.dtype)[:, : block.width]  # the state's first part: s @ select
            block = block.block
        else:
            select = None
        if isinstance(block, Flatten):  # the state itself is read out
            W = xp.eye(xi.shape[1], dtype=xi.dtype)
            J, bend, self.dense = W[None], xp.zeros_like(W)[None], None
        elif isinstance(block, ComplexOutput):
            J, bend, self.dense = block.C[None], xp.zeros((1, n_in, n_in), xi.dtype), None
        else:
            phi, self.scale = ACTIVATIONS[block.activation], float(block.scale)
            W = self.scale * p["W"]
            dphi, d2phi = phi.dphi(tape.a, tape.r), phi.d2phi(tape.a, tape.r)
            if block.form == "post":
                J = dphi[:, :, None] * W
                bend = W.T @ ((xi * d2phi)[:, :, None] * W)
                self.delta, self.z, self.slope = xi * dphi, tape.s, dphi
                self.own = (xi * d2phi)[:, None] * W.T  # d delta/d s beside that of xi, (B, n_in, n_out)
                dz = xp.eye(W.shape[1], dtype=xi.dtype)[None]
            else:
                J = W * dphi[:, None]
                bend = ((xi @ W) * d2phi)[:, :, None] * xp.eye(W.shape[1], dtype=xi.dtype)
                self.delta, self.z, self.slope, self.own = xi, tape.r, None, None
                dz = dphi[:, :, None] * xp.eye(W.shape[1], dtype=xi.dtype)
            self.dense, self.dz, self.bias = block, dz, block.bias
            if select is not None:
                self.dz = select @ self.dz
                self.own = None if self.own is None else select @ self.own
        if select is not None:
            J, bend = J @ select.T, select @ bend @ select.T
        self.J, self.curvature = xp.broadcast_to(J, (len(xi), *J.shape[1:])), bend

    def _columns(self, d_delta, d_z):
        """-d(delta z^T)/ds and -d delta/ds as columns W, b."""
        G = d_delta[:, :, :, None] * self.z[:, None, None]
        if d_z is not None:
            G = G + self.delta[:, None, :, None] * d_z[:, :, None]
        G = -self.scale * G.reshape(*d_delta.shape[:2], -1)
        return array_module(G).concatenate([G, -d_delta], axis=2) if self.bias else G

    def mixed(self, PJ):
        """d2F/ds dtheta at the block's input, (B, n_in, P): dF/dW = -delta z^T (sPC.6)."""
        if self.dense is None:
            return 0 * PJ[:, :, :0]
        d_delta = -PJ if self.slope is None else -PJ * self.slope[:, None] + self.own
        return self._columns(d_delta, self.dz)

    def mixed_above(self, rows):
        """The same at the state that the block predicts: only xi follows it."""
        d_delta = rows if self.slope is None else rows * self.slope[:, None]
        return self._columns(d_delta + 0 * self.z[:, None, :1], None)


@dataclass(frozen=True)
class OfFirst(WithoutParameters):
    """A block on the first ``width`` numbers of the state: an LSTM is read out at h, not at c."""

    block: Any
    width: int

    @property
    def shapes(self):
        """Those of the block."""
        return self.block.shapes

    def out_shape(self, shape):
        """Shape of the output."""
        return self.block.out_shape((self.width,))

    def forward(self, p, s):
        """Output, and the block's tape with the number of entries left out."""
        out, tape = self.block.forward(p, s[:, : self.width])
        return out, _Tape(tape, s.shape[1] - self.width)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """The block's, with zeros for what it does not see."""
        down, grads = self.block.vjp(p, tape.tape, v, input=input, params=params)
        if down is not None:
            xp = array_module(down)
            down = xp.concatenate([down, xp.zeros((len(down), tape.rest), down.dtype)], axis=1)
        return down, grads

    def jvp(self, p, tape, s_dot, p_dot=None):
        """The block's."""
        return self.block.jvp(p, tape.tape, s_dot[:, : self.width], p_dot)


class _Tape(NamedTuple):
    """The tape of the block inside, and the number of entries of the state that it does not see."""

    tape: Any
    rest: int

    @property
    def a(self):
        """The block's."""
        return self.tape.a

    @property
    def r(self):
        """The block's."""
        return self.tape.r

    @property
    def s(self):
        """The block's."""
        return self.tape.s


class ComplexOutput(WithoutParameters):
    """Re(C h) + D u of an LRU as a block on the real pairs of h, Eq. (LRU.2); the input u is set from step to step."""

    def __init__(self, cell, p):
        self.cell, self.C = cell, interleaved(p["C_re"], -p["C_im"], axis=1)  # (o, 2n)
        self.D = p["D"]

    def see(self, u):
        """The inputs ``(B, m)`` of the lanes."""
        self.u, self.passed = u, u @ self.D.T

    @property
    def shapes(self):
        """C and D."""
        return self.cell.output_shapes

    def out_shape(self, shape):
        """Shape of the output."""
        return (self.cell.n_out,)

    def forward(self, p, s):
        """Output (B, o); the tape holds the pairs, and the inputs of these lanes."""
        return s @ self.C.T + self.passed, (s, self.u)  # (LRU.2)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """C^T v in pairs, and the gradients (LRU.8)."""
        down = v @ self.C if input else None
        if not params:
            return down, None
        s, u = tape
        both = v.T @ s  # (o, 2n)
        return down, {"C_re": both[:, ::2], "C_im": -both[:, 1::2], "D": v.T @ u}  # (LRU.8)

    def jvp(self, p, tape, s_dot, p_dot=None):
        """C s_dot; parameters do not move here."""
        return s_dot @ self.C.T


class _Chain(Network):
    """A network that may hold these blocks."""

    known = BLOCKS | {"OfFirst": OfFirst, "ComplexOutput": ComplexOutput}


def weigh_rows(Pi, X):
    """Pi times every row of ``X (B, rows, n)``."""
    if Pi is None:
        return X
    if getattr(Pi, "ndim", 0) >= 2:
        return X @ Pi  # symmetric; (n, n), or (B, n, n)
    return X * Pi


def _solved(Pi, v):
    """Pi^-1 v for rows ``v (B, n)``."""
    if Pi is None:
        return v
    if getattr(Pi, "ndim", 0) < 2:
        return v / Pi
    xp = array_module(v)
    return xp.linalg.solve(xp.broadcast_to(Pi, (len(v), *Pi.shape[-2:])), v[:, :, None])[:, :, 0]


def _over(Pi, beta):
    """A precision over beta; None stands for one."""
    return (None if beta == 1 else 1 / beta) if Pi is None else Pi / beta


def _weighted(loss, weight):
    """The loss with a weight of 0 or 1 for every lane (B, 1), or of the squared error's channels (B, o)."""

    def value(yhat, y):
        if weight.shape[1] == 1:
            return weight[:, 0] * loss.value(yhat, y)
        eps = weight * (y - yhat)
        return 0.5 * (eps * eps).sum(axis=1)

    return loss._replace(
        value=value,
        error=lambda yhat, y: weight * loss.error(yhat, y),
        curvature=lambda yhat, v: weight * loss.curvature(yhat, v),
    )
