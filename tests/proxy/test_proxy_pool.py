"""Which upstream connection a request takes, who waits for one, and for how long."""

import asyncio
import socket

import pytest
from backends import Received, RecordingBackend, plain
from data_plane import DataPlane, Start
from exchanging import Held, alice, request, serving, until


def state(gateway: DataPlane) -> str:
    return repr(gateway.plane.pools["app"])


async def asked(gateway: DataPlane, *paths: str) -> list[asyncio.Task[object]]:
    """One client per path, each asking after the one before it is known to the gateway."""
    tasks: list[asyncio.Task[object]] = []
    for path in paths:
        arrived = len(gateway.plane.clients)
        tasks.append(asyncio.create_task(gateway.ask(request(path, token=alice()))))
        await until(lambda arrived=arrived: sum(client.phase.value != "head" for client in gateway.plane.clients) > arrived)
    return tasks


async def statuses(tasks: list[asyncio.Task[object]]) -> list[int]:
    return [reply.status for reply in await asyncio.gather(*tasks)]


async def test_a_connection_goes_back_and_is_used_again(gateway: DataPlane, backend: RecordingBackend) -> None:
    assert state(gateway) == "<Pool app: 0 idle of 0, 0 opening, 0 waiting>"
    for _ in range(5):
        assert (await gateway.ask(request(token=alice()))).status == 200
        assert state(gateway) == "<Pool app: 1 idle of 1, 0 opening, 0 waiting>"
    assert backend.connections == 1


async def test_no_more_connections_than_the_limit_and_the_queue_is_served_in_order(
    start: Start, backend: RecordingBackend
) -> None:
    gateway = await start(backend.port, upstream={"max_connections": 2})
    backend.answer = held = Held(plain())
    tasks = await asked(gateway, *(f"/{number}" for number in range(6)))
    await backend.wait_for(lambda: len(backend.requests) == 2)
    assert state(gateway) == "<Pool app: 0 idle of 2, 0 opening, 4 waiting>"
    held.gate.set()
    assert await statuses(tasks) == [200] * 6
    assert backend.connections == 2
    assert sorted(request.target for request in backend.requests[:2]) == [b"/0", b"/1"]
    assert [request.target for request in backend.requests[2:]] == [b"/2", b"/3", b"/4", b"/5"]
    assert state(gateway) == "<Pool app: 2 idle of 2, 0 opening, 0 waiting>"


async def test_a_wait_in_the_queue_has_a_deadline(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream={"max_connections": 1, "queue_timeout": "0s", "connect_timeout": "100ms"})
    backend.answer = held = Held(plain())
    first, second = await asked(gateway, "/first", "/second")
    reply = await second
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    held.gate.set()
    assert (await first).status == 200
    assert [request.target for request in backend.requests] == [b"/first"]


async def test_a_client_that_leaves_the_queue_is_not_served(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream={"max_connections": 1})
    backend.answer = held = Held(plain())
    first, second, third = await asked(gateway, "/first", "/second", "/third")
    second.cancel()
    await until(lambda: len(gateway.plane.clients) == 2)
    held.gate.set()
    assert await statuses([first, third]) == [200, 200]
    assert [request.target for request in backend.requests] == [b"/first", b"/third"]


