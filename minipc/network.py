"""The chain of blocks: initialisation, forward pass, summary, saving.

A network holds no parameters. ``params`` is a list of dicts, one a block, and every gradient has exactly
this structure.
"""

import json
import math
from typing import NamedTuple

import numpy as np  # host only: random numbers and files

from .arguments import check_count, check_params, check_word, float_dtype, generator, prepare_input
from .backend import Array, array_module, to_numpy
from .files import replacing
from .functions import LOSSES
from .registry import BLOCKS, CELLS, build

FORMAT = 2  # of the files that Network.save writes


class Gradient(NamedTuple):
    """What every learning rule returns; fields a rule does not have are None.

    Attributes
    ----------
    grads : list of dicts            the structure of ``params``; what is to be subtracted, summed over the batch
    loss : (B,)                      loss of the feedforward prediction (the same for every rule)
    energy : (B,)                    energy at the end of inference
    states : list of L (B, ...)      s[0] = x, s[1], ..., s[L-1] at the end
    errors : list of L + 1           None, eps[1], ..., eps[L]; the last one is minus dLoss/dyhat
    residual : (B,)                  norm of the inference gradient at the end: how far from equilibrium
    regime : (B,)                    ePC: relaxed fraction of the fastest mode, Eq. (ePC.17); below .1 the
                                     gradient is backprop's up to a factor, above .9 it is the equilibrium's
    curvature : (B,)                 ePC: the largest curvature met, on which ``regime`` is based
    step_size : (B,)                 ePC: the last step of each sample
    recording : Recording            energies, errors and states on the way, if asked for
    final : list                     recurrent nets: state (B, N) of every cell after the last step
    initial : list                   BPTT: dLoss/dh_0 (B, N) of every cell; of a complex state dLoss/dRe + i dLoss/dIm
    carry : State                    RTRL, and DNI in tPC: states and influence, to go on with the next stretch of time
    equals : str                     tPC: which gradient this is
    """

    grads: list
    loss: Array
    energy: Array = None
    states: list = None
    errors: list = None
    residual: Array = None
    regime: Array = None
    curvature: Array = None
    step_size: Array = None
    recording: tuple = None
    final: list = None
    initial: list = None
    carry: tuple = None
    equals: str = None


