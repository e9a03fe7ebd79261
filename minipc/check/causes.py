r"""Where a rule's gradient parts from the exact one: its causes, switched off one after the other.

=========  ==========================================================================================
(CHK.14)   :math:`g^0, g^1, \dots, g^n`: the rule as it is, and with the first i of its causes switched off
(CHK.16)   in space: inference to its end; then the loss in the energy with a weight that goes to zero (sPC.16)
(CHK.17)   in time: an approximate influence -> the layer-local one -> the exact one; a window of k steps -> the whole past;
           parameters that moved on the way -> parameters that stay
(CHK.18)   temporal PC: inference to its end; "plain" and "diag" -> "implicit"; :math:`\beta \to 0`, which is inference "fixed"
           with the prediction carried (TPR.10); then as (CHK.17)
=========  ==========================================================================================

The order is that of ``CAUSES``, the same for every rule. What a cause is charged with depends on it: another order gives other
parts with the same sum. Each rule has a generator here that yields ``(cause, gradients without it)`` in this order; what it does
not yield does not apply to the rule. The last gradients that it yields come from the rule's own machinery, not from
backpropagation (but for a graph), so that it is seen, not assumed, that they are the exact ones.
"""

import copy
import inspect
import warnings
from typing import Any, NamedTuple

from .. import backprop, bptt, dag, epc, rtrl, rules, spc, tpc, variants
from ..arguments import prepare, real_precision
from ..backend import Array, is_array
from ..dag import Dag
from ..epc import _zeros
from ..inference import InferenceWarning, check_precision, inner, local_gradient, weigh
from .equilibrium import rest

CAUSES = {
    "stale weights": "the weights moved while the gradient was being found",
    "inference not converged": "inference stopped before its equilibrium",
    "undamped influence": "the influence leaves out, or simplifies, how inference damps yesterday's state",
    "finite beta": "the equilibrium of a finitely weighted loss, not its limit for a weight of zero",
    "influence approximation": "an estimate of the influence in the place of the influence",
    "layer-locality": "influence across cells left out: credit between cells in space only",
    "truncation in time": "credit does not reach steps further back",
    "other": "none of these",
}
NEWTON = {"inference": "newton", "inference_steps": 30, "tolerance": None}
DESCENT = {"inference": "epc", "step_size": "adaptive", "inference_steps": 1000, "tolerance": None}


class Problem(NamedTuple):
    """What a rule is given; ``more`` are mask, h0 and reset, where there are any; ``notes`` is filled on the way."""

    net: Any
    params: list
    inputs: Array
    targets: Array
    more: dict
    notes: list

    def run(self, rule, **options):
        """Gradients of a rule of minipc, without the warnings of inference."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InferenceWarning)
            return rule(self.net, self.params, self.inputs, self.targets, **self.more, **_anew(options))


def _anew(options):
    """The options with random generators of their own: every run draws alike, and none of the caller's draws are used up."""
    return {name: value if is_array(value) else copy.deepcopy(value) for name, value in options.items()}


def way(rule, problem, options, given):
    """Yield (cause, gradients with this and all causes before it switched off) of a known rule, Eq. (CHK.14).

    ``given`` is what the rule returned with these ``options``.
    """
    return WAYS[rule](problem, _complete(rule, options), given)  # (CHK.14)


def _complete(rule, options):
    """The options with their defaults; mask, h0 and reset are none."""
    signature = inspect.signature(rule).parameters.values()
    data = ("mask", "h0", "reset")
    return {p.name: p.default for p in signature if p.default is not p.empty and p.name not in data} | options


# ---------------------------------------------------------------------- the exact gradient


def exact(problem, options):
    """Gradient of the loss, by backpropagation; the loss is weighed by the precision of the output, as the rule does it."""
    net = weighed(problem, options.get("precision"))
    if isinstance(net, Dag):
        return _through_graph(problem, options.get("precision"))
    rule = bptt.gradient if net.recurrent else backprop.gradient
    return rule(net, problem.params, problem.inputs, problem.targets, **problem.more).grads


def weighed(problem, precision):
    """The network with Pi[L] in its loss, Eq. (BP.3); the network itself if there is none."""
    net, Pi = problem.net, precision[-1] if precision else None
    if Pi is None:
        return net
    problem.notes.append("The loss is weighed by the precision of the output, in the exact gradient, too.")
    net, loss = copy.copy(net), net.loss
    like = lambda a: Pi.astype(a.dtype) if is_array(Pi) else float(Pi)  # noqa: E731
    error = lambda yhat, y: weigh(like(yhat), loss.error(yhat, y))  # noqa: E731
    net.loss = loss._replace(
        error=error, value=lambda yhat, y: 0.5 * inner(loss.error(yhat, y), error(yhat, y))
    )
    return net


