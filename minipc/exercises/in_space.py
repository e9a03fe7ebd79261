"""Exercises in space: activations, losses, dense blocks, backpropagation, sPC and its variants, ePC.

Unless an exercise says otherwise ``net.blocks`` are ``Dense`` blocks in post form, mu = phi(s @ W.T + b), with
phi = tanh, the identity at the output; the loss is the squared error. ``params`` is a list of dicts ``W``
(n[l], n[l-1]), ``b`` (n[l],).
"""

from ..blocks import Dense
from ..dag import Dag
from ..network import Network
from .register import exercise

FORMS = ("post", "pre", "post")  # of the three problems of an exercise that is about both


def chain(d, form="post", loss="mse", precisions="any"):
    """A chain of tanh blocks with a linear output, and everything that a rule may ask for.

    ``net``, ``params``, ``x``, ``y``; states ``s`` that are not those of the forward pass, errors ``e`` of the
    hidden layers; ``precision``, a list of L: by turns a number, a diagonal, a matrix ("diagonal": no matrix).
    """
    n = d.widths(d.L + 1)
    kinds = ["tanh"] * (d.L - 1) + ["identity"]
    triples = zip(n[:-1], n[1:], kinds, strict=True)
    net = Network([Dense(i, o, kind, form=form) for i, o, kind in triples], loss)
    x, y = d.normal(d.B, n[0]), d.normal(d.B, n[-1])
    makers = (lambda m: d.uniform(0.5, 2.0, m), lambda m: float(d.uniform(0.5, 2.0)), d.positive_definite)
    kinds = len(makers) - (precisions == "diagonal")
    return {
        "net": net,
        "params": d.params(net),
        "x": x,
        "y": y,
        "s": [x, *(d.normal(d.B, m) for m in n[1:-1])],
        "e": [None, *(d.normal(d.B, m) for m in n[1:-1])],
        "precision": [makers[l % kinds](m) for l, m in enumerate(n[1:])],
        "inference_steps": 3,
        "step_size": 0.1,
    }


def pre_chain(d):
    """A chain of blocks in pre form."""
    return chain(d, form="pre")


def both_chains(d):
    """Post and pre form by turns, no precision matrix."""
    return chain(d, form=FORMS[d.setting], precisions="diagonal")


# ---------------------------------------------------------------------- functions


def pre_activations(d):
    """Numbers of both signs."""
    return {"a": d.normal(d.B + 1, *d.widths(1), scale=1.5)}


def outputs(d):
    """Logits and targets that are shares of one."""
    (n,) = d.widths(1)
    p = d.uniform(0.1, 1.0, d.B, n + 1)
    return {"yhat": d.normal(d.B, n + 1), "y": p / p.sum(axis=1, keepdims=True), "v": d.normal(d.B, n + 1)}


def _slope(engine, name, a):
    phi = engine.functions.ACTIVATIONS[name]
    return phi.dphi(a, phi.phi(a))


@exercise("ACT.2", problem=pre_activations)
def dtanh(engine, a):
    """phi'(a) of phi = tanh at the pre-activations a (B, n): (B, n)."""
    return _slope(engine, "tanh", a)


@exercise("ACT.3", problem=pre_activations)
def dsigmoid(engine, a):
    """phi'(a) of the logistic function at a (B, n): (B, n)."""
    return _slope(engine, "sigmoid", a)


@exercise("ACT.6", problem=pre_activations)
def dgelu(engine, a):
    """phi'(a) of GELU in its tanh form at a (B, n): (B, n)."""
    return _slope(engine, "gelu", a)


@exercise("ACT.7", problem=pre_activations)
def dsoftplus(engine, a):
    """phi'(a) of log(1 + exp a) at a (B, n): (B, n)."""
    return _slope(engine, "softplus", a)


@exercise("ACT.9", problem=pre_activations)
def d2tanh(engine, a):
    """phi''(a) of phi = tanh at a (B, n): (B, n)."""
    phi = engine.functions.ACTIVATIONS["tanh"]
    return phi.d2phi(a, phi.phi(a))


