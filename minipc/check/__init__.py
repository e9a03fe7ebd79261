"""Checking derivations: compare gradients, differentiate numerically, explain a wrong answer by name."""

from .comparison import Comparison, Row, compare, complex_step
from .explanation import Explanation, exercises, explain

__all__ = [
    "Comparison",
    "Explanation",
    "Row",
    "compare",
    "complex_step",
    "exercises",
    "explain",
]
