"""Slow, split, endless and early: what is cut into bytes, never finished, piled up or answered before it is complete."""

import asyncio
import contextlib
import gzip
import itertools

import pytest
import pytest_asyncio
from attack_backend import ByteBackend
from attack_corpus import Case, from_files
from attack_families import LAST_CHUNK, chunked, families, get, post
from attack_sending import CANARY, answers, closes_without_serving, complaint
from backends import Received, RecordingBackend, plain, raw
from data_plane import DataPlane, RawClient, Start
from patience import PATIENCE_S

from gateway.proxy.client import HEADS_PER_TURN

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = {"head": "100ms", "body": "100ms", "write": "100ms", "keep_alive": "100ms"}
ASK = get(target=b"/public/x")
UNFINISHED = [case for case in (*from_files(), *families()) if case.status < 0]


@pytest_asyncio.fixture(loop_scope="module")
async def hasty(start: Start, byte_backend: ByteBackend) -> DataPlane:
    """A gateway with the shortest timeouts."""
    return await start(byte_backend.port, timeouts=SHORT)


# F19, F27: what never ends.


@pytest.mark.parametrize("case", UNFINISHED, ids=str)
async def test_F19_a_body_that_does_not_end_is_cut_off(case: Case, hasty: DataPlane, byte_backend: ByteBackend) -> None:
    assert await closes_without_serving(hasty, byte_backend, case) is None


HEADS = [
    b"G", b"GET /public/", b"GET /public/ HTTP/1.1", b"GET /public/ HTTP/1.1\r", b"GET /public/ HTTP/1.1\r\n",
    b"GET /public/ HTTP/1.1\r\nHost: shop.example",
    b"GET /public/ HTTP/1.1\r\nHost: shop.example\r\n", b"GET /public/ HTTP/1.1\r\nHost: shop.example\r\n\r", b"", b"\r", b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("head", HEADS, ids=repr)
async def test_F27_a_head_that_does_not_end_is_cut_off(head: bytes, hasty: DataPlane, byte_backend: ByteBackend) -> None:
    assert await closes_without_serving(hasty, byte_backend, Case("F27", repr(head), head, -1)) is None


@pytest.mark.parametrize("announced", [b"Content-Length: 200", b"Transfer-Encoding: chunked"])
async def test_F27_a_body_that_comes_after_the_deadline_is_not_a_request(
    announced: bytes, hasty: DataPlane, byte_backend: ByteBackend
) -> None:
    byte_backend.taken()
    client = await hasty.connect()
    await client.send(post(announced))
    assert await client.read_to_end() == b""
    with contextlib.suppress(ConnectionError):
        await client.send(CANARY)
    assert byte_backend.taken()[1] == []
    client.close()


async def test_F27_a_drip_does_not_extend_the_deadline_of_a_head(hasty: DataPlane, byte_backend: ByteBackend) -> None:
    client = await hasty.connect()

    async def drip() -> None:
        for byte in get(b"X: " + b"a" * 10_000):
            await client.send(bytes((byte,)))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(drip())
    assert await client.read_to_end() == b""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    client.close()


# F30: one byte at a time.


async def send_in_bytes(client: RawClient, data: bytes) -> None:
    """Every byte in a segment of its own: the loop turns in between, so the gateway reads each alone."""
    for byte in data:
        client.writer.write(bytes((byte,)))
        await asyncio.sleep(0)


GOOD_IN_BYTES = [
    get(),
    b"\r\n" + get(),
    post(b"Content-Length: 5", body=b"hello"),
    chunked(b"1\r\nh\r\n4;ext=1\r\nello\r\n0\r\nTrailer: x\r\n\r\n"),
    chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in b"a" * 300) + LAST_CHUNK),
]


