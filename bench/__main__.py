"""The command line: which loads, how long, and where the outcome goes.

Exit code 0 when everything ran, whether or not a budget was reached; 1 when a system did not do what is measured.
"""

import argparse
import signal
import sys
from pathlib import Path

from bench import wrk
from bench.loads import NAMES, Options, load_named
from bench.place import prepared
from bench.process import BenchError
from bench.report import Report, as_markdown, as_text, write_json


def main(arguments: list[str] | None = None) -> int:
    """Run the loads that were asked for, and print what they found."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if (reason := wrk.missing()) is not None:
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    names = list(NAMES) if "all" in chosen.loads else chosen.loads or ["requests"]
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no such load: {', '.join(unknown)}")
    options = _options(chosen)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that every `with` ends what it started
    reports: dict[str, Report] = {}
    is_complete = True
    with prepared() as place:
        if not place.cores.are_apart:
            print("bench: one processor only: load and system share it", file=sys.stderr)
        for name in names:
            try:
                reports[name] = load_named(name)(place, options)
            except BenchError as error:
                print(f"bench: {name}: {error}", file=sys.stderr)
                is_complete = False
                continue
            is_complete = is_complete and not reports[name].failures
            print(as_markdown(reports[name]) if chosen.markdown else as_text(reports[name]), flush=True)
    if chosen.json is not None:
        write_json(chosen.json, reports)
    return 0 if is_complete else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="This gateway beside its peers, in one run.")
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"{', '.join(NAMES)} or all; default: requests")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, and smaller loads")
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--seconds", type=float, help="of each measurement, default 6")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", action="append", default=[], help="names of systems, comma-separated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    return parser


def _options(chosen: argparse.Namespace) -> Options:
    default_rounds, default_seconds = (1, 2.0) if chosen.quick else (3, 6.0)
    return Options(
        rounds=chosen.rounds or default_rounds,
        seconds=chosen.seconds or default_seconds,
        connections=chosen.connections,
        only=tuple(name for names in chosen.only for name in names.split(",")),
        is_quick=chosen.quick,
    )


if __name__ == "__main__":
    sys.exit(main())
