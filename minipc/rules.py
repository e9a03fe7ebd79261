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
    """Every option is one that the rule takes; says which those are. A rule with ``**options`` takes any."""
    parameters = inspect.signature(rule).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    taken = [p.name for p in parameters if p.name not in GIVEN_BY_THE_LOOP]
    unknown = [name for name in options if name not in taken]
    if unknown:
        name = (
            getattr(rule, "__module__", "").rpartition(".")[2] + "." + getattr(rule, "__name__", repr(rule))
        )
        takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
        raise TypeError(f"{name} has no option {', '.join(unknown)}: {takes}")


GIVEN_BY_THE_LOOP = ("net", "params", "x", "y", "inputs", "targets", "mask", "optimizer", "state")
