r"""Audit a learning rule: how far its gradient is from the exact one, and what the difference is made of.

=========  ==========================================================================================
(CHK.14)   :math:`d = \sum_i p_i`, :math:`p_i = g^{i-1} - g^i` the part of cause i; other causes:
           :math:`p_{other} = (g - g^0) + (g^n - g^\star)`
=========  ==========================================================================================

:mod:`minipc.check.causes` says how each cause is switched off, :mod:`minipc.check.parts` what is made of the parts.
"""

import copy
import functools
import inspect

import numpy as np

from .. import bptt, dag, rtrl, rules, variants
from ..arguments import (
    check_array,
    check_optimizer,
    check_params,
    first_parameter,
    generator,
    real_precision,
    takes_integers,
)
from ..backend import array_module, as_backend, to_numpy
from ..dag import Dag
from .causes import WAYS, Problem, exact, way
from .comparison import compare, leaves
from .parts import Audit, minus

STEPS, SEQUENCES = 6, 3  # of the data that are drawn
UNKNOWN = (
    "What this rule leaves out is not known here, so neither is where the difference comes from: name the rule that it should "
    "be, like=..., or ask minipc.check.explain about its equations."
)


def audit(
    net,
    rule,
    params=None,
    inputs=None,
    targets=None,
    *,
    mask=None,
    h0=None,
    reset=None,
    like=None,
    seed=0,
    **options,
) -> Audit:
    r"""Compare a learning rule with the exact gradient of the loss, and say where the difference comes from.

    The exact gradient is backprop's, or BPTT's for a :class:`RecurrentNetwork`. Of the rules of minipc it is known what parts
    them from it; each cause is switched off in turn, in the order of the table, and what changes is its part of the
    difference, Eq. (CHK.14). The parts add up to the difference exactly. They may cancel, so shares can be negative or above
    one; and they depend on the order: another one gives other parts with the same sum.

    Parameters
    ----------
    net : Network, RecurrentNetwork or Dag
    rule : str or function
        a name of ``minipc.RULES``, a function of minipc such as ``rtrl.online`` (with ``optimizer=``), or one's own, called as
        ``rule(net, params, x, y, **options)``; of a recurrent net with ``mask``, ``h0``, ``reset``, too, where they are given.
        It returns a Gradient or its ``grads``, a list of dicts like ``params``
    params, inputs, targets
        as the rule takes them, (B, ...), or time first for a recurrent net. What is None is drawn: three samples, or three
        sequences of six steps, biases that are not zero, and with the inputs initial states
    mask, h0, reset                  of a recurrent net, as in :func:`minipc.bptt.gradient`
    like : str or function, optional
        the rule of minipc that one's own function should be: with it the causes are known, and what the two differ in is
        "other". Both get the ``options``, one's own those that it takes
    seed : int or Generator          of what is drawn
    **options                        of the rule

    Returns
    -------
    Audit
        ``print`` shows the tables; ``plot()`` a figure; ``to_dict()`` numbers for JSON. If the rule is unknown, the comparison
        alone.

    Raises
    ------
    ValueError, TypeError            bad arguments, as the rule says it; an option that the rule does not take; a gradient
                                     whose structure or shapes are not those of ``params``
    FloatingPointError               the loss is not finite

    Notes
    -----
    Inference is taken to its end by Newton's method, :mod:`minipc.check.equilibrium`: for small networks. The result of a rule
    with random signs is of the signs of its seed. Cost: some calls of the rule and of the exact one.
    Derivation: reference/equations.md#chk13.

    Examples
    --------
    >>> import minipc as pc
    >>> net = pc.RecurrentNetwork([pc.RNN(2, 3), pc.Dense(3, 1)])
    >>> found = audit(net, "tbptt", steps=2)
    >>> [cause for cause, share in found.shares.items() if share > 0.01], found.relative_error > 0.1
    (['truncation in time'], True)
    """
    function, model = rules.find_rule(rule), None if like is None else rules.find_rule(like)
    known = _known(net, function, model)
    problem = _problem(net, params, inputs, targets, {"mask": mask, "h0": h0, "reset": reset}, function, seed)
    options = _checked(function, known, problem, options)
    first = _called(
        known or function, known, problem, options
    )  # of minipc, it says what is wrong with the options
    given = first if like is None else _called(function, known, problem, _taken(function, options))
    truth = exact(problem, {} if known is None else options)
    comparison, g, x = compare(given, truth), _wide(given), _wide(truth)
    parts = {}
    if known is None:
        problem.notes.append(UNKNOWN)
    elif not all(np.isfinite(v).all() for tree in (g, leaves(first)) for v in tree.values()):
        problem.notes.append("The gradient is not finite, so it has no parts.")
    else:
        parts = _parts(known, problem, options, first, g, x)
    name = f"{getattr(function, '__module__', '').rpartition('.')[2]}.{getattr(function, '__name__', rule)}"
    against = "BPTT" if _in_time(net) else "backprop"
    rounding = float(np.finfo(real_precision(problem.params, problem.inputs)).eps) ** (2 / 3)
    return Audit(name, against, comparison, g, x, parts, tuple(dict.fromkeys(problem.notes)), rounding)


