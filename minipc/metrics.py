"""Measures of a prediction: ``(outputs (B, n), prepared targets (B, n)) -> (B,)``, one number a sample.

A function of one's own may stand wherever a name does; its ``__name__`` is then the name in the history.
"""

from .arguments import check_word
from .backend import array_module


def accuracy(out, target):
    """1 where the largest output is the target's, else 0."""
    return (out.argmax(axis=1) == target.argmax(axis=1)).astype(out.dtype)


def binary_accuracy(out, target):
    """Share of the outputs, logits each, on the target's side."""
    return ((out > 0) == (target > 0.5)).astype(out.dtype).mean(axis=1)


def absolute_error(out, target):
    """Mean absolute error of the outputs."""
    return array_module(out).abs(out - target).mean(axis=1)


METRICS = {f.__name__: f for f in (accuracy, binary_accuracy, absolute_error)}


def find_metrics(net, metrics):
    """Names and functions as a dict name -> function; None: accuracy, if the loss is the cross-entropy."""
    if metrics is None:
        metrics = ("accuracy",) if net.loss.name == "cross_entropy" else ()
    if isinstance(metrics, str) or not isinstance(metrics, list | tuple):
        raise TypeError(f"metrics must be a list of names or functions, got {metrics!r}")
    found = {}
    for metric in metrics:
        if not callable(metric):
            check_word("a metric", metric, METRICS)
            metric = METRICS[metric]
        if metric is accuracy and net.shapes[-1] == (1,):
            raise ValueError(
                "accuracy compares the outputs of a sample, and this net has one: take binary_accuracy"
            )
        found[metric.__name__] = metric
    return found
