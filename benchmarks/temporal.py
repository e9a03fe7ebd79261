"""BPTT, RTRL, its approximations and tPC-RTRL beside the same algorithms in JAX and PyTorch, in one run.

    python -m benchmarks.temporal [--rounds 3] [--threads 1] [--lines RNN LRU SnAp-1 ...] [--json FILE]

tanh RNN with n = 32, 64, 128 units, 8 inputs, a linear readout to 4 outputs, squared error at every step, batch 1 and
32; LRU with n = 256, 64 inputs, 8 outputs, batch 32; float32. A call computes the parameter gradient of a batch of
sequences. **RTRL in the midst of a stream**: every program gets state and influence at the end of the stretch before,
and returns those at the end of this one. From zero, the first block needs no product with the influence: up to 1.6
times faster, but only once. Figures are microseconds **a step** (of the whole batch). Stretches have 100 steps; where
a step of RTRL takes long, fewer: the steps are alike. "minipc" is the default, in blocks (hybrid), on 128 steps, so
that one whole block is in it; "minipc exact" goes step by step. The first call of RTRL is that of two stretches.
Differentiated automatically, RTRL is left out for 128 units on batch 32: one immediate Jacobian has 287 MB there.

SnAp-1, RFLO and UORO: an RNN of 128 units with a leak (RFLO has no trace without), likewise in the midst of a stream,
also in minipc on 100 steps; every program draws UORO's signs itself, and for the comparison of gradients all have
minipc's. tPC-RTRL: the LRU, its inferred state handed on, plain influence, 10 steps of inference, from the start of a
sequence. These lines have opponents with derivatives by hand only.

Every program is a process of its own, they take turns, the fastest call counts. Printed besides: minipc's time over that
of the fastest opponent, the step-by-step form as a share of the rate at which this NumPy multiplies the very same
shapes, cost exponents in n, first call, resident memory, and the memory of a stream of 100 and of 100,000 steps.
"""

import argparse
import math

from benchmarks import harness

PROGRAMS = ("minipc", "minipc exact", "jax hand", "jax autodiff", "torch hand", "torch autograd")
AUTOMATIC = ("jax autodiff", "torch autograd")
BY_HAND = ("minipc", "jax hand", "torch hand")  # the only ones with approximations and tPC-RTRL
SIZES, BATCHES, INPUTS, OUTPUTS = (32, 64, 128), (1, 32), 8, 4
STEPS, BLOCK_STEPS = 100, 128
SHORT = {(64, 32): 20, (128, 32): 4}  # (n, B): steps of RTRL, step by step
LRU = {"n": 256, "inputs": 64, "outputs": 8, "batch": 32}
APPROXIMATIONS, UNITS = ("SnAp-1", "RFLO", "UORO"), 128
LINES = ("RNN", "LRU", *APPROXIMATIONS, "tPC-RTRL")
WHOLE = ("BPTT", "tPC-RTRL")  # they take a sequence as a whole
SEED = 0  # of UORO's signs
STREAM = {"n": 64, "batch": 1, "chunk": 100, "steps": {"RTRL": (100, 1_000, 100_000), "BPTT": (100, 10_000)}}
STREAM["steps"] |= dict.fromkeys(APPROXIMATIONS, (1_000, 100_000))
THEORY = {"BPTT": 2, "RTRL": 3, "RTRL exact": 4}  # exponents in n of long states, a step; n_z grows as n


def line(rule, n, B):
    """Name of a line of the table."""
    return f"RNN {rule} n={n} B={B}"


def steps_of(rule, n, B):
    """Steps of a call of RTRL by single steps, and of all opponents."""
    return SHORT.get((n, B), STEPS) if rule == "RTRL" else STEPS


# ---------------------------------------------------------------------- in the process of one program


def rnn(n, B, T, alpha=1.0):
    """Network, parameters, inputs and targets, float32."""
    import numpy as np

    import minipc as pc

    net = pc.RecurrentNetwork([pc.RNN(INPUTS, n, alpha=alpha), pc.Dense(n, OUTPUTS)])
    rng = np.random.default_rng(0)
    u, y = (rng.standard_normal((T, B, k)).astype("float32") for k in (INPUTS, OUTPUTS))
    return net, net.init(0, "float32"), u, y


