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
