"""The tour: three rules on real digits, how far an error travels, what needs a memory, and the proof table.

Each part returns plain numbers (for the JSON file) and a figure; ``run`` prints and writes them.
"""

import pathlib
import platform
import sys
import textwrap
import time

import numpy as np

from . import __version__, backprop, bptt, data, epc, plotting, rtrl, spc, tpc
from .blocks import Dense
from .cells import RNN
from .files import write_json
from .network import Network
from .optim import Adam
from .recurrent import RecurrentNetwork
from .rules import tpc_rtrl
from .train import fit

EPOCHS, SEEDS = 20, (0, 1, 2)
RULES = {  # label: rule and its options
    "backprop": (backprop.gradient, {}),
    "sPC (20 steps of 0.1)": (spc.gradient, {"inference_steps": 20, "step_size": 0.1}),
    "ePC (8 adaptive steps)": (epc.gradient, {"inference_steps": 8}),
    "ePC (5 steps of 0.001)": (epc.gradient, {"inference_steps": 5, "step_size": 0.001}),
}
DEPTH, WIDTH = 20, 128
TRAVEL = {  # label: rule, its options
    "sPC, steps of 0.1": (spc, {"inference_steps": 64, "step_size": 0.1}),
    "ePC, steps of 0.1": (epc, {"inference_steps": 16, "step_size": 0.1}),
}
SHOWN = (1, 5, 10, 15, 19)
COPIED, DELAY, UNITS, RECALL_EPOCHS = 2, 6, 16, 15
INFERENCE = {"beta": 0.1, "inference_steps": 8, "step_size": 0.5, "carry": "state"}
RECALL = {  # label: rule, its options, does it give credit to the past?
    "BPTT": (bptt.gradient, {}, True),
    "RTRL": (rtrl.gradient, {"influence": "exact"}, True),
    "tPC-RTRL": (tpc_rtrl, {"influence": "plain", **INFERENCE}, True),
    "tPC": (tpc.gradient, INFERENCE, False),
    "backprop, no history": (bptt.truncated, {"steps": 1}, False),
}


def digits_race(say):
    """Part (a): the same network, the same first weights, the same order of samples, one rule after another."""
    d = data.digits("float32")
    hidden = [Dense(64, 128, "tanh"), Dense(128, 128, "tanh"), Dense(128, 128, "tanh")]
    net = Network([*hidden, Dense(128, 10)], loss="cross_entropy")
    say(
        "\n(a) One network, 64-128-128-128-10 (tanh, cross-entropy), real handwritten digits, Adam 1e-3, float32,"
    )
    say(
        f"    {EPOCHS} epochs of {len(d.x_train)} images, {len(d.x_test)} test images, {len(SEEDS)} seeds: mean [worst..best]\n"
    )
    say(f"    {'rule':24} {'test accuracy (%)':>22} {'s/epoch':>9} {'loss':>8} {'energy':>8} {'regime':>7}")
    runs, table = {}, []
    for label, (rule, options) in RULES.items():
        runs[label] = {"accuracy": [], "seconds": []}
        ends = []
        for seed in SEEDS:
            _params, history = fit(
                net, net.init(seed=seed, dtype="float32"), (d.x_train, d.y_train), rule=rule, optimizer=Adam(1e-3),
                epochs=EPOCHS, seed=seed, validation=(d.x_test, d.y_test), progress=sys.stderr.isatty(), **options,
            )  # fmt: skip
            runs[label]["accuracy"].append(history["validation_accuracy"].tolist())
            runs[label]["seconds"].append(history["seconds"].tolist())
            regime = rule(
                net, net.init(seed=seed, dtype="float32"), d.x_train[:64], d.y_train[:64], **options
            ).regime
            ends.append(
                [
                    history["loss"][-1],
                    history.get("energy", [np.nan])[-1],
                    np.nan if regime is None else np.median(regime),
                ]
            )
        final = 100 * np.array(runs[label]["accuracy"])[:, -1]
        loss, energy, regime = (float(v) for v in np.mean(ends, axis=0))
        row = {
            "rule": label,
            "accuracy": float(final.mean()),
            "accuracy_worst": float(final.min()),
            "accuracy_best": float(final.max()),
            "seconds_per_epoch": float(np.mean(runs[label]["seconds"])),
            "loss": loss,
            "energy": energy,
            "regime": regime,
        }
        table.append(row)
        accuracy = f"{row['accuracy']:.1f} [{row['accuracy_worst']:.1f}..{row['accuracy_best']:.1f}]"
        optional = "".join(f" {'-' if v != v else f'{v:.3f}':>{w}}" for v, w in ((energy, 8), (regime, 7)))
        say(f"    {label:24} {accuracy:>22} {row['seconds_per_epoch']:9.3f} {loss:8.4f}{optional}")
    say(
        "\n    loss, energy: mean over the last epoch's training samples, the loss before inference, the energy after it."
    )
    say(
        "    regime: relaxed fraction of the fastest mode at the first weights (median sample): the small-step ePC is"
    )
    say("    backprop in disguise, the adaptive one is near its own equilibrium, a different gradient.")
    figure = plotting.accuracy_curves(runs, f"handwritten digits, {len(d.x_test)} test images")
    return {"table": table, "runs": runs, "epochs": EPOCHS, "seeds": list(SEEDS)}, figure