def _through_graph(problem, precision):
    """Backpropagation on a graph: the d of (ePC.16) without errors."""
    net, params = problem.net, problem.params
    x, y = prepare(net, params, problem.inputs, problem.targets)
    at = dag._point(net, params, _zeros(net, params, x), x, y, _of_output(net, params, precision))
    d = [None if g is None else -g for g in dag._error_gradient(net, params, at)]
    return local_gradient(net, params, at._replace(xi=[*d, at.xi[-1]]))


def _of_output(net, params, precision):
    """Precisions by layer: one, but for the output."""
    return check_precision(
        net, params, [*[None] * (len(net.blocks) - 1), precision[-1] if precision else None]
    )


# ---------------------------------------------------------------------- in space


def _nothing(problem, options, given):
    yield from ()


def _in_space(problem, options, given):
    """sPC, ePC and what has their equilibrium."""
    yield from _to_rest(problem, options, _equilibrium(problem, given.states, options["precision"]))


def _to_rest(problem, options, at_rest):
    """Inference to its end, then the limit of no weight; ``at_rest`` are the gradients there."""
    yield "inference not converged", at_rest  # (CHK.16)
    yield "finite beta", _limit(problem, options)  # (CHK.16)


def _equilibrium(problem, states, precision, *, weight=1.0, targets=None, penalty=1.0):
    """Local gradient at the rest of E_w near these states, divided by w."""
    net, params = problem.net, problem.params
    _, y = prepare(net, params, problem.inputs, problem.targets)
    Pi = check_precision(net, params, precision)
    if penalty != 1:
        Pi = [None, *(penalty if v is None else penalty * v for v in Pi[1:-1]), Pi[-1]]
    module = dag if isinstance(net, Dag) else epc
    found = rest(module, net, params, states, y if targets is None else targets, Pi, weight)
    _note_residual(problem, found.residual)
    return _scaled(1 / weight, found.grads)


def at_rest(problem):
    """The residual below which inference has come to its end."""
    return 1e-6 if real_precision(problem.params, problem.inputs).itemsize == 8 else 1e-4


def _note_residual(problem, residual):
    if not residual < at_rest(problem):
        problem.notes.append(
            f"No equilibrium was found, the residual is {residual:.1e} (a minimum at the kink of a max-pool or of a relu is "
            f"none, and some blocks need very many steps): what is said of inference and of beta is about the point that was "
            f"reached."
        )


def _limit(problem, options):
    """The gradient for a weight of the loss that goes to zero: errors linear in it, at the feedforward point (FPA.3)."""
    net, precision = problem.net, options.get("precision")
    if isinstance(net, Dag):
        return _through_graph(problem, precision)
    L = len(net.blocks)
    Pi = [*[None] * (L - 1), precision[-1] if precision else None]
    return problem.run(variants.fixed_prediction, precision=Pi, inference_steps=L - 1, step_size=1.0).grads


def _scaled(factor, grads):
    return [{name: factor * value for name, value in g.items()} for g in grads]


def _incremental(problem, options, given):
    """The weights moved with the states; weights that stay are sPC, step by step (sPC.13)."""
    kept = {name: options[name] for name in ("precision", "inference_steps", "step_size")}
    frozen = problem.run(spc.gradient, **kept)
    yield "stale weights", frozen.grads  # (CHK.17)
    yield from _in_space(problem, options, frozen)


def _to_the_fixed_point(problem, options, given):
    """Fixed prediction: at its end it is backprop's, whatever the precisions of the hidden layers are (FPA.3)."""
    yield "inference not converged", _limit(problem, options)  # (CHK.16)


def _pc_alm(problem, options, given):
    """Multipliers at rest carry backprop's errors; without any it is sPC with rho times the precision (sPC.20)."""
    if options["dual_step"]:
        yield from _to_the_fixed_point(problem, options, given)
        return
    rho = float(options["penalty"])
    at_rest = _equilibrium(problem, given.states, options["precision"], penalty=rho)
    yield from _to_rest(problem, options, at_rest)


def _nudged(problem, options, given):
    """The loss has the weight beta."""
    beta = float(options["beta"])
    at_rest = _equilibrium(problem, given.states, options["precision"], weight=beta)  # (sPC.16)
    yield from _to_rest(problem, options, at_rest)


def _centred(problem, options, given):
    """The mean of a nudge to the target and of one away from it, each divided by its beta (sPC.17)."""
    beta, precision = float(options["beta"]), options["precision"]
    other = problem.run(variants.nudged, **(options | {"beta": -beta}))
    up = _equilibrium(problem, given.states, precision, weight=beta)
    down = _equilibrium(problem, other.states, precision, weight=-beta)
    middle = [{k: 0.5 * (p[k] + q[k]) for k in p} for p, q in zip(up, down, strict=True)]  # (sPC.17)
    yield from _to_rest(problem, options, middle)


