"""The audit: parts that add up, each cause alone where it is the only one, a mistake that no cause explains."""

import copy
import json
import warnings

import numpy as np
import pytest
from helpers.battery import network
from helpers.checks import assert_live, assert_same, read_only
from helpers.temporal_battery import network as in_time
from helpers.temporal_battery import states

import minipc as pc
from minipc import check, mistakes
from minipc.check import equilibrium
from minipc.check.causes import CAUSES
from reference import approximation_oracles as approximate
from reference import autograd_oracles as ad
from reference import closed_form as cf
from reference import temporal_oracles as time_ad
from reference import tpc_oracles as tpc_ad
from reference.problems import make as spatial
from reference.temporal_problems import make as temporal
from reference.tpc_problems import spd

pytestmark = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
STALE, INFERENCE, UNDAMPED, BETA, INFLUENCE, LOCAL, TRUNCATED, OTHER = CAUSES


def sample(seed=0, **options):
    """Samples for a chain of tanh blocks: (net, params, x, y) of the engine, and the problem."""
    options = {"sizes": [3, 5, 4, 6, 2], "activation": "tanh", "output": "identity", "loss": "mse"} | options
    p = spatial(np.random.default_rng(seed), **{"precision": None, "form": "post", "gain": 0.5} | options)
    return (network(p), p.params, p.x, p.y), p


def sequence(seed=0, chain=("rnn", "dense"), **options):
    """Sequences: (net, params, inputs, targets), the rest of the data, and the problem."""
    options = {"T": 6, "B": 2, "loss": "mse", "radius": 0.5} | options
    p = temporal(np.random.default_rng(seed), chain, **options)
    return (in_time(pc, p), p.params, p.inputs, p.targets), {"mask": p.mask, "h0": states(p)}, p


def run(rule, seed=0, chain=("rnn", "dense"), drawn=None, **options):
    """The audit of a rule on sequences, in which the gradient is what the rule gives."""
    data, more, _ = sequence(seed, chain, **(drawn or {}))
    found = check.audit(data[0], rule, *data[1:], **more, **options)
    if rule is not pc.rtrl.online:
        assert_same(found.given, named(pc.RULES[rule](*data, **more, **options)), 0)
    return found


def named(grads):
    """Gradients by the name of the parameter."""
    return check.comparison.leaves(grads)


def difference(a, b):
    return {name: value - named(b)[name] for name, value in named(a).items()}


def assert_part(part, expected, tolerance):
    """As :func:`assert_same`, with the size of the whole: parameters that a cause leaves alone are rounding."""
    scale = max(np.abs(v).max() for v in expected.values())
    assert scale > 1e-6
    for name, v in expected.items():
        assert np.abs(part[name] - v).max() <= tolerance * scale, name


def applying(found):
    """The causes that apply, without "other"."""
    return [cause for cause in found.parts if cause != OTHER]


def alone(found, cause, tolerance=1e-9):
    """Is this cause all of the difference, which is not nothing?"""
    assert found.relative_error > 1e-4
    for name, part in found.parts.items():
        size = max(np.abs(v).max() for v in part.values())
        assert (size > 1e-4) if name == cause else (size < tolerance), name
    assert found.shares[cause] == pytest.approx(1, abs=1e-6)


# ---------------------------------------------------------------------- the parts add up, whatever the rule is

N = {"inference_steps": 4}
IN_SPACE = {
    "backprop": ({}, []),
    "spc": (N, [INFERENCE, BETA]),
    "epc": (N, [INFERENCE, BETA]),
    "epc, power": ({"step_size": "power"}, [INFERENCE, BETA]),
    "top_down": (N, [INFERENCE, BETA]),
    "momentum": (N, [INFERENCE, BETA]),
    "incremental": (N | {"optimizer": pc.SGD(0.1)}, [STALE, INFERENCE, BETA]),
    "incremental, Adam": (N | {"optimizer": pc.Adam(0.01)}, [STALE, INFERENCE, BETA]),
    "z_il": ({}, []),
    "fixed_prediction": (N, [INFERENCE]),
    "pc_alm": (N, [INFERENCE]),
    "pc_alm, no dual": (N | {"dual_step": 0.0, "penalty": 2.0}, [INFERENCE, BETA]),
    "target_interpolation": (N | {"beta": 0.3}, [INFERENCE, BETA]),
    "nudged": (N | {"beta": 0.3}, [INFERENCE, BETA]),
    "nudged, away": (N | {"beta": -0.1}, [INFERENCE, BETA]),
    "centred": (N | {"beta": 0.1}, [INFERENCE, BETA]),
}
SETTINGS = ["mse", "cross_entropy", "binary_cross_entropy", "pre", "precisions"]


def of_setting(setting, seed=0):
    """A problem in space of this kind, and the option precision."""
    if setting == "pre":
        return sample(seed, form="pre")[0], {}
    if setting == "precisions":
        data, p = sample(seed, precision="full")
        return data, {"precision": p.precision}
    return sample(seed, loss=setting)[0], {}


def adds_up(found):
    """The parts are the difference, to rounding, parameter by parameter; shares add up to one; what ends at the exact
    gradient leaves nothing to other causes."""
    for name, g in found.given.items():
        parts = [part[name] for part in found.parts.values()]
        scale = max(np.abs(v).max() for v in [*parts, g, found.exact[name]])
        assert np.abs(sum(parts) - (g - found.exact[name])).max() <= 1e-14 * scale
        shares = sum(found.part(cause, name).share for cause in CAUSES)
        if np.linalg.norm(g - found.exact[name]) > 1e-9 * scale:
            assert shares == pytest.approx(1, abs=1e-6)
    assert found.part(OTHER).size < 1e-11
    if not found.only_rounding:
        assert sum(found.shares.values()) == pytest.approx(1, abs=1e-9)
    assert [cause for cause in CAUSES if cause in found.parts] == list(found.parts)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", IN_SPACE)
