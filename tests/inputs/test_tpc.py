"""tPC, tPC-RTRL, filtering, certificate: what is wrong is refused by name, before any work; inference that fails says so."""

import warnings

import numpy as np
import pytest

import minipc as pc
from minipc import rtrl, tpc

T, B, M, O = 6, 3, 2, 4
RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((T, B, M)), RNG.standard_normal((T, B, O))
LABELS = RNG.integers(0, O, (T, B))
MASK = RNG.random((T, B)) > 0.3
SEEN = RNG.random((T, B, O)) > 0.3
ONE = pc.RecurrentNetwork([pc.RNN(M, 5, "tanh"), pc.Dense(5, O)])
DEEP = pc.RecurrentNetwork([pc.RNN(M, 5, "tanh"), pc.Dense(5, 7, "tanh"), pc.Dense(7, O)])
LINEAR = pc.RecurrentNetwork([pc.RNN(M, 5, "identity"), pc.Dense(5, O)])
CLASSES = pc.RecurrentNetwork(ONE.blocks, "cross_entropy")
GATED = pc.RecurrentNetwork([pc.GRU(M, 5), pc.Dense(5, O)])
LONG = pc.RecurrentNetwork([pc.LSTM(M, 5), pc.Dense(5, O)])
DIAGONAL = pc.RecurrentNetwork([pc.LRU(M, 5), pc.Dense(5, O)])
NORMED = pc.RecurrentNetwork([pc.RNN(M, 5), pc.LayerNorm(5), pc.Dense(5, O)])
BARE = pc.RecurrentNetwork([pc.RNN(M, O)])
PLAIN = pc.Network([pc.Dense(M, O)])
H = RNG.standard_normal((B, 5))
A = RNG.standard_normal((5, 5))
SPD, LOPSIDED, INDEFINITE = A @ A.T + np.eye(5), np.eye(5) + np.triu(A, 1), A + A.T
SHORT = {"inference_steps": 2}


def g(net=ONE, inputs=INPUTS, targets=TARGETS, params=None, **options):
    """tpc.gradient."""
    return tpc.gradient(net, net.init(0) if params is None else params, inputs, targets, **(SHORT | options))


def f(net=ONE, inputs=INPUTS, observations=TARGETS, params=None, **options):
    """tpc.infer."""
    params = net.init(0) if params is None else params
    return tpc.infer(net, params, inputs, observations, **(SHORT | options))


def c(net=ONE, inputs=INPUTS, targets=TARGETS, params=None, **options):
    """tpc.certificate."""
    return tpc.certificate(
        net, net.init(0) if params is None else params, inputs, targets, **(SHORT | options)
    )


def rt(influence, net=ONE, **options):
    """rtrl.gradient."""
    return rtrl.gradient(net, net.init(0), INPUTS, TARGETS, influence=influence, **options)


def at(array, place, value):
    """A copy with one entry replaced."""
    array = array.copy()
    array[place] = value
    return array


def moved(params, l, name, change):
    """Parameters with one array of block ``l`` = 1, 2, ... changed."""
    return [{**p, name: change(p[name])} if i == l else p for i, p in enumerate(params, start=1)]


