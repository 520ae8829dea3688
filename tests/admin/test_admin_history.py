"""The decisions of the last hour: counted by workers into real cells, summed by the supervisor, told minute by minute."""

import asyncio
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pytest
from patience import PATIENCE_S

from gateway.admin.history import EVERY_S, MINUTES, History, until_the_minute
from gateway.reasons import Reason
from gateway.telemetry.metrics import ALLOW, ALLOW_STALE, DENY, Layout, WorkerMetrics
from gateway.telemetry.slots import Cells

START = 1_764_000_000.0


class Gateway:
    """Two workers' cells and the supervisor's, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.layout = Layout(("app", "staff"), ("app",), ())
        self.cells = Cells.create(self.layout.block, 3)
        self.now = START
        self.history = History(self.layout, self.cells, lambda: self.now)
        self.workers = [WorkerMetrics(self.layout, self.cells.block(index)) for index in range(2)]

    def decide(self, decision: int, reason: Reason | None = None, *, times: int = 1, worker: int = 0, route: str = "app") -> None:
        for _ in range(times):
            self.workers[worker].route(route).finish(b"GET", 200, decision, reason, 0.001, -1.0)

    def wait(self, minutes: float = 1) -> None:
        self.now += minutes * EVERY_S

    def told(self) -> dict[tuple[str, str], list[int]]:
        return {(one["decision"], one["reason"]): one["counts"] for one in self.document()["series"]}

    def document(self) -> dict[str, Any]:
        return self.history.document()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.cells.close()


def test_what_was_decided_is_told_by_decision_and_reason_at_once(gateway: Gateway) -> None:
    gateway.decide(ALLOW, times=3)
    gateway.decide(DENY, Reason.REVOKED_TOKEN)
    gateway.decide(ALLOW_STALE)
    gateway.decide(ALLOW, Reason.UPSTREAM_TIMEOUT)
    gateway.wait(0.5)
    assert gateway.document()["since"] == START and gateway.document()["times"] == [START + 30]
    assert gateway.told() == {
        ("allow", "none"): [3],
        ("deny", "revoked-token"): [1],
        ("allow_stale", "none"): [1],
        ("allow", "upstream-timeout"): [1],
    }


def test_workers_and_routes_are_summed(gateway: Gateway) -> None:
    gateway.decide(ALLOW, times=2, worker=0)
    gateway.decide(ALLOW, times=3, worker=1, route="staff")
    gateway.decide(DENY, Reason.NO_ROUTE, worker=1, route="")
    assert gateway.told() == {("allow", "none"): [5], ("deny", "no-route"): [1]}


def test_every_minute_has_its_own_count_and_the_last_one_is_still_growing(gateway: Gateway) -> None:
    for times in (2, 0, 5):
        gateway.decide(DENY, Reason.NO_TOKEN, times=times)
        gateway.wait()
        gateway.history.take()
    gateway.decide(DENY, Reason.NO_TOKEN)
    gateway.wait(0.25)
    assert gateway.told() == {("deny", "no-token"): [2, 0, 5, 1]}
    assert gateway.document()["times"] == [START + 60, START + 120, START + 180, START + 195]
    gateway.decide(DENY, Reason.NO_TOKEN)
    assert gateway.told() == {("deny", "no-token"): [2, 0, 5, 2]}


def test_a_worker_that_is_replaced_leaves_no_dent(gateway: Gateway) -> None:
    gateway.decide(ALLOW, times=4)
    gateway.wait()
    gateway.history.take()
    gateway.workers[0] = WorkerMetrics(gateway.layout, gateway.cells.block(0))  # its successor clears the gauges
    gateway.decide(ALLOW)
    assert gateway.told() == {("allow", "none"): [4, 1]}


def test_an_hour_is_kept_and_no_more(gateway: Gateway) -> None:
    for minute in range(1, 100):
        gateway.decide(ALLOW, times=minute)
        gateway.wait()
        gateway.history.take()
    told = gateway.document()
    assert told["times"] == [int(START + 60 * minute) for minute in range(100 - MINUTES + 1, 100)] + [int(gateway.now)]
    assert told["since"] == told["times"][0] - 60
    assert gateway.told() == {("allow", "none"): [*range(100 - MINUTES + 1, 100), 0]}


def test_what_is_older_than_an_hour_goes_though_the_machine_slept(gateway: Gateway) -> None:
    for _ in range(3):
        gateway.decide(ALLOW)
        gateway.wait()
        gateway.history.take()
    gateway.wait(MINUTES - 1)
    gateway.history.take()
    assert gateway.document()["since"] == START + 2 * 60
    gateway.wait(300)
    gateway.history.take()
    assert gateway.document()["since"] == gateway.now
    assert gateway.told() == {}


def test_it_looks_when_a_minute_is_over_and_not_twice_because_a_timer_was_early() -> None:
    assert [until_the_minute(now) for now in (120.0, 130.0, 149.0)] == [60.0, 50.0, 31.0]
    assert until_the_minute(179.99) == pytest.approx(60.01)
    waits = [until_the_minute(120 + tenth / 10) for tenth in range(600)]
    assert min(waits) >= 30 and max(waits) <= 90
    assert all((120 + tenth / 10 + wait) % 60 in (pytest.approx(0), pytest.approx(60)) for tenth, wait in enumerate(waits))


async def test_it_looks_by_itself(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.admin.history.EVERY_S", 0.01)  # the minute's length, not its work
    task = asyncio.create_task(gateway.history.run())
    async with asyncio.timeout(PATIENCE_S):
        while len(gateway.document()["times"]) < 4:
            gateway.wait(0.0001)
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_counts_are_whole_however_large(gateway: Gateway) -> None:
    gateway.cells.block(0)[gateway.layout.routes["app"].decisions] = 2.0**52
    gateway.wait()
    gateway.history.take()
    gateway.decide(ALLOW)
    assert list(accumulate(gateway.told()["allow", "none"])) == [2**52, 2**52 + 1]