def error_travel(say):
    """Part (b): twenty layers, one batch: which layers have received any error after k steps?"""
    d = data.digits()
    x, y = 2 * d.x_train[:64] - 1, d.y_train[:64]
    blocks = [Dense(n, WIDTH, "gelu", init="orthogonal", gain=2**0.5) for n in [64, *[WIDTH] * (DEPTH - 2)]]
    net = Network([*blocks, Dense(WIDTH, 10, init="orthogonal", gain=2**0.5)], loss="cross_entropy")
    say(
        f"\n(b) {DEPTH} layers, 64-[{WIDTH}]x{DEPTH - 1}-10 (GELU, orthogonal), untrained, one batch of 64 digits:"
    )
    say("    after how many inference steps has layer l received any error at all?\n")
    say(
        f"    {'rule':22} {'dtype':8}"
        + "".join(f"{f'l = {l}':>9}" for l in SHOWN)
        + f"{'reached at the end':>21}"
    )
    maps, table = {}, []
    for label, (rule, options) in TRAVEL.items():
        for dtype in ("float32", "float64"):
            g = rule.gradient(
                net, net.init(seed=0, dtype=dtype), x.astype(dtype), y, record_every=1, **options
            )
            energies = np.array(g.recording.layers)[:, :-1].astype(float)  # (steps, L-1, B)
            reached = np.array(
                [
                    [
                        bool((s != s0).any())
                        for s, s0 in zip(states[1:], g.recording.states[0][1:], strict=True)
                    ]
                    for states in g.recording.states
                ]
            )
            first = [int(np.argmax(column)) if column.any() else None for column in reached.T]
            maps[f"{label}, {dtype}"] = energies.mean(axis=2)
            row = {
                "rule": label,
                "dtype": dtype,
                "first_step": first,
                "reached_at_end": int(reached[-1].sum()),
                "log10_energy_at_end": [
                    float(np.log10(v)) if v > 0 else float("-inf") for v in energies[-1].mean(axis=1)
                ],
            }
            table.append(row)
            cells = "".join(f"{'never' if first[l - 1] is None else first[l - 1]:>9}" for l in SHOWN)
            say(f"    {label:22} {dtype:8}{cells}{f'{reached[-1].sum()} of {DEPTH - 1} layers':>21}")
    say(
        "\n    Theory, (sPC.8): the error needs L - l steps to reach layer l, that is 19 for l = 1, and arrives as"
    )
    say(
        "    0.1^(L-l) delta_l: too small a number for float32, and at first for float64, to change an activity."
    )
    say("    ePC: one step, every layer.")
    figure = plotting.error_maps(maps, f"{DEPTH} layers: how far has the error travelled?")
    return {"table": table, "depth": DEPTH, "width": WIDTH}, figure


