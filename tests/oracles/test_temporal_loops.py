"""The oracles in time against one another: autograd, index loops, complex step, and the sums of the equations."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import SEEDS, fewer
from hypothesis import given
from hypothesis import strategies as st

from reference import temporal_loops as loops
from reference import temporal_oracles as ad
from reference import temporal_problems

FORMS = st.sampled_from(["post", "pre"])
ALPHAS = st.sampled_from(temporal_problems.ALPHAS)
TOL = 1e-12


def draw(seed, chain, **options):
    """A problem with B = 2 and T = 5 of the chain of blocks."""
    return temporal_problems.make(np.random.default_rng(seed), chain, B=2, T=5, **options)


def credit_of(p):
    """dL_t/dout_t (T, B, o), written with loops."""
    outputs, _ = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)
    return loops.output_credit(p.loss, outputs, p.targets, p.mask)


def without_start(gradient):
    """The gradient of a cell without its initial state."""
    return {name: value for name, value in gradient.items() if not name.startswith("h0")}


def states_before(p, cell):
    """The state (B, N) before every step, resets done."""
    h, start = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)[1][cell], p.h0[cell]
    before = [start, *h[:-1]]
    return [v if p.reset is None else np.where(p.reset[t][:, None], start, v) for t, v in enumerate(before)]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "binary_cross_entropy"])
def test_the_credit_of_the_outputs(loss):
    """Eq. (RNN.6): zero exactly where the mask says that a step does not count."""
    p = draw(3, ["rnn", "dense"], loss=loss)
    outputs, _ = ad.run(p.blocks, p.params, p.inputs, p.h0)
    expected = grad(lambda out: anp.sum(ad.total_loss(out, p.targets, p.loss, p.mask)))(outputs)
    assert_live(expected)
    assert_same(credit_of(p), expected, rtol=TOL)
    assert (np.abs(credit_of(p)).sum(axis=2) > 0).tolist() == p.mask.tolist()


@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS, form=FORMS, alpha=ALPHAS)
@fewer(5)
def test_bptt_of_the_recurrent_net(seed, form, alpha, reset):
    """Eqs. (BPTT.1)-(BPTT.3), (RTRL.6): gradient, derivative of the start and total credit."""
    p = draw(seed, ["rnn"], form=form, alpha=alpha, reset=reset)
    args = (p.blocks[0], p.params[0], p.inputs, credit_of(p), p.h0[0], p.reset)
    gradient, initial, _ = loops.rnn_bptt(*args)
    expected = [ad.loss_gradient(*p.arguments)[0], ad.initial_gradient(*p.arguments)[0]]
    assert_live(expected)
    assert_same([gradient, initial], expected, rtol=TOL)


@given(SEEDS, FORMS, ALPHAS)
@fewer(5)
def test_error_variables_of_the_recurrent_net(seed, form, alpha):
    """Eq. (BPTT.5): at e = 0 the energy's gradient is the total credit, (BPTT.1)."""
    p = draw(seed, ["rnn"], form=form, alpha=alpha)
    _, _, total = loops.rnn_bptt(p.blocks[0], p.params[0], p.inputs, credit_of(p), p.h0[0])
    assert_live(total)
    assert_same(ad.error_gradient(*p.arguments[:-1]), [total], rtol=TOL)


@pytest.mark.parametrize("kind", ["lstm", "lru", "rtu"])
def test_error_variables_move_what_the_block_above_sees(kind):
    """Eq. (BPTT.5): also where the output is not the state; with e = 0 the energy is the loss."""
    p = draw(1, [kind, "dense"])
    e = [np.zeros((5, *h.shape)) for h in p.h0]
    assert np.isclose(ad.error_energy(*p.arguments[:-1], e), ad.loss(*p.arguments).sum(), rtol=TOL, atol=0)
    h = ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0]
    late = p._replace(inputs=p.inputs[4:], targets=p.targets[4:], mask=p.mask[4:])
    moved = p.h0[0] + 0.1
    e[0][3] = moved - h[3]  # the last step begins from there
    early = p._replace(mask=p.mask & (np.arange(5)[:, None] < 3))
    total = ad.loss(*early.arguments).sum() + ad.loss(*late._replace(h0=[moved]).arguments).sum()
    total += 0.5 * (e[0][3] ** 2).sum()
    without = p._replace(mask=p.mask & (np.arange(5)[:, None] != 3))  # the step that moves
    assert np.isclose(ad.error_energy(*without.arguments[:-1], e), total, rtol=TOL, atol=0)


