"""Checking derivations: compare gradients, differentiate numerically, explain a wrong answer by name."""

import importlib

from .audit import audit
from .comparison import Comparison, Row, compare, complex_step
from .convergence import Convergence, convergence
from .convergence_in_time import convergence_in_time
from .derivatives import gradient, hessian_vector, jacobian, jvp, vjp
from .explanation import Explanation, exercises, explain
from .parts import Audit, Part
from .verdicts import DerivativeCheck, DerivativeRow

__all__ = [
    "Audit",
    "Comparison",
    "Convergence",
    "DerivativeCheck",
    "DerivativeRow",
    "Explanation",
    "Part",
    "Row",
    "audit",
    "compare",
    "complex_step",
    "convergence",
    "convergence_in_time",
    "exercises",
    "explain",
    "gradient",
    "hessian_vector",
    "jacobian",
    "jvp",
    "sandbox",
    "vjp",
]


def __getattr__(name):
    """The sandbox, when it is asked for: only who starts processes has to wait for what they need."""
    if name == "sandbox":
        return importlib.import_module(".sandbox", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