def lru(T):
    """The same for the LRU."""
    import numpy as np

    import minipc as pc

    rng = np.random.default_rng(0)
    net = pc.RecurrentNetwork([pc.LRU(LRU["inputs"], LRU["n"], LRU["outputs"])])
    shapes = ((T, LRU["batch"], LRU[k]) for k in ("inputs", "outputs"))
    return net, net.init(0, "float32"), *(rng.standard_normal(s).astype("float32") for s in shapes)


def leaky(n, B, T):
    """That of the approximations."""
    from benchmarks.temporal_opponents import ALPHA

    return rnn(n, B, T, ALPHA)


def minipc_calls(program, parts):
    """Calls and gradients of minipc by line; the gradients are those of the sequences that the opponents have, too."""
    from minipc import bptt, rtrl

    exact = program == "minipc exact"
    options = {"influence": "exact"} if exact else {}
    calls, gradients = {}, {}

    def rtrl_stretch(net):
        def find(params, u, y, carry):
            g = rtrl.gradient(net, params, u, y, carry=carry, **options)
            g.carry.influence.settle()  # the stream goes on: the influence at the end is part of the work
            return g.grads, g.carry

        return find

    def add(name, rule, problem, T):
        if rule == "BPTT" and not exact:
            arguments = problem(T)
            calls[name] = gradients[name] = lambda: bptt.gradient(*arguments).grads
        elif rule == "RTRL":
            short = in_a_stream(rtrl_stretch, *problem(2 * T))
            gradients[name] = lambda: short()[0]
            calls[name] = short if exact else in_a_stream(rtrl_stretch, *problem(2 * BLOCK_STEPS))

    if "RNN" in parts:
        for rule in ("BPTT", "RTRL"):
            for B in BATCHES:
                for n in SIZES:
                    add(line(rule, n, B), rule, lambda T, n=n, B=B: rnn(n, B, T), steps_of(rule, n, B))
    if "LRU" in parts:
        for rule in ("BPTT", "RTRL"):
            add(f"LRU {rule}", rule, lru, STEPS)
    if not exact:
        calls |= (found := approximations(parts))
        gradients |= {name: (lambda call=call: call()[0]) for name, call in found.items()}
        if "tPC-RTRL" in parts:
            calls["LRU tPC-RTRL"] = gradients["LRU tPC-RTRL"] = tpc_rtrl(*lru(STEPS))
    return calls, gradients


def approximations(parts):
    """Calls of minipc's by line, that give gradients and carry."""
    from minipc import rtrl

    def stretch(rule):
        def find(net):
            def call(params, u, y, carry):
                g = rtrl.gradient(net, params, u, y, carry=carry, influence=influence_of(rule))
                g.carry.influence.settle()
                return g.grads, g.carry

            return call

        return find

    return {
        line(rule, UNITS, B): in_a_stream(stretch(rule), *leaky(UNITS, B, 2 * STEPS))
        for rule in APPROXIMATIONS
        for B in BATCHES
        if rule in parts
    }


def influence_of(rule):
    """What minipc calls it."""
    import minipc as pc

    return {"RTRL": "hybrid", "UORO": pc.UORO(SEED)}.get(rule, rule.lower())


def tpc_rtrl(net, params, u, y):
    """A call of tPC-RTRL."""
    from benchmarks.temporal_opponents import TPC
    from minipc import tpc

    return lambda: tpc.gradient(net, params, u, y, influence="plain", carry="state", **TPC).grads


def in_a_stream(function_of, net, params, u, y):
    """A call on the second half of the steps, from the carry of the first; that is found in the first call."""
    function, T, carry = function_of(net), len(u) // 2, []

    def call():
        if not carry:
            carry.append(function(params, u[:T], y[:T], None)[1])
        return function(params, u[T:], y[T:], carry[0])

    return call


