"""What counting and logging one request costs: `python -m bench.telemetry`. Microseconds of one core, best of seven rounds."""

import os
import timeit
from collections.abc import Callable

from gateway.reasons import Reason
from gateway.telemetry.access import AccessLog
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.metrics import ALLOW, DENY, Layout, WorkerMetrics
from gateway.telemetry.reading import SupervisorFacts
from gateway.telemetry.slots import Cells

CALLS = 50_000
ROUNDS = 7


def measure(name: str, call: Callable[[], object], calls: int = CALLS) -> None:
    best = min(timeit.repeat(call, number=calls, repeat=ROUNDS))
    print(f"{name:<48}{best / calls * 1e6:10.2f} µs")


def main() -> None:
    layout = Layout((f"route-{number}" for number in range(10)), ["app"], ["https://idp.example"])
    cells = Cells.create(layout.block, 3)
    route = WorkerMetrics(layout, cells.block(0)).route("route-3")
    measure("RouteMetrics.finish, forwarded", lambda: route.finish(b"GET", 200, ALLOW, None, 0.0012, 0.0011))
    measure("RouteMetrics.finish, refused", lambda: route.finish(b"GET", 401, DENY, Reason.REVOKED_TOKEN, 0.00002, -1.0))

    nowhere = os.open(os.devnull, os.O_WRONLY)
    writer = LineWriter(nowhere, lambda lines: None, cells.fd)
    log = AccessLog(writer)

    def write() -> None:
        log.write(
            1_735_732_800.0, "app", b"GET", b"/api/v1/orders/12345", 200, ALLOW, None, "alice@example.com", "0123456789abcdef",
            "192.0.2.7", 0.00123, 0.0011, b"0123456789abcdef0123456789abcdef", b"0123456789abcdef0123456789abcdef", "app", None,
        )  # fmt: skip

    measure("AccessLog.write, to /dev/null by its thread", write)
    writer.close()

    facts = SupervisorFacts(running=2, configured=2, restarts=0, is_store_up=True)
    now = [0.0]

    def scrape() -> None:
        now[0] += 1.0
        exposition.page("")

    exposition = Exposition(layout, cells, 2.0, lambda: facts, lambda: now[0])
    measure("a scrape of 10 routes and 2 workers", scrape, calls=5)


if __name__ == "__main__":
    main()