WORDS = {
    "influence unknown": (
        lambda: g(influence="past"),
        ValueError,
        "influence must be .*plain, implicit, diag.*got 'past'",
    ),
    "influence a number": (lambda: g(influence=1), (TypeError, ValueError), "influence must be .*got 1"),
    "influence a class": (lambda: g(influence=pc.SnAp), (TypeError, ValueError), "influence must be .*SnAp"),
    "influence True": (lambda: g(influence=True), (TypeError, ValueError), "influence must be .*got True"),
    "carry unknown": (lambda: g(carry="mu"), ValueError, "carry must be one of state, prediction; got 'mu'"),
    "carry None": (lambda: g(carry=None), ValueError, "carry must be one of state, prediction; got None"),
    "carry an array": (lambda: g(carry=H), ValueError, "carry must be one of state, prediction"),
    "inference unknown": (
        lambda: g(inference="bp"),
        ValueError,
        "inference must be one of spc, epc, newton, fixed; got 'bp'",
    ),
    "start unknown": (
        lambda: g(start="zero"),
        ValueError,
        "start must be one of prediction, previous; got 'zero'",
    ),
}
NUMBERS = {
    "beta 0": (lambda: g(beta=0), ValueError, "beta must be positive and finite, got 0"),
    "beta negative": (lambda: g(beta=-0.1), ValueError, "beta must be positive and finite, got -0.1"),
    "beta NaN": (lambda: g(beta=np.nan), ValueError, "beta must be positive and finite, got nan"),
    "beta infinite": (lambda: g(beta=np.inf), ValueError, "beta must be positive and finite, got inf"),
    "beta text": (lambda: g(beta="0.1"), TypeError, "beta must be a number, got '0.1'"),
    "beta complex": (lambda: g(beta=0.1j), TypeError, "beta must be a number, got 0.1j"),
    "beta a list": (lambda: g(beta=[0.1]), TypeError, r"beta must be a number, got \[0.1\]"),
    "steps -1": (lambda: g(inference_steps=-1), ValueError, "inference_steps must not be negative, got -1"),
    "steps a float": (
        lambda: g(inference_steps=2.0),
        TypeError,
        "inference_steps must be an integer, got 2.0",
    ),
    "steps None": (
        lambda: g(inference_steps=None),
        TypeError,
        "inference_steps must be an integer, got None",
    ),
    "step 0": (lambda: g(step_size=0), ValueError, "step_size must be positive and finite, got 0"),
    "step negative": (
        lambda: g(step_size=-0.1),
        ValueError,
        "step_size must be positive and finite, got -0.1",
    ),
    "step NaN": (lambda: g(step_size=np.nan), ValueError, "step_size must be positive and finite, got nan"),
    "step None": (lambda: g(step_size=None), TypeError, "step_size must be a number, got None"),
    "step adaptive with spc": (lambda: g(step_size="adaptive"), ValueError, "step_size .*'adaptive'"),
    "step power with epc": (
        lambda: g(inference="epc", step_size="power"),
        ValueError,
        "step_size .*must be .*\"adaptive\".*got 'power'",
    ),
    "tolerance 0": (lambda: g(tolerance=0), ValueError, "tolerance must be positive and finite, got 0"),
    "tolerance text": (lambda: g(tolerance="1e-3"), TypeError, "tolerance must be a number, got '1e-3'"),
    "step unknown with epc": (
        lambda: g(inference="epc", step_size="fast"),
        ValueError,
        "step_size .*must be .*\"adaptive\".*got 'fast'",
    ),
}
PRECISION = {
    "no list": (lambda: g(precision=2.0), TypeError, "precision must be a list of 2 entries.*got float"),
    "an array": (lambda: g(precision=np.ones(2)), TypeError, "precision must be a list .*got ndarray"),
    "one a block of the network": (
        lambda: g(DEEP, precision=[1.0, 1.0, 1.0, None]),
        ValueError,
        "precision must have 3 entries.*got 4",
    ),
    "too few": (lambda: g(DEEP, precision=[1.0, None]), ValueError, "precision must have 3 entries.*got 2"),
    "of the output, cross-entropy": (
        lambda: g(CLASSES, targets=LABELS, precision=[1.0, 2.0]),
        ValueError,
        "None.*got 2.0",
    ),
    "zero": (lambda: g(precision=[0.0, None]), ValueError, r"Pi\[1\] must be positive, got 0.0"),
    "negative in a diagonal": (
        lambda: g(precision=[at(np.ones(5), 3, -1.0), None]),
        ValueError,
        r"Pi\[1\] must be positive, got -1.0",
    ),
    "NaN": (
        lambda: g(precision=[at(np.ones(5), 3, np.nan), None]),
        ValueError,
        r"Pi\[1\] must be finite, got nan",
    ),
    "a diagonal of another length": (
        lambda: g(precision=[np.ones(4), None]),
        ValueError,
        r"Pi\[1\] must be a number or have shape \(5,\) or \(5, 5\), got \(4,\)",
    ),
    "of the hidden state, where that of the cell stands": (
        lambda: g(DEEP, precision=[np.ones(7), None, None]),
        ValueError,
        r"Pi\[1\] .*\(5,\) or \(5, 5\), got \(7,\)",
    ),
    "a matrix of another size": (
        lambda: g(precision=[np.eye(4), None]),
        ValueError,
        r"Pi\[1\] .*\(5, 5\), got \(4, 4\)",
    ),
    "not symmetric": (
        lambda: g(precision=[LOPSIDED, None]),
        ValueError,
        r"Pi\[1\] must be symmetric, got a matrix with Pi - Pi.T up to",
    ),
    "not positive definite": (
        lambda: g(precision=[INDEFINITE, None]),
        ValueError,
        r"Pi\[1\] must be positive definite, got the eigenvalue -",
    ),
    "integers": (
        lambda: g(precision=[np.eye(5, dtype=int), None]),
        TypeError,
        r"Pi\[1\] must hold floating point numbers, got int64",
    ),
    "text": (lambda: g(precision=["2", None]), TypeError, r"Pi\[1\] must be a number or an array, got str"),
    "complex": (
        lambda: g(precision=[1j * np.ones(5), None]),
        (TypeError, ValueError),
        r"Pi\[1\] must be ",
    ),
    "n numbers for the 2n of an LRU": (
        lambda: g(DIAGONAL, precision=[np.ones(5), None, None]),
        ValueError,
        r"Pi\[1\] must be a number or have shape \(10,\) or \(10, 10\), got \(5,\)",
    ),
}
SEQUENCES = {
    "inputs of another width": (
        lambda: g(inputs=INPUTS[..., :1]),
        ValueError,
        r"inputs must have shape \(T, B, 2\)",
    ),
    "targets of another length": (lambda: g(targets=TARGETS[:5]), ValueError, r"targets must have shape"),
    "no targets": (lambda: g(targets=None), TypeError, "targets must be a NumPy or CuPy array, got NoneType"),
    "labels out of range": (
        lambda: g(CLASSES, targets=at(LABELS, (2, 1), O)),
        ValueError,
        "targets must hold labels 0..3; got 4 in step 2, sequence 1",
    ),
    "NaN in an input": (
        lambda: g(inputs=at(INPUTS, (4, 1, 0), np.nan)),
        ValueError,
        "inputs must be finite; got nan in step 4, sequence 1",
    ),
    "a mask of floats": (lambda: g(mask=MASK.astype(float)), ValueError, "mask must be boolean of shape"),
    "a mask with nothing in it": (lambda: g(mask=0 * MASK == 1), ValueError, "mask must be True somewhere"),
    "a reset of one lane": (lambda: g(reset=MASK[:, :1]), ValueError, "reset must be boolean of shape"),
    "h0 of another width": (lambda: g(h0=H[:, :4]), ValueError, r"h0 of block 1"),
    "h0 of another batch": (lambda: g(h0=H[:2]), ValueError, r"h0 of block 1"),
    "params of another network": (lambda: g(params=DEEP.init(0)), ValueError, "params must have 2 dicts"),
    "inputs complex into an LRU": (
        lambda: g(DIAGONAL, INPUTS + 0j),
        TypeError,
        "inputs of a network with an LRU must be real",
    ),
}
NETWORKS = {
    "without a cell": (lambda: g(PLAIN), TypeError, "net must be a RecurrentNetwork, got Network"),
    "a list": (
        lambda: tpc.gradient([pc.RNN(2, 4)], [], INPUTS, TARGETS),
        TypeError,
        "net must be a RecurrentNetwork, got list",
    ),
    "implicit with fixed predictions": (
        lambda: g(influence="implicit", inference="fixed"),
        ValueError,
        "influence implicit .*inference fixed does not",
    ),
    "fixed from the carried state": (
        lambda: g(inference="fixed", start="previous"),
        ValueError,
        "start must be prediction with inference fixed.*got 'previous'",
    ),
    "implicit on an LRU": (
        lambda: g(DIAGONAL, influence="implicit"),
        ValueError,
        "influence implicit.*block 1.*diag",
    ),
    "diag above which a LayerNorm stands": (
        lambda: g(NORMED, influence="diag"),
        ValueError,
        "influence diag needs .*Dense alone has; got LayerNorm",
    ),
    "Newton above which a LayerNorm stands": (
        lambda: g(NORMED, inference="newton"),
        ValueError,
        "inference newton needs .*Dense alone has; got LayerNorm",
    ),
    "implicit above which a LayerNorm stands": (
        lambda: g(NORMED, influence="implicit"),
        ValueError,
        "influence implicit needs .*Dense alone has; got LayerNorm",
    ),
}
FILTER = {
    "observed of another width": (
        lambda: f(observed=SEEN[..., :3]),
        ValueError,
        r"observed must be boolean of shape \(6, 3, 4\), got .*\(6, 3, 3\)",
    ),
    "observed a table": (
        lambda: f(observed=MASK),
        ValueError,
        r"observed must be boolean of shape \(6, 3, 4\), got .*\(6, 3\)",
    ),
    "observed of floats": (
        lambda: f(observed=SEEN.astype(float)),
        (TypeError, ValueError),
        "observed must be boolean.* got float64",
    ),
    "observed a list": (
        lambda: f(observed=SEEN.tolist()),
        TypeError,
        "observed must be a NumPy or CuPy array, got list",
    ),
    "mask and observed": (lambda: f(observed=SEEN, mask=MASK), ValueError, "mask and observed"),
    "observed channels of classes": (
        lambda: f(CLASSES, observations=LABELS, observed=SEEN),
        ValueError,
        "observed is for the channels of a squared error, the loss is cross_entropy",
    ),
    "precision of the output not SPD": (
        lambda: f(precision=[None, -np.eye(O)]),
        ValueError,
        r"Pi\[2\] must be positive definite",
    ),
    "precision of the output of another width": (
        lambda: f(precision=[None, np.ones(5)]),
        ValueError,
        r"Pi\[2\] .*\(4,\) or \(4, 4\), got \(5,\)",
    ),
    "precision of the output of classes": (
        lambda: f(CLASSES, observations=LABELS, precision=[None, 2.0]),
        ValueError,
        r"Pi\[2\] must be None",
    ),
    "propagate with carry prediction": (
        lambda: f(LINEAR, propagate=True, carry="prediction"),
        ValueError,
        "propagate.*carry",
    ),
    "propagate on an LRU": (
        lambda: f(DIAGONAL, propagate=True),
        ValueError,
        "propagate needs a gated cell, block 1 is ",
    ),
    "propagate above which a LayerNorm stands": (
        lambda: f(NORMED, propagate=True),
        ValueError,
        "propagate needs .*Dense alone has; got LayerNorm",
    ),
    "observed channels under a full precision": (
        lambda: f(observed=SEEN, precision=[None, np.eye(O)]),
        ValueError,
        r"observed must take all channels of a step or none under a full precision of the output, Pi\[2\]",
    ),
    "propagate a word": (lambda: f(LINEAR, propagate="yes"), (TypeError, ValueError), "propagate must be"),
    "carry unknown": (lambda: f(carry="x"), ValueError, "carry must be one of state, prediction; got 'x'"),
    "inference unknown": (lambda: f(inference="bp"), ValueError, "inference must be one of .*got 'bp'"),
    "beta 0": (lambda: f(beta=0), ValueError, "beta must be positive"),
    "step -1": (lambda: f(step_size=-1), ValueError, "step_size must be positive"),
    "observations missing": (
        lambda: f(observations=None),
        TypeError,
        "observations must be a NumPy or CuPy array, got NoneType",
    ),
    "observations of another width": (
        lambda: f(observations=TARGETS[..., :3]),
        ValueError,
        r"observations must have shape \(6, 3, 4\)",
    ),
    "observations with NaN": (
        lambda: f(observations=at(TARGETS, (1, 2, 0), np.nan)),
        ValueError,
        "observations must be finite; got nan in step 1, sequence 2",
    ),
    "without a cell": (lambda: f(PLAIN), TypeError, "net must be a RecurrentNetwork, got Network"),
}
CERTIFICATE = {
    "carry prediction": (lambda: c(carry="prediction"), TypeError, "unexpected keyword argument 'carry'"),
    "beta 0": (lambda: c(beta=0), ValueError, "beta must be positive"),
    "inference unknown": (lambda: c(inference="bp"), ValueError, "inference must be one of"),
    "on an LRU": (lambda: c(DIAGONAL), ValueError, "influence implicit .*block 1 is .*take diag"),
    "above which a LayerNorm stands": (lambda: c(NORMED), ValueError, "Dense alone has; got LayerNorm"),
    "precision not SPD": (lambda: c(precision=[INDEFINITE, None]), ValueError, r"Pi\[1\] must be positive"),
    "without a cell": (lambda: c(PLAIN), TypeError, "net must be a RecurrentNetwork, got Network"),
}
APPROXIMATIONS = {
    "SnAp of order 0": (lambda: pc.SnAp(order=0), ValueError, "order of SnAp must be at least 1, got 0"),
    "SnAp of order 1.5": (lambda: pc.SnAp(1.5), TypeError, "order of SnAp must be an integer, got 1.5"),
    "snap-0": (lambda: rt("snap-0"), ValueError, "order of SnAp must be at least 1, got 0"),
    "snap without a number": (lambda: rt("snap"), ValueError, "influence must be .*snap-1.*got 'snap'"),
    "snap-x": (lambda: rt("snap-x"), ValueError, "influence must be .*got 'snap-x'"),
    "snap--1": (lambda: rt("snap--1"), ValueError, "influence must be .*got 'snap--1'"),
    "uoro with a number": (lambda: rt("uoro-2"), ValueError, "influence must be .*uoro.*got 'uoro-2'"),
    "in tPC, one that there is not": (lambda: g(influence="uoro-2"), ValueError, "influence .*got 'uoro-2'"),
    "a class": (lambda: rt(pc.UORO), ValueError, "influence must be .*got <class .*UORO"),
    "rank negative": (lambda: pc.Sketch(-1), ValueError, "rank of Sketch must not be negative, got -1"),
    "rank text": (lambda: pc.Sketch("4"), TypeError, "rank of Sketch must be an integer, got '4'"),
    "seed negative": (lambda: pc.UORO(seed=-1), ValueError, "seed must be an integer >= 0 or .*got -1"),
    "seed text": (lambda: pc.KF(seed="0"), TypeError, "seed must be an integer >= 0 or .*got '0'"),
    "seed a float": (lambda: pc.ReverseKF(seed=0.5), TypeError, "seed must be an integer >= 0 or .*got 0.5"),
    "KeRNL's A of another size": (
        lambda: rt(pc.KeRNL(A=np.eye(4))),
        ValueError,
        r"A of KeRNL must have shape \(5, 5\), got \(4, 4\)",
    ),
    "KeRNL's A of integers": (
        lambda: rt(pc.KeRNL(A=np.eye(5, dtype=int))),
        TypeError,
        "A of KeRNL must hold float32 or float64 numbers, got int64",
    ),
    "KeRNL's alpha of another size": (
        lambda: rt(pc.KeRNL(alpha=np.ones(4))),
        ValueError,
        r"alpha of KeRNL must have shape \(5,\), got \(4,\)",
    ),
    "KeRNL's alpha a number": (
        lambda: rt(pc.KeRNL(alpha=0.5)),
        TypeError,
        "alpha of KeRNL must be a NumPy or CuPy array, got float",
    ),
    "KeRNL's A of two cells for one": (
        lambda: rt(pc.KeRNL(A=[np.eye(5), np.eye(5)])),
        ValueError,
        "A of KeRNL must .* one a cell.*got 2",
    ),
    "kernl on a GRU": (lambda: rt("kernl", GATED), ValueError, "influence kernl: block 1, GRU, has no leak"),
    "kf on a GRU": (lambda: rt("kf", GATED), ValueError, "influence kf: block 1, GRU, .*take reverse-kf"),
    "sketch on an LSTM": (
        lambda: rt("sketch-2", LONG),
        ValueError,
        "influence sketch-2: block 1, LSTM, has two",
    ),
    **{
        f"{name} on an LRU": (
            lambda name=name: g(DIAGONAL, influence=name),
            ValueError,
            rf"influence {name}: block 1, Re\(C h\) \+ D u, has exact traces at the same cost: take snap-1",
        )
        for name in ("rflo", "kf", "sketch-2")
    },
    "block with one": (
        lambda: rt("uoro", block=4),
        ValueError,
        "block is an option of the influence hybrid, not of uoro",
    ),
    "online, unknown": (
        lambda: rtrl.online(ONE, ONE.init(0), INPUTS, TARGETS, optimizer=pc.SGD(0.1), influence="uoro-1"),
        ValueError,
        "influence must be .*got 'uoro-1'",
    ),
}
CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("words", WORDS),
        ("numbers", NUMBERS),
        ("precision", PRECISION),
        ("sequences", SEQUENCES),
        ("networks", NETWORKS),
        ("infer", FILTER),
        ("certificate", CERTIFICATE),
        ("approximations", APPROXIMATIONS),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_refused_before_any_work(name, no_work):
    """The message names the symbol, what was expected and what was given."""
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------ inference that fails


