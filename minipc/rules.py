"""The learning rules by name, for ``fit(..., rule="epc")`` and the command line."""

import inspect

from . import backprop, epc, spc, variants

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
}


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
    own = [p for p in parameters if p.name not in GIVEN_BY_THE_LOOP and p.kind is not p.VAR_KEYWORD]
    name = f"{getattr(rule, '__module__', '').rpartition('.')[2]}.{getattr(rule, '__name__', repr(rule))}"
    missing = [
        p.name for p in own if p.default is p.empty and p.kind is p.KEYWORD_ONLY and p.name not in options
    ]
    if missing:
        raise TypeError(f"{name} needs the option {', '.join(missing)}")
    unknown = [option for option in options if option not in [p.name for p in own]]
    if unknown and all(p.kind is not p.VAR_KEYWORD for p in parameters):
        takes = f"it takes {', '.join(p.name for p in own)}" if own else "it takes none"
        raise TypeError(f"{name} has no option {', '.join(unknown)}: {takes}")


GIVEN_BY_THE_LOOP = ("net", "params", "x", "y", "inputs", "targets", "mask", "optimizer", "state")
