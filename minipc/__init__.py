"""minipc: predictive coding from scratch, every gradient derived by hand and proven.

>>> import numpy as np, minipc as pc
>>> net = pc.Network([pc.Dense(3, 4, "tanh"), pc.Dense(4, 2)], loss="mse")
>>> params = net.init(seed=0)
>>> x, y = np.ones((2, 3)), np.zeros((2, 2))
>>> pc.backprop.gradient(net, params, x, y).grads[0]["W"].shape
(4, 3)
"""

from . import backprop, check, dag, data, epc, spc, variants
from .architectures import mupc
from .backend import as_backend, gpu_available, to_numpy
from .blocks import Dense, Embedding, Flatten
from .convolution import AvgPool2d, Conv2d, MaxPool2d
from .dag import Dag
from .inference import InferenceWarning
from .network import Gradient, Network
from .normalisation import BatchNorm2d, LayerNorm, freeze_statistics
from .optim import SGD, Adam, AdamW, ByBlock, Clip, RMSprop
from .residual import Residual
from .schedules import Cosine, StepDecay, WarmUp
from .train import accuracy, fit

__version__ = "0.2.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BatchNorm2d",
    "ByBlock",
    "Clip",
    "Conv2d",
    "Cosine",
    "Dag",
    "Dense",
    "Embedding",
    "Flatten",
    "Gradient",
    "InferenceWarning",
    "LayerNorm",
    "MaxPool2d",
    "Network",
    "RMSprop",
    "Residual",
    "StepDecay",
    "WarmUp",
    "accuracy",
    "as_backend",
    "backprop",
    "check",
    "dag",
    "data",
    "epc",
    "fit",
    "freeze_statistics",
    "gpu_available",
    "mupc",
    "spc",
    "to_numpy",
    "variants",
]