def opponents_calls(program, parts):
    """Calls and gradients of an opponent by line."""
    from benchmarks import temporal_opponents as op

    put, programs = op.jax_programs() if program.startswith("jax") else op.torch_programs()
    functions, calls, checked = programs[program], {}, {}

    def add(name, rule, cell, problem, T):
        if (rule, cell) not in functions:
            return
        function, (_, *arrays) = functions[rule, cell], problem(T if rule in WHOLE else 2 * T)
        arrays = put(arrays)
        if rule in WHOLE:
            calls[name] = lambda: function(*arrays, None)
            return
        calls[name] = in_a_stream(lambda _: function, None, *arrays)
        if rule == "UORO":
            alike = with_signs(function, put([signs(*arrays[1].shape[:2], UNITS)])[0])
            checked[name] = in_a_stream(lambda _: alike, None, *arrays)

    if "RNN" in parts:
        for rule in ("BPTT", "RTRL"):
            for B in BATCHES:
                for n in SIZES:
                    if rule == "RTRL" and program in AUTOMATIC and (n, B) == (128, 32):
                        continue
                    add(line(rule, n, B), rule, "RNN", lambda T, n=n, B=B: rnn(n, B, T), steps_of(rule, n, B))
    if "LRU" in parts:
        for rule in ("BPTT", "RTRL"):
            add(f"LRU {rule}", rule, "LRU", lru, STEPS)
    for rule in APPROXIMATIONS:
        for B in BATCHES if rule in parts else ():
            add(line(rule, UNITS, B), rule, "RNN", lambda T, B=B: leaky(UNITS, B, T), STEPS)
    if "tPC-RTRL" in parts:
        add("LRU tPC-RTRL", "tPC-RTRL", "LRU", lru, STEPS)
    return calls, {name: (lambda call=call: call()[0]) for name, call in (calls | checked).items()}


def signs(T, B, n):
    """Those that minipc's UORO draws, in one array."""
    import numpy as np

    from minipc.approximations import Signs

    draw = Signs(SEED)
    return np.stack([draw(B, n) for _ in range(T)]).astype("float32")


def with_signs(function, nu):
    """UORO of one stretch of two, which has its own half of the signs."""
    T = len(nu) // 2
    return lambda params, u, y, carry: function(params, u, y, carry, nu[:T] if carry is None else nu[T:])


def gemm_times():
    """Microseconds of J M alone, for the shapes of the step-by-step form."""
    import numpy as np

    rng, found = np.random.default_rng(0), {}
    for B in BATCHES:
        for n in SIZES:
            J = rng.standard_normal((B, n, n), dtype="float32")
            M = rng.standard_normal((B, n, n * (n + INPUTS + 1)), dtype="float32")
            out = np.empty_like(M)
            times = [harness.seconds(lambda: np.matmul(J, M, out=out)) for _ in range(5)]  # noqa: B023
            found[line("RTRL", n, B)] = 1e6 * min(times)
    return found


def work(program, threads, parts):
    """Answer one request a line."""
    if not harness.bind(program, threads):
        return
    if not program.startswith("minipc"):
        calls, gradients = opponents_calls(program, parts)
        harness.serve(calls, gradients, dict)
        return
    calls, gradients = minipc_calls(program, parts)
    extra = {"settings": harness.blas(), "rate": harness.gemm_rate()}
    if program == "minipc exact" and "RNN" in parts:
        extra["gemm"] = gemm_times()
    harness.serve(calls, gradients, lambda: extra)


def stream(rule, T):
    """Resident memory, in MB, after a sequence of T steps, in chunks; BPTT has to take the whole."""
    import numpy as np

    from minipc import bptt, rtrl

    net, params, _, _ = (leaky if rule in APPROXIMATIONS else rnn)(STREAM["n"], STREAM["batch"], 1)
    rng, carry = np.random.default_rng(0), None
    chunk = T if rule == "BPTT" else STREAM["chunk"]
    for _ in range(0, T, chunk):
        u, y = (rng.standard_normal((chunk, STREAM["batch"], k), dtype="float32") for k in (INPUTS, OUTPUTS))
        if rule == "BPTT":
            bptt.gradient(net, params, u, y)
        else:
            carry = rtrl.gradient(net, params, u, y, carry=carry, influence=influence_of(rule)).carry
    print(harness.resident_megabytes())


# ---------------------------------------------------------------------- in the process that compares them


def per_step(best):
    """Microseconds a step from seconds a call."""
    found = {}
    for program, times in best.items():
        found[program] = {}
        for name, value in times.items():
            T = STEPS
            if " RTRL" in name and program == "minipc":
                T = BLOCK_STEPS
            elif name.startswith("RNN"):
                _, rule, n, B = name.split()
                T = steps_of(rule, int(n[2:]), int(B[2:]))
            found[program][name] = 1e6 * value / T
    return found


