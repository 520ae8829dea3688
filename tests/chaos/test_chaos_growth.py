"""What a request leaves behind in the workers, one kind after the other by the thousand: nothing, once their memories are full.

make chaos ARGS='-k growth -s'   prints the bytes
"""

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from attacks.wire_gateway import within
from chaos.soak import SHORT, Soak, resident
from live.running_gateway import Child
from model.rough_gateway import SETTINGS, RoughGateway

MOST_BYTES = 100  # of two workers together; an object that is kept takes more
LONGEST_WAIT_S = 60.0
UPSTREAMS = {"app": "http", "socket": "websocket"}
ROUTES = [{"name": "echo", "path": "/echo", "upstream": "socket"}, {"name": "app", "path": "/", "upstream": "app"}]
HERE = Path(__file__).parent


class Loads(Soak):
    """The soak's loads, one at a time and without its pauses."""

    def __init__(self, gateway: RoughGateway) -> None:
        super().__init__(gateway, "/echo")
        self.stop.set()  # whoever would wait goes on at once
        self.numbers = count()
        self.token = ""

    def memory(self) -> int:
        return sum(resident(pid) for pid in self.gateway.processes(b"worker"))

    def renew(self) -> None:
        """A token of now; they live for a minute."""
        self.token = self._token("somebody", f"token-{next(self.numbers)}")

    def new_connections(self, times: int) -> None:
        for _ in range(times):
            assert self.gateway.show(self.token).told == "200"

    def kept_connections(self, times: int) -> None:
        request = f"GET /who HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        with contextlib.ExitStack() as held:
            address = ("127.0.0.1", self.gateway.gateway.port)
            clients = [held.enter_context(socket.create_connection(address, LONGEST_WAIT_S)) for _ in range(8)]
            for number in range(times):
                clients[number % 8].sendall(request)
                assert clients[number % 8].recv(1 << 16).startswith(b"HTTP/1.1 200")

    def refusals(self, times: int) -> None:
        for _ in range(times):
            assert self.gateway.get("/who").status == 401

    def streams(self, times: int) -> None:
        for _ in range(times):
            self._stream(self.token).close()

    def tunnels(self, times: int) -> None:
        for _ in range(times):
            with self._tunnel(self.token):
                pass

    def strangers(self, times: int) -> None:
        for number in range(times):
            self._strangers(random.Random(number), number)


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loads]:
    application = Child(HERE.parent / "live" / "application.py")
    gateway = RoughGateway(tmp_path_factory.mktemp("growth"), keys=0)
    settings = gateway.gateway._settings
    settings |= SETTINGS | SHORT
    settings["upstreams"] = {name: {"url": f"http://127.0.0.1:{application.says[kind]}"} for name, kind in UPSTREAMS.items()}
    settings["routes"] = ROUTES
    try:
        gateway.start()
        within(LONGEST_WAIT_S, lambda: gateway.admin("GET", "/v1/keys")[1].get("keys"))
        yield Loads(gateway)
    finally:
        gateway.close()
        application.stop()


@pytest.mark.parametrize(
    ("load", "warm", "times"),
    [
        (Loads.new_connections, 4000, 8000),
        (Loads.kept_connections, 10_000, 20_000),
        (Loads.refusals, 4000, 8000),
        (Loads.streams, 1000, 3000),
        (Loads.tunnels, 1500, 1500),  # every handshake's answer is another one: until 512 are remembered, 2 KiB each
        (Loads.strangers, 300, 600),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_growth_is_none_whatever_is_asked_by_the_thousand(
    loads: Loads, load: Callable[[Loads, int], None], warm: int, times: int
) -> None:
    loads.renew()
    load(loads, warm)
    before = loads.memory()
    loads.renew()
    load(loads, times)
    grown = loads.memory() - before
    print(f"\n{load.__name__}: {grown} bytes after {times} times, {grown / times:.0f} each")
    assert grown < max(MOST_BYTES * times, 1 << 18)
