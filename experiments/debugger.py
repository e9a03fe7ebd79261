"""How well does the debugger of derivations know its mistakes? Every mistake, pairs of them, correct and random answers.

``python -m experiments.debugger [--seeds N] [--pairs N] [--correct N] [--seed S] [--out FILE]`` writes ``DEBUGGER.md``.
"""

import argparse
import collections
import pathlib
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np

from minipc import check
from minipc.check.explanation import SECONDS, arrays
from minipc.exercises import EXERCISES, twin
from minipc.files import check_place, replacing
from minipc.mistakes import MISTAKES, Bench, load

HERE = pathlib.Path(__file__).parent


class Outcome(NamedTuple):
    """What a student was told who made these mistakes."""

    mistakes: tuple
    equation: str
    told: check.Explanation
    seconds: float  # of computing

    @property
    def named(self):
        """These mistakes and no other; one that is the same on the problems tried counts as that one."""
        told = self.told.alternatives
        return len(told) == len(self.mistakes) and any(
            all(name in either for name, either in zip(order, told, strict=True))
            for order in (self.mistakes, self.mistakes[::-1])
        )


# ---------------------------------------------------------------------- students


def student(engine, equation):
    """One who writes what this engine says."""
    answer = EXERCISES[equation].answer
    return lambda *given: answer(engine, *(twin(engine, value) for value in given))


def asked(name):
    """The equations in whose exercises a mistake should show: its own, or its rule as a whole ("sPC")."""
    equation = MISTAKES[name].equation
    whole = equation.split(".")[0]
    return [e for e in (equation, whole) if e in EXERCISES]


def told(function, equation, seed, *mistakes):
    """What ``explain`` says of a function, and how long it took."""
    began = time.process_time()
    explanation = check.explain(function, equation, seed=seed)
    return Outcome(mistakes, equation, explanation, time.process_time() - began)


def outcome(name, seed, bench):
    """What a student with the mistake of this name is told, in the first of its exercises where it shows."""
    found = None
    with bench.wrong(name) as engine:
        for equation in asked(name):
            found = told(student(engine, equation), equation, seed, name)
            if not found.told.correct:
                break
    return found


# ---------------------------------------------------------------------- pairs


def pairs(count, seed):
    """Pairs of mistakes drawn at random: (equation, name, name), both of which change the exercise's answer.

    Left out: two that replace the same text, and pairs in which one hides the other, so that there is only one to see.
    """
    rng, bench, shown, found = np.random.default_rng(seed), Bench(), {}, []
    while len(found) < count:
        name = str(rng.choice(list(MISTAKES)))
        equation = asked(name)[0]
        if equation not in shown:
            shown[equation] = _answers(bench, equation, int(rng.integers(1 << 30)))
        answers, both = shown[equation]
        others = [other for other in answers if other not in (None, name)]
        if name not in answers or not others:
            continue
        other = str(rng.choice(others))
        together = both(name, other)
        if together is None or any(_same(together, answers[one]) for one in (None, name, other)):
            continue
        found.append((equation, name, other))
    return found


def _answers(bench, equation, seed):
    """The answers of an exercise by mistake, None being the right one, and a function that gives that of two."""
    from minipc.exercises import Draw

    exercise = EXERCISES[equation]
    problems = [exercise.problem(Draw(np.random.default_rng([seed, i]), setting=i)) for i in range(3)]

    def answer(*names):
        try:
            with bench.wrong(*names) as engine:
                function = student(engine, equation)
                return [arrays(function(*(p[name] for name in exercise.arguments))) for p in problems]
        except Exception:  # two of the same line, or an engine that no longer runs
            return None

    reached = bench.reached(lambda engine: answer())
    found = {None: answer()} | {name: answer(name) for name in reached}
    right = found[None]
    return {k: a for k, a in found.items() if k is None or (a and not _same(a, right))}, answer


def _same(found, other):
    return all(
        list(map(np.shape, a.values())) == list(map(np.shape, x.values()))
        and all(check.explanation.near(u, v) for u, v in zip(a.values(), x.values(), strict=True))
        for a, x in zip(found, other, strict=True)
    )


def pair_outcome(pair, seed, bench):
    """What a student with two mistakes is told."""
    equation, *names = pair
    with bench.wrong(*names) as engine:
        return told(student(engine, equation), equation, seed, *names)


# ---------------------------------------------------------------------- right and random answers


def changed(equation, rng, size):
    """A student whose every array is off by a random relative ``size``: of rounding, or wrong as no mistake is."""
    right = student(load(), equation)

    def moved(tree):
        if isinstance(tree, dict):
            return {k: moved(v) for k, v in tree.items()}
        if isinstance(tree, list | tuple):
            return [moved(v) for v in tree]
        if tree is None:
            return None
        tree = np.asarray(tree)
        if tree.dtype.kind not in "fc":
            return tree
        return tree + size * (np.linalg.norm(tree) or 1.0) / tree.size**0.5 * rng.standard_normal(tree.shape)

    def function(*given):
        result = right(*given)
        return moved(getattr(result, "grads", result))

    return function


