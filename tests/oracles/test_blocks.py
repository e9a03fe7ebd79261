"""Every face of every block against autograd, the complex step, its own adjoint, and loops over indices."""

import json

import numpy as np
import pytest
from helpers.block_cases import (
    CASES,
    NUMBERS,
    PIECEWISE_LINEAR,
    SAMPLEWISE,
    WEIGHTED,
    actual_jvp,
    actual_vjp,
    expected_jvp,
    expected_vjp,
    setting,
)
from helpers.checks import assert_live, assert_same, leaves, read_only
from helpers.strategies import SEEDS, fewer
from hypothesis import given

import minipc as pc
from minipc.registry import BLOCKS, build
from reference import block_oracles as bo

H = 1e-200
RTOL = 1e-12
every_case = pytest.mark.parametrize("name", CASES)
numbers = pytest.mark.parametrize("name", NUMBERS)


@every_case
@given(seed=SEEDS)
@fewer(10)
def test_forward_equals_the_oracle(name, seed):
    """The map itself."""
    c = setting(CASES[name], pc, seed)
    expected = bo.predict(c.pair, c.p, c.s)
    assert_live(expected)
    assert_same(c.block.forward(c.p, c.s)[0], expected, RTOL)


@every_case
@given(seed=SEEDS)
@fewer(10)
def test_backward_equals_autograd(name, seed):
    """J^T v of the input, and the gradient of every parameter."""
    c = setting(CASES[name], pc, seed)
    expected = expected_vjp(c)
    assert_live(expected)
    assert_same(actual_vjp(c), expected, RTOL)


@every_case
@given(seed=SEEDS)
@fewer(20)
def test_forward_mode_equals_autograd(name, seed):
    """Tangents of the input alone, and of input and parameters."""
    c = setting(CASES[name], pc, seed)
    expected = expected_jvp(c)
    assert_live(expected)
    assert_same(actual_jvp(c), expected, RTOL)


def moved(c, h):
    """Parameters and input moved by ``h`` along the tangents."""
    p = {name: value + h * c.p_dot[name] for name, value in c.p.items()}
    return p, c.s if c.s_dot is None else c.s + h * c.s_dot


@every_case
def test_forward_mode_equals_the_complex_step(name):
    """Im f(p + ih p_dot, s + ih s_dot) / h."""
    c = setting(CASES[name], pc, 1)
    if c.s_dot is None and not c.learnt:
        return
    expected = np.imag(c.block.forward(*moved(c, 1j * H))[0]) / H
    assert_live(expected)
    assert_same(c.block.jvp(c.p, c.block.forward(c.p, c.s)[1], c.s_dot, c.p_dot), expected, RTOL)


@numbers
def test_the_complex_step_passes_through_the_backward_pass(name):
    """Im of J^T v at s + ih s_dot, over h, is the derivative of J^T v along s_dot: a second derivative by autograd."""
    c = setting(NUMBERS[name], pc, 2)
    _, tape = c.block.forward(c.p, c.s + 1j * H * c.s_dot)
    actual = c.block.vjp(c.p, tape, c.v, params=False)[0].imag / H
    if name in PIECEWISE_LINEAR:
        assert not actual.any()
        return
    expected = bo.vjp_slope(c.pair, c.p, c.s, c.v, c.s_dot)
    assert_live(expected)
    assert_same(actual, expected, 1e-10)


@every_case
def test_the_backward_pass_of_parameters_carries_complex_numbers(name):
    """Real part as without, and an imaginary part where there is one to carry."""
    c = setting(CASES[name], pc, 3)
    p, s = moved(c, 1e-30j)
    _, tape = c.block.forward(p, s)
    _, grads = c.block.vjp(p, tape, c.v, input=False)
    _, expected = c.block.vjp(c.p, c.block.forward(c.p, c.s)[1], c.v, input=False)
    assert_same({k: g.real for k, g in grads.items()} or 1 + c.s, expected or 1 + c.s, RTOL)


@numbers
@given(seed=SEEDS)
@fewer(10)
def test_forward_and_backward_mode_carry_the_same_matrix(name, seed):
    """<v, J u> = <J^T v, u>, for input and parameters together."""
    c = setting(NUMBERS[name], pc, seed)
    _, tape = c.block.forward(c.p, c.s)
    down, grads = c.block.vjp(c.p, tape, c.v)
    up = c.block.jvp(c.p, tape, c.s_dot, c.p_dot)
    left = (c.v * up).sum()
    right = (down * c.s_dot).sum() + sum((grads[k] * c.p_dot[k]).sum() for k in grads)
    scale = np.linalg.norm(c.v) * np.linalg.norm(up)
    assert scale > 0
    assert abs(left - right) < 1e-13 * scale


