"""Training on a device: everything that fit offers, on the stand-in and, where there is one, on a GPU."""

import functools

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from backend.calls import arrays
from backend.fakecupy import DeviceArray, count_syncs, map_arrays, to_device
from minipc.data import Sequences

RNG = np.random.default_rng(2)
NET = pc.Network([pc.Dense(4, 6, "tanh"), pc.Dense(6, 3)], loss="cross_entropy")
PARAMS = NET.init(seed=1)
X, Y = RNG.standard_normal((9, 4)), RNG.integers(0, 3, 9)
OPTIMIZER = pc.Clip(
    pc.ByBlock({1: pc.SGD(pc.Cosine(0.1, steps=8), momentum=0.9)}, otherwise=pc.AdamW(0.05)), 0.5
)
SETTING = {
    "rule": "epc", "optimizer": OPTIMIZER, "epochs": 3, "batch_size": 4, "seed": 3, "progress": False,
    "metrics": ["accuracy", "absolute_error"], "early_stopping": pc.EarlyStopping(patience=9), "inference_steps": 3,
}  # fmt: skip


def run(move, folder, epochs=3, **options):
    """fit with arrays that ``move`` has brought to their place."""
    data = (move(X), move(Y))
    return pc.fit(
        NET, map_arrays(move, PARAMS), data, validation=data, **{**SETTING, "epochs": epochs, **options}
    )


def everything(move, kind, folder):
    """The run on a device is the host's; its checkpoint can be read on the host, and is continued on the device."""
    expected = run(np.asarray, folder)
    file = folder / "run.npz"
    first, _ = run(move, folder, epochs=2, checkpoint=file)
    assert {type(a) for a in arrays(first)} == {kind}
    saved = pc.load_checkpoint(file).run
    assert {type(a) for a in arrays([saved.params, saved.state, saved.best])} == {np.ndarray}
    params, history = run(move, folder, resume=file)
    assert {type(a) for a in arrays(params)} == {kind}
    assert_same(map_arrays(pc.to_numpy, params), expected[0], rtol=1e-10)
    assert history.keys() == expected[1].keys()
    for name in history.keys() - {"seconds"}:
        assert_same(history[name], expected[1][name], rtol=1e-10)


def test_a_run_on_the_device_is_that_on_the_host(fake_device, tmp_path):
    """Metrics, schedule, clipping, groups, early stopping, checkpoint and resuming."""
    everything(to_device, DeviceArray, tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not pc.gpu_available(), reason="needs CuPy and a device")
def test_a_run_on_a_gpu_is_that_on_the_host(tmp_path):
    """The same, where there is one."""
    import cupy

    everything(cupy.asarray, cupy.ndarray, tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not pc.gpu_available(), reason="needs CuPy and a device")
def test_the_command_trains_on_a_gpu(tmp_path, monkeypatch):
    """From the words to a checkpoint."""
    from minipc import __main__

    monkeypatch.chdir(tmp_path)
    assert __main__.main(["train", "digits", "--rule", "epc", "--epochs", "1", "--device", "gpu"]) == 0


def each_step(net, params, inputs, targets, mask):
    """Backprop of every step by itself, for a net without memory."""
    T, B = targets.shape
    g = pc.backprop.gradient(net, params, inputs.reshape(T * B, -1), targets.reshape(-1))
    return g._replace(loss=(g.loss.reshape(T, B) * mask).sum(axis=0))


class Steps:
    """A net without memory that takes sequences."""

    def __init__(self):
        self.blocks, self.loss, self.shapes = NET.blocks, NET.loss, NET.shapes

    def forward(self, params, inputs):
        T, B = inputs.shape[:2]
        return NET.forward(params, inputs.reshape(T * B, -1)).reshape(T, B, -1)


def test_sequences_and_masks_stay_on_the_device(fake_device):
    """The mask, too; the numbers are the host's."""
    U, C, mask = (
        RNG.standard_normal((3, 5, 4)),
        RNG.integers(0, 3, (3, 5)),
        np.arange(15).reshape(3, 5) % 4 != 1,
    )
    results = []
    for move in (np.asarray, to_device):
        data = Sequences(*(move(a) for a in (U, C, mask)))
        results.append(
            pc.fit(
                Steps(),
                map_arrays(move, PARAMS),
                data,
                rule=each_step,
                optimizer=pc.Adam(0.01),
                epochs=2,
                batch_size=2,
                validation=data,
                progress=False,
            )
        )
    assert {type(a) for a in arrays(results[1][0])} == {DeviceArray}
    assert_same(map_arrays(pc.to_numpy, results[1][0]), results[0][0], rtol=1e-12)
    assert np.array_equal(results[1][1]["validation_loss"], results[0][1]["validation_loss"])


@pytest.mark.parametrize("batches", [2, 5])
def test_clipping_groups_and_schedules_wait_for_nothing(batches, fake_device):
    """As many synchronisations as plain gradient descent."""
    counts = []
    for optimizer in (OPTIMIZER, pc.SGD(0.1)):
        x, y = (to_device(np.tile(a, (batches, *[1] * (a.ndim - 1)))) for a in (X, Y))
        options = {
            "rule": "backprop",
            "epochs": 1,
            "batch_size": 9,
            "progress": False,
            "optimizer": optimizer,
        }
        with count_syncs() as syncs:
            pc.fit(NET, to_device(PARAMS), (x, y), **options)
            counts.append(syncs())
    assert counts[0] == counts[1]


def test_mixtures_of_places_are_refused(fake_device, tmp_path):
    """A mask on the host, parameters on the device; and the other way round for the samples."""
    data = Sequences(
        to_device(RNG.standard_normal((3, 5, 4))),
        to_device(RNG.integers(0, 3, (3, 5))),
        np.ones((3, 5), bool),
    )
    fit = functools.partial(pc.fit, rule=each_step, optimizer=pc.SGD(0.1), progress=False)
    with pytest.raises(TypeError, match="mask is a numpy array but the parameters are cupy arrays"):
        fit(Steps(), to_device(PARAMS), data)
    with pytest.raises(TypeError, match="data: x is a numpy array but the parameters are cupy arrays"):
        fit(NET, to_device(PARAMS), (X, Y), rule="backprop")
