"""After an upgrade two connections are one: bytes, half-ends and back-pressure go both ways, and the end reaches both sides."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from backends import RecordingBackend, plain, raw
from data_plane import DataPlane, RawClient, Start
from exchanging import (
    Handler,
    alice,
    closed_without_an_answer,
    in_segments,
    only_client,
    only_upstream,
    read_again,
    request,
    serving,
    stop_reading,
    until,
)
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from gateway.wire.websocket import accept

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
CUSTOM = ("Upgrade: custom/1", "Connection: Upgrade")
SWITCH = b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: custom/1\r\n\r\n"
BUFFERED_AT_MOST = 64 * 1024 + 256 * 1024


@pytest.fixture
async def echo() -> AsyncIterator[list[ServerConnection]]:
    """A WebSocket application that sends back what it gets; the list holds its connections, its first entry the port."""
    connections: list[ServerConnection] = []

    async def answer(connection: ServerConnection) -> None:
        connections.append(connection)
        async for message in connection:
            await connection.send(message)

    async with serve(answer, "127.0.0.1", 0, max_size=None) as server:
        connections.append(next(iter(server.sockets)).getsockname()[1])  # type: ignore[arg-type]
        yield connections


def address(gateway: DataPlane) -> str:
    return f"ws://127.0.0.1:{gateway.port}/socket"


async def upgraded(gateway: DataPlane, behind: bytes = b"") -> RawClient:
    """A client that has switched to `custom/1`."""
    client = await gateway.connect()
    await client.send(request("/", *CUSTOM, token=alice()) + behind)
    assert (await client.read_head())[0] == 101
    return client


async def test_a_websocket_carries_messages_of_every_size_both_ways(start: Start, echo: list[ServerConnection]) -> None:
    gateway = await start(echo[0])  # type: ignore[arg-type]
    async with connect(
        address(gateway), additional_headers={"Authorization": f"Bearer {alice()}", "X-User": "root"}, max_size=None
    ) as socket:
        for message in ["", "hello", "ä" * 1000, b"\x00" * 125, b"x" * 126, b"y" * 65536, b"z" * (3 << 20)]:
            await socket.send(message)
            assert await socket.recv() == message
        received = echo[1].request
        assert received is not None
        assert received.headers.get_all("X-User") == ["alice"]
        assert "Authorization" not in received.headers
    await until(lambda: not gateway.plane.clients)
    await echo[1].wait_closed()


async def test_a_websocket_needs_a_token_as_any_request(start: Start, echo: list[ServerConnection]) -> None:
    gateway = await start(echo[0])  # type: ignore[arg-type]
    with pytest.raises(InvalidStatus) as refused:
        await connect(address(gateway))
    assert refused.value.response.status_code == 401
    assert len(echo) == 1


async def test_nothing_that_follows_a_refused_upgrade_reaches_a_backend(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    await client.send(request("/", *HANDSHAKE) + request("/canary", token=alice()))
    reply = await client.read_reply()
    assert (reply.status, reply.value("Connection")) == (401, "close")
    await closed_without_an_answer(client)
    assert backend.connections == 0


async def test_nothing_that_follows_an_upgrade_which_the_backend_declined_is_taken_for_a_request(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    client = await gateway.connect()
    await client.send(request("/first", *HANDSHAKE, token=alice()) + request("/canary", token=alice()))
    reply = await client.read_reply()
    assert (reply.status, reply.value("Connection")) == (200, "close")
    await closed_without_an_answer(client)
    assert [received.target for received in backend.requests] == [b"/first"]
    assert backend.requests[0].values("upgrade") == [b"websocket"]


async def test_an_upgrade_to_HTTP_2_is_not_passed_on(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    lines = ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk")
    assert (await client.ask(request("/", *lines, token=alice()))).status == 200
    assert (await client.ask(request("/", token=alice()))).status == 200
    for name in ("upgrade", "connection", "http2-settings"):
        assert backend.requests[0].values(name) == []


def switching(*lines: str, status: str = "101 Switching Protocols") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "answer",
    [
        switching("Connection: Upgrade", "Upgrade: websocket"),
        switching("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        switching("Connection: Upgrade", "Upgrade: custom/1", f"Sec-WebSocket-Accept: {accept(KEY.encode()).decode()}"),
        switching(
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Accept: {accept(KEY.encode()).decode()}",
            "Sec-WebSocket-Protocol: chat",
        ),
        switching(
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Accept: {accept(KEY.encode()).decode()}",
            "Sec-WebSocket-Extensions: permessage-deflate",
        ),
    ],
)
async def test_a_backend_that_did_not_understand_the_handshake_gets_no_tunnel(
    gateway: DataPlane, backend: RecordingBackend, answer: bytes
) -> None:
    backend.answer = raw(answer + b"\x81\x05hello", close=False)
    client = await gateway.connect()
    reply = await client.ask(request("/", *HANDSHAKE, token=alice()))
    assert (reply.status, reply.reason, reply.value("Connection")) == (502, "upstream-unreachable", "close")
    await closed_without_an_answer(client)
    await backend.wait_for(lambda: backend.open_connections == 0)


async def test_what_was_offered_may_be_chosen(gateway: DataPlane, backend: RecordingBackend) -> None:
    chosen = f"Sec-WebSocket-Accept: {accept(KEY.encode()).decode()}"
    backend.answer = raw(
        switching("Connection: Upgrade", "Upgrade: websocket", chosen, "Sec-WebSocket-Protocol: chat"), close=False
    )
    client = await gateway.connect()
    await client.send(request("/", *HANDSHAKE, "Sec-WebSocket-Protocol: chat, other", token=alice()))
    status, fields = await client.read_head()
    assert (status, dict(fields)["Sec-WebSocket-Protocol"]) == (101, "chat")


def speaking(*steps: object) -> Handler:
    """A backend that switches to `custom/1` and follows a script: bytes are said, numbers are heard, `None` is an end."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
            elif isinstance(step, int):
                await reader.readexactly(step)
            elif step == "end":
                writer.write_eof()
            else:
                assert await reader.read() == b""

    return handler


