"""A data plane that traces: what the application is told of a trace, which exchanges are recorded, and what their spans say."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from backends import Received, RecordingBackend, plain
from data_plane import DataPlane, RawClient, Start
from exchanging import alice, request, serving, until
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gateway.config.schema import Upstream
from gateway.proxy.balancer import Balancer
from gateway.revocation.entry import PERMANENT, Entry, Kind, Revocation
from gateway.telemetry.trace_queue import SpanQueue
from gateway.telemetry.tracing import Kind as SpanKind
from gateway.telemetry.tracing import Sampler, Span
from gateway.worker import on_entry

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
UNSAMPLED, SAMPLED, RANDOM = (f"traceparent: 00-{TRACE}-{PARENT}-0{flags}" for flags in (0, 1, 3))
TRUSTED = {"trusted_proxies": ["127.0.0.0/8"]}
ALL = {"tracing": {"endpoint": "http://127.0.0.1:4318", "sample_ratio": 1}}
NONE = {"tracing": {"endpoint": "http://127.0.0.1:4318", "sample_ratio": 0}}
ONLY_TOLD = {"tracing": {"sample_ratio": 1}}


class Kept:
    """The sending thread's end: spans are kept, and none is lost."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.queue = SpanQueue(self._take, self._counted, gather_s=0.0)

    def _take(self, spans: Sequence[Span]) -> bool:
        self.spans += spans
        return True

    def _counted(self, outcome: str, spans: int) -> None:
        assert outcome == "delivered" or not spans

    async def trace(self, spans: int, trace_id: str | None = None) -> list[Span]:
        """So many spans, of one trace, and no more."""
        await until(lambda: len(self.spans) >= spans)
        assert len(self.spans) == spans, self.spans
        assert len({span.trace_id for span in self.spans}) == 1
        assert trace_id is None or self.spans[0].trace_id == int(trace_id, 16)
        found, self.spans = self.spans, []
        return found


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    yield kept
    kept.queue.close()
    assert kept.spans == []


@pytest.fixture
async def traced(start: Start, backend: RecordingBackend, kept: Kept) -> DataPlane:
    """Every exchange is recorded."""
    return await start(backend.port, parts={"spans": kept.queue}, **ALL)


def told(backend: RecordingBackend) -> tuple[str, str, str]:
    """Trace, parent and flags, as the application saw them last."""
    (traceparent,) = backend.requests[-1].values("traceparent")
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", traceparent.decode())
    assert found is not None
    return found[1], found[2], found[3]


def number(span_id: str) -> int:
    return int(span_id, 16)


# The chain from client to application.


async def test_the_chain_from_client_to_application_is_unbroken(traced: DataPlane, backend: RecordingBackend, kept: Kept) -> None:
    await traced.ask(request("/orders", SAMPLED, "tracestate: vendor=1", token=alice()))
    server, wait, client = await kept.trace(3, TRACE)
    assert (server.parent_id, server.is_parent_remote) == (number(PARENT), True)
    assert (wait.name, wait.parent_id, client.parent_id) == ("upstream connection", server.span_id, server.span_id)
    assert told(backend) == (TRACE, f"{client.span_id:016x}", "01")
    assert backend.requests[-1].values("tracestate") == [b"vendor=1"]
    assert server.start_ns <= wait.start_ns <= wait.end_ns <= client.start_ns <= client.end_ns <= server.end_ns
    assert abs(server.end_ns / 1e9 - time.time()) < 60


async def test_a_trace_that_begins_here_has_no_parent(traced: DataPlane, backend: RecordingBackend, kept: Kept) -> None:
    await traced.ask(request(token=alice()))
    trace_id, parent, flags = told(backend)
    server, _, client = await kept.trace(3, trace_id)
    assert server.parent_id is None
    assert (number(parent), flags) == (client.span_id, "01")
    assert backend.requests[-1].values("x-request-id") == [trace_id.encode()]


async def test_each_request_of_a_connection_has_spans_of_its_own(
    traced: DataPlane, backend: RecordingBackend, kept: Kept
) -> None:
    """The connection repeats its head byte for byte, and what is kept of it holds no trace."""
    client = await traced.connect()
    seen = []
    for spans in (3, 2, 2):
        await client.ask(request("/", SAMPLED, token=alice()))
        seen += [span.span_id for span in await kept.trace(spans, TRACE)]
        assert number(told(backend)[1]) == seen[-1]
    client.close()
    assert len(set(seen)) == 7


