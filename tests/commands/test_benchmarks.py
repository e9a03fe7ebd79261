"""The benchmarks run as they are typed, also where nothing is installed to compare with."""

import json
import subprocess
import sys

import numpy as np
from contracts.source import ROOT

from benchmarks import harness, spatial


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


def test_the_convolution_benchmark_runs():
    """One repeat; a table of three times."""
    out = run("benchmarks/convolution.py", "1")
    assert "forward" in out
    line = next(line for line in out.splitlines() if line.startswith("minipc"))
    assert all(float(number) > 0 for number in line.split()[1:])