@pytest.mark.parametrize("request_", GOOD_IN_BYTES, ids=lambda each: repr(each[:40]))
async def test_F30_segments_of_one_byte_make_no_difference(
    request_: bytes, shared_gateway: DataPlane, byte_backend: ByteBackend
) -> None:
    byte_backend.taken()
    client = await shared_gateway.connect()
    await send_in_bytes(client, request_ + CANARY)
    got = answers(await client.read_to_end())
    assert [answer.status for answer in got] == [200, 200]
    (first, second) = byte_backend.taken()[1]
    assert second.target == b"/public/canary"
    assert first.body in (b"", b"hello", b"a" * 300)
    client.close()


REFUSED_IN_BYTES = [case for case in from_files() if case.is_refused]


async def test_F30_what_is_refused_in_one_piece_is_refused_in_bytes(shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    wrong = []
    for case in REFUSED_IN_BYTES:
        byte_backend.taken()
        client = await shared_gateway.connect()
        with contextlib.suppress(ConnectionError):
            await send_in_bytes(client, case.raw + CANARY)
        got = answers(await client.read_to_end())
        requests = byte_backend.taken()[1]
        if [answer.status for answer in got] != [case.status] or requests:
            wrong.append((str(case), got, requests))
        client.close()
    assert wrong == []


async def test_F30_limits_hold_for_any_segments(shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    for size, endless in (
        (64, b"GET /public/ HTTP/1.1\r\nX: " + b"a" * 100_000),
        (64, b"A" * 100_000),
        (512, get()[:-2] + b"X: y\r\n" * 20_000),
    ):
        client = await shared_gateway.connect()
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(endless), size):
                client.writer.write(endless[at : at + size])
                await asyncio.sleep(0)
        assert [answer.status for answer in answers(await client.read_to_end())] == [431]
        client.close()
    assert byte_backend.taken() == (b"", [])


async def test_F17_F30_a_million_bytes_in_chunks_of_one(shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    body = b"1\r\nx\r\n" * 200_000
    assert await complaint(shared_gateway, byte_backend, Case("F30", "chunks of one byte", chunked(body + LAST_CHUNK), 0)) is None


# F25: expectations.


async def test_F25_the_decision_comes_before_100_continue(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    connections = backend.connections
    reply = await gateway.ask(get(b"Expect: 100-continue", b"Content-Length: 5", method=b"POST", target=b"/x"))
    assert (reply.status, reply.reason, reply.value("Connection")) == (401, "no-token", "close")
    assert (backend.requests, backend.connections) == ([], connections)


async def test_F25_the_gateway_answers_the_expectation_itself(gateway: DataPlane, backend: RecordingBackend) -> None:
    """The backend never sees `Expect`, so one that never answers 100 holds nobody up."""
    backend.requests.clear()
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        client = await gateway.connect()
        await client.send(get(b"Expect: 100-Continue", b"Content-Length: 5", method=b"POST", version=version))
        if version == b"HTTP/1.1":
            assert (await client.read_head())[0] == 100
        assert (await client.ask(b"hello")).status == 200
        client.close()
    assert [(request.body, request.values("expect")) for request in backend.requests] == [(b"hello", [])] * 2
    for lines in ([b"Content-Length: 0"], []):
        client = await gateway.connect()
        await client.send(get(b"Expect: 100-continue", *lines, method=b"POST"))
        assert (await client.read_head())[0] == 200
        client.close()


@pytest.mark.parametrize("status", [b"417 Expectation Failed", b"200 OK", b"401 Unauthorized"])
async def test_F25_a_final_answer_before_the_body_ends_both_connections(status: bytes, start: Start) -> None:
    async with EarlyBackend(status) as early:
        gateway = await start(early.port)
        client = await gateway.connect()
        await client.send(get(b"Expect: 100-continue", b"Content-Length: 50", method=b"POST"))
        reply = await client.read_reply()
        assert (reply.status, reply.body, reply.value("Connection")) == (int(status[:3]), b"early", "close")
        await client.send(CANARY)
        assert await client.read_to_end() == b""
        await early.wait_for_ends(1)
        assert (await gateway.ask(ASK)).body == b"early"
        assert [head.split(b" ")[0] for head in early.heads] == [b"POST", b"GET"]
        client.close()


# F28: answers that do not wait for the body.


@pytest.mark.parametrize("is_closing", [False, True])
@pytest.mark.parametrize("announced", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"])
async def test_F28_an_early_answer_is_relayed_and_both_connections_end(announced: bytes, is_closing: bool, start: Start) -> None:
    async with EarlyBackend(b"413 Too Large", close=is_closing) as early:
        gateway = await start(early.port)
        client = await gateway.connect()
        await client.send(post(announced, body=b"5\r\nhello\r\n"))
        reply = await client.read_reply()
        assert (reply.status, reply.body, reply.value("Connection")) == (413, b"early", "close")
        with contextlib.suppress(ConnectionError):  # the client goes on sending, as clients do; what it sends is no request
            for _ in range(100):
                await client.send(CANARY * 100)
        assert await client.read_to_end() == b""
        await early.wait_for_ends(1)
        assert (await gateway.ask(ASK)).status == 413
        assert [head.split(b" ")[0] for head in early.heads] == [b"POST", b"GET"]
        client.close()


async def test_F28_an_early_answer_with_a_long_body_is_relayed_whole(start: Start, backend: RecordingBackend) -> None:
    body = b"x" * 3_000_000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    gateway = await start(server.sockets[0].getsockname()[1])
    client = await gateway.connect()
    await client.send(post(b"Content-Length: 1000000", body=b"half"))
    assert (await client.read_reply()).body == body
    client.close()
    server.close()


class EarlyBackend:
    """Answers as soon as it has a head, and reads what follows without looking at it."""

    def __init__(self, status: bytes, *, close: bool = False) -> None:
        self.port = 0
        self.heads: list[bytes] = []
        self._ends = asyncio.Semaphore(0)
        self._status = status
        self._close = close

    async def __aenter__(self) -> "EarlyBackend":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def wait_for_ends(self, count: int) -> None:
        """Until so many connections have ended."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                await self._ends.acquire()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 5\r\n\r\nearly" % self._status)
            if self._close:
                writer.write_eof()
            await reader.read()
        writer.close()
        self._ends.release()


# F26: clients that leave.


@pytest.mark.parametrize("announced", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
async def test_F26_a_client_that_leaves_takes_its_backend_connection_with_it(
    announced: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.requests.clear()
    backend.broken.clear()
    client = await gateway.connect()
    before = backend.connections
    await client.send(post(announced, body=b"1f4\r\nGET /public/smuggled HTTP/1.1\r\n"))
    if before == 0:
        await backend.wait_for(lambda: backend.open_connections > 0)
    open_connections = backend.open_connections
    client.close()
    await backend.wait_for(lambda: backend.open_connections < open_connections)
    assert len(backend.broken) == 1
    backend.answer = plain("200 OK", b"mine")
    assert (await gateway.ask(post(b"Content-Length: 4", body=b"next"))).body == b"mine"
    assert [(request.target, request.body) for request in backend.requests] == [(b"/public/", b"next")]
    backend.answer = plain()


# F29: pipelining.


async def test_F29_ten_thousand_pipelined_requests_are_served_in_order(
    shared_gateway: DataPlane, byte_backend: ByteBackend
) -> None:
    byte_backend.taken()
    targets = [b"/public/%d" % number for number in range(10_000)]
    client = await shared_gateway.connect()
    data = b"".join(get(target=target) for target in targets) + get(b"Connection: close", target=b"/public/last") + CANARY
    sending = asyncio.create_task(client.send(data))
    got = answers(await client.read_to_end(30))
    await asyncio.gather(sending, return_exceptions=True)
    assert [answer.body for answer in got] == [*targets, b"/public/last"]
    assert [request.target for request in byte_backend.taken()[1]] == [*targets, b"/public/last"]
    client.close()


async def test_F29_what_waits_behind_a_slow_exchange_is_bounded(start: Start) -> None:
    """20 MB of requests against a backend that takes its turns: the gateway holds one buffer of them, the socket the rest."""
    most = 0

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal most
        most = max(most, *(len(each._buffer) for each in gateway.plane.clients))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return len(backend.requests) < 300

    async with RecordingBackend(answer) as backend:
        gateway = await start(backend.port)
        client = await gateway.connect()
        sending = asyncio.create_task(client.send(get(b"X: " + b"a" * 800) * 22_000))
        for _ in range(300):
            await client.read_reply()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        client.close()
    assert most < 1 << 20


async def test_F29_a_row_of_refusals_does_not_hold_up_the_neighbours(shared_gateway: DataPlane) -> None:
    """Requests that are answered without waiting for anything are served in turns with what else there is to do."""
    client, neighbour = await shared_gateway.connect(), await shared_gateway.connect()
    reading = asyncio.create_task(client.reader.read(-1))
    client.writer.write(get(target=b"/guarded") * 4000)
    neighbour.writer.write(ASK)
    assert (await neighbour.read_reply()).status == 200
    assert any(each._buffer for each in shared_gateway.plane.clients)  # most of the row is still to come
    for each in (client, neighbour):
        each.close()
    await asyncio.gather(reading, return_exceptions=True)


async def test_F29_a_row_that_comes_in_many_pieces_gets_one_turn_at_a_time(shared_gateway: DataPlane) -> None:
    """Each piece used to begin a row of turns of its own, until one connection had the loop to itself."""
    head = get(target=b"/guarded")
    client = await shared_gateway.connect()
    reading = asyncio.create_task(client.reader.read(-1))
    for _ in range(40):
        client.writer.write(head * 30)
        await asyncio.sleep(0)
    waiting = []
    while (left := sum(len(each._buffer) for each in shared_gateway.plane.clients)) or not waiting:
        waiting.append(left)
        await asyncio.sleep(0)
    assert max(waiting) > 100 * len(head), "most of it had to wait"
    assert max(before - after for before, after in itertools.pairwise(waiting)) <= HEADS_PER_TURN * len(head)
    client.close()
    await asyncio.gather(reading, return_exceptions=True)


async def test_F29_what_follows_a_close_or_a_refusal_is_not_read(shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    for first, status in (
        (get(b"Connection: close"), 200),
        (get(b"Connection: Keep-Alive, CLOSE"), 200),
        (get(version=b"HTTP/1.0"), 200),
        (get(b"Connection: close", target=b"/guarded"), 401),
        (get(b"X A: b"), 400),
        (get(b"Content-Length: 50000000", target=b"/guarded"), 401),
        (get(b"Transfer-Encoding: chunked", target=b"/guarded") + b"0\r\n\r\n", 401),
    ):
        client = await shared_gateway.connect()
        with contextlib.suppress(ConnectionError):
            await client.send(first + CANARY * 3000)
        got = answers(await client.read_to_end())
        assert [answer.status for answer in got] == [status], first
        assert b"\r\nConnection: close" in got[0].head
        client.close()
    assert b"canary" not in byte_backend.taken()[0]


async def test_F29_a_bad_request_behind_good_ones_ends_the_row(shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    client = await shared_gateway.connect()
    await client.send(get(target=b"/public/1") + get(target=b"/public/2") + get(b"X A: b") + CANARY)
    assert [answer.status for answer in answers(await client.read_to_end())] == [200, 200, 400]
    assert [request.target for request in byte_backend.taken()[1]] == [b"/public/1", b"/public/2"]
    client.close()


# F23, F38: bodies that a backend may not expect, or may not want to be opened.


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_F23_a_body_on_any_method_arrives_framed(
    method: bytes, is_chunked: bool, shared_gateway: DataPlane, byte_backend: ByteBackend
) -> None:
    byte_backend.taken()
    inner = get(target=b"/public/smuggled")
    if is_chunked:
        first = get(b"Transfer-Encoding: chunked", method=method) + b"%x\r\n%b\r\n" % (len(inner), inner) + LAST_CHUNK
    else:
        first = get(b"Content-Length: %d" % len(inner), method=method) + inner
    client = await shared_gateway.connect()
    assert (await client.ask(first)).status == 200
    assert (await client.ask(CANARY)).body == b"/public/canary"
    requests = byte_backend.taken()[1]
    assert [(request.target, request.body) for request in requests] == [(b"/public/", inner), (b"/public/canary", b"")]
    client.close()


async def test_F23_a_backend_that_ignores_the_body_of_a_get_poisons_nobody(start: Start) -> None:
    """It takes the body for the next request and answers it; that answer comes when nobody asked, and is dropped."""
    inner = get(target=b"/public/smuggled")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    gateway = await start(server.sockets[0].getsockname()[1])
    client = await gateway.connect()
    for _ in range(10):
        assert (await client.ask(get(b"Content-Length: %d" % len(inner)) + inner)).body == b"/public/"
        victim = await gateway.ask(get(target=b"/public/victim"))
        assert (victim.status, victim.body) in ((200, b"/public/victim"), (502, victim.body))
    client.close()
    server.close()


ENCODED = {
    "gzip": (b"gzip", gzip.compress(b"hello")),
    "a bomb": (b"gzip", gzip.compress(b"\x00" * 50_000_000)),
    "twice": (b"gzip, gzip", gzip.compress(gzip.compress(b"hello"))),
    "malformed": (b"gzip", b"\x1f\x8bnot gzip at all"),
    "unknown": (b"evil", b"\x00\x01\x02"),
    "deflate": (b"deflate", b"x\x9c"),
}


@pytest.mark.parametrize(("coding", "body"), ENCODED.values(), ids=ENCODED)
async def test_F38_encoded_bodies_pass_untouched_both_ways(
    coding: bytes, body: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.requests.clear()
    backend.answer = raw(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (coding, len(body), body), close=False
    )
    reply = await gateway.ask(post(b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body), body=body))
    backend.answer = plain()
    (request,) = backend.requests
    assert (request.body, request.values("content-encoding")) == (body, [coding])
    assert (reply.body, reply.value("Content-Encoding")) == (body, coding.decode())


# And what the limits on a body are.


async def test_a_body_over_its_limit_is_refused(start: Start, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    gateway = await start(byte_backend.port, limits={"body": 10})
    for request in (
        post(b"Content-Length: 11", body=b"hello world"),
        post(b"Content-Length: 999999999999999999"),
        chunked(b"b\r\nhello world\r\n" + LAST_CHUNK),
        chunked(b"6\r\nhello \r\n5\r\nworld\r\n" + LAST_CHUNK),
    ):
        client = await gateway.connect()
        await client.send(request + CANARY)
        assert [answer.status for answer in answers(await client.read_to_end())] == [413], request
        client.close()
    assert byte_backend.taken() == (b"", [])
    assert (await gateway.ask(post(b"Content-Length: 10", body=b"hello worl"))).status == 200


# Costly input and everybody else.


async def test_D10_bodies_of_tiny_chunks_take_turns_and_arrive_whole(
    shared_gateway: DataPlane, byte_backend: ByteBackend
) -> None:
    """Ten clients send 20 000 chunks of one byte at once: in no turn of the loop more than one of them is read, a piece of it."""
    lane, most = shared_gateway.plane.lane, 0
    byte_backend.taken()
    head = b"POST /public/tiny HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"
    clients = [await shared_gateway.connect() for _ in range(10)]
    for client in clients:
        await client.send(head)
    while sum(each.is_sending_body for each in shared_gateway.plane.clients) < len(clients):
        await asyncio.sleep(0)
    for client in clients:
        client.writer.write(b"x\r\n" + b"1\r\ny\r\n" * 20_000 + b"0\r\n\r\n")
    while len(byte_backend.requests) < len(clients):
        most = max(most, len(lane))
        await asyncio.sleep(0)
    assert most > 1, "several waited for their turn"
    assert {request.body for request in byte_backend.requests} == {b"x" + b"y" * 20_000}
    for client in clients:
        assert (await client.read_reply()).status == 200
        assert (await client.ask(b"GET /public/next HTTP/1.1\r\nHost: shop.example\r\n\r\n")).body == b"/public/next"
        client.close()
    assert not len(lane)
