"""What is told of an exchange when it is over: one line, one count, and a word to the operator where it matters."""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from backends import Received, RecordingBackend, raw
from data_plane import DataPlane, Start, configuration, data_plane
from exchanging import alice, request, until

from gateway.enforce.issuer import Issuer
from gateway.revocation.entry import PERMANENT, Entry, Kind, Revocation
from gateway.telemetry.metrics import CODES, DECISIONS, METHODS, REASONS, USE_AGES, USE_KINDS

IDP = "https://idp.example"


class Observed:
    """A data plane whose access log can be read."""

    def __init__(self, gateway: DataPlane, log_fd: int) -> None:
        self.gateway = gateway
        self._log_fd = log_fd
        self._raw = b""

    async def lines(self, count: int) -> list[dict[str, Any]]:
        """The access log once it has so many lines."""

        def has_enough() -> bool:
            with contextlib.suppress(BlockingIOError):
                self._raw += os.read(self._log_fd, 1 << 20)
            return self._raw.count(b"\n") >= count

        await until(has_enough)
        return [json.loads(line) for line in self._raw.splitlines()]

    def counted(self, route: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """What was counted on a route: methods with codes, decisions with reasons."""
        layout, cells = self.gateway.layout.routes[route], self.gateway.cells
        requests = [
            (method, code)
            for row, method in enumerate(METHODS)
            for column, code in enumerate(CODES)
            for _ in range(int(cells[layout.requests + row * len(CODES) + column]))
        ]
        decisions = [
            (decision, reason)
            for row, decision in enumerate(DECISIONS)
            for column, reason in enumerate(REASONS)
            for _ in range(int(cells[layout.decisions + row * len(REASONS) + column]))
        ]
        return requests, decisions

    def revoked_uses(self) -> dict[tuple[str, str], int]:
        cells, at = self.gateway.cells, self.gateway.layout.revoked_use
        counts = {
            (kind, age): int(cells[at + row * len(USE_AGES) + column])
            for row, kind in enumerate(USE_KINDS)
            for column, age in enumerate(USE_AGES)
        }
        return {use: count for use, count in counts.items() if count}


@pytest.fixture
async def observed(tmp_path: Path, backend: RecordingBackend) -> AsyncIterator[Observed]:
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    issuers = [
        {"issuer": IDP, "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"], "claims": {"version": "ver"}},
    ]
    path = configuration(tmp_path, f"http://127.0.0.1:{backend.port}", issuers=issuers)
    try:
        async with data_plane(path, log_fd=write_end) as gateway:
            yield Observed(gateway, read_end)
    finally:
        os.close(read_end)
        os.close(write_end)


def token(**claims: Any) -> str:
    return alice(**{"ver": 1, **claims})


def revoke(gateway: DataPlane, kind: Kind, name: str, value: int) -> None:
    view = gateway.plane.known.replica
    number = view.revision + 1
    entry = Entry(number, "a", "b", kind, Revocation(kind, name, IDP).key, value, PERMANENT, "revocation")
    assert view.apply(entry)


async def test_each_exchange_is_one_line_and_one_count(observed: Observed, backend: RecordingBackend) -> None:
    gateway = observed.gateway
    await gateway.ask(request("/orders?card=4111", "X-Request-Id: r-1", token=token()))
    await gateway.ask(request("/orders", method="DELETE"))
    await gateway.ask(request("/auth/x"))
    await gateway.ask(request("/a b"))
    allowed, refused, lost, broken = await observed.lines(4)
    assert (allowed["route"], allowed["method"], allowed["code"], allowed["user"]) == ("app", "GET", 200, "alice")
    assert (allowed["session"], allowed["request_id"]) == ("session-1", "r-1")
    assert (refused["route"], refused["code"], refused["reason"]) == ("app", 401, "no-token")
    assert (lost["code"], lost["reason"]) == (404, "no-route")
    assert (broken["code"], broken["reason"]) == (400, "bad-request")
    assert observed.counted("app") == ([("GET", "200"), ("DELETE", "401")], [("allow", "none"), ("deny", "no-token")])
    requests, decisions = observed.counted("none")
    assert requests == [("GET", "404"), ("other", "400")]
    assert sorted(decisions) == [("deny", "bad-request"), ("deny", "no-route")]


async def test_a_line_names_the_trace_that_the_backend_saw(observed: Observed, backend: RecordingBackend) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await observed.gateway.ask(request("/", f"traceparent: {parent}", token=token()))
    await observed.gateway.ask(
        request("/", "X-Request-Id: r-1", f"traceparent: {parent}", f"traceparent: {parent}", token=token())
    )
    await observed.gateway.ask(request("/", f"traceparent: {parent}"))
    await observed.gateway.ask(request("/a b", f"traceparent: {parent}"))
    continued, replaced, refused, broken = await observed.lines(4)
    (first,), (second,) = (received.values("traceparent") for received in backend.requests)
    assert first == parent.encode()
    assert second[3:35].decode() == replaced["trace_id"] != continued["trace_id"]
    assert continued["trace_id"] == refused["trace_id"] == parent[3:35]
    assert broken["trace_id"] == broken["request_id"]


