"""The loop on sequences: the time comes first, samples are columns, only steps under the mask count.

The recurrent network of these tests is written here, its gradient is autograd's: the loop has to serve any.
"""

import tracemalloc
from types import SimpleNamespace

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from helpers.checks import assert_same

import minipc as pc
from minipc.data import Sequences
from minipc.functions import LOSSES
from training.problem import flat

T, N, M, H, O = 5, 7, 2, 4, 3  # steps, sequences, inputs, hidden units, classes
RNG = np.random.default_rng(3)
INPUTS, TARGETS = RNG.standard_normal((T, N, M)), RNG.integers(0, O, (T, N))
MASK = RNG.uniform(size=(T, N)) < 0.6
MASK[0, ~MASK.any(axis=0)] = True
PARAMS = [
    {"W": 0.5 * RNG.standard_normal((H, H)), "U": RNG.standard_normal((H, M)), "b": RNG.standard_normal(H)},
    {"W": RNG.standard_normal((O, H)), "b": RNG.standard_normal(O)},
]


class Recurrent:
    """h_t = tanh(W h_{t-1} + U u_t + b), logits V h_t + c."""

    loss = LOSSES["cross_entropy"]
    shapes = ((M,), (H,), (O,))
    blocks = tuple(
        SimpleNamespace(shapes={k: v.shape for k, v in p.items()}, formula="recurrent") for p in PARAMS
    )

    def forward(self, params, inputs):
        return run(params, inputs)

    def config(self):
        return {"recurrent": H}


def run(params, inputs):
    """Logits (T, B, O)."""
    h, outputs = anp.zeros((inputs.shape[1], H)), []
    for u in inputs:
        h = anp.tanh(h @ params[0]["W"].T + u @ params[0]["U"].T + params[0]["b"])
        outputs.append(h @ params[1]["W"].T + params[1]["b"])
    return anp.stack(outputs)


def losses(params, inputs, targets, mask):
    """Per sequence, summed over the steps that count; (B,)."""
    logits = run(params, inputs)
    logp = logits - anp.log(anp.exp(logits).sum(axis=2, keepdims=True))
    return -((logp * np.eye(O)[targets]).sum(axis=2) * mask).sum(axis=0)


CALLS = []


def bptt(net, params, inputs, targets, mask=None):
    """Backpropagation through time, by autograd."""
    CALLS.append((params, inputs, targets, mask))
    counted = np.ones(targets.shape) if mask is None else mask
    grads = grad(lambda p: losses(p, inputs, targets, counted).sum())(params)
    return pc.Gradient(grads, losses(params, inputs, targets, counted))


def train(mask, **options):
    """fit on seven sequences, three a batch."""
    CALLS.clear()
    options = {"optimizer": pc.SGD(0.1), "epochs": 2, "batch_size": 3, "progress": False, **options}
    return pc.fit(Recurrent(), PARAMS, Sequences(INPUTS, TARGETS, mask), rule=bptt, **options)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all steps", "masked"])
def test_batches_are_columns_and_the_gradient_is_divided_by_the_steps_that_count(mask):
    """The run again by hand, from the batches that the rule was given."""
    trained, history = train(mask)
    params, total, counted = PARAMS, 0.0, 0
    for i, (seen, u, y, m) in enumerate(CALLS):
        assert np.array_equal(flat(seen), flat(params))
        assert u.shape[:2] == y.shape == (T, (3, 3, 1)[i % 3])
        columns = [int(np.flatnonzero((INPUTS == u[:, [k]]).all(axis=(0, 2)))[0]) for k in range(u.shape[1])]
        assert np.array_equal(y, TARGETS[:, columns])
        assert (m is None) == (mask is None)
        weight = y.size if m is None else int(m.sum())
        if m is not None:
            assert np.array_equal(m, MASK[:, columns])
        g = bptt(None, params, u, y, m)
        if i < 3:
            total, counted = total + g.loss.sum(), counted + weight
        params = [{k: p[k] - 0.1 * (q[k] / weight) for k in p} for p, q in zip(params, g.grads, strict=True)]
        CALLS.pop()  # of this very call
    assert i == 5
    assert np.array_equal(flat(trained), flat(params))
    assert counted == (T * N if mask is None else MASK.sum())
    assert abs(history["loss"][0] - total / counted) < 1e-14


