"""Claims: the gradients that are derived by hand are derivatives of the loss and of the energy."""

from itertools import pairwise

import numpy as np

from .. import architectures, backprop, check, dag, epc, mistakes, spc, variants
from ..blocks import Dense
from ..dag import Dag
from .setting import ad, any_loss, block_ad, claim, make, network, oracle, rel


@claim("S01", "BP.1-BP.6", "backprop is the gradient of the loss", "autograd", 1e-12)
def s01(rng):
    p = any_loss(rng)
    error = rel(
        backprop.gradient(network(p), p.params, p.x, p.y),
        oracle(ad.loss_gradient, p, p.x, p.y, precision=False),
    )
    q, wrong = (
        make(rng, sizes=(3, 5, 5, 5, 5), form="post", activation="tanh"),
        mistakes.load("W is not transposed"),
    )
    g = wrong.backprop.gradient(network(q, wrong), q.params, q.x, q.y)
    return error, rel(g, oracle(ad.loss_gradient, q, q.x, q.y, precision=False))


@claim("S02", "sPC.1-sPC.4", "the activity gradient is dE/ds", "autograd", 1e-12)
def s02(rng):
    p = any_loss(rng)
    error = rel(
        spc.activity_gradient(network(p), p.params, p.s, p.y, p.precision),
        oracle(ad.spc_activity_gradient, p, p.s, p.y),
    )
    q = make(rng, activation="tanh")
    net = network(q)
    feedforward = spc.errors(net, q.params, spc.feedforward(net, q.params, q.x), q.y, q.precision)
    mixed = spc.errors(net, q.params, q.s, q.y, q.precision)._replace(
        tape=feedforward.tape
    )  # J at the FF point
    wrong = spc._activity_gradient(net, q.params, mixed)
    return error, rel(wrong, oracle(ad.spc_activity_gradient, q, q.s, q.y))


@claim("S03", "sPC.6, sPC.7", "the sPC weight gradient is dE/dW", "autograd", 1e-12)
def s03(rng):
    p = any_loss(rng)
    error = rel(
        spc.weight_gradient(network(p), p.params, p.s, p.y, p.precision),
        oracle(ad.spc_weight_gradient, p, p.s, p.y),
    )
    q = make(rng, activation="tanh", form="post")
    no_slope = mistakes.load("phi' is missing in the weight gradient")
    g = no_slope.spc.weight_gradient(network(q, no_slope), q.params, q.s, q.y, q.precision)
    control = rel(g, oracle(ad.spc_weight_gradient, q, q.s, q.y))
    stale = mistakes.load("stale errors: computed before the last state step")
    g = stale.spc.gradient(
        network(q, stale), q.params, q.x, q.y, q.precision, inference_steps=3, step_size=0.1
    )
    return error, min(control, rel(g, oracle(ad.spc_weight_gradient, q, g.states, q.y)))


@claim(
    "S04",
    "sPC.14",
    "the precision gradient is that of the energy with log-determinants",
    "autograd, complex step",
    1e-12,
)
def s04(rng):
    p = make(rng, loss="mse", precision=str(rng.choice(["full", "diagonal"])))
    p = p._replace(precision=[np.array(rng.uniform(0.5, 2.0)), *p.precision[1:]])  # a number, too
    net = network(p)
    gradient = [np.asarray(g) for g in variants.precision_gradient(net, p.params, p.s, p.y, p.precision)]

    def by_complex_step(energy):
        """Derivative of an energy with respect to every precision."""
        found = []
        for l, Pi in enumerate(p.precision):

            def total(value, l=l):
                return energy(net, p.params, p.s, p.y, [*p.precision[:l], value, *p.precision[l + 1 :]]).sum()

            found.append(check.complex_step(total, Pi))
        return found

    autograd = [np.asarray(g) for g in oracle(ad.precision_gradient, p, p.s, p.y)]
    error = max(rel(gradient, autograd), rel(gradient, by_complex_step(variants.full_energy)))
    wrong = mistakes.load("the log-determinant is missing in the energy")
    return error, rel(by_complex_step(wrong.variants.full_energy), gradient)


