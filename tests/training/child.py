"""A training run in a process of its own, to be stopped by force: ``python child.py FOLDER [HOW]``.

It continues from FOLDER/run.npz if that is there, writes a checkpoint after every batch, and at the end parameters and
history to FOLDER/end.npz. HOW makes it kill itself at a place inside the writing, or meet a full disk.
"""

import os
import pathlib
import signal
import sys
import time

import numpy as np

import minipc as pc

EPOCHS = 3
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((14, 4)), RNG.integers(0, 3, 14)
NET = pc.Network([pc.Dense(4, 6, "tanh"), pc.Dense(6, 3)], loss="cross_entropy")


PAUSE = {"seconds": 0.003}


def slow(net, params, x, y):
    """ePC that takes its time."""
    time.sleep(PAUSE["seconds"])
    return pc.epc.gradient(net, params, x, y, inference_steps=3)


def run(folder, **options):
    """Train; the result as arrays."""
    file = folder / "run.npz"
    params, history = pc.fit(
        NET, NET.init(seed=1), (X, Y), rule=slow, optimizer=pc.Adam(0.02), epochs=EPOCHS, batch_size=2, seed=2,
        validation=(X[:5], Y[:5]), checkpoint=file, checkpoint_every=1, resume=file if file.exists() else None,
        progress=False, **options,
    )  # fmt: skip
    leaves = {f"{l}.{name}": value for l, p in enumerate(params) for name, value in p.items()}
    return leaves | {name: values for name, values in history.items() if name != "seconds"}


def die():
    """No handler, no finally, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


def sabotage(how):
    """Die in the writing number ``n`` of the checkpoint, at one of its steps."""
    step, number = how.split(":")
    count = 0

    def at(original, before):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count == int(number) and before:
                die()
            result = original(*args, **options)
            if count == int(number):
                die()
            return result

        return call

    if step == "begin":
        np.savez = at(np.savez, before=True)
    elif step == "half":
        whole = np.savez

        def half(file, **arrays):
            nonlocal count
            count += 1
            if count == int(number):
                whole(file, **dict(list(arrays.items())[: len(arrays) // 2]))
                file.flush()
                die()
            whole(file, **arrays)

        np.savez = half
    elif step == "flush":
        os.fsync = at(os.fsync, before=True)
    elif step == "rename":
        os.replace = at(os.replace, before=True)
    elif step == "renamed":
        os.replace = at(os.replace, before=False)
    else:
        raise ValueError(how)


def limit_file_size(size):
    """From now on files cannot grow beyond so many bytes: a disk that is full."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def main(folder, how=None):
    """One life."""
    folder, options = pathlib.Path(folder), {}
    if how == "full":
        options["callbacks"] = [lambda epoch, params, history: limit_file_size(2000) if epoch == 1 else None]
    elif how == "slow":
        PAUSE["seconds"] = 0.2
    elif how is not None:
        sabotage(how)
    try:
        np.savez(folder / "end.npz", **run(folder, **options))
    except pc.CheckpointError as error:
        print(f"{len(error.history.get('loss', ()))} epochs: {error}")
        sys.exit(3)
    except pc.Interrupted as stop:
        print(stop)
        sys.exit(4)


if __name__ == "__main__":
    main(*sys.argv[1:])
