"""A data plane in the test's own process: the real one, on real sockets, with a replica that was declared live and is empty.

For what needs the store, several workers or the command line there is `tests/live/`.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import yaml
from issuing import Provider, key_set, rsa_signer
from patience import PATIENCE_S

from gateway.clock import Clock
from gateway.config.load import load
from gateway.inside import build_inside, build_plane
from gateway.proxy.listener import Listener, bind_shared, server_tls
from gateway.proxy.plane import Plane
from gateway.proxy.traced import Tracer
from gateway.revocation.state import Event
from gateway.revocation.view import View
from gateway.telemetry.access import AccessLog
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.metrics import Layout, WorkerMetrics
from gateway.telemetry.slots import Cells
from gateway.telemetry.trace_queue import SpanQueue
from gateway.tokens.jwk import parse_key_set

SIGNER = rsa_signer()
ADMIN_TOKEN = "an-admin-token-for-tests-of-32-bytes-or-more"

ROUTES: list[dict[str, Any]] = [
    {"name": "public", "path": "/public/", "access": "public", "upstream": "app"},
    {"name": "optional", "path": "/optional/", "access": "optional", "upstream": "app"},
    {"name": "admin", "path": "/admin/", "access": "required", "groups": ["staff"], "upstream": "app"},
    {"name": "pay", "path": "/pay", "methods": ["POST"], "access": "required", "token_use": "once", "upstream": "app"},
    {"name": "app", "path": "/", "access": "required", "upstream": "app"},
]


def provider() -> Provider:
    """The issuer that `configuration` accepts, living now."""
    return Provider("https://idp.example", audience="shop", signer=SIGNER, now=int(time.time()))


def configuration(folder: Path, upstream: str, **changes: Any) -> Path:
    """A configuration file with one issuer and one upstream; `changes` replace top-level keys."""
    (folder / "keys.json").write_bytes(key_set(SIGNER))
    settings: dict[str, Any] = {
        "fingerprint": {"foreign": "ignore"},
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN},
        "issuers": [{"issuer": "https://idp.example", "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"]}],
        "upstreams": {"app": {"url": upstream}},
        "routes": ROUTES,
    }
    settings.update(changes)
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


class DataPlane:
    """A running data plane and its address."""

    def __init__(self, plane: Plane, listener: Listener, port: int, cells: "memoryview[float]", layout: Layout) -> None:
        self.plane = plane
        self.listener = listener
        self.port = port
        self.cells = cells
        self.layout = layout
        self.trust: ssl.SSLContext | None = None  # how clients verify a data plane that speaks TLS

    async def connect(self) -> "RawClient":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24, ssl=self.trust)
        return RawClient(reader, writer)

    async def ask(self, request: bytes) -> "Reply":
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(request)
        finally:
            client.close()


Start = Callable[..., Awaitable[DataPlane]]
"""What fixtures of this name give: start a data plane of the test's own, with settings."""


class Reply:
    """One answer, read strictly."""

    def __init__(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.reason}>"

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        found = self.values(name)
        return found[0] if found else None

    @property
    def reason(self) -> str | None:
        return self.value("X-Gateway-Reason")


class RawClient:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, request: bytes) -> Reply:
        await self.send(request)
        return await self.read_reply(is_head=request.startswith(b"HEAD "))

    async def read_reply(self, *, is_head: bool = False, timeout_s: float = PATIENCE_S) -> Reply:
        """The next final answer. Raises IncompleteReadError when the connection ends before it is complete."""
        async with asyncio.timeout(timeout_s):
            status, fields = await self.read_head()
            while 100 <= status < 200 and status != 101:
                status, fields = await self.read_head()
            reply = Reply(status, fields, b"")
            if is_head or status in (101, 204, 304):
                return reply
            if reply.value("Transfer-Encoding") == "chunked":
                reply.body = await self._chunks()
            elif (length := reply.value("Content-Length")) is not None:
                reply.body = await self.reader.readexactly(int(length))
            else:
                reply.body = await self.reader.read()
            return reply

    async def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head[:-4].split("\r\n")
        pairs = (part.partition(": ") for part in rest)
        return int(line.split(" ")[1]), [(name, value) for name, _, value in pairs]

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            piece = await self.reader.readexactly(size + 2)
            if not size:
                return body
            body += piece[:-2]

    async def read_to_end(self, timeout_s: float = PATIENCE_S) -> bytes:
        """Everything until the gateway closes the connection, however it does."""
        data = b""
        async with asyncio.timeout(timeout_s):
            try:
                while piece := await self.reader.read(65536):
                    data += piece
            except ConnectionError:
                pass
        return data

    def close(self) -> None:
        self.writer.transport.abort()


def live_view() -> View:
    """A replica that is live, empty, and never grows stale."""
    view = View()
    view.meet(Event.DECLARED)
    view.meet(Event.GRANTED)
    view.proven_at = inf
    return view


@asynccontextmanager
async def data_plane(
    path: Path,
    *,
    view: View | None = None,
    log_fd: int | None = None,
    store_url: str = "unix:///nowhere",
    spans: SpanQueue | None = None,
) -> AsyncIterator[DataPlane]:
    """Run the data plane of the configuration at `path` on a free port. One-time tokens and sessions need a store.

    When the configuration traces, spans go to `spans`, which its owner closes.
    """
    config = load(path).config
    layout = Layout.of(config)
    cells = Cells.create(layout.block, 1)
    metrics = WorkerMetrics(layout, cells.block(0))
    sink = os.open(os.devnull, os.O_WRONLY) if log_fd is None else log_fd
    lines = LineWriter(sink, metrics.log_dropped)
    clock = Clock()
    inside = build_inside(config, [b"s" * 32], live_view() if view is None else view, clock, metrics, store_url, 0)
    for configured in config.issuers:
        issuer = inside.known.issuers[configured.issuer]
        issuer.adopt(parse_key_set((path.parent / "keys.json").read_bytes(), sorted(issuer.algorithms)))
    tracer = Tracer(config.tracing, b"t" * 32, spans) if config.tracing is not None else None
    plane = build_plane(config, inside, clock, metrics, AccessLog(lines), tracer=tracer)
    listener = Listener(plane, server_tls(config.tls) if config.tls else None)
    socket = bind_shared("127.0.0.1", 0)
    listener.start_sweeping()
    await listener.start([socket])
    try:
        yield DataPlane(plane, listener, socket.getsockname()[1], cells.block(0), layout)
    finally:
        for client in tuple(plane.clients):
            client.transport.abort()
        await listener.drain()
        for pool in plane.pools.values():
            await pool.close()
        await inside.close()
        lines.close()
        if log_fd is None:
            os.close(sink)
        cells.close()
