"""The engine's own inference, step by step: how long the gradient was at every step, and where it went.

A run is recorded in pieces, so that its states need not be kept; of their path some places are. The numbers are on the host.
"""

import warnings
from typing import NamedTuple

import numpy as np  # host only: reports

from .. import epc, spc
from ..backend import array_module, to_numpy
from ..inference import InferenceWarning
from .landscape import length, rounding

CHUNK = 100  # steps of one recording
KEPT = 200  # places of a run that are kept
GROWN = 1e8  # a gradient that has grown by this factor has diverged
CLEAR = 100  # a gradient so many times above rounding can be trusted


class Run(NamedTuple):
    """What inference did: the gradients' norms ``(K + 1, B)``, its steps ``(K, B)``, and where it was at every
    ``stride``th step, ``(K // stride + 1, B, D)``, and at the end, ``(B, D)``, NaN if it has diverged.

    ``step_size (B,)`` is the (last) step; ``regime``, ``curvature`` are those of ePC as the engine has them, else None.
    """

    residuals: np.ndarray
    steps: np.ndarray
    stride: int
    path: np.ndarray
    end: np.ndarray
    regime: np.ndarray
    curvature: np.ndarray
    step_size: np.ndarray

    @property
    def start(self):
        """Where it began, ``(B, D)``."""
        return self.path[0]


def run(engine, land, net, params, x, y, precision, N, step_size) -> Run:
    """The engine's inference, in recordings of CHUNK steps; samples that have diverged are left behind.

    ``engine`` is :mod:`minipc.spc` or :mod:`minipc.epc`; ``land`` the :class:`Landscape` of the same arguments.
    """
    xp, B, rows = array_module(x), len(x), np.arange(len(x))
    free = engine.feedforward(net, params, x)
    start = land.join([None, *(to_numpy(v).astype(float) for v in free[1:])])
    residuals, steps, stride = np.full((N + 1, B), np.inf), np.zeros((N, B)), N // KEPT + 1
    end, path = np.full(start.shape, np.nan), np.full((N // stride + 1, *start.shape), np.nan)
    chunk = N if isinstance(step_size, str) else CHUNK  # such steps depend on those before
    done, report = 0, None
    while True:
        count = min(chunk, N - done)
        piece = _infer(engine, net, params, free, x, y, precision, inference_steps=count, step_size=step_size)
        lanes = land.of_samples(rows)
        z = lanes.recorded(piece.recording)
        g = lanes.gradients(z)
        noise = rounding(lanes, start[rows])
        residuals[done : done + count + 1, rows] = _or_infinite(length(g))
        if done:
            report = _longer(report, piece, rows, done + count)
        else:
            report = _report(piece, step_size, B)
            steps[:] = report["step_size"]
        steps[done : done + count, rows] = _taken(z, g, noise, step_size, report["step_size"][rows])
        first = -done % stride  # of this recording that is kept
        path[(done + first) // stride : (done + count) // stride + 1, rows] = z[first::stride]
        end[rows], done = z[-1], done + count
        kept = np.flatnonzero(residuals[done, rows] < GROWN * np.maximum(residuals[0, rows], noise))
        end[np.setdiff1d(rows, rows[kept])] = np.nan
        if done == N or not kept.size:
            return Run(residuals, steps, stride, path, end, **report)
        free, here, rows = piece.s if engine is spc else piece.e, xp.asarray(kept), rows[kept]
        free, x, y = [None, *(v[here] for v in free[1:])], x[here], y[here]


def _infer(engine, net, params, free, x, y, precision, **options):
    """Steps of inference, every one recorded, without a warning: the report says what happened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        if engine is spc:
            return spc.infer(net, params, [x, *free[1:]], y, precision, **options, record_every=1)
        return epc.infer(net, params, free, x, y, precision, **options, record_every=1)


def _report(piece, step_size, B):
    """What the engine itself says: regime and curvature of ePC, the (last) step of each sample."""
    found = {name: getattr(piece, name, None) for name in ("regime", "curvature", "step_size")}
    found = {name: None if v is None else to_numpy(v).astype(float) for name, v in found.items()}
    return found if found["step_size"] is not None else {**found, "step_size": np.full(B, float(step_size))}


def _longer(report, piece, rows, steps):
    """The report with another piece of the run: the largest curvature, and the regime after all ``steps``, Eq. (ePC.17)."""
    if report["curvature"] is None:
        return report
    curvature = report["curvature"].copy()
    curvature[rows] = np.maximum(curvature[rows], to_numpy(piece.curvature))
    left = abs(1 - report["step_size"] * curvature) ** steps  # (ePC.17)
    return {**report, "curvature": curvature, "regime": 1 - left}


def _taken(z, g, noise, step_size, last):
    """The steps from ``z (K + 1, B, D)`` to the next, ``(K, B)``: zero where a trial was taken back."""
    lam = np.broadcast_to(last, g.shape[:2])[1:]
    if step_size != "adaptive":
        return lam
    squared = (g[:-1] ** 2).sum(axis=2)
    clear = squared > (CLEAR * noise) ** 2
    return np.where(clear, ((z[:-1] - z[1:]) * g[:-1]).sum(axis=2) / np.where(clear, squared, 1), lam)


def _or_infinite(v):
    return np.where(np.isfinite(v), v, np.inf)
