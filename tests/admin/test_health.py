"""Ready: all live once, and one live from then on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from gateway.admin.health import Readiness, StoreStatus, WorkerStatus, readiness_page
from gateway.telemetry.reading import UpstreamReading, WorkerReading

LIVE = WorkerReading(1.0, True, "live", 0.1, 3, 9, 0.0, 1, 1, ())


def worker(index: int, process: str = "running", **changes: object) -> WorkerStatus:
    values = {name: getattr(LIVE, name) for name in WorkerReading.__slots__} | changes
    return WorkerStatus(index, 100 + index, process, "f00", 0, WorkerReading(**values))  # type: ignore[arg-type]


@dataclass
class Seen:
    """An overview that says what it was told."""

    is_ready: bool = True
    is_stopping: bool = False
    store: StoreStatus = field(default_factory=lambda: StoreStatus("embedded", True, ""))
    everybody: list[WorkerStatus] = field(default_factory=lambda: [worker(0), worker(1)])

    def workers(self) -> Sequence[WorkerStatus]:
        return self.everybody

    def upstreams(self) -> dict[str, UpstreamReading]:
        return {}


def test_ready_needs_everybody_first_and_one_afterwards():
    readiness = Readiness()
    told = [
        readiness.judge(workers)
        for workers in ([False, False], [True, False], [True, True], [False, True], [True, False], [False, False], [True, False])
    ]
    assert told == [False, False, True, True, True, False, False]


def test_a_gateway_without_workers_is_not_ready():
    assert not Readiness().judge([])


@pytest.mark.parametrize(
    "changes",
    [{"is_listening": False}, {"state": "stale"}, {"state": "lost"}, {"clock_offset_s": 1.5}, {"clock_offset_s": -1.5}],
)
def test_a_worker_is_ready_only_when_it_would_refuse_what_is_revoked(changes: dict[str, object]):
    assert worker(0).is_ready
    assert not worker(0, **changes).is_ready


@pytest.mark.parametrize("state", ["waiting", "starting"])
def test_a_worker_that_does_not_run_is_not_ready(state: str):
    assert not worker(0, state).is_ready


@pytest.mark.parametrize(
    ("seen", "status", "text"),
    [
        (Seen(), 200, "ready\n"),
        (Seen(is_ready=False), 503, "not ready\n"),
        (Seen(is_stopping=True), 503, "stopping\n"),
    ],
)
def test_the_short_page(seen: Seen, status: int, text: str):
    assert readiness_page(seen, is_verbose=False) == (status, text)


def test_the_verbose_page_names_what_is_missing_and_no_secret():
    seen = Seen(
        is_ready=False,
        store=StoreStatus("redis://store", False, "Connection refused by 10.0.0.9"),
        everybody=[worker(0), worker(1, state="catching_up"), worker(2, "waiting")],
    )
    assert readiness_page(seen, is_verbose=True) == (
        503,
        "[-] store: not to be used; why: gateway status\n"
        "[+] worker 0: live\n[-] worker 1: catching_up\n[-] worker 2: waiting\nnot ready\n",
    )
