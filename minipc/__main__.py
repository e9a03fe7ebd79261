"""The command line: ``python -m minipc`` with ``tour``, ``verify``, ``train`` or ``check``."""

import sys

from . import command
from .files import write_json


def main(argv=None):
    """Run a command; the exit status is 0 if everything it checked holds, 1 if not, 2 for wrong usage.

    ``check`` has more of them, see ``command.EXIT``.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = command.Parser(prog="python -m minipc", description="Predictive coding from scratch.")
    commands = parser.add_subparsers(dest="command", required=True)
    tour = commands.add_parser(
        "tour",
        help="backprop, sPC and ePC on real digits; BPTT, RTRL and temporal predictive coding on a memory; figures; the proof summary",
    )
    tour.add_argument(
        "--out", default="tour", metavar="DIR", help="folder for figures and tour.json (default: tour)"
    )
    tour.add_argument("--json", metavar="FILE", help="write the numbers here instead of DIR/tour.json")
    proofs = commands.add_parser("verify", help="every claim on fresh random problems, one line each")
    proofs.add_argument(
        "--trials", type=int, metavar="N", help="random problems per claim (default: each claim's own)"
    )
    proofs.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the problems (default: 0)")
    proofs.add_argument(
        "--only", action="append", metavar="ID", help="only this claim, e.g. S02; may be repeated"
    )
    proofs.add_argument("--json", metavar="FILE", help="write the table as JSON")
    command.add_arguments(commands.add_parser("train", help="train a network on a data set with any rule"))
    command.add_check_arguments(
        commands.add_parser(
            "check", help="say what is wrong with a function of a file, by name; under limits"
        )
    )
    args = parser.parse_args(argv)
    try:
        if args.command == "train":
            return command.train(args, argv)
        if args.command == "check":
            return command.check(args)
        return run_tour(args) if args.command == "tour" else run_verify(args)
    except (ImportError, ValueError, OSError) as error:
        print(f"python -m minipc {args.command}: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"python -m minipc {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{stop}" if str(stop) else "\ninterrupted", file=sys.stderr)
        return 130


def run_tour(args):
    """``tour``: exit status 0 if every claim of its proof table holds."""
    from .tour import run

    result = run(args.out, args.json)
    return 0 if result["proofs"]["held"] == result["proofs"]["claims"] else 1


def run_verify(args):
    """``verify``: one line a claim, as it is ready."""
    from .verify import verify

    print(
        f"{'id':4} {'trials':>6} {'worst':>8} {'allowed':>8} {'control':>8} holds  claim (equations; oracle)"
    )
    rows = verify(only=args.only, trials=args.trials, seed=args.seed, on_row=_print_row)
    held = sum(row["holds"] for row in rows)
    print(f"{held} of {len(rows)} claims hold. Control: what a wrong version gives; it must be above 1e-3.")
    if args.json:
        write_json(args.json, rows)
    return 0 if held == len(rows) else 1


def _print_row(r):
    numbers = f"{r['worst']:8.1e} {r['tolerance']:8.0e} {r['control']:8.1e}"
    holds = "yes" if r["holds"] else "NO"
    print(
        f"{r['id']:4} {r['trials']:6} {numbers} {holds:>5}  {r['claim']} ({r['equations']}; {r['oracle']})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
