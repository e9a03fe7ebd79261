"""The random problems keep their promise: nothing zero, uniform, square or dead."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.battery import GOOD, SQUARE, full
from helpers.checks import assert_differ, leaves
from helpers.strategies import ACTIVATIONS, FORMS, LOSSES, alive, linear_problems, problems
from reference import autograd_oracles as ad


@given(st.one_of(problems(depth=(1, 6)), linear_problems()))
def test_problems_are_not_degenerate(p):
    """Distinct widths, at least two samples, no zero bias, SPD precisions, a full set of shapes."""
    assert len(set(p.sizes)) == len(p.sizes)
    assert min(p.sizes) >= 2
    assert len(p.x) >= 2
    assert len(p.layers) == len(p.params) == len(p.s) == len(p.e)
    assert all(np.abs(leaf).min() > 0 for leaf in leaves([p.params, p.x, p.y, p.s, p.e]))
    for Pi, n in zip(ad.precisions(p.layers, p.precision), p.sizes[1:], strict=True):
        assert np.linalg.eigvalsh(full(Pi, n)).min() > 0.1


@given(problems())
def test_problems_are_alive_and_not_at_the_feedforward_point(p):
    """The states are those of no forward pass, and every parameter has a gradient."""
    assert alive(p)
    assert_differ(p.s[1:], ad.feedforward(p.layers, p.params, p.x)[1:-1])


def test_problems_reach_every_kind():
    """Over the examples every activation, form, loss and depth occurs."""
    seen = set()

    @settings(max_examples=200, derandomize=True, database=None)
    @given(problems(depth=(1, 6)))
    def look(p):
        seen.update(p.layers, [p.loss, len(p.layers)])

    look()
    assert seen >= {(kind, form) for kind in ACTIVATIONS for form in FORMS} | set(LOSSES) | set(range(1, 7))


def test_the_fixed_problems_are_what_they_are_called():
    """The good ones have distinct widths, the square ones equal widths and weights that are not symmetric."""
    for p in GOOD:
        assert len(set(p.sizes)) == 5
    for p in SQUARE:
        assert_differ([q["W"].T for q in p.params], [q["W"] for q in p.params], min_rel=0.1)
    for p in (*GOOD, *SQUARE):
        assert alive(p)
        assert any(Pi is not None for Pi in p.precision[:-1])
