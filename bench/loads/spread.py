"""Two workers and 256 connections: does the kernel give each its share?

Counted in connections per worker. Not in requests or CPU time: both workers run on one core here, where the scheduler
shares the time evenly whatever they have to do.
"""

from typing import Final

from bench import wrk
from bench.budgets import at_most
from bench.loads import Options
from bench.place import Place
from bench.process import BenchError, owners_of, started, wait_for
from bench.report import Report
from bench.systems import gateway

_CONNECTIONS: Final = 256
_WORKERS: Final = 2
_BUDGET_PERCENT: Final = 20.0


def measure(place: Place, options: Options) -> Report:
    """The largest distance of a worker's share from the even one, in the worst round."""
    if (reason := gateway.missing()) is not None:
        raise BenchError(reason)
    rounds = [_connections_per_worker(place) for _ in range(options.rounds)]
    even = _CONNECTIONS / _WORKERS
    worst = max(abs(count - even) / even * 100 for counts in rounds for count in counts)
    return Report(
        title=f"{_WORKERS} workers, {_CONNECTIONS} connections",
        columns=("round", "connections per worker"),
        rows=tuple((str(number), " + ".join(map(str, counts))) for number, counts in enumerate(rounds, 1)),
        verdicts=(at_most("distance from an even spread", worst, _BUDGET_PERCENT, "%"),),
        values={"connections_per_worker": rounds},
    )


def _connections_per_worker(place: Place) -> list[int]:
    with gateway.ready(place, workers=_WORKERS) as running:
        command = wrk.command(running.port, running.token.text, seconds=30, connections=_CONNECTIONS)
        with started(command, cores=(place.cores.load,), output=place.new_folder("wrk") / "log") as load:
            processes = running.processes()
            wait_for(lambda: len(owners_of(running.port, processes)) >= _CONNECTIONS, load, what="full set of connections")
            owners = list(owners_of(running.port, processes).values())
        counts = [owners.count(pid) for pid in set(owners)]
        return sorted(counts + [0] * (_WORKERS - len(counts)), reverse=True)
