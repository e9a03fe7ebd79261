"""``python -m minipc train``: one run, its checkpoint, and its numbers as JSON lines beside it.

Beside the checkpoint ``NAME.npz`` stands ``NAME.jsonl``: a line ``start`` (configuration, seed, versions), a line
``epoch`` after every epoch, a line ``end`` with the result on the test set. A run that is resumed goes on in the same
files.

``python -m minipc check``: a function of a file against an equation, with the same answer as ``check.explain``, but in a
process of its own under limits.
"""

import argparse
import contextlib
import dataclasses
import difflib
import itertools
import json
import pathlib
import shlex
import sys
import time
import warnings

from .arguments import check_count, generator
from .backend import on_device
from .check import exercises, explain, sandbox
from .checkpoint import load_checkpoint, versions
from .data import Points, Sequences
from .files import check_place, json_line, replacing, write_json
from .functions import ACTIVATIONS
from .influence import APPROXIMATIONS, named
from .optim import SGD, Adam, AdamW, Clip, RMSprop
from .rules import IN_TIME, RULES, check_rule_options
from .schedules import Cosine, WarmUp
from .tasks import CELLS, TASKS, SequenceTask, classifier, recurrent
from .train import CheckpointError, EarlyStopping, Interrupted, evaluate, fit

OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}
COLUMNS = ("loss", "energy", "validation_loss", "validation_accuracy", "validation_absolute_error", "seconds")
SEQUENCE_TASKS = tuple(name for name, task in TASKS.items() if isinstance(task, SequenceTask))


def add_arguments(parser):
    """The options of ``train``; those without a default here have the rule's or the optimiser's own."""
    parser.add_argument("task", choices=TASKS, help="data set: " + ", ".join(TASKS), metavar="TASK")
    parser.add_argument(
        "--rule", choices=RULES, required=True, help="one of " + ", ".join(RULES), metavar="RULE"
    )
    add = parser.add_argument_group("the run").add_argument
    add("--epochs", type=int, metavar="N", help="default: the task's; 5 for images")
    add("--batch-size", type=int, metavar="B", help="default: the task's; 64 for images")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="of the first weights and the order of samples; default: 0",
    )
    add("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="default: cpu; gpu needs CuPy")
    add("--samples", type=int, metavar="N", help="only the first N training samples, for a quick try")
    add("--validation", type=int, metavar="N", help="training samples held out, the last N; default: a tenth")
    add("--patience", type=int, metavar="N", help="stop after N epochs without a smaller validation loss")
    add = parser.add_argument_group("the network").add_argument
    add("--hidden", type=_widths, metavar="N,N,...", help="widths of the hidden layers; default: the task's")
    add(
        "--activation",
        choices=ACTIVATIONS,
        metavar="PHI",
        help=f"of {', '.join(ACTIVATIONS)}; default: gelu; tanh in rnn",
    )
    add = parser.add_argument_group(f"sequences: {', '.join(SEQUENCE_TASKS)}").add_argument
    add("--cell", choices=CELLS, metavar="CELL", help=f"of {', '.join(CELLS)}; default: the task's")
    meanings = "; ".join(f"{name}: {TASKS[name].meaning} ({TASKS[name].steps})" for name in SEQUENCE_TASKS)
    add("--steps", type=int, metavar="T", help=meanings)
    add(
        "--influence",
        metavar="FORM",
        help="of rtrl: hybrid, exact, diagonal, local; of tpc_rtrl: plain, implicit, diag; of both: "
        + ", ".join(name for name in APPROXIMATIONS if name != "dni"),
    )
    add("--carry", choices=("state", "prediction"), help="of tpc, tpc_rtrl: what the next step starts from")
    add(
        "--inference",
        choices=("spc", "epc", "newton", "fixed"),
        help="of tpc, tpc_rtrl: of the states of a step",
    )
    add = parser.add_argument_group("the rule").add_argument
    add("--beta", type=float, metavar="BETA", help="weight of the loss in the energy")
    add("--inference-steps", type=int, metavar="N", help="steps of inference")
    add(
        "--step-size",
        type=_value,
        metavar="LAMBDA",
        help="step of inference: a number, or adaptive, power (epc)",
    )
    add(
        "--option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of the rule",
    )
    add = parser.add_argument_group("the optimiser").add_argument
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default="adam",
        metavar="NAME",
        help=f"of {', '.join(OPTIMIZERS)}; default: adam",
    )
    add("--learning-rate", type=float, metavar="ETA", help="default: the task's; 1e-3 for images")
    add("--momentum", type=float, metavar="MU", help="of sgd")
    add("--weight-decay", type=float, metavar="LAMBDA", help="coupled; decoupled in adamw")
    add("--clip-norm", type=float, metavar="C", help="largest norm of the gradient of a batch")
    add(
        "--schedule",
        choices=("constant", "cosine"),
        default="constant",
        help="of the learning rate; default: constant",
    )
    add(
        "--warm-up",
        type=int,
        default=0,
        metavar="N",
        help="updates in which the learning rate rises from zero",
    )
    add = parser.add_argument_group("files").add_argument
    add(
        "--checkpoint",
        metavar="FILE",
        help="written after every epoch and on Ctrl-C; default: a new name in runs/",
    )
    add("--checkpoint-every", type=int, metavar="N", help="also after every N batches")
    add(
        "--resume",
        metavar="FILE",
        help="continue this checkpoint (and write to it), with the options it was begun with",
    )
    add("--json", metavar="FILE", help="all numbers of the run in one file, too")


