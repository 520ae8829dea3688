"""One exchange with an upstream: what of its answer reaches the client, and what happens when it breaks off."""

import asyncio

import pytest
from backends import Received, RecordingBackend, plain, raw
from data_plane import DataPlane, Start
from exchanging import (
    alice,
    closed_without_an_answer,
    in_segments,
    only_upstream,
    read_again,
    request,
    serving,
    stop_reading,
    until,
)

OK = b"HTTP/1.1 200 OK\r\n"


async def the_next_is_served_afresh(gateway: DataPlane, backend: RecordingBackend) -> None:
    """Whatever was left on the connection before, the next client gets its own answer, on another one."""
    before = backend.connections
    backend.answer = plain()
    reply = await gateway.ask(request("/next", token=alice()))
    assert (reply.status, reply.body) == (200, b'{"ok":true}')
    assert backend.connections == before + 1


# Deadlines.


async def test_an_upstream_that_does_not_answer_in_time_is_told_and_left(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream={"read_timeout": "10ms"})

    async def never(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        return False

    backend.answer = never
    client = await gateway.connect()
    reply = await client.ask(request(token=alice()))
    assert (reply.status, reply.reason) == (504, "upstream-timeout")
    await backend.wait_for(lambda: backend.open_connections == 0)
    backend.answer = plain()
    assert (await client.ask(request(token=alice()))).status == 200


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"\r\nhalf"]
)
async def test_an_answer_that_stops_in_the_middle_ends_the_clients_connection(
    start: Start, backend: RecordingBackend, framing: bytes
) -> None:
    gateway = await start(backend.port, upstream={"read_timeout": "10ms"})

    async def stop(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK + framing)
        await reader.read()
        return False

    backend.answer = stop
    client = await gateway.connect()
    await client.send(request(token=alice()))
    answer = await client.read_to_end()
    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    await backend.wait_for(lambda: backend.open_connections == 0)


# Framing of answers.


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n",
        OK + b"Connection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + OK + b"Content-Length: 5\r\n\r\nhello",
    ],
)
async def test_an_answer_arrives_whole_however_it_is_framed_and_cut(
    gateway: DataPlane, backend: RecordingBackend, answer: bytes, size: int
) -> None:
    async def in_pieces(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for segment in in_segments(answer, size):
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0)
        return b"Connection: close" not in answer and b"HTTP/1.0" not in answer

    backend.answer = in_pieces
    client = await gateway.connect()
    for _ in range(2):
        reply = await client.ask(request(token=alice()))
        assert (reply.status, reply.body) == (200, b"hello")
        assert reply.value("X") is None
        assert reply.value("Link") is None


async def test_chunks_for_a_client_of_HTTP_1_0_become_a_body_that_ends_with_the_connection(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = raw(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", close=False)
    client = await gateway.connect()
    reply = await client.ask(request("/", "Connection: keep-alive", token=alice(), version="1.0"))
    assert (reply.status, reply.body, reply.value("Connection")) == (200, b"hello", "close")
    assert reply.value("Transfer-Encoding") is None


async def test_a_body_that_ends_with_the_connection_becomes_chunks_and_the_client_may_go_on(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = raw(OK + b"\r\nhello")
    client = await gateway.connect()
    reply = await client.ask(request(token=alice()))
    assert (reply.body, reply.value("Transfer-Encoding"), reply.value("Connection")) == (b"hello", "chunked", None)
    backend.answer = plain()
    assert (await client.ask(request(token=alice()))).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked", "X-No: framing"])
async def test_an_answer_to_HEAD_has_no_body_whatever_it_announces(
    gateway: DataPlane, backend: RecordingBackend, framing: str
) -> None:
    backend.answer = raw(OK + framing.encode() + b"\r\n\r\n", close=False)
    client = await gateway.connect()
    for _ in range(2):
        reply = await client.ask(request(token=alice(), method="HEAD"))
        assert reply.status == 200
        assert reply.value("Transfer-Encoding") is None
    assert backend.connections == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_has_none_and_keeps_both_connections(
    gateway: DataPlane, backend: RecordingBackend, status: int
) -> None:
    backend.answer = raw(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\nETag: x\r\n\r\n" % status, close=False)
    client = await gateway.connect()
    for _ in range(2):
        reply = await client.ask(request(token=alice()))
        assert (reply.status, reply.body, reply.value("ETag")) == (status, b"", "x")
    assert backend.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 304 Same\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil",
    ],
)
async def test_X01_X05_what_follows_an_answer_is_nobodys(gateway: DataPlane, backend: RecordingBackend, answer: bytes) -> None:
    backend.answer = raw(answer, close=False)
    reply = await gateway.ask(request(token=alice()))
    assert reply.body in (b"", b"ok")
    await backend.wait_for(lambda: backend.open_connections == 0)
    await the_next_is_served_afresh(gateway, backend)


# Answers that are none.


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length",
        b"<html>hello</html>\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"X: a\nSet-Cookie: b\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n",
        OK + b"X: " + b"y" * 70_000,
        OK + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40 + OK + b"Content-Length: 0\r\n\r\n",
    ],
)
async def test_X02_X06_X08_what_is_no_answer_is_a_bad_gateway(
    gateway: DataPlane, backend: RecordingBackend, answer: bytes
) -> None:
    backend.answer = raw(answer)
    client = await gateway.connect()
    reply = await client.ask(request(token=alice(), method="POST", body=b"x"))
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    await backend.wait_for(lambda: backend.open_connections == 0)
    backend.answer = plain()
    assert (await client.ask(request(token=alice()))).status == 200


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        (OK + b"Content-Length: 10\r\n\r\nhalf", b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"4\r\nhal"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"ZZ\r\nfull\r\n0\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"0\r\nX : y\r\n\r\n"),
    ],
)
async def test_X07_an_answer_that_breaks_off_never_looks_complete(start: Start, beginning: bytes, rest: bytes) -> None:
    reached = asyncio.Event()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(beginning)
        await reached.wait()
        writer.write(rest)

    async with serving(break_off) as port:
        gateway = await start(port)
        client = await gateway.connect()
        await client.send(request(token=alice()))
        answer = await client.reader.readuntil(b"half")
        reached.set()
        answer += await client.read_to_end()
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"Content-Length: 10" in answer or b"chunked" in answer