def one(g=2.0):
    """One unit with the readout ``g`` and no history: H = 1 + beta g^2, so a fixed step must stay below 2 / H."""
    net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity"), pc.Dense(1, 1)])
    zero, unit = np.zeros((1, 1)), np.ones((1, 1))
    return net, [{"W": zero, "U": unit, "b": np.zeros(1)}, {"W": g * unit, "b": np.zeros(1)}]


VERBS = {
    "tpc": tpc.gradient,
    "tpc_rtrl": lambda *a, **o: tpc.gradient(*a, influence="plain", **o),
    "infer": tpc.infer,
}
by_verb = pytest.mark.parametrize("verb", VERBS)


@by_verb
def test_inference_that_diverges_names_its_lanes(verb):
    """H = 5: with steps of .5 the energy of a lane rises if it has anything to infer; that is lane 1 alone, in step 2."""
    net, params = one()
    inputs, targets = np.zeros((4, 3, 1)), np.zeros((4, 3, 1))
    targets[2, 1] = 1.0
    with pytest.warns(
        pc.InferenceWarning,
        match=r"inference diverged at 1 of 12 steps, in the sequences 1 \(first: step 2 of sequence 1\).*step_size 0.5",
    ) as found:
        VERBS[verb](net, params, inputs, targets, inference_steps=10, step_size=0.5)
    assert len([w for w in found if w.category is pc.InferenceWarning]) == 1  # not one a step