def one_hot_copies(samples, seed, dtype):
    """The copy task with one-hot symbols."""
    task = data.copy_task(digits=COPIED, delay=DELAY, samples=samples, seed=seed)
    return data.Sequences(np.eye(11, dtype=dtype)[task.inputs], task.targets, task.mask)


def which_gradient(rule, options, net, seed):
    """At the first weights, in float64: what the rule says of its gradient, None if it says nothing, and how far that is
    from BPTT's: largest entry of the difference over the largest of BPTT's, in the array of parameters where that is worst."""
    params, sequences = net.init(seed=seed), one_hot_copies(32, 1, "float64")
    found, exact = (r(net, params, *sequences, **o) for r, o in ((rule, options), (bptt.gradient, {})))
    return getattr(found, "equals", None), max(
        float(np.abs(p[k] - q[k]).max() / np.abs(q[k]).max())
        for p, q in zip(found.grads, exact.grads, strict=True)
        for k in q
    )


def recall(say):
    """Part (c): the same recurrent network and first weights with and without credit for the past."""
    train, test = one_hot_copies(512, 1, "float32"), one_hot_copies(500, 2, "float32")
    net = RecurrentNetwork([RNN(11, UNITS, "tanh"), Dense(UNITS, 10)], loss="cross_entropy")
    chance = 1 / 9
    say(
        f"\n(c) Memory: see {COPIED} digits, wait {DELAY} steps, give them back. One network, 11-RNN {UNITS} (tanh)-10, the"
    )
    say(
        f"    same first weights and order, Adam 1e-2, float32, {RECALL_EPOCHS} epochs of 512 sequences, 500 test sequences,"
    )
    say(
        f"    {len(SEEDS)} seeds: mean [worst..best]; guessing gives {100 * chance:.1f} %. Of tPC and tPC-RTRL:"
    )
    say(
        f"    beta {INFERENCE['beta']}, {INFERENCE['inference_steps']} inference steps of {INFERENCE['step_size']}, "
        "the inferred state is carried on, as in the paper\n"
    )
    say(
        f"    {'rule':21} {'test accuracy (%)':>21} {'loss':>8} {'s/epoch':>9} {'gradient: off BPTT by':>23} {'at beta / 10':>12}"
    )
    runs, table = {}, []
    for label, (rule, options, past) in RECALL.items():
        runs[label] = {"accuracy": [], "seconds": [], "past": past}
        smaller = options | {"beta": options["beta"] / 10} if "beta" in options else None
        losses, off, off_smaller = [], [], []
        for seed in SEEDS:
            _params, history = fit(
                net, net.init(seed=seed, dtype="float32"), train, rule=rule, optimizer=Adam(1e-2), batch_size=32,
                epochs=RECALL_EPOCHS, seed=seed, validation=test, progress=sys.stderr.isatty(), **options,
            )  # fmt: skip
            runs[label]["accuracy"].append(history["validation_accuracy"].tolist())
            runs[label]["seconds"].append(history["seconds"].tolist())
            losses.append(float(history["loss"][-1]))
            equals, difference = which_gradient(rule, options, net, seed)
            off.append(difference)
            if smaller:
                off_smaller.append(which_gradient(rule, smaller, net, seed)[1])
        final = 100 * np.array(runs[label]["accuracy"])[:, -1]
        row = {
            "rule": label,
            "accuracy": float(final.mean()),
            "accuracy_worst": float(final.min()),
            "accuracy_best": float(final.max()),
            "loss": float(np.mean(losses)),
            "seconds_per_epoch": float(np.mean(runs[label]["seconds"])),
            "gradient_difference": max(off),
            "gradient_difference_at_a_tenth_of_beta": max(off_smaller, default=None),
            "equals": equals,
        }
        table.append(row)
        accuracy = f"{row['accuracy']:.1f} [{row['accuracy_worst']:.1f}..{row['accuracy_best']:.1f}]"
        shown = "-" if rule is bptt.gradient else f"{row['gradient_difference']:.1e}"
        tenth = f"{max(off_smaller):.1e}" if smaller else "-"
        say(
            f"    {label:21} {accuracy:>21} {row['loss']:8.4f} {row['seconds_per_epoch']:9.3f} {shown:>23} {tenth:>12}"
        )
    for line in (
        "",
        "The last columns: at the first weights, float64, relative, the worst parameter and seed. RTRL never goes back in",
        "time and has the gradient of BPTT. That of tPC-RTRL is off by O(beta), and learns as well here. Without history the",
        "recurrent weights cannot learn what to keep: only what random ones happen to keep is read out. For tPC, which infers",
        "but has no history either, no beta is small enough. What the two rules say of their own gradients:",
    ):
        say(f"    {line}".rstrip())
    for row in table:
        if row["equals"]:
            say(
                textwrap.fill(
                    row["equals"], 112, initial_indent=f"    {row['rule']:9} ", subsequent_indent=" " * 14
                )
            )
    figure = plotting.memory_curves(runs, chance, f"{COPIED} digits given back after {DELAY} steps")
    return {
        "table": table, "runs": runs, "epochs": RECALL_EPOCHS, "seeds": list(SEEDS), "chance": chance,
        "digits": COPIED, "delay": DELAY, "units": UNITS, "inference": INFERENCE,
        "training_sequences": train.inputs.shape[1], "test_sequences": test.inputs.shape[1], "learning_rate": 1e-2,
    }, figure  # fmt: skip


