"""When is predictive coding backprop, and when not: rows 3, 4, 5 and 9."""

import numpy as np

import minipc as pc

from .nets import cosine, deviation, flat, tanh_problem
from .table import at_most, factor, note, row, says


@row(4, "One step of ePC is backprop, times lam in the hidden layers")
def one_step(seed=0):
    """What exactly is small-step ePC?

    Setting: tanh network 6-8-8-8-8-4 (five layers, linear output), weights N(0, 1.3^2/n_in), biases, x, y standard
    normal, B = 4, squared error, float64, one step lam = 1e-2, 1e-3, 1e-4 from e = 0. Widths are ours (the gain is
    given), so sizes land within a factor of five, the tenfold per decade within a fifth.

    Equations: (ePC.11): e_l = -lam delta_l exactly; dE/dW_1 = lam dLoss/dW_1 exactly; the other hidden layers
    lam dLoss/dW_l + O(lam^2); the output layer dLoss/dW_L + O(lam), *not* multiplied by lam.
    """
    net, p = tanh_problem(np.random.default_rng(seed), [6, 8, 8, 8, 8, 4], gain=1.3, B=4)
    L, bp = len(net.blocks), pc.backprop.gradient(net, p.params, p.x, p.y)
    exact, first, hidden, output = [], [], [], []
    for lam in (1e-2, 1e-3, 1e-4):
        g = pc.epc.gradient(net, p.params, p.x, p.y, inference_steps=1, step_size=lam)
        exact.append(max(deviation(g.errors[l], lam * bp.errors[l]) for l in range(1, L)))
        relative = [deviation(a["W"] / lam, b["W"]) for a, b in zip(g.grads[:-1], bp.grads[:-1], strict=True)]
        first.append(relative[0])
        hidden.append(relative[1:])
        output.append(deviation(g.grads[-1]["W"], bp.grads[-1]["W"]))
    ratios = [
        a / b
        for k in (0, 1)
        for a, b in zip([*hidden[k], output[k]], [*hidden[k + 1], output[k + 1]], strict=True)
    ]
    return [
        says("e against -lam delta, relative error", max(exact), "0", "at most 1e-15", max(exact) <= 1e-15),
        at_most("W_1 against lam BP, relative error", max(first), 1e-14, "exact"),
        factor("other hidden layers at lam = 1e-3, smallest / largest", [min(hidden[1]), max(hidden[1])], [0.006, 0.02], 5),
        factor("output layer at lam = 1e-3", output[1], 0.04, 5),
        factor("deviation per decade of lam, smallest / largest", [min(ratios), max(ratios)], [10, 10], 1.2),
    ]  # fmt: skip


@row(5, "sPC and ePC end at the same equilibrium, and that is not backprop")
def same_equilibrium(seed=0, nets=12, steps=20_000):
    """Two algorithms, one energy: do they find the same minimum, and is its gradient backprop's?

    Setting: 12 tanh networks 6-8-8-8-4 (linear output), weights N(0, 1/n_in), biases, x, y standard normal, B = 3,
    squared error, unit precisions, float64. sPC: 20,000 steps of 0.1; ePC: 20,000 steps of 0.02 (a long step could
    jump into the valley of another minimum). Sizes and weights are ours. Rounding lands if it is at most ten times
    the expected. The cosine to backprop (whole gradient) depends on the networks: it lands if every one is below 0.9
    and the smallest below 0.3, that is, if the equilibrium gradient is clearly not backprop's.

    Equations: (sPC.5), (ePC.5), (ePC.7).
    """
    states, grads, cosines, residual = [], [], [], []
    for k in range(nets):
        net, p = tanh_problem(np.random.default_rng([seed, k]), [6, 8, 8, 8, 4])
        a = pc.spc.gradient(net, p.params, p.x, p.y, inference_steps=steps, step_size=0.1)
        b = pc.epc.gradient(net, p.params, p.x, p.y, inference_steps=steps, step_size=0.02)
        bp = pc.backprop.gradient(net, p.params, p.x, p.y)
        residual.append(float(max(a.residual.max(), b.residual.max())))
        states.append(max(deviation(u, v) for u, v in zip(a.states[1:], b.states[1:], strict=True)))
        grads.append(max(deviation(u[n], v[n]) for u, v in zip(a.grads, b.grads, strict=True) for n in u))
        cosines.append(cosine(flat(a.grads), flat(bp.grads)))
    return [
        note("largest residual of any sample, both rules", max(residual)),
        at_most("states, worst relative difference", max(states), 1e-13, "1e-14"),
        at_most("weight gradients, worst relative difference", max(grads), 3e-13, "3e-14"),
        says("cosine to backprop, smallest / largest", [min(cosines), max(cosines)], "0.06 / 0.79",
             "largest below 0.9, smallest below 0.3", max(cosines) < 0.9 and min(cosines) < 0.3),
    ]  # fmt: skip