@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS, form=FORMS, alpha=ALPHAS)
@fewer(10)
def test_rtrl_of_the_recurrent_net(seed, form, alpha, reset):
    """Eqs. (RTRL.1), (RTRL.2), (RTRL.6): the gradient of every prefix, and the influence at the end."""
    p = draw(seed, ["rnn"], form=form, alpha=alpha, reset=reset)
    prefixes, M = loops.rnn_stack_rtrl(p.blocks, p.params, p.inputs, credit_of(p), p.h0, p.reset)
    expected = ad.prefix_gradients(*p.arguments)
    assert_live(expected[-1])
    assert_same(prefixes, expected, rtol=TOL)
    whole = ad.influence(p.blocks, p.params, p.inputs, p.h0, p.reset)[0][0]
    parts = [whole["W"][-1], whole["U"][-1], whole["b"][-1][..., None]]
    assert_same(M[0, 0], np.concatenate(parts, axis=-1), rtol=TOL)


@given(SEEDS, FORMS, ALPHAS)
@fewer(20)
def test_rtrl_in_blocks(seed, form, alpha):
    """Eqs. (HYB.1)-(HYB.3): every block length, 5 steps; the gradient at every block end, the influence at the last."""
    p = draw(seed, ["rnn"], form=form, alpha=alpha)
    prefixes = [gradient[0] for gradient in ad.prefix_gradients(*p.arguments)]
    whole = ad.influence(p.blocks, p.params, p.inputs, p.h0)[0][0]
    M = np.concatenate([whole["W"][-1], whole["U"][-1], whole["b"][-1][..., None]], axis=-1)
    assert_live([prefixes[-1], M])
    for length in range(1, 6):
        args = (p.blocks[0], p.params[0], p.inputs, credit_of(p), p.h0[0], length)
        found, influence = loops.rnn_hybrid(*args)
        assert sorted(found) == sorted({*range(length, 6, length), 5})
        assert_same(list(found.values()), [prefixes[t - 1] for t in found], rtol=TOL)
        assert_same(influence, M, rtol=TOL)


@pytest.mark.parametrize("gamma", ["free", "tied"])
@given(seed=SEEDS)
@fewer(20)
def test_the_lru_in_blocks_and_backwards(gamma, seed):
    """Eqs. (HYB.4), (LRU.5): the trace of B by powers of zeta, and total credit without a conjugate."""
    p = draw(seed, ["lru"], gamma=gamma)
    n, T = len(p.params[0]["nu"]), 5
    whole = ad.influence(p.blocks, p.params, p.inputs, p.h0)[0][0]["B_re"][-1]
    own = np.stack([[whole[:, i, i], whole[:, n + i, i]] for i in range(n)])  # (n, 2, B, m)
    assert_live(own)
    for length in range(1, T + 1):
        found = loops.lru_block_trace(p.params[0], p.inputs, gamma, length)
        assert_same(found, own.transpose(2, 0, 3, 1), rtol=TOL)
    total, initial = loops.lru_bptt(p.params[0], credit_of(p), gamma)
    expected = ad.initial_gradient(*p.arguments)[0]
    assert_same(ad.pairs(initial), expected, rtol=TOL)
    late = p._replace(
        inputs=p.inputs[2:], targets=p.targets[2:], mask=p.mask[2:]
    )  # dLoss/dh_2, from there on
    late = late._replace(h0=[ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0][1]])
    zeta = np.exp(-np.exp(p.params[0]["nu"]) + 1j * np.exp(p.params[0]["th"]))
    at_start = ad.initial_gradient(*late.arguments)[0]
    assert_same(ad.pairs((zeta * total[2]).conj()), at_start, rtol=TOL)


