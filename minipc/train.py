"""The training loop: minibatches, any rule, any optimiser, one division by the batch size.

The loop knows nothing of a rule but that it returns a :class:`~minipc.Gradient`.
"""

import time

import numpy as np  # host only: shuffling

from .arguments import check_count, generator, prepare, prepare_shape
from .backend import array_module, as_backend, to_numpy
from .network import check_loss


def fit(
    net,
    params,
    data,
    *,
    rule,
    optimizer,
    epochs=5,
    batch_size=64,
    seed=0,
    validation=None,
    progress=True,
    **options,
):
    """Train ``params`` with any learning rule.

    Parameters
    ----------
    net : Network
    params : list of dicts                  the start; not modified
    data : (x, y)                           x (N, n[0]), y (N, n[L]) or labels (N,)
    rule : callable                         ``rule(net, params, x, y, **options) -> Gradient``, e.g. pc.epc.gradient
    optimizer : SGD or Adam
    epochs, batch_size : int                the last batch of an epoch may be smaller
    seed : int or numpy.random.Generator    order of the samples, drawn on the host
    validation : (x, y), optional           measured after every epoch
    progress : bool                         a tqdm bar, if tqdm is installed
    **options                               handed to the rule: inference_steps, step_size, precision, ...

    Returns
    -------
    params : list of dicts                  new arrays
    history : dict of arrays (epochs,)      "loss" (mean over the epoch's samples, before each update), "energy"
                                            (PC rules), "seconds" (training only), and with ``validation``
                                            "validation_loss" and, for cross_entropy, "validation_accuracy"

    Raises
    ------
    ValueError, TypeError                   as the rule does; epochs or batch_size below 1
    FloatingPointError                      a loss or gradient is not finite; says when and in which block

    Notes
    -----
    One update is the optimiser's step on ``grads / B``. On a device a few synchronisations a batch: the
    rule's own, one look at its result, and the copies for the history.
    """
    x, y = _pair("data", data)
    check_count("epochs", epochs, least=1)
    check_count("batch_size", batch_size, least=1)
    if not callable(rule):
        raise TypeError(f"rule must be a function such as minipc.epc.gradient, got {rule!r}")
    if isinstance(optimizer, type) or not (hasattr(optimizer, "init") and hasattr(optimizer, "step")):
        raise TypeError(f"optimizer must be one such as minipc.Adam(1e-3), got {optimizer!r}")
    prepare(net, params, x, y)
    if validation is not None:
        try:
            prepare(net, params, *_pair("validation", validation))
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation: {error}") from None
    x = prepare_shape(net, params, x)  # cast once, not in every batch
    rng, state, N = generator(seed), optimizer.init(params), len(x)
    history = {"loss": [], "energy": [], "seconds": [], "validation_loss": [], "validation_accuracy": []}
    with _bar(epochs * -(-N // batch_size), progress) as bar:
        for epoch in range(epochs):
            order, losses, energies, began = rng.permutation(N), [], [], time.perf_counter()
            for i in range(0, N, batch_size):
                rows = as_backend(order[i : i + batch_size], like=x)
                xb, yb = x[rows], y[rows]
                try:
                    g = rule(net, params, xb, yb, **options)
                    _check_finite(net, params, xb, g)
                except FloatingPointError as error:
                    raise FloatingPointError(
                        f"training stopped in epoch {epoch + 1}, batch {i // batch_size + 1}: {error}; "
                        f"try a smaller learning_rate or step_size"
                    ) from error
                mean = [
                    {name: value / len(xb) for name, value in p.items()} for p in g.grads
                ]  # the one division
                params, state = optimizer.step(params, mean, state)
                losses.append(g.loss)
                energies.append(g.energy)
                bar.update()
            history["loss"].append(_mean(losses))
            history["seconds"].append(time.perf_counter() - began)
            if energies[0] is not None:
                history["energy"].append(_mean(energies))
            if validation is not None:
                history["validation_loss"].append(_mean([_predict(net, params, *validation)[2]]))
                if net.loss.name == "cross_entropy":
                    history["validation_accuracy"].append(accuracy(net, params, *validation))
            bar.set_postfix({name: f"{values[-1]:.4g}" for name, values in history.items() if values})
    return params, {name: np.array(values) for name, values in history.items() if values}


def accuracy(net, params, x, y):
    """Share of samples whose largest output is the target's; a float in 0..1. A plain forward pass."""
    out, target, _ = _predict(net, params, x, y)
    return float((out.argmax(axis=1) == target.argmax(axis=1)).mean())


def _predict(net, params, x, y):
    """Outputs, prepared targets and losses; a FloatingPointError if a loss is not finite."""
    x, target = prepare(net, params, x, y)
    out = net.forward(params, x)
    loss = net.loss.value(out, target)
    check_loss(net, params, x, loss)
    return out, target, loss


def _pair(name, pair):
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise TypeError(f"{name} must be a pair (x, y), got {type(pair).__name__}")
    return pair


def _mean(batches):
    return float(np.concatenate([to_numpy(b) for b in batches]).mean())


def _check_finite(net, params, x, g):
    """Stop with the place where a value that is not finite first appeared; one synchronisation."""
    if not hasattr(g, "grads"):
        raise TypeError(f"rule must return a Gradient, got {type(g).__name__}")
    xp = array_module(g.loss)
    leaves = [(f"{k}[{l}]", l, v) for l, p in enumerate(g.grads, start=1) for k, v in p.items()]
    if bool(xp.stack([xp.isfinite(v).all() for v in (g.loss, *(v for _, _, v in leaves))]).all()):
        return
    check_loss(net, params, x, g.loss)
    symbol, l, _ = next(leaf for leaf in leaves if not np.isfinite(to_numpy(leaf[2])).all())
    raise FloatingPointError(
        f"the loss is finite, but the gradient of {symbol} of block {l} ({net.blocks[l - 1].formula}) is not"
    )


class _Silent:
    """A progress bar that shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        pass

    def set_postfix(self, _):
        pass


def _bar(total, progress):
    if progress:
        try:
            from tqdm import tqdm
        except ImportError:
            return _Silent()
        return tqdm(total=total, unit="batch", leave=False)
    return _Silent()