@pytest.mark.parametrize("size", [1, 1000])
async def test_bytes_right_behind_the_answer_belong_to_the_tunnel(start: Start, size: int) -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for segment in in_segments(SWITCH + b"hello", size):
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0)
        assert await reader.readexactly(5) == b"early"
        writer.write(b"heard")

    async with serving(eager) as port:
        client = await upgraded(await start(port), behind=b"early")
        assert await client.read_to_end() == b"helloheard"


async def test_the_clients_end_is_passed_on_and_the_backend_may_finish(start: Start) -> None:
    async with serving(speaking(SWITCH, 7, None, b"goodbye")) as port:
        client = await upgraded(await start(port))
        client.writer.write(b"that is")
        client.writer.write_eof()
        assert await client.read_to_end() == b"goodbye"


async def test_the_backends_end_is_passed_on_and_the_client_may_finish(start: Start) -> None:
    heard = asyncio.Event()

    async def finish_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH + b"all said")
        writer.write_eof()
        assert await reader.read() == b"one more thing"
        heard.set()

    async with serving(finish_first) as port:
        gateway = await start(port)
        client = await upgraded(gateway)
        assert await client.reader.read() == b"all said"
        client.writer.write(b"one more thing")
        client.writer.write_eof()
        await heard.wait()
        await until(lambda: not gateway.plane.clients)


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_when_one_side_is_gone_the_other_is_closed(start: Start, who: str) -> None:
    gone = asyncio.Event()
    leave = asyncio.Event()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        if who == "backend":
            await leave.wait()
            writer.transport.abort()
        else:
            await asyncio.gather(reader.read(), return_exceptions=True)
        gone.set()

    async with serving(backend) as port:
        gateway = await start(port)
        client = await upgraded(gateway)
        if who == "client":
            client.close()
        else:
            leave.set()
            await closed_without_an_answer(client)
            client.close()  # until then it might still have had something to say
        await gone.wait()
        await until(lambda: not gateway.plane.clients and not gateway.plane.pools["app"]._open)


async def test_a_tunnel_in_which_nothing_moves_ends(start: Start) -> None:
    async with serving(speaking(SWITCH, None)) as port:
        gateway = await start(port, timeouts={"tunnel": "1s"})
        client = await upgraded(gateway)
        await closed_without_an_answer(client)
        await until(lambda: not gateway.plane.clients and not gateway.plane.pools["app"]._open)


@pytest.mark.parametrize("is_upwards", [True, False])
async def test_a_side_that_does_not_read_pauses_the_other_and_loses_nothing(start: Start, is_upwards: bool) -> None:
    total = 32 << 20
    gate = asyncio.Event()
    heard = asyncio.Event()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        if is_upwards:
            await gate.wait()
            assert len(await reader.readexactly(total)) == total
        else:
            writer.write(bytes(total))
            await writer.drain()
        heard.set()
        await reader.read()

    async with serving(backend) as port:
        gateway = await start(port)
        client = await upgraded(gateway)
        ours, theirs = only_client(gateway).transport, only_upstream(gateway).transport
        if is_upwards:
            client.writer.write(bytes(total))
            await until(lambda: not ours.is_reading())
            assert theirs.get_write_buffer_size() <= BUFFERED_AT_MOST
            gate.set()
        else:
            stop_reading(client)
            await until(lambda: not theirs.is_reading())
            assert ours.get_write_buffer_size() <= BUFFERED_AT_MOST
            read_again(client)
            assert len(await client.reader.readexactly(total)) == total
        await heard.wait()


async def test_a_client_that_does_not_read_cannot_keep_a_tunnel_that_has_ended(start: Start) -> None:
    leave = asyncio.Event()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        writer.write(bytes(32 << 20))
        await leave.wait()
        writer.transport.abort()

    async with serving(backend) as port:
        gateway = await start(port, timeouts={"write": "30s"})
        client = await upgraded(gateway)
        stop_reading(client)
        served, upstream = only_client(gateway), only_upstream(gateway)
        await until(lambda: not upstream.transport.is_reading())
        served.tunnel.end()
        assert served in gateway.plane.clients, "what it was sent may still get out"
        assert gateway.plane.tick_time < served.deadline <= gateway.plane.tick_time + 30
        served.on_deadline()
        await until(lambda: not gateway.plane.clients)
        leave.set()


async def test_a_client_that_reads_again_has_the_whole_idle_time_again(start: Start) -> None:
    async with serving(speaking(SWITCH, None)) as port:
        gateway = await start(port, timeouts={"tunnel": "1h", "write": "20s"})
        await upgraded(gateway)
        served = only_client(gateway)
        served.pause_writing()
        assert served.deadline == gateway.plane.tick_time + 20
        served.resume_writing()
        assert served.deadline == gateway.plane.tick_time + 3600


async def test_the_connection_of_a_tunnel_is_not_used_again(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = raw(SWITCH, close=False)
    client = await upgraded(gateway)
    client.close()
    await backend.wait_for(lambda: backend.open_connections == 0)
    backend.answer = plain()
    assert (await gateway.ask(request(token=alice()))).status == 200
    assert backend.connections == 2