@claim("S06", "ePC.3, ePC.4", "the error gradient is dE/de", "autograd", 1e-12)
def s06(rng):
    p = any_loss(rng)
    error = rel(
        epc.error_gradient(network(p), p.params, p.e, p.x, p.y, p.precision),
        oracle(ad.epc_error_gradient, p, p.e, p.x, p.y),
    )
    q, wrong = make(rng, activation="tanh"), mistakes.load("e enters the recursion of d")
    g = wrong.epc.error_gradient(network(q, wrong), q.params, q.e, q.x, q.y, q.precision)
    return error, rel(g, oracle(ad.epc_error_gradient, q, q.e, q.x, q.y))


@claim(
    "S29", "sPC.18, sPC.19", "muPC: the activity and weight gradients of its residual net", "autograd", 1e-12
)
def s29(rng):
    depth, (n_0, width, n_L) = int(rng.integers(4, 7)), (int(n) for n in rng.permutation(np.arange(2, 8))[:3])
    activation, loss = str(rng.choice(["relu", "tanh", "gelu"])), str(rng.choice(["mse", "cross_entropy"]))

    def deviation(engine, build, n_L):
        """From autograd, and from the gradients as (sPC.19) writes them, in random states."""
        widths = [n_0, *[width] * (depth - 1), n_L]
        weights = [rng.standard_normal((m, n)) for n, m in pairwise(widths)]
        s, y = [rng.standard_normal((3, n)) for n in widths[:-1]], np.eye(n_L)[rng.integers(0, n_L, 3)]
        net = build(n_0, width, n_L, depth, activation, loss)
        params = [dict.fromkeys(block.shapes, W) for block, W in zip(net.blocks, weights, strict=True)]
        grads = engine.weight_gradient(net, params, s, y)
        found = [engine.activity_gradient(net, params, s, y), [g for layer in grads for g in layer.values()]]
        return max(
            rel(found, list(law(weights, s, y, loss, activation)))
            for law in (block_ad.mupc_energy_gradient, block_ad.mupc_gradient)
        )

    wrong = mistakes.load("the skip is kept at the output")  # where the widths allow it
    return deviation(spc, architectures.mupc, n_L), deviation(wrong.spc, wrong.architectures.mupc, width)


@claim(
    "S33",
    "ePC.16",
    "ePC on a graph: the error gradient is dE/de, the weight gradient local",
    "autograd",
    1e-12,
)
def s33(rng):  # nodes 2 to 5 have two parents; node 1 has three children, node 3 two
    parents, p = [(0,), (0, 1), (2, 1), (1, 3), (4, 3)], make(rng, depth=(5, 5))
    widths = [sum(p.sizes[i] for i in nodes) for nodes in parents]

    def graph(kind, dense):
        layers = zip(widths, p.sizes[1:], p.layers, strict=True)
        blocks = [dense(n, m, phi, form=form, gain=0.6) for n, m, (phi, form) in layers]
        return kind(blocks, parents, p.loss)

    net = graph(Dag, Dense)
    params = [{**q, "b": old["b"]} for q, old in zip(net.init(seed=rng), p.params, strict=True)]
    data, rest = (p.layers, params, parents, p.e, p.x, p.y), (p.loss, p.precision)
    exact = ad.dag_error_gradient(*data, *rest)
    here = (net, params, p.e, p.x, p.y, p.precision)
    error = max(
        rel(dag.error_gradient(*here), exact),
        rel(dag.weight_gradient(*here), ad.dag_weight_gradient(*data, *rest)),
    )
    wrong = mistakes.load("one child counts where there are two")
    return error, rel(wrong.dag.error_gradient(graph(wrong.Dag, wrong.Dense), *here[1:]), exact)
