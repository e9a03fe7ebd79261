"""The training loop: minibatches, any rule, any optimiser, one division by the size of the batch.

The loop knows nothing of a rule but that it returns a :class:`~minipc.Gradient`. All that changes stands in one
:class:`~minipc.checkpoint.Run`, which every batch replaces as a whole: a run that is stopped between two
instructions can be continued bit for bit.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np  # host only: shuffling

from .arguments import check_count, check_optimizer, check_params, generator, is_number, prepare_target
from .backend import array_module, as_backend, to_numpy
from .batches import Batches, as_batches
from .checkpoint import Run, describe, leaves, load_checkpoint, rebuild, save_checkpoint, versions
from .files import check_place, remove_parts
from .metrics import accuracy as accuracy_metric
from .metrics import find_metrics
from .network import Network, check_loss
from .progress import bar
from .rules import check_kinds, check_rule_options, find_rule
from .variants import incremental

MEASURED = 1000  # samples at most in one forward pass when a measure is taken: enough for a full GEMM
OUTPUTS = 2**24  # numbers at most that come out of it, with a large vocabulary or long sequences


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a measure has not improved for some epochs, and go back to the best of them.

    Parameters
    ----------
    monitor : str            "loss", or "validation_" and loss or a metric; smaller is better, unless it ends in "accuracy"
    patience : int           epochs without an improvement, at least 1
    min_delta : float        what counts as one: better than the best so far by more than this
    """

    monitor: str = "validation_loss"
    patience: int = 5
    min_delta: float = 0.0

    def __post_init__(self):
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be a name of the history, got {self.monitor!r}")
        check_count("patience", self.patience, least=1)
        if not is_number(self.min_delta) or not 0 <= self.min_delta < float("inf"):
            raise ValueError(f"min_delta must be a number of at least 0, got {self.min_delta!r}")

    def best(self, history):
        """Number of the best epoch, counted from 0; of equal ones the first."""
        sign, best = -1 if self.monitor.endswith("accuracy") else 1, 0
        values = history[self.monitor]
        for epoch, value in enumerate(values):
            if sign * value < sign * values[best] - self.min_delta:
                best = epoch
        return best

    def stops(self, history):
        """Is it time?"""
        done = len(history.get(self.monitor, ()))
        return done > 0 and done - 1 - self.best(history) >= self.patience


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`fit`: ``params`` and ``history`` are those at the last whole batch and epoch."""

    def __init__(self, message, params, history):
        super().__init__(message)
        self.params, self.history = params, history


class CheckpointError(OSError):
    """A checkpoint could not be written (a full disk?); carries ``params`` and ``history``, which are not lost."""

    def __init__(self, message, params, history):
        super().__init__(message)
        self.params, self.history = params, history


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
    metrics=None,
    early_stopping=None,
    callbacks=(),
    checkpoint=None,
    checkpoint_every=None,
    resume=None,
    progress=True,
    **options,
):
    """Train ``params`` with any learning rule.

    Parameters
    ----------
    net : Network or Dag
    params : list of dicts                  the start; not modified
    data : (x, y) or Sequences              x (N, *shapes[0]), y (N, n[L]) or labels (N,); sequences: time first
    rule : str or callable                  a name of ``minipc.RULES``, or ``rule(net, params, x, y, **options) ->
                                            Gradient``; with sequences ``rule(net, params, inputs, targets, [mask=])``,
                                            whose ``loss`` (B,) is summed over the steps that count
    optimizer : SGD, Adam, ...              anything with ``init`` and ``step``
    epochs, batch_size : int                epochs in all; the last batch of an epoch may be smaller
    seed : int or numpy.random.Generator    order of the samples, drawn on the host
    validation : as ``data``, optional      measured after every epoch
    metrics : list of str or callable       measured there: "accuracy" (the default with cross_entropy),
                                            "binary_accuracy", "absolute_error", or ``f(out, target) -> (B,)``
    early_stopping : EarlyStopping          the parameters of the best epoch are returned, also if it never stops
    callbacks : list of callables           ``f(epoch, params, history)`` after every epoch, which counts from 1; one
                                            that returns True stops the run
    checkpoint : path, optional             written after every epoch and on Ctrl-C; without ``resume`` a new file
    checkpoint_every : int, optional        also after so many batches
    resume : path, optional                 go on where this checkpoint stands; ``params`` is only looked at for its
                                            structure, and everything but ``epochs`` and ``callbacks`` must be as it was
    progress : bool                         a tqdm bar, if tqdm is installed
    **options                               handed to the rule: inference_steps, step_size, precision, ...

    Returns
    -------
    params : list of dicts                  new arrays
    history : dict of arrays (epochs,)      "loss" (mean over the epoch's samples, before each update), "energy"
                                            (PC rules), "seconds" (training only), and with ``validation``
                                            "validation_loss" and "validation_" + name of each metric

    Raises
    ------
    ValueError, TypeError                   bad data, options that the rule does not take, a checkpoint of another run
    FileExistsError, FileNotFoundError      ``checkpoint`` is there, and nothing is resumed; a file or folder is not there
    FloatingPointError                      a loss or gradient is not finite; says when and in which block
    Interrupted                             Ctrl-C, a KeyboardInterrupt; carries ``params`` and ``history``
    CheckpointError                         the checkpoint cannot be written, an OSError; carries them, too

    Notes
    -----
    One update is the optimiser's step on ``grads / B``; of sequences, on the gradient divided by the number of steps
    that count. On a device a few synchronisations a batch: the rule's own, one look at its result, and the
    copies for the history. A resumed run gives the numbers of one that never stopped, bit for bit, on a CPU with the
    same versions and the same number of threads. A random generator among the options, or in one such as
    ``UORO(seed=rng)``, goes on from batch to batch, and from the checkpoint.
    """
    rule = find_rule(rule)
    check_rule_options(rule, options)
    check_count("epochs", epochs, least=1)
    check_count("batch_size", batch_size, least=1)
    check_optimizer("optimizer", optimizer)
    _check_callbacks(callbacks)
    _check_checkpoint(checkpoint, checkpoint_every, resume)
    check_params(net, params)
    check_kinds(net, rule, sequences=hasattr(data, "inputs"))
    batches = as_batches("data", net, params, data)
    _check_measurable("validation", net, validation)
    held_out = None if validation is None else as_batches("validation", net, params, validation)
    measures = find_metrics(net, metrics)
    _check_early_stopping(early_stopping, held_out, measures)
    rng, N = generator(seed), len(batches.weights)
    now = Setting(net, rule, options, optimizer, int(batch_size), batches, held_out, measures, early_stopping)
    config = None if checkpoint is None and resume is None else now.describe()
    run = Run(params, optimizer.init(params), rng.bit_generator.state, [], [], drawn=_states(options))
    if resume is not None:
        run = _resumed(resume, run, config)
        rng.bit_generator.state = run.generator
        for other, state in zip(_generators(options), run.drawn, strict=True):
            other.bit_generator.state = state
    if checkpoint is not None:
        remove_parts(checkpoint)
    count = -(-N // batch_size)
    with bar(progress, total=epochs * count, initial=run.epoch * count + run.batch, unit="batch") as shown:
        try:
            while run.epoch < epochs and not (early_stopping and early_stopping.stops(run.history)):
                order = rng.permutation(N)
                while run.batch < count:
                    run = _next_batch(now, run, order[run.batch * batch_size : (run.batch + 1) * batch_size])
                    shown.update()
                    if checkpoint_every and run.batch % checkpoint_every == 0 and run.batch < count:
                        _save(checkpoint, run, config)
                run = _next_epoch(now, run, rng)
                _save(checkpoint, run, config)
                history = _as_arrays(run.history)
                shown.set_postfix({name: f"{values[-1]:.4g}" for name, values in history.items()})
                answers = [callback(run.epoch, run.params, history) for callback in callbacks]
                if any(answers):
                    break
        except KeyboardInterrupt:
            _save(checkpoint, run, config)
            where = f"after {run.epoch} epochs and {run.batch} batches"
            how = f'; continue with resume="{checkpoint}"' if checkpoint is not None else ""
            raise Interrupted(f"stopped {where}{how}", run.params, _as_arrays(run.history)) from None
    return run.params if run.best is None else run.best, _as_arrays(run.history)


class Setting(NamedTuple):
    """What stays the same in a run; the names of its parts stand in the checkpoint."""

    network: Any
    rule: Callable
    options: dict
    optimizer: Any
    batch_size: int
    data: Batches
    validation: Batches
    metrics: dict
    early_stopping: EarlyStopping

    def describe(self):
        """As JSON can hold it, for the checkpoint: a run is continued only under the same setting."""
        parts = self._asdict() | {"network": self.network.config(), "metrics": list(self.metrics)}
        return {name: describe(value) for name, value in parts.items()}


def _next_batch(now, run, rows):
    """The run after one update, on the samples with the numbers ``rows``."""
    began = time.perf_counter()
    batch = now.data.take(as_backend(rows, like=now.data.arrays[0]))
    try:
        params, state, g = _update(now, run, batch, weight=int(now.data.weights[rows].sum()))
    except FloatingPointError as error:
        raise FloatingPointError(
            f"training stopped in epoch {run.epoch + 1}, batch {run.batch + 1}: {error}; "
            f"try a smaller learning_rate or step_size"
        ) from error
    run.losses.append(g.loss)  # what stands there beyond batch number ``run.batch`` does not count
    if g.energy is not None:
        run.energies.append(g.energy)
    seconds = run.seconds + time.perf_counter() - began
    drawn = _states(now.options)
    return run._replace(params=params, state=state, batch=run.batch + 1, seconds=seconds, drawn=drawn)


def _update(now, run, batch, weight):
    """One batch: parameters, state of the optimiser, and the Gradient that was found."""
    net, options = now.network, now.options
    if now.rule is incremental:  # the one rule that moves the weights itself, and divides itself
        moving = {"optimizer": now.optimizer, "state": run.state}
        params, state, g = incremental(net, run.params, *batch.arrays, **moving, **options)
        _check_finite(net, run.params, batch, g)
        return params, state, g
    masked = {"mask": batch.arrays[2]} if len(batch.arrays) == 3 else {}
    g = now.rule(net, run.params, *batch.arrays[:2], **masked, **options)
    _check_finite(net, run.params, batch, g)
    mean = [{name: value / weight for name, value in p.items()} for p in g.grads]  # the one division
    return *now.optimizer.step(run.params, mean, run.state), g


def _next_epoch(now, run, rng):
    """The run at the beginning of the next epoch, with this one in its history."""
    weight = now.data.weights.sum()
    new = {"loss": _total(run.losses) / weight, "seconds": run.seconds}
    if run.energies:
        new["energy"] = _total(run.energies) / weight
    if now.validation is not None:
        measured = _measure(now.network, run.params, now.validation, now.metrics)
        new |= {f"validation_{name}": value for name, value in measured.items()}
    history = {name: [*run.history.get(name, ()), float(value)] for name, value in new.items()}
    first = now.early_stopping is not None and now.early_stopping.best(history) == run.epoch
    best = run.params if first else run.best
    start = rng.bit_generator.state
    return Run(
        run.params, run.state, start, [], [], run.epoch + 1, history=history, best=best, drawn=run.drawn
    )


def _generators(options):
    """The random generators among the options of a rule, and in the fields of those that are dataclasses, in order."""
    found = []
    for _, value in sorted(options.items()):
        named = is_dataclass(value) and not isinstance(value, type)
        parts = [getattr(value, f.name) for f in fields(value)] if named else [value]
        found += [part for part in parts if isinstance(part, np.random.Generator)]
    return found


def _states(options):
    """Where they stand."""
    return [rng.bit_generator.state for rng in _generators(options)]


def _save(path, run, config):
    if path is None:
        return
    try:
        save_checkpoint(path, run, config)
    except OSError as error:
        message = f"cannot write the checkpoint {path}: {error}; what was there before is untouched"
        raise CheckpointError(message, run.params, _as_arrays(run.history)) from None


def evaluate(net, params, data, metrics=None):
    """Mean loss and metrics of data that is not trained on; plain forward passes of 1,000 samples or fewer.

    Parameters
    ----------
    data : (x, y) or Sequences             means are over samples, or over the steps that count
    metrics : list of str or callable      as in :func:`fit`

    Returns
    -------
    dict                                   "loss" and the names of the metrics -> float

    Raises
    ------
    ValueError, TypeError                  bad shapes, dtypes, values or metrics
    FloatingPointError                     a loss is not finite; says in which block that began
    """
    check_params(net, params)
    _check_measurable("data", net, data)
    return _measure(net, params, as_batches("data", net, params, data), find_metrics(net, metrics))


def accuracy(net, params, x, y):
    """Share of samples whose largest output is the target's; a float in 0..1. Plain forward passes."""
    check_params(net, params)
    return _measure(net, params, as_batches("data", net, params, (x, y)), {"accuracy": accuracy_metric})[
        "accuracy"
    ]


def _measure(net, params, batches, measures):
    """Mean loss and metrics over samples or steps; :func:`evaluate` on checked data."""
    N, sums, count = len(batches.weights), dict.fromkeys(["loss", *measures], 0.0), 0
    size = max(1, min(MEASURED, OUTPUTS // (batches.steps * net.shapes[-1][0])))
    for start in range(0, N, size):
        batch = batches.take(slice(start, start + size))
        out, x, y, mask = batch.as_rows(net.forward(params, batch.arrays[0]))
        target, _ = prepare_target(net, params, x, y)
        values = {"loss": net.loss.value(out, target)}
        check_loss(net, params, batch.arrays[0], values["loss"])
        values |= {name: measure(out, target) for name, measure in measures.items()}
        keep = np.ones(len(out), bool) if mask is None else to_numpy(mask)
        for name, value in values.items():
            sums[name] += float(to_numpy(value)[keep].sum(dtype=float))
        count += int(keep.sum())
    return {name: value / count for name, value in sums.items()}


def _check_measurable(name, net, data):
    """A Network takes samples: its forward pass knows no time."""
    if hasattr(data, "inputs") and isinstance(net, Network) and not getattr(net, "recurrent", False):
        raise TypeError(f"{name} must be a pair (x, y) for a Network; Sequences are for a RecurrentNetwork")


def _check_early_stopping(early_stopping, held_out, measures):
    if early_stopping is None:
        return
    if not isinstance(early_stopping, EarlyStopping):
        raise TypeError(
            f"early_stopping must be one such as EarlyStopping(patience=3), got {early_stopping!r}"
        )
    known = ["loss"]
    if held_out is not None:
        known += [f"validation_{name}" for name in ("loss", *measures)]
    if early_stopping.monitor not in known:
        missing = "" if held_out is not None else " (there is no validation data)"
        raise ValueError(
            f"monitor must be one of {', '.join(known)}{missing}; got {early_stopping.monitor!r}"
        )


def _check_callbacks(callbacks):
    if not isinstance(callbacks, list | tuple) or not all(callable(f) for f in callbacks):
        raise TypeError(f"callbacks must be a list of functions f(epoch, params, history), got {callbacks!r}")


def _check_checkpoint(checkpoint, every, resume):
    if every is not None:
        check_count("checkpoint_every", every, least=1)
        if checkpoint is None:
            raise ValueError("checkpoint_every needs checkpoint, the file to write")
    if checkpoint is not None and check_place(checkpoint).exists() and resume is None:
        raise FileExistsError(
            f"{checkpoint} is there already: go on with resume={str(checkpoint)!r}, or remove it"
        )


def _resumed(path, start, config):
    """The run of a checkpoint, if it was started as this one is."""
    saved = load_checkpoint(path)
    for name in config:
        if saved.config.get(name) != config[name]:
            raise ValueError(
                f"{path} is the checkpoint of another run: its {name} was {saved.config.get(name)}, "
                f"this one's is {config[name]}"
            )
    template, found = leaves(start.state), saved.run.state
    shapes = [[getattr(leaf, "shape", ()) for leaf in tree] for tree in (template, found)]
    if shapes[0] != shapes[1] or leaves(saved.run.params)[0].dtype != leaves(start.params)[0].dtype:
        raise ValueError(f"{path} does not hold the parameters and the state of the optimiser of this run")
    if saved.run.generator.get("bit_generator") != start.generator["bit_generator"]:
        raise ValueError(
            f"{path} was written with the generator {saved.run.generator.get('bit_generator')}, "
            f"seed is one of {start.generator['bit_generator']}"
        )
    kinds = [[state["bit_generator"] for state in run.drawn] for run in (saved.run, start)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{path} was written with the generators {kinds[0]} in options, this run has {kinds[1]}"
        )
    other = {name: v for name, v in saved.versions.items() if v != versions().get(name)}
    if other:
        shown = ", ".join(f"{name} {v}" for name, v in other.items())
        warnings.warn(f"{path} was written with {shown}: the run may not continue bit for bit", stacklevel=3)
    like = leaves(start.params)[0]
    run = saved.run._replace(state=rebuild(start.state, iter(found)))
    return run._replace(**as_backend({"params": run.params, "state": run.state, "best": run.best}, like=like))


def _total(batches):
    return float(np.concatenate([to_numpy(b) for b in batches]).sum(dtype=float))


def _as_arrays(history):
    return {name: np.array(values) for name, values in history.items()}


def _check_finite(net, params, batch, g):
    """Stop with the place where a value that is not finite first appeared; one synchronisation."""
    if not hasattr(g, "grads"):
        raise TypeError(f"rule must return a Gradient, got {type(g).__name__}")
    xp = array_module(g.loss)
    parts = [(f"{k}[{l}]", l, v) for l, p in enumerate(g.grads, start=1) for k, v in p.items()]
    if bool(xp.stack([xp.isfinite(v).all() for v in (g.loss, *(v for _, _, v in parts))]).all()):
        return
    check_loss(net, params, batch.arrays[0], g.loss)
    symbol, l, _ = next(part for part in parts if not np.isfinite(to_numpy(part[2])).all())
    raise FloatingPointError(
        f"the loss is finite, but the gradient of {symbol} of block {l} ({net.blocks[l - 1].formula}) is not"
    )
