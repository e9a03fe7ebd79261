"""Spiking cells, e-prop and DNI: what cannot be says why, before any work."""

import numpy as np
import pytest

import minipc as pc
from minipc import rtrl, tpc

N, M, O, T, B = 4, 3, 2, 5, 2
NET = pc.RecurrentNetwork([pc.LIF(M, N), pc.Dense(N, O)])
STACK = pc.RecurrentNetwork([pc.ALIF(M, 5), pc.LIF(5, N), pc.Dense(N, O)])
OSCILLATORS = pc.RecurrentNetwork([pc.LRU(M, N), pc.Dense(N, O)])
X, Y = np.random.default_rng(0).standard_normal((T, B, M)), np.zeros((T, B, O))
WIDTH = 2 * N + O + 1

CELL = {
    "LIF n 0": (lambda: pc.LIF(3, 0), ValueError, "n of an LIF cell must be at least 1, got 0"),
    "LIF n_in float": (lambda: pc.LIF(3.0, 2), TypeError, "n_in of an LIF cell must be an integer, got 3.0"),
    "LIF kappa 1": (
        lambda: pc.LIF(3, 2, kappa=1),
        ValueError,
        r"kappa of an LIF cell must lie in \[0, 1\), got 1",
    ),
    "LIF kappa negative": (lambda: pc.LIF(3, 2, kappa=-0.1), ValueError, r"kappa .* \[0, 1\), got -0.1"),
    "LIF kappa a list": (
        lambda: pc.LIF(3, 2, kappa=[0.9]),
        TypeError,
        r"kappa of an LIF cell must be a number, got \[0.9\]",
    ),
    "LIF threshold 0": (
        lambda: pc.LIF(3, 2, threshold=0),
        ValueError,
        "threshold of an LIF cell must be positive and finite, got 0",
    ),
    "LIF threshold infinite": (lambda: pc.LIF(3, 2, threshold=np.inf), ValueError, "threshold .* got inf"),
    "LIF slope negative": (
        lambda: pc.LIF(3, 2, slope=-4.0),
        ValueError,
        "slope of an LIF cell must be positive and finite, got -4.0",
    ),
    "LIF slope NaN": (lambda: pc.LIF(3, 2, slope=np.nan), ValueError, "slope of an LIF cell .* got nan"),
    "LIF spike": (
        lambda: pc.LIF(3, 2, spike="soft"),
        ValueError,
        "spike of an LIF cell must be one of hard, smooth; got 'soft'",
    ),
    "LIF init": (lambda: pc.LIF(3, 2, init="zero"), ValueError, "init of an LIF cell .*got 'zero'"),
    "ALIF rho 1": (
        lambda: pc.ALIF(3, 2, rho=1.0),
        ValueError,
        r"rho of an ALIF cell must lie in \[0, 1\), got 1.0",
    ),
    "ALIF rho True": (
        lambda: pc.ALIF(3, 2, rho=True),
        TypeError,
        "rho of an ALIF cell must be a number, got True",
    ),
    "ALIF adaptation negative": (
        lambda: pc.ALIF(3, 2, adaptation=-0.1),
        ValueError,
        "adaptation of an ALIF cell must be finite and at least 0, got -0.1",
    ),
    "ALIF adaptation text": (
        lambda: pc.ALIF(3, 2, adaptation="0.1"),
        TypeError,
        "adaptation of an ALIF cell must be a number, got '0.1'",
    ),
    "ALIF learn_h0": (
        lambda: pc.ALIF(3, 2, learn_h0=None),
        TypeError,
        "learn_h0 of an ALIF cell .* got None",
    ),
    "DNI rate": (
        lambda: pc.DNI(learning_rate=0),
        ValueError,
        "learning_rate of DNI must be positive and finite, got 0",
    ),
    "DNI refresh 0": (lambda: pc.DNI(refresh=0), ValueError, "refresh of DNI must be at least 1, got 0"),
    "DNI refresh float": (
        lambda: pc.DNI(refresh=5.0),
        TypeError,
        "refresh of DNI must be an integer, got 5.0",
    ),
}


@pytest.mark.parametrize("name", CELL)
def test_what_cannot_be_built(name):
    """Cells and options refuse at once."""
    make, error, message = CELL[name]
    with pytest.raises(error, match=message):
        make()


def learn(influence, net=NET, rule=rtrl.gradient, **options):
    """The gradient under an influence."""
    return rule(net, net.init(0), X, Y, influence=influence, **options)


