"""``check.gradient`` on functions that minipc has never seen: the right gradient passes, every wrong one is refused and, if simple, named."""

import pytest

from minipc import check
from oracles.unseen import CASES

WRONG = [(name, mistake) for name, case in CASES.items() for mistake in case.wrong]


@pytest.mark.parametrize("name", CASES)
def test_the_right_gradient_passes(name):
    """To far better than the bar, and with an oracle that is good to 1e-7 at least."""
    case = CASES[name]
    found = check.gradient(case.f, case.right, *case.args, wrt=case.wrt)
    assert found.correct, f"\n{found}"
    assert {row.verdict for row in found.rows} == {"agrees"}
    assert all(row.relative_error < 1e-9 and row.accuracy < 1e-7 for row in found.rows), f"\n{found}"


@pytest.mark.parametrize(("name", "mistake"), WRONG)
def test_the_wrong_one_is_refused(name, mistake):
    """And explained where a simple reason exists; where none does, no reason is invented."""
    case = CASES[name]
    gradient, reason = case.wrong[mistake]
    found = check.gradient(case.f, gradient, *case.args, wrt=case.wrt)
    assert not found.correct
    assert not found.problems
    wrong = [row for row in found.rows if row.verdict in ("differs", "wrong shape")]
    assert wrong, f"\n{found}"
    assert {row.verdict for row in found.rows} <= {"agrees", "differs", "wrong shape"}
    notes = " | ".join(note for row in wrong for note in row.notes)
    if reason is not None:
        assert reason in notes, f"\n{found}"
    else:
        assert not any(word in notes for word in ("times", "sign", "transposed", "reversed", "zero")), (
            f"\n{found}"
        )


@pytest.mark.parametrize("name", CASES)
def test_projections_say_the_same(name):
    """Without looking at every entry."""
    case = CASES[name]
    assert check.gradient(case.f, case.right, *case.args, wrt=case.wrt, full=False).correct
    for mistake, (gradient, _) in case.wrong.items():
        found = check.gradient(case.f, gradient, *case.args, wrt=case.wrt, full=False)
        assert not found.correct, mistake