def test_measures_are_means_over_the_steps_that_count():
    """Loss and accuracy of a validation set with a mask; what lies outside does not matter."""
    logits, found = run(PARAMS, INPUTS), []
    spoiled = np.where(MASK, TARGETS, (TARGETS + 1) % O)
    for targets in (TARGETS, spoiled):
        found.append(pc.evaluate(Recurrent(), PARAMS, Sequences(INPUTS, targets, MASK)))
    right = [int(logits[t, n].argmax() == TARGETS[t, n]) for t in range(T) for n in range(N) if MASK[t, n]]
    assert found[0] == found[1]
    assert abs(found[0]["accuracy"] - sum(right) / len(right)) < 1e-15
    expected = losses(PARAMS, INPUTS, TARGETS, MASK).sum() / MASK.sum()
    assert abs(found[0]["loss"] - expected) < 1e-14
    assert pc.evaluate(Recurrent(), PARAMS, Sequences(INPUTS, TARGETS))["loss"] != found[0]["loss"]


def test_a_network_without_memory_learns_the_same_from_steps_as_from_samples():
    """Every step a sample: full batches of sequences are full batches of their steps."""
    net = pc.Network([pc.Dense(M, 4, "tanh"), pc.Dense(4, O)], loss="cross_entropy")

    def each_step(_, params, inputs, targets):
        g = pc.backprop.gradient(net, params, inputs.reshape(-1, M), targets.reshape(-1))
        return g._replace(loss=g.loss.reshape(targets.shape).sum(axis=0))

    options = {"optimizer": pc.Adam(0.01), "epochs": 3, "progress": False}
    ends = [
        pc.fit(net, net.init(seed=1), data, rule=rule, batch_size=size, **options)
        for data, rule, size in (
            (Sequences(INPUTS, TARGETS), each_step, N),
            ((INPUTS.reshape(-1, M), TARGETS.reshape(-1)), pc.backprop.gradient, T * N),
        )
    ]
    assert_same(ends[0][0], ends[1][0], rtol=1e-10)
    assert_same(ends[0][1]["loss"], ends[1][1]["loss"], rtol=1e-12)


def test_a_run_on_sequences_is_checkpointed_and_resumed(tmp_path):
    """Bit for bit, with the mask in the data's checksum."""
    file = tmp_path / "run.npz"
    whole, history = train(MASK, epochs=3, validation=Sequences(INPUTS, TARGETS))
    train(MASK, epochs=2, validation=Sequences(INPUTS, TARGETS), checkpoint=file)
    again, resumed = train(MASK, epochs=3, validation=Sequences(INPUTS, TARGETS), resume=file)
    assert np.array_equal(flat(whole), flat(again))
    assert np.array_equal(history["validation_loss"], resumed["validation_loss"])
    with pytest.raises(ValueError, match="its data was"):
        train(~MASK | MASK, epochs=3, validation=Sequences(INPUTS, TARGETS), resume=file)


def test_labels_of_a_large_vocabulary_are_never_rows_all_at_once(monkeypatch):
    """4,000 steps of 5,000 classes are 80 MB as one-hot rows; those of a batch are less."""
    n, steps, sequences = 5000, 20, 200
    monkeypatch.setattr(pc.train, "OUTPUTS", 2**19)
    net = pc.Network([pc.Embedding(n, 2), pc.Dense(2, n)], loss="cross_entropy", input_shape=())
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, n, (2, steps, sequences))

    class EachStep:
        """The net at every step by itself."""

        blocks, loss, shapes, largest = net.blocks, net.loss, net.shapes, 0

        def forward(self, params, u):
            EachStep.largest = max(EachStep.largest, u.size)
            return net.forward(params, u.reshape(-1)).reshape(*u.shape, n)

    params = net.init(seed=0, dtype="float32")
    tracemalloc.start()
    found = pc.evaluate(EachStep(), params, Sequences(inputs, targets))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(found["loss"] - np.log(n)) < 0.5
    assert EachStep.largest * n <= 2**19
    assert peak < 40e6


