"""What a gradient of tPC says of itself is true: the sentences that say "exactly", and those that must not."""

import re

import numpy as np
import pytest

import minipc as pc
from tests.helpers.checks import assert_same

T, B, m, n, o = 6, 3, 4, 5, 2
NETWORKS = {
    "RNN": [pc.RNN(m, n), pc.Dense(n, o)],
    "Dense, GRU, two blocks": [pc.Dense(m, 3, "tanh"), pc.GRU(3, n), pc.Dense(n, 4, "tanh"), pc.Dense(4, o)],
    "LRU": [pc.LRU(m, n, o)],
    "Dense, LRU": [pc.Dense(m, 3, "tanh"), pc.LRU(3, n, o)],
}


def problem(name):
    """Network, parameters and sequences with a mask."""
    rng = np.random.default_rng(0)
    net = pc.RecurrentNetwork(NETWORKS[name])
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(0)]
    inputs, targets = rng.standard_normal((T, B, m)), rng.standard_normal((T, B, o))
    return net, params, inputs, targets, rng.uniform(size=(T, B)) < 0.7


def at_state(net, grads):
    """Of the parameters that the last state follows; those of an LRU's state alone."""
    c = net.cells[-1]
    cell = net.blocks[c]
    own = {k: v for k, v in grads[c].items() if k not in cell.output_shapes}
    return [own] if cell.complex_state else [*grads[:c], own]


@pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
@pytest.mark.parametrize("influence", [None, "plain", "exact"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_said_to_be_exact_is(name, influence):
    """(TPR.10)-(TPR.12): the prediction carried, against BPTT, or BPTT without history."""
    net, *rest = problem(name)
    truth = pc.bptt.truncated(net, *rest, steps=1) if influence is None else pc.bptt.gradient(net, *rest)
    options = {"influence": influence, "carry": "prediction", "beta": 0.7}
    g = pc.tpc.gradient(net, *rest, **options, inference="fixed")
    assert "exactly (TPR.10)" in g.equals
    assert ("immediate terms only" in g.equals) == (influence is None)
    assert_same(g.grads, truth.grads, 1e-12)
    layers = 2 if "two blocks" in name else 1
    g = pc.tpc.gradient(net, *rest, **options, inference_steps=layers, step_size=1.0)
    assert ("exactly (TPR.11)" if layers == 1 else "exactly (TPR.12)") in g.equals
    assert ("what stands below" in g.equals) == ("LRU" not in name)
    assert_same(at_state(net, g.grads), at_state(net, truth.grads), 1e-12)
    g = pc.tpc.gradient(net, *rest, **options, inference_steps=layers + 1, step_size=1.0)
    assert "exactly" not in g.equals


def test_one_step_of_any_length_is_a_factor():
    """(TPR.11): the sentence has the factor."""
    net, *rest = problem("RNN")
    g = pc.tpc.gradient(net, *rest, influence="plain", carry="prediction", inference_steps=1, step_size=0.25)
    assert g.equals.startswith("0.25 times the gradient of BPTT")
    truth = [{k: 0.25 * v for k, v in p.items()} for p in pc.bptt.gradient(net, *rest).grads]
    assert_same(at_state(net, g.grads), at_state(net, truth), 1e-12)


@pytest.mark.parametrize(
    ("influence", "carry", "said"),
    [
        (None, "state", "stop at the carried state.*no history"),
        (None, "prediction", "Moreau.*stop at the carried state.*no history"),
        ("plain", "state", r"of nothing exactly.*\(TPR.13\)"),
        ("plain", "prediction", r"Moreau.*\(TPR.9\)"),
        ("implicit", "state", r"inferred trajectory.*\(TPR.8\)"),
        ("implicit", "prediction", r"Moreau.*\(TPR.9\)"),
        ("diag", "state", r"of nothing exactly.*\(TPR.5\)"),
        ("local", "state", r"of nothing exactly.*\(TPR.13\)"),
        ("snap-1", "state", "a biased estimate .*snap-1"),
        (pc.UORO(seed=1), "state", r"a noisy estimate \(uoro\)"),
    ],
)
def test_every_combination_says_what_it_is(influence, carry, said):
    """The table of the module, in sentences; their truth is proven by the claims T22 and T28 to T37."""
    net, *rest = problem("RNN")
    g = pc.tpc.gradient(net, *rest, influence=influence, carry=carry, inference_steps=3)
    assert re.search(said, g.equals), g.equals


SAID = [  # network, influence, carry, other options, what must be said, what must not
    ("RNN", "exact", "state", {}, r"of nothing exactly.*\(TPR.13\)", "a biased"),
    ("RNN", "hybrid", "state", {}, r"of nothing exactly.*\(TPR.13\)", "a biased"),
    ("LRU", "diagonal", "state", {}, r"of nothing exactly.*\(TPR.13\)", "a biased"),
    ("RNN", "exact", "prediction", {}, r"Moreau.*\(TPR.9\)", "a biased"),
    ("RNN", "hybrid", "prediction", {}, r"Moreau.*\(TPR.9\)", "a biased"),
    ("LRU", "diagonal", "prediction", {}, r"Moreau.*\(TPR.9\)", "a biased"),
    ("RNN", "local", "prediction", {}, r"Moreau.*\(TPR.9\)", "a biased"),
    ("RNN", "diag", "prediction", {}, r"Moreau.*\(TPR.9\)", "of nothing"),
    ("Dense, GRU, two blocks", "local", "state", {}, r"a biased estimate .* local ", "of nothing"),
    ("RNN", "snap-1", "prediction", {}, r"a biased estimate .*snap-1 \(minipc\.approximations\)$", "Moreau"),
    ("RNN", "snap-1", "prediction", {"inference": "fixed"}, "a biased estimate", "exactly"),
    ("RNN", "eprop", "state", {}, r"a biased estimate .*eprop \(minipc\.eprop\)$", "approximations"),
    ("RNN", "dni", "state", {}, r"a biased estimate .*dni \(minipc\.dni\)$", "approximations"),
    ("RNN", "kf", "state", {}, r"a noisy estimate \(kf\)", "a biased"),
    ("RNN", "reverse-kf", "state", {}, r"a noisy estimate \(reverse-kf\)", "a biased"),
    ("RNN", None, "state", {}, r"sum F_t\* with a stop.*, at the equilibrium of inference", "Moreau"),
    (
        "RNN",
        None,
        "state",
        {"inference": "fixed"},
        r"sum F_t\* with a stop at the carried state \(tPC.7\)",
        "equilibrium",
    ),
    (
        "RNN",
        "implicit",
        "state",
        {},
        r"sum F_t\* along.*, at the equilibrium of inference \(TPR.8\)",
        "Moreau",
    ),
    ("RNN", "plain", "prediction", {}, r"Moreau.*, at the equilibrium of inference \(TPR.9\)", "exactly"),
]


@pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
@pytest.mark.parametrize(("name", "influence", "carry", "options", "said", "not_said"), SAID)
def test_the_table_of_the_module_in_sentences(name, influence, carry, options, said, not_said):
    """Exact influences by any of their names, estimates with the place where they are described."""
    net, *rest = problem(name)
    g = pc.tpc.gradient(
        net, *rest, **{"influence": influence, "carry": carry, "inference_steps": 3, **options}
    )
    assert re.search(said, g.equals), g.equals
    assert not_said not in g.equals


EXACTLY = [  # blocks above the state, options, is it a multiple of BPTT's gradient?
    (1, {"inference_steps": 1, "step_size": 0.25}, True),
    (1, {"inference_steps": 2, "step_size": 1.0}, False),
    (1, {"inference_steps": 1, "step_size": 0.25, "inference": "epc"}, False),
    (1, {"inference_steps": 1, "step_size": 0.25, "start": "previous"}, False),
    (1, {"inference_steps": 1, "step_size": 0.25, "precision": [2.0, None]}, False),
    (1, {"inference_steps": 1, "inference": "newton"}, False),
    (2, {"inference_steps": 2, "step_size": 1.0}, True),
    (2, {"inference_steps": 2, "step_size": 0.5}, False),
    (2, {"inference_steps": 1, "step_size": 1.0}, False),
    (2, {"inference_steps": 2, "step_size": 1.0, "inference": "epc"}, False),
    (2, {"inference_steps": 2, "step_size": 1.0, "start": "previous"}, False),
    (2, {"inference_steps": 2, "step_size": 1.0, "precision": [2.0, None, None]}, False),
]


@pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
@pytest.mark.parametrize("carry", ["prediction", "state"])
@pytest.mark.parametrize("influence", [None, "plain"])
@pytest.mark.parametrize(("layers", "options", "exact"), EXACTLY)
def test_exactly_is_said_where_it_is_true_and_nowhere_else(layers, options, exact, influence, carry):
    """(TPR.11), (TPR.12): of descent from the prediction with unit precisions, the prediction carried; and it is so."""
    net, *rest = problem("RNN" if layers == 1 else "Dense, GRU, two blocks")
    g = pc.tpc.gradient(net, *rest, influence=influence, carry=carry, **options)
    truth = pc.bptt.truncated(net, *rest, steps=1) if influence is None else pc.bptt.gradient(net, *rest)
    factor = options.get("step_size", 1.0) if layers == 1 else 1.0
    mine, other = (
        np.concatenate([v.ravel() for q in at_state(net, t.grads) for v in q.values()]) for t in (g, truth)
    )
    is_so = bool(np.linalg.norm(mine - factor * other) < 1e-10 * np.linalg.norm(other))
    expected = exact and carry == "prediction"
    assert (f"exactly (TPR.1{layers})" in g.equals) == expected
    assert is_so >= expected
    if "inference" not in options:  # what is not said is not so, either; epc's first step is another descent
        assert is_so == expected


def test_fixed_predictions_are_at_no_equilibrium_of_inference():
    """The whole sentence; with inference it is said where the gradient is taken. Reverse KF-RTRL is an estimate, too."""
    rng = np.random.default_rng(3)
    net = pc.RecurrentNetwork([pc.RNN(2, 3), pc.Dense(3, 4)])
    given = net, net.init(seed=0), rng.standard_normal((4, 2, 2)), rng.standard_normal((4, 2, 4))
    said = "the gradient of (1/beta) sum F_t* with a stop at the carried state{} (tPC.7): no history"
    assert pc.tpc.gradient(*given, inference="fixed").equals == said.format("")
    inferred = pc.tpc.gradient(*given, inference_steps=3)
    assert inferred.equals == said.format(", at the equilibrium of inference")
    noisy = pc.tpc.gradient(*given, inference_steps=3, influence="reverse-kf")
    assert noisy.equals.startswith("a noisy estimate (reverse-kf): on average over its signs")
