"""Hostile and broken backends (X): the client gets a 502 or an answer that visibly breaks off; the next user their own answer."""

import asyncio
import contextlib

import pytest
from attack_families import get
from backends import Received, RecordingBackend, plain, raw
from data_plane import DataPlane, Reply, Start, provider
from patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK = b"HTTP/1.1 200 OK\r\n"
ASK = get(target=b"/public/x")
HEAD = get(target=b"/public/x", method=b"HEAD")


def status(line: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return line + b"\r\n" + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


def ok(*lines: bytes, body: bytes = b"") -> bytes:
    return status(b"HTTP/1.1 200 OK", *lines, body=body)


async def asked(
    gateway: DataPlane, backend: RecordingBackend, answer: bytes, *, close: bool = False, request: bytes = ASK
) -> Reply:
    """The reply to a request that the backend answers with these bytes."""
    backend.answer = raw(answer, close=close)
    try:
        return await gateway.ask(request)
    finally:
        backend.answer = plain()


async def next_is_clean(gateway: DataPlane, backend: RecordingBackend) -> None:
    """The next request gets its own answer."""
    backend.answer = plain("200 OK", b"mine")
    assert (await gateway.ask(ASK)).body == b"mine"
    backend.answer = plain()


EXTRA = {
    "a second answer": OK + b"Content-Length: 6\r\n\r\npoison",
    "one byte": b"x",
    "line ends": b"\r\n\r\n",
    "a head without an end": OK + b"Content-Length: 6\r\n",
    "a 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "much": b"x" * 300_000,
}
BODIES = {
    "length": OK + b"Content-Length: 4\r\n\r\nmine",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("extra", EXTRA.values(), ids=EXTRA)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_X01_bytes_behind_an_answer_belong_to_nobody(
    body: bytes, extra: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    reply = await asked(gateway, backend, body + extra)
    assert (reply.status, reply.body) == (200, b"mine")
    connections = backend.connections
    await next_is_clean(gateway, backend)
    assert backend.connections == connections + 1


async def test_X01_bytes_that_come_later_belong_to_nobody_either(gateway: DataPlane, backend: RecordingBackend) -> None:
    late = asyncio.Event()

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(BODIES["length"])
        await late.wait()
        writer.write(EXTRA["a second answer"])
        await reader.read()  # until the gateway closes it
        return False

    backend.answer = answer
    client = await gateway.connect()
    assert (await client.ask(ASK)).body == b"mine"
    open_connections = backend.open_connections
    late.set()
    await backend.wait_for(lambda: backend.open_connections < open_connections)
    backend.answer = plain("200 OK", b"fresh")
    assert (await client.ask(ASK)).body == b"fresh"
    client.close()
    backend.answer = plain()


MALFORMED = {
    "both framings": ok(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "both framings, other order": ok(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": ok(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "two equal lengths": ok(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "a list of lengths": ok(b"Content-Length: 5, 5", body=b"hello"),
    "negative length": ok(b"Content-Length: -1"),
    "signed length": ok(b"Content-Length: +5", body=b"hello"),
    "empty length": ok(b"Content-Length:"),
    "hexadecimal length": ok(b"Content-Length: 0x5", body=b"hello"),
    "length of 2^64": ok(b"Content-Length: 18446744073709551616"),
    "length with a leading zero": ok(b"Content-Length: 05", body=b"hello"),
    "blank before the colon": ok(b"Content-Length : 5", body=b"hello"),
    "two codings": ok(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "unknown coding": ok(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked not last": ok(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "coding on 1.0": status(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunk size": ok(b"Transfer-Encoding: chunked", body=b"zz\r\nhello\r\n0\r\n\r\n"),
    "chunk size with a sign": ok(b"Transfer-Encoding: chunked", body=b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than its size": ok(b"Transfer-Encoding: chunked", body=b"3\r\nhello\r\n0\r\n\r\n"),
    "chunk with bare lf": ok(b"Transfer-Encoding: chunked", body=b"5\nhello\n0\n\n"),
    "status 99": status(b"HTTP/1.1 99 No", b"Content-Length: 0"),
    "status 099": status(b"HTTP/1.1 099 No", b"Content-Length: 0"),
    "status 600": status(b"HTTP/1.1 600 No", b"Content-Length: 0"),
    "status 1000": status(b"HTTP/1.1 1000 No", b"Content-Length: 0"),
    "status 2x0": status(b"HTTP/1.1 2x0 No", b"Content-Length: 0"),
    "status missing": status(b"HTTP/1.1", b"Content-Length: 0"),
    "status empty": status(b"HTTP/1.1  OK", b"Content-Length: 0"),
    "HTTP/0.9 text": b"hello\r\n\r\n",
    "HTTP/0.9 text without an end": b"<html>hello</html>",
    "HTTP/2.0": status(b"HTTP/2.0 200 OK", b"Content-Length: 0"),
    "HTTP/1.2": status(b"HTTP/1.2 200 OK", b"Content-Length: 0"),
    "http/1.1": status(b"http/1.1 200 OK", b"Content-Length: 0"),
    "a request": get(b"Content-Length: 0"),
    "nothing": b"",
    "empty lines": b"\r\n\r\n",
    "a TLS alert": bytes.fromhex("15030100020228"),
    "bare cr in a value": ok(b"X-A: a\rSet-Cookie: evil=1", b"Content-Length: 0"),
    "bare lf in a value": ok(b"X-A: a\nSet-Cookie: evil=1", b"Content-Length: 0"),
    "nul in a value": ok(b"X-A: a\x00b", b"Content-Length: 0"),
    "nul in a name": ok(b"X\x00A: b", b"Content-Length: 0"),
    "control in a value": ok(b"X-A: a\x0bb", b"Content-Length: 0"),
    "blank in a name": ok(b"X A: b", b"Content-Length: 0"),
    "no name": ok(b": b", b"Content-Length: 0"),
    "no colon": ok(b"X-A", b"Content-Length: 0"),
    "folded line": ok(b"X-A: a", b" b", b"Content-Length: 0"),
    "bare lf everywhere": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare lf after the status": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "bare lf at the end of the head": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    "bare cr at the end of the head": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\rok",
    "cr in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
    "lf in the reason": b"HTTP/1.1 200 O\nK\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
async def test_X02_X03_X04_X14_a_malformed_answer_is_a_502_and_its_connection_is_not_used_again(
    answer: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    reply = await asked(gateway, backend, answer, close=True)
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    assert b"evil" not in reply.body
    connections = backend.connections
    await next_is_clean(gateway, backend)
    assert backend.connections == connections + 1


async def test_X03_what_may_stand_in_a_value_is_passed_on_as_it_is(gateway: DataPlane, backend: RecordingBackend) -> None:
    reply = await asked(gateway, backend, ok(b"X-A: caf\xc3\xa9\xff\t\x80", b"X-B:", b"Content-Length: 2", body=b"ok"))
    assert reply.values("X-A") == ["caf\xc3\xa9\xff\t\x80"]
    assert (reply.values("X-B"), reply.body) == ([""], b"ok")


async def test_X03_the_reason_phrase_is_ours(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.answer = raw(status(b"HTTP/1.1 200 <script>", b"Content-Length: 0"), close=False)
    client = await gateway.connect()
    await client.send(ASK)
    assert (await client.reader.readuntil(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
    client.close()
    backend.answer = plain()


BODILESS = {
    "204 with a length": (ASK, status(b"HTTP/1.1 204 No Content", b"Content-Length: 6", body=b"poison")),
    "204 with chunks": (ASK, status(b"HTTP/1.1 204 No Content", b"Transfer-Encoding: chunked", body=b"6\r\npoison\r\n0\r\n\r\n")),
    "204 with bytes": (ASK, status(b"HTTP/1.1 204 No Content", body=b"poison")),
    "304 with a length": (ASK, status(b"HTTP/1.1 304 Not Modified", b"Content-Length: 6", body=b"poison")),
    "304 with bytes": (ASK, status(b"HTTP/1.1 304 Not Modified", body=b"poison")),
    "head with a length": (HEAD, ok(b"Content-Length: 6", body=b"poison")),
    "head with chunks": (HEAD, ok(b"Transfer-Encoding: chunked", body=b"6\r\npoison\r\n0\r\n\r\n")),
    "head with a second answer": (HEAD, ok(b"Content-Length: 6", body=ok(b"Content-Length: 6", body=b"poison"))),
}


@pytest.mark.parametrize(("request_", "answer"), BODILESS.values(), ids=BODILESS)
async def test_X05_a_body_where_none_belongs_is_never_sent_on(
    request_: bytes, answer: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = raw(answer, close=False)
    client = await gateway.connect()
    reply = await client.ask(request_)
    assert reply.status in (200, 204, 304)
    backend.answer = plain("200 OK", b"mine")
    assert (await client.ask(ASK)).body == b"mine"
    client.close()
    backend.answer = plain()


@pytest.mark.parametrize("announced", [b"Content-Length: 6", b"Transfer-Encoding: chunked", b"X: y"])
@pytest.mark.parametrize("first", ["HEAD", "304", "204"])
async def test_X05_an_answer_that_only_announces_a_body_leaves_the_connection_usable(
    first: str, announced: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    line = {"HEAD": b"HTTP/1.1 200 OK", "304": b"HTTP/1.1 304 Not Modified", "204": b"HTTP/1.1 204 No Content"}[first]
    await next_is_clean(gateway, backend)
    connections = backend.connections
    reply = await asked(gateway, backend, status(line, announced), request=HEAD if first == "HEAD" else ASK)
    assert reply.status == int(line[9:12])
    await next_is_clean(gateway, backend)
    assert backend.connections == connections


async def test_X06_interim_answers_are_swallowed_up_to_a_number(gateway: DataPlane, backend: RecordingBackend) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    backend.answer = raw(interim * 5 + BODIES["length"], close=False)
    client = await gateway.connect()
    await client.send(ASK)
    assert (await client.read_head())[0] == 200
    client.close()
    assert (await asked(gateway, backend, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000 + BODIES["length"])).status == 502
    await next_is_clean(gateway, backend)


@pytest.mark.parametrize("line", [b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.0 101 x"])
async def test_X06_a_101_that_nobody_asked_for_is_a_502(line: bytes, gateway: DataPlane, backend: RecordingBackend) -> None:
    reply = await asked(gateway, backend, status(line, b"Connection: Upgrade", b"Upgrade: websocket", body=BODIES["length"]))
    assert reply.status == 502
    await next_is_clean(gateway, backend)


CUT_SHORT = {
    "length": ok(b"Content-Length: 1000", body=b"x" * 500),
    "length, nothing": ok(b"Content-Length: 1000"),
    "length, long": ok(b"Content-Length: 3000000", body=b"x" * 2_000_000),
    "chunk": ok(b"Transfer-Encoding: chunked", body=b"3e8\r\n" + b"x" * 500),
    "after a chunk": ok(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
    "in the last chunk": ok(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n"),
    "no chunk": ok(b"Transfer-Encoding: chunked"),
    "in a size": ok(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n1"),
    "in the trailers": ok(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nX: y\r\n"),
}


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("answer", CUT_SHORT.values(), ids=CUT_SHORT)
async def test_X07_an_answer_that_is_cut_short_never_looks_complete(
    answer: bytes, version: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = raw(answer)
    client = await gateway.connect()
    await client.send(get(target=b"/public/x", version=version))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        reply = await client.read_reply()
        if (
            reply.value("Content-Length") is None and reply.value("Transfer-Encoding") is None
        ):  # HTTP/1.0: the end must be a reset
            await client.reader.read()
        raise AssertionError(f"looks complete: {reply} {len(reply.body)}")
    client.close()
    await next_is_clean(gateway, backend)


async def test_X07_a_chunk_that_is_wrong_in_the_middle_breaks_the_answer_off(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    begun = asyncio.Event()

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await begun.wait()
        writer.write(b"zz\r\nHTTP/1.1 200 OK\r\n\r\n")
        await reader.read()
        return False

    backend.answer = answer
    client = await gateway.connect()
    await client.send(ASK + ASK)
    assert (await client.read_head())[0] == 200
    assert await client.reader.readexactly(10) == b"5\r\nhello\r\n"
    begun.set()
    assert await client.read_to_end() == b""
    client.close()
    await next_is_clean(gateway, backend)


TOO_LARGE = {
    "one field of 1 MB": ok(b"X-A: " + b"a" * 1_000_000, b"Content-Length: 0"),
    "10 000 fields": ok(*[b"X-%d: a" % number for number in range(10_000)], b"Content-Length: 0"),
    "201 fields": ok(*[b"X-A: a"] * 200, b"Content-Length: 0"),
    "a head without an end": OK + b"X-A: a\r\n" * 100_000,
    "a status line without an end": b"HTTP/1.1 200 " + b"a" * 1_000_000,
}


@pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_X08_a_head_that_is_too_large_is_a_502(answer: bytes, gateway: DataPlane, backend: RecordingBackend) -> None:
    assert (await asked(gateway, backend, answer)).status == 502
    await next_is_clean(gateway, backend)


async def test_X09_a_client_that_does_not_read_stops_the_backend(gateway: DataPlane, backend: RecordingBackend) -> None:
    """The backend sends without end; it is held up after what sockets and one buffer hold, and released when the client goes."""
    sent = 0
    is_gone = asyncio.Event()

    async def endless(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
                sent += 0x10000
        is_gone.set()
        return False

    backend.answer = endless
    client = await gateway.connect()
    client.writer.transport.pause_reading()
    await client.send(ASK)
    before = -1
    async with asyncio.timeout(PATIENCE_S):
        while sent != before or not sent:  # until it is held up for a thousand turns of the loop
            before = sent
            for _ in range(1000):
                await asyncio.sleep(0)
    (served,) = [each for each in gateway.plane.clients if each.upstream is not None]
    assert served.transport.get_write_buffer_size() < 2 << 20
    assert sent < 64 << 20
    client.close()
    await asyncio.wait_for(is_gone.wait(), PATIENCE_S)
    await next_is_clean(gateway, backend)


async def test_X11_hop_by_hop_fields_of_an_answer_end_here(gateway: DataPlane, backend: RecordingBackend) -> None:
    lines = [
        b"Connection: Set-Cookie, X-Hop, keep-alive",
        b"Set-Cookie: a=b",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
    ]
    lines += [b"Upgrade: h2c", b"Trailer: X", b"TE: x", b"Proxy-Connection: x", b"X-End: 1", b"Content-Length: 2"]
    reply = await asked(gateway, backend, ok(*lines, body=b"ok"))
    names = {name.lower() for name, _ in reply.fields}
    assert (
        names & {"keep-alive", "proxy-authenticate", "upgrade", "trailer", "te", "proxy-connection", "connection", "x-hop"}
        == set()
    )
    assert reply.value("Set-Cookie") == "a=b"  # end to end, whatever Connection says
    assert (reply.value("X-End"), reply.value("Content-Length"), reply.body) == ("1", "2", b"ok")


REDIRECTS = ["http://evil.example/", "//evil.example/", "/x", "x/../y", "https://shop.example:444/", "javascript:alert(1)"]


@pytest.mark.parametrize("location", REDIRECTS)
@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_X12_redirects_are_passed_on_and_never_followed(
    code: str, location: str, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.requests.clear()
    backend.answer = plain(code, b"", f"Location: {location}")
    reply = await gateway.ask(ASK)
    backend.answer = plain()
    assert (reply.status, reply.value("Location"), len(backend.requests)) == (int(code[:3]), location, 1)


async def test_X13_cookies_of_one_user_do_not_meet_the_next(gateway: DataPlane, backend: RecordingBackend) -> None:
    reply = await asked(gateway, backend, ok(b"Set-Cookie: session=alice; Path=/", b"Set-Cookie: b=c", b"Content-Length: 0"))
    assert reply.values("Set-Cookie") == ["session=alice; Path=/", "b=c"]
    backend.requests.clear()
    reply = await gateway.ask(get(b"Authorization: Bearer " + provider().token(sub="bob").encode(), target=b"/x"))
    assert backend.requests[0].values("cookie") == []
    assert reply.values("Set-Cookie") == []


async def test_X15_what_only_the_gateway_may_say_does_not_come_from_a_backend(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    names = [
        "X-User",
        "x_user",
        "X-User-Groups",
        "X-Session-Id",
        "Remote-User",
        "X-Forwarded-User",
        "X-Auth-Request-Email",
        "X-WEBAUTH-USER",
    ]
    names += ["X-Gateway-Reason", "X-Forwarded-For", "X-Gateway-Anything", "X-Remote-User", "X-Access-Token"]
    lines = [f"{name}: evil".encode() for name in names]
    reply = await asked(gateway, backend, ok(*lines, b"Server: app/1", b"X-Powered-By: x", b"Content-Length: 0"))
    assert "evil" not in [value for _, value in reply.fields]
    assert (reply.value("Server"), reply.value("X-Powered-By")) == ("app/1", "x")


async def test_a_backend_that_accepts_and_closes_is_tried_once_per_request(start: Start) -> None:
    """A connection that was lost before it was used does not count as open, and is not replaced in a storm."""
    accepted = 0

    def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.transport.abort()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    gateway = await start(server.sockets[0].getsockname()[1], {"max_connections": 2})
    for _ in range(10):
        assert (await gateway.ask(ASK)).status == 502
    assert accepted <= 20
    assert repr(gateway.plane.pools["app"]) == "<Pool app: 0 idle of 0, 0 opening, 0 waiting>"
    server.close()
