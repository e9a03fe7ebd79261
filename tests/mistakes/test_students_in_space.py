"""Students who wrote it by themselves, with loops, einsum or matrices, right and wrong: what they are told."""

import numpy as np
import pytest

from minipc import check
from reference import autograd_oracles as ad
from reference import index_loops as loops


def told(function, equation, seed=0):
    """The names of the mistakes in a student's function."""
    return check.explain(function, equation, seed=seed).names


# ---------------------------------------------------------------------- (sPC.4), matrices, by names of its own


def phi(a):
    """The hidden activation."""
    return np.tanh(a)


def dphi(a):
    """Its derivative."""
    return 1 - np.tanh(a) ** 2


def weigh(Pi, e):
    """Precision times error."""
    return e @ Pi if np.ndim(Pi) == 2 else Pi * e


def sent_down(slope, a, xi, W, s):
    """What layer l + 1 sends to layer l; ``slope`` is phi' as this student has it."""
    return (xi * slope(a, s)) @ W


def activity(
    W,
    b,
    s,
    y,
    Pi,
    *,
    sign=-1.0,
    slope=lambda a, s: dphi(a),
    top=1.0,
    own=weigh,
    above=weigh,
    down=sent_down,
    mix=lambda own, above: own + above,
):
    """dE/ds[l] in the post form, with places to go wrong."""
    L = len(W)
    a = [None, *(s[l] @ W[l].T + b[l] for l in range(L))]
    mu = [None, *map(phi, a[1:L]), a[L]]
    eps = [None, *(s[l] - mu[l] for l in range(1, L)), top * (y - mu[L])]
    found = [None]
    for l in range(1, L):
        last = l + 1 == L
        factor = (lambda a, s: np.ones_like(a)) if last else slope
        arrow = down(factor, a[l + 1], above(Pi[l], eps[l + 1]), W[l], s[l])
        found.append(mix(own(Pi[l - 1], eps[l]), sign * arrow))
    return found


def right(W, b, s, y, Pi):
    """The right one."""
    return activity(W, b, s, y, Pi)


def by_loops(net, params, s, y, precision):
    """Every index written out: the loops of ``reference``."""
    layers = [(block.activation, block.form) for block in net.blocks]
    return loops.spc_activity_gradient(layers, params, s, y, net.loss.name, precision)


WRONG_ACTIVITY = {
    "the top-down term has the wrong sign": {"sign": 1.0},
    "the top-down term is missing": {"sign": 0.0},
    "the precision is missing in the bottom-up term": {"own": lambda Pi, e: e},
    "the precision is missing in the top-down term": {"above": lambda Pi, e: e},
    "phi' is missing (post form)": {"slope": lambda a, s: 1.0 + 0 * a},
    "tanh' is taken at mu instead of a": {"slope": lambda a, s: dphi(phi(a))},
    "tanh' is written 1 - mu": {"slope": lambda a, s: 1 - phi(a)},
}


@pytest.mark.parametrize("name", WRONG_ACTIVITY)
@pytest.mark.parametrize("seed", [0, 11])
def test_a_wrong_activity_gradient_is_named(name, seed):
    """One place of the student's own function is wrong."""
    function = lambda W, b, s, y, Pi: activity(W, b, s, y, Pi, **WRONG_ACTIVITY[name])  # noqa: E731
    assert told(function, "sPC.4", seed) == (name,)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the top-down term has the wrong sign", "tanh' is written 1 - mu"),
        ("phi' is missing (post form)", "the precision is missing in the bottom-up term"),
        ("the precision is missing in the top-down term", "tanh' is taken at mu instead of a"),
    ],
)
def test_two_wrong_places_are_both_named(first, second):
    """Two at once."""
    options = WRONG_ACTIVITY[first] | WRONG_ACTIVITY[second]
    function = lambda W, b, s, y, Pi: activity(W, b, s, y, Pi, **options)  # noqa: E731
    assert set(told(function, "sPC.4")) == {first, second}


@pytest.mark.parametrize("function", [right, by_loops])
@pytest.mark.parametrize("seed", range(5))
def test_right_ones_are_correct_however_they_are_written(function, seed):
    """Matrices, and index loops."""
    told = check.explain(function, "sPC.4", seed=seed)
    assert told.correct, str(told)
    assert told.names == ()


