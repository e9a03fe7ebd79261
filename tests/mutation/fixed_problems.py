"""The checks of the suite on their fixed problems, on the engine alone: what kills most mutants at the least cost."""

import pytest
from helpers import approximation_battery as approximate
from helpers import local_battery as local
from helpers import temporal_battery as temporal
from helpers import tpc_battery as inferred
from helpers.battery import BATTERY, SQUARE, battery_error

import minipc

IN_TIME = [
    *((temporal.temporal_error, equation) for equation in temporal.CHECKS),
    *((approximate.approximation_error, equation) for equation in approximate.CHECKS),
    *((inferred.tpc_error, equation) for equation in inferred.CHECKS),
    *((local.local_error, equation) for equation in local.CHECKS),
]


@pytest.mark.parametrize("equation", BATTERY)
def test_in_space(equation):
    """On rectangular problems, and on square ones, where a missing transpose is no error of shape."""
    assert BATTERY[equation](minipc) < 1e-10
    assert battery_error(minipc, equation, SQUARE) < 1e-10


@pytest.mark.parametrize(("error", "equation"), IN_TIME, ids=[equation for _, equation in IN_TIME])
def test_in_time(error, equation):
    """On sequences."""
    assert error(minipc, equation) < 1e-10