async def test_F28_an_answer_before_the_body_is_passed_on_and_both_connections_end(start: Start) -> None:
    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nmuch")
        await reader.read()

    async with serving(answer_early) as port:
        gateway = await start(port)
        client = await gateway.connect()
        await client.send(request("/", "Content-Length: 1000", token=alice(), method="POST") + b"x" * 10)
        reply = await client.read_reply()
        assert (reply.status, reply.body, reply.value("Connection")) == (413, b"much", "close")
        await client.send(b"GET /canary HTTP/1.1\r\nHost: a\r\n\r\n")
        await closed_without_an_answer(client)
        await until(lambda: not gateway.plane.pools["app"]._open)


# Fields of answers.


async def test_X11_X12_X15_fields_of_an_answer_pass_and_those_for_one_connection_do_not(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = plain(
        "302 Found",
        b"",
        "Location: //elsewhere.example/",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
        "Connection: X-Hop",
        "Keep-Alive: timeout=1",
        "Proxy-Authenticate: Basic",
        "X-User: root",
        "X-Gateway-Reason: no-token",
    )
    reply = await gateway.ask(request(token=alice()))
    assert reply.status == 302
    assert reply.value("Location") == "//elsewhere.example/"
    assert reply.values("Set-Cookie") == ["a=b", "c=d"]
    for name in ("Connection", "Keep-Alive", "Proxy-Authenticate", "X-User", "X-Gateway-Reason"):
        assert reply.value(name) is None
    assert len(backend.requests) == 1, "a redirect is not followed"


async def test_X13_cookies_of_one_answer_do_not_reach_the_next_request(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = plain("200 OK", b"", "Set-Cookie: session=secret")
    await gateway.ask(request(token=alice()))
    await gateway.ask(request(token=alice(sub="bob")))
    assert backend.requests[1].connection == backend.requests[0].connection
    assert backend.requests[1].values("cookie") == []


# Answers that take their time.


async def test_server_sent_events_pass_one_by_one(gateway: DataPlane, backend: RecordingBackend) -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()

    async def events(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            assert await heard.get() == number, "the client has it before the next one is sent"
        writer.write(b"0\r\n\r\n")
        return True

    backend.answer = events
    client = await gateway.connect()
    await client.send(request("/", "Accept: text/event-stream", token=alice()))
    status, fields = await client.read_head()
    assert (status, dict(fields)["Content-Type"]) == (200, "text/event-stream")
    for number in range(5):
        assert await client.reader.readuntil(b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
        heard.put_nowait(number)
    assert await client.reader.readexactly(5) == b"0\r\n\r\n"


async def test_the_head_of_a_stream_does_not_wait_for_its_body(gateway: DataPlane, backend: RecordingBackend) -> None:
    gate = asyncio.Event()

    async def head_first(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK + b"Content-Length: 2\r\n\r\n")
        await gate.wait()
        writer.write(b"ok")
        return True

    backend.answer = head_first
    client = await gateway.connect()
    await client.send(request(token=alice()))
    assert (await client.read_head())[0] == 200
    gate.set()
    assert await client.reader.readexactly(2) == b"ok"


async def test_a_long_poll_waits_and_holds_nobody_up(gateway: DataPlane, backend: RecordingBackend) -> None:
    gate = asyncio.Event()

    async def poll(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if received.target == b"/poll":
            await gate.wait()
        return await plain()(received, reader, writer)

    backend.answer = poll
    polling = await gateway.connect()
    await polling.send(request("/poll", token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    for _ in range(3):
        assert (await gateway.ask(request("/other", token=alice()))).status == 200
    gate.set()
    assert (await polling.read_reply()).status == 200


async def test_an_answer_may_end_while_the_client_still_reads_it_slowly(gateway: DataPlane, backend: RecordingBackend) -> None:
    body = bytes(8 << 20)
    backend.answer = plain("200 OK", body)
    client = await gateway.connect()
    stop_reading(client)
    await client.send(request(token=alice()) + request("/next", token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    await until(lambda: not only_upstream(gateway).transport.is_reading())
    read_again(client)
    assert (await client.read_reply()).body == body
    assert (await client.read_reply()).body == body
    assert backend.connections == 1