async def test_neither_token_nor_query_is_ever_in_a_line(observed: Observed, backend: RecordingBackend) -> None:
    secret = token()
    for path in ("/x?card=4111", "/public/?card=4111", "/auth/?card=4111"):
        await observed.gateway.ask(request(path, token=secret))
    await observed.gateway.ask(request("/", token=secret[:-8] + "AAAAAAAA"))
    text = json.dumps(await observed.lines(4))
    assert "4111" not in text
    for part in secret.split("."):
        assert part[:40] not in text


async def test_a_client_that_left_is_counted_as_such(observed: Observed, backend: RecordingBackend) -> None:
    async def never(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        return False

    backend.answer = never
    client = await observed.gateway.connect()
    await client.send(request(token=token()))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    client.close()
    (line,) = await observed.lines(1)
    assert (line["code"], line["user"]) == (499, "alice")
    assert observed.counted("app")[0] == [("GET", "499")]


async def test_an_upstream_that_fails_is_counted_by_its_reason(observed: Observed, backend: RecordingBackend) -> None:
    backend.answer = raw(b"nonsense\r\n\r\n")
    assert (await observed.gateway.ask(request(token=token()))).status == 502
    (line,) = await observed.lines(1)
    assert (line["code"], line["reason"]) == (502, "upstream-unreachable")


async def test_connections_are_counted_while_they_are_open(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port)
    clients, upstreams = (gateway.layout.connections[side] for side in ("client", "upstream"))
    client = await gateway.connect()
    await client.ask(request(token=alice()))
    assert (gateway.cells[clients], gateway.cells[upstreams]) == (1, 1)
    client.close()
    await until(lambda: gateway.cells[clients] == 0)
    backend.close_connections()
    await until(lambda: gateway.cells[upstreams] == 0)


@pytest.mark.parametrize(
    ("kind", "name", "counted"),
    [
        (Kind.TOKEN, "one", "token"),
        (Kind.SESSION, "session-1", "session"),
        (Kind.USER, "alice", "version"),
        (Kind.KEY, "key-1", "key"),
    ],
)
@pytest.mark.parametrize(("ago_s", "age"), [(0, "tail"), (60, "replay")])
async def test_use_of_what_was_revoked_is_counted_by_its_kind_and_its_age(
    observed: Observed, kind: Kind, name: str, counted: str, ago_s: int, age: str
) -> None:
    revoke(observed.gateway, kind, name, int(time.time()) - ago_s)
    issued_before = {"iat": int(time.time()) - 100}
    reply = await observed.gateway.ask(request(token=token(jti="one", **issued_before)))
    assert reply.status == 401
    assert observed.revoked_uses() == {(counted, age): 1}


async def test_use_of_an_old_version_is_told_with_both_versions(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    revoke(observed.gateway, Kind.VERSION, "alice", 2)
    with caplog.at_level(logging.WARNING):
        reply = await observed.gateway.ask(request(token=token(ver=1)))
    assert reply.reason == "old-version"
    assert any("Token revoked rejected sub=alice tokenVersion=1 (expected 2)" in line for line in caplog.messages)
    assert observed.revoked_uses() == {("version", "replay"): 1}


async def test_a_forged_token_is_told_to_the_operator_and_a_missing_one_is_not(
    observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    good = token()
    with caplog.at_level(logging.WARNING):
        await observed.gateway.ask(request())
        assert not caplog.messages
        await observed.gateway.ask(request(token=good[:-8] + "AAAAAAAA"))
        await observed.gateway.ask(request(token=token(header={"kid": "stranger\n"})))
    assert ["Token signature mismatch" in line for line in caplog.messages] == [True] * 2
    assert all("\n" not in line for line in caplog.messages)
    assert "reason=unknown-key" in caplog.messages[1]
    assert not any(part[:40] in line for part in good.split(".") for line in caplog.messages)


async def test_a_refusal_is_handed_to_whoever_fetches_keys_or_renews_denials(observed: Observed) -> None:
    told = []
    observed.gateway.plane.refused = lambda verdict, record: told.append(verdict)
    await observed.gateway.ask(request(token=token(header={"kid": "stranger"})))
    await observed.gateway.ask(request(token=token()))
    assert [(verdict.reason.value, verdict.issuer) for verdict in told] == [("unknown-key", IDP)]
    assert isinstance(observed.gateway.plane.known.issuers[IDP], Issuer)


async def test_the_time_of_a_stream_is_the_applications_and_not_the_gateways_own(
    observed: Observed, backend: RecordingBackend
) -> None:
    go_on = asyncio.Event()

    async def stream(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await go_on.wait()
        writer.write(b"-last")
        await writer.drain()
        return True

    backend.answer = stream
    client = await observed.gateway.connect()
    await client.send(request(token=token()))
    await client.reader.readuntil(b"first")
    held_from = time.monotonic()
    await asyncio.sleep(0.05)
    held_s = time.monotonic() - held_from
    go_on.set()
    await client.reader.readexactly(5)
    (line,) = await observed.lines(1)
    assert line["upstream_ms"] >= held_s * 1000
    client.close()
