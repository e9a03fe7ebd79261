"""minipc: predictive coding from scratch, every gradient derived by hand and proven.

>>> import numpy as np, minipc as pc
>>> net = pc.Network([pc.Dense(3, 4, "tanh"), pc.Dense(4, 2)], loss="mse")
>>> params = net.init(seed=0)
>>> x, y = np.ones((2, 3)), np.zeros((2, 2))
>>> pc.backprop.gradient(net, params, x, y).grads[0]["W"].shape
(4, 3)
"""

from . import (
    approximations,
    backprop,
    bptt,
    check,
    dag,
    data,
    epc,
    influence,
    plotting,
    rtrl,
    spc,
    tpc,
    variants,
)
from .approximations import KF, RFLO, UORO, KeRNL, ReverseKF, Sketch, SnAp
from .architectures import mupc
from .backend import as_backend, gpu_available, to_numpy
from .blocks import Dense, Embedding, Flatten
from .cells import GRU, LSTM, RNN
from .checkpoint import load_checkpoint
from .convolution import AvgPool2d, Conv2d, MaxPool2d
from .dag import Dag
from .diagonal import ELSTM, LRU, RTU
from .dni import DNI
from .eprop import EProp
from .inference import InferenceWarning
from .network import Gradient, Network
from .normalisation import BatchNorm2d, LayerNorm, freeze_statistics
from .optim import SGD, Adam, AdamW, ByBlock, Clip, RMSprop
from .recurrent import RecurrentNetwork
from .residual import Residual
from .rules import RULES
from .schedules import Cosine, StepDecay, WarmUp
from .spiking import ALIF, LIF
from .train import CheckpointError, EarlyStopping, Interrupted, accuracy, evaluate, fit

__version__ = "0.6.0"

__all__ = [
    "ALIF",
    "DNI",
    "ELSTM",
    "GRU",
    "KF",
    "LIF",
    "LRU",
    "LSTM",
    "RFLO",
    "RNN",
    "RTU",
    "RULES",
    "SGD",
    "UORO",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BatchNorm2d",
    "ByBlock",
    "CheckpointError",
    "Clip",
    "Conv2d",
    "Cosine",
    "Dag",
    "Dense",
    "EProp",
    "EarlyStopping",
    "Embedding",
    "Flatten",
    "Gradient",
    "InferenceWarning",
    "Interrupted",
    "KeRNL",
    "LayerNorm",
    "MaxPool2d",
    "Network",
    "RMSprop",
    "RecurrentNetwork",
    "Residual",
    "ReverseKF",
    "Sketch",
    "SnAp",
    "StepDecay",
    "WarmUp",
    "accuracy",
    "approximations",
    "as_backend",
    "backprop",
    "bptt",
    "check",
    "dag",
    "data",
    "epc",
    "evaluate",
    "fit",
    "freeze_statistics",
    "gpu_available",
    "influence",
    "load_checkpoint",
    "mupc",
    "plotting",
    "rtrl",
    "spc",
    "to_numpy",
    "tpc",
    "variants",
]