def test_the_parts_of_every_rule_in_space_add_up(name, setting):
    """And those that apply are those that the theory names; the gradients are the rule's and the exact one."""
    options, causes = IN_SPACE[name]
    rule = name.split(",")[0]
    data, more = of_setting(setting)
    if rule in ("backprop", "z_il"):
        if setting == "precisions":
            pytest.skip("the rule has no precisions")
        more = {}
    found = check.audit(data[0], rule, *data[1:], **options, **more)
    adds_up(found)
    assert applying(found) == causes
    again = options | ({"state": options["optimizer"].init(data[1])} if "optimizer" in options else {})
    g = pc.RULES[rule](*data, **again, **more)
    assert_same(found.given, named(g[-1] if isinstance(g, tuple) and not hasattr(g, "grads") else g), 0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_exact_gradient_in_space_is_autograds(setting):
    """With a precision of the output that of the weighed loss."""
    seed = {"pre": {"form": "pre"}, "precisions": {"precision": "full"}}.get(setting, {"loss": setting})
    data, p = sample(3, **seed)
    more = {"precision": p.precision} if setting == "precisions" else {}
    found = check.audit(data[0], "spc", *data[1:], **more)
    Pi = None if p.precision is None else p.precision[-1]
    expected = ad.loss_gradient(p.layers, p.params, p.x, p.y, p.loss, Pi)
    assert_live(expected)
    assert_same(found.exact, named(expected))
    assert ("precision of the output" in " ".join(found.notes)) == (setting == "precisions")


CHAINS = [("rnn", "dense"), ("dense", "gru", "dense", "dense"), ("rnn", "rnn", "dense"), ("lru", "dense")]
RTRL = {
    "hybrid": [],
    "exact": [],
    "local": [LOCAL],
}
for word in ("snap-1", "snap-2", "rflo", "uoro", "kf", "reverse-kf", "sketch-1", "eprop", "dni"):
    RTRL[word] = [INFLUENCE, LOCAL]


@pytest.mark.parametrize("chain", CHAINS[:3], ids="-".join)
@pytest.mark.parametrize("influence", RTRL)
def test_the_parts_of_every_influence_add_up(influence, chain):
    """Layer-locality is there unless a single cell comes first."""
    if influence == "kf" and "gru" in chain:
        pytest.skip("a GRU has no Kronecker product")
    found = run("rtrl", 1, chain, influence=influence)
    adds_up(found)
    first = chain[0] == "rnn" and chain.count("rnn") == 1
    assert applying(found) == [cause for cause in RTRL[influence] if not (first and cause == LOCAL)]


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
@pytest.mark.parametrize(
    ("rule", "options", "causes"),
    [
        ("bptt", {}, []),
        ("checkpointed_bptt", {"segment": 2}, []),
        ("tbptt", {"steps": 1}, [TRUNCATED]),
        ("tbptt", {"steps": 3}, [TRUNCATED]),
        (pc.rtrl.online, {"optimizer": pc.SGD(0.1)}, [STALE]),
        (pc.rtrl.online, {"optimizer": pc.Adam(0.01), "influence": "local"}, [STALE, LOCAL]),
    ],
    ids=str,
)
def test_the_parts_of_the_other_rules_in_time_add_up(chain, rule, options, causes):
    """BPTT, truncated or with checkpoints, and learning at every step."""
    found = run(rule, 1, chain, **options)
    adds_up(found)
    single = len({"rnn", "lru"} & {chain[0]}) and chain.count("rnn") < 2
    assert applying(found) == [cause for cause in causes if not (single and cause == LOCAL)]


TPC = [
    {"influence": influence, "carry": carry, "inference": inference}
    for influence in (
        None,
        "plain",
        "implicit",
        "diag",
        "local",
        "exact",
        "snap-1",
        "uoro",
        "rflo",
        "eprop",
        "dni",
    )
    for carry in ("state", "prediction")
    for inference in ("spc", "epc", "newton", "fixed")
    if not (inference == "fixed" and carry == "state" and influence in ("implicit", "diag"))
]


@pytest.mark.parametrize("chain", [("rnn", "dense", "dense"), ("gru", "rnn", "dense")], ids="-".join)
@pytest.mark.parametrize("options", TPC, ids=lambda o: "-".join(map(str, o.values())))
def test_the_parts_of_every_tpc_add_up(options, chain):
    """All of influence, carry and inference; which causes apply follows from the three."""
    influence, carry, inference = options.values()
    found = run("tpc", 2, chain, beta=0.5, **options)
    adds_up(found)
    one, fixed = chain[0] == "rnn", inference == "fixed"
    whole = influence in ("plain", "exact", "diag") or (influence == "local" and one)
    approximated = influence in ("snap-1", "uoro", "rflo", "eprop", "dni")
    applies = {
        INFERENCE: not fixed,
        UNDAMPED: whole and carry == "state" and not fixed,
        BETA: not (fixed and carry == "prediction"),
        INFLUENCE: approximated,
        LOCAL: (approximated or influence == "local") and not one,
        TRUNCATED: influence is None,
    }
    assert applying(found) == [cause for cause, there in applies.items() if there]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("chain", "options"),
    [
        (("lru", "dense"), {"influence": "plain"}),
        (("lru", "dense"), {"influence": "diag"}),
        (("rnn", "rtu", "dense"), {"influence": "plain", "carry": "prediction"}),
        (("lstm", "dense"), {"influence": "plain", "start": "previous"}),
        (("rnn", "dense"), {"influence": "plain", "inference_steps": 1}),
        (("rnn",), {"influence": "plain"}),
    ],
    ids=str,
)
def test_the_parts_of_tpc_on_other_cells_add_up(chain, options):
    """Where the damped influence cannot be had, a note says so and it stands in finite beta."""
    found = run("tpc", 5, chain, **options)
    adds_up(found)
    without = chain[0] == "lru"
    assert (UNDAMPED in found.parts) != (without or options.get("carry") == "prediction")
    assert ("counted as finite beta" in " ".join(found.notes)) == without


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_the_other_losses_in_time(loss):
    """Inference has no closed form there."""
    found = run("tpc_rtrl", 3, drawn={"loss": loss})
    adds_up(found)
    assert applying(found) == [INFERENCE, UNDAMPED, BETA]


def test_resets_and_learned_initial_states_in_time():
    """They go to every gradient on the way."""
    data, more, p = sequence(4, ("rnn", "rnn", "dense"), reset=True)
    found = check.audit(data[0], "tpc", *data[1:], **more, reset=p.reset, influence="snap-1")
    adds_up(found)
    expected = time_ad.loss_gradient(*p.arguments)
    assert_same(found.exact, named(expected))
    data, more, _ = sequence(4, ("rnn", "dense"), learn_h0=True)
    found = check.audit(data[0], "tbptt", *data[1:], mask=more["mask"], steps=2)
    adds_up(found)
    assert np.abs(found.parts[TRUNCATED]["h0[1]"]).max() > 1e-4


# ---------------------------------------------------------------------- each cause alone, against another computation


def test_truncated_bptt_is_truncation_alone():
    """What is missing is what autograd says of (BPTT.4)."""
    for steps in (1, 2, 4):
        _, _, p = sequence(7, ("rnn", "rnn", "dense"))
        found = run("tbptt", 7, ("rnn", "rnn", "dense"), steps=steps)
        expected = difference(
            time_ad.truncated_gradient(*p.arguments, steps=steps), time_ad.loss_gradient(*p.arguments)
        )
        assert_part(found.parts[TRUNCATED], expected, 1e-9)
        alone(found, TRUNCATED)
    assert run("tbptt", 7, steps=6).only_rounding


def test_snap_on_one_cell_is_influence_approximation_alone():
    """The numbers are those of loops over the masked recursion."""
    data, more, p = sequence(8, ("rnn",))
    found = check.audit(data[0], "rtrl", *data[1:], **more, influence="snap-1")
    steps = approximate.linearised(p)
    masked = [approximate.snap(lane, 1) for lane in steps]
    expected = difference(approximate.gradient(p, masked), time_ad.loss_gradient(*p.arguments))
    assert_part(found.parts[INFLUENCE], expected, 1e-9)
    alone(found, INFLUENCE)


def test_a_stack_with_a_local_influence_is_locality_alone():
    """Below the last cell alone, as autograd says of (STACK.4)."""
    data, more, p = sequence(9, ("rnn", "gru", "dense"))
    found = check.audit(data[0], "rtrl", *data[1:], **more, influence="local")
    expected = difference(time_ad.layer_local_gradient(*p.arguments), time_ad.loss_gradient(*p.arguments))
    for name, part in found.parts[LOCAL].items():
        assert np.abs(part - expected[name]).max() < 1e-12
        assert (np.abs(part).max() > 1e-4) == name.endswith("[1]")
    alone(found, LOCAL)


