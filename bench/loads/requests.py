"""The main table: GET, keep-alive, 32 connections, one bearer token; requests per second, CPU per request, latency.

Rounds are interleaved: each system is started, warmed up, measured and ended in turn, so that a slow minute of the
machine meets all of them; every other round runs backwards. Medians over the rounds, ratios of medians.

NB: a ratio of requests per second flatters us when the peer did not use up its core: then the load generator and the
backend on the other core were the limit. The table shows how busy the core was, and the CPU ratio beside each ratio.
"""

import dataclasses
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench import wrk
from bench.budgets import DISTURBED_PERCENT, Verdict, at_least, at_most, taken_beside
from bench.client import Connection
from bench.loads import Options
from bench.place import Place, Running
from bench.process import BenchError, Bystanders, cpu_seconds, tree
from bench.report import Report
from bench.systems import System, all_systems

_WARM_UP_S = 1.0
_OURS = "gateway"
_FURTHER_ATTEMPTS = 2
_CPU_BUDGET_US = 22.0
_COLUMNS = (
    "system",
    "requests/s",
    "µs CPU per request",
    "core busy",
    "p50 ms",
    "p99 ms",
    "this ÷ it, req/s",
    "it ÷ this, CPU",
)
_PEER_BUDGETS = {"envoy-jwt": 1.8, "nginx-lua-redis": 1.6, "nginx": 0.5}


@dataclass(frozen=True, slots=True)
class Figures:
    """One system in one round, or the medians of all its rounds. `others_percent`: of one core, used by programs that
    are no part of the measurement, and by the machine's host."""

    requests_per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    others_percent: float

    @property
    def core_percent(self) -> float:
        """How busy the system kept its core."""
        return self.requests_per_second * self.cpu_us / 1e4


def measure(place: Place, options: Options) -> Report:
    """Every system that is installed and wanted, in interleaved rounds."""
    wanted = [system for system in all_systems() if options.wants(system.name)]
    skipped = {system.name: reason for system in wanted if (reason := system.missing()) is not None}
    systems = [system for system in wanted if system.name not in skipped]
    rounds: dict[str, list[Figures]] = {system.name: [] for system in systems}
    failures: list[str] = []
    for number in range(options.rounds):
        for system in systems if number % 2 == 0 else reversed(systems):
            try:
                with system.start(place) as running:
                    figures = measure_one(running, options)
            except BenchError as error:
                failures.append(f"{system.name}, round {number + 1}: {error}")
                continue
            rounds[system.name].append(figures)
            _say(f"round {number + 1}: {system.name}: {figures.requests_per_second:.0f}/s, {figures.cpu_us:.1f} µs")
    rounds = {name: figures for name, figures in rounds.items() if figures}
    return _report([system for system in systems if system.name in rounds], rounds, skipped, failures, options)


def measure_one(running: Running, options: Options, *, scheme: str = "http") -> Figures:
    """Warm up, then measure; again, up to three times in all, while others disturb it. The calmest counts."""
    if scheme == "http":
        check(running)
    wrk.run(
        running.port,
        running.token,
        seconds=_WARM_UP_S,
        connections=options.connections,
        scheme=scheme,
        lines=running.lines,
    )
    calmest = _measure(running, options, scheme)
    for _ in range(_FURTHER_ATTEMPTS):
        if calmest.others_percent > DISTURBED_PERCENT:
            calmest = min(calmest, _measure(running, options, scheme), key=lambda figures: figures.others_percent)
    return calmest


def _measure(running: Running, options: Options, scheme: str) -> Figures:
    """One run of wrk, with the CPU time of the whole tree before and after."""
    before, bystanders = cpu_seconds(tree(*running.roots)), Bystanders()
    load = wrk.run(
        running.port,
        running.token,
        seconds=options.seconds,
        connections=options.connections,
        scheme=scheme,
        lines=running.lines,
    )
    used = cpu_seconds(tree(*running.roots)) - before
    others = bystanders.percent()
    refused = load.requests if running.expected_status >= 400 else 0
    if load.refused != refused or load.broken:
        raise BenchError(f"{load.refused} of {load.requests} requests refused, {load.broken} broken")
    return Figures(load.rate, used / load.requests * 1e6, load.p50_ms, load.p99_ms, others)


