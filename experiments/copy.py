"""The copy task at the paper's size: thirty digits, a delay of ten steps, and the thirty digits again.

``python -m experiments.copy [--log FILE] [--out FILE]``; about half an hour of one core.
"""

import collections
import sys
import warnings

import numpy as np

import minipc as pc
from minipc import tpc

from .table import as_markdown, says
from .temporal import SEEDS, Section, chosen, command, cosine_of, grid, scaled, spread

TPC = {"inference": "spc", "inference_steps": 3, "step_size": 0.5}
RULES = {  # name -> rule, options
    "BPTT": ("bptt", {}),
    "tPC-RTRL, beta 0.01": ("tpc", {"influence": "plain", "carry": "state", "beta": 0.01, **TPC}),
    "tPC, beta 0.01": ("tpc", {"influence": None, "carry": "state", "beta": 0.01, **TPC}),
    "spatial BP": ("tbptt", {"steps": 1}),
    "readout alone": ("readout", {}),
    "tPC-RTRL, beta 0.001": ("tpc", {"influence": "plain", "carry": "state", "beta": 0.001, **TPC}),
}  # fmt: skip
SIZE = {
    "digits": 30, "delay": 10, "width": 96, "r_max": 0.9, "batch": 50, "updates": 4000, "learning_rate": 0.01,
    "judged": 1000,
}  # fmt: skip
VALIDATION = 20_260_501  # seed of the sequences that judge: the same for every run
LEARNED, FAILED = 0.999, 0.9  # accuracy: above the one a rule has learned, below the other it has not
PUBLISHED = {
    "BPTT": 0.0176,
    "tPC-RTRL, beta 0.01": 0.0574,
    "tPC-RTRL, beta 0.001": 0.0574,
}  # validation cross-entropy, second-hand


def configs():
    """A run: one rule, one seed."""
    return [
        {"rule": name, "options": RULES[name][1], "seed": seed, **SIZE} for name in RULES for seed in SEEDS
    ]


def network(config):
    """One LRU whose output is the classes: the smallest net that there is."""
    cell = pc.LRU(11, config["width"], 10, r_max=config["r_max"])
    return pc.RecurrentNetwork([cell], loss="cross_entropy")


def task(config, samples, seed):
    """Symbols as vectors with a single one, labels, and where they count."""
    d = pc.data.copy_task(digits=config["digits"], delay=config["delay"], samples=samples, seed=seed)
    return np.eye(11, dtype="float32")[d.inputs], d.targets, d.mask


def gradient(config, net, params, inputs, targets, mask):
    """The gradient of the rule, summed over the batch."""
    rule, options = RULES[config["rule"]][0], config["options"]
    if rule == "tpc":
        return tpc.gradient(net, params, inputs, targets, mask=mask, **options).grads
    if rule == "tbptt":
        return pc.bptt.truncated(net, params, inputs, targets, mask=mask, **options).grads
    grads = pc.bptt.gradient(net, params, inputs, targets, mask=mask).grads
    if rule == "readout":
        return [{name: g if name in ("C_re", "C_im", "D") else 0 * g for name, g in grads[0].items()}]
    return grads


