"""Backprop, sPC (20 steps) and ePC (5 steps) beside the same algorithms in JAX and PyTorch, in one run.

    python -m benchmarks.spatial [--rounds 7] [--threads 1 2] [--json FILE]

S is 784-256-256-10, D is 784-[128]x20-10; tanh, linear output, squared error, batch 64, float32. A call computes the
parameter gradient of one batch. Every program is a process of its own with its own BLAS threads, bound to as many
cores as it has threads; all of them stay alive and take turns, and the fastest call of each counts. Opponents that are
not installed are left out: pip install jax; pip install torch.

Printed: milliseconds of each program; minipc's time over that of the fastest opponent; what a call needs in
floating-point operations, as a share of the rate at which this NumPy multiplies large matrices (sPC can
exceed what its count allows: (sPC.8) saves work that the count includes); first call and resident memory of a fresh
process; the BLAS settings in force. First of all the gradients are compared.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

PROGRAMS = ("minipc", "jax hand", "jax autodiff", "torch hand", "torch autograd")
SIZES = {"S": [784, 256, 256, 10], "D": [784, *[128] * 20, 10]}
LINES = [(net, rule) for net in SIZES for rule in ("BP", "sPC", "ePC")]
BATCH, SPC_STEPS, EPC_STEPS = 64, 20, 5


# ---------------------------------------------------------------------- in the process of one program


def problem(sizes):
    """Network, parameters, input and target, float32."""
    import numpy as np

    import minipc as pc

    last = len(sizes) - 2
    kinds = ["identity" if l == last else "tanh" for l in range(last + 1)]
    net = pc.Network([pc.Dense(a, b, kind) for a, b, kind in zip(sizes, sizes[1:], kinds, strict=False)])
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, sizes[0]), dtype="float32")
    return net, net.init(0, "float32"), x, rng.standard_normal((BATCH, sizes[-1])).astype("float32")


def minipc_programs(net, params, x, y):
    """The lines of minipc."""
    from benchmarks.opponents import EPC, SPC
    from minipc import backprop, epc, spc

    state = {"inference_steps": SPC["steps"], "step_size": SPC["lam"]}
    error = {"inference_steps": EPC["steps"], "step_size": EPC["lam"]}
    return {
        "BP": lambda: backprop.gradient(net, params, x, y).grads,
        "sPC": lambda: spc.gradient(net, params, x, y, **state).grads,
        "ePC": lambda: epc.gradient(net, params, x, y, **error).grads,
    }


def fingerprint(grads):
    """One number for each parameter: its product with a fixed random array."""
    import numpy as np

    rng = np.random.default_rng(1)
    leaves = [
        v for p in grads for v in (p.values() if isinstance(p, dict) else p if isinstance(p, tuple) else [p])
    ]
    return [float((np.asarray(v, "float64") * rng.standard_normal(v.shape)).sum()) for v in leaves]


def gemm_rate():
    """GFLOP/s of a large float32 product."""
    import numpy as np

    a = np.random.default_rng(0).random((1024, 1024), dtype="float32")
    return 2 * 1024**3 / min(seconds(lambda: a @ a) for _ in range(10)) / 1e9


def blas():
    """The BLAS of this NumPy and what is set for it."""
    import numpy as np

    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    names = ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {"numpy": np.__version__, "blas": f"{found['name']} {found['version']}"} | {
        name: os.environ.get(name, "not set") for name in names
    }


def seconds(function):
    """Of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def resident_megabytes():
    """Largest resident memory of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(program, threads):
    """Answer one request a line: a line of the table to time, or what this process has measured so far."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    calls = {}
    try:
        if program.startswith("torch"):
            import torch

            torch.set_num_threads(threads)
        elif program.startswith("jax"):
            import jax  # noqa: F401
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    from benchmarks import opponents

    build = {"jax": opponents.jax_programs, "torch": opponents.torch_programs}.get(program.split()[0])
    for name, sizes in SIZES.items():
        net, params, x, y = problem(sizes)
        lines = build(params, x, y)[program] if build else minipc_programs(net, params, x, y)
        calls |= {(name, rule): call for rule, call in lines.items()}
    first = {line: seconds(calls[line]) for line in LINES}
    report = {
        "first": {" ".join(line): s for line, s in first.items()},
        "resident": resident_megabytes(),
        "gradients": {" ".join(line): fingerprint(calls[line]()) for line in LINES},
    }
    if program == "minipc":
        report |= {"settings": blas(), "rate": gemm_rate()}
    print(json.dumps(report), flush=True)
    for request in sys.stdin:
        call = calls[tuple(request.split())]
        repeats = max(3, int(0.1 / min(seconds(call), seconds(call))))
        print(min(seconds(call) for _ in range(repeats)), flush=True)


