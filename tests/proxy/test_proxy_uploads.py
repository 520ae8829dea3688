"""Clients that are slow with a body hold three quarters of an upstream's connections at most; others notice nothing."""

import pytest
from backends import RecordingBackend
from data_plane import DataPlane, RawClient, Start
from exchanging import request, until

CONNECTIONS, SHARE = 4, 3
UPSTREAM = {"max_connections": CONNECTIONS, "max_waiting": 4, "queue_timeout": "1m"}
LARGE = b"POST /public/large HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"POST /public/large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
SMALL = b"POST /public/small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


def told(gateway: DataPlane) -> str:
    return repr(gateway.plane.uploads["app"])


async def begin(gateway: DataPlane, raw: bytes) -> RawClient:
    client = await gateway.connect()
    await client.send(raw)
    return client


async def crowded(gateway: DataPlane, begun: bytes) -> list[RawClient]:
    """The share is taken, by clients whose bodies do not come."""
    slow = [await begin(gateway, begun) for _ in range(SHARE)]
    await until(lambda: "3 of 3, 0 waiting" in told(gateway))
    return slow


AT_ONCE = bytes(20_000)  # more than is waited for, and here with its head


@pytest.mark.parametrize("begun", [LARGE + b"a beginning", LARGE, CHUNKED, SMALL + b"half"])
async def test_slow_bodies_leave_connections_for_whatever_has_none_or_brings_it(
    start: Start, backend: RecordingBackend, begun: bytes
) -> None:
    gateway = await start(backend.port, upstream=UPSTREAM)
    slow = await crowded(gateway, begun)
    client = await gateway.connect()
    for _ in range(5):
        assert (await client.ask(request("/public/"))).status == 200
        assert (await client.ask(SMALL + b"0123456789")).status == 200
        assert (await client.ask(request("/public/", method="POST", body=AT_ONCE))).status == 200
    hesitant = await begin(gateway, SMALL + b"01234")
    assert (await client.ask(request("/public/"))).status == 200
    await hesitant.send(b"56789")
    assert (await hesitant.read_reply()).status == 200
    assert {received.body for received in backend.requests} == {b"", b"0123456789", AT_ONCE}
    assert "3 of 3, 0 waiting" in told(gateway)
    assert not any(client.reader.at_eof() for client in slow)


async def test_a_large_upload_waits_for_a_place_until_one_has_gone_or_is_complete(
    start: Start, backend: RecordingBackend
) -> None:
    gateway = await start(backend.port, upstream=UPSTREAM)
    first, second, last = await crowded(gateway, LARGE)
    waiting = await begin(gateway, LARGE + bytes(10_000))
    await until(lambda: "3 of 3, 1 waiting" in told(gateway))
    await waiting.send(bytes(90_000))
    first.close()
    assert (await waiting.read_reply()).status == 200
    third = await begin(gateway, LARGE)
    await until(lambda: "3 of 3, 0 waiting" in told(gateway))
    waiting = await begin(gateway, LARGE + bytes(10_000))
    await waiting.send(bytes(90_000))
    await second.send(bytes(100_000))
    assert (await second.read_reply()).status == 200
    assert (await waiting.read_reply()).status == 200
    for client in (last, third):
        client.close()
    await until(lambda: "0 of 3, 0 waiting" in told(gateway))


async def test_more_do_not_wait_than_may_and_who_left_does_not_count(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream=UPSTREAM)
    slow = await crowded(gateway, LARGE)
    waiting = [await begin(gateway, LARGE) for _ in range(CONNECTIONS - SHARE + 1)]
    await until(lambda: "3 of 3, 2 waiting" in told(gateway))
    refused = await gateway.connect()
    reply = await refused.ask(LARGE)
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    waiting[0].close()
    await until(lambda: "3 of 3, 1 waiting" in told(gateway))
    for client in (*slow, *waiting):
        client.close()
    await until(lambda: "0 of 3, 0 waiting" in told(gateway))


async def test_a_place_that_does_not_come_is_a_502_after_the_queue_s_time(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, upstream=UPSTREAM | {"queue_timeout": "200ms"})
    slow = await crowded(gateway, LARGE)
    refused = await gateway.connect()
    reply = await refused.ask(LARGE)
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    assert not any(client.reader.at_eof() for client in slow)