class Network:
    """A chain of blocks with a loss at its end.

    Parameters
    ----------
    blocks : list of blocks      each one takes the output of the one before; the last one gives a vector
    loss : str                   "mse" (LOSS.1), "cross_entropy" (LOSS.2, the output is a vector of logits) or
                                 "binary_cross_entropy" (LOSS.4, every output is a logit of its own)
    input_shape : tuple          shape of one input sample, e.g. (3, 32, 32); needed only where the first block
                                 takes inputs of more than one shape (a Conv2d does, a Dense does not)

    Attributes
    ----------
    shapes : list of L + 1 tuples     shapes[l] is that of one sample of s[l], shapes[0] of the input

    Raises
    ------
    ValueError, TypeError        for an empty chain, something that is no block, widths that do not fit, an
                                 unknown loss

    Examples
    --------
    >>> from minipc import Dense
    >>> net = Network([Dense(2, 3, "tanh"), Dense(3, 2)], loss="cross_entropy")
    >>> params = net.init(seed=0)
    >>> net.forward(params, np.zeros((4, 2))).shape
    (4, 2)
    """

    recurrent = False
    known = BLOCKS

    def __init__(self, blocks, loss="mse", input_shape=None):
        if not isinstance(blocks, list | tuple):
            raise TypeError(f"blocks must be a list of blocks, got {type(blocks).__name__}")
        if not blocks:
            raise ValueError("a network needs at least one block, got an empty list")
        for l, block in enumerate(blocks, start=1):
            if type(block).__name__ not in self.known:
                hint = " (a recurrent cell: take RecurrentNetwork)" if type(block).__name__ in CELLS else ""
                raise TypeError(f"block {l} must be a block ({', '.join(self.known)}), got {block!r}{hint}")
            if l > 1 and getattr(block, "integer_input", False):
                raise ValueError(f"block {l} takes integers, so it must be the first block; got {block!r}")
        check_word("loss", loss, LOSSES)
        self.blocks, self.loss = list(blocks), LOSSES[loss]
        self.shapes = [_input_shape(blocks[0], input_shape)]
        for l, block in enumerate(blocks, start=1):
            try:
                self.shapes.append(tuple(block.out_shape(self.shapes[-1])))
            except ValueError as error:
                source = f"the output of block {l - 1}" if l > 1 else "the input"
                raise ValueError(f"block {l} does not fit {source}: {error}") from None
        if len(self.shapes[-1]) != 1:
            raise ValueError(
                f"the last block must give a vector (n,), got outputs of shape {self.shapes[-1]}: add Flatten()"
            )

    @property
    def sizes(self) -> list:
        """Numbers of units n[0], ..., n[L]."""
        return [math.prod(shape) for shape in self.shapes]

    def init(self, seed=0, dtype="float64"):
        """Draw parameters on the host.

        Parameters
        ----------
        seed : int or numpy.random.Generator
        dtype : "float64" (for proofs) or "float32" (for speed)

        Returns
        -------
        list of dicts, one a block. For the GPU: ``minipc.as_backend(params, like=x)``.
        """
        rng, dtype = generator(seed), float_dtype(dtype)
        return [block.init_params(rng, dtype) for block in self.blocks]

    def forward(self, params, x):
        """Prediction of the network, Eq. (BP.1); ``x (B, *shapes[0]) -> (B, n[L])``. Cost O(B P)."""
        *_, yhat = self.outputs(params, prepare_input(self, params, x))
        return yhat

    def outputs(self, params, x):
        """The output of every block in turn; ``x`` has been checked."""
        for block, p in zip(self.blocks, params, strict=True):
            x, _ = block.forward(p, x)  # (BP.1)
            yield x

    def config(self):
        """What the network is, without its parameters, as JSON can hold it; :meth:`from_config` reads it."""
        return {
            "loss": self.loss.name,
            "input_shape": list(self.shapes[0]),
            "blocks": [[type(block).__name__, block.config()] for block in self.blocks],
        }

    @classmethod
    def from_config(cls, config):
        """The network that :meth:`config` describes."""
        blocks = [build(name, options) for name, options in config["blocks"]]
        return cls(blocks, loss=config["loss"], input_shape=config.get("input_shape"))

    def __repr__(self):
        rows = [("block", "map", "in", "out", "parameters")]
        for l, block in enumerate(self.blocks, start=1):
            ends = ("x".join(map(str, shape)) or "index" for shape in self.shapes[l - 1 : l + 1])
            rows.append((str(l), block.formula, *ends, f"{_count(block):,}"))
        total = sum(_count(block) for block in self.blocks)
        least = (5, 22, 6, 6, 11)
        widths = [max(w, *(len(row[i]) for row in rows)) for i, w in enumerate(least)]
        lines = ["  ".join(f"{c!s:>{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*lines, f"loss {self.loss.name}, {total:,} parameters"])

    def save(self, path, params):
        """Write architecture and parameters to one ``.npz`` file: all or nothing, no pickle.

        The file is written under a temporary name beside ``path``, flushed to the disk and renamed, so a
        crash leaves either the old file or the new one.
        """
        check_params(self, params)
        header = {"format": FORMAT, **self.config()}
        arrays = {f"{l}.{k}": to_numpy(v) for l, p in enumerate(params, start=1) for k, v in p.items()}
        with replacing(path) as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(cls, path):
        """Read what :meth:`save` wrote: ``(network, params)``. A ValueError names what is wrong with a file."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            header = json.loads(str(arrays.pop("header")))
            if header["format"] not in (1, FORMAT):  # 1 had no input_shape: its networks began with Dense
                raise ValueError(f"its format is {header['format']!r}, this version reads {FORMAT}")
            if bool(header.get("recurrent")) != cls.recurrent:
                kind = "RecurrentNetwork" if header.get("recurrent") else "Network"
                raise OtherKindError(f"{path} holds a {kind}: read it with {kind}.load")
            net = cls.from_config(header)
            params = [{k: arrays[f"{l}.{k}"] for k in b.shapes} for l, b in enumerate(net.blocks, start=1)]
        except (FileNotFoundError, OtherKindError):
            raise
        except Exception as error:
            raise ValueError(f"{path} is not a network saved by minipc: {error!r}") from error
        check_params(net, params)
        return net, params


class OtherKindError(ValueError):
    """A file with a network of the other kind."""


def _input_shape(block, given):
    """Shape of one input sample: the first block's own, or the one that is given."""
    name, own = type(block).__name__, block.in_shape
    if given is None:
        if own is None:
            raise ValueError(
                f"input_shape must be given, e.g. (3, 32, 32): {name} takes inputs of more than one shape"
            )
        return own
    if not isinstance(given, list | tuple):
        raise TypeError(f"input_shape must be a tuple of integers, got {given!r}")
    for n in given:
        check_count("each entry of input_shape", n, least=1)
    return tuple(int(n) for n in given)


def _count(block):
    return sum(int(np.prod(shape)) for shape in block.shapes.values())


def by_layer(items):
    """Shift a list of blocks' things so that entry l belongs to layer l = 1..L; entry 0 is None."""
    return [None, *items]


def check_loss(net, params, x, loss, outputs=None):
    """Stop before inference if the feedforward loss is not finite, and say where that began.

    ``outputs`` of every block in turn, where they are not those of ``x`` alone: a sequence may begin in any state.
    """
    if not bool(array_module(loss).isfinite(loss).all()):
        raise FloatingPointError(
            f"the loss is not finite: {where_not_finite(net, params, outputs or net.outputs(params, x))}"
        )


def where_not_finite(net, params, outputs):
    """The first block in which a value that is not finite appears, in words; ``outputs`` is an iterator."""
    for l, (block, p) in enumerate(zip(net.blocks, params, strict=True), start=1):
        for name, value in p.items():
            if not np.isfinite(to_numpy(value)).all():
                return f"parameter {name}[{l}] of block {l} ({block.formula}) holds NaN or infinity"
        if not np.isfinite(to_numpy(next(outputs))).all():
            return f"it first appeared in the output of block {l} ({block.formula})"
    return f"every block's output is finite, so it appeared in the loss ({net.loss.name})"
