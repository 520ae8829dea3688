"""What the tests of the data plane say and wait for: requests as bytes, servers of a few lines, conditions instead of sleeps."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from backends import Answer, Received
from data_plane import DataPlane, RawClient, provider

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def alice(**claims: Any) -> str:
    """A good token of alice's."""
    return provider().token(**{"sub": "alice", **claims})


def request(
    path: str = "/", *lines: str, token: str | None = None, method: str = "GET", version: str = "1.1", body: bytes | None = None
) -> bytes:
    """One request. A body brings its Content-Length."""
    fields = [f"Authorization: Bearer {token}"] if token else []
    if body is not None:
        fields.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"{method} {path} HTTP/{version}", "Host: shop.example", *fields, *lines, "", ""])
    return head.encode() + (body or b"")


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0)


def stop_reading(client: RawClient) -> None:
    """The client reads no more, and the kernel takes little for it, however much it would on this machine."""
    client.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    client.writer.transport.pause_reading()


def read_again(client: RawClient) -> None:
    client.writer.transport.resume_reading()


async def closed_without_an_answer(client: RawClient) -> None:
    assert await client.read_to_end() == b""


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server on a free port for what a `RecordingBackend` would already read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def in_segments(data: bytes, size: int = 1) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


async def send_in_segments(client: RawClient, data: bytes, size: int = 1) -> None:
    """Each segment leaves before the next one is written."""
    for segment in in_segments(data, size):
        await client.send(segment)
        await asyncio.sleep(0)


class Held:
    """An answer that waits until the test lets go, for the path it is told to hold."""

    def __init__(self, answer: Answer, path: bytes = b"/") -> None:
        self.gate = asyncio.Event()
        self.path = path
        self._answer = answer

    async def __call__(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if received.target.startswith(self.path):
            await self.gate.wait()
        return await self._answer(received, reader, writer)


def only_upstream(gateway: DataPlane) -> Any:
    """The one open upstream connection of a data plane."""
    (connection,) = gateway.plane.pools["app"]._open
    return connection


def only_client(gateway: DataPlane) -> Any:
    """The one open client connection of a data plane."""
    (client,) = gateway.plane.clients
    return client