CALL = {
    "feedback a number": (
        lambda: learn(pc.EProp(0.5)),
        TypeError,
        r"feedback must be an array \(one cell\) or a list of arrays, one a cell; got float",
    ),
    "feedback transposed": (
        lambda: learn(pc.EProp(np.ones((O, N)))),
        ValueError,
        r"feedback of block 1, LIF, must have shape \(4, 2\), got \(2, 4\)",
    ),
    "feedback of the whole state": (
        lambda: learn(pc.EProp(np.ones((2 * N, O)))),
        ValueError,
        r"feedback of block 1, LIF, must have shape \(4, 2\), got \(8, 2\)",
    ),
    "feedback for one of two cells": (
        lambda: learn(pc.EProp(np.ones((N, O))), STACK),
        ValueError,
        "feedback must have 2 matrices, one a cell; got 1",
    ),
    "feedback of integers": (
        lambda: learn(pc.EProp(np.ones((N, O), int))),
        TypeError,
        "feedback of block 1 must hold float32 or float64 numbers, got int64",
    ),
    "feedback NaN": (
        lambda: learn(pc.EProp([None, np.full((N, O), np.nan)]), STACK),
        ValueError,
        "feedback of block 2 must be finite",
    ),
    "feedback of an LRU": (
        lambda: learn(pc.EProp(np.ones((N, O))), OSCILLATORS),
        ValueError,
        r"feedback of block 1, Re\(C h\) \+ D u, cannot be given: its credit is complex; take None",
    ),
    "feedback in tPC": (
        lambda: learn(pc.EProp(np.ones((O, N))), rule=tpc.gradient),
        ValueError,
        r"feedback of block 1, LIF, must have shape \(4, 2\), got \(2, 4\)",
    ),
    "a learned initial state": (
        lambda: learn("eprop", pc.RecurrentNetwork([pc.LIF(M, N, learn_h0=True), pc.Dense(N, O)])),
        ValueError,
        "influence eprop: block 1, LIF, learns its initial state, which is not followed: take exact or hybrid",
    ),
    "e-prop as a class": (
        lambda: learn(pc.EProp),
        ValueError,
        "influence must be one of .*eprop, dni; got <class",
    ),
    "e-prop in capitals": (
        lambda: learn("e-prop"),
        ValueError,
        "influence must be one of .*eprop.*; got 'e-prop'",
    ),
    "e-prop in blocks": (
        lambda: learn("eprop", block=4),
        ValueError,
        "block is an option of the influence hybrid, not of eprop",
    ),
    "DNI in blocks": (
        lambda: learn(pc.DNI(), block=4),
        ValueError,
        "block is an option of the influence hybrid, not of dni",
    ),
    "A text": (
        lambda: learn(pc.DNI("zero")),
        TypeError,
        r"A must be an array \(one cell\) or a list of arrays, one a cell; got str",
    ),
    "A without y": (
        lambda: learn(pc.DNI(np.zeros((2 * N, 2 * N + 1)))),
        ValueError,
        rf"A of block 1, LIF, must have shape \(8, {WIDTH}\), for \[h; y; 1\]; got \(8, 9\)",
    ),
    "A of integers": (
        lambda: learn(pc.DNI(np.zeros((2 * N, WIDTH), int))),
        TypeError,
        "A of block 1 must hold float32 or float64 numbers, got int64",
    ),
    "A infinite": (
        lambda: learn(pc.DNI(np.full((2 * N, WIDTH), np.inf))),
        ValueError,
        "A of block 1 must be finite",
    ),
    "A for one of two cells": (
        lambda: learn(pc.DNI([None]), STACK),
        ValueError,
        "A must have 2 matrices, one a cell; got 1",
    ),
    "A complex for real credit": (
        lambda: learn(pc.DNI(np.zeros((2 * N, WIDTH), complex))),
        TypeError,
        "A of block 1, LIF, must be real, as its state is; got complex128",
    ),
    "the states of another cell": (
        lambda: rtrl.gradient(NET, NET.init(0), X, Y, None, np.zeros((B, N)), influence="eprop"),
        ValueError,
        r"h0 of block 1, LIF, must have shape \(2, 8\), got \(2, 4\)",
    ),
}


@pytest.mark.parametrize("name", CALL)
def test_what_cannot_be_learned_by(name, no_work):
    """Influences refuse before the first step."""
    call, error, message = CALL[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("first", "second"), [("eprop", "dni"), ("dni", "eprop"), ("exact", "eprop")])
def test_a_carry_of_another_influence_is_refused(first, second):
    """Both are named."""
    carry = learn(first).carry
    with pytest.raises(
        ValueError, match=f"carry must be that of the influence {second}, got that of {first}"
    ):
        learn(second, carry=carry)


def test_feedback_and_a_take_the_precision_of_the_states():
    """Matrices in float64 beside parameters in float32: the gradient stays float32."""
    params = NET.init(0, dtype="float32")
    x, y = X.astype(np.float32), Y.astype(np.float32)
    for influence in (pc.EProp(np.ones((N, O))), pc.DNI(np.ones((2 * N, WIDTH)))):
        g = rtrl.gradient(NET, params, x, y, influence=influence)
        assert {v.dtype for p in g.grads for v in p.values()} == {np.dtype(np.float32)}
        assert {v.dtype for v in g.carry.influence.own[0].values()} == {np.dtype(np.float32)}