# ------------------------------------------------------------------------------ the recurrent network of the package

NET = pc.RecurrentNetwork([pc.RNN(M, H), pc.Dense(H, O)], loss="cross_entropy")
PLAIN = pc.Network([pc.Dense(M, H, "tanh"), pc.Dense(H, O)], loss="cross_entropy")
DATA = Sequences(INPUTS, TARGETS, MASK)
PAIR = (INPUTS.reshape(-1, M), TARGETS.reshape(-1))
QUICK = {"optimizer": pc.SGD(0.1), "epochs": 2, "batch_size": 3, "progress": False}


@pytest.mark.parametrize("mask", [None, MASK], ids=["all steps", "masked"])
@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("bptt", {}),
        ("tbptt", {"steps": T}),
        ("checkpointed_bptt", {}),
        ("rtrl", {}),
        ("rtrl", {"influence": "exact"}),
        ("tpc_rtrl", {"inference": "fixed", "carry": "prediction", "beta": 0.3}),  # (TPR.10)
        (pc.tpc.gradient, {"inference": "fixed", "carry": "prediction", "influence": "plain"}),
    ],
)
def test_every_rule_in_time_trains_as_autograd_does(rule, options, mask):
    """The RNN is the network at the head of this file, so a run with its autograd gradient must come out."""
    expected, history = train(mask, validation=DATA)
    params, found = pc.fit(
        NET, PARAMS, Sequences(INPUTS, TARGETS, mask), rule=rule, validation=DATA, **QUICK, **options
    )
    assert_same(params, expected, rtol=1e-10)
    for name in ("loss", "validation_loss", "validation_accuracy"):
        assert_same(found[name], history[name], rtol=1e-10)
    assert not np.allclose(flat(params), flat(PARAMS), rtol=1e-3)


def test_a_rule_without_history_trains_otherwise():
    """The control of the test above: steps=1, and the layer-local influence in a stack, are not BPTT."""
    whole, _ = pc.fit(NET, PARAMS, DATA, rule="bptt", **QUICK)
    first, _ = pc.fit(NET, PARAMS, DATA, rule="tbptt", steps=1, **QUICK)
    assert np.abs(flat(whole) - flat(first)).max() > 1e-3
    same, _ = pc.fit(NET, PARAMS, DATA, rule="tpc", inference="fixed", carry="prediction", **QUICK)
    assert_same(same, first, rtol=1e-10)  # (tPC.7)
    stack = pc.RecurrentNetwork([pc.RNN(M, H), pc.RNN(H, H), pc.Dense(H, O)], loss="cross_entropy")
    ends = [
        flat(pc.fit(stack, stack.init(seed=0), DATA, rule="rtrl", influence=influence, **QUICK)[0])
        for influence in ("exact", "local")
    ]
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


CELLS = {
    "rnn": pc.RNN(M, H), "gru": pc.GRU(M, H), "lstm": pc.LSTM(M, H, learn_h0=True), "elstm": pc.ELSTM(M, H),
    "lru": pc.LRU(M, H), "rtu": pc.RTU(M, H), "lif": pc.LIF(M, H, kappa=0.5), "alif": pc.ALIF(M, H, adaptation=0.4),
}  # fmt: skip