@by_verb
@pytest.mark.parametrize(("beta", "step_size"), [(1.0, 0.1), (1.0, 0.39), (0.25, 0.99)])
def test_inference_below_the_bound_is_quiet(verb, beta, step_size):
    """H = 1 + 4 beta, and 2 / H = .4, or 1: step_size is that of F_t, also where the code works with F_t/beta."""
    net, params = one()
    with warnings.catch_warnings():
        warnings.simplefilter("error", pc.InferenceWarning)
        data = np.ones((4, 3, 1)), np.zeros((4, 3, 1))
        VERBS[verb](net, params, *data, inference_steps=10, step_size=step_size, beta=beta)


@by_verb
def test_inference_that_does_not_converge_names_its_lanes(verb):
    """H = 5 with steps of .1: after 3 steps the residual of lane b is 2 |y| / 8; that of lanes 0 and 2 is above .1."""
    net, params = one()
    targets = np.zeros((4, 3, 1))
    targets[0, 0], targets[1, 1], targets[2, 2] = 0.5, 0.3, -1.5
    data, options = (np.zeros((4, 3, 1)), targets), {"step_size": 0.1, "tolerance": 0.1}
    with pytest.warns(
        pc.InferenceWarning,
        match=r"inference did not converge at 2 of 12 steps, in the sequences 0, 2 \(first: step 0 of sequence 0\): the "
        r"largest residual is 3.[78]e-01, the tolerance 1.0e-01; use more inference_steps",
    ) as found:
        VERBS[verb](net, params, *data, inference_steps=3, **options)
    assert len([w for w in found if w.category is pc.InferenceWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", pc.InferenceWarning)
        VERBS[verb](net, params, *data, inference_steps=5, **options)  # 2 * 1.5 / 32 < .1


@by_verb
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("t", [1, 3])
def test_states_that_are_no_numbers_any_more_say_where(verb, t):
    """A step far beyond the bound: the state of a lane overflows in inference, also in the last step of time."""
    net, params = one()
    params[0]["W"][:] = 0.5
    targets = np.zeros((4, 3, 1))
    targets[t, 2] = 1.0
    with pytest.raises(FloatingPointError, match=rf"step {t}\b.*sequence 2|sequence 2.*step {t}\b"):
        VERBS[verb](net, params, np.zeros((4, 3, 1)), targets, inference_steps=400, step_size=1e3)


@by_verb
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_state_that_explodes_names_the_cell(verb):
    """The given state is near the end of float64, and block 1 multiplies it by ten; the loss would be finite."""
    net, params = one(1e-300)
    params[0]["W"] = np.full((1, 1), 10.0)
    with pytest.raises(FloatingPointError, match="first appeared in the output of block 1"):
        VERBS[verb](net, params, np.ones((3, 1, 1)), np.ones((3, 1, 1)), h0=np.full((1, 1), 1e308))


@by_verb
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_parameter_that_is_no_number_is_named(verb):
    """As everywhere."""
    params = moved(ONE.init(0), 1, "W", lambda W: at(W, (0, 0), np.nan))
    with pytest.raises(FloatingPointError, match=r"parameter W\[1\] of block 1 .*holds NaN"):
        VERBS[verb](ONE, params, INPUTS, TARGETS, inference_steps=2)


@by_verb
@pytest.mark.parametrize("beta", [1.0, 0.25])
@pytest.mark.parametrize("steps", [0, 3, 30])
def test_the_residual_says_how_far_from_equilibrium_every_lane_is(verb, beta, steps):
    """Of F_t: (1 - lambda H)^N beta |g y| with H = 1 + beta g^2; of F_t/beta one beta less. The largest of all steps of time."""
    net, params = one()
    targets = np.zeros((4, 3, 1))
    targets[0, 0], targets[3, 0], targets[2, 2] = 0.5, -1.5, 0.25
    options = {"carry": "prediction", "inference_steps": steps, "step_size": 0.1, "beta": beta}
    r = VERBS[verb](net, params, np.zeros((4, 3, 1)), targets, **options)
    expected = (1 - 0.1 * (1 + 4 * beta)) ** steps * 2.0 * np.abs(targets).max(axis=0)[:, 0]
    residual = r.residual.max(axis=0) if verb == "infer" else r.residual
    assert np.abs(residual - expected).max() < 1e-14


ALLOWED = {
    "influence None is tPC": lambda: g(influence=None),
    "no inference step": lambda: g(inference_steps=0),
    "NumPy's numbers": lambda: g(
        beta=np.float64(0.5), inference_steps=np.int64(2), step_size=np.float64(0.1)
    ),
    "precision None": lambda: g(DEEP, precision=[None, None, None]),
    "precisions of every kind": lambda: g(DEEP, precision=[SPD, np.full(7, 2.0), None]),
    "precision a tuple": lambda: g(precision=(2.0, None)),
    "the 2n numbers of an LRU": lambda: g(DIAGONAL, precision=[np.ones(10), None, None]),
    "labels": lambda: g(CLASSES, targets=LABELS),
    "a mask with a lane that never counts": lambda: g(mask=MASK & [True, False, True]),
    "lengths": lambda: g(mask=np.array([6, 1, 3])),
    "float32 into float64": lambda: g(inputs=INPUTS.astype("float32")),
    "observed nowhere": lambda: f(observed=0 * SEEN == 1),
    "mask nowhere": lambda: f(mask=0 * MASK == 1),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed(name):
    """Nothing of it is refused, and the results are finite, a row a lane."""
    found = ALLOWED[name]()
    assert found.energy.shape[-1] == B
    assert np.isfinite(found.energy).all()
    assert np.isfinite(found.residual).all()