@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS, form=FORMS, alpha=ALPHAS)
@fewer(20)
def test_rtrl_of_two_nets_one_over_the_other(seed, form, alpha, reset):
    """Eqs. (STACK.2), (STACK.3): the block below the diagonal too; the one above it is zero."""
    p = draw(seed, ["rnn", "rnn"], form=form, alpha=alpha, reset=reset)
    prefixes, M = loops.rnn_stack_rtrl(p.blocks, p.params, p.inputs, credit_of(p), p.h0, p.reset)
    expected = ad.loss_gradient(*p.arguments)
    assert_live(expected)
    assert_same(prefixes[-1], expected, rtol=TOL)
    whole = ad.influence(p.blocks, p.params, p.inputs, p.h0, p.reset)
    assert_live([M[1, 0], whole[1][0]])
    for (l, k), found in M.items():
        names = whole[l][k]
        parts = [names["W"][-1], names["U"][-1], names["b"][-1][..., None]]
        assert_same(found, np.concatenate(parts, axis=-1), rtol=TOL)
    assert all(np.all(value == 0) for value in whole[0][1].values())


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@given(seed=SEEDS)
@fewer(10)
def test_one_step_of_a_gated_cell(kind, seed):
    """Eqs. (GRU.2), (GRU.3), (LSTM.2), (LSTM.3)."""
    p = draw(seed, [kind])
    (block,), (params,), h, u = p.blocks, p.params, p.h0[0], p.inputs[0]
    jacobians = {"gru": loops.gru_jacobians, "lstm": loops.lstm_jacobians}[kind]
    lanes = [jacobians(params, h[b], u[b]) for b in range(2)]
    J, Mbar = ad.state_jacobian(block, params, h, u), ad.immediate_jacobian(block, params, h, u)
    assert_live([J, Mbar])
    assert_same(np.stack([J for J, _ in lanes]), J, rtol=TOL)
    assert_same({name: np.stack([M[name] for _, M in lanes]) for name in Mbar}, Mbar, rtol=TOL)


@pytest.mark.parametrize("gamma", ["free", "tied"])
@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS)
@fewer(10)
def test_traces_of_the_lru(gamma, seed, reset):
    """Eqs. (LRU.4)-(LRU.9): all parameters, and delta of the start as dRe + i dIm."""
    p = draw(seed, ["lru"], gamma=gamma, reset=reset)
    h0 = ad.complexes(p.h0[0])
    gradient, initial = loops.lru_traces(p.params[0], p.inputs, credit_of(p), h0, gamma, p.reset)
    expected = [ad.loss_gradient(*p.arguments)[0], ad.initial_gradient(*p.arguments)[0]]
    assert_live(expected)
    assert len(expected[0]) == (8 if gamma == "free" else 7)
    assert_same([gradient, ad.pairs(initial)], expected, rtol=TOL)


@pytest.mark.parametrize("kind", ["elstm", "identity", "tanh"])
@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS)
@fewer(10)
def test_traces_of_the_real_diagonal_cells(kind, seed, reset):
    """Eqs. (ELSTM.2), (ELSTM.3), (RTU.3), (RTU.4)."""
    p = draw(seed, ["elstm" if kind == "elstm" else "rtu"], activation=kind, reset=reset)
    args = (p.params[0], p.inputs, credit_of(p), p.h0[0])
    if kind == "elstm":
        found = loops.elstm_traces(*args, reset=p.reset)
    else:
        found = loops.rtu_traces(*args, activation=kind, reset=p.reset)
    expected = [ad.loss_gradient(*p.arguments)[0], ad.initial_gradient(*p.arguments)[0]]
    assert_live(expected)
    assert_same(list(found), expected, rtol=TOL)


@given(SEEDS)
@fewer(10)
def test_cross_traces_of_two_real_diagonal_layers(seed):
    """Eq. (STACK.5), against autograd of the four lines that define the layers."""
    rng = np.random.default_rng(seed)
    T, B, m, n1, n2 = 5, 2, 3, 4, 2
    p = {name: rng.uniform(0.5, 0.95, n) for name, n in (("z1", n1), ("z2", n2))}
    p |= {"B1": rng.standard_normal((n1, m)), "B2": rng.standard_normal((n2, n1))}
    u, credit = rng.standard_normal((T, B, m)), rng.standard_normal((T, B, n2))
    h0 = [rng.standard_normal((B, n)) for n in (n1, n2)]

    def total(z):
        (h1, h2), value = h0, 0.0
        for t in range(T):
            h1 = z["z1"] * h1 + anp.dot(u[t], p["B1"].T)
            h2 = z["z2"] * h2 + anp.dot(anp.tanh(h1), p["B2"].T)
            value = value + anp.sum(credit[t] * h2)
        return value

    expected = grad(total)({"z1": p["z1"], "z2": p["z2"]})
    assert_live(expected)
    assert_same(loops.real_diagonal_stack(p, u, credit, h0, "tanh"), expected, rtol=TOL)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
