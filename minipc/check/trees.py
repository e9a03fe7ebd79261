"""Arguments and answers as trees: lists, tuples and dicts of arrays and numbers, with the Python path of every leaf."""

import inspect
from numbers import Number

import numpy as np

from ..backend import array_module, is_array, to_numpy


class StructureError(ValueError):
    """An answer that has not the structure of what it is the derivative of; the message says where."""


def flatten(tree, path):
    """Leaves by their path as it is written in Python: ``{"params[0]['W']": array}``; None has no leaf.

    >>> flatten([{"W": 1.0}, (2.0, None)], "p")
    {"p[0]['W']": 1.0, 'p[1][0]': 2.0}
    """
    if tree is None:
        return {}
    branches = _branches(tree)
    if branches is None:
        return {path: tree}
    return {k: v for key, branch in branches for k, v in flatten(branch, f"{path}[{key!r}]").items()}


def rebuild(tree, leaves):
    """The same tree with the next of ``leaves`` (an iterator) in the place of every leaf."""
    if tree is None:
        return None
    branches = _branches(tree)
    if branches is None:
        return next(leaves)
    return rebuild_branches(tree, [rebuild(branch, leaves) for _, branch in branches])


def match(answer, like, path):
    """The leaves of ``answer`` by the paths of ``like``: lists and tuples are one thing, ``.grads`` is opened.

    Raises
    ------
    StructureError       another container, other keys, another length; says where, expected and given
    """
    answer = getattr(answer, "grads", answer)
    branches = _branches(like)
    if like is None:
        return {}
    if branches is None:
        if answer is None or _branches(answer) is not None:
            raise StructureError(f"{path} must be one array, got {_kind(answer)}")
        return {path: answer}
    branches, own = dict(branches), _branches(answer)
    if (
        own is None
        or isinstance(like, dict) != isinstance(answer, dict)
        or branches.keys() != dict(own).keys()
    ):
        raise StructureError(f"{path} must be {_kind(like)}, got {_kind(answer)}")
    return {
        name: leaf
        for key, branch in own
        for name, leaf in match(branch, branches[key], f"{path}[{key!r}]").items()
    }


def as_numpy(value):
    """A NumPy array of a number or of any library's array: NumPy, CuPy, a tensor, a box; of objects, if it is none."""
    value = getattr(value, "_value", value)  # a box of autograd
    for undo in ("detach", "resolve_conj", "cpu"):  # a tensor that wants a gradient, lies on a GPU
        value = getattr(value, undo)() if hasattr(value, undo) else value
    return np.asarray(to_numpy(value) if hasattr(value, "ndim") else value)


def host(value, what="the value of f"):
    """Anything that holds numbers as a NumPy array on the host: a number, NumPy, CuPy, a tensor, a box.

    Raises
    ------
    TypeError       it holds no numbers
    """
    array = as_numpy(value) if _branches(value) is None else np.empty(0, object)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{what} must be an array or a number, got {_kind(value)}")
    return array


def copied(tree):
    """The same tree with copies of its arrays; what is no array stays."""
    if is_array(tree):
        return tree.copy()
    branches = _branches(tree)
    if branches is None:
        return tree
    return rebuild_branches(tree, [copied(branch) for _, branch in branches])


def rebuild_branches(tree, branches):
    """A container of the same type with other branches."""
    if isinstance(tree, dict):
        return dict(zip(tree, branches, strict=True))
    return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)


def changed(tree, before, path):
    """The paths of the arrays that are not what they were in the copy ``before``."""
    one, other = flatten(tree, path), flatten(before, path)
    return [
        name
        for name, array in one.items()
        if is_array(array) and name in other and not _equal(to_numpy(array), to_numpy(other[name]))
    ] + [name for name in (*other, *one) if name not in one or name not in other]


def argument_names(function, count):
    """How the function itself calls its first arguments; ``args[0]`` where it does not say."""
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # a function written in C
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [names[i] if i < len(names) else f"args[{i}]" for i in range(count)]


def number_or_array(leaf):
    """Is it something to differentiate by: an array or a number, no text, no truth value?"""
    return is_array(leaf) or (isinstance(leaf, Number) and not isinstance(leaf, bool))


def like_leaf(array, leaf):
    """A NumPy array where the leaf lives: on its device, or as the number that it is."""
    return array_module(leaf).asarray(array) if is_array(leaf) else array.item()


def _branches(tree):
    """Pairs of key and branch of a container; None for a leaf."""
    if isinstance(tree, dict):
        return [*tree.items()]
    return [*enumerate(tree)] if isinstance(tree, list | tuple) else None


def _kind(tree):
    """What somebody handed in, in words."""
    if isinstance(tree, dict):
        return f"a dict with the keys {', '.join(map(repr, tree)) or 'none'}"
    if isinstance(tree, list | tuple):
        return f"a {'list' if isinstance(tree, list) else 'tuple'} of {len(tree)}"
    return "None" if tree is None else f"one {type(tree).__name__}"


def _equal(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