def by_chance(count, seed, size):
    """What ``count`` such students are told, the exercises in turn."""
    rng, equations = np.random.default_rng(seed), list(EXERCISES)
    return [
        told(changed(equations[i % len(equations)], rng, size), equations[i % len(equations)], seed + i)
        for i in range(count)
    ]


# ---------------------------------------------------------------------- the file


def singles_text(outcomes):
    """The confusion table: mistakes by what they are told apart from, and what was said instead."""
    by_name = collections.defaultdict(list)
    for o in outcomes:
        by_name[o.mistakes[0]].append(o)
    right = sum(o.named for o in outcomes)
    alone = [
        name
        for name, found in by_name.items()
        if all(o.named and len(o.told.alternatives[0]) == 1 for o in found)
    ]
    lines = [
        f"{right} of {len(outcomes)} answers were named rightly: {len(by_name)} mistakes, each on "
        f"{len(outcomes) // len(by_name)} problems drawn anew. {len(alone)} mistakes were told apart from all others; the "
        f"rest are below, with those that give the same answer in the exercise, or with what was said instead.",
        "",
        "| equation | mistake | said |",
        "|---|---|---|",
    ]
    for name, found in by_name.items():
        if name in alone:
            continue
        said = {
            "the same as: " + "; ".join(n for n in o.told.alternatives[0] if n != name)
            if o.named
            else f"**{' and '.join(o.told.names) or o.told.verdict}**"
            for o in found
            if not o.named or len(o.told.alternatives[0]) > 1
        }
        lines.append(f"| {found[0].equation} | {name} | {' / '.join(sorted(said))} |")
    return "\n".join(lines)


def pairs_text(outcomes):
    """How many pairs were named, and which were not."""
    right = [o for o in outcomes if o.named]
    said = collections.Counter(
        "nothing matches" if not o.told.names else "other names" for o in outcomes if not o.named
    )
    lines = [
        f"{len(right)} of {len(outcomes)} random pairs were named ({len(right) / len(outcomes):.0%}); of the rest: "
        + (", ".join(f"{text} {n}" for text, n in said.items()) or "none")
        + ".",
        "",
        "| equation | the two mistakes | said |",
        "|---|---|---|",
    ]
    for o in outcomes:
        if not o.named:
            lines.append(
                f"| {o.equation} | {' + '.join(o.mistakes)} | {' and '.join(o.told.names) or o.told.verdict} |"
            )
    return "\n".join(lines)


def main(argv=None):
    """Try everything and write the file; the exit status is 0 if every mistake was named and nothing falsely."""
    parser = argparse.ArgumentParser(prog="python -m experiments.debugger", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="problems for each mistake")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--correct", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1000, help="of all problems")
    parser.add_argument("--out", default=HERE / "DEBUGGER.md", metavar="FILE")
    args = parser.parse_args(argv)
    out, bench = check_place(args.out), Bench()
    warnings.simplefilter("ignore")  # inference with a mistake in it may diverge
    began = time.perf_counter()
    singles = [outcome(name, args.seed + i, bench) for i in range(args.seeds) for name in MISTAKES]
    double = [pair_outcome(p, args.seed + i, bench) for i, p in enumerate(pairs(args.pairs, args.seed))]
    right = by_chance(args.correct, args.seed, 1e-12)
    wrong = by_chance(args.correct // 5, args.seed, 1e-2)  # nothing explains them: the search goes to its end
    falsely = [o for o in right if not o.told.correct]
    named = [o for o in wrong if o.told.names]
    slowest = max((o.seconds, o.equation) for o in [*singles, *double, *right, *wrong])
    times = sorted(o.seconds for o in singles)
    text = f"""# The debugger of derivations

Written by `python -m experiments.debugger --seeds {args.seeds} --pairs {args.pairs} --correct {args.correct} --seed {args.seed}`;
nothing here is typed by hand. {len(EXERCISES)} exercises, {len(MISTAKES)} mistakes. Problems are drawn anew for every try.

Seconds of computing: {times[len(times) // 2]:.3f} for an answer to a single mistake (median, once the exercise has been met), \
{slowest[0]:.2f} for the slowest of all answers ({slowest[1]}); the search for pairs ends after {SECONDS}.

## One mistake

{singles_text(singles)}

## Two mistakes at once

{pairs_text(double)}

## Correct and random answers

Correct answers with other rounding (1e-12), {len(right)} problems, all exercises in turn: {len(falsely)} not called correct, \
{sum(bool(o.told.names) for o in right)} given a name.
Answers with noise of 1e-2, wrong as no mistake is, {len(wrong)} problems: {len(named)} given a name, \
{sum(o.told.correct for o in wrong)} called correct.
"""
    with replacing(out) as file:
        file.write(text.encode())
    print(f"results: {out} ({time.perf_counter() - began:.0f} s)")
    return int(bool(falsely or named or not all(o.named for o in singles)))


if __name__ == "__main__":
    sys.exit(main())
