"""How long until every worker refuses a revoked token, while all are busy?

Two workers under load; a connection to each asks with the token that is being revoked, over and over. The clock starts
before the call of the admin API and ends when the last worker's refusal has arrived, so it includes the store's disk,
the receipt's own way and the queue of the workers. Measured at two loads: all that wrk can send, and a part of it.

Nothing is pinned here: on a single core this would measure how the kernel shares it between two busy workers, the store
and the supervisor. NB: wrk, the backend and the probes still take their share of the same processors.
"""

import concurrent.futures
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench import wrk
from bench.budgets import Verdict, at_most, taken_beside
from bench.client import Connection
from bench.loads import Options
from bench.place import Place
from bench.process import BenchError, Bystanders, started
from bench.report import Report
from bench.systems import gateway
from bench.systems.gateway import Gateway
from bench.tokens import ISSUER

_WORKERS: Final = 2
_REVOCATIONS: Final = 300
_QUICK_REVOCATIONS: Final = 30
_LOADS: Final = {"all that wrk can send": 0, "a pause of 5 ms before each request": 5}
_BUDGET_MS: Final = 10.0
_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Enforcement:
    """One revocation: when the last worker refused, when the receipt came, and what the receipt says, in ms."""

    refused_ms: float
    receipt_ms: float
    took_ms: float


def measure(place: Place, options: Options) -> Report:
    """Median and p99 at each load."""
    if (reason := gateway.missing()) is not None:
        raise BenchError(reason)
    number = _QUICK_REVOCATIONS if options.is_quick else _REVOCATIONS
    bystanders = Bystanders()
    with gateway.ready(place, workers=_WORKERS, is_pinned=False) as running:
        found = {name: _under_load(place, running, number, options, pause) for name, pause in _LOADS.items()}
    return Report(
        title=f"A revocation under load, {_WORKERS} workers, {number} revocations",
        columns=("load", "refused by all, p50 ms", "p99 ms", "receipt, p50 ms", "p99 ms", "the receipt's took_ms, p50", "p99"),
        rows=tuple((name, *_figures(all_of)) for name, all_of in found.items()),
        verdicts=taken_beside(bystanders.percent(), _verdicts(found)),
        values={name: [[one.refused_ms, one.receipt_ms, one.took_ms] for one in all_of] for name, all_of in found.items()},
    )


def _verdicts(found: dict[str, list[Enforcement]]) -> Iterator[Verdict]:
    for name, all_of in found.items():
        p99 = percentile([one.refused_ms for one in all_of], 99)
        yield at_most(f"enforced by every worker, p99, {name}", p99, _BUDGET_MS, "ms")


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def _under_load(place: Place, running: Gateway, number: int, options: Options, pause_ms: int) -> list[Enforcement]:
    command = wrk.command(running.port, running.token.text, seconds=600, connections=options.connections, pause_ms=pause_ms)
    probes = running.connection_to_each_worker(_WORKERS)
    with (
        started(command, cores=(place.cores.load,), output=place.new_folder("wrk") / "log"),
        Connection(running.admin_port) as admin,
        concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool,
    ):
        time.sleep(1.0)
        return [_one(place, admin, probes, pool) for _ in range(number)]


def _one(place: Place, admin: Connection, probes: Sequence[Connection], pool: concurrent.futures.Executor) -> Enforcement:
    token = place.issuer.mint()
    if any(probe.request("/", token.text)[0] != 200 for probe in probes):
        raise BenchError("a new token was refused")
    start = time.perf_counter()
    refusals = [pool.submit(_time_of_refusal, probe, token.text) for probe in probes]
    status, receipt = gateway.revoke(admin, {"token_id": token.token_id, "issuer": ISSUER})
    receipt_at = time.perf_counter()
    if status != 201:
        raise BenchError(f"the revocation was answered {status}: {receipt}")
    refused_at = max(refusal.result() for refusal in refusals)
    return Enforcement((refused_at - start) * 1e3, (receipt_at - start) * 1e3, float(receipt["took_ms"]))


def _time_of_refusal(probe: Connection, token: str) -> float:
    end = time.perf_counter() + _LIMIT_S
    while probe.request("/", token)[0] == 200:
        if time.perf_counter() > end:
            raise BenchError(f"not enforced within {_LIMIT_S:.0f} s")
    return time.perf_counter()


def _figures(all_of: Sequence[Enforcement]) -> tuple[str, ...]:
    columns = ([one.refused_ms for one in all_of], [one.receipt_ms for one in all_of], [one.took_ms for one in all_of])
    return tuple(f"{figure:.1f}" for values in columns for figure in (statistics.median(values), percentile(values, 99)))