# Who decides what is recorded.


@pytest.mark.parametrize(
    ("settings", "sent", "flags"),
    [
        (ALL, UNSAMPLED, "01"),  # a stranger's word about what is recorded counts for nothing
        (NONE, SAMPLED, "00"),
        (NONE, RANDOM, "02"),  # that the id is random is passed on (level 2)
        (ALL, RANDOM, "03"),
        (ALL | TRUSTED, UNSAMPLED, "00"),  # a trusted proxy's counts
        (NONE | TRUSTED, SAMPLED, "01"),
        (NONE | TRUSTED, RANDOM, "03"),
        (ONLY_TOLD, UNSAMPLED, "01"),
        ({}, SAMPLED, "01"),  # nothing is traced: nobody's word is changed
        ({}, UNSAMPLED, "00"),
    ],
)
async def test_who_decides_whether_a_trace_is_recorded(
    start: Start, backend: RecordingBackend, kept: Kept, settings: dict[str, Any], sent: str, flags: str
) -> None:
    gateway = await start(backend.port, parts={"spans": None if settings is ONLY_TOLD else kept.queue}, **settings)
    await gateway.ask(request("/", sent, token=alice()))
    trace_id, parent, told_flags = told(backend)
    is_recorded = bool("tracing" in settings and settings is not ONLY_TOLD and int(flags) & 1)
    assert (trace_id, told_flags) == (TRACE, flags)
    assert (parent == PARENT) == (not is_recorded)
    if is_recorded:
        await kept.trace(3, TRACE)


@pytest.mark.parametrize(("ratio", "recorded"), [(0, 0), (0.25, 4), (0.5, 8), (1, 16)])
def test_so_many_traces_of_our_own_are_recorded(ratio: float, recorded: int) -> None:
    """Their ids are random, and digits compare as the numbers that they tell."""
    sampler = Sampler(ratio, b"a secret")
    ids = ["0" * 16 + first + "f" * 15 for first in "0123456789abcdef"]
    assert [sampler.wants(trace_id.encode(), is_ours=True) for trace_id in ids] == [True] * recorded + [False] * (16 - recorded)


async def test_without_a_trace_a_ratio_of_nothing_records_nothing(start: Start, backend: RecordingBackend, kept: Kept) -> None:
    gateway = await start(backend.port, parts={"spans": kept.queue}, **NONE)
    await gateway.ask(request(token=alice()))
    assert told(backend)[2] == "00"


async def test_applications_can_be_told_what_to_record_without_a_receiver(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, **ONLY_TOLD)
    await gateway.ask(request(token=alice()))
    assert told(backend)[2] == "01"


@pytest.mark.parametrize("settings", [ALL["tracing"], ONLY_TOLD["tracing"], NONE["tracing"]])
async def test_strangers_can_be_made_to_begin_traces_of_their_own(
    start: Start, backend: RecordingBackend, kept: Kept, settings: dict[str, Any]
) -> None:
    tracing = settings | {"continue_from": "trusted_proxies"}
    spans = None if settings is ONLY_TOLD["tracing"] else kept.queue
    gateway = await start(backend.port, parts={"spans": spans}, tracing=tracing)
    client = await gateway.connect()
    traces = set()
    for _ in range(2):  # the second head is the connection's memo of the first
        await client.ask(request("/", SAMPLED, "tracestate: vendor=1", token=alice()))
        traces.add(told(backend)[0])
        assert backend.requests[-1].values("tracestate") == []
    client.close()
    assert len(traces - {TRACE}) == 2
    if settings is ALL["tracing"]:
        await until(lambda: len(kept.spans) == 5)
        assert {f"{span.trace_id:032x}" for span in kept.spans} == traces
        assert [span.parent_id for span in kept.spans if span.kind is SpanKind.SERVER] == [None, None]
        kept.spans.clear()


async def test_a_trusted_proxys_trace_goes_on_where_strangers_do_not(start: Start, backend: RecordingBackend, kept: Kept) -> None:
    tracing = ALL["tracing"] | {"continue_from": "trusted_proxies"}
    gateway = await start(backend.port, parts={"spans": kept.queue}, tracing=tracing, **TRUSTED)
    await gateway.ask(request("/", SAMPLED, token=alice()))
    await kept.trace(3, TRACE)