def unused_port() -> socket.socket:
    """A bound port that refuses connections."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved


@pytest.mark.parametrize("limit", [1, 3, 256])
async def test_when_nobody_listens_everybody_in_the_queue_is_told_at_once(start: Start, limit: int) -> None:
    with unused_port() as reserved:
        # The queue's own deadline is far away: only the refused attempts can end these waits.
        settings = {"max_connections": limit, "queue_timeout": "5m"}
        gateway = await start(reserved.getsockname()[1], upstream=settings)
        replies = await asyncio.gather(*(gateway.ask(request(token=alice())) for _ in range(7)))
    assert {(reply.status, reply.reason) for reply in replies} == {(502, "upstream-unreachable")}
    assert state(gateway) == "<Pool app: 0 idle of 0, 0 opening, 0 waiting>"


async def test_an_upstream_that_comes_back_is_used_again(start: Start) -> None:
    with unused_port() as reserved:
        port = reserved.getsockname()[1]
        gateway = await start(port)
        assert (await gateway.ask(request(token=alice()))).status == 502
    backend = RecordingBackend()
    server = await asyncio.start_server(backend._serve, "127.0.0.1", port)
    assert (await gateway.ask(request(token=alice()))).status == 200
    server.close()


async def test_a_connection_that_cannot_be_made_in_time_is_given_up(start: Start) -> None:
    gone = asyncio.Event()

    async def never_speak_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()

    async with serving(never_speak_tls) as port:
        gateway = await start(f"https://127.0.0.1:{port}", upstream={"connect_timeout": "50ms"})
        reply = await gateway.ask(request(token=alice()))
        assert (reply.status, reply.reason) == (502, "upstream-unreachable")
        await gone.wait()


async def test_the_connection_used_last_is_used_first(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = held = Held(plain())
    tasks = await asked(gateway, "/a", "/b", "/c")
    await backend.wait_for(lambda: len(backend.requests) == 3)
    held.gate.set()
    await statuses(tasks)
    assert state(gateway) == "<Pool app: 3 idle of 3, 0 opening, 0 waiting>"
    for _ in range(4):
        await gateway.ask(request(token=alice()))
    assert len({request.connection for request in backend.requests[3:]}) == 1


async def test_an_idle_connection_is_closed_after_its_time(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream={"idle_timeout": "0s"})
    await gateway.ask(request(token=alice()))
    await backend.wait_for(lambda: backend.open_connections == 0)
    await until(lambda: state(gateway) == "<Pool app: 0 idle of 0, 0 opening, 0 waiting>")


async def test_after_a_stale_connection_a_fresh_one_is_taken_and_the_others_as_old_are_closed(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = held = Held(plain())
    tasks = await asked(gateway, "/a", "/b", "/c")
    await backend.wait_for(lambda: len(backend.requests) == 3)
    held.gate.set()
    await statuses(tasks)

    async def hang_up(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        backend.answer = plain()
        return False

    backend.answer = hang_up
    assert (await gateway.ask(request("/again", token=alice()))).status == 200
    first, second = backend.requests[3:]
    assert (first.target, second.target) == (b"/again", b"/again")
    assert first.connection <= 3
    assert second.connection == 4
    await backend.wait_for(lambda: backend.open_connections == 1)


async def test_X01_bytes_on_an_idle_connection_belong_to_nobody(gateway: DataPlane, backend: RecordingBackend) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def answer(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writers.append(writer)
        return await plain()(received, reader, writer)

    backend.answer = answer
    await gateway.ask(request("/first", token=alice()))
    writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await backend.wait_for(lambda: backend.open_connections == 0)
    reply = await gateway.ask(request("/second", token=alice()))
    assert reply.body == b'{"ok":true}'
    assert backend.connections == 2


async def test_when_a_connection_in_use_is_lost_the_queue_gets_a_new_one(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream={"max_connections": 1})
    broken = asyncio.Event()

    async def break_off(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await broken.wait()
        backend.answer = plain()
        return False

    backend.answer = break_off
    tasks = await asked(gateway, "/first", "/second")
    await backend.wait_for(lambda: len(backend.requests) == 1)
    broken.set()
    assert await statuses(tasks) == [502, 200]
    assert backend.connections == 2


async def test_a_tunnel_counts_as_a_connection(start: Start) -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: custom/1\r\n\r\n")
        await reader.read()

    async with serving(switch) as port:
        gateway = await start(port, upstream={"max_connections": 1, "queue_timeout": "0s", "connect_timeout": "100ms"})
        client = await gateway.connect()
        await client.send(request("/", "Upgrade: custom/1", "Connection: Upgrade", token=alice()))
        assert (await client.read_head())[0] == 101
        assert (await gateway.ask(request(token=alice()))).status == 502
        client.close()
        await until(lambda: state(gateway) == "<Pool app: 0 idle of 0, 0 opening, 0 waiting>")
