"""What the benchmarks share: every program a process of its own, all of them alive, taking turns; the fastest call counts.

A benchmark module offers ``python -m benchmarks.NAME --work PROGRAM --threads N``, which calls :func:`serve`: a first
line of JSON (``first`` call, ``resident`` memory, ``gradients`` by :func:`fingerprint`, or ``missing``), then one time
in seconds for every line of the table that it is asked for.
"""

import json
import os
import pathlib
import subprocess
import sys
import time


def seconds(function):
    """Of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def resident_megabytes():
    """Largest resident memory of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def gemm_rate(n=1024):
    """GFLOP/s of a large float32 product."""
    import numpy as np

    a = np.random.default_rng(0).random((n, n), dtype="float32")
    return 2 * n**3 / min(seconds(lambda: a @ a) for _ in range(10)) / 1e9


def blas():
    """The BLAS of this NumPy and what is set for it."""
    import numpy as np

    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    names = ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {"numpy": np.__version__, "blas": f"{found['name']} {found['version']}"} | {
        name: os.environ.get(name, "not set") for name in names
    }


def fingerprint(grads):
    """One number for each parameter, by name: its product with a fixed random array."""
    import numpy as np

    rng, leaves = np.random.default_rng(1), []
    for p in grads:
        leaves += [p[k] for k in sorted(p)] if isinstance(p, dict) else p if isinstance(p, tuple) else [p]
    return [float((np.asarray(v, "float64") * rng.standard_normal(v.shape)).sum()) for v in leaves]


def difference(a, b):
    """Largest difference of two lists of numbers, relative to the largest number."""
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) / max(abs(q) for q in b)


def bind(program, threads):
    """As many cores as threads for this process; False, and the reason printed, if the program is not installed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    try:
        if program.startswith("torch"):
            import torch

            torch.set_num_threads(threads)
        elif program.startswith("jax"):
            import jax  # noqa: F401
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return False
    return True


def serve(calls, gradients, extra):
    """Answer one request a line with the time of a call; ``calls`` by line, ``gradients`` functions by line."""
    first = {line: seconds(call) for line, call in calls.items()}
    found = {line: fingerprint(gradient()) for line, gradient in gradients.items()}
    report = {"first": first, "resident": resident_megabytes(), "gradients": found}
    print(json.dumps(report | extra()), flush=True)
    for request in sys.stdin:
        call = calls[request.strip()]
        repeats = max(3, min(1000, int(0.1 / min(seconds(call), seconds(call)))))
        print(min(seconds(call) for _ in range(repeats)), flush=True)


def start(module, program, threads, *more):
    """The process of one program, and its first report; None if it is not installed."""
    count = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [
        sys.executable,
        "-m",
        f"benchmarks.{module}",
        "--work",
        program,
        "--threads",
        str(threads),
        *more,
    ]
    root = pathlib.Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | count, cwd=root
    )
    report = json.loads(process.stdout.readline() or '{"missing": "it stopped"}')
    return None if "missing" in report else (process, report)


def measure(module, programs, threads, rounds, *more):
    """Seconds of every program and line, ``{program: {line: s}}``, and the reports of the programs."""
    running = {program: found for program in programs if (found := start(module, program, threads, *more))}
    best = {program: dict.fromkeys(report["first"], float("inf")) for program, (_, report) in running.items()}
    lines = list(dict.fromkeys(line for times in best.values() for line in times))
    for _ in range(rounds):
        for line in lines:
            for program, (process, _) in running.items():
                if line in best[program]:
                    print(line, file=process.stdin, flush=True)
                    best[program][line] = min(best[program][line], float(process.stdout.readline()))
    for process, _ in running.values():
        process.communicate()
    return best, {program: report for program, (_, report) in running.items()}


def compare_gradients(reports, reference):
    """Stop with the name of a program whose gradient is not the reference's; float32."""
    for program, report in reports.items():
        for line, found in report["gradients"].items():
            if line in reports[reference]["gradients"]:
                off = difference(found, reports[reference]["gradients"][line])
                if not off < 1e-3:
                    raise SystemExit(
                        f"{program}, {line}: its gradient differs from {reference}'s by {off:.1e}"
                    )
    print("all gradients agree within 1e-3 (float32)")