@pytest.mark.parametrize("bad", ["traceparent: 00-x", f"{SAMPLED}\r\n{SAMPLED}"])
async def test_a_malformed_or_doubled_parent_begins_a_new_trace(
    traced: DataPlane, backend: RecordingBackend, kept: Kept, bad: str
) -> None:
    await traced.ask(request("/", bad, "tracestate: vendor=1", token=alice()))
    server, *_ = await kept.trace(3, told(backend)[0])
    assert server.parent_id is None
    assert server.trace_id != number(TRACE)
    assert backend.requests[-1].values("tracestate") == []


# What the spans say.


async def test_an_allowed_request_in_words_of_the_conventions(traced: DataPlane, backend: RecordingBackend, kept: Kept) -> None:
    await traced.ask(request("/orders?card=4111", token=alice()))
    server, wait, client = await kept.trace(3)
    assert (server.name, server.kind, server.is_error) == ("GET app", SpanKind.SERVER, False)
    assert server.attributes == {
        "http.request.method": "GET",
        "http.route": "app",
        "url.scheme": "http",
        "url.path": "/orders",
        "server.address": "shop.example",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "gateway.decision": "allow",
    }
    assert (wait.kind, wait.attributes, wait.is_error) == (SpanKind.INTERNAL, {}, False)
    assert (client.name, client.kind, client.is_error) == ("GET", SpanKind.CLIENT, False)
    assert client.attributes == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": backend.port,
        "gateway.upstream": "app",
        "http.response.status_code": 200,
    }


@pytest.mark.parametrize(
    ("sent", "status", "reason", "route"),
    [
        (lambda: request("/orders"), 401, "no-token", "app"),
        (lambda: request("/orders", token="eyJhbGciOiJSUzI1NiJ9.x.y"), 401, "malformed-token", "app"),
        (lambda: request("/admin/", token=alice(groups=[])), 403, "forbidden", "admin"),
        (lambda: request("/auth/nowhere"), 404, "no-route", None),
        (lambda: request("/", "Content-Length: 11", method="POST", token=alice()), 413, "too-large", "app"),
    ],
)
async def test_a_refusal_says_why(
    start: Start, backend: RecordingBackend, kept: Kept, sent: Callable[[], bytes], status: int, reason: str, route: str | None
) -> None:
    gateway = await start(backend.port, parts={"spans": kept.queue}, limits={"body": 10}, **ALL)
    assert (await gateway.ask(sent())).reason == reason
    (server,) = await kept.trace(1)
    told = server.attributes
    assert (told["gateway.decision"], told["gateway.reason"], told["error.type"]) == ("deny", reason, reason)
    assert (told["http.response.status_code"], told.get("http.route")) == (status, route)
    assert not server.is_error  # the client's fault is no error of the server's
    assert server.name == (f"{told['http.request.method']} {route}" if route else "GET")


async def test_what_is_no_request_is_in_no_trace(traced: DataPlane, kept: Kept) -> None:
    assert (await traced.ask(request("/a b", SAMPLED))).reason == "bad-request"


async def test_nothing_that_is_secret_or_personal_is_in_a_span(traced: DataPlane, backend: RecordingBackend, kept: Kept) -> None:
    backend.answer = plain("500 Oops")
    secret = alice(sid="session-9")
    paths = (f"/reset/{secret}?token={secret}", "/orders?card=4111", f"/?access_token={secret}")
    for path in paths:
        lines = ("Cookie: __Host-access=cookie-value", "User-Agent: agent-value", "X-Request-Id: id-value")
        await traced.ask(request(path, *lines, token=secret))
        await traced.ask(request(path, *lines, token=secret[:-8] + "AAAAAAAA"))
    await until(lambda: sum(span.kind is SpanKind.SERVER for span in kept.spans) == 2 * len(paths))
    text = json.dumps([(span.name, span.attributes) for span in kept.spans])
    for word in (secret, secret.rpartition(".")[2], "alice", "session-9", "4111", "value", "127.0.0.1:", "access_token"):
        assert word not in text, word
    assert "/reset/[token]" in text
    kept.spans.clear()


