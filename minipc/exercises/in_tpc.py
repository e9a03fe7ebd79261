"""Exercises of temporal predictive coding: the energy of a step, its inference, credit, influence, the Kalman filter.

The small ones are of plain arrays: one step above a prediction, or a tanh cell with a readout. The answer is what
:class:`minipc.timestep.Timestep` and :mod:`minipc.tpc` say of the same numbers.
"""

from types import SimpleNamespace

from .register import exercise

RULE = "carry influence inference beta inference_steps step_size precision start".split()


# ---------------------------------------------------------------------- one step


def above(engine, state, readout, precision, beta=1.0, **options):
    """The step of minipc above a prediction, of the width of ``state``; readout: (W, b, activation, form) by block."""
    n = state.shape[1]
    blocks = [engine.Dense(*W.shape[::-1], kind, form=form) for W, _, kind, form in readout]
    params = [
        {"W": state[:1].T @ state[:1], "U": state[:1].T, "b": state[0]},
        *({"W": W, "b": b} for W, b, *_ in readout),
    ]
    net = engine.RecurrentNetwork([engine.RNN(1, n), *blocks])
    chosen = {"inference": "spc", "inference_steps": 1, "step_size": 1.0, "tolerance": None} | options
    chosen = {"start": "prediction"} | chosen
    return net, params, engine.timestep.Timestep(net, params, precision, beta=beta, **chosen)


def readout(draw):
    """One step above a prediction: a tanh readout without and with a hidden state."""
    n, k, o = draw.widths(3)
    B = draw.B
    return {
        **{name: draw.normal(B, n) for name in ("s", "mu", "c")},
        "z": draw.normal(B, k),
        "y": draw.normal(B, o),
        "V": draw.normal(o, n) / n**0.5,
        "d": draw.normal(o),
        "V1": draw.normal(k, n) / n**0.5,
        "d1": draw.normal(k),
        "V2": draw.normal(o, k) / k**0.5,
        "d2": draw.normal(o),
        "Pi": draw.uniform(0.5, 2.0, n),
        "Pi1": draw.uniform(0.5, 2.0, k),
        "Pi_y": draw.uniform(0.5, 2.0, o),
        "pi": float(draw.uniform(0.5, 2.0)),
        "M": draw.normal(B, n, 5),
        "seen": ~draw.chance(0.4, B),
        "beta": round(float(draw.uniform(0.3, 0.8)), 2),
        "inference_steps": 3 + draw.setting % 2,
        "step_size": round(float(draw.uniform(0.1, 0.3)), 2),
        "start": ("previous", "prediction")[draw.setting % 2],
    }


@exercise("tPC.2", problem=readout)
def energy(engine, s, z, mu, y, V1, d1, V2, d2, Pi, Pi1, beta):
    """F_t (B,) of a step: the energy of each sample, at any states s (B, n) and z (B, k).

    mu (B, n) is the prediction of s. Above it stands a readout with one hidden state z, predicted by
    tanh(s @ V1.T + d1); yhat = z @ V2.T + d2, the loss is 1/2 |yhat - y|^2. Pi (n,) is the diagonal precision of
    the state, Pi1 (k,) that of z; beta weighs the loss alone.
    """
    step = above(engine, s, [(V1, d1, "tanh", "post"), (V2, d2, "identity", "post")], [Pi, Pi1, None], beta)[2]
    return beta * engine.spc.energy(step.net, step.params, [mu, s, z], y, step.Pi[1:])


@exercise("tPC.4", problem=readout)
def infer(engine, s, mu, y, V, d, Pi, Pi_y, beta, inference_steps, step_size):
    """The state (B, n) after ``inference_steps`` steps of descent on F_t, from s (B, n), with the given step_size.

    mu (B, n) is the prediction, Pi (n,) its diagonal precision. The readout is in pre form: yhat = tanh(s) @ V.T + d;
    the loss is 1/2 (y - yhat)' Pi_y (y - yhat) with Pi_y (o,) the diagonal of R^-1, and beta weighs it.
    """
    options = {"inference_steps": inference_steps, "step_size": step_size, "start": "previous"}
    step = above(engine, s, [(V, d, "tanh", "pre")], [Pi, Pi_y], beta, **options)[2]
    return step.infer(mu, y, previous=s).s


@exercise("tPC.5", "tPC.8", problem=readout)
def infer_where_seen(engine, c, mu, y, seen, V, d, Pi, beta, inference_steps, step_size, start):
    """The state (B, n) after ``inference_steps`` steps of descent on F_t.

    They begin at the prediction mu (B, n) if ``start`` is "prediction", at the carried state c (B, n) if it is
    "previous". In samples where ``seen`` (B,) is False nothing is observed. The readout is linear,
    yhat = s @ V.T + d, the loss 1/2 |yhat - y|^2, Pi (n,) the diagonal precision of the state.
    """
    options = {"inference_steps": inference_steps, "step_size": step_size, "start": start}
    step = above(engine, c, [(V, d, "identity", "post")], [Pi, None], beta, **options)[2]
    return step.infer(mu, y, weight=seen[:, None].astype(y.dtype), previous=c).s
