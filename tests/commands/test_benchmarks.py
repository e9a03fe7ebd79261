"""The benchmarks run as they are typed, also where nothing is installed to compare with."""

import json
import subprocess
import sys

import numpy as np
import pytest
from contracts.source import ROOT

from benchmarks import harness, spatial, temporal, temporal_opponents
from minipc import bptt, rtrl


def run(*arguments):
    """A command in the checkout, its output."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_spatial_benchmark_prints_every_line(tmp_path):
    """Times, shares of the measured rate, first call, memory, settings; the same numbers in the file."""
    out = run(
        "-m", "benchmarks.spatial", "--rounds", "1", "--threads", "1", "--json", str(tmp_path / "b.json")
    )
    rows = json.loads((tmp_path / "b.json").read_text())
    assert [row["line"] for row in rows] == ["S BP", "S sPC", "S ePC", "D BP", "D sPC", "D ePC"]
    for row in rows:
        assert 0 < row["ms"]["minipc"] < 1e4
        assert f"{row['ms']['minipc']:.3f}" in out
    for word in ("OPENBLAS_CORETYPE", "GFLOP/s", "1st call", "resident"):
        assert word in out


def test_the_operations_are_counted_as_the_theory_does():
    """417 and 1,706 million for sPC; backprop by hand: up, down and parameters of 784-256-256-10, batch 64."""
    assert round(spatial.operations("S", "sPC") / 1e6) == 417
    assert round(spatial.operations("D", "sPC") / 1e6) == 1706
    first, rest = 784 * 256, 256 * 256 + 256 * 10
    assert spatial.operations("S", "BP") == 2 * 64 * (2 * first + 3 * rest)


def test_gradients_that_differ_are_told_apart():
    """One number a parameter: the same for the same arrays, another for a changed entry."""
    rng = np.random.default_rng(0)
    grads = [{"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(3)}]
    other = [{"W": grads[0]["W"].copy(), "b": grads[0]["b"]}]
    assert harness.difference(*map(harness.fingerprint, (grads, other))) == 0
    other[0]["W"][1, 1] += 0.1
    assert harness.difference(*map(harness.fingerprint, (grads, other))) > 1e-3
    as_tuples = [(grads[0]["W"], grads[0]["b"])]
    assert harness.difference(*map(harness.fingerprint, (grads, as_tuples))) == 0


def test_the_temporal_benchmark_prints_every_line(tmp_path):
    """Of the LRU, the small one: times, settings, first call, memory of streams; the same numbers in the file."""
    out = run(
        "-m", "benchmarks.temporal", "--rounds", "1", "--lines", "LRU", "--json", str(tmp_path / "b.json")
    )
    rows = json.loads((tmp_path / "b.json").read_text())
    assert [row["line"] for row in rows if "line" in row] == ["LRU BPTT", "LRU RTRL"]
    for row in rows[:2]:
        assert 0 < row["us"]["minipc"] < 1e5
        assert f"{row['us']['minipc']:.2f}" in out
    streams = {(row["stream"], row["steps"]): row["resident"] for row in rows if "stream" in row}
    assert (
        abs(streams["RTRL", 100_000] - streams["RTRL", 1_000]) < 10
    )  # flat: the states alone would be 26 MB
    for word in ("OPENBLAS_CORETYPE", "GFLOP/s", "first call", "resident"):
        assert word in out


def test_any_lines_of_the_temporal_benchmark_alone(tmp_path):
    """Approximations and tPC-RTRL: times, and for a stream of an approximation memory that does not grow."""
    path, lines = tmp_path / "b.json", ("UORO", "tPC-RTRL")
    run("-m", "benchmarks.temporal", "--rounds", "1", "--lines", *lines, "--json", str(path))
    rows = json.loads(path.read_text())
    expected = ["RNN UORO n=128 B=1", "RNN UORO n=128 B=32", "LRU tPC-RTRL"]
    assert [row["line"] for row in rows if "line" in row] == expected
    assert all(0 < row["us"]["minipc"] < 1e5 for row in rows[:3])
    streams = {(row["stream"], row["steps"]): row["resident"] for row in rows if "stream" in row}
    assert set(streams) == {("UORO", 1_000), ("UORO", 100_000)}
    assert abs(streams["UORO", 100_000] - streams["UORO", 1_000]) < 10  # the states alone would be 26 MB


def test_exponents_are_those_of_a_power_law():
    """3 n^2.5 has the exponent 2.5."""
    assert abs(temporal.exponent({n: 3 * n**2.5 for n in (32, 64, 128)}) - 2.5) < 1e-12


@pytest.mark.parametrize("options", [{}, {"influence": "exact"}])
def test_a_call_of_rtrl_stands_in_the_midst_of_a_stream(options):
    """Its gradient is that of the later losses through all of the past, by BPTT of the whole less that of the first
    half; and the same when it is called again. (From zero it is another one.)"""
    net, params, u, y = temporal.rnn(6, 2, 10)
    params = [{name: v.astype("float64") for name, v in p.items()} for p in params]
    u, y = u.astype("float64"), y.astype("float64")

    def find(params, u, y, carry):
        g = rtrl.gradient(net, params, u, y, carry=carry, **options)
        return g.grads, g.carry

    call = temporal.in_a_stream(lambda _: find, net, params, u, y)
    whole, half, alone = (
        bptt.gradient(net, params, *part).grads for part in ((u, y), (u[:5], y[:5]), (u[5:], y[5:]))
    )
    expected = whole[0]["W"] - half[0]["W"]
    for _ in range(2):
        np.testing.assert_allclose(call()[0][0]["W"], expected, rtol=1e-10, atol=1e-12)
    assert abs(alone[0]["W"] - expected).max() > 1e-2 * abs(expected).max()


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_opponents_of_the_temporal_rules_find_the_gradient(library):
    """Every program of every cell, in the second of two stretches, is BPTT of the whole less that of the first one."""
    pytest.importorskip(library, reason=f"{library} is not installed: nothing to compare with")
    put, programs = {"jax": temporal_opponents.jax_programs, "torch": temporal_opponents.torch_programs}[
        library
    ]()
    cells = {"RNN": temporal.rnn(5, 3, 12), "LRU": temporal.lru(12)}
    for (rule, cell), function in [pair for found in programs.values() for pair in found.items()]:
        if rule not in ("BPTT", "RTRL"):
            continue
        net, params, u, y = cells[cell]
        whole, half = (bptt.gradient(net, params, u[:T], y[:T]).grads for T in (12, 6))
        arrays = put([params, u, y])
        if rule == "BPTT":
            found, expected = function(*arrays)[0], whole
        else:
            carry = function(arrays[0], arrays[1][:6], arrays[2][:6], None)[1]
            found = function(arrays[0], arrays[1][6:], arrays[2][6:], carry)[0]
            expected = [{k: a[k] - b[k] for k in a} for a, b in zip(whole, half, strict=True)]
        for mine, theirs in zip(expected, found, strict=True):
            assert set(mine) == set(theirs)
            for name in mine:
                assert abs(np.asarray(theirs[name]) - mine[name]).max() < 1e-4 * abs(mine[name]).max(), name


@pytest.mark.parametrize("rule", [*temporal.APPROXIMATIONS, "tPC-RTRL"])
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_opponents_of_the_approximations_find_what_minipc_finds(library, rule):
    """In both of two stretches, UORO with minipc's signs; tPC-RTRL of a whole sequence."""
    pytest.importorskip(library, reason=f"{library} is not installed: nothing to compare with")
    put, programs = {"jax": temporal_opponents.jax_programs, "torch": temporal_opponents.torch_programs}[
        library
    ]()
    if rule == "tPC-RTRL":
        problem = temporal.lru(12)
        pairs = [
            (
                temporal.tpc_rtrl(*problem)(),
                programs[f"{library} hand"][rule, "LRU"](*put(problem[1:]), None)[0],
            )
        ]
    else:
        net, params, u, y = temporal.leaky(5, 3, 12)
        arrays, function, carry = put([params, u, y]), programs[f"{library} hand"][rule, "RNN"], None
        nu = put([temporal.signs(12, 3, 5)])[0]
        function = temporal.with_signs(function, nu) if rule == "UORO" else function
        mine, pairs = None, []
        for cut in (slice(0, 6), slice(6, 12)):
            theirs, carry = function(arrays[0], arrays[1][cut], arrays[2][cut], carry)
            g = rtrl.gradient(net, params, u[cut], y[cut], carry=mine, influence=temporal.influence_of(rule))
            mine, pairs = g.carry, [*pairs, (g.grads, theirs)]
    for expected, found in pairs:
        for p, theirs in zip(expected, found, strict=True):
            assert set(p) == set(theirs)
            for name, value in p.items():
                assert abs(np.asarray(theirs[name]) - value).max() < 1e-4 * abs(value).max(), name


def test_the_convolution_benchmark_runs():
    """One repeat; a table of three times."""
    out = run("benchmarks/convolution.py", "1")
    assert "forward" in out
    line = next(line for line in out.splitlines() if line.startswith("minipc"))
    assert all(float(number) > 0 for number in line.split()[1:])