def exponent(times):
    """Slope of log time over log n, for a dict n -> time: least squares."""
    xs, ys = [math.log(n) for n in times], [math.log(t) for t in times.values()]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def table(threads, best, reports):
    """Print one number of threads; returns the rows."""
    us = per_step(best)
    own, others = reports["minipc"], [p for p in us if not p.startswith("minipc")]
    print(
        f"\n{threads} thread{'s' if threads > 1 else ''}; {own['rate']:.0f} GFLOP/s in a product of 1024 x 1024 matrices"
    )
    print("settings: " + ", ".join(f"{k} {v}" for k, v in own["settings"].items()))
    print(f"{'us a step':20}" + "".join(f"{p:>15}" for p in us) + f"{'ratio':>8}{'GEMM share':>12}")
    rows, gemm = [], reports.get("minipc exact", {}).get("gemm", {})
    for name in us["minipc"]:
        rivals = [us[p][name] for p in others if name in us[p]]
        ratio = us["minipc"][name] / min(rivals) if rivals else float("nan")
        share = gemm[name] / us["minipc exact"][name] if name in gemm else None
        cells = "".join(f"{us[p][name]:15.2f}" if name in us[p] else f"{'-':>15}" for p in us)
        print(f"{name:20}{cells}{ratio:8.3f}" + (f"{share:12.0%}" if share else f"{'-':>12}"))
        rows.append({"threads": threads, "line": name, "ratio": ratio, "gemm_share": share}
                    | {"us": {p: us[p].get(name) for p in us}})  # fmt: skip
    for label, text in (
        ("first call", lambda r: f"{1e3 * max(r['first'].values()):.0f} ms"),
        ("resident", lambda r: f"{r['resident']:.0f} MB"),
    ):
        print(f"{label:20}" + "".join(f"{text(reports[p]):>15}" for p in us))
    harness.compare_gradients(reports, "minipc")
    return rows + exponents(us)


def exponents(us):
    """Print and return the fitted cost exponents beside those of long states in theory."""
    rows = []
    for label, program, rule in (
        ("BPTT", "minipc", "BPTT"),
        ("RTRL", "minipc", "RTRL"),
        ("RTRL exact", "minipc exact", "RTRL"),
    ):
        for B in BATCHES:
            times = {
                n: us[program][line(rule, n, B)] for n in SIZES if line(rule, n, B) in us.get(program, {})
            }
            if len(times) == len(SIZES):
                rows.append({"exponent": exponent(times), "theory": THEORY[label], "rule": label, "batch": B})
                print(
                    f"cost of a step, {label:10} B={B:<3} ~ n^{rows[-1]['exponent']:.2f}   (long states: n^{THEORY[label]})"
                )
    return rows


def memory(lines):
    """Print and return the resident memory of streams."""
    import subprocess
    import sys

    rows = []
    rules = [rule for rule in APPROXIMATIONS if rule in lines]
    if "RNN" in lines or "LRU" in lines:
        rules = ["RTRL", "BPTT", *rules]
    for rule, T in ((name, T) for name in rules for T in STREAM["steps"][name]):
        command = [sys.executable, "-m", "benchmarks.temporal", "--stream", rule, str(T)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({"stream": rule, "steps": T, "resident": float(done.stdout)})
        print(f"resident memory of a sequence of {T:7,} steps, {rule}: {rows[-1]['resident']:.1f} MB")
    return rows


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--lines", nargs="+", choices=LINES, default=LINES)
    parser.add_argument("--json", metavar="FILE", help="also write every number to this file")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--stream", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.work, options.threads[0], options.lines)
        return
    if options.stream:
        stream(options.stream[0], int(options.stream[1]))
        return
    rows = []
    programs = PROGRAMS if {"RNN", "LRU"} & set(options.lines) else BY_HAND
    for threads in options.threads:
        measured = harness.measure("temporal", programs, threads, options.rounds, "--lines", *options.lines)
        rows += table(threads, *measured)
    rows += memory(options.lines)
    if options.json:
        from minipc.files import write_json

        write_json(options.json, rows)


if __name__ == "__main__":
    main()
