"""Connections that are open when their session ends: they end with it, at once, and never look complete."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from backends import Received, RecordingBackend, plain
from data_plane import DataPlane, RawClient, Start, configuration, data_plane
from exchanging import alice, request, serving, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.proxy.suspects import end_all_revoked_by_turns
from gateway.revocation.entry import PERMANENT, Entry, Kind, Revocation
from gateway.telemetry.metrics import CUT_CAUSES
from gateway.wire.websocket import accept
from gateway.worker import on_entry

IDP = "https://idp.example"
ROUTES = [
    {"name": "public", "path": "/public/", "access": "public", "upstream": "app"},
    {"name": "stale", "path": "/stale/", "access": "required", "upstream": "app", "on_outage": "stale"},
    {"name": "allow", "path": "/allow/", "access": "required", "upstream": "app", "on_outage": "allow"},
    {"name": "deny", "path": "/", "access": "required", "upstream": "app"},
]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


def revoke(gateway: DataPlane, kind: Kind, name: str, value: int | None = None) -> None:
    """An entry of the log arrives, as the follower brings it: into the replica, then to the connections it ends."""
    view = gateway.plane.known.replica
    number = view.revision + 1
    moment = int(time.time()) if value is None else value
    entry = Entry(
        number,
        f"id-{number}",
        f"id-{number - 1}",
        kind,
        Revocation(kind, name, IDP).key,
        moment,
        PERMANENT,
        f"revocation-{number}",
    )
    view.apply(entry)
    on_entry(entry, gateway.plane)


def cuts(gateway: DataPlane) -> dict[str, int]:
    """How many connections were cut, by cause."""
    counts = {cause: int(gateway.cells[gateway.layout.cuts + place]) for place, cause in enumerate(CUT_CAUSES)}
    return {cause: count for cause, count in counts.items() if count}


@pytest.fixture
async def endless() -> AsyncIterator[int]:
    """An application whose answers begin and never end."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM_HEAD)
        await asyncio.gather(reader.read(), return_exceptions=True)

    async with serving(stream) as port:
        yield port


async def streaming(gateway: DataPlane, path: str = "/", **claims: object) -> RawClient:
    """A client in the middle of an answer."""
    client = await gateway.connect()
    await client.send(request(path, token=alice(**claims)))
    await client.reader.readuntil(b"hello\r\n")
    return client


async def was_cut(client: RawClient) -> bool:
    """Whether the stream ended, and not as a complete one does."""
    return await client.read_to_end() == b""


def is_open(client: RawClient) -> bool:
    return not client.reader.at_eof() and client.reader.exception() is None


@asynccontextmanager
async def websocket(
    start: Start, path: str = "/", **claims: object
) -> AsyncIterator[tuple[DataPlane, ClientConnection, ServerConnection]]:
    """A WebSocket through a data plane, and its application's end."""
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def answer(connection: ServerConnection) -> None:
        connections.put_nowait(connection)
        async for message in connection:
            await connection.send(message)

    async with serve(answer, "127.0.0.1", 0) as server:
        gateway = await start(next(iter(server.sockets)).getsockname()[1], routes=ROUTES)
        url = f"ws://127.0.0.1:{gateway.port}{path}"
        async with connect(url, additional_headers={"Authorization": f"Bearer {alice(**claims)}"}) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            yield gateway, socket, await connections.get()