# ---------------------------------------------------------------------- in the process that compares them


def start(program, threads):
    """The process of one program, and its first report; None if it is not installed."""
    count = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.spatial", "--work", program, "--threads", str(threads)]
    root = pathlib.Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | count, cwd=root
    )
    report = json.loads(process.stdout.readline() or '{"missing": "it stopped"}')
    return None if "missing" in report else (process, report)


def measure(threads, rounds):
    """Milliseconds of every program and line, and the reports of the programs."""
    running = {program: found for program in PROGRAMS if (found := start(program, threads))}
    best = {program: dict.fromkeys(LINES, float("inf")) for program in running}
    for _ in range(rounds):
        for line in LINES:
            for program, (process, _) in running.items():
                print(*line, file=process.stdin, flush=True)
                best[program][line] = min(best[program][line], 1e3 * float(process.stdout.readline()))
    for process, _ in running.values():
        process.communicate()
    return best, {program: report for program, (_, report) in running.items()}


def difference(a, b):
    """Largest difference of two lists of numbers, relative to the largest number."""
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) / max(abs(q) for q in b)


def operations(net, rule):
    """Floating-point operations of the matrix products of a call, every layer in every step."""
    sizes = SIZES[net]
    first, rest = (
        2 * BATCH * sizes[0] * sizes[1],
        sum(2 * BATCH * a * b for a, b in itertools.pairwise(sizes[1:])),
    )
    rounds = {"BP": 1, "sPC": SPC_STEPS, "ePC": EPC_STEPS}[rule]
    forward = first + rest * (1 if rule == "BP" else rounds + 1)
    return forward + rounds * rest + first + rest  # up, down, parameters


def table(threads, best, reports):
    """Print one number of threads; returns the rows."""
    rate, others = reports["minipc"]["rate"], [p for p in best if p != "minipc"]
    print(
        f"\n{threads} thread{'s' if threads > 1 else ''}; {rate:.0f} GFLOP/s in a product of 1024 x 1024 matrices"
    )
    print("settings: " + ", ".join(f"{k} {v}" for k, v in reports["minipc"]["settings"].items()))
    print(f"{'ms':8}" + "".join(f"{p:>15}" for p in best) + f"{'ratio':>8}{'of the rate':>12}")
    rows = []
    for line in LINES:
        mine = best["minipc"][line]
        ratio = mine / min(best[p][line] for p in others) if others else float("nan")
        share = operations(*line) / (mine * 1e-3) / (rate * 1e9)
        print(
            f"{' '.join(line):8}"
            + "".join(f"{best[p][line]:15.3f}" for p in best)
            + f"{ratio:8.2f}{share:12.0%}"
        )
        rows.append({"threads": threads, "line": " ".join(line), "ratio": ratio, "share": share}
                    | {"ms": {p: best[p][line] for p in best}})  # fmt: skip
    for label, text in (
        ("1st call", lambda r: f"{1e3 * max(r['first'].values()):.0f} ms"),
        ("resident", lambda r: f"{r['resident']:.0f} MB"),
    ):
        print(f"{label:8}" + "".join(f"{text(reports[p]):>15}" for p in best))
    for program in others:
        for line in map(" ".join, LINES):
            off = difference(reports[program]["gradients"][line], reports["minipc"]["gradients"][line])
            if off > 1e-3:
                raise SystemExit(f"{program}, {line}: its gradient differs from minipc's by {off:.1e}")
    print("all gradients agree within 1e-3 (float32)")
    return rows


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", metavar="FILE", help="also write every number to this file")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.work, options.threads[0])
        return
    rows = []
    for threads in options.threads:
        rows += table(threads, *measure(threads, options.rounds))
    if options.json:
        from minipc.files import write_json

        write_json(options.json, rows)


if __name__ == "__main__":
    main()
