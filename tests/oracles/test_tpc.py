"""tPC and tPC-RTRL against the energy of a step, its minimum by Newton, and derivatives by autograd and complex step."""

import warnings
from functools import partial

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_live, assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minipc as pc
from minipc.inference import InferenceWarning
from oracles.test_through_time import flat, native, network
from reference import temporal_oracles as ad
from reference import tpc_indices as loops
from reference import tpc_oracles as oracle
from reference import tpc_problems as problems

EXACT = 1e-10
SEEDS = st.integers(0, 2**32 - 1)
few = partial(settings, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
GATED = ("rnn", "gru", "lstm")
DIAGONAL = ("elstm", "lru", "rtu")
STACKS = (["dense", "rnn", "dense"], ["gru", "rnn", "dense"], ["lru", "lstm", "dense"])
NEWTON = {"inference": "newton", "inference_steps": 40}


def draw(seed, kinds, **options):
    """A problem with few steps; resets and a learned start by chance. One on which Newton's inference goes down: a curved
    readout may have a place where it does not, and the engine then says so."""
    rng = np.random.default_rng(seed)
    given = {"T": 4, "B": 2, "reset": bool(rng.random() < 0.5), "learn_h0": bool(rng.random() < 0.3)}
    while True:
        q = problems.draw(rng, kinds, **{**given, **options})
        with warnings.catch_warnings():
            warnings.simplefilter("error", InferenceWarning)
            try:
                residuals = [call(q, carry=carry).residual.max() for carry in ("state", "prediction")]
            except InferenceWarning:
                continue
        if max(residuals) < 1e-9:
            return q


def call(q, **options):
    """tpc.gradient on a problem."""
    p, data = q.problem, {"precision": q.native, "beta": q.beta, **NEWTON}
    return pc.tpc.gradient(
        network(p), p.params, p.inputs, p.targets, p.mask, native(p), p.reset, **{**data, **options}
    )


def assert_gradient(g, expected, rtol=EXACT):
    """All parameters in one vector: entries of a small one count beside those of a large one."""
    ordered = [{k: e[k] for k in p} for p, e in zip(g.grads, expected, strict=True)]
    assert_live(flat(ordered))
    assert_same(flat(g.grads), flat(ordered), rtol=rtol)


def readout_kinds(kind):
    """One cell with a readout."""
    return [kind, "dense"]


# ---------------------------------------------------------------------- the oracles among themselves


@pytest.mark.parametrize(
    "kinds", [*map(readout_kinds, (*GATED, *DIAGONAL)), ["lru"], ["rnn", "dense", "dense"]]
)
@given(seed=SEEDS)
@few(max_examples=2)
def test_the_gradient_of_the_equilibria_by_complex_step(kinds, seed):
    """(TPR.8): autograd through a last Newton step = complex parameters and Newton, in both policies."""
    q = draw(seed, kinds, activation="tanh")
    rng = np.random.default_rng(seed + 1)
    params = q.problem.params
    direction = [{k: rng.standard_normal(v.shape) for k, v in p.items()} for p in params]
    for carry in ("state", "prediction"):
        options = {**q.options, "carry": carry}
        found = oracle.trajectory(*q.arguments, **options)
        exact = oracle.gradient(*q.arguments, found=found, **options)
        along = oracle.along(*q.arguments[:2], direction, *q.arguments[2:], found=found, **options)
        expected = sum((g[k] * d[k]).sum() for g, d in zip(exact, direction, strict=True) for k in g)
        size = np.linalg.norm(flat(exact)) * np.linalg.norm(flat(direction))
        assert abs(expected) > 1e-6 * size
        assert abs(along - expected) < 1e-12 * size


@given(seed=SEEDS)
@few(max_examples=4)
def test_the_minimum_is_one(seed):
    """(TPR.1): the slope is zero, and the energy is higher around it."""
    q = draw(seed, ["rnn", "dense", "dense"])
    rng = np.random.default_rng(seed)
    for step in oracle.trajectory(*q.arguments, **q.options):
        assert np.abs(oracle.slope(step.F, step.free)).max() < 1e-11
        for _ in range(5):
            assert (step.F(step.free + 1e-3 * rng.standard_normal(step.free.shape)) > step.energy).all()


@pytest.mark.parametrize("cell", [*GATED, *DIAGONAL])
@given(seed=SEEDS)
@few(max_examples=2)
def test_the_recursion_gives_the_derivative_of_the_inferred_state(cell, seed):
    """(TPR.2), (TPR.5), (TPR.6): S_t = Damp_t M_t is ds_t/dtheta; plain and diag as the trajectory has them."""
    q = draw(seed, readout_kinds(cell), learn_h0=False)
    found = oracle.trajectory(*q.arguments, **q.options)
    args, options = (q.arguments[:2], {**q.options, "reset": q.problem.reset})
    total, S = oracle.recursion(*args, found, "implicit", **options)
    inferred = oracle.sensitivity(*q.arguments, found=found, **q.options)
    names = [name for name in total if name not in ("C_re", "C_im", "D")]
    for t in range(len(found)):
        assert_same([S[t][k] for k in names], [inferred[0][k][t] for k in names], rtol=EXACT)
    for influence in ("implicit", "plain", "diag"):
        total, _ = oracle.recursion(*args, found, influence, **options)
        expected = oracle.gradient(*q.arguments, found=found, influence=influence, **q.options)[0]
        assert_same([total[k] for k in names], [expected[k] for k in names], rtol=EXACT)
    total, _ = oracle.recursion(*args, found, None, **options)
    expected = oracle.stop_gradient(*q.arguments, found=found, **q.options)[0]
    assert_same([total[k] for k in names], [expected[k] for k in names], rtol=EXACT)


def by_loops(q, influence, carry, infer):
    """Gradients of the cell and the readout by index loops, summed over the lanes, and the states (T, B, n)."""
    p, total, states = q.problem, None, []
    Pi = oracle.full(q.precision[0], p.h0[0].shape[1])
    for b in range(p.inputs.shape[1]):
        cell, above, s, _ = loops.rnn_tpc(
            p.blocks[0], p.params[0], p.params[1], p.loss, p.inputs[:, b], p.targets[:, b], p.mask[:, b],
            p.h0[0][b], Pi, q.beta, influence, carry, partial(infer, Pi=Pi, b=b),
        )  # fmt: skip
        states.append(s)
        total = [cell, above] if total is None else pc.bptt.added(total, [cell, above])
    return total, np.stack(states, axis=1)


@pytest.mark.parametrize("carry", ["state", "prediction"])
@pytest.mark.parametrize("influence", [None, "plain", "implicit", "diag"])
@given(seed=SEEDS, inference=st.sampled_from(["spc", "equilibrium"]))
@few(max_examples=2)
def test_every_index_written_out(influence, carry, seed, inference):
    """(TPR.1)-(TPR.7) by index loops: at the equilibrium, and after five steps of inference (tPC.4)."""
    q = draw(seed, readout_kinds("rnn"), learn_h0=False, reset=False, hidden="none")
    p = q.problem
    found = oracle.trajectory(*q.arguments, carry=carry, **q.options)
    at = iter(range(10**6))

    def stepped(mu, c, y, seen, Pi, b):
        return loops.descend(p.loss, Pi, q.beta, p.params[1], mu, mu, y, seen, 5, 0.1)

    def settled(mu, c, y, seen, Pi, b):
        return found[next(at) % len(found)].free[b]

    total, states = by_loops(q, influence, carry, stepped if inference == "spc" else settled)
    options = {"inference_steps": 5, "step_size": 0.1, "inference": "spc"} if inference == "spc" else NEWTON
    g = call(q, influence=influence, carry=carry, **options)
    assert_same(g.states, states, rtol=EXACT)
    assert_gradient(g, total)


# ---------------------------------------------------------------------- the engine


@pytest.mark.parametrize(
    "kinds", [*map(readout_kinds, GATED), ["rnn"], ["lstm"], ["gru", "dense", "dense"], *STACKS]
)
@given(seed=SEEDS)
@few(max_examples=2)
def test_implicit_is_the_gradient_of_the_equilibria(kinds, seed):
    """(TPR.6)-(TPR.8): any beta, any precisions, any gated cell, stacks; the energies themselves, too."""
    q = draw(seed, kinds)
    g = call(q, influence="implicit")
    found = oracle.trajectory(*q.arguments, near=g.states, **q.options)
    assert_same(g.states, np.stack([f.free[:, : f.mu.shape[1]] for f in found]), rtol=1e-9)
    assert_same(g.energy, sum(f.energy for f in found) / q.beta, rtol=EXACT)
    assert_gradient(g, oracle.gradient(*q.arguments, found=found, **q.options), rtol=EXACT / q.beta)
    assert g.residual.max() < 1e-9
    assert "(TPR.8)" in g.equals


def inferred(q, **options):
    """g, and the oracle's trajectory at the states that the engine has found."""
    g = call(q, **options)
    states = ad.pairs(g.states) if np.iscomplexobj(g.states) else g.states
    found = oracle.trajectory(*q.arguments, near=states, carry=options.get("carry", "state"), **q.options)
    assert_same(states, np.stack([f.free[:, : f.mu.shape[1]] for f in found]), rtol=1e-9)
    return g, found


CHAINS = [*map(readout_kinds, (*GATED, *DIAGONAL)), ["lru"], ["elstm"], ["rnn", "dense", "dense"]]
CHAINS += [["lru", "dense", "dense"], *STACKS, ["dense", "lru", "dense"], ["rnn", "rtu", "dense"]]


@pytest.mark.parametrize("kinds", CHAINS, ids="-".join)
@given(seed=SEEDS)
@few(max_examples=2)
def test_without_influence_the_carried_states_are_held(kinds, seed):
    """(tPC.7): tPC is the gradient of the equilibria with a stop."""
    q = draw(seed, kinds)
    for carry in ("state", "prediction"):
        g, found = inferred(q, carry=carry)
        expected = oracle.stop_gradient(*q.arguments, found=found, carry=carry, **q.options)
        assert_gradient(g, expected, rtol=EXACT / q.beta)


@pytest.mark.parametrize("kinds", [["gru", "dense"], ["lru", "rnn", "dense"]], ids="-".join)
@pytest.mark.parametrize("influence", [None, "plain", "implicit"])
def test_a_learned_start_is_a_parameter_wherever_a_lane_begins(influence, kinds):
    """(tPC.7), (TPR.2): S_0 = dh_0/dtheta; at the first step and at every reset."""
    q = draw(7, kinds, learn_h0=True, reset=True, beta=1.0)
    g, found = inferred(q, influence=influence)
    if influence is None:
        expected = oracle.stop_gradient(*q.arguments, found=found, **q.options)
    else:
        expected = oracle.gradient(*q.arguments, found=found, influence=influence, **q.options)
    starts = [{k: v for k, v in e.items() if k.startswith("h0")} for e in expected]
    assert_live(starts)
    assert_same([{k: a[k] for k in e} for a, e in zip(g.grads, starts, strict=True)], starts, rtol=EXACT)


@pytest.mark.parametrize("kinds", CHAINS, ids="-".join)
@given(seed=SEEDS)
@few(max_examples=2)
def test_plain_and_diag_as_the_equations_have_them(kinds, seed):
    """(TPR.2), (TPR.3), (TPR.5): S = M, or its diagonal damping, on the inferred trajectory; any chain."""
    q = draw(seed, kinds)
    for influence in ("plain", "diag"):
        g, found = inferred(q, influence=influence)
        expected = oracle.gradient(*q.arguments, found=found, influence=influence, **q.options)
        assert_gradient(g, expected, rtol=EXACT / q.beta)


@pytest.mark.parametrize("kinds", CHAINS, ids="-".join)
@given(seed=SEEDS)
@few(max_examples=2)
def test_the_policy_of_predictions_gives_moreau_envelopes(kinds, seed):
    """(TPR.9): policy mu with any influence that is exact is the gradient of the envelopes along the free trajectory."""
    q = draw(seed, kinds)
    g, found = inferred(q, influence="plain", carry="prediction")
    expected = oracle.gradient(*q.arguments, found=found, carry="prediction", **q.options)
    assert_gradient(g, expected, rtol=EXACT / q.beta)
    if q.precision[-1] is None:
        assert_same(g.loss, ad.loss(*q.arguments), rtol=EXACT)
    assert_gradient(call(q, influence="diag", carry="prediction"), expected, rtol=EXACT / q.beta)


@pytest.mark.parametrize("start", ["prediction", "previous"])
@pytest.mark.parametrize("kinds", [["rnn", "dense"], ["lru", "dense"]], ids="-".join)
@given(seed=SEEDS)
@few(max_examples=2)
def test_every_inference_ends_at_the_equilibrium(start, kinds, seed):
    """(tPC.4), (tPC.5), ePC: the same states, energies and gradient as by Newton."""
    q = draw(seed, kinds, beta=1.0, state="none", hidden="none", radius=0.5)
    exact = call(q, influence="plain")
    found = inferred(q, influence="plain")[1]
    ends = np.array([np.linalg.eigvalsh(np.linalg.inv(f.inverse))[:, [0, -1]] for f in found])
    low, high = ends[..., 0].min(), ends[..., 1].max()
    for inference, step, N in (
        ("spc", 1 / high, int(25 * high / low)),  # (1 - low/high)^N is below e^-25
        ("epc", "adaptive", 500),
    ):
        options = {"inference": inference, "start": start, "step_size": step, "inference_steps": N}
        g = call(q, influence="plain", tolerance=None if inference == "spc" else 1e-10, **options)
        assert_same([g.states, g.energy], [exact.states, exact.energy], rtol=1e-8)
        assert_gradient(g, exact.grads, rtol=1e-7)


# ---------------------------------------------------------------------- when it is BPTT


@pytest.mark.parametrize("kinds", CHAINS, ids="-".join)
@given(seed=SEEDS)
@few(max_examples=2)
def test_fixed_predictions_give_bptt(kinds, seed):
    """(TPR.10): any cell, any stack, any precision of the state, any beta; policy x is not BPTT."""
    q = draw(seed, kinds, hidden="none")
    exact = ad.loss_gradient(*q.arguments)
    g = call(q, influence="plain", carry="prediction", inference="fixed")
    assert_gradient(g, exact)
    assert_same(g.loss, ad.loss(*q.arguments), rtol=EXACT)
    assert "BPTT, exactly" in g.equals
    assert_differ(flat(call(q, influence="plain", inference="fixed").grads), flat(g.grads), min_rel=1e-6)


@pytest.mark.parametrize(
    "kinds", [*map(readout_kinds, GATED), ["rnn"], ["lru"], ["elstm", "dense"], STACKS[0]], ids="-".join
)
@given(seed=SEEDS)
@few(max_examples=2)
def test_one_step_gives_a_multiple_of_bptt(kinds, seed):
    """(TPR.11): lam times the gradient of BPTT for what stands up to the state; the readout at the moved state is its own."""
    q = draw(seed, kinds, state="none", hidden="none")
    lam, p = 0.3, q.problem
    one = {"inference": "spc", "inference_steps": 1, "step_size": lam, "influence": "plain"}
    g = call(q, carry="prediction", **one)
    up_to = oracle.last_cell(p.blocks) + 1
    names = [[k for k in r if k not in ("C_re", "C_im", "D")] for r in p.params[:up_to]]
    exact = ad.loss_gradient(*q.arguments)
    pick = lambda grads: [{k: g[k] for k in r} for g, r in zip(grads[:up_to], names, strict=True)]  # noqa: E731
    assert_live(flat(pick(exact)))
    assert_same(flat(pick(g.grads)), lam * flat(pick(exact)), rtol=EXACT)
    assert_differ(flat(pick(call(q, **one).grads)), lam * flat(pick(exact)), min_rel=1e-4)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:spc inference diverged")  # lam = 1 is no descent, and need not be
@given(seed=SEEDS)
@few(max_examples=2)
def test_zero_divergence_inference_gives_bptt(depth, seed):
    """(TPR.12): lam = 1, as many steps as the readout has blocks; one more is not BPTT."""
    q = draw(seed, ["gru", *["dense"] * depth], state="none", hidden="none", beta=1.0)
    options = {"inference": "spc", "step_size": 1.0, "influence": "plain", "carry": "prediction"}
    exact = ad.loss_gradient(*q.arguments)[0]
    g = call(q, inference_steps=depth, **options).grads[0]
    assert_same(flat([g]), flat([{k: exact[k] for k in g}]), rtol=EXACT)
    more = call(q, inference_steps=depth + 1, **options).grads[0]
    assert_differ(flat([more]), flat([g]), min_rel=1e-4)


@pytest.mark.parametrize("carry", ["state", "prediction"])
@pytest.mark.parametrize("influence", [None, "plain", "implicit", "diag"])
def test_nothing_observed_is_a_step_forward(influence, carry):
    """(tPC.8): masked steps at the end change neither energy nor gradient, and their states are predictions, exactly."""
    q = draw(3, ["gru", "dense", "dense"], reset=False, learn_h0=False)
    p = q.problem
    mask = p.mask.copy()
    mask[2:] = False
    mask[0] = True
    masked = q._replace(problem=p._replace(mask=mask))
    short = q._replace(
        problem=p._replace(inputs=p.inputs[:2], targets=p.targets[:2], mask=mask[:2], reset=None)
    )
    a, b = (call(x, influence=influence, carry=carry) for x in (masked, short))
    assert_same(flat(a.grads), flat(b.grads), rtol=1e-14)
    assert_same(a.energy, b.energy, rtol=1e-14)
    h = a.states[1] if carry == "state" else pc.tpc.infer(
        network(p), p.params, p.inputs, p.targets, mask, native(p), carry=carry
    ).predictions[1]  # fmt: skip
    after, _ = ad.run(p.blocks, p.params, p.inputs[2:], [h])[1][0], None
    assert_same(a.states[2:], after, rtol=1e-14)


@given(seed=SEEDS, cell=st.sampled_from(["rnn", "gru", "lstm"]))
@few(max_examples=4)
def test_the_certificate_bounds_the_difference(seed, cell):
    """(TPR.13): of the influences after every step, and of the gradients, summed and step by step."""
    q = draw(seed, readout_kinds(cell), learn_h0=False)
    p, N = q.problem, q.problem.h0[0].shape[1]
    found = oracle.trajectory(*q.arguments, **q.options)
    c = pc.tpc.certificate(
        network(p), p.params, p.inputs, p.targets, p.mask, native(p), p.reset,
        precision=q.native, beta=q.beta, **NEWTON,
    )  # fmt: skip
    inferred = oracle.sensitivity(*q.arguments, found=found, **q.options)
    _, S = oracle.recursion(*q.arguments[:2], found, "plain", **{**q.options, "reset": p.reset})
    T, B = p.inputs.shape[:2]
    for t in range(T):
        own = [S[t][k] - inferred[0][k][t] for k in S[t]]
        parts = [*own, *(v[t] for v in inferred[1].values())]
        joined = np.concatenate([v.reshape(B, N, -1) for v in parts], axis=2)
        assert (np.linalg.norm(joined, axis=(1, 2)) <= c.delta[t] * (1 + 1e-9) + 1e-12).all()
    exact = oracle.gradient(*q.arguments, found=found, **q.options)
    plain = oracle.gradient(*q.arguments, found=found, influence="plain", **q.options)
    difference = np.linalg.norm(flat(exact) - flat(plain))
    assert 1e-9 < difference <= c.total.sum() * (1 + 1e-9)
    assert_same(c.total, c.gradient.sum(axis=0), rtol=1e-12)