def run(config):
    """Train on sequences that are drawn anew for every update; judge by a thousand others."""
    net, rng = network(config), np.random.default_rng([config["seed"], 1])
    params, steps = net.init(config["seed"], "float32"), config["updates"]
    optimizer = pc.Adam(pc.Cosine(config["learning_rate"], steps, warm_up=steps // 10))
    state, history, stopped = optimizer.init(params), [], None
    held_out = task(config, config["judged"], VALIDATION)
    first = look(config, net, params, held_out)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for k in range(steps):
                batch = task(config, config["batch"], rng)
                grads = gradient(config, net, params, *batch)
                grads = scaled(grads, 1 / (config["batch"] * config["digits"]))
                params, state = optimizer.step(params, grads, state)
                if (k + 1) % max(1, steps // 8) == 0:
                    history.append([k + 1, *judge(net, params, *held_out)])
        except FloatingPointError as error:
            stopped = str(error)
        last = look(config, net, params, held_out)
    loss, accuracy = judge(net, params, *held_out)
    return {
        "cross_entropy": loss, "accuracy": accuracy, "history": history, "stopped": stopped,
        "cosine": [first, last], "warnings": collections.Counter(w.category.__name__ for w in caught),
    }  # fmt: skip


def judge(net, params, inputs, targets, mask):
    """Cross-entropy of a digit and share of the digits that are right, on the steps that count."""
    out = net.forward(params, inputs)[mask].astype("float64")
    right = np.take_along_axis(out, targets[mask][:, None], axis=1)[:, 0]
    top = out.max(axis=1)
    loss = np.log(np.exp(out - top[:, None]).sum(axis=1)) + top - right
    return float(loss.mean()), float((out.argmax(axis=1) == targets[mask]).mean())


def look(config, net, params, data):
    """Cosine of the rule's gradient with BPTT's, on as many sequences as a batch has."""
    few = [a[:, : config["batch"]] for a in data]
    try:
        return cosine_of(
            gradient(config, net, params, *few),
            pc.bptt.gradient(net, params, few[0], few[1], mask=few[2]).grads,
        )
    except FloatingPointError:
        return None


TEXT = """Setting: {digits} digits 1..9, delay {delay}, {total} steps, generator `minipc.data.copy_task`. One LRU of {width} complex units whose
output is the ten classes (linear readout), first |zeta| uniform in area within {r_max}, gamma free, float32. {updates:,} updates of
Adam, peak rate {learning_rate} (a tenth of the updates rising, then a cosine to zero), each on {batch} new sequences; judged by
{judged:,} other sequences after the last update, by the free-running network, without inference. The same for every rule; the seed
draws the first weights and the sequences, the same for all rules. tPC and tPC-RTRL: {inference_steps} steps of sPC inference of
{step_size} from the prediction, Pi = I; the inferred state is carried, the paper's policy.

*Spatial BP*: tBPTT(1), immediate derivatives only. *Readout alone*: BPTT of C and D with the recurrence left as it was drawn; what it
reaches is the memory of the random network, not credit through time. *Cosine*: to BPTT's gradient at the same weights, all parameters,
before and after training. *Warned*: updates in which the inference of some step warned.

Equations: (COPY.1), (LRU.1)-(LRU.8), (BPTT.1), (BPTT.4), (tPC.7), (TPR.1)-(TPR.5).

How the setting was chosen, with seed 0, before these runs: the ring of the first |zeta| decides what the task tests. With
|zeta| in .9 to .999 and 128 units spatial BP reached 97 % after 1,000 updates: the random memory holds thirty digits, and a readout finds
them. With 0 to .8 and 64 units BPTT failed as well. Width 96 and 0 to .9 were taken because BPTT learned and spatial BP
did not (66 %). Of beta .1 and .01 for tPC-RTRL the second was taken because it learned (99.96 %) and the first did not (62 %: the
inferred state carries the digit just seen, which nothing could predict, into the next step). With seeds 1 to 3 beta .01 learned, but
not to {learned:.1%}: the criterion is missed. Where beta times the squared size of the readout is no longer small, the gradient leaves BPTT's
(column *cosine*). So the line with beta .001 was added when this had been seen. The criteria, above {learned:.1%} for BPTT and
tPC-RTRL, below {failed:.0%} for tPC and spatial BP, were set before the runs and not changed.
The published net and data are known second-hand and are not ours: cross-entropies stand beside, they are not reproduced.
"""


def text(runs):
    """All rules, and what was expected."""
    rows = []
    for name in RULES:
        ce, accuracy, cosines = (
            chosen(runs, key, rule=name) for key in ("cross_entropy", "accuracy", "cosine")
        )
        warned = [w.get("InferenceWarning", 0) for w in chosen(runs, "warnings", rule=name)]
        seconds = chosen(runs, "processor_seconds", rule=name)
        both = [c for c in cosines if None not in c]
        rows.append((
            name, spread(ce), spread([100 * a for a in accuracy], "{:.2f}"),
            " to ".join(f"{v:.2f}" for v in np.mean(both, axis=0)) if both else "–",
            f"{np.mean(warned) / SIZE['updates']:.1%}" if warned else "–", spread(seconds, "{:.0f}"),
        ))  # fmt: skip
    names = ("rule", "cross-entropy", "accuracy, %", "cosine", "warned", "seconds of one core")
    setting = TEXT.format(
        **SIZE, **TPC, total=2 * SIZE["digits"] + SIZE["delay"], learned=LEARNED, failed=FAILED
    )
    return f"{setting}\n{grid(names, rows)}\n\n{as_markdown(lines(runs))}"


def lines(runs):
    """What was expected of the rules whose seeds are all there."""
    found = []
    for name in RULES:
        accuracy, ce = chosen(runs, "accuracy", rule=name), chosen(runs, "cross_entropy", rule=name)
        if len(accuracy) < len(SEEDS):
            continue
        shown = spread([100 * a for a in accuracy], "{:.2f}")
        if name in PUBLISHED:
            low = min(accuracy)
            found += [
                says(f"{name}: accuracy, %", accuracy, "learns", f"every seed above {100 * LEARNED:g}", low > LEARNED, shown),
                says(f"{name}: cross-entropy", ce, f"{PUBLISHED[name]:g} (published)", "mean not above", np.mean(ce) <= PUBLISHED[name], spread(ce)),
            ]  # fmt: skip
        elif name in ("tPC, beta 0.01", "spatial BP"):
            fails = max(accuracy) < FAILED
            found.append(
                says(
                    f"{name}: accuracy, %",
                    accuracy,
                    "fails",
                    f"every seed below {100 * FAILED:g}",
                    fails,
                    shown,
                )
            )
    return found


SECTION = Section("copy", "Copy task: credit through time decides", configs, run, text)

if __name__ == "__main__":
    sys.exit(command(SECTION))
