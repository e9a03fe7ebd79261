"""Checkpoints: all that a run needs to go on as if it had never stopped, in one ``.npz`` file without pickle.

In the file: ``header``, a text in JSON (position, configuration, generator, versions), and arrays: parameters,
the leaves of the optimiser's state, history, and what the epoch under way has measured so far.
"""

import json
import zlib
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np  # host only: files

from .backend import is_array, to_numpy
from .files import replacing
from .network import Network
from .recurrent import RecurrentNetwork

FORMAT = 1


class Run(NamedTuple):
    """A training run at one moment, between two batches. ``fit`` replaces it as a whole, so it is never torn.

    Attributes
    ----------
    params : list of dicts
    state : any                     of the optimiser
    generator : dict                state of the random generator at the beginning of the epoch under way
    losses, energies : list         per sample, of the batches done in it; entries beyond ``batch`` do not count
    epoch, batch : int              epochs done; batches done in the epoch under way
    seconds : float                 of training in it
    history : dict of lists         one number an epoch
    best : list of dicts            parameters of the best epoch so far, where early stopping keeps them; or None
    drawn : list of dicts           states of the random generators among the options of the rule
    """

    params: list
    state: Any
    generator: dict
    losses: list
    energies: list
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    history: dict = {}  # noqa: RUF012 - never changed
    best: list = None
    drawn: list = []  # noqa: RUF012 - never changed


class Checkpoint(NamedTuple):
    """What :func:`load_checkpoint` reads: the run, the configuration it was started with, and the versions.

    ``run.state`` is a list of the leaves of the optimiser's state; ``fit`` gives them their structure.
    """

    run: Run
    config: dict
    versions: dict

    @property
    def network(self):
        """The :class:`~minipc.Network` or :class:`~minipc.RecurrentNetwork`; its parameters are ``run.params``."""
        config = self.config["network"]
        return (RecurrentNetwork if config.get("recurrent") else Network).from_config(config)


def versions():
    """Versions of everything that a number depends on."""
    import platform  # here: it is slow to import

    from . import __version__

    return {"minipc": __version__, "numpy": np.__version__, "python": platform.python_version()}