def with_cell(name):
    """A network around one cell."""
    cell = CELLS[name]
    return pc.RecurrentNetwork([cell, pc.Dense(*cell.out_shape((M,)), O)], loss="cross_entropy")


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_goes_on_bit_for_bit(name, tmp_path):
    """Stopped in the middle of an epoch; the checkpoint alone holds network and parameters."""
    net, file = with_cell(name), tmp_path / "run.npz"
    options = {**QUICK, "optimizer": pc.Adam(0.01), "epochs": 3, "rule": "bptt", "validation": DATA}
    params = net.init(seed=1, dtype="float32")
    data = Sequences(INPUTS.astype("float32"), TARGETS, MASK)
    whole, history = pc.fit(net, params, data, **options)
    calls = []

    def stopped(*args, **more):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*args, **more)

    original = pc.train._update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pc.train, "_update", stopped)
        with pytest.raises(pc.Interrupted, match="after 1 epochs and 1 batches"):
            pc.fit(net, params, data, checkpoint=file, **options)
    again, resumed = pc.fit(net, params, data, resume=file, checkpoint=file, **options)
    assert np.array_equal(flat(whole), flat(again))
    assert flat(again).dtype == np.float32
    assert all(np.array_equal(history[k], resumed[k]) for k in history if k != "seconds")
    saved = pc.load_checkpoint(file)
    assert isinstance(saved.network, pc.RecurrentNetwork)
    assert repr(saved.network) == repr(net)
    assert pc.evaluate(saved.network, saved.run.params, data) == pc.evaluate(net, whole, data)


@pytest.mark.parametrize("name", CELLS)
def test_a_recurrent_network_is_saved_and_read(name, tmp_path):
    """Architecture and parameters, also of a stack with an Embedding."""
    cell = CELLS[name]
    net = pc.RecurrentNetwork(
        [pc.Embedding(5, M), cell, pc.Dense(*cell.out_shape((M,)), O)], loss="cross_entropy", input_shape=()
    )
    params = net.init(seed=2)
    net.save(tmp_path / "net.npz", params)
    other, found = pc.RecurrentNetwork.load(tmp_path / "net.npz")
    assert repr(other) == repr(net)
    assert np.array_equal(flat(found), flat(params))
    words = RNG.integers(0, 5, (T, N))
    assert np.array_equal(other.forward(found, words), net.forward(params, words))


def test_a_file_with_the_other_kind_says_so(tmp_path):
    """Each class reads its own."""
    for net, other in ((NET, pc.Network), (PLAIN, pc.RecurrentNetwork)):
        net.save(tmp_path / "net.npz", net.init(seed=0))
        kind = type(net).__name__
        with pytest.raises(ValueError, match=rf"net.npz holds a {kind}: read it with {kind}.load$"):
            other.load(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("symbol", "where"),
    [("W", "parameter W\\[1\\] of block 1"), ("inf", "first appeared in the output of block 2")],
)
def test_where_a_value_that_is_not_finite_began(symbol, where):
    """In evaluate and in fit, which names epoch and batch."""
    params = [{k: v.copy() for k, v in p.items()} for p in PARAMS]
    if symbol == "W":
        params[0]["W"][0, 0] = np.nan
    else:
        params[1]["W"][:] = 1e308
    with np.errstate(all="ignore"):
        with pytest.raises(FloatingPointError, match=where):
            pc.evaluate(NET, params, DATA)
        for rule in ("bptt", "rtrl", "checkpointed_bptt"):
            with pytest.raises(FloatingPointError, match=f"epoch 1, batch 1.*{where}"):
                pc.fit(NET, params, DATA, rule=rule, **QUICK)


def own_in_time(net, params, inputs, targets, mask=None, **options):
    """A rule of one's own."""
    return pc.bptt.gradient(net, params, inputs, targets, mask)