async def test_methods_and_hosts_that_clients_make_up_name_nothing(
    traced: DataPlane, backend: RecordingBackend, kept: Kept
) -> None:
    head = request("/", token=alice(), method="PROPFIND").replace(b"shop.example", b"[2001:db8::1]:8443")
    await traced.ask(head)
    server, _, client = await kept.trace(3)
    assert (server.name, client.name, server.attributes["http.request.method"]) == ("HTTP app", "HTTP", "_OTHER")
    assert (server.attributes["server.address"], server.attributes["server.port"]) == ("[2001:db8::1]", 8443)
    await traced.ask(request("/", version="1.0", token=alice()).replace(b"Host: shop.example\r\n", b""))
    await until(lambda: kept.spans)
    server = next(span for span in kept.spans if span.kind is SpanKind.SERVER)
    assert server.attributes["network.protocol.version"] == "1.0"
    assert "server.address" not in server.attributes
    kept.spans.clear()


@pytest.mark.parametrize(("status", "is_ours", "is_theirs"), [("404 No", False, True), ("500 Oops", True, True)])
async def test_a_status_is_an_error_of_whom_it_blames(
    traced: DataPlane, backend: RecordingBackend, kept: Kept, status: str, is_ours: bool, is_theirs: bool
) -> None:
    backend.answer = plain(status)
    await traced.ask(request(token=alice()))
    server, _, client = await kept.trace(3)
    assert (server.is_error, client.is_error) == (is_ours, is_theirs)
    assert client.attributes["error.type"] == status[:3]
    assert server.attributes.get("error.type") == (status[:3] if is_ours else None)


async def test_of_several_addresses_the_one_that_was_asked_is_told(start: Start, backend: RecordingBackend, kept: Kept) -> None:
    async with RecordingBackend() as other:
        urls = [f"http://127.0.0.1:{port}" for port in (backend.port, other.port)]
        gateway = await start(urls[0], upstream={"url": urls}, parts={"spans": kept.queue}, **ALL)
        asked = {}
        while len(asked) < 2:
            before = len(other.requests)
            await gateway.ask(request(token=alice()))
            await until(lambda: any(span.kind is SpanKind.CLIENT for span in kept.spans))
            client = next(span for span in kept.spans if span.kind is SpanKind.CLIENT)
            asked[other.port if len(other.requests) > before else backend.port] = client.attributes["server.port"]
            kept.spans.clear()
        assert asked == {backend.port: backend.port, other.port: other.port}


async def test_of_a_name_the_address_that_was_asked_is_told(traced: DataPlane, backend: RecordingBackend, kept: Kept) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    config = Upstream.model_validate({"url": f"http://shop.test:{backend.port}"})
    named = traced.plane.pools["app"] = Balancer("app", config, traced.plane, resolve)
    await until(lambda: named.pools[0].place.address.host == "127.0.0.1")
    await traced.ask(request(token=alice()))
    *_, client = await kept.trace(3)
    told = client.attributes
    assert (told["server.address"], told["server.port"]) == ("shop.test", backend.port)
    assert (told["network.peer.address"], told["network.peer.port"]) == ("127.0.0.1", backend.port)


async def test_an_application_that_cannot_be_reached_was_waited_for(start: Start, kept: Kept) -> None:
    gateway = await start("http://127.0.0.1:1", parts={"spans": kept.queue}, **ALL)
    assert (await gateway.ask(request(token=alice()))).status == 502
    server, wait = await kept.trace(2)
    assert (server.attributes["error.type"], server.is_error) == ("upstream-unreachable", True)
    assert (wait.name, wait.attributes, wait.is_error) == ("upstream connection", {"error.type": "UpstreamUnreachable"}, True)


