"""The request, end to end on real sockets: what the client gets and what the application saw."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from backends import RecordingBackend, plain
from data_plane import DataPlane, configuration, data_plane, provider


@pytest.fixture
async def backend() -> AsyncIterator[RecordingBackend]:
    async with RecordingBackend() as running:
        yield running


@pytest.fixture
async def gateway(tmp_path: Path, backend: RecordingBackend) -> AsyncIterator[DataPlane]:
    async with data_plane(configuration(tmp_path, f"http://127.0.0.1:{backend.port}")) as running:
        yield running


def get(path: str = "/", *lines: str, token: str | None = None, method: str = "GET") -> bytes:
    authorization = [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: shop.example", *authorization, *lines, "", ""]).encode()


async def test_a_good_token_reaches_the_application_as_X_User(gateway: DataPlane, backend: RecordingBackend) -> None:
    reply = await gateway.ask(get("/orders?page=2", token=provider().token(sub="alice", groups=["staff", "a,b"], sid="s-1")))
    assert reply.status == 200
    assert reply.body == b'{"ok":true}'
    (request,) = backend.requests
    assert request.line == b"GET /orders?page=2 HTTP/1.1"
    assert request.values("x-user") == [b"alice"]
    assert request.values("x-user-groups") == [b"staff,a%2Cb"]
    assert request.values("x-session-id") == [b"s-1"]
    assert request.values("authorization") == []
    assert request.values("host") == [b"shop.example"]
    assert request.values("x-forwarded-for") == [b"127.0.0.1"]
    assert request.values("via") == [b"1.1 gateway"]


async def test_no_token_is_refused_and_the_application_sees_nothing(gateway: DataPlane, backend: RecordingBackend) -> None:
    reply = await gateway.ask(get())
    assert (reply.status, reply.reason) == (401, "no-token")
    assert reply.value("WWW-Authenticate") == 'Bearer realm="gateway"'
    assert backend.connections == 0


async def test_spoofed_identity_never_arrives(gateway: DataPlane, backend: RecordingBackend) -> None:
    spoofs = [
        "X-User: root",
        "x-user: root",
        "X_User: root",
        "X.User: root",
        "X__User: root",
        "X-User_: root",
        "Remote-User: root",
    ]
    await gateway.ask(get("/", *spoofs, "Connection: X-User", token=provider().token(sub="alice")))
    await gateway.ask(get("/public/", *spoofs))
    first, second = backend.requests
    assert first.folded("x-user") == [b"alice"]
    assert b"root" not in first.raw_head
    assert b"root" not in second.raw_head


async def test_pipelined_requests_are_answered_in_order(gateway: DataPlane, backend: RecordingBackend) -> None:
    token = provider().token(sub="alice")
    client = await gateway.connect()
    await client.send(b"".join(get(f"/{number}", token=token) for number in range(20)) + get("/nobody"))
    replies = [await client.read_reply() for _ in range(21)]
    assert [reply.status for reply in replies] == [200] * 20 + [401]
    assert [request.target for request in backend.requests] == [b"/%d" % number for number in range(20)]
    client.close()


async def test_bodies_go_up_as_they_are_framed(gateway: DataPlane, backend: RecordingBackend) -> None:
    token = provider().token(sub="alice")
    client = await gateway.connect()
    reply = await client.ask(get("/a", "Content-Length: 5", token=token, method="POST") + b"hello")
    assert reply.status == 200
    chunks = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-User: root\r\n\r\n"
    reply = await client.ask(get("/b", "Transfer-Encoding: chunked", token=token, method="POST") + chunks)
    assert reply.status == 200
    assert [request.body for request in backend.requests] == [b"hello", b"abcde"]
    assert backend.connections == 1
    client.close()


async def test_expect_100_is_answered_only_after_the_decision(gateway: DataPlane, backend: RecordingBackend) -> None:
    client = await gateway.connect()
    await client.send(get("/a", "Content-Length: 5", "Expect: 100-continue", token=provider().token(sub="a"), method="POST"))
    assert (await client.read_head())[0] == 100
    reply = await client.ask(b"hello")
    assert reply.status == 200
    reply = await gateway.ask(get("/a", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    assert reply.status == 401
    assert len(backend.requests) == 1
    client.close()


async def test_head_and_bodiless_answers_keep_the_connection(gateway: DataPlane, backend: RecordingBackend) -> None:
    token = provider().token(sub="alice")
    client = await gateway.connect()
    assert (await client.ask(get(token=token, method="HEAD"))).status == 200
    backend.answer = plain("304 Not Modified", b"")
    assert (await client.ask(get(token=token))).status == 304
    backend.answer = plain()
    assert (await client.ask(get(token=token))).body == b'{"ok":true}'
    client.close()


async def test_a_stale_pooled_connection_is_replaced_once_for_a_get_and_never_for_a_post(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    token = provider().token(sub="alice")
    assert (await gateway.ask(get("/1", token=token))).status == 200

    async def close_without_answer(request: object, reader: object, writer: asyncio.StreamWriter) -> bool:
        backend.answer = plain()
        return False

    backend.answer = close_without_answer
    assert (await gateway.ask(get("/2", token=token))).status == 200
    backend.answer = close_without_answer
    reply = await gateway.ask(get("/3", "Content-Length: 1", token=token, method="POST") + b"x")
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    assert [request.target for request in backend.requests] == [b"/1", b"/2", b"/2", b"/3"]


async def test_a_client_that_leaves_ends_the_upstream_exchange(gateway: DataPlane, backend: RecordingBackend) -> None:
    async def never(request: object, reader: asyncio.StreamReader, writer: object) -> bool:
        await reader.read()
        return False

    backend.answer = never
    client = await gateway.connect()
    await client.send(get(token=provider().token(sub="alice")))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    client.close()
    await backend.wait_for(lambda: backend.open_connections == 0)


async def test_an_answer_that_breaks_off_never_looks_complete(gateway: DataPlane, backend: RecordingBackend) -> None:
    token = provider().token(sub="alice")

    async def half(request: object, reader: object, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        await writer.drain()
        return False

    backend.answer = half
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await gateway.ask(get(token=token))


async def test_C2_answers_to_a_token_are_private_and_service_workers_are_not_installed(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.answer = plain("200 OK", b"{}", "Cache-Control: public, max-age=60", "Service-Worker-Allowed: /")
    reply = await gateway.ask(get("/a.css", token=provider().token(sub="alice")))
    assert reply.values("Cache-Control") == ["private, max-age=60"]
    assert reply.values("Service-Worker-Allowed") == []
    assert (await gateway.ask(get("/public/a.css"))).values("Cache-Control") == ["public, max-age=60"]
    refused = await gateway.ask(get("/public/worker.js", "Service-Worker: script"))
    assert (refused.status, refused.reason) == (403, "forbidden")
    assert len(backend.requests) == 2
