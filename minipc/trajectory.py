r"""The trajectory of temporal predictive coding: predicted, inferred and carried, step after step.

=========  ==========================================================================================
(tPC.1)    :math:`\mu_t = f(c_{t-1}, u_t; \theta)`, :math:`\varepsilon_t = s_t - \mu_t`
(tPC.8)    nothing observed: :math:`s_t = \mu_t`
(TPR.4)    carry :math:`c_t = s_t` ("state"), step by step; or :math:`\mu_t` ("prediction"), all steps at once
=========  ==========================================================================================

What stands below the last cell runs forward; its state is inferred with the states above it (:mod:`minipc.timestep`).
Learning (:mod:`minipc.tpc`) and filtering (:mod:`minipc.filtering`) walk the same way.
"""

import warnings
from types import SimpleNamespace
from typing import NamedTuple

from .backend import Array, array_module, to_numpy
from .cells import Tape
from .inference import InferenceWarning, unsettled
from .network import where_not_finite
from .recurrent import Stretch, flat_time, outputs_of, steps_through

CARRIES = ("state", "prediction")
RULES = {"spc": "sPC", "epc": "ePC"}  # in warnings


class Path(NamedTuple):
    """A stretch of time with its inference.

    ``stretch`` has the tapes, inputs and derivatives of the blocks up to the last cell, at the carried states; ``mu``, ``s``
    (T, B, N) as the cell has them; ``q (T, B, N)`` credit at mu; ``direct (T, B, m)`` credit at the cell's input beside its
    state, or None; ``looks`` what inference found, in the order of the steps (all in one if they were lanes); ``last`` the
    states to go on with; ``cut`` the steps; ``covariance`` with (KAL.4).
    """

    stretch: Stretch
    mu: Array
    s: Array
    q: Array
    direct: Array
    looks: list
    last: list
    cut: slice
    covariance: list


def walk(net, params, p, step, carry, length, weight=None, kalman=None):
    """Follow the trajectory in stretches of ``length`` steps: yields a :class:`Path` each, Eqs. (tPC.1)-(tPC.8).

    ``weight (T, B, 1 or o)`` of the loss; None: the mask of ``p``. ``kalman``: a :class:`Propagated`.
    """
    xp, T, c = array_module(p.inputs), len(p.inputs), net.cells[-1]
    if weight is None and p.mask is not None:
        weight = p.mask[:, :, None].astype(p.targets.dtype)
    seen = [True] * T if weight is None else to_numpy(weight.any(axis=(1, 2))).tolist()
    h, below = list(p.start), SimpleNamespace(blocks=net.blocks[:c])
    for begin in range(0, T, length):
        cut = slice(begin, min(begin + length, T))
        reset = None if p.reset is None else p.reset[cut]
        x, tapes, inputs = p.inputs[cut], [], []
        for l, (out, last, tape) in enumerate(steps_through(below, params[:c], h[:c], x, reset, p.start[:c])):
            inputs, tapes, x, h[l] = [*inputs, x], [*tapes, tape], out, last
        y, w = p.targets[cut], None if weight is None else weight[cut]
        follow = _follow if carry == "state" else _free
        mu, s, tape, looks, h[c], covariance = follow(
            net.blocks[c], params[c], h[c], x, y, w, reset, p.start[c], step, seen[cut], kalman
        )
        _check_finite(net, params, p, cut, looks, s)
        stretch = Stretch(None, None, [*tapes, tape], [*inputs, x])
        q = xp.stack([step.credit(look.now) for look in looks]).reshape(mu.shape)
        direct = None
        if step.complex and c:
            direct = xp.stack([step.direct(look.now) for look in looks]).reshape(*mu.shape[:2], -1)
        yield Path(stretch, mu, s, q, direct, looks, list(h), cut, covariance)


