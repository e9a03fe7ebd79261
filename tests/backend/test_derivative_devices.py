"""The derivative checks on the stand-in device: the tables of NumPy, nothing edited, one wait of the host for each value of f."""

import sys

import numpy as np
import pytest

from backend.fakecupy import DeviceArray, count_syncs, to_device
from minipc import check

RNG = np.random.default_rng(0)
W, x, z = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 4)), RNG.standard_normal(4)


def module(array):
    """NumPy, or the stand-in that the fixture has put in the place of CuPy."""
    return sys.modules["cupy"] if isinstance(array, DeviceArray) else np


def net(params, x):
    """(5, 3)."""
    xp = module(x)
    return xp.tanh(x @ params["W"].T)


def loss(params, x):
    """A number."""
    return (net(params, x) ** 2).sum()


def loss_of_moduli(params, x):
    """The same, through abs: no complex step."""
    return (abs(net(params, x)) ** 2).sum()


def gradient(params, x):
    """Of both."""
    s = net(params, x)
    return {"W": (2 * s * (1 - s * s)).T @ x}


def product(params, x, v):
    """J^T v."""
    return {"W": ((1 - net(params, x) ** 2) * v).T @ x}


def tangent(params, x, u):
    """J u."""
    return (1 - net(params, x) ** 2) * (x @ u["W"].T)


def hessian(params, x, u):
    """H u."""
    s, a = net(params, x), x @ u["W"].T
    return {"W": ((2 - 8 * s * s + 6 * s**4) * a).T @ x}


def matrix(z, A):
    """The Jacobian of a linear map."""
    return A


CHECKS = {
    "gradient": (check.gradient, loss, gradient, ({"W": W}, x), {}),
    "gradient, projections": (check.gradient, loss, gradient, ({"W": W}, x), {"full": False}),
    "gradient, differences": (check.gradient, loss_of_moduli, gradient, ({"W": W}, x), {}),
    "gradient, two arguments": (
        check.gradient,
        lambda a, b: (a * b).sum(),
        lambda a, b: (b, a),
        (z, z + 1),
        {"wrt": (0, 1)},
    ),
    "vjp": (check.vjp, net, product, ({"W": W}, x), {}),
    "jvp": (check.jvp, net, tangent, ({"W": W}, x), {}),
    "jacobian": (check.jacobian, lambda z, A: A @ z, matrix, (z, W), {}),
    "hessian_vector": (check.hessian_vector, loss, hessian, ({"W": W}, x), {}),
    "hessian_vector of a gradient": (
        check.hessian_vector,
        loss,
        hessian,
        ({"W": W}, x),
        {"grad_f": gradient},
    ),
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_table_is_that_of_numpy(name, dtype, fake_device):
    """Right and wrong; the arrays are read-only where they are."""
    verb, f, answer, args, options = CHECKS[name]
    args = [
        {k: v.astype(dtype) for k, v in a.items()} if isinstance(a, dict) else a.astype(dtype) for a in args
    ]
    there = to_device(args)

    def wrong(*a):
        g = answer(*a)
        if isinstance(g, dict):
            return {k: 2 * v for k, v in g.items()}
        return tuple(2 * v for v in g) if isinstance(g, tuple) else 2 * g

    for given, correct in ((answer, True), (wrong, False)):
        one, other = (verb(f, given, *a, **options) for a in (args, there))
        assert other.correct == correct, f"\n{other}"
        assert str(one) == str(other)


@pytest.mark.parametrize("name", ["gradient", "gradient, differences"])
def test_the_host_waits_once_for_each_value(name, fake_device):
    """And a few times more to look at arguments and answer."""
    verb, f, answer, args, _ = CHECKS[name]
    calls = []

    def counted(*a):
        calls.append(a)
        return f(*a)

    with count_syncs() as syncs:
        assert verb(counted, answer, *to_device(args)).correct
        assert len(calls) <= syncs() <= len(calls) + 25
