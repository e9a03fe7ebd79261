r"""Error-based predictive coding on a directed acyclic graph of blocks: several parents, several children.

Node 0 is the clamped input, node L the output. Node j = 1..L has block j, and the input of the block are the
states of its parents, side by side. Lists are indexed by the node; an entry 0 that does not exist is None.

=========  ==========================================================================================
(ePC.16)   :math:`s_j = f_j(s_{\text{parents}}) + e_j` for :math:`j < L`, :math:`\hat y = f_L(s_{\text{parents}})`;
           :math:`d_L = \xi_L`, :math:`d_j = \sum_k (\partial f_k/\partial s_j)^\top d_k` over the children
           :math:`k` of :math:`j`; :math:`\partial E/\partial e_j = \Pi_j e_j - d_j`
=========  ==========================================================================================

A chain is the graph in which node j has the one parent j - 1; every number is then that of
:mod:`minipc.epc`. The verbs are the same, with a fixed step.
"""

from typing import NamedTuple

from .arguments import check_count, check_word, float_dtype, generator, prepare, prepare_input
from .backend import Array, array_module
from .blocks import Dense
from .epc import Point, _prepare, _zeros
from .functions import LOSSES
from .inference import (
    check_options,
    check_precision,
    local_gradient,
    norm_squared,
    start_loss,
    total_energy,
    warn_if_unsettled,
    weigh,
)
from .network import Gradient, by_layer
from .registry import build


class Dag:
    """A graph of Dense blocks with a loss at its last node.

    Parameters
    ----------
    blocks : list of L Dense blocks      of the nodes 1..L, parents before children
    parents : list of L tuples           for node j the numbers of its parents, all below j; 0 is the input. The
                                         input of the block are their states side by side, in this order
    loss : str                           as that of a :class:`~minipc.Network`

    Raises
    ------
    ValueError, TypeError                no blocks, something that is no Dense block, parents that do not come
                                         first, a node without a child, widths that do not fit, an unknown loss

    Examples
    --------
    The output sees both hidden layers, which share the input:

    >>> import numpy as np
    >>> net = Dag([Dense(2, 3, "tanh"), Dense(2, 4, "tanh"), Dense(7, 1)], [(0,), (0,), (1, 2)])
    >>> net.forward(net.init(seed=0), np.zeros((5, 2))).shape
    (5, 1)
    """

    def __init__(self, blocks, parents, loss="mse"):
        for name, value in (("blocks", blocks), ("parents", parents)):
            if not isinstance(value, list | tuple):
                raise TypeError(f"{name} must be a list, one entry a node, got {type(value).__name__}")
        if not blocks:
            raise ValueError("a graph needs at least one block, got an empty list")
        if len(parents) != len(blocks):
            raise ValueError(f"parents must have {len(blocks)} entries, one a block, got {len(parents)}")
        for j, (block, nodes) in enumerate(zip(blocks, parents, strict=True), start=1):
            _check_node(j, block, nodes)
        self.blocks, self.parents = list(blocks), [tuple(int(i) for i in nodes) for nodes in parents]
        for j, (block, nodes) in enumerate(zip(self.blocks, self.parents, strict=True), start=1):
            widths = [self.sizes[i] for i in nodes]
            if block.n_in != sum(widths):
                raise ValueError(
                    f"block {j} must take n_in = {' + '.join(map(str, widths))} = {sum(widths)}, the states of "
                    f"its parents {nodes}; got n_in = {block.n_in}"
                )
        childless = set(range(len(blocks))).difference(*self.parents)
        if childless:
            raise ValueError(
                f"node {min(childless)} has no child; only the output, node {len(blocks)}, has none"
            )
        check_word("loss", loss, LOSSES)
        self.loss = LOSSES[loss]

    @property
    def sizes(self) -> list:
        """Widths n[0], ..., n[L]; the only parent of node 1 is the input."""
        return [self.blocks[0].n_in, *(block.n_out for block in self.blocks)]

    @property
    def shapes(self) -> list:
        """Sample shapes of the states s[0], ..., s[L]."""
        return [(n,) for n in self.sizes]

    def init(self, seed=0, dtype="float64"):
        """Draw parameters on the host; a list of dicts, one a block."""
        rng, dtype = generator(seed), float_dtype(dtype)
        return [block.init_params(rng, dtype) for block in self.blocks]

    def forward(self, params, x):
        """Prediction of the output, Eq. (ePC.16) with e = 0; ``x (B, n[0]) -> (B, n[L])``. Cost O(B P)."""
        *_, yhat = self.outputs(params, prepare_input(self, params, x))
        return yhat

    def outputs(self, params, x):
        """The output of every node but the input, in turn; ``x`` has been checked."""
        s = [x]
        for block, p, nodes in zip(self.blocks, params, self.parents, strict=True):
            mu, _ = block.forward(p, _side_by_side(s, nodes))
            s.append(mu)
            yield mu

    def config(self):
        """What the graph is, without its parameters, as JSON can hold it; :meth:`from_config` reads it."""
        blocks = [[type(block).__name__, block.config()] for block in self.blocks]
        return {"loss": self.loss.name, "parents": [list(nodes) for nodes in self.parents], "blocks": blocks}

    @classmethod
    def from_config(cls, config):
        """The graph that :meth:`config` describes."""
        blocks = [build(name, options) for name, options in config["blocks"]]
        return cls(blocks, config["parents"], config["loss"])

    def __repr__(self):
        rows = [
            f"node {j}: {block.formula} of {', '.join(map(str, nodes))}, width {block.n_out}"
            for j, (block, nodes) in enumerate(zip(self.blocks, self.parents, strict=True), start=1)
        ]
        return "\n".join([f"node 0: the input, width {self.sizes[0]}", *rows, f"loss {self.loss.name}"])


