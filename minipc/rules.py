"""The learning rules by name, for ``fit(..., rule="epc")`` and the command line."""

import inspect

from . import backprop, bptt, epc, rtrl, spc, tpc, variants


def tpc_rtrl(net, params, inputs, targets, mask=None, *, influence="plain", **options):
    """:func:`minipc.tpc.gradient` with an influence, the paper's unless another is named; its other options are the same."""
    return tpc.gradient(net, params, inputs, targets, mask, influence=influence, **options)


tpc_rtrl.__signature__ = inspect.signature(tpc.gradient).replace(  # so that its options are checked by name
    parameters=[
        p.replace(default="plain") if p.name == "influence" else p
        for p in inspect.signature(tpc.gradient).parameters.values()
    ]
)

RULES = {
    "backprop": backprop.gradient,
    "spc": spc.gradient,
    "epc": epc.gradient,
    "top_down": variants.top_down,
    "momentum": variants.momentum,
    "incremental": variants.incremental,
    "z_il": variants.z_il,
    "fixed_prediction": variants.fixed_prediction,
    "pc_alm": variants.pc_alm,
    "target_interpolation": variants.target_interpolation,
    "nudged": variants.nudged,
    "centred": variants.centred,
    "bptt": bptt.gradient,
    "tbptt": bptt.truncated,
    "checkpointed_bptt": bptt.checkpointed,
    "rtrl": rtrl.gradient,
    "tpc": tpc.gradient,
    "tpc_rtrl": tpc_rtrl,
}
IN_TIME = (
    "bptt",
    "tbptt",
    "checkpointed_bptt",
    "rtrl",
    "tpc",
    "tpc_rtrl",
)  # for Sequences and a RecurrentNetwork; the others for samples


def find_rule(rule):
    """The function of a name; a function is passed on.

    Raises
    ------
    ValueError, TypeError        a name that no rule has (lists those there are); neither a name nor a function
    """
    if isinstance(rule, str) and rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}")
    if not isinstance(rule, str) and not callable(rule):
        raise TypeError(f"rule must be a name or a function such as minipc.epc.gradient, got {rule!r}")
    return RULES[rule] if isinstance(rule, str) else rule


def check_rule_options(rule, options):
    """Every option is one that the rule takes, and none that it needs is missing; says which those are.

    A rule with ``**options`` takes any.
    """
    parameters = inspect.signature(rule).parameters.values()
    own = [p for p in parameters if not _given_by_the_loop(p) and p.kind is not p.VAR_KEYWORD]
    name = f"{getattr(rule, '__module__', '').rpartition('.')[2]}.{getattr(rule, '__name__', repr(rule))}"
    missing = [
        p.name for p in own if p.default is p.empty and p.kind is p.KEYWORD_ONLY and p.name not in options
    ]
    if missing:
        raise TypeError(f"{name} needs the option {', '.join(missing)}")
    unknown = [option for option in options if option not in [p.name for p in own]]
    for option in unknown:
        if option in OF_A_STRETCH and option in [p.name for p in parameters]:
            raise TypeError(
                f"{option} cannot be an option of a training run, in which sequences come in another order every epoch: "
                f"each begins in the initial state (learn_h0=True learns it); to give {option}, call {name}"
            )
    if unknown and all(p.kind is not p.VAR_KEYWORD for p in parameters):
        takes = f"it takes {', '.join(p.name for p in own)}" if own else "it takes none"
        raise TypeError(f"{name} has no option {', '.join(unknown)}: {takes}")


def check_kinds(net, rule, sequences):
    """The network, the rule and the data are all in time, or none is; says what fits.

    A rule of one's own is for sequences if its third argument is called ``inputs``, for samples if it is called ``x``;
    by any other name it is taken for what the data are.

    Raises
    ------
    TypeError
    """
    known = next((name for name, function in RULES.items() if function is rule), None)
    name = known or getattr(rule, "__name__", repr(rule))
    in_time, samples = _lists()
    recurrent = getattr(net, "recurrent", False)
    third = [*inspect.signature(rule).parameters, None, None, None][2]
    if sequences and third == "x":
        raise TypeError(f"rule {name} is for samples (x, y), and data are Sequences: take {in_time}")
    if not sequences and third == "inputs":
        if recurrent:
            raise TypeError(
                f"rule {name} is for Sequences, and data are a pair (x, y): take Sequences(inputs, targets)"
            )
        raise TypeError(f"rule {name} is for Sequences, and data are a pair (x, y): take {samples}")
    if known in IN_TIME and not recurrent:
        raise TypeError(
            f"rule {name} needs a RecurrentNetwork, got {type(net).__name__}, for which there are {samples}"
        )


def _given_by_the_loop(parameter):
    """Is it no option? The ``carry`` of tPC is one: a word, which state goes on, not what an earlier stretch left."""
    policy = parameter.name == "carry" and isinstance(parameter.default, str)
    return parameter.name in GIVEN_BY_THE_LOOP and not policy


def _lists():
    """The names of the rules in time, and of those for samples, in words."""
    return ", ".join(IN_TIME), ", ".join(name for name in RULES if name not in IN_TIME)


OF_A_STRETCH = ("h0", "reset", "carry")  # what one stretch of time gets from the one before
GIVEN_BY_THE_LOOP = (
    "net", "params", "x", "y", "inputs", "targets", "mask", "optimizer", "state", *OF_A_STRETCH
)  # fmt: skip