def test_an_approximation_in_a_stack_is_split_at_the_local_influence():
    """Influence approximation is snap-1 - local, layer-locality local - exact."""
    data, more, p = sequence(10, ("rnn", "rnn", "dense"))
    found = check.audit(data[0], "rtrl", *data[1:], **more, influence="snap-1")
    local = time_ad.layer_local_gradient(*p.arguments)
    snap = pc.rtrl.gradient(*data, **more, influence="snap-1")
    assert_part(found.parts[INFLUENCE], difference(snap.grads, local), 1e-9)
    above = [name for name in found.exact if not name.endswith("[1]")]
    assert all(np.abs(found.parts[LOCAL][name]).max() < 1e-12 for name in above)
    assert found.part(LOCAL).size > 1e-3


@pytest.mark.parametrize("rule", ["bptt", "checkpointed_bptt", "rtrl"])
def test_rules_that_are_exact_in_time_have_no_difference(rule):
    """In a stack, too."""
    found = run(rule, 11, ("rnn", "gru", "dense"))
    assert found.only_rounding
    assert applying(found) == []


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("z_il", {}),
        ("fixed_prediction", {"step_size": 1.0, "inference_steps": 3}),
        ("fixed_prediction", {"step_size": 0.5, "inference_steps": 80}),
        ("pc_alm", {"inference_steps": 4000, "step_size": 0.2}),
    ],
)
def test_rules_that_are_backprop_have_no_difference(rule, options):
    """With the predictions or Jacobians of the feedforward pass, or multipliers at rest."""
    data, _ = sample()
    found = check.audit(data[0], rule, *data[1:], **options)
    assert found.only_rounding
    assert "equal to rounding" in str(found)


def test_fixed_prediction_tpc_is_bptt():
    """(TPR.10): nothing of the tPC causes is left."""
    found = run("tpc_rtrl", 12, ("rnn", "gru", "dense"), carry="prediction", inference="fixed", beta=0.7)
    assert found.only_rounding
    assert applying(found) == []


def of_errors(p, eps, beta, top):
    """The local gradient at closed-form errors of a linear net, divided by beta; ``top`` weighs the output error."""
    s = [p.x]
    for q, e in zip(p.params, eps[1:], strict=False):
        s.append(s[-1] @ q["W"].T + q["b"] + e)
    last = top(s[-1] @ p.params[-1]["W"].T + p.params[-1]["b"])
    pairs = zip([*eps[1:], last], s, strict=True)
    return [{"W": -e.T @ below / beta, "b": -e.sum(axis=0) / beta} for e, below in pairs]


def closed_form(rule, p, beta):
    """The rule's gradient at its equilibrium, in a linear net (LIN.3), (sPC.15)-(sPC.17)."""
    if rule == "target_interpolation":
        yhat = p.y - cf.residual(p.params, p.x, p.y)
        nearer = yhat + beta * (p.y - yhat)
        return of_errors(p, cf.interpolated_errors(p.params, p.x, p.y, beta), beta, lambda out: nearer - out)
    if rule in ("nudged", "centred"):
        nudges = [
            of_errors(p, cf.nudged_errors(p.params, p.x, p.y, w), w, lambda out, w=w: w * (p.y - out))
            for w in ((beta,) if rule == "nudged" else (beta, -beta))
        ]
        return [{k: sum(n[l][k] for n in nudges) / len(nudges) for k in "Wb"} for l in range(len(p.params))]
    return cf.weight_gradient(cf.equilibrium(p.params, p.x, p.y))


@pytest.mark.parametrize("rule", ["spc", "epc", "top_down", "nudged", "centred", "target_interpolation"])
def test_the_equilibrium_of_a_linear_network_is_the_closed_form(rule):
    """(LIN.3): finite beta is the local gradient at Omega^-1 r, minus backprop's."""
    options = {"sizes": [3, 5, 4, 2], "activation": "identity", "output": "identity", "form": "post"}
    p = spatial(np.random.default_rng(3), **options, loss="mse", precision=None, gain=0.5)
    beta = {"beta": 0.25} if rule in ("nudged", "centred", "target_interpolation") else {}
    found = check.audit(network(p), rule, p.params, p.x, p.y, inference_steps=3, **beta)
    rest, exact = closed_form(rule, p, 0.25), ad.loss_gradient(p.layers, p.params, p.x, p.y, "mse")
    assert_part(found.parts[BETA], difference(rest, exact), 1e-9)
    assert_part(found.parts[INFERENCE], difference([*_by_layer(found.given)], rest), 1e-9)
    assert found.part(BETA).size > 0.01