def _check_node(j, block, nodes):
    """Node j has a Dense block, and one or more different parents that come before it."""
    if not isinstance(block, Dense):
        raise TypeError(f"block {j} must be a Dense block, got {block!r}")
    if not isinstance(nodes, list | tuple) or not nodes:
        raise TypeError(f"the parents of node {j} must be a tuple of one or more node numbers, got {nodes!r}")
    for i in nodes:
        check_count(f"a parent of node {j}", i, least=0)
        if i >= j:
            raise ValueError(f"the parents of node {j} must come before it (no cycles): 0..{j - 1}; got {i}")
    if len(set(nodes)) < len(nodes):
        raise ValueError(f"node {j} must have each parent once, got {tuple(nodes)}")


class Inference(NamedTuple):
    """Result of :func:`infer`.

    Attributes
    ----------
    e : list of L                       None, e[1], ..., e[L-1] at the end
    energy, residual : (B,)             at the end; the residual is the norm of dE/de
    """

    e: list
    energy: Array
    residual: Array


def feedforward(net, params, x):
    """Errors e[1..L-1] = 0, the start of inference: the feedforward pass, Eq. (ePC.16)."""
    return _zeros(net, params, prepare_input(net, params, x))


def states_from_errors(net, params, e, x):
    """States s[0..L-1] that the errors stand for, Eq. (ePC.16); ``(B, n[j])``."""
    return _point(net, params, *_prepare(net, params, e, x, None, None)).s


def energy(net, params, e, x, y, precision=None):
    """Energy of each sample, Eq. (ePC.2); ``(B,)``. Arguments as in :func:`minipc.epc.energy`."""
    e, x, y, Pi = _prepare(net, params, e, x, y, precision)
    return total_energy(net, _point(net, params, e, x, y, Pi), y)


def error_gradient(net, params, e, x, y, precision=None):
    """dE/de[j] of the nodes j = 1..L-1, Eq. (ePC.16); a list of ``(B, n[j])``, entry 0 is None."""
    return _error_gradient(net, params, _point(net, params, *_prepare(net, params, e, x, y, precision)))


def weight_gradient(net, params, e, x, y, precision=None):
    """Local dE/dW, dE/db summed over the batch, the derived states held fixed, Eq. (ePC.6)."""
    return local_gradient(net, params, _point(net, params, *_prepare(net, params, e, x, y, precision)))


def _point(net, params, e, x, y, Pi):
    L, f, theta, parents = len(net.blocks), by_layer(net.blocks), by_layer(params), by_layer(net.parents)
    s, eps, tape = [x], [None], [None]
    for j in range(1, L + 1):
        mu, t = f[j].forward(theta[j], _side_by_side(s, parents[j]))
        if j < L:
            eps.append(e[j])
            s.append(mu + e[j])  # (ePC.16)
        else:
            eps.append(0 * mu if y is None else net.loss.error(mu, y))
        tape.append(t)
    xi = [None, *(weigh(Pi[j], eps[j]) for j in range(1, L + 1))]
    return Point(s, mu, eps, xi, tape)