def _target_interpolation(problem, options, given):
    """Its beta moves the target; the weight of the loss is one for every beta, and that is what parts it from backprop."""
    net, params, beta = problem.net, problem.params, float(options["beta"])
    x, y = prepare(net, params, problem.inputs, problem.targets)
    nearer = y - (1 - beta) * net.loss.error(net.forward(params, x), y)  # (sPC.15)
    at_rest = _equilibrium(problem, given.states, options["precision"], targets=nearer)
    yield from _to_rest(problem, options, _scaled(1 / beta, at_rest))  # (sPC.15)


# ---------------------------------------------------------------------- in time


def _truncated(problem, options, given):
    yield "truncation in time", problem.run(bptt.truncated, steps=len(problem.inputs)).grads  # (CHK.17)


def _rtrl(problem, options, given):
    found = lambda influence: problem.run(rtrl.gradient, influence=influence).grads  # noqa: E731
    yield from _influence(problem, options["influence"], found, "exact")


def _online(problem, options, given):
    """At parameters that stay, the gradients of all steps add up to that of the stretch (RTRL.2)."""
    yield "stale weights", problem.run(rtrl.gradient, influence=options["influence"]).grads  # (CHK.17)
    yield from _rtrl(problem, options, given)


def _influence(problem, influence, found, whole):
    """From the influence of the rule to the whole one; ``found(influence)`` are gradients with another one."""
    if influence is None:
        yield "truncation in time", found(whole)  # (CHK.17): no history at all
        return
    if influence in EXACT:
        return
    if influence != "local":
        yield "influence approximation", found("local")  # (CHK.17)
    if problem.net.cells != [0]:
        yield "layer-locality", found(whole)  # (CHK.17)


def _tpc(problem, options, given):
    settled = options
    if options["inference"] != "fixed":
        settled, grads = _settled(problem, options, given)
        yield "inference not converged", grads  # (CHK.18)
    influence = options["influence"]
    if _leaves_damping_out(problem.net, options):
        damped = _implicit(problem, settled)
        if damped is not None:
            yield "undamped influence", damped  # (CHK.18)
    free = settled | {"carry": "prediction", "inference": "fixed", "start": "prediction"}
    free |= {"step_size": 1.0, "tolerance": None}

    def found(influence):
        return problem.run(tpc.gradient, **(free | {"influence": influence})).grads

    influence = "plain" if influence in ("implicit", "diag") else influence
    if options["inference"] != "fixed" or options["carry"] == "state":
        yield "finite beta", found(influence)  # (CHK.18), (TPR.10)
    yield from _influence(problem, influence, found, "exact")


def _leaves_damping_out(net, options):
    """Is it a rule that should follow the inferred state, and follows something simpler? (TPR.5)"""
    influence = options["influence"]
    whole = influence in EXACT or influence == "diag" or (influence == "local" and net.cells == [0])
    return whole and options["carry"] == "state" and options["inference"] != "fixed"


def _settled(problem, options, given):
    """Options with which inference comes to rest, by Newton's method where there are second derivatives, and gradients."""
    best = float("inf"), options, given.grads
    for ends in (NEWTON, DESCENT):
        settled = options | {"step_size": 0.1} | ends
        try:
            g = problem.run(tpc.gradient, **settled)
        except (ValueError, FloatingPointError):  # no second derivatives; Newton went astray
            continue
        left = float(g.residual.max())
        best = (left, settled, g.grads) if left < best[0] else best
        if left < at_rest(problem):
            break
    _note_residual(problem, best[0])
    return best[1:]


def _implicit(problem, settled):
    """With the influence on the inferred state itself (TPR.6); None if the blocks have no second derivatives for it."""
    try:
        return problem.run(tpc.gradient, **(settled | {"influence": "implicit"})).grads
    except ValueError:
        problem.notes.append(
            "The damped influence cannot be found here, it needs Dense blocks above a gated cell: what its absence does is "
            "counted as finite beta."
        )
        return None


EXACT = ("plain", "exact", "hybrid", "diagonal")
WAYS = {
    backprop.gradient: _nothing,
    spc.gradient: _in_space,
    epc.gradient: _in_space,
    dag.gradient: _in_space,
    variants.top_down: _in_space,
    variants.momentum: _in_space,
    variants.incremental: _incremental,
    variants.z_il: _nothing,
    variants.fixed_prediction: _to_the_fixed_point,
    variants.pc_alm: _pc_alm,
    variants.target_interpolation: _target_interpolation,
    variants.nudged: _nudged,
    variants.centred: _centred,
    bptt.gradient: _nothing,
    bptt.truncated: _truncated,
    bptt.checkpointed: _nothing,
    rtrl.gradient: _rtrl,
    rtrl.online: _online,
    tpc.gradient: _tpc,
    rules.tpc_rtrl: _tpc,
}
