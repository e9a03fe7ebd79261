"""Exercises on variants of sPC: other schedules, other energies, other points at which the weights learn."""

from .in_space import both_chains, chain
from .register import exercise


def _options(d, **more):
    return {**chain(d), **more}


def nudge(d):
    """With a nudge ``beta``."""
    return _options(d, beta=0.3)


def penalised(d):
    """With the numbers of the multipliers' rule."""
    return _options(d, penalty=1.3, dual_step=0.7)


def _steps(inference_steps, step_size):
    return {"inference_steps": inference_steps, "step_size": step_size}


def _end(g):
    """States and gradients at the end."""
    return {"states": list(g.states), "grads": g.grads}


@exercise("sPC.11", problem=chain)
def top_down(engine, net, params, x, y, precision, inference_steps, step_size):
    """A dict: ``states`` s[0], ..., s[L-1] after some top-down sweeps from the feedforward pass, ``grads`` there."""
    return _end(engine.variants.top_down(net, params, x, y, precision, **_steps(inference_steps, step_size)))


@exercise("MOM.1", problem=lambda d: _options(d, momentum=0.6))
def momentum(engine, net, params, x, y, precision, inference_steps, step_size, momentum):
    """A dict: ``states`` after some steps of heavy ball from the feedforward pass, ``grads`` there."""
    options = _steps(inference_steps, step_size)
    return _end(engine.variants.momentum(net, params, x, y, precision, **options, momentum=momentum))


@exercise("sPC.13", problem=lambda d: _options(d, learning_rate=0.1))
def incremental(engine, net, params, x, y, precision, inference_steps, step_size, learning_rate):
    """The parameters after some joint steps of states and weights: a list of dicts ``W``, ``b``.

    The weights step by gradient descent with ``learning_rate``, the gradient divided by the batch size.
    """
    new, _, _ = engine.variants.incremental(
        *(net, params, x, y),
        optimizer=engine.optim.SGD(learning_rate),
        state=None,
        precision=precision,
        **_steps(inference_steps, step_size),
    )
    return new


@exercise("sPC.14", problem=chain)
def learned_precision(engine, net, params, s, y, precision):
    """A dict: ``energy`` (B,) with the normaliser, and ``grads``, its derivative in each precision, a list of L.

    Each derivative has the shape of its precision: a number, (n[l],) or (n[l], n[l]), summed over the batch.
    """
    given = net, params, s, y, precision
    return {
        "energy": engine.variants.full_energy(*given),
        "grads": list(engine.variants.precision_gradient(*given)),
    }


@exercise("sPC.15", problem=nudge)
def target_interpolation(engine, net, params, x, y, precision, inference_steps, step_size, beta):
    """A dict: ``states`` after some steps towards the nearer target, ``grads`` there, divided by beta."""
    options = _steps(inference_steps, step_size)
    return _end(engine.variants.target_interpolation(net, params, x, y, precision, **options, beta=beta))


@exercise("sPC.16", problem=nudge)
def nudged(engine, net, params, x, y, precision, inference_steps, step_size, beta):
    """A dict: ``states`` after some steps with the loss times beta, ``grads`` of that energy, divided by beta."""
    options = _steps(inference_steps, step_size)
    return _end(engine.variants.nudged(net, params, x, y, precision, **options, beta=beta))


@exercise("sPC.17", problem=nudge)
def centred(engine, net, params, x, y, precision, inference_steps, step_size, beta):
    """The centred difference of the gradients nudged by beta and by -beta: a list of dicts ``W``, ``b``."""
    options = _steps(inference_steps, step_size)
    return engine.variants.centred(net, params, x, y, precision, **options, beta=beta)


@exercise("sPC.20", problem=penalised)
def pc_alm(engine, net, params, x, y, precision, inference_steps, step_size, penalty, dual_step):
    """A dict: ``states`` after some steps with multipliers, ``grads`` there."""
    options = {**_steps(inference_steps, step_size), "penalty": penalty, "dual_step": dual_step}
    return _end(engine.variants.pc_alm(net, params, x, y, precision, **options))


@exercise("sPC.21", problem=both_chains)
def newton_step(engine, net, params, s, y, precision):
    """The states after one step of every unit by its own second derivative: a list s[0], ..., s[L-1].

    Blocks are in post or pre form, ``net.blocks[l].form`` says which; precisions are numbers or diagonals.
    """
    return list(engine.variants.newton_step(net, params, s, y, precision))


@exercise("ZIL.1", problem=chain)
def z_il(engine, net, params, x, y):
    """The gradient of zero-divergence inference learning: a list of dicts ``W``, ``b``."""
    return engine.variants.z_il(net, params, x, y)


@exercise("FPA.1", problem=lambda d: {**chain(d), "inference_steps": 5})
def fixed_prediction(engine, net, params, x, y, precision, inference_steps, step_size):
    """A dict: ``states`` after some steps with predictions and Jacobians of the feedforward pass, ``grads`` there."""
    options = _steps(inference_steps, step_size)
    return _end(engine.variants.fixed_prediction(net, params, x, y, precision, **options))
