"""Problems that can show a bug: Hypothesis draws shapes and a seed, ``reference.problems`` builds the arrays."""

import itertools

import numpy as np
from autograd import elementwise_grad
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reference import autograd_oracles as ad
from reference.problems import NONLINEAR, PRECISIONS, Problem, linear, make

ACTIVATIONS = (*NONLINEAR, "identity")
FORMS = ("post", "pre")
LOSSES = ("mse", "cross_entropy", "binary_cross_entropy")
SEEDS = st.integers(0, 2**32 - 1)
GAINS = st.sampled_from([1.0, 0.5, 1.5])


def fewer(divisor):
    """Settings for a slow property: a share of the profile's examples."""
    return settings(max_examples=max(settings.default.max_examples // divisor, 5))


def build(*, sizes, B, layers, loss, precision, gain, seed):
    """The first live problem of these shapes from ``seed`` on; every block has its own activation and form."""
    relu = any("relu" in kind for kind, _ in layers)  # these want biases that keep some units awake
    kind = "relu" if relu else "tanh"
    options = {
        "activation": kind,
        "output": kind,
        "form": "post",
        "loss": loss,
        "precision": precision,
        "gain": gain,
    }
    for attempt in itertools.count(seed):
        p = make(np.random.default_rng(attempt), sizes=sizes, B=B, **options)
        p = p._replace(layers=layers)
        if alive(p):
            return p


def slopes(p, s):
    """phi' of every block at the inputs ``s``."""
    for (kind, form), q, below in zip(p.layers, p.params, s, strict=True):
        yield elementwise_grad(ad.ACTIVATIONS[kind])(below if form == "pre" else below @ q["W"].T + q["b"])


def alive(p):
    """True if every sample finds in every block a unit that is neither dead nor saturated, and an open way down."""
    points = (
        p.s,
        ad.feedforward(p.layers, p.params, p.x)[:-1],
        ad.states_from_errors(p.layers, p.params, p.e, p.x),
    )
    if not all(np.abs(slope).max(axis=1).min() > 5e-3 for s in points for slope in slopes(p, s)):
        return False
    arrows = ad.deltas(p.layers, p.params, p.x, p.y, p.loss)[1:]
    size = [np.linalg.norm(arrow) for arrow in arrows]
    return all(below > 1e-3 * above for below, above in itertools.pairwise(size))


@st.composite
def shapes(draw, depth, widest):
    """Distinct widths of at least 2 for ``depth`` (from, to) blocks, and a batch of 2 to 4."""
    L = draw(st.integers(*depth))
    sizes = draw(st.lists(st.integers(2, widest), min_size=L + 1, max_size=L + 1, unique=True))
    return {"sizes": sizes, "B": draw(st.integers(2, 4))}


@st.composite
def problems(
    draw, depth=(2, 6), widest=9, activations=ACTIVATIONS, losses=LOSSES, precisions=("any", *PRECISIONS)
):
    """Networks of every activation, form, loss, precision and gain; each block draws its own activation and form."""
    shape = draw(shapes(depth, widest))
    L = len(shape["sizes"]) - 1
    layer = st.tuples(st.sampled_from(activations), st.sampled_from(FORMS))
    return build(
        layers=draw(st.lists(layer, min_size=L, max_size=L)),
        loss=draw(st.sampled_from(losses)),
        precision=draw(st.sampled_from(precisions)),
        gain=draw(GAINS),
        seed=draw(SEEDS),
        **shape,
    )


@st.composite
def linear_problems(draw, depth=(2, 5), precisions=("any", *PRECISIONS)):
    """Linear networks with squared error: the case with closed forms."""
    rng, shape = np.random.default_rng(draw(SEEDS)), draw(shapes(depth, 8))
    return linear(rng, precision=draw(st.sampled_from(precisions)), gain=draw(GAINS), **shape)


ENTRIES = st.one_of(
    st.sampled_from([0.0, 20.0, -20.0, 1.0]), st.floats(-20, 20, allow_nan=False, allow_subnormal=False)
)


@st.composite
def extreme_problems(draw, activations=ACTIVATIONS):
    """Raw entries: zeros, saturated units, weights of 20; dead units are welcome. Two or three blocks."""
    shape = draw(shapes((2, 3), 5))
    sizes, B = shape["sizes"], shape["B"]

    def raw(*dims):
        return draw(arrays(float, dims, elements=ENTRIES, fill=st.nothing()))

    layers = [(draw(st.sampled_from(activations)), draw(st.sampled_from(FORMS))) for _ in sizes[1:]]
    params = [{"W": raw(n_out, n_in), "b": raw(n_out)} for n_in, n_out in itertools.pairwise(sizes)]
    loss, y = draw(st.sampled_from(LOSSES)), raw(B, sizes[-1])
    if loss == "cross_entropy":
        y = np.exp(y - y.max(axis=1, keepdims=True))
        y = y / y.sum(axis=1, keepdims=True)
    if loss == "binary_cross_entropy":
        y = 0.5 + y / 40
    s = [raw(B, n) for n in sizes[:-1]]
    e = [None, *(raw(B, n) for n in sizes[1:-1])]
    return Problem(layers, loss, params, s[0], y, s, e, None)
