"""A hundred new configurations under traffic, good ones and bad ones: `make chaos ARGS='-k reloads'`, `RELOADS=20` for fewer.

No request fails, no count is lost or told twice, and the supervisor, which goes through all of it, holds no more at the end than
after the first ten.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from live.running_gateway import ROUTES, Child, RunningGateway, eventually
from live.steady_clients import SteadyClients

RELOADS = int(os.environ.get("RELOADS", "100"))
SEED = int(os.environ.get("RELOADS_SEED", "1"))
FIRST = 10
LONGEST_S = 1200.0
GROWTH_KIB = 4096  # of resident memory over ninety reloads, beyond what the first ten took
SERVED = 'gateway_requests_total{code="200",method="GET",route="app"}'
LIVE = Path(__file__).parent.parent / "live"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    application = Child(LIVE / "application.py")
    upstreams = dict.fromkeys(("app", "socket", "django"), f"http://127.0.0.1:{application.says['http']}")
    gateway = RunningGateway(tmp_path, upstreams, ROUTES, workers=1, timeouts={"drain": "2s"}, store={"url": "embedded"})
    try:
        yield gateway.start()
    finally:
        gateway.stop()
        application.stop()


class Reloader:
    """Changes a gateway's file at random."""

    def __init__(self, gateway: RunningGateway, seed: int) -> None:
        self._gateway = gateway
        self._random = random.Random(seed)
        self.good = self.bad = 0

    def reload(self) -> None:
        """One more, and wait for what becomes of it."""
        is_bad = self._random.random() < 0.15
        settings = self._gateway._settings | {
            "workers": "many" if is_bad else self._random.randint(1, 3),
            "routes": self._random.choice((ROUTES, [{"name": "new", "path": "/new/", "upstream": "app"}, *ROUTES])),
            "log": {"level": self._random.choice(("info", "debug"))},
        }
        self._gateway.configuration.with_suffix(".new").write_text(f"{yaml.safe_dump(settings)}# {self.good + self.bad}\n")
        self._gateway.configuration.with_suffix(".new").replace(self._gateway.configuration)
        if self._random.random() < 0.8:  # else the change is noticed: no two files are the same
            os.kill(self._gateway.pid, signal.SIGHUP)
        self.good, self.bad = self.good + (not is_bad), self.bad + is_bad
        eventually(lambda: self.outcomes() == (self.good, self.bad), within_s=60.0)

    def outcomes(self) -> tuple[float, float]:
        """How many reloads the gateway says were good and bad."""
        metrics = self._gateway.metrics()
        name = 'gateway_config_reloads_total{{result="{}"}}'
        return metrics[name.format("success")], metrics[name.format("failure")]


def is_settled(gateway: RunningGateway) -> bool:
    return gateway.metrics()["gateway_workers_draining"] == 0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


def test_reloads_by_the_hundred_fail_no_request_lose_no_count_and_leave_nothing_behind(
    gateway: RunningGateway, capsys: pytest.CaptureFixture[str]
):
    reloader, deadline = Reloader(gateway, SEED), time.monotonic() + LONGEST_S
    with SteadyClients(gateway.port, "/who", gateway.token(exp=int(time.time()) + 3000)).asking(6, keep=3) as clients:
        for number in range(RELOADS):
            assert time.monotonic() < deadline, f"{number} reloads took {LONGEST_S:.0f} s"
            reloader.reload()
            if number == FIRST:
                eventually(lambda: is_settled(gateway))
                first = descriptors(gateway.pid), resident_kib(gateway.pid)
    eventually(lambda: is_settled(gateway))
    last = descriptors(gateway.pid), resident_kib(gateway.pid)
    with capsys.disabled():
        told = f"{sum(clients.told.values())} requests, slowest {clients.slowest_s:.2f} s, {len(clients.failures)} failed"
        print(f"\n{reloader.good} good and {reloader.bad} bad reloads; {told}; descriptors and KiB: {first}, {last}")
    assert clients.failures == []
    assert set(clients.told) == {200}
    eventually(lambda: gateway.metrics()[SERVED] == clients.told[200])
    assert gateway.metrics()["gateway_worker_restarts_total"] == 0
    assert gateway.is_ready()
    assert last[0] <= first[0] + 8  # sockets of further workers, connections of the admin port
    assert last[1] <= first[1] + GROWTH_KIB