def _parts(known, problem, options, given, g, x):
    """The part of every cause that applies, in their order, Eq. (CHK.14); ``given`` by the rule of minipc."""
    first = before = _wide(given)
    parts = {}
    for cause, grads in way(known, problem, options, given):
        now = _wide(grads)
        parts[cause] = minus(before, now)  # (CHK.14)
        before = now
    own, end = minus(g, first), minus(before, x)
    parts["other"] = {name: own[name] + end[name] for name in x}  # (CHK.14)
    return parts


def _wide(grads):
    """Arrays by the name of the parameter, on the host, in double precision."""
    found = leaves(grads)
    for name, value in found.items():
        if value.dtype.kind == "c":
            raise TypeError(f"the gradient of {name} must be real, got {value.dtype}")
    return {name: value.astype(float) for name, value in found.items()}


# ---------------------------------------------------------------------- the rule


def _in_time(net):
    return bool(getattr(net, "recurrent", False))


def _known(net, function, model):
    """The rule of minipc whose causes apply, or None; refuses a rule that is not for this kind of network."""
    if not hasattr(net, "blocks") or not hasattr(net, "loss"):
        raise TypeError(f"net must be a Network, a RecurrentNetwork or a Dag, got {type(net).__name__}")
    known = next((f for f in WAYS if f is (model or function)), None)
    if model is not None and known is None:
        raise ValueError(f"like must be a rule of minipc, one of {', '.join(rules.RULES)}; got {model!r}")
    if known is not None and (known is dag.gradient) != isinstance(net, Dag):
        kind = type(net).__name__
        raise TypeError(f"the rule of a Dag is dag.gradient, and of no other network; got a {kind}")
    if not isinstance(net, Dag):
        for f in (function, known or function):
            rules.check_kinds(net, f, _in_time(net))
    return known


def _checked(function, known, problem, options):
    """The options, complete where minipc knows what is missing; refuses what the rule does not take."""
    learns = known in (variants.incremental, rtrl.online)
    if learns:
        check_optimizer("optimizer", options.get("optimizer"))
        if known is variants.incremental and options.get("state") is None:
            options = options | {"state": options["optimizer"].init(problem.params)}
    if known in (rtrl.gradient, rtrl.online) and options.get("carry") is not None:
        raise ValueError("carry brings in a past that the exact gradient does not see: audit whole sequences")
    mine = ("optimizer", "state") if learns else ()
    rules.check_rule_options(known or function, {k: v for k, v in options.items() if k not in mine})
    return options


def _taken(function, options):
    """The options that a function takes."""
    parameters = inspect.signature(function).parameters
    every = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in options.items() if every or name in parameters}


def _called(function, known, problem, options):
    """What a rule returns, with arrays of its own to spoil: a Gradient, or a list of dicts."""
    net, *own, _ = problem
    params, x, y, more, options = copy.deepcopy((*own, options))
    if known is rtrl.online:
        watched = _Watched(options["optimizer"])
        function(net, params, x, y, **more, **(options | {"optimizer": watched}))
        return watched.total(problem)
    found = function(net, params, x, y, **more, **options)
    if isinstance(found, tuple) and not hasattr(found, "grads"):  # incremental: (params, state, Gradient)
        found = found[-1]
    if not hasattr(found, "grads") and not isinstance(found, list):
        raise TypeError(f"the rule must return a Gradient or a list of dicts, got {type(found).__name__}")
    return found