class Parser(argparse.ArgumentParser):
    """An option that is not known is answered with the one that may have been meant."""

    def parse_args(self, args=None, namespace=None):
        """As in argparse, but for the message."""
        known, unknown = self.parse_known_args(args, namespace)
        flags = [word for word in unknown if word.startswith("-")]
        if unknown:
            command = next(iter(self._subparsers._group_actions)).choices[known.command]
            options = [flag for action in command._actions for flag in action.option_strings if flag != "-h"]
            shown = []
            for word in flags or unknown:
                close = difflib.get_close_matches(word.partition("=")[0], options, n=1)
                shown.append(word + (f" (did you mean {close[0]}?)" if close else ""))
            command.error(f"unknown: {', '.join(shown)}; there are {', '.join(options)}")
        return known


def train(args, argv, say=print):
    """Run ``train`` as the words ``argv`` say; the exit status is 0. What stops it is raised, and in the log."""
    with _brief_warnings() as warned:
        return _train(args, argv, say, warned)


def _train(args, argv, say, warned):
    task = TASKS[args.task]
    _check_kinds(args, task)
    for name in ("epochs", "batch_size", "learning_rate"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(task, name))
    check_count("--epochs", args.epochs, least=1)
    check_count("--batch-size", args.batch_size, least=1)
    for path in (args.json, args.checkpoint):
        if path is not None:
            check_place(path)
    options = _rule_options(args)
    if isinstance(task, SequenceTask):
        args.steps, args.cell = task.steps if args.steps is None else args.steps, args.cell or task.cell
        check_count("--steps", args.steps, least=1)
        net = recurrent(task, args.cell, args.hidden or task.hidden, args.activation)
        everything, test = task.load(args.steps, args.dtype)
        metrics, baseline = [task.metric], task.without_memory(everything, test)
    else:
        split = task.load(args.dtype)
        everything, test = Points(split.x_train, split.y_train), Points(split.x_test, split.y_test)
        args.activation = args.activation or "gelu"
        net = classifier(everything.x.shape[1:], args.hidden or task.hidden, task.classes, args.activation)
        metrics, baseline = ["accuracy"], None
    data, held_out = _held_out(args, everything)
    N, M = _count(data), _count(test)
    optimizer = _optimizer(args, updates=args.epochs * -(-N // args.batch_size))
    arrays = (net.init(seed=args.seed, dtype=args.dtype), data, held_out, test)
    params, data, held_out, test = on_device(arrays, args.device)
    config = {name: value for name, value in vars(args).items() if name not in ("command", "resume", "json")}
    checkpoint, log = _files(args)
    log.begin({"event": "start", "time": time.time(), "config": config, "versions": versions()})
    say(f"{args.task}, {args.rule}: {N:,} training samples, {args.epochs} epochs; log {log.path}\n{net!r}\n")
    if baseline:
        say(f"without memory: {_in_words(baseline)}\n")
    try:
        params, history = fit(
            net, params, data, rule=args.rule, optimizer=optimizer, epochs=args.epochs,
            batch_size=args.batch_size, seed=args.seed, validation=held_out, metrics=metrics, callbacks=[_reporter(log, say)],
            early_stopping=None if args.patience is None else EarlyStopping(patience=args.patience),
            checkpoint=checkpoint, checkpoint_every=args.checkpoint_every, resume=args.resume,
            progress=sys.stderr.isatty(), **options,
        )  # fmt: skip
    except (TypeError, ValueError) as error:  # refused before work began
        log.undo()
        raise ValueError(str(error)) from None
    except (KeyboardInterrupt, CheckpointError, FloatingPointError) as error:
        log.append({"event": "stopped", "reason": str(error)})
        if isinstance(error, Interrupted):
            again = shlex.join([*_without_resume(argv), "--resume", str(checkpoint)])
            raise KeyboardInterrupt(f"{error}\ncontinue: python -m minipc {again}") from None
        raise
    result = {f"test_{name}": value for name, value in evaluate(net, params, test, metrics).items()}
    result |= {
        "epochs": len(history["loss"]),
        "seconds": float(history["seconds"].sum()),
        "warnings": warned,
    }
    if baseline:
        result["without_memory"] = baseline
    log.append({"event": "end", **result})
    measured = {name: result[f"test_{name}"] for name in ("loss", *metrics)}
    say(
        f"\ntest: {_in_words(measured)} of {M:,} {'sequences' if baseline else 'samples'}; "
        f"{result['seconds']:.1f} s of training"
        + (f"\nwithout memory: {_in_words(baseline)}" if baseline else "")
    )
    if args.json:
        curves = {name: values.tolist() for name, values in history.items()}
        files = {"checkpoint": str(checkpoint), "log": str(log.path)}
        samples = {"training_samples": N, "test_samples": M}
        write_json(
            args.json,
            {"config": config, "versions": versions(), "history": curves, **result, **samples, **files},
        )
    return 0


class Log:
    """JSON lines; each is on its way to the disk before the next one is thought of."""

    def __init__(self, path, past):
        self.path, self.past = (
            path,
            past,
        )  # ``past`` is the history of the checkpoint that is continued, or None
        self.before = path.read_bytes() if path.exists() else b""
        self.appended = False

    def begin(self, row):
        """The first line; in the log of a resumed run drop half a line, and add epochs that are missing, before it."""
        lines = [line for line in self.before.splitlines(keepends=True) if line.endswith(b"\n")]
        if self.past is None:
            lines = []
        else:
            done = {row["epoch"] for row in map(json.loads, lines) if row["event"] == "epoch"}
            for epoch in range(1, len(self.past.get("loss", ())) + 1):
                if epoch not in done:  # killed between the checkpoint and the line
                    numbers = {name: values[epoch - 1] for name, values in self.past.items()}
                    lines.append(json_line({"event": "epoch", "epoch": epoch, **numbers}))
            row = {**row, "event": "resume"}
        with replacing(self.path) as file:
            file.writelines([*lines, json_line(row)])

    def append(self, row):
        """One more line."""
        with self.path.open("ab") as file:
            file.write(json_line(row))
        self.appended = True

    def undo(self):
        """Leave the file as it was, if no run has begun."""
        if self.appended:
            return
        self.path.unlink()
        if self.before:
            with replacing(self.path) as file:
                file.write(self.before)


def _width(name):
    """Of a column of the table."""
    return max(21, len(name) + 2)


def _reporter(log, say):
    """A callback of ``fit``: a line of the table and a line of the log after every epoch."""
    columns = []

    def report(epoch, _, history):
        numbers = {name: float(values[-1]) for name, values in history.items()}
        if not columns:
            columns.extend(name for name in COLUMNS if name in numbers)
            say(f"{'epoch':>5}" + "".join(f"{name.replace('_', ' '):>{_width(name)}}" for name in columns))
        say(f"{epoch:5}" + "".join(f"{numbers[name]:{_width(name)}.4g}" for name in columns))
        log.append({"event": "epoch", "epoch": epoch, **numbers})

    return report


@contextlib.contextmanager
def _brief_warnings():
    """The first warning of each kind in one line, and at the end how many there were; gives their numbers by kind."""
    found = {}

    def show(message, category, *_, **__):
        kind = category.__name__
        found[kind] = found.get(kind, 0) + 1
        if found[kind] == 1:
            print(f"{kind}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield found
    for kind, count in found.items():
        if count > 1:
            print(f"{kind}: {count} in all", file=sys.stderr)


def _check_kinds(args, task):
    """A rule in space for samples, a rule in time for sequences, and the options of each."""
    in_time = isinstance(task, SequenceTask)
    fitting = [name for name in RULES if (name in IN_TIME) == in_time]
    if args.rule not in fitting:
        kinds = ("sequences", "samples") if in_time else ("samples", "sequences")
        raise ValueError(
            f"{args.task} has {kinds[0]}, rule {args.rule} is for {kinds[1]}: take one of {', '.join(fitting)}"
        )
    for name in ("cell", "steps", "influence", "carry", "inference"):
        if not in_time and getattr(args, name) is not None:
            raise ValueError(
                f"--{name} is an option of the tasks {', '.join(SEQUENCE_TASKS)}; {args.task} is none"
            )


def _in_words(measured):
    """Loss and metric, as they stand in the last line."""
    return ", ".join(
        f"{name} {100 * value:.2f} %" if name == "accuracy" else f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in measured.items()
    )


def _count(data):
    """Samples, or sequences."""
    return len(data.x) if isinstance(data, Points) else data.inputs.shape[1]


def _part(data, rows):
    """Some samples, or some sequences."""
    if isinstance(data, Points):
        return Points(data.x[rows], data.y[rows])
    return Sequences(*(None if a is None else a[:, rows] for a in data))


def _held_out(args, everything):
    """Training data, and what is held out of them (None: nothing)."""
    found = _count(everything)
    N = found if args.samples is None else args.samples
    check_count("--samples", N, least=2)
    if found < N:
        raise ValueError(f"--samples must be at most {found}, the training set of {args.task}; got {N}")
    V = N // 10 if args.validation is None else args.validation
    check_count("--validation", V, least=0)
    if V >= N:
        raise ValueError(f"--validation must leave samples to train on, of {N}; got {V}")
    if args.patience is not None and V == 0:
        raise ValueError("--patience needs samples that are held out: --validation")
    return _part(everything, slice(N - V)), _part(everything, slice(N - V, N)) if V else None


def _rule_options(args):
    """The options that are handed to the rule, if it takes them."""
    options = dict(args.option)
    for name in ("inference_steps", "step_size", "influence", "carry", "inference", "beta"):
        if getattr(args, name) is not None:
            options[name] = getattr(args, name)
    if args.rule == "tpc" and options.get("influence") is not None:
        raise ValueError("--influence is no option of tpc, which has no history: take tpc_rtrl")
    if args.rule == "tpc_rtrl" and options.get("influence", "") is None:
        raise ValueError("tpc_rtrl needs an influence: without one it is tpc")
    try:
        check_rule_options(RULES[args.rule], options)
    except TypeError as error:
        raise ValueError(f"rule {args.rule}: {error}") from None
    if options.get("influence") == "dni":
        raise ValueError(
            "--influence dni: what it has learned of the future would begin anew in every batch; a loop of one's own hands "
            "it on, minipc.DNI(A=...)"
        )
    method = named(options.get("influence"))
    if hasattr(method, "seed"):  # new signs in every batch: the same ones again would leave a bias
        options["influence"] = dataclasses.replace(method, seed=generator(args.seed))
    return options


def _optimizer(args, updates):
    rate = args.learning_rate
    if args.schedule == "cosine":
        rate = Cosine(rate, steps=updates, warm_up=args.warm_up)
    elif args.warm_up:
        rate = WarmUp(rate, args.warm_up)
    kind = OPTIMIZERS[args.optimizer]
    given = {
        name: getattr(args, name) for name in ("momentum", "weight_decay") if getattr(args, name) is not None
    }
    for name in given.keys() - {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(f"--{name.replace('_', '-')} is no option of {args.optimizer}")
    optimizer = kind(rate, **given)
    return optimizer if args.clip_norm is None else Clip(optimizer, args.clip_norm)


def _files(args):
    """The checkpoint to write (the one that is named, the one that is continued, or a new one in ``runs``), and its log."""
    past = None if args.resume is None else load_checkpoint(args.resume).run.history
    path = args.checkpoint or args.resume
    if path is None:
        path = _new_name(f"{args.task}-{args.rule}-seed{args.seed}-{time.strftime('%Y%m%d-%H%M%S')}")
    elif past is None:
        for file in (pathlib.Path(path), pathlib.Path(path).with_suffix(".jsonl")):
            if file.exists():
                raise FileExistsError(
                    f"{file} is there already: continue it with --resume, or choose another name"
                )
    path = pathlib.Path(path)
    return path, Log(path.with_suffix(".jsonl"), past)


def _new_name(name):
    """A file in ``runs`` whose log no other run has taken; two may start within one second."""
    pathlib.Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        path = pathlib.Path("runs") / f"{name}-{number}.npz"
        with contextlib.suppress(FileExistsError):
            path.with_suffix(".jsonl").open("x").close()
            return path


def _without_resume(argv):
    """The words of the command without ``--resume FILE``."""
    words = iter(argv)
    for word in words:
        if word == "--resume":
            next(words, None)
        elif not word.startswith("--resume="):
            yield word


def _widths(text):
    try:
        widths = tuple(int(n) for n in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 128,128; got {text!r}") from None
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"widths must be at least 1; got {text!r}")
    return widths


def _value(text):
    """A number, true, false or null, as JSON has them; anything else is a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _option(text):
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, e.g. beta=0.1; got {text!r}")
    return name, _value(value)


# ---------------------------------------------------------------------- check

EXIT = {"correct": 0, "wrong": 1, "error": 3, "time": 4, "memory": 5, "crash": 6}  # 2: no verdict
MEANING = {
    "correct": "correct",
    "wrong": "wrong",
    "error": "the code raised an exception",
    "time": "the limit of time was reached",
    "memory": "the limit of memory was reached",
    "crash": "the code ended its process",
}
STOPPED = {
    sandbox.StudentError: "error",
    sandbox.StudentTimeout: "time",
    sandbox.StudentMemory: "memory",
    sandbox.StudentCrash: "crash",
}


def add_check_arguments(parser):
    """The options of ``check``."""
    parser.epilog = (
        "Exit status: 0 correct; 1 wrong; 2 no verdict (wrong usage, or minipc itself failed); 3 the code raised an "
        "exception; 4 limit of time; 5 limit of memory; 6 its process ended. Only 0 is a pass. The limits are for "
        "careless code, they are no wall against hostile code: see minipc.check.sandbox."
    )
    add = parser.add_argument
    add("target", nargs="?", metavar="FILE.py:FUNCTION", help="what to check")
    add("--against", metavar="ID", help="the equation, e.g. sPC.4")
    add("--list", action="store_true", help="the equations that there are; with --against what one asks for")
    add("--seed", type=int, default=0, metavar="S", help="of the problems; default: 0")
    add(
        "--time",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="for the code, loading included; default: 10",
    )
    add(
        "--memory",
        type=int,
        default=1024,
        metavar="MB",
        help="for the code, beyond NumPy's own; default: 1024",
    )
    add("--json", metavar="FILE", help="all that is printed, and more, as JSON")


def check(args, say=print):
    """Run ``check``; returns the exit status, see ``EXIT``."""
    if args.json is not None:
        check_place(args.json)
    known = exercises()
    if args.against is not None and args.against not in known:
        close = difflib.get_close_matches(args.against, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(f"there is no exercise for {args.against}{hint}; --list shows all")
    if args.list:
        return _list_exercises([known[args.against]] if args.against else known.values(), args, say)
    if not args.target or not args.against:
        raise ValueError("say what to check and against which equation: FILE.py:FUNCTION --against ID")
    result = _checked(args)
    if args.json is not None:
        write_json(args.json, result)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    say(result["text"].encode(encoding, "backslashreplace").decode(encoding))
    return result["exit_status"]


def _list_exercises(chosen, args, say):
    if args.against:
        say(str(next(iter(chosen))))
    else:
        width = max(len(e.equation) for e in chosen)
        say("\n".join(f"{e.equation:{width}}  {e.name}({', '.join(e.arguments)})" for e in chosen))
    if args.json is not None:
        names = ("equation", "name", "arguments", "statement")
        write_json(args.json, [{name: getattr(e, name) for name in names} for e in chosen])
    return 0


def _checked(args):
    """Everything about one function: how it ended, what was found, what it cost."""
    file, _, function = args.target.rpartition(":")
    if not file or not function.isidentifier():
        raise ValueError(f"the target must be FILE.py:FUNCTION, got {args.target}")
    if file.endswith(".ipynb"):
        raise ValueError(
            f"{file} is a notebook: write the function to a .py file, or use check.explain in it"
        )
    check_count("--seed", args.seed, least=0)
    remote = sandbox.Remote(file, function, time=args.time, total=args.time, memory=args.memory)
    explanation, failure = _tried(remote, args)
    status, failure = _status(explanation, failure, remote)
    if explanation is None:
        message = f"{file} cannot be used" if status == "error" else str(failure)
        found, shown = {"verdict": status, "names": [], "message": message}, f"({args.against}) {message}"
    else:
        found, shown = explanation.to_dict(), str(explanation)
    result = {
        "file": file,
        "function": function,
        "seed": args.seed,
        **found,
        "equation": args.against,
        "status": status,
        "exit_status": EXIT[status],
        "correct": status == "correct",
        "table": str(explanation.comparison) if explanation and explanation.comparison else "",
        "error": _as_dict(failure),
        "printed": remote.printed,
        "calls": remote.calls,
        "elapsed": round(remote.elapsed, 3),
        "limits": {"time": remote.time, "memory": remote.memory, "memory_enforced": remote.memory_enforced},
        "versions": versions(),
    }
    return {**result, "text": _as_text(shown, result)}


def _tried(remote, args):
    """An explanation and None; or None and the failure because of which there is none."""
    try:
        with remote:
            return explain(remote, args.against, seed=args.seed), None
    except tuple(STOPPED) as failure:
        return None, failure
    except Exception as error:  # neither the student's mistake nor a verdict
        raise ValueError(f"no verdict, minipc itself fails here: {error!r}") from error


def _status(explanation, failure, remote):
    """A word of ``EXIT``, and the failure of the student's code behind it, if there is one."""
    if explanation is None:
        return next(name for kind, name in STOPPED.items() if isinstance(failure, kind)), failure
    if explanation.correct:
        return "correct", None
    if explanation.verdict in ("raises", "not done") and remote.failures:
        return "error", remote.failures[0]
    return "wrong", None


def _as_dict(failure):
    """A failure of the student's code, and the line at which it happened."""
    if failure is None:
        return None
    place = dict(zip(("file", "line", "function", "code"), failure.place or (None,) * 4, strict=True))
    return {"type": type(failure).__name__, "message": str(failure), "traceback": failure.traceback, **place}


def _as_text(shown, result):
    """What is printed of a result."""
    lines = [shown]
    if result["error"] and result["error"]["traceback"]:
        lines.append(result["error"]["traceback"])
    if result["printed"].strip():
        lines += ["printed by the code:", *(f"  {line}" for line in result["printed"].splitlines())]
    limits, calls = result["limits"], result["calls"]
    memory = f"at most {limits['memory']} MB" if limits["memory_enforced"] else "memory is not limited here"
    cost = f"{calls} call{'s' * (calls != 1)}, {result['elapsed']:.2f} s of {limits['time']:g} s, {memory}"
    end = f"exit status {result['exit_status']}, {MEANING[result['status']]}"
    lines.append(f"{end}; {result['file']}:{result['function']}, {cost}")
    return "\n".join(lines)