def _side_by_side(s, nodes):
    """The states of the parents as one input, in the order of their numbers in ``nodes``; ``(B, sum of widths)``."""
    return array_module(s[0]).concatenate([s[i] for i in nodes], axis=1)


def _error_gradient(net, params, at):
    L, f, theta, parents = len(net.blocks), by_layer(net.blocks), by_layer(params), by_layer(net.parents)
    d = [0] * L + [at.xi[L]]  # (ePC.16)
    gradient = [None] * L
    for j in range(L, 0, -1):  # children before parents: d[j] is complete when its turn comes
        if j < L:
            gradient[j] = at.xi[j] - d[j]  # (ePC.16)
        down, _ = f[j].vjp(theta[j], at.tape[j], d[j], params=False)
        start = 0
        for i in parents[j]:  # forward: the states of the parents side by side, so each takes its columns
            end = start + net.sizes[i]
            d[i] = d[i] + down[:, start:end]  # (ePC.16)
            start = end
    return gradient


def infer(net, params, e, x, y, precision=None, *, inference_steps, step_size) -> Inference:
    """Relax the errors by gradient descent on the energy, Eq. (ePC.5), with a fixed step.

    Parameters
    ----------
    e : list of L                   the start, e.g. :func:`feedforward`; not modified
    x, y, precision                 as in :func:`energy`
    inference_steps : int           number N of steps
    step_size : float               step lambda, the same for every sample

    Warns
    -----
    InferenceWarning                a sample's energy rose above its start
    """
    check_options(inference_steps, step_size, None, 0)
    e, x, y, Pi = _prepare(net, params, e, x, y, precision)
    return _infer(net, params, e, x, y, Pi, inference_steps, step_size)[0]


def _infer(net, params, e, x, y, Pi, inference_steps, step_size):
    """:func:`infer` on checked arguments; also returns the point at the end and the loss at the start."""
    lam = float(step_size)
    at = _point(net, params, e, x, y, Pi)
    start, loss = total_energy(net, at, y), start_loss(net, params, x, at, y)
    for _ in range(inference_steps):
        gradient = _error_gradient(net, params, at)
        e = [None, *(v - lam * g for v, g in zip(e[1:], gradient[1:], strict=True))]  # (ePC.5)
        at = _point(net, params, e, x, y, Pi)
    energy = total_energy(net, at, y)
    residual = norm_squared(_error_gradient(net, params, at), energy) ** 0.5
    warn_if_unsettled("ePC", start, energy, residual, step_size, None)
    return Inference(e, energy, residual), at, loss


def gradient(net, params, x, y, precision=None, *, inference_steps=20, step_size=0.1) -> Gradient:
    """Local weight gradient of ePC on a graph after inference from zero errors, Eqs. (ePC.16), (ePC.6).

    Which gradient: that of the energy at the final states. As in a chain it is backprop's, times a small
    factor in the hidden nodes, after a few small steps (ePC.11), and the equilibrium's after many.

    Parameters
    ----------
    net : Dag
    params, x, y, precision         as in :func:`minipc.epc.gradient`
    inference_steps : int           number N of steps
    step_size : float               step lambda; stable below 2 / (largest eigenvalue of H_e)

    Returns
    -------
    Gradient
        ``grads``, ``loss`` (of the feedforward prediction), ``energy``, ``states``, ``errors``, ``residual``.

    Raises
    ------
    ValueError, TypeError           bad shapes, dtypes, labels, values or options, before any work
    FloatingPointError              the feedforward loss is not finite

    Warns
    -----
    InferenceWarning                inference diverged

    Notes
    -----
    Cost: N + 1 forward and backward passes, O(N B P) time. Derivation: reference/equations.md#epc16.
    Source: Goemaere et al. (2025), arXiv 2505.20137, for chains.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Dag([pc.Dense(2, 3, "tanh"), pc.Dense(5, 4, "tanh"), pc.Dense(7, 1)], [(0,), (0, 1), (1, 2)])
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> g = gradient(net, net.init(seed=0), x, y, inference_steps=100)
    >>> bool((g.energy < g.loss).all()), bool((g.residual < 1e-3).all())
    (True, True)
    """
    check_options(inference_steps, step_size, None, 0)
    x, y = prepare(net, params, x, y)
    Pi = check_precision(net, params, precision)
    e = _zeros(net, params, x)
    run, at, loss = _infer(net, params, e, x, y, Pi, inference_steps, step_size)
    return Gradient(local_gradient(net, params, at), loss, run.energy, at.s, at.eps, run.residual)
