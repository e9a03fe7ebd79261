"""Claims: the mistakes that were found in public code for learning in time are seen."""

import warnings

import numpy as np

from .. import bptt, mistakes, rtrl, tpc
from .influences import recursion
from .setting import claim, in_time, off, sequence, time_ad, tpc_loops

TANH = {"activation": "tanh", "loss": "mse"}


def by_rtrl(p, mistake):
    """RTRL of the engine and of the mutant, beside autograd: error and control."""
    mutant, exact = mistakes.load(mistake), time_ad.loss_gradient(*p.arguments)
    right = rtrl.gradient(*in_time(p), influence="exact").grads
    wrong = mutant.rtrl.gradient(*in_time(p, mutant), influence="exact").grads
    return off(right, exact), off(wrong, exact)


def by_inference(p, mistake):
    """tPC of the engine and of the mutant, beside the loop."""
    options = {"inference_steps": 4, "step_size": 0.1}
    mutant, exact = mistakes.load(mistake), tpc_loops.gradient(p, **options).grads
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mutant may climb
        wrong = mutant.tpc.gradient(*in_time(p, mutant), **options).grads
    return off(tpc.gradient(*in_time(p), **options).grads, exact), off(wrong, exact)


def as_documented(rng):
    """SnAp-1 by its trace (SNAP.3), and what a documentation calls so: immediate terms only, tBPTT(1)."""
    p = sequence(rng, ["rnn"], radius=1.5, **TANH)
    exact = recursion(p, lambda J, M: np.einsum("bkk,bk...->bk...", J, M))
    right = rtrl.gradient(*in_time(p), influence="snap-1").grads
    return off(right, exact), off(bptt.truncated(*in_time(p), steps=1).grads, exact)


@claim(
    "T42",
    "LRU.6, RTU.3, tPC.4, tPC.7, RTRL.3, SNAP.3, RTRL.6",
    "mistakes of public code: each is seen where the engine is right",
    "autograd; eight mutants",
    1e-12,
    trials=5,
)
def t42(rng):
    original = {
        **TANH,
        "form": "pre",
        "widths": [3, 5, 5],
        "mask": False,
    }  # dim x = dim y, or it would not run
    found = [
        by_rtrl(
            sequence(rng, ["lru"], gamma="free"), "the trace of B is driven by the logarithm of gamma"
        ),  # esraaelelimy/rtus, FranzKnut/jax_rtrl
        by_rtrl(
            sequence(rng, ["rtu"]), "exp(theta) is missing in the derivative of the rotation"
        ),  # esraaelelimy/rtus
        by_inference(
            sequence(rng, ["rnn", "dense"], **original),
            "phi' goes down through the transposed weights, and the error is multiplied on afterwards",
        ),  # C16Mftang/temporal-predictive-coding
        by_inference(
            sequence(rng, ["rnn", "dense"], **original),
            "phi' sits one layer off, before W instead of after it (pre form)",
        ),  # the same
        by_inference(
            sequence(rng, ["rnn", "dense"], **original),
            "the errors are those of the state before the last step",
        ),  # the same
        by_rtrl(
            sequence(rng, ["embedding", "rnn"], **TANH),
            "the traces of all rows of an embedding go into the row of the current symbol",
        ),  # an online byte model
        as_documented(rng),
        by_rtrl(
            sequence(rng, ["rnn"], reset=True, **TANH), "a reset leaves the influence as it is"
        ),  # any online code
    ]
    return max(error for error, _ in found), min(control for _, control in found)