def test_what_matches_nothing_says_so_and_shows_a_small_problem():
    """A factor 1.1 in one term is no mistake that has a name."""
    told = check.explain(lambda W, b, s, y, Pi: activity(W, b, s, y, Pi, sign=-1.1), "sPC.4")
    assert told.verdict == "unknown"
    assert told.names == ()
    assert "B = 1" in told.smallest
    assert "expected" in told.smallest
    assert "smallest problem" in str(told)


# ---------------------------------------------------------------------- one block, backprop, ePC


def backward(params, x, y, *, slope=dphi, point="a", factor=1.0, delta_sign=1.0, at=0, bias=np.sum):
    """Backpropagation in einsum; ``at`` 1 takes the input of the layer above."""
    L, s, a = len(params), [x], [None]
    for l, p in enumerate(params):
        a.append(np.einsum("bj,ij->bi", s[-1], p["W"]) + p["b"])
        s.append(phi(a[-1]) if l < L - 1 else a[-1])
    delta, grads = delta_sign * (s[-1] - y), []
    for l in range(L, 0, -1):
        p = params[l - 1]
        back = delta * (slope((a if point == "a" else s)[l]) if l < L else 1.0)
        grads.insert(0, {"W": factor * np.einsum("bi,bj->ij", back, s[l - 1]), "b": bias(back, axis=0)})
        delta = back @ p["W"]
    return grads


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        ({"delta_sign": -1.0}, ("the output delta has the wrong sign",)),
        ({"slope": lambda a: 1.0 + 0 * a}, ("phi' is missing (post form)",)),
        ({"point": "s"}, ("tanh' is taken at mu instead of a",)),
        ({"bias": np.mean}, ("the bias gradient is a batch mean, not a sum",)),
        ({"factor": 0.5}, ("a factor 1/2 too much (W[1], W[2], W[3])",)),
    ],
)
def test_backpropagation(options, names):
    """The whole gradient."""
    assert told(lambda params, x, y: backward(params, x, y, **options), "BP.4") == names


def pull(form, W, b, s, v, *, transposed=True, slope=True, before=False):
    """J^T v of a block."""
    a = s @ W.T + b
    back = v * dphi(a) if form == "post" and slope else v
    if before and form == "pre":
        return (v * dphi(s)) @ W
    found = back @ (W if transposed else W.T)
    return found * dphi(s) if form == "pre" and slope else found


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"transposed": False}, ("W is not transposed", "W is not transposed (pre form)")),
        ({"before": True}, ("phi' sits one layer off, before W instead of after it (pre form)",)),
    ],
)
def test_a_product_that_does_not_fit_is_looked_at_with_equal_widths(options, names):
    """With distinct widths the function raises; what it raises is said too."""
    explanation = check.explain(lambda form, W, b, s, v: pull(form, W, b, s, v, **options), "BP.2")
    assert explanation.names == names
    assert "raises ValueError" in explanation.notes[0]


def test_one_block_is_right():
    """Both forms."""
    assert check.explain(pull, "BP.2").correct


def test_error_gradient_of_epc():
    """d by autograd of the loss in the states: nothing of the recursion is written down; and without e."""

    def right(net, params, e, x, y, precision):
        layers = [(block.activation, block.form) for block in net.blocks]
        return ad.epc_error_gradient(layers, params, e, x, y, "mse", precision)

    def without(net, params, e, x, y, precision):
        found = right(net, params, e, x, y, precision)
        return [None, *(g - weigh(Pi, v) for g, v, Pi in zip(found[1:], e[1:], precision, strict=False))]

    assert check.explain(right, "ePC.4").correct
    assert check.explain(without, "ePC.4").verdict == "unknown"
    assert told(lambda *given: [None, *(-g for g in right(*given)[1:])], "ePC.4") == ("the sign is wrong",)


@pytest.mark.parametrize(
    ("function", "equation", "name"),
    [
        (lambda yhat, y: y - yhat, "LOSS.2", "the softmax is missing in the error of the cross-entropy"),
        (lambda yhat, y: yhat - y, "LOSS.1", "the sign is wrong"),
        (lambda a: 1 / (1 + np.exp(-a)), "ACT.3", "sigmoid' lacks the factor 1 - mu"),
        (lambda a: -2 * np.tanh(a), "ACT.9", "the second derivative of tanh lacks the chain rule's phi'"),
        (lambda yhat, y: (y - yhat) / len(y), "LOSS.1", "a mean over the batch, not a sum (a factor 1/B)"),
    ],
)
def test_functions(function, equation, name):
    """Activations and losses."""
    assert told(function, equation) == (name,)
