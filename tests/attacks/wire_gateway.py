"""The real program under attack: two workers as processes, an application that records what reached it, and raw sockets.

`Wire` is one gateway with its recording backend. A test sends bytes to it and asserts on three things: what came back, what
the backend saw, and what the gateway wrote down. The backend runs on a loop of its own in a thread, so tests are plain functions.
"""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from backends import Received, RecordingBackend
from issuing import ec_signer, write_key_set
from live.running_gateway import ISSUER, RunningGateway
from patience import PATIENCE_S

T = TypeVar("T")
PARTNER = "https://partner.example"
PARTNER_SIGNER = ec_signer("partner-key")

ROUTES: list[dict[str, Any]] = [
    {"name": "public", "path": "/public/", "access": "public", "upstream": "app"},
    {"name": "optional", "path": "/optional/", "access": "optional", "upstream": "app"},
    {"name": "staff", "path": "/staff/", "groups": ["staff"], "upstream": "app"},
    {"name": "partner", "path": "/partner/", "issuers": [PARTNER], "upstream": "app"},
    {"name": "once", "path": "/once/", "token_use": "once", "upstream": "app"},
    {"name": "stale", "path": "/stale/", "on_outage": "stale", "upstream": "app"},
    {"name": "open", "path": "/open/", "on_outage": "allow", "upstream": "app"},
    {"name": "app", "path": "/", "upstream": "app"},
]


def issuer(name: str = ISSUER, jwks: str = "keys.json", **settings: Any) -> dict[str, Any]:
    """An issuer of the configuration."""
    return {"issuer": name, "audience": "shop", "jwks": jwks, "algorithms": ["RS256", "ES256"], "user_prefix": ""} | settings


class Gateway(RunningGateway):
    """One whose configuration is warned about: those lines come before there is a log, and are not JSON."""

    def messages(self) -> list[dict[str, Any]]:
        path = self.path("messages")
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if not line.startswith("warning: ")]


class Background:
    """A backend on an event loop in a thread. Everything that is done with its loop goes through `run`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="backend", daemon=True)
        self._thread.start()
        self.backend = RecordingBackend()
        self.run(self.backend.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        self.run(self.backend.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)


@dataclass(frozen=True)
class Answer:
    """One answer. `status` 0: the connection was closed without one."""

    status: int
    head: bytes
    body: bytes

    @property
    def reason(self) -> str:
        found = re.search(rb"\r\nx-gateway-reason: ([^\r]+)", self.head, re.I)
        return found[1].decode() if found else ""

    @property
    def told(self) -> str:
        return f"{self.status} {self.reason}".strip()


class Wire:
    """A gateway, its backend, and its clients."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.background = Background()
        url = f"http://127.0.0.1:{self.background.backend.port}"
        settings.setdefault("issuers", [issuer(), issuer(PARTNER, "partner.json", audience="partner", user_prefix="partner|")])
        write_key_set(folder / "partner.json", PARTNER_SIGNER)
        self.gateway = Gateway(folder, {"app": url}, settings.pop("routes", ROUTES), **settings)

    @property
    def arrived(self) -> list[Received]:
        """What the backend got, ever."""
        return self.background.backend.requests

    def close(self) -> None:
        self.gateway.stop()
        self.background.close()

    def send(self, raw: bytes) -> Answer:
        """Bytes on a connection of their own, and the one answer to them."""
        with socket.create_connection(("127.0.0.1", self.gateway.port), PATIENCE_S) as client:
            with suppress(BrokenPipeError, ConnectionResetError):  # it had seen enough; its answer is there all the same
                client.sendall(raw)
            return read_answer(client)

    def get(self, path: str, *lines: str | bytes) -> Answer:
        """A GET with further lines of its head, as they are."""
        further = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines)
        return self.send(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n".encode() + further + b"\r\n")

    def show(self, token: str | bytes, path: str = "/who") -> Answer:
        """A GET with a bearer token."""
        raw = token if isinstance(token, bytes) else token.encode()
        return self.get(path, b"Authorization: Bearer " + raw)

    def open(self, token: str, path: str, *lines: str) -> socket.socket:
        """A connection on which an answer has begun: its head was read, what follows was not."""
        client = self._begin(f"GET {path}", token, *lines)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head[9:12] in (b"101", b"200")
        return client

    def begin_upload(self, token: str) -> socket.socket:
        """A connection on which a body has begun, the beginning of which may be on its way to the backend."""
        return self._begin("POST /upload", token, "Connection: close", f"Content-Length: {len(b'before after the receipt')}")

    def _begin(self, line: str, token: str, *lines: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.gateway.port), PATIENCE_S)
        head = [f"{line} HTTP/1.1", "Host: shop.example", f"Authorization: Bearer {token}", *lines]
        client.sendall("\r\n".join([*head, "", ""]).encode())
        return client

    def rest_of(self, client: socket.socket) -> bytes:
        """Everything that still comes until the gateway closes."""
        client.settimeout(PATIENCE_S)
        data = b""
        with client:
            try:
                while more := client.recv(1 << 16):
                    data += more
            except ConnectionResetError:
                pass
        return data

    def reached(self, mark: str) -> list[Received]:
        """The requests with this text in their target that the backend got."""
        return [request for request in self.arrived if mark.encode() in request.target]

    def everywhere(self, token: str, path: str = "/who", times: int = 24) -> set[str]:
        """What both workers say."""
        with ThreadPoolExecutor(8) as threads:
            return {answer.told for answer in threads.map(lambda _: self.show(token, path), range(times))}


@contextmanager
def wire(folder: Path, *, is_awaited: bool = True, **settings: Any) -> Iterator[Wire]:
    """A running one. When it has ended no output may hold a token [O04]."""
    running = Wire(folder, **settings)
    try:
        if is_awaited:
            running.gateway.start()
        else:
            running.gateway.launch()
        yield running
    finally:
        running.close()
    assert not running.gateway.leaks()


def read_answer(client: socket.socket) -> Answer:
    """Read until there is one whole answer, or the end."""
    data = b""
    client.settimeout(PATIENCE_S)
    try:
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                length = re.search(rb"\r\ncontent-length: ([0-9]+)", head, re.I)
                if length and len(body) >= int(length[1]):
                    return Answer(int(head[9:12]), head, body)
            if not (more := client.recv(1 << 16)):
                return Answer(int(head[9:12]) if end else 0, head, body)
            data += more
    except ConnectionResetError:
        return Answer(0, b"", data)


def at_once(number: int, ask: Callable[[int], T]) -> list[T]:
    """Many at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(number)

    def wait_and_ask(place: int) -> T:
        barrier.wait(PATIENCE_S)
        return ask(place)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(wait_and_ask, range(number)))


def within(seconds: float, ask: Callable[[], T]) -> T:
    """The first true answer; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s"
        time.sleep(0.02)
    return answer
