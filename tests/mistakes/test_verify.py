"""The proof table of the package: it holds, and it stops holding when the engine is broken."""

import operator

import numpy as np
import pytest

import minipc
from minipc import fast
from minipc.mistakes import load
from minipc.verify import CLAIMS, CONTROL, verify

BROKEN = [  # claim, mistake, module, the function that the mistake is in
    ("S01", "the output delta has the wrong sign", "backprop", "gradient"),
    ("S02", "the top-down term has the wrong sign", "spc", "_activity_gradient"),
    ("S02", "the derivative is taken at the prediction, not at the state", "spc", "_activity_gradient"),
    ("S03", "the weight gradient has the wrong sign", "spc", "local_gradient"),
    ("S05", "the error is not added to the state", "epc", "_point"),
    ("S06", "d has the wrong sign", "epc", "_error_gradient"),
    ("S06", "e enters the recursion of d", "epc", "_error_gradient"),
    ("S07", "the output error is counted twice", "epc", "_error_gradient"),
    (
        "S09",
        "the weights follow the energy at fixed errors: backprop through the perturbed network",
        "epc",
        "weight_gradient",
    ),
    ("S02", "the precision is inverted", "spc", "weigh"),
    ("S11", "the output error is counted twice", "epc", "_error_gradient"),
    ("S16", "the output error is not penalised", "epc", "_error_gradient"),
    ("S25", "d has the wrong sign", "epc", "_error_gradient"),
    ("S14", "the top-down term has the wrong sign", "spc", "_activity_gradient"),
    ("S14", "the output error is counted twice", "epc", "_error_gradient"),
    ("S26", "d has the wrong sign", "epc", "_error_gradient"),
    ("S39", "the weight gradient has the wrong sign", "epc", "local_gradient"),
    ("S40", "the weight gradient has the wrong sign", "epc", "local_gradient"),
    ("S41", "the derivative is taken at the prediction, not at the state", "spc", "_activity_gradient"),
    ("S44", "the top-down term is missing", "spc", "_activity_gradient"),
    ("S19", "the top-down term is missing", "spc", "_activity_gradient"),
    ("S36", "the energy is a batch mean during inference", "spc", "_infer"),
    ("S04", "the normaliser is counted once, not once a sample", "variants", "precision_gradient"),
    ("S04", "the log-determinant is missing in the energy", "variants", "full_energy"),
    ("S21", "the sweep takes the old state of the layer above", "variants", "top_down"),
    ("S22", "all blocks learn at the last step", "variants", "z_il"),
    ("S23", "the Jacobians move with the states", "variants", "fixed_prediction"),
    ("S24", "the Jacobians move with the states", "variants", "fixed_prediction"),
    (
        "S27",
        "the target is shrunk instead of moved towards the prediction",
        "variants",
        "target_interpolation",
    ),
    ("S28", "the gradient is not divided by beta", "variants", "nudged"),
    ("S28", "the difference of two nudges is divided by beta, not by twice beta", "variants", "centred"),
    ("S29", "the gain of the branches does not know the depth", "architectures", "mupc"),
    ("S30", "the weights take the errors where the multipliers belong", "variants", "pc_alm"),
    ("S33", "one child counts where there are two", "dag", "_error_gradient"),
    ("S33", "every parent takes the first columns", "dag", "_error_gradient"),
    ("S38", "the weights take their gradient from the new states", "variants", "incremental"),
    ("S42", "phi'' is dropped in the curvature (pre form)", "variants", "_curvature"),
    ("S42", "phi'' is dropped in the curvature", "variants", "_curvature"),
    ("T01", "the credit has the wrong sign", "bptt", "losses"),
    ("T02", "the influence is read before it is advanced", "rtrl", "_steps"),
    ("T04", "the window of truncated BPTT is one step too long", "bptt", "truncated"),
    ("T06", "a reset leaves the influence as it is", "rtrl", "_steps"),
    ("T06", "the next stretch of time begins without influence", "rtrl", "_begin"),
    ("T08", "J is transposed within the pattern", "approximations", "Step.jacobian_within"),
    ("T09", "w is not divided by r0", "approximations", "UORO.step_cell"),
    ("T09", "s takes all signs as +1", "approximations", "UORO.step_cell"),
    ("T10", "B is not divided by p0", "approximations", "KF.step_cell"),
    ("T10", "all signs of reverse KF-RTRL are +1", "approximations", "ReverseKF.step_cell"),
    (
        "T11",
        "SnAp-1 is the immediate terms alone: the carry of J_ii is missing",
        "approximations",
        "SnAp.carried",
    ),
    ("T11", "the trace of RFLO does not leak", "approximations", "RFLO.carried"),
    ("T11", "alpha is taken for what is kept", "approximations", "_kept"),
    ("T14", "the certificate knows only what this step has lost", "approximations", "Sketch.step_cell"),
    (
        "T14",
        "the diagonal of J acts twice, in the trace and in the sketch",
        "approximations",
        "Sketch.step_cell",
    ),
    ("T15", "i is missing in front of the phase", "diagonal", "LRU.terms"),
    ("T15", "the trace of zeta takes h_t, not h_{t-1}", "diagonal", "LRU.local"),
    ("T16", "nu does not know that gamma is tied to it", "diagonal", "LRU.terms"),
    ("T17", "exp(theta) is missing in the derivative of the rotation", "diagonal", "RTU.local"),
    ("T18", "k is the forget gate alone", "diagonal", "ELSTM.local"),
    ("T20", "a diagonal layer forgets what the layer below moved", "diagonal", "DiagonalCell.times_jacobian"),
    ("T42", "the errors are those of the state before the last step", "timestep", "Timestep.infer"),
    ("T42", "i is missing in front of the phase", "diagonal", "LRU.terms"),
    ("T42", "the credit of the state has the sign of its error", "timestep", "Timestep.credit"),
    ("T43", "a block hands its credit on to the next one", "rtrl", "_in_blocks"),
    ("T43", "what was before the block is not read", "rtrl", "_in_blocks"),
    ("T45", "the credit ends between two segments", "bptt", "checkpointed"),
]


