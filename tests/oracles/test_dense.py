"""The three faces of a block against one another and against loops over indices."""

import numpy as np
from helpers.battery import by_block, network
from helpers.checks import assert_live, assert_same, read_only
from helpers.strategies import problems
from hypothesis import given

from reference import index_loops as loops

H = 1e-200


def blocks(p):
    """Of every block: the block, its layer, parameters, input, vector at the output, tape."""
    for f, (layer, q, s, v) in zip(network(p).blocks, by_block(p), strict=True):
        yield f, layer, q, s, v, f.forward(q, s)[1]


def inner(u, v):
    """Inner product of each sample, (B,)."""
    return (u * v).sum(axis=1)


@given(problems(depth=(1, 6)))
def test_forward_mode_equals_the_complex_step(p):
    """Eq. (JVP.1), with and without tangents of the parameters."""
    for f, _, q, s, _, tape in blocks(p):
        s_dot, q_dot = np.cos(3 * s), {name: np.cos(3 * value) for name, value in q.items()}
        moved = {name: q[name] + 1j * H * q_dot[name] for name in q}
        alone = np.imag(f.forward(q, s + 1j * H * s_dot)[0]) / H
        together = np.imag(f.forward(moved, s + 1j * H * s_dot)[0]) / H
        assert_live([alone, together])
        assert_same([f.jvp(q, tape, s_dot), f.jvp(q, tape, s_dot, q_dot)], [alone, together])


@given(problems(depth=(1, 6)))
def test_forward_and_backward_mode_carry_the_same_matrix(p):
    """<v, J u> = <J^T v, u> for every sample, and the same for the parameters, Eqs. (BP.2), (BP.5), (BP.6), (JVP.1)."""
    for f, _, q, s, v, tape in blocks(p):
        s_dot, q_dot = np.cos(s), {name: np.cos(value) for name, value in q.items()}
        down, grads = f.vjp(q, tape, v)
        up, sideways = f.jvp(q, tape, s_dot), f.jvp(q, tape, 0 * s, q_dot)
        scale = np.linalg.norm(v) * np.linalg.norm(up) + np.linalg.norm(v) * np.linalg.norm(sideways)
        assert np.linalg.norm(up) > 0
        assert np.linalg.norm(sideways) > 0
        np.testing.assert_allclose(inner(v, up), inner(down, s_dot), rtol=1e-12, atol=1e-13 * scale)
        total = sum((q_dot[name] * grads[name]).sum() for name in q)
        np.testing.assert_allclose(inner(v, sideways).sum(), total, rtol=1e-12, atol=1e-13 * scale)


@given(problems(depth=(1, 3), widest=5))
def test_blocks_equal_the_loops_over_indices(p):
    """Eqs. (BP.1), (BP.2), (BP.5), (BP.6) with every index spelled out."""
    for f, layer, q, s, v, tape in blocks(p):
        expected = (
            loops.predict(layer, q, s),
            loops.transpose_jacobian(layer, q, s, v),
            loops.parameter_sums(layer, q, s, v),
        )
        assert_live(expected)
        assert_same((f.forward(q, s)[0], *f.vjp(q, tape, v)), expected, rtol=1e-12)


@given(problems(depth=(1, 3)))
def test_only_what_is_wanted_is_computed_and_nothing_is_edited(p):
    """Each half of the vjp is the same alone; arguments and tape are read-only here."""
    read_only([p.params, p.s])
    for f, _, q, s, v, tape in blocks(p):
        v = read_only(v.copy())
        read_only(list(tape))
        down, grads = f.vjp(q, tape, v)
        alone, none = f.vjp(q, tape, v, params=False)
        assert none is None
        assert_same(alone, down, rtol=0)
        none, alone = f.vjp(q, tape, v, input=False)
        assert none is None
        assert_same(alone, grads, rtol=0)
        f.jvp(q, tape, s, q)