class _Watched:
    """An optimiser that remembers the gradients it is given."""

    def __init__(self, optimizer):
        self.optimizer, self.seen = optimizer, []

    def init(self, params):
        """The optimiser's."""
        return self.optimizer.init(params)

    def step(self, params, grads, state):
        """The optimiser's."""
        self.seen.append(grads)
        return self.optimizer.step(params, grads, state)

    def total(self, problem):
        """The sum over time of the gradients of the batch's sum: each is a mean over the lanes that count (RTRL.2)."""
        (T, B), mask = problem.inputs.shape[:2], problem.more.get("mask")
        lanes = [B] * T if mask is None else to_numpy(_lanes(mask, T)).tolist()
        lanes = [n for n in lanes if n]  # a step that counts nowhere makes no update
        if len(lanes) != len(self.seen):
            raise ValueError(
                f"the rule must make {len(lanes)} updates, one a step that counts, got {len(self.seen)}"
            )
        sums = (
            [{k: n * v for k, v in g.items()} for g in grads]
            for n, grads in zip(lanes, self.seen, strict=True)
        )
        return functools.reduce(bptt.added, sums)


def _lanes(mask, T):
    """How many lanes count at every step; ``mask`` a table (T, B) or lengths (B,)."""
    table = mask if mask.ndim == 2 else array_module(mask).arange(T)[:, None] < mask
    return table.sum(axis=1)


# ---------------------------------------------------------------------- the problem


def _problem(net, params, inputs, targets, data, function, seed):
    """What is given, and what is not given drawn; states only for a function that takes them."""
    rng = generator(seed)
    if not _in_time(net):
        for name, value in data.items():
            if value is not None:
                raise TypeError(f"{name} belongs to a RecurrentNetwork, and net is a {type(net).__name__}")
    if params is None:
        params = [{name: _lively(value, rng) for name, value in p.items()} for p in net.init(rng)]
    check_params(net, params)
    if inputs is None:
        inputs = _inputs(net, params, rng)
        fixed = _in_time(net) and not any(net.blocks[l].learn_h0 for l in net.cells)
        if fixed and data["h0"] is None and "h0" in _taken(function, data):
            data = data | {"h0": [_state(net.blocks[l], params, inputs, rng) for l in net.cells]}
    check_array("inputs", inputs, kinds="fciub")
    if targets is None:
        targets = _targets(net, params, inputs, rng)
    return Problem(net, params, inputs, targets, {k: v for k, v in data.items() if v is not None}, [])


def _lively(value, rng):
    """A parameter that is zero all over, drawn: a bias of zero hides mistakes."""
    return value if value.any() else rng.normal(0, 0.3, value.shape).astype(value.dtype)


def _inputs(net, params, rng):
    shape = net.shapes[0]
    lead = (STEPS, SEQUENCES) if _in_time(net) else (SEQUENCES,)
    if takes_integers(net):
        drawn = rng.integers(0, len(params[0]["W"]), (*lead, *shape))
    else:
        drawn = rng.normal(size=(*lead, *shape))
    return _like(drawn, params)


def _state(cell, params, inputs, rng):
    shape = (inputs.shape[1], cell.state_size)
    drawn = rng.normal(0, 0.5, shape)
    return _like(drawn + 1j * rng.normal(0, 0.5, shape) if cell.complex_state else drawn, params)


def _targets(net, params, inputs, rng):
    lead = inputs.shape[: 2 if _in_time(net) else 1]
    (n,) = net.shapes[-1]
    if net.loss.name == "cross_entropy":
        return _like(rng.integers(0, n, lead), params)
    if net.loss.name == "binary_cross_entropy":
        return _like(rng.integers(0, 2, (*lead, n)).astype(float), params)
    return _like(rng.normal(size=(*lead, n)), params)


def _like(drawn, params):
    """In the place and the precision of the parameters."""
    like = first_parameter(params, drawn)
    if drawn.dtype.kind in "fc":
        drawn = drawn.astype(np.result_type(like.dtype, "c8" if drawn.dtype.kind == "c" else "f4"))
    return as_backend(drawn, like=like)