async def test_an_application_that_does_not_answer_fails_its_own_span(
    start: Start, backend: RecordingBackend, kept: Kept
) -> None:
    async def never(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        return False

    backend.answer = never
    gateway = await start(backend.port, parts={"spans": kept.queue}, upstream={"read_timeout": "10ms"}, **ALL)
    assert (await gateway.ask(request(token=alice()))).status == 504
    server, _, client = await kept.trace(3)
    assert server.attributes["error.type"] == client.attributes["error.type"] == "upstream-timeout"
    assert "http.response.status_code" not in client.attributes


async def test_a_head_that_is_sent_twice_has_two_spans(traced: DataPlane, backend: RecordingBackend, kept: Kept) -> None:
    await traced.ask(request(token=alice()))
    await kept.trace(3)
    answer = backend.answer
    backend.requests.clear()

    async def close_the_first(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        backend.answer = answer
        return False

    backend.answer = close_the_first
    assert (await traced.ask(request("/", SAMPLED, token=alice()))).status == 200
    server, wait, first, second = await kept.trace(4, TRACE)
    parents = [received.values("traceparent")[0].decode()[36:52] for received in backend.requests]
    assert [number(parent) for parent in parents] == [first.span_id, second.span_id]
    assert (first.is_error, first.attributes["error.type"]) == (True, "StaleConnection")
    assert "http.request.resend_count" not in first.attributes
    assert (second.is_error, second.attributes["http.request.resend_count"]) == (False, 1)
    assert first.end_ns <= wait.end_ns <= second.start_ns
    assert not server.is_error


async def test_a_second_connection_that_cannot_be_had_is_no_second_span(
    traced: DataPlane, backend: RecordingBackend, kept: Kept
) -> None:
    await traced.ask(request(token=alice()))
    await kept.trace(3)

    async def close_for_good(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        assert backend.server is not None
        backend.server.close()
        return False

    backend.answer = close_for_good
    assert (await traced.ask(request("/", SAMPLED, token=alice()))).status == 502
    server, wait, client = await kept.trace(3, TRACE)
    assert (wait.is_error, client.attributes["error.type"], server.is_error) == (True, "StaleConnection", True)


async def test_our_own_endpoints_are_nobody_else(start: Start, backend: RecordingBackend, kept: Kept) -> None:
    gateway = await start(backend.port, parts={"spans": kept.queue}, **ALL)
    assert (await gateway.ask(request("/.well-known/jwks.json", SAMPLED))).status in (200, 503)
    await until(lambda: kept.spans)
    assert {span.kind for span in kept.spans} == {SpanKind.SERVER, SpanKind.INTERNAL}
    assert kept.spans[0].name == "GET gateway"
    kept.spans.clear()


# What is live longer than its decision.


def revoke(gateway: DataPlane, session: str) -> None:
    view = gateway.plane.known.replica
    key = Revocation(Kind.SESSION, session, "https://idp.example").key
    entry = Entry(view.revision + 1, "a", "b", Kind.SESSION, key, int(time.time()), PERMANENT, "revocation")
    view.apply(entry)
    on_entry(entry, gateway.plane)


@pytest.fixture
async def endless() -> AsyncIterator[int]:
    """An application whose answers begin and never end."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.gather(reader.read(), return_exceptions=True)

    async with serving(stream) as port:
        yield port


async def streaming(gateway: DataPlane) -> RawClient:
    client = await gateway.connect()
    await client.send(request("/", SAMPLED, token=alice(sid="s-1")))
    await client.reader.readuntil(b"hello\r\n")
    return client


async def test_a_stream_that_a_revocation_cuts_says_so(start: Start, endless: int, kept: Kept) -> None:
    gateway = await start(endless, parts={"spans": kept.queue}, **ALL)
    client = await streaming(gateway)
    assert kept.spans == []
    revoke(gateway, "s-1")
    assert await client.read_to_end() == b""
    server, _, upstream = await kept.trace(3, TRACE)
    assert (server.attributes["gateway.cut_by"], server.attributes["error.type"]) == ("session", "cut")
    assert (upstream.attributes["error.type"], upstream.attributes["http.response.status_code"]) == ("cut", 200)
    assert upstream.is_error


async def test_a_client_that_leaves_ends_its_trace(start: Start, endless: int, kept: Kept) -> None:
    gateway = await start(endless, parts={"spans": kept.queue}, **ALL)
    (await streaming(gateway)).close()
    server, _, upstream = await kept.trace(3, TRACE)
    assert (server.is_error, upstream.is_error) == (False, False)


async def test_a_websocket_is_one_exchange_from_handshake_to_end(start: Start, kept: Kept) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        gateway = await start(next(iter(server.sockets)).getsockname()[1], parts={"spans": kept.queue}, **ALL)
        headers = {"Authorization": f"Bearer {alice(sid='s-1')}"}
        async with connect(f"ws://127.0.0.1:{gateway.port}/", additional_headers=headers) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            assert kept.spans == []
            revoke(gateway, "s-1")
        span, _, upstream = await kept.trace(3)
    assert (span.attributes["http.response.status_code"], span.attributes["gateway.cut_by"]) == (101, "session")
    assert upstream.attributes["http.response.status_code"] == 101
