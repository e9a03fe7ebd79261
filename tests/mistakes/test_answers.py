"""What a student returns, in whatever form, is read as the answer that was asked for."""

import numpy as np
import pytest

import minipc as pc
from minipc import check
from minipc.exercises import Draw
from minipc.exercises.register import EXERCISES, exercise


def traced(D, z, q, alpha):
    """RFLO: the traces of every step, and the gradient."""
    T, traces = 0.0, []
    for t in range(len(D)):
        T = (1 - alpha) * T + D[t][:, :, None] * z[t][:, None]
        traces.append(T)
    return traces, sum(np.einsum("bi,bij->ij", c, T) for c, T in zip(q, traces, strict=True))


def lif(params, inputs, spike, v, kappa, threshold, slope):
    """The three arrays (T, B, ...) of (EPROP.1) as lists over time."""
    found, zbar = {"spike": [], "v": [], "e": []}, 0.0
    for u in inputs:
        zbar = kappa * zbar + np.hstack([spike, u, np.ones((len(u), 1))])
        v = kappa * v + spike @ params["W"].T + u @ params["U"].T + params["b"]
        spike = 1.0 * (v > threshold)
        r = 1 / (1 + np.exp(-slope * (v - threshold)))
        for name, new in (
            ("spike", spike),
            ("v", v),
            ("e", (slope * r * (1 - r))[:, :, None] * zbar[:, None]),
        ):
            found[name].append(new)
    return found


FORMS = {
    "a dict of lists": lambda found: found,
    "in another order": lambda found: dict(reversed(found.items())),
    "a tuple of lists": lambda found: tuple(found.values()),
    "nested lists": lambda found: [np.array(a).tolist() for a in found.values()],
    "arrays": lambda found: [np.array(a) for a in found.values()],
    "single precision": lambda found: [np.array(a, np.float32) for a in found.values()],
}


@pytest.mark.parametrize("form", FORMS)
def test_time_may_be_a_list_and_keys_stand_in_any_order(form):
    """The same numbers: the same verdict."""
    told = check.explain(lambda *given: FORMS[form](lif(*given)), "EPROP.1")
    assert told.correct, str(told)


def test_the_traces_of_every_step_are_not_the_last_ones():
    """One list too many axes: a shape, not a mistake with a name."""
    told = check.explain(traced, "RFLO.1")
    assert told.verdict == "shape"
    assert "T has shape" in told.message
    assert check.explain(
        lambda D, z, q, alpha: (traced(D, z, q, alpha)[0][-1], traced(D, z, q, alpha)[1]), "RFLO.1"
    ).correct


def test_what_does_not_stack_stays_as_it_is():
    """Lists of unequal arrays are counted one by one."""
    told = check.explain(lambda D, z, q, alpha: [[D, z], q], "RFLO.1")
    assert told.verdict == "structure"
    assert "3 arrays were returned, 2 expected" in told.message


def test_options_of_a_student_are_left_alone():
    """``**options`` and defaults need nothing."""

    def last(D, z, q, alpha, step=-1, **options):
        assert not options
        traces, g = traced(D, z, q, alpha)
        return traces[step], g

    assert check.explain(last, "RFLO.1").correct


# ---------------------------------------------------------------------- slips


@pytest.mark.parametrize("equation", [name for name, e in EXERCISES.items() if e.slips])
@pytest.mark.parametrize("seed", [5, 6])
def test_a_slip_is_named_as_a_mistake_is(equation, seed):
    """Alone; and it is no argument of the student's function."""
    asked = EXERCISES[equation]
    assert "slip" not in asked.arguments
    for slip in asked.slips:
        told = check.explain(
            lambda *given, slip=slip: asked.answer(pc, *given, slip=slip), equation, seed=seed
        )
        assert told.names == (slip,), str(told)
        assert told.alternatives == ((slip,),)


def test_an_exercise_is_registered_once():
    """A second one of the same equation is refused."""
    with pytest.raises(ValueError, match=r"RFLO\.1 has an exercise already: rflo"):

        @exercise("RFLO.1", problem=dict)
        def again(engine):
            """Once more."""


def test_three_settings_have_three_sizes_whatever_was_drawn():
    """1/B is no constant in the problems of one exercise."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        draws = []
        for setting in range(3):
            draws.append(Draw(rng, setting=setting))
            draws[-1].normal(4)
        assert len({d.B for d in draws}) == len({d.T for d in draws}) == 3


def test_a_mistake_that_makes_the_engine_raise_is_nobodys(monkeypatch):
    """Whatever it raises, a KeyError, too: the search goes on."""
    asked = EXERCISES["RFLO.1"]

    def raising(engine, *given, slip=None):
        if slip:
            raise KeyError(slip)
        return asked.answer(engine, *given)

    monkeypatch.setitem(EXERCISES, "RFLO.1", asked._replace(answer=raising))
    told = check.explain(
        lambda D, z, q, alpha: [-2.5 * g for g in asked_of(D, z, q, alpha)], "RFLO.1", seed=987
    )
    assert told.names == ("a constant factor -2.5",)


def asked_of(D, z, q, alpha):
    """The right answer to (RFLO.1)."""
    traces, g = traced(D, z, q, alpha)
    return traces[-1], g