@given(seed=SEEDS)
@fewer(20)
def test_cross_traces_of_two_lrus(activation, seed):
    """Eq. (STACK.6), the term through D of the upper cell included."""
    p = draw(seed, ["lru", "lru"], gamma="free")
    (lower, upper), (below, above) = p.blocks, p.params
    between = {"W": np.eye(len(below["D"])), "b": np.zeros(len(below["D"]))}
    dense = {"kind": "dense", "activation": activation, "form": "post"}
    p = p._replace(blocks=[lower, dense, upper], params=[below, between, above])
    found = loops.lru_stack(below, above, p.inputs, credit_of(p), ad.complexes(p.h0[0]), activation)
    expected = ad.loss_gradient(*p.arguments)[0]
    expected = {name: expected[name] for name in found}
    assert_live(expected)
    assert_same(found, expected, rtol=TOL)
    local = ad.layer_local_gradient(*p.arguments)[0]
    assert_differ({name: local[name] for name in found}, expected)


@pytest.mark.parametrize("cell", temporal_problems.RECURRENT)
@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS)
@fewer(20)
def test_autograd_agrees_with_the_complex_step(cell, seed, reset):
    """Real arithmetic throughout, so that the imaginary part of the loss is its derivative, the start included."""
    p = draw(seed, ["dense", cell, "dense"], activation="tanh", reset=reset)
    expected = [ad.loss_gradient(*p.arguments), ad.initial_gradient(*p.arguments)]

    def total(params, h0):
        return ad.loss(p.blocks, params, p.inputs, p.targets, p.loss, p.mask, h0, p.reset).sum()

    def derivative(value, put):
        found = np.zeros(value.shape)
        for i in np.ndindex(*value.shape):
            moved = value.astype(complex)
            moved[i] += 1e-30j
            found[i] = total(*put(moved)).imag / 1e-30
        return found

    found = [
        {
            name: derivative(
                value,
                lambda v, k=k, name=name: (
                    [*p.params[:k], {**p.params[k], name: v}, *p.params[k + 1 :]],
                    p.h0,
                ),
            )
            for name, value in params.items()
        }
        for k, params in enumerate(p.params)
    ]
    start = derivative(p.h0[0], lambda v: (p.params, [v]))
    assert_live(expected)
    assert_same([found, [start]], expected, rtol=TOL)


@pytest.mark.parametrize("cell", temporal_problems.RECURRENT)
@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS)
@fewer(20)
def test_truncation_is_the_sum_of_the_equation(cell, seed, reset):
    """Eqs. (BPTT.1), (BPTT.4), (RTRL.3), (RTRL.4): J, Mbar and q put together for every k."""
    p = draw(seed, [cell], reset=reset)
    (block,), (params,), T = p.blocks, p.params, 5
    before = states_before(p, 0)
    J = [ad.state_jacobian(block, params, before[t], p.inputs[t]) for t in range(T)]
    if p.reset is not None:
        J = [np.where(p.reset[t][:, None, None], 0.0, J[t]) for t in range(T)]  # nothing crosses a reset
    Mbar = [ad.immediate_jacobian(block, params, before[t], p.inputs[t]) for t in range(T)]
    readout = {"C_re", "C_im", "D"}  # these act on the output directly
    names = [name for name in params if name not in readout]

    def state_loss(h, t):
        out = h if cell != "lstm" else h[:, : h.shape[1] // 2]
        if cell == "lru":
            re, im = ad.split(h, 2)
            out = anp.dot(re, params["C_re"].T) - anp.dot(im, params["C_im"].T) + p.inputs[t] @ params["D"].T
        return anp.sum(ad.step_loss(p.loss, out, p.targets[t], p.mask[t]))

    trajectory = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)[1][0]
    q = [grad(state_loss)(trajectory[t], t) for t in range(T)]
    found = {}
    for k in range(1, T + 1):
        total = dict.fromkeys(names, 0.0)
        for t in range(T):
            v = q[t]
            for i in range(t, max(t - k, -1), -1):
                for name in names:
                    total[name] = total[name] + np.einsum("bk,bk...->...", v, Mbar[i][name])
                v = np.einsum("bk,bki->bi", v, J[i])
        expected = ad.truncated_gradient(*p.arguments, steps=k)[0]
        assert_live([expected[name] for name in names])
        assert_same(total, {name: expected[name] for name in names}, rtol=TOL)
        found[k] = total
    assert_same(found[T], {name: ad.loss_gradient(*p.arguments)[0][name] for name in names}, rtol=TOL)
    if not reset:
        assert_differ(found[1], found[T])
        assert_differ(found[T - 1], found[T], min_rel=1e-8)