@exercise("LOSS.1", problem=outputs)
def mse_error(engine, yhat, y):
    """Minus the derivative of 1/2 |y - yhat|^2 in yhat, the error at the output: (B, n)."""
    return engine.functions.LOSSES["mse"].error(yhat, y)


@exercise("LOSS.2", problem=outputs)
def cross_entropy_error(engine, yhat, y):
    """Minus the derivative of the cross-entropy in the logits yhat (B, n), for targets y (B, n) that sum to one."""
    return engine.functions.LOSSES["cross_entropy"].error(yhat, y)


@exercise("LOSS.3", problem=outputs)
def curvature(engine, yhat, v):
    """Second derivative times v (B, n) of cross-entropy and of binary cross-entropy, at the logits yhat: a list of two (B, n)."""
    return [
        engine.functions.LOSSES[name].curvature(yhat, v) for name in ("cross_entropy", "binary_cross_entropy")
    ]


@exercise("LOSS.4", problem=outputs)
def binary_cross_entropy_error(engine, yhat, y):
    """Minus the derivative of the binary cross-entropy in the logits yhat (B, n), every one with its own target y."""
    return engine.functions.LOSSES["binary_cross_entropy"].error(yhat, y)


# ---------------------------------------------------------------------- one dense block


def block(d):
    """A tanh block in post or pre form, with vectors at both ends."""
    n_in, n_out = d.widths(2)
    names = ("W", "W_dot"), ("b", "b_dot"), ("s", "s_dot"), ("v",)
    shapes = (n_out, n_in), (n_out,), (d.B, n_in), (d.B, n_out)
    arrays = {name: d.normal(*shape) for group, shape in zip(names, shapes, strict=True) for name in group}
    return {"form": FORMS[d.setting], **arrays}


def post_block(d):
    """The same in post form."""
    return {**block(d), "form": "post"}


def _block(engine, W, b, s, form):
    """The block, its parameters, and what it keeps of the forward pass."""
    p = {"W": W, "b": b}
    f = engine.Dense(W.shape[1], W.shape[0], "tanh", form=form)
    return f, p, f.forward(p, s)[1]


@exercise("BP.1", problem=block)
def forward(engine, form, W, b, s):
    """The block's output (B, n_out): phi(s @ W.T + b) if form is "post", phi(s) @ W.T + b if it is "pre"; phi = tanh."""
    p = {"W": W, "b": b}
    return engine.Dense(W.shape[1], W.shape[0], "tanh", form=form).forward(p, s)[0]


@exercise("BP.2", problem=block)
def down(engine, form, W, b, s, v):
    """J^T v of a block with respect to its input s (B, n_in), for v (B, n_out) at its output: (B, n_in).

    ``form`` "post": phi(s @ W.T + b), "pre": phi(s) @ W.T + b; phi = tanh; W (n_out, n_in).
    """
    f, p, tape = _block(engine, W, b, s, form)
    return f.vjp(p, tape, v, params=False)[0]


@exercise("BP.5", problem=post_block)
def block_gradient(engine, W, b, s, v):
    """The gradient of W and b of phi(s @ W.T + b), phi = tanh, for v (B, n_out) at the output: a dict ``W``, ``b``.

    Summed over the batch.
    """
    f, p, tape = _block(engine, W, b, s, "post")
    return f.vjp(p, tape, v, input=False)[1]


@exercise("BP.6", problem=post_block)
def pre_block_gradient(engine, W, b, s, v):
    """The gradient of W and b of phi(s) @ W.T + b, phi = tanh, for v (B, n_out) at the output: a dict ``W``, ``b``."""
    f, p, tape = _block(engine, W, b, s, "pre")
    return f.vjp(p, tape, v, input=False)[1]


