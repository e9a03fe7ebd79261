"""Exercises in space: backpropagation, state-based and error-based predictive coding."""

from ..blocks import Dense
from ..network import Network
from .register import exercise


def chain(d, form="post", loss="mse", precisions=True, activation="tanh"):
    """A chain of tanh blocks with a linear output, and everything that a rule may ask for.

    ``net``, ``params``, ``x``, ``y``; states ``s`` that are not those of the forward pass, errors ``e`` of the
    hidden layers; ``precision``, a list of L: by turns a number, a diagonal, a matrix.
    """
    n = d.widths(d.L + 1)
    kinds = [activation] * (d.L - 1) + ["identity"]
    pairs = zip(n[:-1], n[1:], kinds, strict=True)
    net = Network([Dense(i, o, kind, form=form) for i, o, kind in pairs], loss)
    x, y = d.normal(d.B, n[0]), d.normal(d.B, n[-1])
    makers = (lambda m: float(d.uniform(0.5, 2.0)), lambda m: d.uniform(0.5, 2.0, m), d.positive_definite)
    Pi = [makers[l % 3](m) for l, m in enumerate(n[1:])]
    return {
        "net": net,
        "params": d.params(net),
        "x": x,
        "y": y,
        "s": [x, *(d.normal(d.B, m) for m in n[1:-1])],
        "e": [None, *(d.normal(d.B, m) for m in n[1:-1])],
        "precision": Pi if precisions else None,
    }


@exercise("sPC.4", problem=chain)
def activity_gradient(engine, net, params, s, y, precision):
    """dE/ds[l] of the free layers l = 1..L-1: a list of L arrays (B, n[l]), entry 0 None.

    ``net.blocks`` are ``Dense``, post form: mu[l] = phi(s[l-1] @ W.T + b), phi = tanh, identity at the output.
    ``params`` is a list of dicts ``W`` (n[l], n[l-1]), ``b`` (n[l],), ``s`` the list s[0] (the input), ...,
    s[L-1] of (B, n[l]), ``y`` the target (B, n[L]), ``precision`` the list Pi[1], ..., Pi[L]: each a number, a
    diagonal (n[l],) or a matrix (n[l], n[l]). The loss is 1/2 (yhat - y)' Pi[L] (yhat - y).
    """
    return engine.spc.activity_gradient(net, params, s, y, precision)


@exercise("sPC.6", problem=chain)
def weight_gradient(engine, net, params, s, y, precision):
    """dE/dW, dE/db at the states s, summed over the batch: a list of dicts ``W``, ``b``, one a block.

    What is given: see (sPC.4).
    """
    return engine.spc.weight_gradient(net, params, s, y, precision)