def _by_layer(leaves):
    """Dicts W, b of the layers."""
    for l in range(1, len(leaves) // 2 + 1):
        yield {"W": leaves[f"W[{l}]"], "b": leaves[f"b[{l}]"]}


def test_the_equilibrium_is_that_of_many_steps():
    """Newton's method ends where ten thousand small steps end."""
    data, _ = sample(5)
    found = check.audit(data[0], "spc", *data[1:], inference_steps=5)
    rest = pc.spc.gradient(*data, inference_steps=20000, step_size=0.1)
    assert rest.residual.max() < 1e-12
    assert_part(found.parts[INFERENCE], difference([*_by_layer(found.given)], rest.grads), 1e-8)


@pytest.mark.parametrize(("rule", "factor"), [("nudged", 2), ("centred", 4)])
def test_converged_nudging_is_finite_beta_alone_and_shrinks_with_it(rule, factor):
    """With half of beta half of it is left of one nudge, a quarter of two opposite ones."""
    data, _ = sample(6)
    sizes = []
    for beta in (2e-2, 1e-2):
        found = check.audit(data[0], rule, *data[1:], beta=beta, inference_steps=1500, step_size=0.3)
        assert found.part(INFERENCE).size < 1e-9
        assert found.shares[BETA] == pytest.approx(1, abs=1e-5)
        sizes.append(found.part(BETA).size)
    assert sizes[0] / sizes[1] == pytest.approx(factor, rel=0.15)
    assert sizes[0] > 1e-5


def test_the_beta_of_target_interpolation_does_not_help():
    """Its equilibrium is not backprop's for any beta (sPC.15)."""
    data, _ = sample(6)
    found = [
        check.audit(data[0], "target_interpolation", *data[1:], beta=beta).part(BETA).size
        for beta in (0.1, 1e-3)
    ]
    assert min(found) > 0.1


@pytest.mark.parametrize("rule", ["spc", "epc", "top_down", "momentum", "fixed_prediction"])
def test_more_steps_leave_less_inference(rule):
    """And nothing of it in the end, while finite beta stays what it is."""
    data, _ = sample(7)
    found = [check.audit(data[0], rule, *data[1:], inference_steps=N) for N in (2, 10, 50, 1000)]
    sizes = [f.part(INFERENCE).size for f in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1e-3
    assert sizes[-1] < 1e-10
    if rule != "fixed_prediction":
        assert_part(found[0].parts[BETA], found[-1].parts[BETA], 1e-9)


def test_more_steps_leave_less_inference_in_time():
    """In temporal predictive coding, too."""
    sizes = [
        run("tpc_rtrl", 13, ("rnn", "dense", "dense"), inference_steps=N).part(INFERENCE).size
        for N in (2, 10, 50, 1500)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.05
    assert sizes[-1] < 1e-10


def test_weights_that_stay_make_incremental_pc_spc():
    """(sPC.13): stale weights vanish with the learning rate, linearly; the rest is the audit of sPC."""
    data, _ = sample(8)
    ordinary = check.audit(data[0], "spc", *data[1:], **N)
    found = [
        check.audit(data[0], "incremental", *data[1:], optimizer=pc.SGD(rate), **N)
        for rate in (1e-2, 1e-3, 1e-4)
    ]
    sizes = [f.part(STALE).size for f in found]
    assert sizes[0] > 1e-4
    assert sizes[0] / sizes[1] == pytest.approx(10, rel=0.2)
    assert sizes[1] / sizes[2] == pytest.approx(10, rel=0.05)
    for cause in (INFERENCE, BETA):
        assert_part(found[0].parts[cause], ordinary.parts[cause], 1e-9)


def test_learning_at_every_step_is_stale_weights_alone_and_vanishes_with_the_rate():
    """Linearly (T40); the numbers are those of rtrl.staleness, which takes the batch's sum: the mean times B."""
    data, more, _ = sequence(14, mask=False)
    sizes = []
    for rate in (1e-3, 1e-4):
        online = {"optimizer": pc.SGD(2 * rate)}
        found = check.audit(data[0], pc.rtrl.online, *data[1:], h0=more["h0"], **online)
        stale = pc.rtrl.staleness(*data, h0=more["h0"], learning_rate=rate)
        assert_part(found.parts[STALE], difference(stale.online, stale.frozen), 1e-7)
        assert found.shares[STALE] == pytest.approx(1)
        sizes.append(found.part(STALE).size)
    assert sizes[0] > 1e-4
    assert sizes[0] / sizes[1] == pytest.approx(10, rel=0.1)


def test_lengths_say_which_lanes_count_online():
    """A step in which no lane counts makes no update, and every step is weighed by its lanes."""
    data, more, _ = sequence(15, mask=False)
    T = len(data[2])
    table = np.arange(T)[:, None] < np.array([3, 4])
    options = {"h0": more["h0"], "optimizer": pc.SGD(0.1)}
    a = check.audit(data[0], pc.rtrl.online, *data[1:], mask=np.array([3, 4]), **options)
    b = check.audit(data[0], pc.rtrl.online, *data[1:], mask=table, **options)
    assert_same(a.given, b.given, 0)
    still = check.audit(
        data[0], pc.rtrl.online, *data[1:], mask=table, h0=more["h0"], optimizer=pc.SGD(1e-12)
    )
    assert_same(still.given, named(pc.bptt.gradient(*data, mask=table, h0=more["h0"])), 1e-9)


# ---------------------------------------------------------------------- tPC, against autograd through the inferred states


@pytest.mark.parametrize(
    "chain", [("rnn", "dense"), ("rnn", "dense", "dense"), ("rnn", "gru", "dense")], ids="-".join
)
def test_the_parts_of_tpc_are_those_of_the_theory(chain):
    """Undamped is plain - implicit, finite beta the gradient of (1/beta) sum F* - BPTT, by autograd (TPR.8)."""
    data, more, p = sequence(16, chain)
    options = {"carry": "state", "beta": 0.6}
    found = check.audit(data[0], "tpc_rtrl", *data[1:], **more, **options)
    plain = tpc_ad.gradient(*p.arguments, influence="plain", **options)
    implicit = tpc_ad.gradient(*p.arguments, influence="implicit", **options)
    exact = time_ad.loss_gradient(*p.arguments)
    assert_live(exact)
    cells = [
        name for name in found.exact if int(name[-2]) <= chain.index("dense")
    ]  # plain: readouts learn locally
    for name in cells:
        assert_same(found.parts[UNDAMPED][name], difference(plain, implicit)[name], 1e-7)
    assert_part(found.parts[BETA], difference(implicit, exact), 1e-7)
    assert found.part(UNDAMPED).size > 1e-3
    damped = check.audit(data[0], "tpc_rtrl", *data[1:], **more, influence="implicit", **options)
    assert_same(damped.parts[BETA], difference(implicit, exact), 1e-7)
    assert UNDAMPED not in damped.parts


def test_undamped_is_within_the_certificate():
    """(TPR.13) bounds it without another influence."""
    data, more, _ = sequence(17, ("rnn", "dense"))
    found = check.audit(data[0], "tpc_rtrl", *data[1:], **more, beta=0.8)
    bound = pc.tpc.certificate(*data, **more, beta=0.8, inference="newton").total.sum()
    size = np.sqrt(sum((part**2).sum() for part in found.parts[UNDAMPED].values()))
    assert 0.01 * bound < size < bound


def test_no_history_is_truncation_to_one_step():
    """(tPC.10): as beta goes to zero tPC is tBPTT(1); the rest is finite beta, by autograd (tPC.7)."""
    data, more, p = sequence(18, ("rnn", "dense", "dense"))
    exact, one = time_ad.loss_gradient(*p.arguments), time_ad.truncated_gradient(*p.arguments, steps=1)
    stopped = tpc_ad.stop_gradient(*p.arguments, carry="state", beta=0.6)
    found = check.audit(data[0], "tpc", *data[1:], **more, beta=0.6)
    assert_part(found.parts[TRUNCATED], difference(one, exact), 1e-9)
    assert_part(found.parts[BETA], difference(stopped, one), 1e-7)
    assert found.part(TRUNCATED).size > 1e-3


def test_envelopes_along_the_free_trajectory_are_finite_beta_alone():
    """(TPR.9), with the prediction carried."""
    data, more, p = sequence(19, ("rnn", "dense"))
    options = {"carry": "prediction", "beta": 0.6}
    found = check.audit(data[0], "tpc_rtrl", *data[1:], **more, inference="newton", **options)
    envelopes = tpc_ad.gradient(*p.arguments, influence="plain", **options)
    assert_part(found.parts[BETA], difference(envelopes, time_ad.loss_gradient(*p.arguments)), 1e-7)
    alone(found, BETA, 1e-8)


@pytest.mark.parametrize("influence", [None, "plain", "implicit", "diag", "snap-1"])
def test_finite_beta_of_tpc_vanishes_with_beta(influence):
    """A decade of beta is a decade of it; the causes of the influence stay what they are."""
    found = [
        run("tpc", 20, ("rnn", "dense"), influence=influence, beta=beta, inference="newton")
        for beta in (1e-2, 1e-3)
    ]
    sizes = [f.part(BETA).size for f in found]
    assert 8 < sizes[0] / sizes[1] < 12
    for cause in (INFLUENCE, TRUNCATED):
        assert (cause in found[0].parts) == ({None: TRUNCATED, "snap-1": INFLUENCE}.get(influence) == cause)
        if cause in found[0].parts:
            assert_part(found[0].parts[cause], found[1].parts[cause], 1e-9)


def test_precisions_of_tpc():
    """Of the state, SPD, and of the readout; that of the output weighs the loss, in BPTT, too."""
    data, more, p = sequence(21, ("rnn", "dense"))
    rng, N, o = np.random.default_rng(0), p.params[0]["W"].shape[1], p.targets.shape[2]
    Pi, weight = spd(rng, N), spd(rng, o)
    options = {"precision": [Pi, weight], "beta": 0.5}
    found = check.audit(data[0], "tpc_rtrl", *data[1:], **more, **options)
    adds_up(found)
    implicit = tpc_ad.gradient(*p.arguments, influence="implicit", carry="state", **options)
    assert_part(found.parts[BETA], difference(implicit, found_exact(p, weight)), 1e-6)
    assert "precision of the output" in " ".join(found.notes)


def test_a_precision_of_the_output_stays_where_nothing_is_inferred():
    """With inference "fixed" and the state carried."""
    data, more, p = sequence(21, ("rnn", "dense"))
    weight = spd(np.random.default_rng(0), p.targets.shape[2])
    found = check.audit(
        data[0], "tpc", *data[1:], **more, inference="fixed", beta=0.5, precision=[None, weight]
    )
    adds_up(found)
    assert applying(found) == [BETA, TRUNCATED]
    assert_same(found.exact, named(found_exact(p, weight)))


def found_exact(p, weight):
    """BPTT of the weighed squared error, by turning the readout and the targets with a root of the weight."""
    root = np.linalg.cholesky(weight).T
    turned = [*p.params[:-1], {"W": root @ p.params[-1]["W"], "b": root @ p.params[-1]["b"]}]
    g = time_ad.loss_gradient(p.blocks, turned, p.inputs, p.targets @ root.T, *p.arguments[4:])
    return [*g[:-1], {"W": root.T @ g[-1]["W"], "b": root.T @ g[-1]["b"]}]


# ---------------------------------------------------------------------- a rule of one's own


IN_SPACE_OF = {"spc": "spc", "inference": "spc", "epc": "epc", "backprop": "backprop"}
IN_SPACE_OF |= {
    "sPC.11": "top_down",
    "MOM.1": "momentum",
    "sPC.13": "incremental",
    "sPC.15": "target_interpolation",
}
IN_SPACE_OF |= {
    "sPC.16": "nudged",
    "sPC.17": "centred",
    "sPC.20": "pc_alm",
    "ZIL.1": "z_il",
    "FPA.1": "fixed_prediction",
}
STACK = ("rnn", "rnn", "dense", "dense")
IN_TIME = [
    ("tbptt", {"steps": 3}),
    ("checkpointed_bptt", {"segment": 2}),
    ("rtrl", {"influence": "exact"}),
    ("rtrl", {"influence": "hybrid", "block": 2}),
    ("rtrl", {"influence": "local"}),
    (pc.rtrl.online, {"optimizer": pc.SGD(0.1)}),
    ("tpc", {"beta": 0.5}),
    ("tpc", {"beta": 0.5, "influence": "plain"}),
    ("tpc", {"beta": 0.5, "influence": "exact"}),
    ("tpc", {"beta": 0.5, "influence": "implicit"}),
    ("tpc", {"beta": 0.5, "influence": "diag"}),
]
NO_GRADIENT = (
    "sPC.2",
    "sPC.14",
    "sPC.21",
    "BPTT.3",
    "TPR.13",
)  # mistakes in what is no gradient of parameters
SPATIAL = [
    m
    for m in mistakes.MISTAKES.values()
    if (m.module in IN_SPACE_OF or (m.module == "variants" and m.equation in IN_SPACE_OF))
    and m.equation not in NO_GRADIENT
    and m.equation != "ePC.6"  # in a verb that the rule does not use
]
TEMPORAL = [
    m
    for m in mistakes.MISTAKES.values()
    if m.module in ("bptt", "rtrl", "tpc") and m.equation not in NO_GRADIENT and "next stretch" not in m.name
]


def in_space(engine, like, kind):
    """The audit of the engine's rule on a problem with precisions of this kind, where the rule has any."""
    options = dict(IN_SPACE[like][0])
    data, p = sample(9, precision=kind)
    if like not in ("backprop", "z_il"):
        options["precision"] = p.precision
    if like == "epc":
        options |= {"step_size": 0.1}
    module = like if like in ("backprop", "spc", "epc") else "variants"
    function = getattr(getattr(engine, module), "gradient" if module == like else like)
    own = network(p, engine)

    def rule(net, *arguments, **given):
        return function(own, *arguments, **given)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return check.audit(data[0], rule, *data[1:], like=like, **options)


def through_time(engine, like, options, T=8):
    """The audit of the engine's rule on a stack with masks, resets and precisions."""
    data, more, p = sequence(27, STACK, reset=T == 8, T=T)
    if like == "tpc":
        rng, widths = np.random.default_rng(1), [len(q["b"]) for q in p.params[1:]]
        options = options | {"precision": [spd(rng, n) for n in widths]}
    known = pc.RULES.get(like, like)
    function = getattr(getattr(engine, known.__module__.split(".")[-1]), known.__name__)
    own = in_time(engine, p)

    def rule(net, *arguments, **given):
        return function(own, *arguments, **given)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return check.audit(data[0], rule, *data[1:], **more, reset=p.reset, like=like, **options)


@pytest.mark.parametrize("mistake", SPATIAL, ids=lambda m: m.name)
def test_a_mistake_in_space_is_explained_by_no_cause(mistake):
    """Its part is "other"; those of the causes are what they are without it."""
    like = IN_SPACE_OF.get(mistake.module, IN_SPACE_OF.get(mistake.equation))
    kind = "diagonal" if mistake.name == "the precision is inverted" else "full"
    clean, found = (in_space(mistakes.load(name), like, kind) for name in (None, mistake.name))
    assert clean.part(OTHER).size < 1e-11
    assert found.part(OTHER).size > 1e-5
    assert list(found.parts) == list(clean.parts)
    for cause in applying(found):
        assert_part(found.parts[cause], clean.parts[cause], 1e-9)
    assert "is not the one that it should be" in str(found)
    assert "is not the one that it should be" not in str(clean)


@pytest.mark.parametrize("rule", IN_TIME, ids=str)
def test_another_copy_of_a_rule_in_time_has_nothing_other(rule):
    """The clean twin of the mistakes: the same rule, of another engine."""
    found = through_time(mistakes.load(), *rule)
    adds_up(found)
    assert "is not the one that it should be" not in str(found)


@pytest.mark.parametrize("mistake", TEMPORAL, ids=lambda m: m.name)
def test_a_mistake_in_time_is_explained_by_no_cause(mistake):
    """In one of the rules of its module."""
    rules = [
        (like, options)
        for like, options in IN_TIME
        if pc.RULES.get(like, like).__module__ == f"minipc.{mistake.module}"
    ]
    engine = mistakes.load(mistake.name)
    sizes = [through_time(engine, *rule).part(OTHER).size for rule in rules]
    if mistake.module == "tpc":  # some are seen between two blocks of steps alone
        sizes.append(through_time(engine, "tpc", {"influence": "plain"}, T=40).part(OTHER).size)
    assert max(sizes) > 1e-5


def loops(net, params, x, y, inference_steps=20):
    """sPC in a student's own words: explicit states, no tape."""
    s, out = [x], x
    for p in params[:-1]:
        out = np.tanh(out @ p["W"].T + p["b"])
        s.append(out)
    W = [p["W"] for p in params]
    for _ in range(inference_steps + 1):
        mu = [np.tanh(a @ p["W"].T + p["b"]) for a, p in zip(s, params[:-1], strict=False)]
        e = [b - m for b, m in zip(s[1:], mu, strict=True)]
        top = y - (s[-1] @ W[-1].T + params[-1]["b"])
        grads = [
            {"W": -(v * (1 - m * m)).T @ a, "b": -(v * (1 - m * m)).sum(axis=0)}
            for v, m, a in zip(e, mu, s, strict=False)
        ]
        grads.append({"W": -top.T @ s[-1], "b": -top.sum(axis=0)})
        back = [(v * (1 - m * m)) @ w for v, m, w in zip(e[1:], mu[1:], W[1:-1], strict=True)] + [top @ W[-1]]
        s = [x, *(a - 0.1 * (v - d) for a, v, d in zip(s[1:], e, back, strict=True))]
    return grads


def test_a_function_of_ones_own_that_is_right_has_the_parts_of_the_rule():
    """It takes the options that it knows; what it is like takes all of them."""
    data, _ = sample(10)
    found = check.audit(data[0], loops, *data[1:], like=pc.spc.gradient, inference_steps=7, step_size=0.1)
    clean = check.audit(data[0], "spc", *data[1:], inference_steps=7)
    assert found.part(OTHER).size < 1e-12
    assert found.shares[BETA] == pytest.approx(clean.shares[BETA])
    assert found.rule == "test_audit.loops"


def test_of_an_unknown_rule_there_is_the_comparison_alone():
    """And the honest answer to the other question."""
    data, _ = sample(10)
    found = check.audit(data[0], loops, *data[1:], inference_steps=7)
    assert found.parts == {}
    assert found.shares == {}
    assert found.relative_error > 0.1
    assert "is unknown" in str(found)
    assert "check.explain" in str(found)
    assert found.to_dict()["causes"] == {}
    assert "is unknown" in found._repr_html_()


def test_a_rule_in_time_of_ones_own():
    """It is given the mask and the states; a Gradient or its grads are taken."""
    data, more, _ = sequence(22)

    def half(net, params, inputs, targets, mask=None, h0=None):
        assert mask is not None
        assert h0 is not None
        g = pc.bptt.truncated(net, params, inputs, targets, mask, h0, steps=2).grads
        return [{k: 0.5 * v for k, v in q.items()} for q in g]

    found = check.audit(data[0], half, *data[1:], **more, like="tbptt", steps=2)
    clean = check.audit(data[0], "tbptt", *data[1:], **more, steps=2)
    assert_part(found.parts[TRUNCATED], clean.parts[TRUNCATED], 0)
    assert_part(found.parts[OTHER], {k: -0.5 * v for k, v in clean.given.items()}, 1e-12)


def test_a_rule_that_takes_no_initial_states_is_given_none():
    """Data that are drawn suit the function."""
    net = pc.RecurrentNetwork([pc.RNN(3, 4), pc.Dense(4, 2)])
    found = check.audit(
        net, lambda net, params, inputs, targets: pc.bptt.gradient(net, params, inputs, targets)
    )
    assert found.only_rounding


def test_learning_online_with_a_function_of_ones_own():
    """Its gradients are taken from what it gives to the optimiser."""
    data, more, _ = sequence(23)

    def mine(*args, **options):
        return pc.rtrl.online(*args, **options)

    options = {"optimizer": pc.SGD(0.1), "like": pc.rtrl.online}
    found = check.audit(data[0], mine, *data[1:], **more, **options)
    adds_up(found)
    assert found.shares[STALE] == pytest.approx(1)


def test_a_gradient_that_is_not_finite_has_no_parts():
    """The comparison says infinite; no table of nothing."""
    data, _ = sample(10)

    def broken(net, params, x, y):
        g = pc.backprop.gradient(net, params, x, y).grads
        g[0]["W"] = g[0]["W"] * np.nan
        return g

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check.audit(data[0], broken, *data[1:], like="backprop")
        assert found.relative_error == np.inf
        assert found.parts == {}
        assert "not finite" in str(found)
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["relative_error"] is None


def test_arguments_are_not_edited_and_a_rule_that_edits_its_own_does_no_harm():
    """What the rule is given are copies."""
    data, more, _ = sequence(24)
    read_only([data[1:], more])
    expected = pc.bptt.gradient(*data, **more)

    def greedy(net, params, inputs, targets, mask, h0):
        g = pc.bptt.gradient(net, params, inputs, targets, mask, h0)
        params[0]["W"] *= 0
        inputs *= 0
        return g

    found = check.audit(data[0], greedy, *data[1:], **more)
    assert_same(found.exact, named(expected), 0)
    assert found.only_rounding
    found = check.audit(data[0], "tpc", *data[1:], **more, influence="snap-1")
    adds_up(found)


def test_a_generator_of_signs_is_not_used_up():
    """All gradients on the way are of the same draws, and the caller's are still to come."""
    data, more, _ = sequence(25, ("rnn", "rnn", "dense"))
    rng = np.random.default_rng(3)
    before = copy.deepcopy(rng.bit_generator.state)
    a = check.audit(data[0], "rtrl", *data[1:], **more, influence=pc.UORO(rng))
    assert rng.bit_generator.state == before
    b = check.audit(data[0], "rtrl", *data[1:], **more, influence=pc.UORO(np.random.default_rng(3)))
    assert_same(a.given, b.given, 0)
    adds_up(a)


# ---------------------------------------------------------------------- graphs, other blocks, what is drawn


def test_a_graph():
    """Exact is autograd's, by the total derivative of the loss; inference and finite beta as in a chain."""
    net = pc.Dag([pc.Dense(2, 3, "tanh"), pc.Dense(5, 4, "tanh"), pc.Dense(7, 2)], [(0,), (0, 1), (1, 2)])
    rng = np.random.default_rng(0)
    params = [{k: v + 0.2 * rng.normal(size=v.shape) for k, v in p.items()} for p in net.init(0)]
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    found = check.audit(net, pc.dag.gradient, params, x, y, inference_steps=5)
    adds_up(found)
    assert applying(found) == [INFERENCE, BETA]

    def loss(W, place):
        theta = [dict(p) for p in params]
        theta[place]["W"] = W
        eps = y - net_forward(net, theta, x)
        return 0.5 * (eps * eps).sum()

    for l in range(3):
        assert_same(found.exact[f"W[{l + 1}]"], check.complex_step(lambda W, l=l: loss(W, l), params[l]["W"]))
    chain = pc.Dag([pc.Dense(3, 4, "tanh"), pc.Dense(4, 2)], [(0,), (1,)])
    same = pc.Network([pc.Dense(3, 4, "tanh"), pc.Dense(4, 2)])
    data = check.audit(same, "epc", seed=4, step_size=0.1, inference_steps=20)
    graph = check.audit(chain, pc.dag.gradient, seed=4)
    for cause in (INFERENCE, BETA):
        assert_same(graph.parts[cause], data.parts[cause], 1e-9)


def net_forward(net, params, x):
    """The graph's output, also of complex parameters."""
    s = [x]
    for block, p, nodes in zip(net.blocks, params, net.parents, strict=True):
        a = np.concatenate([s[i] for i in nodes], axis=1) @ p["W"].T + p["b"]
        s.append(np.tanh(a) if block.activation == "tanh" else a)
    return s[-1]


NETS = {
    "convolution": lambda: pc.Network(
        [pc.Conv2d(1, 2, 3, activation="relu"), pc.AvgPool2d(2), pc.Flatten(), pc.Dense(8, 3)],
        "cross_entropy",
        input_shape=(1, 6, 6),
    ),
    "residual": lambda: pc.Network(
        [pc.Dense(3, 4, "gelu"), pc.Residual([pc.Dense(4, 4, "tanh")]), pc.LayerNorm(4), pc.Dense(4, 2)]
    ),
    "embedding": lambda: pc.Network([pc.Embedding(5, 3), pc.Dense(3, 2)], input_shape=()),
    "max-pool": lambda: pc.Network(
        [pc.Conv2d(1, 2, 3, activation="tanh"), pc.MaxPool2d(2), pc.Flatten(), pc.Dense(8, 3)],
        "cross_entropy",
        input_shape=(1, 6, 6),
    ),
    "one block": lambda: pc.Network([pc.Dense(3, 2)], "binary_cross_entropy"),
}


@pytest.mark.parametrize("rule", ["spc", "epc", "centred"])
@pytest.mark.parametrize("name", NETS)
def test_other_blocks_and_data_that_are_drawn(name, rule):
    """Newton's method needs first derivatives alone, so every block is passed. A kink has no equilibrium: a note says so."""
    found = check.audit(NETS[name](), rule, seed=1, **({"beta": 0.05} if rule == "centred" else {}))
    adds_up(found)
    assert any("kink" in note for note in found.notes) == (name == "max-pool")
    assert min(np.linalg.norm(v) for v in found.exact.values()) > 1e-6


@pytest.mark.parametrize("kind", ["LSTM", "LRU", "RTU", "ELSTM", "LIF", "embedding"])
def test_sequences_that_are_drawn(kind):
    """Biases, initial states and targets that are not zero; the seed decides."""
    cell = {"LRU": lambda: pc.LRU(3, 4, 2), "embedding": lambda: pc.RNN(3, 4)}.get(
        kind, lambda: getattr(pc, kind)(3, 4)
    )()
    blocks = [pc.Embedding(5, 3)] if kind == "embedding" else []
    net = pc.RecurrentNetwork(
        [*blocks, cell, pc.Dense(cell.n_out, 3)], "cross_entropy", () if blocks else None
    )
    a, b, c = (check.audit(net, "tbptt", steps=2, seed=seed) for seed in (0, 0, 1))
    adds_up(a)
    assert_same(a.given, b.given, 0)
    assert a.relative_error != c.relative_error
    assert min(np.linalg.norm(v) for v in a.exact.values()) > 1e-6


def test_single_precision_stays_and_rounding_is_known_for_it():
    """Equal to rounding means another thing there."""
    data, _ = sample(11)
    net, params, x, y = data[0], *([{k: v.astype("f4") for k, v in p.items()} for p in data[1]], *(a.astype("f4") for a in data[2:]))  # fmt: skip
    found = check.audit(net, "z_il", params, x, y)
    assert 0 < found.relative_error < found.rounding
    assert found.only_rounding
    spc = check.audit(net, "spc", params, x, y)
    assert spc.part(OTHER).size < 1e-5
    assert spc.notes == ()
    wide = check.audit(data[0], "spc", *data[1:])
    assert spc.shares[BETA] == pytest.approx(wide.shares[BETA], abs=1e-3)


def test_the_equilibrium_is_sought_from_the_states_given(monkeypatch):
    """Before the first step of Newton's method the local gradient is that of the rule, where its inference ended."""
    data, p = sample(12, precision="full")
    g = pc.spc.gradient(*data, p.precision, inference_steps=3)
    monkeypatch.setattr(equilibrium, "NEWTON_STEPS", 0)
    Pi = [None, *p.precision]
    found = equilibrium.rest(pc.epc, data[0], data[1], g.states, data[3], Pi)
    assert_same(found.grads, g.grads)
    assert found.residual > 1e-3
    lost = [data[2], *(np.nan * s for s in g.states[1:])]
    at_feedforward = pc.spc.gradient(*data, p.precision, inference_steps=0)
    found = equilibrium.rest(pc.epc, data[0], data[1], lost, data[3], Pi)
    assert_same(found.grads[-1], at_feedforward.grads[-1])


@pytest.mark.parametrize("seed", range(5))
def test_no_step_of_newtons_raises_the_energy(seed, monkeypatch):
    """Also far from the equilibrium, in a net of large weights; and the residual is what is left of dE/de."""
    data, _ = sample(seed, gain=2.0, activation="gelu")
    energies = []
    for steps in range(9):
        monkeypatch.setattr(equilibrium, "NEWTON_STEPS", steps)
        rng, s = np.random.default_rng(seed), pc.spc.feedforward(*data[:3])
        s = [s[0], *(v + 2 * rng.normal(size=v.shape) for v in s[1:])]
        ends = []
        inside = equilibrium.local_gradient
        monkeypatch.setattr(
            equilibrium,
            "local_gradient",
            lambda net, params, at, e=ends, f=inside: e.append(at) or f(net, params, at),
        )
        found = equilibrium.rest(pc.epc, data[0], data[1], s, data[3], [None] * 5)
        monkeypatch.setattr(equilibrium, "local_gradient", inside)
        energies.append(pc.spc.energy(data[0], data[1], ends[0].s, data[3]))
        slope = pc.epc.error_gradient(data[0], data[1], [None, *ends[0].eps[1:-1]], data[2], data[3])
        size = sum((g**2).sum(axis=1) for g in slope[1:]) / sum((x**2).sum(axis=1) for x in ends[0].xi[1:])
        assert found.residual == pytest.approx(float(np.sqrt(size).max()), rel=1e-6, abs=1e-14)
    energies = np.array(energies)
    assert (np.diff(energies, axis=0) <= 1e-9 * energies[:-1]).all()
    assert (energies[-1] < 0.99 * energies[0]).all()


def test_inference_that_diverged_goes_on_from_the_feedforward_pass():
    """A step that is far too long leaves states that are no numbers."""
    data, _ = sample(12)
    with np.errstate(all="ignore"):
        found = check.audit(data[0], "spc", *data[1:], step_size=1e3, inference_steps=400, like="spc")
    assert "not finite" in str(found)
    with np.errstate(all="ignore"):
        found = check.audit(data[0], "spc", *data[1:], step_size=3.0, inference_steps=30)
    adds_up_far(found)


def adds_up_far(found):
    """As :func:`adds_up`, where the parts are huge and "other" is rounding of them."""
    for name, g in found.given.items():
        parts = [part[name] for part in found.parts.values()]
        scale = max(np.abs(v).max() for v in [*parts, g])
        assert np.abs(sum(parts) - (g - found.exact[name])).max() <= 1e-14 * scale
    assert found.part(OTHER).size < 1e-11 * max(found.part(INFERENCE).size, 1)


# ---------------------------------------------------------------------- what is shown


def test_sizes_shares_and_cosines_are_what_they_say():
    """(CHK.15), over one parameter and over all of them."""
    found = run("tpc", 26, ("rnn", "rnn", "dense"), influence="snap-1", beta=0.4)
    for name in (None, *found.exact):
        names = found.exact if name is None else [name]
        flat = lambda tree, names=names: np.concatenate([tree[n].ravel() for n in names])  # noqa: E731
        d = flat(found.given) - flat(found.exact)
        for cause, part in found.parts.items():
            p, got = flat(part), found.part(cause, name)
            assert got.size == pytest.approx(np.linalg.norm(p) / np.linalg.norm(flat(found.exact)))
            if np.linalg.norm(d) > 1e-9 and np.linalg.norm(p) > 1e-9:
                assert got.share == pytest.approx(p @ d / (d @ d))
                assert got.cosine == pytest.approx(p @ d / np.linalg.norm(p) / np.linalg.norm(d))
    assert found.part(STALE) == (0, 0, 0)
    assert found.comparison.rows == check.compare(found.given, found.exact).rows


def test_the_tables():
    """Every parameter, every cause that applies with its meaning, the others as not applying."""
    found = run("tpc", 26, ("rnn", "rnn", "dense"), influence="snap-1", beta=0.4)
    printed, page, numbers = (
        str(found),
        found._repr_html_(),
        json.loads(json.dumps(found.to_dict(), allow_nan=False)),
    )
    for name in found.exact:
        assert name in printed
        assert name in page
        assert sum(numbers["causes"][c]["parameters"][name]["share"] for c in CAUSES) == pytest.approx(
            1, abs=1e-6
        )
    for cause, meaning in CAUSES.items():
        applies = cause in found.parts
        assert numbers["causes"][cause]["applies"] == applies
        assert (meaning in printed) == (applies and cause != OTHER)
        assert cause in printed
        assert cause in page
    assert f"relative error {found.relative_error:.2g}" in printed.splitlines()[0]
    assert max(found.shares, key=found.shares.get) in printed.splitlines()[0]
    assert max(map(len, printed.splitlines())) < 125
    assert "-0.0 %" not in printed
    assert "another order" in printed
    assert "another order" not in str(run("bptt", 26))
    rows = {
        line.split()[0]: line.split() for line in str(run("tbptt", 26, steps=2)).splitlines() if "[" in line
    }
    assert rows["W[1]"][-4:] == ["100.0", "%", "0.0", "%"]
    assert rows["W[2]"][-2:] == ["-", "-"]  # the readout does not differ: of nothing there are no shares


def test_the_figure():
    """Bars to the left and the right of zero that add up to the dot: the relative error."""
    pytest.importorskip("matplotlib")
    found = run("tpc", 26, ("rnn", "rnn", "dense"), influence="snap-1", beta=0.4)
    left, right = found.plot().axes
    names = [None, *found.exact]
    widths = dict.fromkeys(range(len(names)), 0.0)
    for bar in left.patches:
        widths[round(bar.get_y() + bar.get_height() / 2)] += bar.get_width()
    dots = left.lines[0].get_xdata()
    assert dots[0] == pytest.approx(found.relative_error)
    assert list(widths.values()) == pytest.approx(list(dots), abs=1e-6)
    assert [t.get_text() for t in left.get_yticklabels()][:2] == ["all", "$W_{1}$"]
    assert [bar.get_width() for bar in right.patches] == pytest.approx(
        [found.part(c).size for c in found.parts]
    )
    low, high = left.get_xlim()
    assert low < min(b.get_x() for b in left.patches) <= max(dots) < high


@pytest.mark.parametrize("rule", ["z_il", loops])
def test_a_figure_of_nothing_and_one_of_the_unknown(rule):
    """No parts, or none that is more than rounding: the title says so."""
    pytest.importorskip("matplotlib")
    data, _ = sample(10)
    figure = check.audit(data[0], rule, *data[1:]).plot()
    assert ("cause unknown" if rule is loops else "equal to rounding") in figure._suptitle.get_text()


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1.0])
def test_the_figure_of_infinite_errors(factor):
    """Not finite, or something where there should be nothing: the sign of infinity, and no warning."""
    pytest.importorskip("matplotlib")
    net = pc.Network([pc.Dense(2, 3, "relu"), pc.Dense(3, 2)])
    params = [
        {"W": np.ones((3, 2)), "b": -9 * np.ones(3)},
        {"W": np.ones((2, 3)), "b": np.ones(2)},
    ]  # all asleep

    def wrong(net, params, x, y):
        return [
            {k: factor * (v + 1) for k, v in g.items()} for g in pc.backprop.gradient(net, params, x, y).grads
        ]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check.audit(net, wrong, params, np.ones((2, 2)), np.zeros((2, 2)))
        figure = found.plot()
        assert "inf" in str(found)
    infinite = [row for row in found.comparison.rows if row.relative_error == np.inf]
    assert len(infinite) == (3 if factor == 1 else 4)
    shown = sum("infty" in text.get_text() for text in figure.axes[0].texts)
    assert shown == len(infinite) + (found.relative_error == np.inf)
    assert json.dumps(found.to_dict(), allow_nan=False)


# ---------------------------------------------------------------------- what is refused


def twice(net, params, inputs, targets, h0=None, *, optimizer):
    """More updates than steps."""
    for _ in range(2):
        pc.rtrl.online(net, params, inputs, targets, h0=h0, optimizer=optimizer)


CHAIN = pc.Network([pc.Dense(3, 4, "tanh"), pc.Dense(4, 2)])
TIME = pc.RecurrentNetwork([pc.RNN(3, 4), pc.Dense(4, 2)])
GRAPH = pc.Dag([pc.Dense(3, 2)], [(0,)])


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, "rule must be one of", lambda: check.audit(CHAIN, "bp")),
        (TypeError, "name or a function", lambda: check.audit(CHAIN, 3)),
        (TypeError, "net must be a Network", lambda: check.audit(pc.Dense(3, 2), "spc")),
        (TypeError, "has no option beta", lambda: check.audit(CHAIN, "spc", beta=1.0)),
        (TypeError, "needs the option steps", lambda: check.audit(TIME, "tbptt")),
        (TypeError, "needs the option beta", lambda: check.audit(CHAIN, "nudged")),
        (ValueError, "steps must be at least 1", lambda: check.audit(TIME, "tbptt", steps=0)),
        (TypeError, "optimizer must be one such as", lambda: check.audit(CHAIN, "incremental")),
        (TypeError, "optimizer must be one such as", lambda: check.audit(TIME, pc.rtrl.online)),
        (TypeError, "is for samples", lambda: check.audit(TIME, "spc")),
        (TypeError, "needs a RecurrentNetwork|for Sequences", lambda: check.audit(CHAIN, "bptt")),
        (TypeError, "dag.gradient", lambda: check.audit(GRAPH, "spc")),
        (TypeError, "dag.gradient", lambda: check.audit(CHAIN, pc.dag.gradient)),
        (TypeError, "mask belongs to a RecurrentNetwork", lambda: check.audit(CHAIN, "spc", mask=np.ones((1, 1), bool))),
        (ValueError, "like must be a rule of minipc", lambda: check.audit(CHAIN, loops, like=lambda n, p, x, y: None)),
        (ValueError, "audit whole sequences", lambda: check.audit(TIME, "rtrl", carry=1)),
        (ValueError, "seed must be", lambda: check.audit(CHAIN, "spc", seed=-1)),
        (TypeError, "must return a Gradient", lambda: check.audit(CHAIN, lambda n, p, x, y: 3)),
        (ValueError, "structures differ", lambda: check.audit(CHAIN, lambda n, p, x, y: p[:1])),
        (TypeError, "must be real", lambda: check.audit(CHAIN, lambda n, p, x, y: [{k: 1j * v for k, v in q.items()} for q in p])),
        (ValueError, "must have shape", lambda: check.audit(CHAIN, "spc", None, np.ones((2, 5)))),
        (TypeError, "inputs", lambda: check.audit(CHAIN, "spc", None, [[1.0, 2.0, 3.0]])),
        (TypeError, "params", lambda: check.audit(CHAIN, "spc", {"W": 1})),
        (ValueError, "must make 6 updates", lambda: check.audit(TIME, twice, like=pc.rtrl.online, optimizer=pc.SGD(0.1))),
        (ValueError, "cause must be one of", lambda: check.audit(CHAIN, "spc").part("noise")),
        (ValueError, "parameter must be one of", lambda: check.audit(CHAIN, "spc").part(BETA, "V")),
        (ValueError, "Pi", lambda: check.audit(CHAIN, loops, like="spc", precision=[-1.0, None])),
    ],
)  # fmt: skip
def test_what_is_refused(error, words, call):
    """By name, before or instead of a table."""
    with pytest.raises(error, match=words):
        call()
