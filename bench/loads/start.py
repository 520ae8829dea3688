"""How long until `gateway run` is ready with its store, and how long the commands take that people wait for.

Two workers on whatever processors there are, as it is used; and on one, where nothing can be done at the same time.
"""

import statistics
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from bench.budgets import at_most, taken_beside
from bench.loads import Options
from bench.place import Place, clean_environment, find
from bench.process import BenchError, Bystanders
from bench.report import Report
from bench.systems import gateway

_REPEATS: Final = 5
_BUDGETS_S: Final = {"gateway run, until ready": 1.0, "gateway check": 0.5, "gateway --help": 0.15}


def measure(place: Place, options: Options) -> Report:
    """Medians of five, in seconds."""
    if (reason := gateway.missing()) is not None:
        raise BenchError(reason)
    bystanders = Bystanders()
    spread, pinned = [], []
    for _ in range(_REPEATS):
        with gateway.ready(place, workers=2, is_pinned=False) as running:
            spread.append(running.ready_after_s)
        with gateway.ready(place, workers=2) as running:
            pinned.append(running.ready_after_s)
    check = ["check", "-c", str(running.configuration)]
    times = {
        "gateway run, until ready": statistics.median(spread),
        "the same on one processor": statistics.median(pinned),
        "gateway check": statistics.median(_seconds_of(check) for _ in range(_REPEATS)),
        "gateway --help": statistics.median(_seconds_of(["--help"]) for _ in range(_REPEATS)),
    }
    return Report(
        title=f"Starting, medians of {_REPEATS}",
        columns=("command", "s"),
        rows=tuple((what, f"{seconds:.2f}") for what, seconds in times.items()),
        verdicts=taken_beside(
            bystanders.percent(), (at_most(what, times[what], budget, "s") for what, budget in _BUDGETS_S.items())
        ),
        values={"seconds": times},
    )


def _seconds_of(arguments: Sequence[str]) -> float:
    """One command from its start to its end; it must succeed."""
    start = time.perf_counter()
    command = [find("gateway") or "", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=dict(clean_environment()))
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-500:]!r}{done.stderr[-500:]!r}")
    return time.perf_counter() - start