MISFITS = {
    "samples rule": (NET, DATA, "epc", {}, "rule epc is for samples .*: take bptt, tbptt, checkpointed_bptt, rtrl"),
    "samples function": (NET, DATA, pc.backprop.gradient, {}, "rule backprop is for samples"),
    "incremental": (NET, DATA, "incremental", {}, "rule incremental is for samples"),
    "samples rule, plain net": (PLAIN, DATA, "spc", {}, "rule spc is for samples"),
    "pair for the rule": (PLAIN, PAIR, "bptt", {}, "rule bptt is for Sequences.*take backprop, spc, epc"),
    "pair for the net": (NET, PAIR, "bptt", {}, r"data are a pair \(x, y\): take Sequences"),
    "pair and samples rule": (NET, PAIR, "epc", {}, "data must be Sequences.*for a RecurrentNetwork, got tuple"),
    "own rule, pair": (PLAIN, PAIR, own_in_time, {}, "rule own_in_time is for Sequences"),
    "plain net": (PLAIN, DATA, "rtrl", {}, "rule rtrl needs a RecurrentNetwork, got Network, for which there are backprop"),
    "h0": (NET, DATA, "bptt", {"h0": np.zeros((3, H))}, "h0 cannot be an option.*learn_h0.*call bptt.gradient"),
    "reset": (NET, DATA, "rtrl", {"reset": np.zeros((T, 3), bool)}, "reset cannot be an option.*call rtrl.gradient"),
    "carry": (NET, DATA, "rtrl", {"carry": None}, "carry cannot be an option.*call rtrl.gradient"),
    "carry of bptt": (NET, DATA, "bptt", {"carry": None}, "bptt.gradient has no option carry: it takes none"),
    "h0 of tPC": (NET, DATA, "tpc", {"h0": np.zeros((3, H))}, "h0 cannot be an option.*call tpc.gradient"),
    "tPC, plain net": (PLAIN, DATA, "tpc", {}, "rule tpc needs a RecurrentNetwork, got Network, for which there are backprop"),
    "tPC, pair": (NET, PAIR, "tpc_rtrl", {}, "rule tpc_rtrl is for Sequences, and data are a pair"),
    "tPC, precision of bptt": (NET, DATA, "bptt", {"precision": None}, "bptt.gradient has no option precision: it takes none"),
    "block of tPC": (NET, DATA, "tpc_rtrl", {"block": 4}, "tpc_rtrl has no option block: it takes influence, carry, inference, beta"),
    "steps": (NET, DATA, "tbptt", {}, "bptt.truncated needs the option steps"),
    "steps of bptt": (NET, DATA, "bptt", {"steps": 2}, "bptt.gradient has no option steps"),
    "inference": (NET, DATA, "rtrl", {"inference_steps": 2}, "rtrl.gradient has no option inference_steps: it takes influence, block"),
    "validation": (NET, DATA, "bptt", {"validation": PAIR}, "validation must be Sequences"),
    "validation of a plain net": (PLAIN, PAIR, "epc", {"validation": DATA}, r"validation must be a pair \(x, y\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_refused_before_any_work(case, monkeypatch):
    """Rule, network, data: all in time or none; the message names what fits."""
    net, data, rule, options, message = MISFITS[case]
    monkeypatch.setattr(pc.SGD, "step", lambda *_: pytest.fail("a weight moved"))
    with pytest.raises(TypeError, match=message):
        pc.fit(net, net.init(seed=0), data, rule=rule, **QUICK, **options)


BAD = {
    "width": (Sequences(INPUTS[:, :, :1], TARGETS), ValueError, r"inputs must have shape \(T, B, 2\), time first; got \(5, 7, 1\)"),
    "nan": (Sequences(np.where(INPUTS > 1, np.nan, INPUTS), TARGETS), ValueError, "inputs must be finite"),
    "integers": (Sequences(TARGETS, TARGETS), TypeError, "inputs must"),
    "labels": (Sequences(INPUTS, TARGETS + O), ValueError, "labels"),
    "lengths": (Sequences(INPUTS, TARGETS[:-1]), ValueError, "must agree in T and B"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_sequences_are_refused_before_any_work(case):
    """By fit and by evaluate, with the name of the argument."""
    data, kind, message = BAD[case]
    with pytest.raises(kind, match=f"data: .*{message}"):
        pc.fit(NET, PARAMS, data, rule=lambda *_: pytest.fail("work began"), **QUICK)
    with pytest.raises(kind, match=f"data: .*{message}"):
        pc.evaluate(NET, PARAMS, data)
    with pytest.raises(TypeError, match=r"data must be Sequences"):
        pc.evaluate(NET, PARAMS, PAIR)
    with pytest.raises(TypeError, match=r"data must be a pair"):
        pc.evaluate(PLAIN, PLAIN.init(seed=0), data)
