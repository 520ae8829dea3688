"""An upstream that hangs, or is dead, takes nothing from another one: as many clients as may wait for it do, and more."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from backends import RecordingBackend
from data_plane import DataPlane, configuration, data_plane
from exchanging import request, serving, until

from gateway.proxy.pool import Pool

MOST_CONNECTIONS, MOST_WAITING, BEYOND = 4, 6, 8
MAY_WAIT = MOST_CONNECTIONS + MOST_WAITING
CLIENTS = 40
ROUTES = [
    {"name": "hung", "path": "/hung/", "access": "public", "upstream": "hung"},
    {"name": "well", "path": "/", "access": "public", "upstream": "well"},
]


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass


@asynccontextmanager
async def silent(scheme: str = "http") -> AsyncIterator[str]:
    """It accepts, reads, and never says anything: no answer, or not even a word of TLS."""
    async with serving(swallow) as port:
        yield f"{scheme}://127.0.0.1:{port}"


@asynccontextmanager
async def never_accepting() -> AsyncIterator[str]:
    """Its queue of connections is full: connects get no answer."""
    with contextlib.ExitStack() as held:
        listener, *fillers = [held.enter_context(socket.socket()) for _ in range(3)]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def hung_pool(gateway: DataPlane) -> str:
    return repr(gateway.plane.pools["hung"])


def still_waiting(gateway: DataPlane) -> int:
    pool = gateway.plane.pools["hung"]
    assert isinstance(pool, Pool)
    return sum(waiting.is_wanted for waiting in pool._queue)


@asynccontextmanager
async def beside(hung: str, well: RecordingBackend, folder: Path) -> AsyncIterator[DataPlane]:
    patience = {"connect_timeout": "1m", "read_timeout": "1m", "queue_timeout": "1m"}
    upstreams = {
        "hung": {"url": hung, "max_connections": MOST_CONNECTIONS, "max_waiting": MOST_WAITING} | patience,
        "well": {"url": f"http://127.0.0.1:{well.port}", "max_connections": MOST_CONNECTIONS},
    }
    path = configuration(folder, hung, upstreams=upstreams, routes=ROUTES, limits={"connections": CLIENTS})
    async with data_plane(path) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("upstream", "full"),
    [
        (silent, "0 idle of 4, 0 opening, 6 waiting"),
        (lambda: silent("https"), "0 idle of 0, 4 opening, 10 waiting"),
        (never_accepting, "0 idle of 0, 4 opening, 10 waiting"),
    ],
    ids=["never answers", "never speaks TLS", "never accepts"],
)
async def test_an_upstream_that_hangs_holds_so_many_clients_and_takes_nothing_from_another(
    upstream: Callable[[], AbstractAsyncContextManager[str]], full: str, tmp_path: Path, backend: RecordingBackend
) -> None:
    async with upstream() as url, beside(url, backend, tmp_path) as gateway:
        held = [await gateway.connect() for _ in range(MAY_WAIT)]
        for client in held:
            await client.send(request("/hung/"))
        await until(lambda: full in hung_pool(gateway))
        more = [await gateway.connect() for _ in range(BEYOND)]
        for client in more:
            reply = await client.ask(request("/hung/"))
            assert (reply.status, reply.reason) == (502, "upstream-unreachable")
        # Everything else is served: on new connections, on connections that were just refused, many at once.
        others = [*more, *[await gateway.connect() for _ in range(CLIENTS - MAY_WAIT - BEYOND)]]
        for _ in range(3):
            assert [reply.status for reply in await asyncio.gather(*(other.ask(request("/")) for other in others))] == [
                200
            ] * len(others)
        assert len(backend.requests) == 3 * len(others)
        assert full in hung_pool(gateway)
        assert not any(client.reader.at_eof() for client in held)
        for client in (*held, *others):
            client.close()
        await until(lambda: not gateway.plane.clients)


async def test_uploads_to_an_upstream_that_hangs_hold_fewer_and_take_nothing_from_another(
    tmp_path: Path, backend: RecordingBackend
) -> None:
    begun = b"POST /hung/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + bytes(100_000)
    async with silent() as url, beside(url, backend, tmp_path) as gateway:
        held = [await gateway.connect() for _ in range(5)]
        for client in held:
            await client.send(begun)
        await until(lambda: "3 of 3, 2 waiting" in repr(gateway.plane.uploads["hung"]))
        reply = await (more := await gateway.connect()).ask(begun)
        assert (reply.status, reply.reason) == (502, "upstream-unreachable")
        others = [await gateway.connect() for _ in range(CLIENTS - 10)]
        assert [reply.status for reply in await asyncio.gather(*(other.ask(request("/")) for other in others))] == [200] * len(
            others
        )
        assert not any(client.reader.at_eof() for client in held)
        for client in (*held, *others, more):
            client.close()
        await until(lambda: not gateway.plane.clients)


async def test_who_leaves_the_queue_of_an_upstream_that_hangs_makes_room_at_once(
    tmp_path: Path, backend: RecordingBackend
) -> None:
    async with silent() as url, beside(url, backend, tmp_path) as gateway:
        held = [await gateway.connect() for _ in range(MAY_WAIT)]
        for client in held:
            await client.send(request("/hung/"))
        await until(lambda: still_waiting(gateway) == MOST_WAITING)
        for client in held[MOST_CONNECTIONS:]:
            client.close()
        await until(lambda: len(gateway.plane.clients) == MOST_CONNECTIONS)
        others = [await gateway.connect() for _ in range(MOST_WAITING)]
        for client in others:
            await client.send(request("/hung/"))
        await until(lambda: still_waiting(gateway) == MOST_WAITING)
        for client in held[:MOST_CONNECTIONS]:
            client.close()
        await until(lambda: "0 idle of 4, 0 opening, 2 waiting" in hung_pool(gateway))