async def close_code(socket: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    received = closed.value.rcvd
    return (received.code, received.reason) if received is not None else (None, None)


# A fact arrives.

FACTS = [(Kind.SESSION, "session-1"), (Kind.USER, "alice"), (Kind.TOKEN, "one"), (Kind.KEY, "key-1"), (Kind.BLOCK, "alice")]


@pytest.mark.parametrize(("kind", "name"), FACTS)
async def test_a_websocket_is_told_1008_when_a_fact_ends_its_session(start: Start, kind: Kind, name: str) -> None:
    async with websocket(start, jti="one") as (gateway, socket, backend):
        revoke(gateway, kind, name)
        assert await close_code(socket) == (1008, "session ended")
        await backend.wait_closed()
        assert cuts(gateway) == {kind.value: 1}
        assert len(gateway.plane.live) == 0


@pytest.mark.parametrize(("kind", "name"), FACTS)
async def test_a_stream_ends_without_its_last_chunk_when_a_fact_ends_its_session(
    start: Start, endless: int, kind: Kind, name: str
) -> None:
    gateway = await start(endless)
    client = await streaming(gateway, jti="one")
    revoke(gateway, kind, name)
    assert await was_cut(client)
    assert cuts(gateway) == {kind.value: 1}
    await until(lambda: not gateway.plane.clients and not gateway.plane.pools["app"]._open)
    assert len(gateway.plane.live) == 0


async def test_a_fact_ends_the_connections_that_it_speaks_of_and_no_others(start: Start, endless: int) -> None:
    gateway = await start(endless)
    hers = [await streaming(gateway, sub="alice", sid=sid) for sid in ("phone", "laptop")]
    his = await streaming(gateway, sub="bob", sid="tablet")
    nobodys = await streaming(gateway, "/public/")
    assert len(gateway.plane.live) == 3
    revoke(gateway, Kind.SESSION, "phone")
    assert await was_cut(hers[0])
    assert len(gateway.plane.live) == 2
    revoke(gateway, Kind.USER, "alice")
    assert await was_cut(hers[1])
    assert is_open(his)
    assert is_open(nobodys)
    assert len(gateway.plane.live) == 1
    revoke(gateway, Kind.KEY, "key-1")
    assert await was_cut(his)
    assert is_open(nobodys)
    assert cuts(gateway) == {"session": 1, "user": 1, "key": 1}


async def test_a_not_before_leaves_the_connections_of_later_tokens(start: Start, endless: int) -> None:
    gateway = await start(endless)
    client = await streaming(gateway)
    revoke(gateway, Kind.USER, "alice", value=int(time.time()) - 60)
    assert len(gateway.plane.live) == 1
    assert is_open(client)


async def test_a_tunnel_that_is_no_websocket_is_cut_too(start: Start) -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: custom/1\r\n\r\nhello\r\n")
        await asyncio.gather(reader.read(), return_exceptions=True)

    async with serving(switch) as port:
        gateway = await start(port)
        client = await gateway.connect()
        await client.send(request("/", "Upgrade: custom/1", "Connection: Upgrade", token=alice()))
        await client.reader.readuntil(b"hello\r\n")
        revoke(gateway, Kind.USER, "alice")
        assert await was_cut(client)


async def test_a_close_frame_is_never_put_into_the_middle_of_another_frame(start: Start) -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    switch = "\r\n".join(
        [
            "HTTP/1.1 101 Yes",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Accept: {accept(key.encode()).decode()}",
            "",
            "",
        ]
    )

    async def half_a_frame(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(switch.encode() + b"\x81\x0ahalf")
        await asyncio.gather(reader.read(), return_exceptions=True)

    async with serving(half_a_frame) as port:
        gateway = await start(port)
        client = await gateway.connect()
        lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
        await client.send(request("/", *lines, token=alice()))
        await client.reader.readuntil(b"half")
        revoke(gateway, Kind.USER, "alice")
        assert await client.read_to_end() == b""


async def test_an_answer_that_begins_after_the_fact_does_not_begin(gateway: DataPlane, backend: RecordingBackend) -> None:
    """The application was already thinking when the session ended; its stream is nobody's any more."""
    gate = asyncio.Event()
    assert gateway.listener._sweeper is not None
    gateway.listener._sweeper.cancel()  # it would find the stream later; it must be found now

    async def think(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        writer.write(STREAM_HEAD)
        await reader.read()
        return False

    backend.answer = think
    client = await gateway.connect()
    await client.send(request(token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    revoke(gateway, Kind.USER, "alice")
    gate.set()
    assert b"0\r\n\r\n" not in await client.read_to_end()
    assert cuts(gateway) == {"user": 1}
    await backend.wait_for(lambda: backend.open_connections == 0)


async def test_an_upload_is_cut_while_it_is_sent_and_left_alone_once_it_is_complete(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    uploading = await gateway.connect()
    await uploading.send(request("/", "Content-Length: 10", token=alice(), method="POST") + b"half")
    await until(lambda: len(gateway.plane.live) == 1)
    revoke(gateway, Kind.SESSION, "session-1")
    assert await was_cut(uploading)
    assert backend.requests == []

    gate = asyncio.Event()

    async def work(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        return await plain()(received, reader, writer)

    backend.answer = work
    complete = await gateway.connect()
    await complete.send(request("/", "Content-Length: 10", token=alice(sid="session-2"), method="POST") + b"half ")
    await until(lambda: len(gateway.plane.live) == 1)
    await complete.send(b"whole")
    await backend.wait_for(lambda: len(backend.requests) == 1)
    revoke(gateway, Kind.SESSION, "session-2")
    gate.set()
    assert (await complete.read_reply()).status == 200


@pytest.mark.parametrize(("kind", "name"), FACTS)
async def test_an_upload_is_cut_by_every_fact_that_ends_its_session(
    gateway: DataPlane, backend: RecordingBackend, kind: Kind, name: str
) -> None:
    client = await uploading(gateway, jti="one")
    revoke(gateway, kind, name)
    assert await was_cut(client)
    assert backend.requests == []
    assert cuts(gateway) == {kind.value: 1}
    assert len(gateway.plane.live) == 0


async def uploading(gateway: DataPlane, **claims: object) -> RawClient:
    """A client in the middle of a body."""
    client = await gateway.connect()
    await client.send(request("/", "Content-Length: 10", token=alice(**claims), method="POST") + b"half")
    await until(lambda: len(gateway.plane.live) == 1)
    return client


async def test_a_tunnel_that_is_found_twice_is_told_once(start: Start) -> None:
    """What is written down about it waits for the next turn of the loop; until then it is still listed."""
    async with websocket(start, jti="one") as (gateway, socket, _):
        revoke(gateway, Kind.TOKEN, "one")
        revoke(gateway, Kind.USER, "alice")
        gateway.listener.sweep(judge_live=True)
        assert await close_code(socket) == (1008, "session ended")
        assert cuts(gateway) == {"token": 1}


async def test_many_are_judged_by_turns_and_who_has_ended_meanwhile_is_left_alone(
    start: Start, backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two answers come to their end between the turns; their connections serve again, and must not be taken for revoked."""
    monkeypatch.setattr("gateway.proxy.suspects.TURN_S", 0.0)
    gate = asyncio.Event()

    async def stream(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD)
        await gate.wait()
        writer.write(b"0\r\n\r\n")
        return True

    backend.answer = stream
    gateway = await start(backend.port, routes=ROUTES)
    assert gateway.listener._sweeper is not None
    gateway.listener._sweeper.cancel()
    clients = [await streaming(gateway, sid=f"session-{number}") for number in range(3)]
    judging = end_all_revoked_by_turns(gateway.plane)
    judging.send(None)  # the first turn: nobody is revoked yet
    gate.set()
    await until(lambda: len(gateway.plane.live) == 0)
    gate.clear()
    for client in clients:
        await client.send(request("/public/"))
        await client.reader.readuntil(b"hello\r\n")
    gateway.plane.known.replica.proven_at = gateway.plane.clock.boot() - 10
    with pytest.raises(StopIteration):
        while True:
            judging.send(None)
    await asyncio.sleep(0)
    assert cuts(gateway) == {}
    assert all(is_open(client) for client in clients)


# Time passes, and the replica grows stale.


async def test_expiry_ends_streams_and_uploads_too(start: Start, endless: int, backend: RecordingBackend) -> None:
    issuers = [{"issuer": IDP, "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"], "leeway": "0s"}]
    downloads, uploads = await start(endless, issuers=issuers), await start(backend.port, issuers=issuers)
    soon = time.time() + 1.5
    client, upload = await streaming(downloads, exp=soon), await uploading(uploads, exp=soon)
    assert await was_cut(client)
    assert await was_cut(upload)
    assert cuts(downloads) == cuts(uploads) == {"expired": 1}
    assert backend.requests == []


async def test_expiry_ends_what_is_open(start: Start) -> None:
    issuers = [{"issuer": IDP, "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"], "leeway": "0s"}]

    async def start_strict(port: int, **changes: object) -> DataPlane:
        return await start(port, issuers=issuers, **changes)

    async with websocket(start_strict, exp=time.time() + 0.2) as (gateway, socket, _):
        assert await close_code(socket) == (1008, "session ended")
        assert cuts(gateway) == {"expired": 1}


def grow_stale(gateway: DataPlane, age_s: float) -> None:
    """The newest proof of the replica is so old, and the sweeper looks at what is open."""
    gateway.plane.known.replica.proven_at = gateway.plane.clock.boot() - age_s
    gateway.listener.sweep(judge_live=True)


async def test_W4_a_replica_that_turned_stale_ends_what_is_open_on_deny_routes_only(start: Start, endless: int) -> None:
    gateway = await start(endless, routes=ROUTES)
    clients = {path: await streaming(gateway, path) for path in ("/", "/stale/", "/allow/", "/public/")}
    gateway.listener.sweep(judge_live=True)
    assert len(gateway.plane.live) == 3
    grow_stale(gateway, age_s=10)
    assert await was_cut(clients["/"])
    assert [is_open(clients[path]) for path in ("/stale/", "/allow/", "/public/")] == [True] * 3
    grow_stale(gateway, age_s=3600)
    assert await was_cut(clients["/stale/"])
    assert [is_open(clients[path]) for path in ("/allow/", "/public/")] == [True] * 2
    assert cuts(gateway) == {"stale": 2}


async def test_W4_a_websocket_on_a_deny_route_is_told_1008_when_the_replica_turned_stale(start: Start) -> None:
    async with websocket(start) as (gateway, socket, _):
        grow_stale(gateway, age_s=10)
        assert await close_code(socket) == (1008, "session ended")
        assert cuts(gateway) == {"stale": 1}


async def test_what_was_torn_before_its_answer_is_written_down_with_what_tore_it(
    backend: RecordingBackend, tmp_path: Path
) -> None:
    path, log = configuration(tmp_path, f"http://127.0.0.1:{backend.port}"), tmp_path / "access.log"
    with log.open("wb") as sink:
        async with data_plane(path, log_fd=sink.fileno()) as gateway:
            upload = await uploading(gateway)
            grow_stale(gateway, age_s=10)
            assert await was_cut(upload)
            await until(lambda: log.read_bytes().endswith(b"\n"))
    told = json.loads(log.read_bytes())
    assert (told["code"], told["decision"], told["cut_by"]) == (503, "allow", "stale")


@pytest.mark.parametrize(("path", "status"), [("/", 503), ("/stale/x", 200), ("/allow/x", 200), ("/public/x", 200)])
async def test_W4_B5_a_stale_replica_answers_as_the_route_says(
    start: Start, backend: RecordingBackend, path: str, status: int
) -> None:
    gateway = await start(backend.port, routes=ROUTES)
    grow_stale(gateway, age_s=10)
    reply = await gateway.ask(request(path, token=alice()))
    assert reply.status == status
    if status == 503:
        assert (reply.reason, reply.value("Retry-After"), reply.values("Set-Cookie")) == ("store-unavailable", "2", [])


async def test_who_is_let_in_unchecked_is_noted_at_that_moment_and_not_when_he_came_or_went(start: Start, endless: int) -> None:
    gateway = await start(endless, routes=ROUTES, upstream={"max_connections": 1})
    grow_stale(gateway, age_s=10)
    notes, pool = gateway.plane.known.unchecked, gateway.plane.pools["app"]
    first = await streaming(gateway, "/stale/")
    assert len(notes) == 1, "though the stream goes on"
    second = await gateway.connect()
    await second.send(request("/stale/", token=alice()))
    await until(lambda: pool.load > 1)
    assert len(notes) == 1, "he waits for a connection"
    queued_at = time.time()
    first.writer.close()
    await second.reader.readuntil(b"hello\r\n")
    assert [note.until >= queued_at for note in notes._notes.values()].count(True) == 1


# What is listed, and for how long.


async def test_what_has_ended_is_listed_nowhere(
    gateway: DataPlane, backend: RecordingBackend, start: Start, endless: int
) -> None:
    for _ in range(3):
        await gateway.ask(request(token=alice()))
    assert len(gateway.plane.live) == 0
    assert gateway.plane.live._by_fact == {}
    streams = await start(endless)
    client = await streaming(streams)
    assert len(streams.plane.live) == 1
    client.close()
    await until(lambda: not streams.plane.clients)
    assert len(streams.plane.live) == 0
    assert streams.plane.live._by_fact == {}


# Draining.


async def test_draining_tells_websockets_1001_and_closes_idle_connections(start: Start) -> None:
    async with websocket(start) as (gateway, socket, backend):
        idle = await gateway.connect()
        await until(lambda: len(gateway.plane.clients) == 2)
        await gateway.listener.drain()
        assert await close_code(socket) == (1001, "shutting down")
        assert await idle.read_to_end() == b""
        await backend.wait_closed()
        assert cuts(gateway) == {"drain": 1}
        with pytest.raises(OSError):
            await gateway.connect()


async def test_draining_lets_an_exchange_end_and_says_that_it_was_the_last(gateway: DataPlane, backend: RecordingBackend) -> None:
    gate = asyncio.Event()

    async def slow(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        return await plain()(received, reader, writer)

    backend.answer = slow
    client = await gateway.connect()
    await client.send(request("/last", token=alice()) + request("/canary", token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    draining = asyncio.create_task(gateway.listener.drain())
    await until(lambda: gateway.plane.is_draining)
    gate.set()
    reply = await client.read_reply()
    assert (reply.status, reply.value("Connection")) == (200, "close")
    assert await client.read_to_end() == b""
    client.close()
    await draining
    assert [received.target for received in backend.requests] == [b"/last"]


async def test_a_request_that_had_begun_when_the_draining_did_is_the_last_of_its_connection(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    client = await gateway.connect()
    whole = request("/last", token=alice())
    await client.send(whole[:30])
    await until(lambda: any(served._buffer for served in gateway.plane.clients))
    draining = asyncio.create_task(gateway.listener.drain())
    await until(lambda: gateway.plane.is_draining)
    await client.send(whole[30:])
    reply = await client.read_reply()
    assert (reply.status, reply.value("Connection")) == (200, "close")
    client.close()
    await draining


async def test_draining_does_not_wait_for_ever(start: Start, endless: int) -> None:
    gateway = await start(endless, timeouts={"drain": "0s"})
    client = await streaming(gateway)
    await gateway.listener.drain()
    assert await was_cut(client)
