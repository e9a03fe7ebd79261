"""What the entrances of sPC and ePC promise of their arguments: defaults, numbers of NumPy, a free output, refusals."""

import numpy as np
import pytest
from helpers.checks import assert_same, leaves

import minipc as pc
from minipc import epc, spc

RNG = np.random.default_rng(0)
NET = pc.Network([pc.Dense(3, 5, "tanh"), pc.Dense(5, 4, "tanh", form="pre"), pc.Dense(4, 2)])
PARAMS, X, Y = NET.init(0), RNG.standard_normal((3, 3)), RNG.standard_normal((3, 2))
FREE = [None, RNG.standard_normal((3, 5)), RNG.standard_normal((3, 4))]
PI = [2.0, None, None]  # with a precision the readable form runs, without one the fast form
noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")


def infer(rule, free=FREE, params=PARAMS, x=X, y=Y, precision=None, **options):
    """Inference from any start; the result, and its free layers."""
    run = rule.infer(
        NET, params, *(([x, *free[1:]], y) if rule is spc else (free, x, y)), precision, **options
    )
    return run, (run.s if rule is spc else run.e)[1:]


DEFAULTS = {  # as the tables of options say
    spc: {"inference_steps": 20, "step_size": 0.1},
    epc: {"inference_steps": 8, "step_size": "adaptive"},
}


@noisy
@pytest.mark.parametrize("rule", DEFAULTS, ids=["sPC", "ePC"])
def test_the_defaults_are_the_documented_ones(rule):
    """Saying them changes nothing; with other numbers of steps it is another gradient."""
    default, said = DEFAULTS[rule], rule.gradient(NET, PARAMS, X, Y, **DEFAULTS[rule])
    assert_same(rule.gradient(NET, PARAMS, X, Y).grads, said.grads, rtol=0)
    for steps in (default["inference_steps"] - 1, default["inference_steps"] + 1):
        other = rule.gradient(NET, PARAMS, X, Y, **{**default, "inference_steps": steps})
        assert abs(other.grads[0]["W"] - said.grads[0]["W"]).max() > 1e-9
    assert said.recording is None


def test_inference_of_epc_is_adaptive_by_default():
    """The default step of ``infer`` is that of ``gradient``."""
    run, free = infer(epc, inference_steps=3)
    said, expected = infer(epc, inference_steps=3, step_size="adaptive")
    assert_same([free, run.step_size], [expected, said.step_size], rtol=0)
    assert run.recording is None


@noisy
@pytest.mark.parametrize("precision", [None, PI], ids=["fast", "readable"])
@pytest.mark.parametrize("rule", [spc, epc], ids=["sPC", "ePC"])
def test_numbers_of_numpy_do_not_widen_float32(rule, precision):
    """A step size of np.float64 is a number, no array; the count of steps that comes back is one of Python."""
    single = [{k: v.astype(np.float32) for k, v in p.items()} for p in PARAMS]
    free = [None, *(v.astype(np.float32) for v in FREE[1:])]
    arrays = {"free": free, "params": single, "x": X.astype(np.float32), "y": Y.astype(np.float32)}
    options = {"inference_steps": np.int64(2), "step_size": np.float64(0.1)}
    run, found = infer(rule, precision=precision, **arrays, **options)
    assert type(run.steps) is int
    assert {v.dtype for v in [*found, run.energy, run.residual]} == {np.dtype(np.float32)}
    plain = infer(rule, precision=precision, **arrays, inference_steps=2, step_size=0.1)[1]
    assert_same(found, plain, rtol=0)
    if rule is epc:
        assert {v.dtype for v in (run.regime, run.curvature, run.step_size)} == {np.dtype(np.float32)}


def test_a_free_output_has_no_error_even_where_it_is_zero():
    """Without a target the error at the output is zero, finite also at outputs of exactly zero, as relu has them."""
    net = pc.Network([pc.Dense(3, 5, "tanh"), pc.Dense(5, 4, "relu")])
    params = [net.init(0)[0], {"W": -np.ones((4, 5)), "b": np.zeros(4)}]
    s = [X, np.abs(FREE[1])]
    assert not net.blocks[1].forward(params[1], s[1])[0].any()
    looked = spc.errors(net, params, s, None)
    assert not looked.eps[-1].any()
    assert all(np.isfinite(v).all() for v in leaves(looked.eps[1:]))
    assert np.isfinite(spc.energy(net, params, s, None)).all()
    assert np.isfinite(epc.energy(net, params, [None, FREE[1]], X, None)).all()
    for gradient in (
        spc.activity_gradient(net, params, s, None),
        epc.error_gradient(net, params, [None, s[1] - np.tanh(X @ params[0]["W"].T)], X, None),
    ):
        assert all(np.isfinite(v).all() for v in gradient[1:])


@pytest.mark.parametrize("rule", [spc, epc], ids=["sPC", "ePC"])
@pytest.mark.parametrize(
    ("options", "symbol"),
    [
        ({"inference_steps": -1, "step_size": 0.1}, "inference_steps"),
        ({"inference_steps": 1, "step_size": -0.1}, "step_size"),
        ({"inference_steps": 1, "step_size": 0.1, "tolerance": 0}, "tolerance"),
        ({"inference_steps": 1, "step_size": 0.1, "record_every": -1}, "record_every"),
        ({"inference_steps": 1, "step_size": "quick"}, "step_size"),
    ],
)
def test_infer_refuses_bad_options_as_gradient_does(rule, options, symbol):
    """Each by name."""
    with pytest.raises(ValueError, match=f"{symbol} must"):
        infer(rule, **options)


@pytest.mark.parametrize("s", [[], (), X, None], ids=["[]", "()", "an array", "None"])
def test_states_that_are_no_list_are_refused(s):
    """An empty list has no input."""
    with pytest.raises(TypeError, match=r"s must be a list s\[0\.\.2\] of arrays, got"):
        spc.energy(NET, PARAMS, s, Y)