def save_checkpoint(path, run, config):
    """Write a run: all or nothing; a crash at any moment leaves the file that was there before."""
    arrays = {f"params.{name}": value for name, value in _flat(run.params)}
    if run.best is not None:
        arrays |= {f"best.{name}": value for name, value in _flat(run.best)}
    arrays |= {f"state.{i}": np.asarray(to_numpy(leaf)) for i, leaf in enumerate(leaves(run.state))}
    arrays |= {f"history.{name}": np.array(values) for name, values in run.history.items()}
    # of a batch that was not completed nothing counts
    measured = {
        name: [to_numpy(v) for v in getattr(run, name)[: run.batch]] for name in ("losses", "energies")
    }
    arrays |= {name: np.concatenate(parts) for name, parts in measured.items() if parts}
    header = {
        "format": FORMAT,
        "config": config,
        "versions": versions(),
        "generator": _as_lists(run.generator),
        "drawn": [_as_lists(state) for state in run.drawn],
        "epoch": run.epoch,
        "batch": run.batch,
        "seconds": run.seconds,
        "blocks": len(run.params),
        "sizes": {name: [len(part) for part in parts] for name, parts in measured.items()},
    }
    with replacing(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def load_checkpoint(path) -> Checkpoint:
    """Read a checkpoint that ``fit`` wrote.

    Raises
    ------
    FileNotFoundError        there is no such file
    ValueError               it is no checkpoint, is damaged, or belongs to another version of the format

    Examples
    --------
    >>> import numpy as np, os, tempfile, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 1)])
    >>> data, folder = (np.ones((4, 2)), np.zeros((4, 1))), tempfile.TemporaryDirectory()
    >>> file = os.path.join(folder.name, "run.npz")
    >>> params, _ = pc.fit(net, net.init(seed=0), data, rule="epc", optimizer=pc.SGD(0.1), epochs=2,
    ...                    checkpoint=file, progress=False)
    >>> saved = pc.load_checkpoint(file)
    >>> saved.run.epoch, bool((saved.run.params[0]["W"] == params[0]["W"]).all())
    (2, True)
    >>> folder.cleanup()
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        header = json.loads(str(arrays.pop("header")))
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}, this version reads {FORMAT}")
        params, best = (_unflat(_part(arrays, name), header["blocks"]) for name in ("params", "best"))
        run = Run(
            params=params,
            state=_numbered(arrays, "state"),
            generator=_as_states(header["generator"]),
            drawn=[_as_states(state) for state in header.get("drawn", [])],  # of none before version 0.5
            epoch=header["epoch"],
            batch=header["batch"],
            losses=_split(arrays, header, "losses"),
            energies=_split(arrays, header, "energies"),
            seconds=header["seconds"],
            history={name: values.tolist() for name, values in _part(arrays, "history").items()},
            best=best if _part(arrays, "best") else None,
        )
        return Checkpoint(run, header["config"], header["versions"])
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a checkpoint of minipc: {error!r}") from error


def _as_lists(state):
    """The state of a random generator without arrays, which some have, for JSON."""
    if isinstance(state, dict):
        return {name: _as_lists(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def _as_states(state):
    """What :func:`_as_lists` has written, with arrays again."""
    if isinstance(state, dict):
        return {name: _as_states(value) for name, value in state.items()}
    return np.array(state, np.uint64) if isinstance(state, list) else state


def _flat(params):
    return ((f"{l}.{name}", to_numpy(value)) for l, p in enumerate(params) for name, value in p.items())


def _unflat(arrays, blocks):
    params = [{} for _ in range(blocks)]
    for key, value in arrays.items():
        l, _, name = key.partition(".")
        params[int(l)][name] = value
    return params


def _part(arrays, first):
    """The arrays whose name begins with ``first.``, by the rest of their names."""
    return {
        key.removeprefix(f"{first}."): value for key, value in arrays.items() if key.startswith(f"{first}.")
    }


def _numbered(arrays, first):
    part = _part(arrays, first)
    return [part[str(i)] for i in range(len(part))]


def _split(arrays, header, name):
    """The losses or energies of each batch, which stand in one array in the file."""
    sizes = header["sizes"][name]
    return np.split(arrays[name], np.cumsum(sizes)[:-1]) if sizes else []


def leaves(tree):
    """Arrays and numbers of nested tuples, lists and dicts, in order."""
    if tree is None:
        return []
    if isinstance(tree, dict | list | tuple):
        return [
            leaf for value in (tree.values() if isinstance(tree, dict) else tree) for leaf in leaves(value)
        ]
    return [tree]


def rebuild(template, found):
    """The structure of ``template`` with other leaves: an iterator over them, in the order of :func:`leaves`."""
    if template is None:
        return None
    if isinstance(template, dict):
        return {key: rebuild(value, found) for key, value in template.items()}
    if isinstance(template, list | tuple):
        values = [rebuild(value, found) for value in template]
        return type(template)(*values) if hasattr(template, "_fields") else type(template)(values)
    leaf = next(found)
    return leaf if is_array(template) else type(template)(leaf)


def describe(value):
    """Anything a run is configured with, as JSON can hold it: functions by name, arrays by shape and checksum."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if is_array(value):
        content = np.ascontiguousarray(to_numpy(value))
        return f"{content.dtype}{list(content.shape)} {zlib.crc32(content):08x}"
    if isinstance(value, dict):
        return {str(key): describe(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [describe(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: describe({f.name: getattr(value, f.name) for f in fields(value)})}
    module = getattr(value, "__module__", type(value).__module__)
    return f"{module}.{getattr(value, '__qualname__', type(value).__qualname__)}"