def test_a_window_that_reaches_the_start_counts_it():
    """Eq. (BPTT.4): with k = T the gradient of a learned start is whole; with k = 1 only step one reaches it."""
    p = draw(5, ["gru", "dense"], learn_h0=True)
    whole, initial = ad.loss_gradient(*p.arguments), ad.initial_gradient(*p.arguments)
    assert_same(ad.truncated_gradient(*p.arguments, steps=5), whole, rtol=TOL)
    assert_same(ad.truncated_initial_gradient(*p.arguments, steps=5), initial, rtol=TOL)
    assert_same(initial[0].sum(axis=0), whole[0]["h0"], rtol=TOL)
    first = p._replace(mask=np.arange(5)[:, None] == np.zeros(2))
    one = ad.truncated_initial_gradient(*first.arguments, steps=1)
    assert_live(one)
    assert_same(one, ad.initial_gradient(*first.arguments), rtol=TOL)


@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS)
@fewer(20)
def test_the_layer_local_rule_is_the_sum_of_the_equation(seed, reset):
    """Eq. (STACK.4): own influence M^(k,k), credit through the layer above at the same t."""
    p = draw(seed, ["rnn", "gru"], reset=reset)
    T, whole = 5, ad.influence(p.blocks, p.params, p.inputs, p.h0, p.reset)
    h = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)[1]
    before = states_before(p, 1)
    q2 = credit_of(p)
    G = [ad.input_jacobian(p.blocks[1], p.params[1], before[t], h[0][t]) for t in range(T)]
    q1 = [np.einsum("bk,bki->bi", q2[t], G[t]) for t in range(T)]
    expected = [
        {name: np.einsum("tbk,tbk...->...", q, M) for name, M in whole[k][k].items()}
        for k, q in enumerate((np.stack(q1), q2))
    ]
    assert_live(expected)
    found = ad.layer_local_gradient(*p.arguments)
    assert_same(found, expected, rtol=TOL)
    exact = ad.loss_gradient(*p.arguments)
    assert_same(found[1], exact[1], rtol=TOL)
    assert_differ(found[0], exact[0])


@pytest.mark.parametrize("reset", [False, True])
@given(seed=SEEDS)
def test_problems_are_not_degenerate(seed, reset):
    """Every gradient is alive, no two widths are equal, masks and resets are neither empty nor full."""
    p = temporal_problems.make(np.random.default_rng(seed), reset=reset)
    T, B = p.inputs.shape[:2]
    assert T >= 4
    assert B >= 2
    assert 2 <= p.mask.sum(axis=0).min() <= p.mask.sum(axis=0).max() < T
    assert p.mask[-1].all()
    assert (p.reset is not None) == reset
    if reset:
        assert p.reset[1:].any()
        assert not p.reset.any(axis=0).all()
    assert_live([p.params, p.h0, ad.loss_gradient(*p.arguments), ad.initial_gradient(*p.arguments)], 1e-6)
    for block, params in zip(p.blocks, p.params, strict=True):
        if block["kind"] in ("rnn", "gru", "lstm"):
            n = params["W"].shape[1]
            for W in np.split(params["W"], len(params["W"]) // n):
                radius = np.abs(np.linalg.eigvals(W)).max()
                assert np.isclose(radius, temporal_problems.RADII).any()
                assert np.abs(W - W.T).max() > 1e-3
        if block["kind"] in ("lru", "rtu"):
            decay = np.exp(-np.exp(params["nu"]))
            assert 0.5 <= decay.min() <= decay.max() <= 0.95
