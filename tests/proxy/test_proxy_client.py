"""One client connection: exchanges in order, bounds on everything, and an end that nobody mistakes for an answer."""

import asyncio
import socket

import pytest
from backends import Received, RecordingBackend, plain, raw
from data_plane import DataPlane, RawClient, Start
from exchanging import (
    Held,
    alice,
    closed_without_an_answer,
    only_client,
    only_upstream,
    read_again,
    request,
    send_in_segments,
    serving,
    stop_reading,
    until,
)

from gateway.proxy.client import LINGER_S, ClientConnection
from gateway.proxy.listener import Listener, bind_shared

# What may lie in the gateway for one direction of one connection: asyncio's high-water mark and one read of uvloop's.
BUFFERED_AT_MOST = 64 * 1024 + 256 * 1024
MEGABYTE = 1 << 20


# Keep-alive and pipelining.


async def test_one_connection_serves_many_requests(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    for number in range(10):
        assert (await client.ask(request(f"/{number}", token=alice()))).status == 200
    assert len(gateway.plane.clients) == 1
    assert [received.target for received in backend.requests] == [b"/%d" % number for number in range(10)]


async def test_pipelined_requests_wait_for_the_one_in_front(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = held = Held(plain(), b"/slow")
    client = await gateway.connect()
    await client.send(request("/slow", token=alice()) + request("/fast", token=alice()) + request("/nobody"))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    assert backend.requests[0].target == b"/slow"
    held.gate.set()
    assert [(await client.read_reply()).status for _ in range(3)] == [200, 200, 401]
    assert [received.target for received in backend.requests] == [b"/slow", b"/fast"]


async def test_F29_many_requests_that_need_no_wait_are_all_answered_and_others_in_between(gateway: DataPlane) -> None:
    crowd, single = await gateway.connect(), await gateway.connect()
    await crowd.send(b"".join(request(f"/{number}", f"X-Request-Id: r-{number}") for number in range(500)))
    assert (await single.ask(request(token=alice()))).status == 200
    replies = [await crowd.read_reply() for _ in range(500)]
    assert [(reply.status, reply.value("X-Request-Id")) for reply in replies] == [(401, f"r-{number}") for number in range(500)]


async def test_F29_what_follows_Connection_close_is_never_served(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    await client.send(request("/last", "Connection: close", token=alice()) + request("/canary", token=alice()))
    reply = await client.read_reply()
    assert (reply.status, reply.value("Connection")) == (200, "close")
    await closed_without_an_answer(client)
    assert [received.target for received in backend.requests] == [b"/last"]


async def test_F29_what_follows_a_bad_request_is_never_served(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    await client.send(request("/good", token=alice()) + request("/a b", token=alice()) + request("/canary", token=alice()))
    assert (await client.read_reply()).status == 200
    reply = await client.read_reply()
    assert (reply.status, reply.reason, reply.value("Connection")) == (400, "bad-request", "close")
    await closed_without_an_answer(client)
    assert [received.target for received in backend.requests] == [b"/good"]


async def test_F29_pipelined_requests_are_held_up_to_a_bound(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = held = Held(plain(), b"/slow")
    client = await gateway.connect()
    await client.send(request("/slow", token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    one = request("/fast", token=alice())
    many = MEGABYTE // 2 // len(one)
    sending = asyncio.create_task(client.send(one * many))
    served = only_client(gateway)
    await until(lambda: not served.transport.is_reading())
    assert len(served._buffer) <= BUFFERED_AT_MOST
    held.gate.set()
    for _ in range(many + 1):
        assert (await client.read_reply()).status == 200
    await sending
    assert len(backend.requests) == many + 1


async def test_one_empty_line_in_front_of_a_request_is_forgiven_however_it_is_cut(gateway: DataPlane) -> None:
    client = await gateway.connect()
    assert (await client.ask(b"\r\n" + request(token=alice()))).status == 200
    served = only_client(gateway)
    await client.send(b"\r")
    await until(lambda: served._buffer == b"\r")
    assert (await client.ask(b"\n" + request(token=alice()))).status == 200
    assert (await client.ask(b"\r\n\r\n" + request(token=alice()))).status == 400


async def test_F30_a_request_may_come_byte_by_byte(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    await send_in_segments(client, request("/a", token=alice(), method="POST", body=b"hello"))
    assert (await client.read_reply()).status == 200
    await send_in_segments(client, request("/b", "Transfer-Encoding: chunked", token=alice(), method="POST"))
    await send_in_segments(client, b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n")
    assert (await client.read_reply()).status == 200
    assert [received.body for received in backend.requests] == [b"hello", b"abcde"]


# Limits.


@pytest.mark.parametrize(
    ("limits", "head", "status"),
    [
        ({"head": "1KiB"}, request("/", "X: " + "y" * 1024), 431),
        ({"head": "1KiB"}, b"GET / HTTP/1.1\r\nX: " + b"y" * 2000, 431),
        ({"headers": 5}, request("/", *["X: y"] * 5), 431),
        ({"uri": "64B"}, request("/" + "a" * 64), 414),
    ],
)
async def test_F31_a_head_beyond_a_limit_is_refused(
    start: Start, backend: RecordingBackend, limits: object, head: bytes, status: int
) -> None:
    gateway = await start(backend.port, limits=limits)
    client = await gateway.connect()
    reply = await client.ask(head)
    assert (reply.status, reply.reason) == (status, "too-large")
    await closed_without_an_answer(client)
    assert backend.connections == 0


@pytest.mark.parametrize("beginning", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\nHost: a\n", b"\x00", b" GET /"])
async def test_what_can_never_become_a_request_need_not_be_complete_to_be_refused(gateway: DataPlane, beginning: bytes) -> None:
    client = await gateway.connect()
    reply = await client.ask(beginning)
    assert (reply.status, reply.reason) == (400, "bad-request")
    await closed_without_an_answer(client)


async def test_connections_are_limited_at_all_and_per_client(start: Start, backend: RecordingBackend) -> None:
    for limits in ({"connections": 2}, {"per_client": 2}):
        gateway = await start(backend.port, limits=limits)
        clients = [await gateway.connect() for _ in range(2)]
        for client in clients:
            assert (await client.ask(request(token=alice()))).status == 200
        await closed_without_an_answer(await gateway.connect())
        clients[0].close()
        await until(lambda gateway=gateway: len(gateway.plane.clients) == 1)
        assert (await gateway.ask(request(token=alice()))).status == 200
        clients[1].close()
        await until(lambda gateway=gateway: not gateway.plane.clients)
        assert repr(gateway.plane.admission) == "<Admission 0 connections of 0 clients>"


async def test_a_trusted_proxy_has_as_many_connections_as_it_needs(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, limits={"per_client": 2}, trusted_proxies=["127.0.0.0/8"])
    clients = [await gateway.connect() for _ in range(5)]
    for client in clients:
        assert (await client.ask(request(token=alice()))).status == 200


async def test_an_IPv6_client_is_its_64_and_an_IPv4_client_its_address(start: Start, backend: RecordingBackend) -> None:
    plane = (await start(backend.port, limits={"per_client": 2})).plane
    addresses = ["2001:db8::1", "2001:db8::2:3", "2001:db8::ffff:4", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "192.0.2.1"]
    clients = []
    for address in addresses:
        client = ClientConnection(plane)
        client.peer = address
        clients.append(client)
    assert [plane.admission.admit(client) for client in clients] == [True, True, False, True, True, True, True]
    for client in clients:
        plane.admission.dismiss(client)
    assert repr(plane.admission) == "<Admission 0 connections of 0 clients>"


async def test_a_body_beyond_the_limit_is_refused_by_its_announcement(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, limits={"body": 10})
    client = await gateway.connect()
    reply = await client.ask(request("/", "Content-Length: 11", "Expect: 100-continue", token=alice(), method="POST"))
    assert (reply.status, reply.reason, reply.value("Connection")) == (413, "too-large", "close")
    assert backend.connections == 0
    assert (await gateway.ask(request("/", token=alice(), method="POST", body=b"x" * 10))).status == 200


CHUNKED = request("/public/", "Transfer-Encoding: chunked", method="POST")


@pytest.mark.parametrize("is_one_segment", [True, False])
@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"4\r\nabcd\r\n7\r\nefghijk\r\n0\r\n\r\n", 413, "too-large"),
        (b"ZZ\r\nabcd\r\n0\r\n\r\n", 400, "bad-request"),
        (b"4\r\nabcdX\r\n0\r\n\r\n", 400, "bad-request"),
        (b"4\r\nabcd\r\n0\r\nX : y\r\n\r\n", 400, "bad-request"),
        (b"4\nabcd\n0\n\n", 400, "bad-request"),
    ],
)
async def test_F16_a_body_that_turns_out_wrong_is_refused_wherever_the_segments_end(
    start: Start, backend: RecordingBackend, is_one_segment: bool, body: bytes, status: int, reason: str
) -> None:
    gateway = await start(backend.port, limits={"body": 10})
    client = await gateway.connect()
    if is_one_segment:
        await client.send(CHUNKED + body + request("/canary", token=alice()))
    else:
        await client.send(CHUNKED)
        await until(lambda: backend.open_connections == 1)
        await client.send(body + request("/canary", token=alice()))
    reply = await client.read_reply()
    assert (reply.status, reply.reason, reply.value("Connection")) == (status, reason, "close")
    await closed_without_an_answer(client)
    assert backend.requests == []
    reply = await gateway.ask(request("/next", token=alice()))
    assert (reply.status, [received.target for received in backend.requests]) == (200, [b"/next"])


# Refusals and bodies.


async def test_a_refused_request_whose_body_is_here_keeps_the_connection(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    await client.send(request("/nobody", method="POST", body=b"GET /canary HTTP/1.1\r\n\r\n") + request("/next", token=alice()))
    assert (await client.read_reply()).status == 401
    assert (await client.read_reply()).status == 200
    assert [received.target for received in backend.requests] == [b"/next"]


@pytest.mark.parametrize(
    "refused",
    [
        request("/nobody", "Content-Length: 10", method="POST"),
        request("/nobody", "Content-Length: 10", "Expect: 100-continue", method="POST"),
        request("/nobody", "Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n",
    ],
)
async def test_a_refused_request_whose_body_is_still_to_come_ends_the_connection(
    gateway: DataPlane, backend: RecordingBackend, refused: bytes
) -> None:
    client = await gateway.connect()
    reply = await client.ask(refused)
    assert (reply.status, reply.value("Connection")) == (401, "close")
    await closed_without_an_answer(client)
    assert backend.connections == 0


async def test_a_client_that_goes_on_sending_still_gets_its_refusal(gateway: DataPlane) -> None:
    client = await gateway.connect()
    sending = asyncio.create_task(client.send(request("/nobody", method="POST", body=bytes(4 * MEGABYTE))))
    reply = await client.read_reply()
    assert (reply.status, reply.reason) == (401, "no-token")
    client.close()
    await asyncio.gather(sending, return_exceptions=True)


async def test_F26_a_client_that_leaves_in_its_body_ends_the_upstream_exchange(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    client = await gateway.connect()
    await client.send(request("/", "Content-Length: 10", token=alice(), method="POST") + b"half")
    await until(lambda: backend.open_connections == 1)
    client.close()
    await backend.wait_for(lambda: backend.open_connections == 0)
    assert [raw.endswith(b"half") for raw in backend.broken] == [True]
    assert repr(gateway.plane.pools["app"]) == "<Pool app: 0 idle of 0, 0 opening, 0 waiting>"


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_upstream_that_fails_after_a_body_does_not_move_the_beginning_of_the_next_request(
    gateway: DataPlane, backend: RecordingBackend, is_chunked: bool
) -> None:
    """Were the body taken from the buffer twice, the client's next request would begin in the middle."""

    async def fail(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        answer = raw(b"nonsense\r\n\r\n") if received.target == b"/fails" else plain()
        return await answer(received, reader, writer)

    backend.answer = fail
    smuggled = request("/smuggled", token=alice())
    following = request("/next", "X-Padding: " + "x" * 100, token=alice())
    if is_chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(following), b"x" * len(following))
        failing = request("/fails", "Transfer-Encoding: chunked", token=alice(), method="POST") + body
    else:
        failing = request("/fails", token=alice(), method="POST", body=b"x" * len(following))
    client = await gateway.connect()
    await client.send(failing + following + smuggled)
    assert [(await client.read_reply()).status for _ in range(3)] == [502, 200, 200]
    assert [received.target for received in backend.requests] == [b"/fails", b"/next", b"/smuggled"]


# HTTP/1.0.


async def test_a_client_of_HTTP_1_0_is_answered_once_unless_it_asks_for_more(gateway: DataPlane) -> None:
    client = await gateway.connect()
    reply = await client.ask(request(token=alice(), version="1.0"))
    assert (reply.status, reply.value("Connection")) == (200, "close")
    await closed_without_an_answer(client)
    client = await gateway.connect()
    for _ in range(2):
        reply = await client.ask(request("/", "Connection: keep-alive", token=alice(), version="1.0"))
        assert (reply.status, reply.value("Connection")) == (200, "keep-alive")


async def test_a_client_of_HTTP_1_0_may_leave_its_Host_out(gateway: DataPlane, backend: RecordingBackend) -> None:
    reply = await gateway.ask(b"GET /public/ HTTP/1.0\r\n\r\n")
    assert reply.status == 200
    (received,) = backend.requests
    assert received.values("host") == [b"127.0.0.1:%d" % backend.port]
    assert received.values("via") == [b"1.0 gateway"]


# Deadlines. Each is short here; what is waited for is the end itself.


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_F27_a_head_that_does_not_come_ends_the_connection(start: Start, backend: RecordingBackend, sent: bytes) -> None:
    gateway = await start(backend.port, timeouts={"head": "100ms"})
    client = await gateway.connect()
    await client.send(sent)
    await closed_without_an_answer(client)


async def test_a_connection_that_nobody_uses_any_more_ends(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, timeouts={"keep_alive": "0s"})
    client = await gateway.connect()
    assert (await client.ask(request(token=alice()))).status == 200
    await closed_without_an_answer(client)


@pytest.mark.parametrize("sent", [b"", b"half"])
async def test_F27_a_body_that_does_not_come_is_the_clients_fault_and_not_the_upstreams(
    start: Start, backend: RecordingBackend, sent: bytes
) -> None:
    gateway = await start(backend.port, upstream={"read_timeout": "10ms"}, timeouts={"body": "600ms"})
    client = await gateway.connect()
    await client.send(request("/", "Content-Length: 10", token=alice(), method="POST") + sent)
    await closed_without_an_answer(client)
    await backend.wait_for(lambda: backend.connections == 1 and backend.open_connections == 0)
    assert backend.requests == []


async def test_a_client_that_does_not_read_is_given_up(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, timeouts={"write": "100ms"})
    backend.answer = plain("200 OK", bytes(32 * MEGABYTE))
    client = await gateway.connect()
    stop_reading(client)
    await client.send(request(token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    await backend.wait_for(lambda: backend.open_connections == 0)
    await until(lambda: not gateway.plane.clients)


# Back-pressure.


async def test_X09_a_client_that_reads_slowly_pauses_the_upstream_and_loses_nothing(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    total = 48 * MEGABYTE
    sent = 0

    async def flood(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(bytes(64 * 1024))
            await writer.drain()
            sent += 64 * 1024
        return True

    backend.answer = flood
    client = await gateway.connect()
    stop_reading(client)
    await client.send(request(token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    upstream, served = only_upstream(gateway), only_client(gateway)
    await until(lambda: not upstream.transport.is_reading())
    assert served.transport.get_write_buffer_size() <= BUFFERED_AT_MOST
    assert sent < total
    read_again(client)
    reply = await client.read_reply()
    assert reply.body == bytes(total)
    assert sent == total


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_upstream_that_reads_slowly_pauses_the_client_and_loses_nothing(start: Start, is_chunked: bool) -> None:
    total = 48 * MEGABYTE
    gate = asyncio.Event()
    received = 0

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        await gate.wait()
        if b"chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                received += len((await reader.readexactly(size + 2)).rstrip(b"\r\n"))
            await reader.readexactly(2)
        else:
            received = len(await reader.readexactly(total))
        writer.write(b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serving(read_late) as port:
        gateway = await start(port)
        client = await gateway.connect()
        if is_chunked:
            body = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
            whole = request("/", "Transfer-Encoding: chunked", token=alice(), method="POST") + body * (total >> 16) + b"0\r\n\r\n"
        else:
            whole = request("/", token=alice(), method="POST", body=bytes(total))
        sending = asyncio.create_task(client.send(whole))
        await until(lambda: gateway.plane.pools["app"]._open)
        served, upstream = only_client(gateway), only_upstream(gateway)
        await until(lambda: upstream.transport.get_write_buffer_size() and not served.transport.is_reading())
        assert upstream.transport.get_write_buffer_size() <= BUFFERED_AT_MOST
        gate.set()
        assert (await client.read_reply()).status == 201
        await sending
        assert received == total


async def test_an_upstream_that_never_reads_is_given_up(start: Start) -> None:
    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    async with serving(never_read) as port:
        gateway = await start(port, upstream={"read_timeout": "10ms"})
        client = await gateway.connect()
        sending = asyncio.create_task(client.send(request("/", token=alice(), method="POST", body=bytes(32 * MEGABYTE))))
        reply = await client.read_reply()
        assert (reply.status, reply.reason) == (504, "upstream-timeout")
        client.close()
        await asyncio.gather(sending, return_exceptions=True)


async def lingering(gateway: DataPlane, body: bytes) -> tuple[RawClient, ClientConnection]:
    """A client that does not read its last answer yet, all of which the gateway has written."""
    client = await gateway.connect()
    stop_reading(client)
    await until(lambda: gateway.plane.clients)
    served = only_client(gateway)
    served.transport.set_write_buffer_limits(high=2 * len(body))  # so that the upstream is not paused
    await client.send(request("/", "Connection: close", token=alice()))
    await until(lambda: served.phase.value == "linger")
    assert served.transport.get_write_buffer_size() > 0
    return client, served


async def test_a_client_that_reads_its_last_answer_slowly_gets_all_of_it(gateway: DataPlane, backend: RecordingBackend) -> None:
    body = bytes(16 * MEGABYTE)
    backend.answer = plain("200 OK", body)
    client, served = await lingering(gateway, body)
    served.on_deadline()
    timeouts = gateway.plane.timeouts
    assert served.deadline == gateway.plane.tick_time + timeouts.write, "it may take its time, once"
    read_again(client)
    assert (await client.read_reply()).body == body
    assert await client.reader.read() == b""
    assert served in gateway.plane.clients, "our half of the connection is closed; the client keeps its own open"
    served.on_deadline()
    await until(lambda: not gateway.plane.clients)


async def test_a_client_that_does_not_read_its_last_answer_is_let_go(gateway: DataPlane, backend: RecordingBackend) -> None:
    body = bytes(16 * MEGABYTE)
    backend.answer = plain("200 OK", body)
    _, served = await lingering(gateway, body)
    served.on_deadline()
    assert served in gateway.plane.clients
    served.on_deadline()
    await until(lambda: not gateway.plane.clients)


@pytest.mark.parametrize(("sent", "phase"), [((), "head"), (("Connection: close",), "linger")])
async def test_a_client_that_reads_again_has_a_deadline_for_what_is_next(
    gateway: DataPlane, sent: tuple[str, ...], phase: str
) -> None:
    client = await gateway.connect()
    assert (await client.ask(request("/", *sent, token=alice()))).status == 200
    served = only_client(gateway)
    plane = gateway.plane
    assert served.phase.value == phase
    served.pause_writing()
    assert served.deadline == plane.tick_time + plane.timeouts.write
    served.resume_writing()
    assert served.deadline == plane.tick_time + (plane.timeouts.keep_alive if phase == "head" else LINGER_S)


async def test_a_client_that_half_closes_has_gone(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = Held(plain())
    client = await gateway.connect()
    await client.send(request(token=alice()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    client.writer.write_eof()
    await closed_without_an_answer(client)
    await until(lambda: not gateway.plane.pools["app"]._open)


async def test_an_address_that_somebody_else_took_is_not_thought_to_be_listened_on(gateway: DataPlane) -> None:
    """What is bound and not listened on yet anybody may listen on, and uvloop says nothing about it."""
    with (
        bind_shared("127.0.0.1", 0) as held,
        socket.create_server(held.getsockname()),
        pytest.raises(OSError, match="in use"),
    ):
        await Listener(gateway.plane, None).accept("0", held)