@every_case
def test_only_what_is_wanted_is_computed_and_nothing_is_edited(name):
    """Each half of the vjp is the same alone; parameters, input, tape and vectors are read-only here."""
    c = setting(CASES[name], pc, 4)
    read_only([c.p, [c.s], [c.v], c.p_dot, [] if c.s_dot is None else [c.s_dot]])
    _, tape = c.block.forward(c.p, c.s)
    read_only(_arrays(tape))
    whole = c.block.vjp(c.p, tape, c.v, input=c.s_dot is not None)
    none, grads = c.block.vjp(c.p, tape, c.v, input=False)
    assert none is None
    assert whole[1].keys() == grads.keys() == c.p.keys()
    assert all(grads[k].shape == c.p[k].shape for k in grads)
    assert all(np.array_equal(grads[k], whole[1][k]) for k in grads)
    if c.s_dot is not None:
        down, none = c.block.vjp(c.p, tape, c.v, params=False)
        assert none is None
        assert np.array_equal(down, whole[0])
        assert down.shape == c.s.shape
        c.block.jvp(c.p, tape, c.s_dot)
    c.block.jvp(c.p, tape, c.s_dot, c.p_dot)


def _arrays(tree):
    """The arrays of a tape, whatever it is made of."""
    if isinstance(tree, np.ndarray):
        return [tree]
    return [a for branch in tree for a in _arrays(branch)] if isinstance(tree, list | tuple) else []


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_stays(name, dtype):
    """Output, both halves of the vjp, both kinds of tangents; parameters as they are drawn."""
    c = setting(CASES[name], pc, 5)
    p, p_dot = ({k: a.astype(dtype) for k, a in q.items()} for q in (c.p, c.p_dot))
    s, s_dot = (a if a is None or a.dtype.kind == "i" else a.astype(dtype) for a in (c.s, c.s_dot))
    mu, tape = c.block.forward(p, s)
    down, grads = c.block.vjp(p, tape, c.v.astype(dtype), input=s_dot is not None)
    tangents = [c.block.jvp(p, tape, s_dot), c.block.jvp(p, tape, s_dot, p_dot)]
    found = leaves([[mu], [down], grads, tangents, c.block.init_params(np.random.default_rng(0), dtype)])
    assert {a.dtype for a in found} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", SAMPLEWISE)
def test_samples_do_not_interact(name):
    """Output, J^T v and tangent of a sample are the same alone; parameter gradients add up."""
    c = setting(SAMPLEWISE[name], pc, 6)
    mu, tape = c.block.forward(c.p, c.s)
    wants = c.s_dot is not None
    down, grads = c.block.vjp(c.p, tape, c.v, input=wants)
    total = {k: 0 * g for k, g in grads.items()}
    for b in range(len(c.s)):
        one = slice(b, b + 1)
        mu_b, tape_b = c.block.forward(c.p, c.s[one])
        assert_same(mu_b, mu[one], RTOL)
        down_b, grads_b = c.block.vjp(c.p, tape_b, c.v[one], input=wants)
        if wants:
            assert_same(1 + down_b, 1 + down[one], RTOL)
        total = {k: total[k] + grads_b[k] for k in total}
    if total:
        assert_same({k: 1 + g for k, g in total.items()}, {k: 1 + g for k, g in grads.items()}, RTOL)


@every_case
def test_the_layout_in_memory_does_not_matter(name):
    """Every number is the same for inputs and vectors that lie differently in memory."""
    c = setting(CASES[name], pc, 7)

    def faces(s, v):
        mu, tape = c.block.forward(c.p, s)
        return [mu, *c.block.vjp(c.p, tape, v, input=c.s_dot is not None)]

    def turned(a):
        return a.T.copy().T if a.ndim > 1 else a[::-1].copy()[::-1]

    assert_same(faces(turned(c.s), turned(c.v)), faces(c.s, c.v), RTOL)


@every_case
def test_shapes_are_told_before(name):
    """``out_shape`` and ``shapes`` say what forward and init_params give; a formula in words."""
    c = setting(CASES[name], pc, 8)
    case, block = CASES[name], c.block
    assert block.forward(c.p, c.s)[0].shape == (len(c.s), *block.out_shape(case.in_shape))
    p = block.init_params(np.random.default_rng(0), "float64")
    assert {k: a.shape for k, a in p.items()} == block.shapes
    assert all(isinstance(n, int) for shape in block.shapes.values() for n in shape)
    assert block.in_shape in (None, case.in_shape)
    assert isinstance(block.formula, str)
    assert block.formula
    hash(block)


@every_case
def test_a_block_is_built_again_from_its_configuration(name):
    """Through JSON, as in a saved file: equal block, same numbers."""
    c = setting(CASES[name], pc, 9)
    again = build(*json.loads(json.dumps([type(c.block).__name__, c.block.config()])))
    assert again == c.block
    assert again.shapes == c.block.shapes
    assert_same(again.forward(c.p, c.s)[0], c.block.forward(c.p, c.s)[0], 0)


def test_every_block_has_a_case():
    """A block that is not in the list would go untested; each is a public name."""
    assert {case.name for case in CASES.values()} == BLOCKS.keys()
    assert all(getattr(pc, name) is block for name, block in BLOCKS.items())
    assert {case.name for case in WEIGHTED.values()} >= {"Dense", "Conv2d", "Embedding", "Residual"}