@pytest.fixture(scope="module")
def table():
    """Every claim, three trials each: {id: row}."""
    return {row["id"]: row for row in verify(trials=3)}


@pytest.mark.parametrize("id", CLAIMS)
def test_every_claim_holds_with_its_control(table, id):
    """Within its tolerance, and a wrong version outside of it, in every trial."""
    row = table[id]
    assert row["holds"], row
    assert row["trials"] == 3
    assert row["worst"] <= row["tolerance"] < row["control"]
    assert row["control"] > CONTROL == 1e-3


@pytest.mark.parametrize(
    ("id", "mistake", "module", "function"), BROKEN, ids=[f"{b[0]}: {b[1]}" for b in BROKEN]
)
def test_a_broken_engine_is_found(monkeypatch, id, mistake, module, function):
    """One function of the engine is the mutant's; the claim no longer holds."""
    assert verify([id], trials=2)[0]["holds"]
    *owner, name = function.split(".")
    here, mutant = (
        operator.attrgetter(".".join([module, *owner]))(engine) for engine in (minipc, load(mistake))
    )
    monkeypatch.setattr(here, name, getattr(mutant, name))
    for shared in {"State", "start_influence"} & vars(
        mutant
    ).keys():  # its types are those of another package
        monkeypatch.setattr(mutant, shared, getattr(here, shared))
    monkeypatch.setattr(fast, "applies", lambda *_: False)  # the mistake is in the readable form
    (row,) = verify([id], trials=2)
    assert not row["holds"]
    assert row["worst"] > max(row["tolerance"], 1e-4)


@pytest.mark.parametrize("trial", [0, 2], ids=["in the first trial", "in the last trial"])
def test_a_result_that_is_not_a_number_does_not_hold(monkeypatch, trial):
    """NaN compares as false with everything: it must not slip through a maximum."""
    results = [(0.0, 1.0)] * 3
    for broken in ((np.nan, 1.0), (0.0, np.nan)):
        results[trial] = broken
        turn = iter(results)
        monkeypatch.setitem(CLAIMS, "S01", CLAIMS["S01"]._replace(trial=lambda rng, turn=turn: next(turn)))
        assert not verify(["S01"], trials=3)[0]["holds"]


def test_a_control_that_does_not_differ_does_not_hold(monkeypatch):
    """A check that cannot fail proves nothing, however small its error."""
    monkeypatch.setitem(CLAIMS, "S01", CLAIMS["S01"]._replace(trial=lambda rng: (0.0, 1e-4)))
    assert not verify(["S01"], trials=1)[0]["holds"]


def test_the_table_is_reproducible_and_the_seed_draws_the_problems():
    """A claim draws from its own generator, whatever else runs."""
    alone, among = verify(["S06"], trials=2), verify(["S01", "S06"], trials=2)
    assert alone[0] == among[1]
    assert verify(["S06"], trials=2, seed=1)[0]["control"] != alone[0]["control"]


def test_no_two_claims_share_their_random_numbers(monkeypatch):
    """Nor do two seeds."""
    for id in ("S01", "S02"):
        monkeypatch.setitem(CLAIMS, id, CLAIMS[id]._replace(trial=lambda rng: (0.0, rng.uniform(1, 2))))
    rows = [row for seed in (0, 1) for row in verify(["S01", "S02"], trials=1, seed=seed)]
    assert len({row["control"] for row in rows}) == 4


def test_options_are_checked():
    """Unknown claims and no trial at all are refused; rows are handed over one by one."""
    with pytest.raises(ValueError, match="unknown claim S99"):
        verify(["S99"])
    with pytest.raises(ValueError, match="trials must be at least 1"):
        verify(["S01"], trials=0)
    rows = []
    assert verify(["S35", "S01"], trials=1, on_row=rows.append) == rows
    assert [row["id"] for row in rows] == ["S01", "S35"]