def proofs(say):
    """Part (d): the proof table on fresh random problems."""
    from .verify import verify

    say(
        "\n(d) Is every gradient right? Fresh random problems, float64, against oracles that share no code:\n"
    )
    rows = verify()
    exact = [r for r in rows if 0 < r["tolerance"] <= 1e-9]
    held = sum(r["holds"] for r in rows)
    worst = max(r["worst"] for r in exact)
    trials = sum(r["trials"] for r in rows)
    say(
        f"    {held} of {len(rows)} claims hold ({trials} problems); the {len(exact)} exact ones to {worst:.0e}."
    )
    say("    All lines: python -m minipc verify")
    figure = plotting.proof_table(rows, f"{held} of {len(rows)} claims hold")
    return {"held": held, "claims": len(rows), "worst_exact": worst, "rows": rows}, figure


def run(out="tour", json_path=None, say=print):
    """Run the tour: print the tables, write four PNG figures and a JSON file with every number.

    Parameters
    ----------
    out : path                      folder for the figures and ``tour.json``; made if it is not there
    json_path : path, optional      where to write the JSON file instead

    Returns
    -------
    dict                            what the JSON file holds
    """
    plotting.need_matplotlib()
    from .verify import verify  # noqa: F401  needs autograd: say so now, not after the training

    out, began = pathlib.Path(out), time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    say(f"minipc {__version__}, NumPy {np.__version__}, Python {platform.python_version()}")
    result = {
        "versions": {"minipc": __version__, "numpy": np.__version__, "python": platform.python_version()}
    }
    files = []
    parts = {"digits": digits_race, "error_travel": error_travel, "recall": recall, "proofs": proofs}
    for name, part in parts.items():
        result[name], figure = part(say)
        plotting.save(figure, out / f"{name}.png")
        files.append(str(out / f"{name}.png"))
    result["seconds"], result["figures"] = time.perf_counter() - began, files
    target = pathlib.Path(json_path) if json_path else out / "tour.json"
    write_json(target, result)
    say(f"\n{result['seconds']:.0f} s. Figures: {', '.join(files)}. Every number: {target}")
    return result