def check(running: Running) -> None:
    """One request that must be answered as expected before it is worth measuring."""
    with Connection(running.port) as connection:
        lines = dict(line.split(": ", 1) for line in running.lines)
        status, body = connection.request("/", running.token, headers=lines)
    if status != running.expected_status:
        raise BenchError(f"answered {status} instead of {running.expected_status}: {body[:200]!r}")


def median_of(rounds: Sequence[Figures]) -> Figures:
    """Each figure's own median, over the undisturbed rounds when there are any."""
    calm = [figures for figures in rounds if figures.others_percent <= DISTURBED_PERCENT] or rounds
    return Figures(*(statistics.median(values) for values in zip(*map(dataclasses.astuple, calm), strict=True)))


def _report(
    systems: Sequence[System],
    rounds: dict[str, list[Figures]],
    skipped: dict[str, str],
    failures: list[str],
    options: Options,
) -> Report:
    medians = {name: median_of(figures) for name, figures in rounds.items()}
    ours = medians.get(_OURS)
    rows = [_row(system, medians[system.name], ours) for system in systems]
    return Report(
        title=f"GET, keep-alive, {options.connections} connections, one core; "
        f"{options.rounds} interleaved rounds of {options.seconds:g} s, medians",
        columns=(
            "system",
            "requests/s",
            "µs CPU per request",
            "core busy",
            "p50 ms",
            "p99 ms",
            "this ÷ it, req/s",
            "it ÷ this, CPU",
        ),
        rows=tuple(rows),
        verdicts=tuple(_verdicts(medians)),
        notes=(*(f"skipped: {name}: {reason}" for name, reason in skipped.items()), *_disturbances(rounds)),
        failures=tuple(failures),
        values={
            "connections": options.connections,
            "seconds": options.seconds,
            "medians": {name: dataclasses.asdict(figures) for name, figures in medians.items()},
            "rounds": {name: [dataclasses.asdict(one) for one in figures] for name, figures in rounds.items()},
            "skipped": skipped,
        },
    )


def _disturbances(rounds: dict[str, list[Figures]]) -> list[str]:
    """A line for each measurement during which others took more than a little of the machine."""
    return [
        f"disturbed: {name}, round {number}: others used {figures.others_percent:.0f} % of a core"
        for name, all_of in rounds.items()
        for number, figures in enumerate(all_of, 1)
        if figures.others_percent > DISTURBED_PERCENT
    ]


def _row(system: System, figures: Figures, ours: Figures | None) -> tuple[str, ...]:
    ratios = ("", "")
    if ours is not None and system.name != _OURS:
        ratios = (
            f"{ours.requests_per_second / figures.requests_per_second:.2f}",
            f"{figures.cpu_us / ours.cpu_us:.2f}",
        )
    return (
        system.title,
        f"{figures.requests_per_second:,.0f}".replace(",", " "),
        f"{figures.cpu_us:.1f}",
        f"{figures.core_percent:.0f} %",
        f"{figures.p50_ms:.2f}",
        f"{figures.p99_ms:.2f}",
        *ratios,
    )


def _verdicts(medians: dict[str, Figures]) -> list[Verdict]:
    ours = medians.get(_OURS)
    if ours is None:
        return []
    by_system = {
        peer: at_least(f"requests/s ÷ {peer}", ours.requests_per_second / medians[peer].requests_per_second, promise)
        for peer, promise in _PEER_BUDGETS.items()
        if peer in medians
    }
    by_system[_OURS] = at_most("CPU of an allowed request", ours.cpu_us, _CPU_BUDGET_US, "µs")
    if (refusing := medians.get("gateway-refusing")) is not None:
        ratio = refusing.requests_per_second / ours.requests_per_second
        by_system["gateway-refusing"] = at_least("a refusal ÷ an allowed request, requests/s", ratio, 1.0)
    if (cookies := medians.get("gateway-cookies")) is not None:
        by_system["gateway-cookies"] = at_most("CPU of a session in cookies ÷ a bearer token", cookies.cpu_us / ours.cpu_us, 1.1)
    if (two := medians.get("gateway-two-workers")) is not None:
        by_system["gateway-two-workers"] = at_most("CPU per request of two workers ÷ one", two.cpu_us / ours.cpu_us, 1.1)
    return [
        verdict
        for name, one in by_system.items()
        for verdict in taken_beside(max(ours.others_percent, medians[name].others_percent), (one,))
    ]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
