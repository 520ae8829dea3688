"""What the application is told about the user and the way here, on every kind of route."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from backends import RecordingBackend
from data_plane import ROUTES, DataPlane, Start
from exchanging import alice, request
from following import MAX_STALENESS_S, following
from issuing import OMITTED

from gateway.clock import Clock
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store, command, connect

SPOOFS = ["X-User: root", "X_User: root", "x.user: root", "Remote-User: root", "X-Forwarded-User: root", "X-WEBAUTH-USER: root"]


async def test_H10_a_public_route_passes_what_was_not_judged_and_strips_who_it_says_it_is(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    for authorization in ("Basic dXNlcjpwYXNz", "Bearer not-even-a-token"):
        reply = await gateway.ask(request("/public/x", f"Authorization: {authorization}", *SPOOFS, "Cookie: a=b"))
        assert reply.status == 200
        received = backend.requests[-1]
        assert received.values("authorization") == [authorization.encode()]
        assert received.values("cookie") == [b"a=b"]
        assert b"root" not in received.raw_head
        assert received.folded("x-user") == []


async def test_an_optional_route_knows_who_shows_a_token_and_lets_the_others_be_nobody(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    assert (await gateway.ask(request("/optional/", *SPOOFS))).status == 200
    assert (await gateway.ask(request("/optional/", *SPOOFS, token=alice()))).status == 200
    assert (await gateway.ask(request("/optional/", "Authorization: Basic dXNlcjpwYXNz"))).status == 200
    assert (await gateway.ask(request("/optional/", "Authorization: Bearer x"))).status == 401
    nobody, somebody, basic = backend.requests
    assert [received.folded("x-user") for received in backend.requests] == [[], [b"alice"], []]
    assert somebody.values("authorization") == []
    assert basic.values("authorization") == [b"Basic dXNlcjpwYXNz"]
    assert b"root" not in nobody.raw_head + somebody.raw_head


def routed(**settings: object) -> dict[str, object]:
    return {"name": "app", "path": "/", "access": "required", "upstream": "app"} | settings


@pytest.mark.parametrize(
    ("settings", "authorization", "access_token"),
    [
        ({}, False, False),
        ({"forward_authorization": True}, True, False),
        ({"forward_token": "authorization"}, True, False),
        ({"forward_token": "x-access-token"}, False, True),
    ],
)
async def test_H21_the_token_reaches_the_application_only_where_the_route_says_so(
    start: Start, backend: RecordingBackend, settings: dict[str, object], authorization: bool, access_token: bool
) -> None:
    gateway = await start(backend.port, routes=[routed(**settings)])
    token = alice()
    spoof = "X-Access-Token: spoofed"
    assert (await gateway.ask(request("/", spoof, token=token))).status == 200
    (received,) = backend.requests
    assert received.values("authorization") == ([f"Bearer {token}".encode()] if authorization else [])
    assert received.values("x-access-token") == ([token.encode()] if access_token else [])
    assert received.values("x-user") == [b"alice"]


async def test_a_preset_names_the_user_in_its_own_words_and_every_other_is_stripped(
    start: Start, backend: RecordingBackend
) -> None:
    gateway = await start(backend.port, identity={"preset": "remote-user"})
    assert (await gateway.ask(request("/", *SPOOFS, token=alice(groups=["staff"], name="Álice")))).status == 200
    (received,) = backend.requests
    assert received.values("remote-user") == [b"alice"]
    assert received.values("remote-groups") == [b"staff"]
    assert received.values("remote-name") == [b"%C3%81lice"]
    assert received.folded("x-user") == []
    assert b"root" not in received.raw_head


async def test_H05_Connection_cannot_take_the_identity_away(gateway: DataPlane, backend: RecordingBackend) -> None:
    names = "x-user, X-User-Groups, x-session-id, x-forwarded-for, via, traceparent"
    reply = await gateway.ask(request("/", f"Connection: {names}", "connection: close, X-User", token=alice()))
    assert reply.status == 200
    (received,) = backend.requests
    for name, values in [
        ("x-user", [b"alice"]),
        ("x-user-groups", [b"staff"]),
        ("x-session-id", [b"session-1"]),
        ("x-forwarded-for", [b"127.0.0.1"]),
        ("via", [b"1.1 gateway"]),
    ]:
        assert received.values(name) == values
    assert received.values("connection") == []


CLAIMS = [
    "X-Forwarded-For: 6.6.6.6, 203.0.113.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: public.example",
    "Forwarded: for=6.6.6.6",
    "X-Real-IP: 6.6.6.6",
]


async def test_H13_H15_nobody_is_believed_about_the_way_here_by_default(gateway: DataPlane, backend: RecordingBackend) -> None:
    await gateway.ask(request("/", *CLAIMS, token=alice()))
    (received,) = backend.requests
    assert received.values("x-forwarded-for") == [b"127.0.0.1"]
    assert received.values("x-forwarded-proto") == [b"http"]
    assert received.values("x-forwarded-host") == [b"shop.example"]
    assert b"6.6.6.6" not in received.raw_head


async def test_a_trusted_proxy_is_believed_about_the_way_here(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, trusted_proxies=["127.0.0.0/8"])
    client, token = await gateway.connect(), alice()
    for path in ("/first", "/second"):  # the same fields again: what is read of them twice must say the same
        assert (await client.ask(request(path, *CLAIMS, token=token))).status == 200
        received = backend.requests[-1]
        assert received.values("x-forwarded-for") == [b"203.0.113.9, 127.0.0.1"], "what stands left of the client is invented"
        assert received.values("x-forwarded-proto") == [b"https"]
        assert received.values("x-forwarded-host") == [b"public.example"]
        assert received.values("forwarded") == received.values("x-real-ip") == []


async def test_the_request_id_is_the_same_for_the_client_of_a_refusal_and_for_the_application(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    await gateway.ask(request("/", "X-Request-Id: mine-1", token=alice()))
    assert backend.requests[0].values("x-request-id") == [b"mine-1"]
    assert (await gateway.ask(request("/", "X-Request-Id: mine-2"))).value("X-Request-Id") == "mine-2"
    assert (await gateway.ask(request("/", "X-Request-Id: <script>"))).value("X-Request-Id") != "<script>"


async def test_nothing_of_a_refused_request_is_repeated_in_its_answer(gateway: DataPlane) -> None:
    needle = "needle"
    for path in ("/needle", "/needle/../x", "/auth/needle"):
        for accept in ("text/html", "application/json"):
            lines = [
                f"X-{needle}: {needle}",
                f"Accept: {accept}, {needle}",
                f"Authorization: Bearer {needle}",
                f"Cookie: {needle}",
            ]
            client = await gateway.connect()
            await client.send(
                request(f"{path}?{needle}", *lines, "Connection: close").replace(b"shop.example", b"needle.example")
            )
            answer = await client.read_to_end()
            assert answer.startswith(b"HTTP/1.1 40")
            assert needle.encode() not in answer


@pytest.fixture
async def with_store(store_url: str) -> AsyncIterator[dict[str, Any]]:
    """A store, and a replica of its log."""
    client = connect(store_url)
    await RevocationLog(client, Clock(), MAX_STALENESS_S).declare()
    await client.aclose()
    async with following(store_url) as worker:
        await worker.until_live()
        yield {"store_url": store_url, "view": worker.view}


async def test_T5_a_one_time_token_serves_once(start: Start, backend: RecordingBackend, with_store: dict[str, Any]) -> None:
    gateway = await start(backend.port, parts=with_store)
    token = alice()
    client = await gateway.connect()
    replies = [await client.ask(request("/pay", token=token, method="POST", body=b"x")) for _ in range(3)]
    assert [(reply.status, reply.reason) for reply in replies] == [(200, None), (401, "replayed-token"), (401, "replayed-token")]
    assert len(backend.requests) == 1
    assert (await client.ask(request("/other", token=token))).status == 200, "elsewhere it is an ordinary token"


async def test_T5_of_many_at_once_one_passes(start: Start, backend: RecordingBackend, with_store: dict[str, Any]) -> None:
    gateway = await start(backend.port, parts=with_store)
    token = alice()
    replies = await asyncio.gather(*(gateway.ask(request("/pay", token=token, method="POST", body=b"x")) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [200] + [401] * 7
    assert len(backend.requests) == 1


async def test_T5_without_the_store_a_one_time_route_is_unavailable_and_nothing_is_forwarded(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    reply = await gateway.ask(request("/pay", token=alice(), method="POST", body=b"x"))
    assert (reply.status, reply.reason, reply.value("Retry-After")) == (503, "store-unavailable", "2")
    assert backend.requests == []


async def test_T5_a_refused_token_is_not_used_up(start: Start, backend: RecordingBackend, store: Store, store_url: str) -> None:
    gateway = await start(backend.port, parts={"store_url": store_url})
    assert (await gateway.ask(request("/pay", token=alice(jti=OMITTED), method="POST", body=b"x"))).reason == "malformed-token"
    assert (await gateway.ask(request("/pay", token=alice(aud="other"), method="POST", body=b"x"))).reason == "wrong-audience"
    assert await command(store, "DBSIZE") == 0
    assert backend.requests == []


async def test_the_gateways_own_paths_are_no_applications(gateway: DataPlane, backend: RecordingBackend) -> None:
    for path in ("/auth", "/auth/login", "/auth/jwks.json"):
        reply = await gateway.ask(request(path, token=alice()))
        assert (reply.status, reply.reason) == (404, "no-route")  # accounts are off here
    published = await gateway.ask(request("/.well-known/jwks.json", token=alice()))
    assert (published.status, published.body) == (200, b'{"keys": []}')
    assert backend.connections == 0


async def test_a_refusal_is_a_page_for_people_and_a_problem_for_programs(gateway: DataPlane) -> None:
    page = await gateway.ask(request("/", "Sec-Fetch-Mode: navigate"))
    problem = await gateway.ask(request("/"))
    assert (page.value("Content-Type"), problem.value("Content-Type")) == ("text/html; charset=utf-8", "application/problem+json")
    assert page.reason == problem.reason == "no-token"


async def test_groups_are_asked_for_where_the_route_names_them(gateway: DataPlane) -> None:
    assert ROUTES[2]["groups"] == ["staff"]
    assert (await gateway.ask(request("/admin/", token=alice(groups=["staff"])))).status == 200
    reply = await gateway.ask(request("/admin/", token=alice(groups=["guests"])))
    assert (reply.status, reply.reason) == (403, "forbidden")