@exercise("JVP.1", problem=block)
def tangent(engine, form, W, b, s, s_dot, W_dot, b_dot):
    """The tangent (B, n_out) of the block's output along s_dot, W_dot, b_dot. The block: see (BP.2)."""
    f, p, tape = _block(engine, W, b, s, form)
    return f.jvp(p, tape, s_dot, {"W": W_dot, "b": b_dot})


# ---------------------------------------------------------------------- backpropagation


@exercise("BP.3", "BP.4", problem=chain)
def gradient(engine, net, params, x, y):
    """The gradient of the summed loss by backpropagation: a list of dicts ``W``, ``b``, one a block.

    The loss is 1/2 |y - yhat|^2 (no precision), x (B, n[0]), y (B, n[L]).
    """
    return engine.backprop.gradient(net, params, x, y)


# ---------------------------------------------------------------------- sPC


@exercise("sPC.1", problem=chain)
def errors(engine, net, params, s, y):
    """The prediction errors eps[1], ..., eps[L], a list, entry 0 None: (B, n[l]); the last one is y - yhat.

    ``s`` is the list s[0] (the input), ..., s[L-1] of (B, n[l]), y (B, n[L]).
    """
    return engine.spc.errors(net, params, s, y).eps


@exercise("sPC.2", problem=chain)
def energy(engine, net, params, s, y, precision):
    """The energy of each sample at the states s: (B,). What is given: see (sPC.4)."""
    return engine.spc.energy(net, params, s, y, precision)


@exercise("sPC.3", problem=chain)
def weighted_errors(engine, net, params, s, y, precision):
    """xi[l] = Pi[l] eps[l], a list, entry 0 None: (B, n[l]). What is given: see (sPC.4)."""
    return engine.spc.errors(net, params, s, y, precision).xi


@exercise("sPC.4", problem=chain)
def activity_gradient(engine, net, params, s, y, precision):
    """dE/ds[l] of the free layers l = 1..L-1: a list of L arrays (B, n[l]), entry 0 None.

    ``net.blocks`` are ``Dense``, post form: mu[l] = phi(s[l-1] @ W.T + b), phi = tanh, identity at the output.
    ``params`` is a list of dicts ``W`` (n[l], n[l-1]), ``b`` (n[l],), ``s`` the list s[0] (the input), ...,
    s[L-1] of (B, n[l]), ``y`` the target (B, n[L]), ``precision`` the list Pi[1], ..., Pi[L]: each a number, a
    diagonal (n[l],) or a matrix (n[l], n[l]). The loss is 1/2 (yhat - y)' Pi[L] (yhat - y).
    """
    return engine.spc.activity_gradient(net, params, s, y, precision)


@exercise("sPC.5", problem=chain)
def infer(engine, net, params, s, y, precision, inference_steps, step_size):
    """The states s[0], ..., s[L-1] after ``inference_steps`` steps of size ``step_size`` down the energy: a list.

    Every sample descends on its own energy, all layers at once. What is given: see (sPC.4).
    """
    run = engine.spc.infer(net, params, s, y, precision, inference_steps=inference_steps, step_size=step_size)
    return list(run.s)


@exercise("sPC.6", problem=chain)
def weight_gradient(engine, net, params, s, y, precision):
    """dE/dW, dE/db at the states s, summed over the batch: a list of dicts ``W``, ``b``. Given: see (sPC.4)."""
    return engine.spc.weight_gradient(net, params, s, y, precision)


@exercise("sPC", problem=chain)
def spc_gradient(engine, net, params, x, y, precision, inference_steps, step_size):
    """The whole rule: dE/dW, dE/db after inference from the feedforward pass: a list of dicts ``W``, ``b``.

    (sPC.1)-(sPC.6): x (B, n[0]); the rest of what is given: see (sPC.5).
    """
    return engine.spc.gradient(
        net, params, x, y, precision, inference_steps=inference_steps, step_size=step_size
    )


