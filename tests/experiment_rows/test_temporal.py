"""The four commands about time: their log and file, each with tiny settings, and the arithmetic of their tables."""

import json

import numpy as np
import pytest

import minipc as pc
from experiments import adaptation, bias, copy, nanodrone, temporal
from experiments.log import Log
from minipc.data.series import Flight

# The command


def section(run, configs=None):
    """A section whose runs are numbers."""
    configs = [{"seed": s} for s in (1, 2, 3)] if configs is None else configs
    return temporal.Section(
        "bias", "A title", lambda: configs, run, lambda runs: temporal.spread([r["value"] for r in runs])
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Where log and results go; the results have the sections of the test alone."""

    def go(part):
        monkeypatch.setattr(temporal, "sections", lambda: [part])
        return temporal.command(
            part, ["--log", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "OUT.md")]
        )

    go.log, go.out = tmp_path / "log.jsonl", tmp_path / "OUT.md"
    return go


def test_a_stopped_command_goes_on_and_repeats_nothing(files, capsys):
    """Ctrl-C in the second run: the first is kept, 130; then two more runs, then none; the file has all three."""
    calls = []

    def run(config):
        calls.append(config["seed"])
        if calls == [1, 2]:
            raise KeyboardInterrupt
        return {"value": float(config["seed"])}

    assert files(section(run)) == 130
    assert not files.out.exists()
    assert "goes on" in capsys.readouterr().err
    with files.log.open("ab") as file:
        file.write(b'{"config": {"se')  # half a line, as a kill leaves it
    assert files(section(run)) == 0
    assert calls == [1, 2, 2, 3]
    written = files.out.read_text()
    assert "2 [1..3]" in written
    assert "3 runs" in written
    assert "missing" not in written
    assert files(section(run)) == 0
    assert calls == [1, 2, 2, 3]
    assert files.out.read_text() == written


def test_wrong_files_are_wrong_usage(files, tmp_path, capsys):
    """A log that is none is left as it is; a folder that does not exist."""
    files.log.write_text("notes\n")
    assert files(section(None)) == 2
    assert files.log.read_text() == "notes\n"
    assert "no log" in capsys.readouterr().err
    part = section(None)
    assert temporal.command(part, ["--log", str(tmp_path / "no" / "log"), "--out", str(files.out)]) == 2


def done(part, values, **config):
    """Made lines of a log, one for every configuration of the section."""
    return [
        {"config": {"section": part.name, **c, **config}, "value": v, "processor_seconds": 60.0,
         "versions": {"numpy": "2"}, "blas_threads": "1"}
        for c, v in zip(part.configs(), values, strict=False)
    ]  # fmt: skip


def test_only_planned_runs_count_and_each_once():
    """Not those of another section, another setting, or a second time; what is missing is said; seconds are added."""
    part = section(None)
    runs = done(part, [1.0, 2.0])
    others = done(part, [50.0] * 3, section="copy") + done(part, [60.0] * 3, updates=7) + done(part, [70.0])
    text = temporal.markdown(runs + others, [part])
    assert "1.5 [1..2]" in text
    assert "2 runs, 2 minutes of one core; **1 runs are missing**" in text
    assert "A title" in temporal.markdown([], [part])


def test_spread():
    """By hand; nothing, and what is not finite, say so."""
    assert temporal.spread([1.0, 2.0, 6.0]) == "3 [1..6]"
    assert temporal.spread([99.954, 99.996], "{:.2f}") == "99.97 [99.95..100.00]"
    assert temporal.spread([]) == "–"
    assert temporal.spread([1.0, "nan"]) == temporal.spread([1.0, float("inf")]) == "diverges"


def test_cosine_and_scale():
    """All parameters together, in whichever order they stand."""
    a = [{"b": np.array([3.0]), "W": np.array([[4.0]])}, {}]
    b = [{"W": np.array([[1.0]]), "b": np.array([0.0])}, {}]
    assert temporal.cosine_of(a, b) == pytest.approx(0.8)
    assert temporal.scaled(a, 0.5)[0]["W"] == 2


def test_the_results_are_those_of_the_log():
    """Both files are in the repository; every planned run is there."""
    runs = Log(temporal.HERE / "temporal.jsonl").runs()
    for part in temporal.sections():
        assert len(temporal.planned(part, runs)) == len(part.configs()), part.name
    assert (temporal.HERE / "TEMPORAL.md").read_text(encoding="utf-8") == temporal.markdown(runs)


# Bias


def test_bias_exact_lines():
    """Two rules are the gradients of their energies, the others of nothing; all but tPC go to BPTT. Seed and beta of no run."""
    near, far = (bias.run({"seed": 5, "beta": beta}) for beta in (0.03, 0.3))
    for found, beta in ((near, 0.03), (far, 0.3)):
        own = found["to_energy"]
        assert max(own["(x, implicit)"], own["(mu, plain)"]) < 1e-11 / beta
        assert own["tPC (x, none)"] > 10 * own["paper (x, plain)"] ** 2 > 1e-6
    for name in bias.RULES:
        ratio = far["error"][name] / near["error"][name]
        assert ratio < 2 if "none" in name else 5 < ratio < 14


def test_bias_energy_gradient_is_that_of_the_loss_for_small_beta():
    """F*/beta is the loss but for O(beta), along the free trajectory: BPTT of the engine."""
    net, params, u, y, h0 = bias.problem(7)
    exact = bias._theta(pc.bptt.gradient(net, params, u, y, h0=[h0]).grads)
    off = [
        bias._distance(bias.energy_gradient(params, u, y, h0, beta, "prediction"), exact)
        for beta in (1e-3, 1e-4)
    ]
    assert off[0] < 5e-3
    assert 9 < off[0] / off[1] < 11


def bias_runs(change=1.0, decade=10.0):
    """Made runs: exactly what was measured before, the errors of the last rule times ``change``; orders by ``decade``."""
    runs = []
    for seed in temporal.SEEDS:
        for beta in bias.BETAS:
            e, c, f = bias.MEASURED_BEFORE[beta]
            if beta < 0.1:  # in exact orders
                e = [0.59, *(v * decade ** np.log10(beta / 0.1) for v in bias.MEASURED_BEFORE[0.1][0][1:])]
            e = [*e[:4], e[4] * change]
            own = [f[0], f[1], 1e-16, 1e-16, f[2]]
            values = {"error": e, "cosine": c, "to_energy": own}
            runs.append(
                {
                    "config": {"seed": seed, "beta": beta},
                    **{k: dict(zip(bias.RULES, v, strict=True)) for k, v in values.items()},
                }
            )
    return runs


def test_bias_what_lands():
    """Everything, if it is what was expected; not the line whose number is changed; nothing of a beta with a seed missing."""
    lines = bias.lines(bias_runs())
    assert len(lines) == 4 * 5 + 2 + 1
    assert all(line.lands for line in lines)
    missed = [line.what for line in bias.lines(bias_runs(change=2.5)) if not line.lands]
    assert missed == [f"beta {beta:g}: error to BPTT of the five rules" for beta in bias.BETAS]
    missed = [line.what for line in bias.lines(bias_runs(decade=14.0)) if not line.lands]
    assert "error at beta 0.1 / error at beta 0.01" in missed
    assert not any(
        line.what.startswith("beta 0.3") for line in bias.lines(bias_runs()[1:-4] + bias_runs()[-3:])
    )


# Copy task

TINY = {
    "digits": 2,
    "delay": 2,
    "width": 6,
    "r_max": 0.9,
    "batch": 4,
    "updates": 8,
    "learning_rate": 0.01,
    "judged": 6,
}


def copy_config(name, seed=1):
    """One rule, tiny."""
    return {"rule": name, "options": copy.RULES[name][1], "seed": seed, **TINY}


@pytest.mark.parametrize("name", copy.RULES)
def test_copy_every_rule_runs(name):
    """Eight updates: finite, logged on the way, and the same a second time."""
    found = copy.run(copy_config(name))
    assert len(found["history"]) == 8
    assert found["stopped"] is None
    assert found["history"][-1] == [8, found["cross_entropy"], found["accuracy"]]
    assert copy.run(copy_config(name)) == found
    assert (found["cosine"][0] > 1 - 1e-6) == (name == "BPTT")
    json.dumps(found)


def test_copy_the_readout_alone_moves_nothing_else():
    """And the others move everything."""
    config = copy_config("readout alone")
    net = copy.network(config)
    params, data = net.init(3, "float32"), copy.task(config, 4, 9)
    grads = copy.gradient(config, net, params, *data)[0]
    exact = pc.bptt.gradient(net, params, data[0], data[1], mask=data[2]).grads[0]
    for name, g in grads.items():
        if name in ("C_re", "C_im", "D"):
            np.testing.assert_array_equal(g, exact[name])
            assert g.any()
        else:
            assert not g.any()
            assert exact[name].any()


def test_copy_judging_by_hand():
    """A network of zeros: log 10, and the share of the digits that are class 0, none; where the mask is, nowhere else."""
    config = copy_config("BPTT")
    net = copy.network(config)
    params = [{name: 0 * v for name, v in net.init(0, "float32")[0].items()}]
    inputs, targets, mask = copy.task(config, 5, 1)
    loss, accuracy = copy.judge(net, params, inputs, targets, mask)
    assert loss == pytest.approx(np.log(10))
    assert accuracy == 0
    assert copy.judge(net, params, inputs, targets, ~mask)[1] == 1  # blanks


def copy_runs(accuracy, **others):
    """Made runs of all rules with this accuracy but for the named ones, three seeds; the last seed is a thousandth lower."""
    return [
        {"config": {"rule": name, "seed": seed}, "accuracy": others.get(name, accuracy) - 0.001 * (seed == 3), "cross_entropy": 0.05,
         "cosine": [1.0, 0.5], "warnings": {}, "processor_seconds": 9.0}
        for name in copy.RULES for seed in (1, 2, 3)
    ]  # fmt: skip


def test_copy_what_lands():
    """On both sides of each criterion, by the worst seed of those that learn and the best of those that fail."""
    by = {line.what: line.lands for line in copy.lines(copy_runs(0.9995))}
    assert by == {
        "BPTT: accuracy, %": False, "BPTT: cross-entropy": False,
        "tPC-RTRL, beta 0.01: accuracy, %": False, "tPC-RTRL, beta 0.01: cross-entropy": True,
        "tPC-RTRL, beta 0.001: accuracy, %": False, "tPC-RTRL, beta 0.001: cross-entropy": True,
        "tPC, beta 0.01: accuracy, %": False, "spatial BP: accuracy, %": False,
    }  # fmt: skip
    by = {
        line.what: line.lands
        for line in copy.lines(copy_runs(1.0, **{"spatial BP": 0.9, "tPC, beta 0.01": 0.899}))
    }
    assert by["BPTT: accuracy, %"] is False  # .999 is not above .999
    assert by["spatial BP: accuracy, %"] is False
    assert by["tPC, beta 0.01: accuracy, %"] is True
    assert copy.lines(copy_runs(1.0)[::3]) == []
    text = copy.text(copy_runs(1.0))
    assert (
        "| spatial BP | 0.05 [0.05..0.05] | 99.97 [99.90..100.00] | 1.00 to 0.50 | 0.0% | 9 [9..9] |" in text
    )


# Nano-drone


def windows(**options):
    """Windows of ten steps."""
    made = {}
    for k in (0, 1):
        x = np.random.default_rng(k).normal(size=(30, 13)).astype("float32")
        x[:, :3] = np.arange(30)[:, None] * [1.0, 2.0, 0.5] + k
        x[:, 6:10] = np.array([0.1, 0.2, 0.3, 0.9]) + 0.01 * np.arange(30)[:, None]
        x[12:, 6:10] *= -1
        made[str(k)] = Flight(x, np.full((30, 4), 1900.0 + k, "float32"))
    return made, nanodrone.Windows(made, 10, 5, **options)


def test_drone_windows():
    """The state is given once, the motors always; targets are one step later; a change of the quaternion's sign is none."""
    made, w = windows()
    assert w.inputs.shape == (10, 8, 18)
    assert w.targets.shape == (10, 8, 13)
    assert not w.inputs[1:, :, 4:].any()
    np.testing.assert_array_equal(w.inputs[0, :, -1], 1)
    np.testing.assert_allclose(w.inputs[:, 4:, :4], 151 / 150, rtol=1e-5)
    mean, deviation = w.scale
    x = made["0"].x[5:16]  # the second window, in which the sign changes
    back = w.targets[:, 1] * deviation + mean
    np.testing.assert_allclose(w.inputs[0, 1, 4:-1] * deviation + mean, x[0], atol=1e-5)
    np.testing.assert_allclose(
        np.delete(back, range(6, 10), axis=1), np.delete(x[1:], range(6, 10), axis=1), atol=1e-4
    )
    np.testing.assert_allclose(back[:, 6:10], abs(x[1:, 6:10]), atol=1e-5)


def test_drone_errors_are_metres():
    """3 and 4 metres off are 5; the last step is the last step; a hold moves as far as the drone does."""
    _, w = windows()
    off = np.zeros(13)
    off[:2] = [3.0, 4.0]
    outputs = w.targets + (off / w.deviation) * (np.arange(10) == 9)[:, None, None]
    assert nanodrone._ends(w.position_error(outputs)) == pytest.approx([0.5, 5.0], abs=1e-5)
    hold = w.position_error(np.broadcast_to(w.inputs[:1, :, 4:-1], w.targets.shape))
    np.testing.assert_allclose(hold, np.outer(np.arange(1, 11), np.ones(8)) * np.sqrt(5.25), rtol=1e-4)


def test_drone_filter_predicts_before_it_sees(monkeypatch):
    """Open loop is the forward pass; observed steps change what comes after them, not themselves; the last is never seen."""
    _, w = windows()
    cell = pc.LRU(18, 5, 13, r_min=0.8, r_max=0.99)
    net = pc.RecurrentNetwork([cell])
    params = net.init(2, "float32")
    seen, steps, R = [], [], nanodrone.residual(net, params, w)
    one = net.forward(params, w.inputs[:, :1]) - w.targets[:, :1]  # the first of eight windows
    np.testing.assert_allclose(R, (one**2).mean(axis=(0, 1)), rtol=1e-5)
    real = nanodrone.tpc.infer

    def infer(*args, **options):
        found = real(*args, **options)
        seen.append((options["observed"], found.forecasts, *options["precision"]))
        steps.append(options["step_size"])
        return found

    monkeypatch.setattr(nanodrone.tpc, "infer", infer)
    free = net.forward(params, w.inputs)
    assert nanodrone.deployed(net, params, w, 0, 13, R) == nanodrone._ends(w.position_error(free))
    assert seen == []
    errors = nanodrone.deployed(net, params, w, 4, 3, R)
    observed, forecasts, Pi, inverse = seen[0]
    np.testing.assert_allclose(inverse * R, 1, rtol=1e-6)
    unit = (np.eye(5)[:, None] * np.array([1, 1j])[:, None]).reshape(10, 5)  # Re, Im, Re, ...
    C = cell.output(params[0], unit[None], np.zeros((1, 10, 18)))[0].T
    curvature = np.diag(Pi) + nanodrone.FILTERING["beta"] * C.T @ np.diag(1 / R) @ C
    assert steps[0] == pytest.approx(1 / np.linalg.norm(curvature, 2), rel=1e-5)
    assert errors == nanodrone._ends(w.position_error(forecasts))
    assert observed[:, 0, :3].all(axis=1).nonzero()[0].tolist() == [3, 7]
    assert not observed[:, :, 3:].any()
    np.testing.assert_allclose(forecasts[:4], free[:4], atol=1e-5)
    assert abs(forecasts[4:] - free[4:]).max() > 1e-3
    size = abs(cell.eigenvalues(params[0])[0])
    np.testing.assert_allclose(Pi, np.repeat(1 - size**2, 2), rtol=1e-5)
    nanodrone.deployed(net, params, w, 5, 13, R)
    assert seen[1][0][:, 0, 0].nonzero()[0].tolist() == [4]  # not the last step, 9


def drone_runs(ratio, share):
    """Made runs: that of both tPC-RTRLs is ``ratio`` times BPTT's, the filter's ``share`` of the open loop's; one seed 0.01 more."""
    runs = []
    for rule in nanodrone.RULES:
        for seed in (1, 2, 3):
            mean = 0.5 * (1 if rule == "BPTT" else ratio)
            errors = {
                name: [mean, 2 * mean * (share + 0.01 * (seed == 2) if every == 20 and n == 13 else 1)]
                for name, (every, n) in nanodrone.FILTERS.items()
            }
            runs.append(
                {"config": {"rule": rule, "seed": seed}, "errors": errors, "hold": [0.9, 1.2], "warned": 0}
            )
    return runs


@pytest.mark.parametrize(
    ("ratio", "share", "lands"),
    [(1.009, 0.489, [True] * 5), (0.989, 0.4, [False] * 2 + [True] * 3), (1.011, 0.495, [False] * 5)],
)
def test_drone_what_lands(ratio, share, lands):
    """Within 1 % on both sides; the worst seed must be halved; what was added is paired with the open loop of its seed."""
    runs = drone_runs(ratio, share)
    lines = nanodrone.lines(runs)
    assert [line.lands for line in lines if line.lands is not None] == lands
    assert nanodrone.lines(runs[1:]) == []
    assert len(nanodrone.lines(runs[:6])) == len(lines) - 1 - 3  # before the third rule was added
    (name,) = nanodrone.ADDED
    for final, halves in (([0.3, 0.4, 0.5], True), ([0.3, 0.4, 0.51], False)):
        more = [
            {"config": {"rule": "BPTT", "seed": s}, "errors": {name: [0.1, f]}, "hold": [0.9, 1.2]}
            for s, f in enumerate(final, 1)
        ]
        *others, last = nanodrone.lines(runs + more)
        assert others == lines
        assert last.measured == pytest.approx(final)
        assert last.lands is halves
        text = nanodrone.text(runs + more)
        assert "not bit-identical" in text
        assert f"| {name} | BPTT | 0.1 [0.1..0.1] | {np.mean(final):.3g} [0.3..0.5" in text


def test_drone_what_is_added():
    """A way to deploy what the first two rules have trained, and a third rule, deployed in the ways that were there."""
    plan = nanodrone.configs()
    assert [c["rule"] for c in plan if "deployed" in c] == ["BPTT"] * 3 + ["tPC-RTRL"] * 3
    assert [c["rule"] for c in plan if "deployed" not in c][6:] == [nanodrone.AFTERWARDS] * 3
    assert len(plan) == 15


# Adaptation

STREAM = {"steps": 40, "lanes": 3, "delay": 2, "ahead": 2, "stride": [2, 4], "seed": 1}


def test_adaptation_tracking_stream():
    """The target is the input ``ahead`` steps later, in each half; the second half runs twice as fast on the same path."""
    inputs, targets, loss, outputs = adaptation.tracking(STREAM)
    assert inputs.shape == targets.shape == (40, 3, 1)
    assert (loss, outputs) == ("mse", 1)
    np.testing.assert_array_equal(inputs[2:20], targets[:18])
    np.testing.assert_array_equal(inputs[22:], targets[20:38])
    path = pc.data.lorenz(T=6 * 22, samples=3, seed=101).inputs[:, :, :1] / 8
    np.testing.assert_allclose(inputs[:20], path[:40:2], rtol=1e-6)
    np.testing.assert_allclose(inputs[20:], path[44 : 44 + 80 : 4], rtol=1e-6)


def test_adaptation_pieces():
    """One step: the immediate derivatives; a whole stream in one piece: BPTT. By the first update, whose size is the gradient's sign."""
    inputs, targets, *_ = adaptation.tracking(STREAM)
    net = pc.RecurrentNetwork([pc.RNN(1, 4), pc.Dense(4, 1)])
    params = net.init(0)
    for rule in adaptation.RULES:
        loss, new = adaptation.learn(net, params, inputs.astype(float), targets.astype(float), rule, 1e-12)
        still = ((net.forward(params, inputs.astype(float)) - targets) ** 2).sum(
            axis=2
        ) / 2  # the rate is almost zero
        piece = adaptation.RULES[rule] or 1
        mean = np.stack([still[i : i + piece].mean(axis=0) for i in range(0, 40, piece)])
        np.testing.assert_allclose(loss, mean, rtol=1e-6, err_msg=rule)
        assert any((a["W"] != b["W"]).any() for a, b in zip(params, new, strict=True))


def test_adaptation_immediate_derivatives_drop_the_past(monkeypatch):
    """The summed gradients of pieces of one step are tBPTT(1), not BPTT."""
    inputs, targets, *_ = adaptation.tracking(STREAM)
    u, y = inputs.astype(float), targets.astype(float)
    net = pc.RecurrentNetwork([pc.RNN(1, 4), pc.Dense(4, 1)])
    params, total = net.init(0), []

    class Still:
        def __init__(self, rate):
            pass

        def init(self, params):
            return None

        def step(self, params, grads, state):
            total.append(grads[0]["W"] * 3)  # three lanes
            return params, state

    monkeypatch.setattr(pc, "RMSprop", Still)
    adaptation.learn(net, params, u, y, "immediate derivatives", 0.1)
    np.testing.assert_allclose(
        sum(total), pc.bptt.truncated(net, params, u, y, steps=1).grads[0]["W"], rtol=1e-10
    )
    assert abs(sum(total) - pc.bptt.gradient(net, params, u, y).grads[0]["W"]).max() > 1e-3


@pytest.mark.parametrize("rule", [*adaptation.RULES, adaptation.FROZEN])
def test_adaptation_every_run(rule):
    """Ten finite numbers, the same again."""
    for task in ("delayed parity", "tracking") if rule != adaptation.FROZEN else ("tracking",):
        config = {**STREAM, "steps": 250, "task": task, "rule": rule, "learning_rate": 1e-3}
        found = adaptation.run(config)["course"]
        assert len(found) == 10
        assert np.isfinite(found).all()
        assert adaptation.run(config)["course"] == found


def adaptation_runs(values, rates=adaptation.RATES):
    """Made runs: a constant course of this value at 1e-3, ten times that at the other rates."""
    return [
        {"config": c, "course": [5.0] * 6 + [values[c["task"], c["rule"]] * (1 if c["learning_rate"] == 1e-3 else 10)] * 4}
        for c in adaptation.configs() if c["learning_rate"] in rates
    ]  # fmt: skip


GOOD = {
    ("delayed parity", "immediate derivatives"): 0.5, ("delayed parity", "RTRL"): 0.01, ("delayed parity", "BPTT, pieces of 25"): 0.02,
    ("tracking", "immediate derivatives"): 0.011, ("tracking", "RTRL"): 0.01, ("tracking", "BPTT, pieces of 25"): 0.1,
    ("tracking", adaptation.FROZEN): 0.8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({("delayed parity", "immediate derivatives"): 0.3}, ["delayed parity: immediate derivatives"]),
        ({("delayed parity", "RTRL"): 0.11}, ["delayed parity: RTRL"]),
        ({("tracking", "RTRL"): 0.009}, ["tracking: immediate / RTRL, equal seeds"]),
        ({("tracking", adaptation.FROZEN): 0.02}, ["tracking: immediate / frozen at the change"]),
    ],
)
def test_adaptation_what_lands(change, missed):
    """Each criterion, and no other."""
    runs = adaptation_runs({**GOOD, **change})
    assert [line.what for line in adaptation.lines(runs) if not line.lands] == missed
    assert len(adaptation.lines(runs)) == 5


def test_adaptation_the_choice():
    """The best rate of seed 0; nothing before the search is whole; what counts is the end of the course."""
    runs = adaptation_runs(GOOD)
    assert adaptation.best(runs, "tracking", "RTRL") == 1e-3
    assert adaptation.final(runs, "tracking", "RTRL")[:2] == (1e-3, [0.01] * 3)
    assert adaptation.lines(adaptation_runs(GOOD, rates=(1e-3,))) == []
    assert [adaptation._shown(rate, "RTRL") for rate in (None, *adaptation.RATES)] == [
        "–",
        "0.0003 *edge*",
        "0.001",
        "0.003 *edge*",
    ]
    assert adaptation.judged("delayed parity", list(range(10))) == 8.5
    assert adaptation.judged("tracking", list(range(10))) == 7.5
    assert [adaptation.tenth(np.arange(25), i).tolist() for i in (0, 9)] == [[0, 1], [22, 23, 24]]
