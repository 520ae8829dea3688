"""Idle connections: each has made one request and stays. What does one cost in memory?

Growth of resident memory of the whole process tree, divided by the connections. Memory of the kernel's sockets is the
same for all and not counted.
"""

import contextlib
import time
from typing import Final

from bench.budgets import at_most
from bench.client import Connection
from bench.loads import Options
from bench.place import Place, Running
from bench.process import BenchError, resident_bytes, tree
from bench.report import Report
from bench.systems import all_systems

_CONNECTIONS: Final = 8_000
_QUICK_CONNECTIONS: Final = 2_000
_WARM_UP_CONNECTIONS: Final = 20
_SYSTEMS: Final = ("nginx", "envoy", "gateway")
_BUDGET_KIB: Final = 8.0


def measure(place: Place, options: Options) -> Report:
    """Bytes per idle connection, system by system."""
    number = _QUICK_CONNECTIONS if options.is_quick else _CONNECTIONS
    kib: dict[str, float] = {}
    titles: dict[str, str] = {}
    for system in all_systems():
        if system.name in _SYSTEMS and options.wants(system.name) and system.missing() is None:
            with system.start(place) as running:
                kib[system.name] = _bytes_per_connection(running, number) / 1024
            titles[system.name] = system.title
    verdicts = []
    if "gateway" in kib:
        verdicts.append(at_most("memory of an idle connection", kib["gateway"], _BUDGET_KIB, "KiB"))
        if "envoy" in kib:
            verdicts.append(at_most("memory of an idle connection ÷ Envoy's", kib["gateway"] / kib["envoy"], 0.5))
    return Report(
        title=f"{number} idle keep-alive connections after one request each",
        columns=("system", "KiB per connection"),
        rows=tuple((titles[name], f"{value:.1f}") for name, value in kib.items()),
        verdicts=tuple(verdicts),
        values={"connections": number, "kib_per_connection": kib},
    )


def _bytes_per_connection(running: Running, number: int) -> float:
    for _ in range(_WARM_UP_CONNECTIONS):
        with Connection(running.port) as connection:
            connection.request("/", running.token)
    processes = tree(*running.roots)
    before = resident_bytes(processes)
    with contextlib.ExitStack() as stack:
        kept = [_opened(stack, running) for _ in range(number)]
        time.sleep(0.5)
        growth = resident_bytes(processes) - before
        if any(connection.request("/", running.token)[0] != running.expected_status for connection in (kept[0], kept[-1])):
            raise BenchError("an idle connection was not answered any more")
    return growth / number


def _opened(stack: contextlib.ExitStack, running: Running) -> Connection:
    connection = stack.enter_context(Connection(running.port))
    status, _ = connection.request("/", running.token)
    if status != running.expected_status:
        raise BenchError(f"answered {status} instead of {running.expected_status}")
    return connection
