"""Every block and recurrent cell by its name, and how a saved one is built again."""

from .blocks import Dense, Embedding, Flatten
from .cells import GRU, LSTM, RNN
from .convolution import AvgPool2d, Conv2d, MaxPool2d
from .diagonal import ELSTM, LRU, RTU
from .normalisation import BatchNorm2d, LayerNorm
from .residual import Residual
from .spiking import ALIF, LIF

_ALL = (Dense, Conv2d, MaxPool2d, AvgPool2d, Flatten, Embedding, Residual, LayerNorm, BatchNorm2d)
BLOCKS = {block.__name__: block for block in _ALL}
CELLS = {cell.__name__: cell for cell in (RNN, GRU, LSTM, ELSTM, LRU, RTU, LIF, ALIF)}


def build(name, config):
    """The block of this name with these arguments, as ``type(block).__name__`` and ``block.config()`` gave them.

    Blocks inside of blocks are [name, config] pairs. Raises a KeyError for an unknown name, and whatever the
    block raises for arguments that are wrong.

    Examples
    --------
    >>> build("Residual", {"blocks": [["Dense", {"n_in": 2, "n_out": 2}]]}).blocks[0].n_out
    2
    """
    if "blocks" in config:
        config = {**config, "blocks": [build(*inner) for inner in config["blocks"]]}
    return {**BLOCKS, **CELLS}[name](**config)