def _follow(cell, p, state, x, y, w, reset, start, step, seen, kalman):
    """Step by step: each begins at the state inferred in the one before (TPR.4)."""
    land = None if kalman is not None else step.follower(y, x, w)
    if land is not None:  # the same numbers, with less work
        states = []

        def infer(t, mu):
            states.append(land(t, mu))
            return states[-1]

        mu, tape = cell.scan(p, state, x, reset, start, infer)
        s, lanes = array_module(x).stack(states), None if w is None else flat_time(w)
        look = step.look(flat_time(s), flat_time(mu), flat_time(y), flat_time(x), lanes)
        return mu, s, tape, [look], states[-1], []
    xp, tapes, mus, states, looks, covariance = array_module(x), [], [], [], [], []
    for t in range(len(x)):
        if reset is not None:
            state = xp.where(reset[t][:, None], start, state)
        after, tape = cell.scan(p, state, x[t : t + 1])  # (tPC.1)
        mu, lanes = after[0], None if w is None else w[t]
        Pi = None if kalman is None else kalman.predict(cell, p, tape, None if reset is None else reset[t])
        look = step.infer(mu, y[t], x[t], lanes, state, Pi, idle=not seen[t])  # (TPR.1)
        if kalman is not None:
            covariance.append(kalman.update(look.now, Pi))
        state = step.as_state(look.s)  # (TPR.4)
        for values, value in ((tapes, tape), (mus, mu), (states, state), (looks, look)):
            values.append(value)
    return xp.stack(mus), xp.stack(states), _joined(tapes, reset), looks, state, covariance


def _free(cell, p, state, x, y, w, reset, start, step, seen, kalman):
    """The predictions are carried: all steps are lanes of one inference (TPR.4)."""
    after, tape = cell.scan(p, state, x, reset, start)
    lanes = None if w is None else flat_time(w)
    look = step.infer(flat_time(after), flat_time(y), flat_time(x), lanes, flat_time(tape.before))
    return after, step.as_state(look.s).reshape(after.shape), tape, [look], after[-1].copy(), []


def _check_finite(net, params, p, cut, looks, s):
    """Stop where a loss, an energy or a state is not finite, and say where that began. One synchronisation."""
    xp, shape = array_module(s), s.shape[:2]
    numbers = [xp.stack([look[i] for look in looks]).reshape(shape) for i in (2, 4, 5)]
    fine = xp.isfinite(s).all(axis=2) & xp.isfinite(xp.stack(numbers)).all(axis=0)
    if bool(fine.all()):
        return
    where = where_not_finite(net, params, outputs_of(net, params, p))
    t, b = (int(v[0]) for v in to_numpy(~fine).nonzero())
    if where.startswith("every"):  # without inference all would be well
        raise FloatingPointError(
            f"inference left the finite numbers at step {cut.start + t}, in sequence {b}: take a shorter step_size"
        )
    raise FloatingPointError(f"the loss is not finite from step {cut.start + t} on, in sequence {b}: {where}")


def _joined(tapes, reset):
    """Tapes of single steps as that of the stretch."""
    if len(tapes) == 1:
        return tapes[0]._replace(reset=reset)
    xp = array_module(tapes[0].u)
    join = lambda arrays: xp.concatenate(arrays)  # noqa: E731
    kept = tuple(join(parts) for parts in zip(*(tape.kept for tape in tapes), strict=True))
    u, before, after = (join([tape[i] for tape in tapes]) for i in range(3))
    return Tape(u, before, after, kept, reset)


def together(parts):
    """Along time."""
    return parts[0] if len(parts) == 1 else array_module(parts[0]).concatenate(parts)


def warn(rule, start, energy, residual, step_size, tolerance):
    """Warn by name of sequences whose energy rose in inference, is not finite, or that missed the tolerance."""
    flags = unsettled(start, energy, residual, tolerance)
    for flag, what in zip(flags, ("diverged", "did not converge"), strict=True):
        if not flag.any():
            continue
        t, b = (int(v[0]) for v in flag.nonzero())
        lanes = flag.any(axis=0).nonzero()[0]
        shown = ", ".join(map(str, lanes[:8])) + (", ..." if len(lanes) > 8 else "")
        message = (
            f"{RULES.get(rule, rule)} inference {what} at {flag.sum()} of {flag.size} steps, in the sequences {shown} (first: step {t} of "
            f"sequence {b})"
        )
        if what == "did not converge":
            message += f": the largest residual is {to_numpy(residual.real).max():.1e}, the tolerance {tolerance:.1e}; use more inference_steps"
        elif rule == "newton":
            message += ": the energy rose above its start, so it is not convex here; take spc or epc"
        else:
            message += (
                f": the energy rose above its start, with step_size {step_size}; a fixed step must stay below 2 / (largest "
                f"eigenvalue of the second derivative of F_t) of every lane"
            )
        warnings.warn(message, InferenceWarning, stacklevel=3)
        return