@exercise("sPC.7", problem=pre_chain)
def pre_weight_gradient(engine, net, params, s, y, precision):
    """dE/dW, dE/db at the states s, summed over the batch, for blocks in pre form: a list of dicts ``W``, ``b``.

    Pre form: mu[l] = phi(s[l-1]) @ W.T + b, phi = tanh, the identity in the last block. The rest: see (sPC.4).
    """
    return engine.spc.weight_gradient(net, params, s, y, precision)


# ---------------------------------------------------------------------- ePC


@exercise("ePC.1", problem=chain)
def states_from_errors(engine, net, params, e, x):
    """The states s[0], ..., s[L-1] and the output yhat of the errors e[1], ..., e[L-1] (a list, entry 0 None)."""
    return engine.epc.states_from_errors(net, params, e, x)


@exercise("ePC.2", problem=chain)
def error_energy(engine, net, params, e, x, y, precision):
    """The energy of each sample at the errors e: (B,). What is given: see (ePC.1), (sPC.4)."""
    return engine.epc.energy(net, params, e, x, y, precision)


@exercise("ePC.3", "ePC.4", problem=chain)
def error_gradient(engine, net, params, e, x, y, precision):
    """dE/de[l] of the hidden layers: a list of L arrays (B, n[l]), entry 0 None. What is given: see (ePC.1), (sPC.4)."""
    return engine.epc.error_gradient(net, params, e, x, y, precision)


@exercise("ePC.5", problem=chain)
def infer_errors(engine, net, params, e, x, y, precision, inference_steps, step_size):
    """The errors after ``inference_steps`` fixed steps down the energy: a list, entry 0 None."""
    run = engine.epc.infer(
        net, params, e, x, y, precision, inference_steps=inference_steps, step_size=step_size
    )
    return list(run.e)


@exercise("ePC.6", problem=chain)
def local_gradient(engine, net, params, e, x, y, precision):
    """dE/dW, dE/db at the errors e, by the local rule at the states that follow from e: a list of dicts ``W``, ``b``."""
    return engine.epc.weight_gradient(net, params, e, x, y, precision)


@exercise("ePC", problem=chain)
def epc_gradient(engine, net, params, x, y, precision, inference_steps, step_size):
    """The whole rule: dE/dW, dE/db after some fixed steps of inference from e = 0: a list of dicts ``W``, ``b``.

    (ePC.1)-(ePC.6): x (B, n[0]); the rest of what is given: see (sPC.4), (ePC.5).
    """
    return engine.epc.gradient(
        net, params, x, y, precision, inference_steps=inference_steps, step_size=step_size
    )


def graph(d):
    """Four nodes: two on the input, one on both in the other order, the output on three."""
    n = d.widths(5)
    parents = [(0,), (0, 1), (2, 1), (1, 3, 2)]
    widths = [sum(n[i] for i in nodes) for nodes in parents]
    kinds = ("tanh", "tanh", "tanh", "identity")
    blocks = [Dense(i, o, kind) for i, o, kind in zip(widths, n[1:], kinds, strict=True)]
    net = Dag(blocks, parents)
    return {
        "net": net,
        "params": d.params(net),
        "x": d.normal(d.B, n[0]),
        "y": d.normal(d.B, n[-1]),
        "e": [None, *(d.normal(d.B, m) for m in n[1:-1])],
        "precision": [float(d.uniform(0.5, 2.0)) for _ in parents],
    }


@exercise("ePC.16", problem=graph)
def graph_gradient(engine, net, params, e, x, y, precision):
    """On a graph: a dict of ``states`` s[0], ..., s[L-1], ``errors`` dE/de (entry 0 None) and ``weights`` dE/dW, dE/db.

    ``net.parents[j-1]`` are the parents of node j = 1..L, in the order in which their states stand side by side at
    the block's input; node 0 is the input, node L the output. ``precision`` is a list of L numbers.
    """
    given = params, e, x, y, precision
    return {
        "states": engine.dag.states_from_errors(net, params, e, x),
        "errors": engine.dag.error_gradient(net, *given),
        "weights": engine.dag.weight_gradient(net, *given),
    }
