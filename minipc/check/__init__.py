"""Checking derivations: compare gradients, differentiate numerically, explain a wrong answer by name."""

from .comparison import Comparison, Row, compare, complex_step

__all__ = ["Comparison", "Row", "compare", "complex_step"]
