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

from benchmarks import harness

PROGRAMS = ("minipc", "jax hand", "jax autodiff", "torch hand", "torch autograd")
SIZES = {"S": [784, 256, 256, 10], "D": [784, *[128] * 20, 10]}
LINES = [f"{net} {rule}" for net in SIZES for rule in ("BP", "sPC", "ePC")]
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


def work(program, threads):
    """Answer one request a line: a line of the table to time."""
    if not harness.bind(program, threads):
        return
    from benchmarks import opponents

    build = {"jax": opponents.jax_programs, "torch": opponents.torch_programs}.get(program.split()[0])
    calls = {}
    for name, sizes in SIZES.items():
        net, params, x, y = problem(sizes)
        lines = build(params, x, y)[program] if build else minipc_programs(net, params, x, y)
        calls |= {f"{name} {rule}": call for rule, call in lines.items()}
    own = {} if build else {"settings": harness.blas(), "rate": harness.gemm_rate()}
    harness.serve(calls, calls, lambda: own)


# ---------------------------------------------------------------------- in the process that compares them


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
        ms = {p: 1e3 * best[p][line] for p in best}
        ratio = ms["minipc"] / min(ms[p] for p in others) if others else float("nan")
        share = operations(*line.split()) / (ms["minipc"] * 1e-3) / (rate * 1e9)
        print(f"{line:8}" + "".join(f"{ms[p]:15.3f}" for p in best) + f"{ratio:8.2f}{share:12.0%}")
        rows.append({"threads": threads, "line": line, "ratio": ratio, "share": share, "ms": ms})
    for label, text in (
        ("1st call", lambda r: f"{1e3 * max(r['first'].values()):.0f} ms"),
        ("resident", lambda r: f"{r['resident']:.0f} MB"),
    ):
        print(f"{label:8}" + "".join(f"{text(reports[p]):>15}" for p in best))
    harness.compare_gradients(reports, "minipc")
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
        rows += table(threads, *harness.measure("spatial", PROGRAMS, threads, options.rounds))
    if options.json:
        from minipc.files import write_json

        write_json(options.json, rows)


if __name__ == "__main__":
    main()
