"""Identity headers, hop-by-hop fields and claims about the way here (H): what the application sees is the gateway's word only."""

import itertools

import pytest
from attack_families import get
from backends import Received, RecordingBackend, plain
from data_plane import DataPlane, Start, provider

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVIL = "evil-value"

IDENTITY_NAMES = [
    "X-User",
    "X-User-Groups",
    "X-Session-Id",
    "Remote-User",
    "Remote-Groups",
    "Remote-Name",
    "Remote-Email",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token",
    "X-WEBAUTH-USER",
    "X-WEBAUTH-EMAIL",
    "X-WEBAUTH-FULLNAME",
    "X-WEBAUTH-ROLE",
    "X-WEBAUTH-GROUPS",
]
TRUSTED_ELSEWHERE = [
    "X-User-Id",
    "X-User-Email",
    "X-User-Name",
    "X-User-Roles",
    "X-Username",
    "X-Roles",
    "X-Role",
    "X-Groups",
    "X-Email",
    "X-Auth-User",
    "X-Auth-Anything",
    "X-Remote-User",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-Authenticated-Anything",
    "Remote-Anything",
    "X-Session",
    "X-Access-Token",
    "X-Gateway-Reason",
]
WAY_HERE = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Server",
    "X-Forwarded-Anything",
    "Forwarded",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "Fastly-Client-IP",
]
OVERRIDES = [
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-URI",
    "X-Envoy-Original-Path",
    "X-Original-Method",
]
ALL_NAMES = [*IDENTITY_NAMES, *TRUSTED_ELSEWHERE, *WAY_HERE, *OVERRIDES]


def token(**claims: object) -> str:
    return provider().token(**{"sub": "alice", "groups": ["staff"], "sid": "s-1", **claims})


def request(*lines: str, target: str = "/x", method: str = "GET", bearer: str | None = None) -> bytes:
    fields = [line.encode("latin-1") for line in lines]
    if bearer is not None:
        fields.append(b"Authorization: Bearer " + bearer.encode())
    return get(*fields, target=target.encode(), method=method.encode())


async def seen(gateway: DataPlane, backend: RecordingBackend, raw: bytes) -> Received:
    """What the application sees of a request that is let through."""
    backend.requests.clear()
    reply = await gateway.ask(raw)
    assert reply.status == 200, (raw, reply, reply.body)
    (received,) = backend.requests
    return received


def spellings(name: str) -> list[str]:
    """Names that CGI, WSGI, PHP or a servlet container may fold into `name`, and that a client can send."""
    marks = ["_", ".", "~", "!", "#", "$", "%", "&", "'", "*", "+", "^", "`", "|", "--", "__", "-_", "_-", "-."]
    forms = [name, name.lower(), name.upper(), name.swapcase(), name + "_", "_" + name, name + "-", name + ".", "-" + name]
    forms += [name.replace("-", mark) for mark in marks]
    forms += [name.replace("-", "_", 1), name[::-1].replace("-", "_", 1)[::-1]]
    return list(dict.fromkeys(forms))


@pytest.mark.parametrize("name", ALL_NAMES)
async def test_H01_H02_H03_H12_H16_H18_H19_H20_no_spelling_of_a_trusted_name_arrives(
    name: str, gateway: DataPlane, backend: RecordingBackend
) -> None:
    wrong = []
    for form in spellings(name):
        received = await seen(gateway, backend, request(f"{form}: {EVIL}", bearer=token()))
        if EVIL.encode() in received.raw_head or received.values("x-user") != [b"alice"]:
            wrong.append(form)
    assert wrong == []


async def test_H03_names_that_are_no_tokens_are_refused(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    names = [
        "X User",
        "X\tUser",
        "X/User",
        "X\\User",
        "X(User",
        "X@User",
        "X,User",
        "X;User",
        "X=User",
        "X?User",
        'X"User',
        "X[User",
        "X{User",
    ]
    names += ["X\x80User", "X\xadUser", "X\xa0User", "X\xff", "X\x7fUser", "X\x00User", "X-User ", " X-User"]
    replies = {name: (await gateway.ask(request(f"{name}: {EVIL}", bearer=token()))).status for name in names}
    assert replies == dict.fromkeys(names, 400)
    assert backend.requests == []


@pytest.mark.parametrize("name", IDENTITY_NAMES)
async def test_H04_many_copies_are_as_good_as_none(name: str, gateway: DataPlane, backend: RecordingBackend) -> None:
    received = await seen(gateway, backend, request(*[f"{name}: {EVIL}"] * 90, bearer=token()))
    assert EVIL.encode() not in received.raw_head
    received = await seen(gateway, backend, request(f"{name}: {EVIL}, alice", f"{name.lower()}: alice,{EVIL}", bearer=token()))
    assert EVIL.encode() not in received.raw_head
    assert received.values("x-user") == [b"alice"]


CONNECTION_LISTS = [
    ["Connection: X-User"], ["connection: x-user"], ["Connection: close", "Connection: X-User"], ["Connection: close, X-User"],
    ["Connection: x-user, x-user-groups, x-session-id, x-request-id, x-forwarded-for"], ["CONNECTION: X-USER, Keep-Alive"],
    ["Connection: X_User"], ["Connection: ,,X-User,"], ["Connection:\tX-User\t"], ["Connection: keep-alive",
    "connection: X-Forwarded-For"],
    ["Proxy-Connection: X-User"], ["Keep-Alive: X-User"],
]  # fmt: skip


@pytest.mark.parametrize("lines", CONNECTION_LISTS, ids=" ".join)
async def test_H05_connection_cannot_take_away_what_the_gateway_says(
    lines: list[str], gateway: DataPlane, backend: RecordingBackend
) -> None:
    received = await seen(gateway, backend, request(*lines, f"X-User: {EVIL}", bearer=token()))
    assert received.folded("x-user") == [b"alice"]
    assert received.values("x-user-groups") == [b"staff"]
    assert received.values("x-session-id") == [b"s-1"]
    assert received.values("x-forwarded-for") == [b"127.0.0.1"]
    assert len(received.values("x-request-id")) == 1


async def test_H06_connection_cannot_take_away_end_to_end_fields_but_hop_by_hop_ones(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    lines = ["Cookie: a=b", "Origin: http://shop.example", "Referer: http://shop.example/", "X-Hop: 1", "Via: 1.1 other"]
    options = "Connection: Authorization, cookie, origin, REFERER, x-hop, via, x-forwarded-for"
    received = await seen(gateway, backend, request(*lines, options, bearer=token()))
    assert received.values("x-user") == [b"alice"]
    assert received.values("cookie") == [b"a=b"]
    assert received.values("origin") == [b"http://shop.example"]
    assert received.values("referer") == [b"http://shop.example/"]
    assert received.values("via") == [b"1.1 other, 1.1 gateway"]
    assert received.values("x-hop") == []
    reply = await gateway.ask(request("Connection: Authorization"))
    assert reply.reason == "no-token"


async def test_H07_hop_by_hop_fields_end_here(gateway: DataPlane, backend: RecordingBackend) -> None:
    lines = [
        f"{name}: {EVIL}"
        for name in ("Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Upgrade", "HTTP2-Settings")
    ]
    received = await seen(gateway, backend, request(*lines, bearer=token()))
    assert EVIL.encode() not in received.raw_head
    assert received.values("connection") == []


async def test_H08_trailers_never_become_headers(gateway: DataPlane, backend: RecordingBackend) -> None:
    body = f"3\r\nabc\r\n0\r\nX-User: {EVIL}\r\nX_User: {EVIL}\r\nAuthorization: {EVIL}\r\n\r\n".encode()
    received = await seen(gateway, backend, request("Transfer-Encoding: chunked", method="POST", bearer=token()) + body)
    assert (received.body, received.folded("x-user")) == (b"abc", [b"alice"])
    assert EVIL.encode() not in received.raw_head


IDENTITIES = {
    "José": b"Jos%C3%A9",
    "100%": b"100%",
    "%41lice": b"%2541lice",
    "=?utf-8?b?YQ==?=": b"=?utf-8?b?YQ==?=",
    "日本": b"%E6%97%A5%E6%9C%AC",
    "a b": b"a b",
    "x" * 200: b"x" * 200,
}


@pytest.mark.parametrize(("subject", "arrives"), IDENTITIES.items(), ids=[str(key)[:20] for key in IDENTITIES])
async def test_H09_identities_are_encoded(subject: str, arrives: bytes, gateway: DataPlane, backend: RecordingBackend) -> None:
    received = await seen(gateway, backend, request(bearer=token(sub=subject)))
    assert received.values("x-user") == [arrives]


async def test_H09_identities_that_could_split_a_header_are_refused(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    subjects = [
        "a\r\nX-User: root",
        "a\nb",
        "a\rb",
        "a\x00b",
        "a\x0bb",
        "a\x7fb",
        "a\x85b",
        " a",
        "a ",
        "",
        "\u2028",
        "a\u202eb",
        "x" * 10_000,
        "a,b",
    ]
    reasons = {subject: (await gateway.ask(request(bearer=token(sub=subject)))).reason for subject in subjects}
    assert reasons == dict.fromkeys(subjects, "malformed-token")
    assert backend.requests == []


@pytest.mark.parametrize("target", ["/public/x", "/optional/x"])
async def test_H10_spoofs_are_stripped_where_nobody_asks_for_a_token(
    target: str, gateway: DataPlane, backend: RecordingBackend
) -> None:
    for name in ALL_NAMES:
        for form in spellings(name)[:8]:
            received = await seen(gateway, backend, request(f"{form}: {EVIL}", target=target))
            assert EVIL.encode() not in received.raw_head, form
            assert received.folded("x-user") == []


async def test_H11_the_identity_is_on_every_leg(gateway: DataPlane, backend: RecordingBackend) -> None:
    async def close_once(received: Received, reader: object, writer: object) -> bool:
        backend.answer = plain("302 Found", b"", "Location: http://evil.example/")
        return False

    await seen(gateway, backend, request(bearer=token()))  # leaves a pooled connection, which is about to be stale
    backend.requests.clear()
    backend.answer = close_once
    reply = await gateway.ask(request(f"X-User: {EVIL}", bearer=token()))
    backend.answer = plain()
    assert (reply.status, reply.value("Location")) == (302, "http://evil.example/")
    assert [received.folded("x-user") for received in backend.requests] == [[b"alice"], [b"alice"]]
    assert len({received.connection for received in backend.requests}) == 2


async def test_H13_H15_nobody_is_trusted_by_default(gateway: DataPlane, backend: RecordingBackend) -> None:
    spoofs = [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=6.6.6.6",
    ]
    received = await seen(gateway, backend, request(*spoofs, bearer=token()))
    assert received.values("x-forwarded-for") == [b"127.0.0.1"]
    assert received.values("x-forwarded-proto") == [b"http"]
    assert received.values("x-forwarded-host") == [b"shop.example"]
    assert received.values("forwarded") == []


# What a trusted peer (127.0.0.1) says, and what the application is told: the believed part of the chain, each address canonical.
CHAINS = {
    ("203.0.113.9",): "203.0.113.9, 127.0.0.1",
    ("6.6.6.6, 203.0.113.9",): "203.0.113.9, 127.0.0.1",
    ("6.6.6.6, 203.0.113.9, 10.0.0.2",): "203.0.113.9, 10.0.0.2, 127.0.0.1",
    ("6.6.6.6", "203.0.113.9, 10.0.0.2"): "203.0.113.9, 10.0.0.2, 127.0.0.1",
    ("10.0.0.3, 10.0.0.2",): "10.0.0.3, 10.0.0.2, 127.0.0.1",
    ("",): "127.0.0.1",
    ("unknown",): "127.0.0.1",
    ("_hidden, 10.0.0.2",): "10.0.0.2, 127.0.0.1",
    ("203.0.113.9,, 10.0.0.2",): "10.0.0.2, 127.0.0.1",
    ("203.0.113.9:4711",): "203.0.113.9, 127.0.0.1",
    ("[2001:db8::9]:4711",): "2001:db8::9, 127.0.0.1",
    ("2001:DB8:0:0:0:0:0:9",): "2001:db8::9, 127.0.0.1",
    ("::ffff:203.0.113.9",): "203.0.113.9, 127.0.0.1",
    ("6.6.6.6, ::ffff:10.0.0.2",): "6.6.6.6, 10.0.0.2, 127.0.0.1",
    ("203.0.113.009",): "127.0.0.1",
    ("fe80::1%eth0",): "fe80::1, 127.0.0.1",
    ("127.0.0.1, 203.0.113.9",): "203.0.113.9, 127.0.0.1",
    ("evil.example",): "127.0.0.1",
    (", ".join(["6.6.6.6"] * 500),): "6.6.6.6, 127.0.0.1",
}


async def test_H14_H17_the_chain_is_walked_from_the_right(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"])
    got = {}
    for lines in CHAINS:
        received = await seen(gateway, backend, request(*[f"X-Forwarded-For: {line}" for line in lines], bearer=token()))
        (chain,) = received.values("x-forwarded-for")
        got[lines] = chain.decode()
    assert got == CHAINS


async def test_H18_a_trusted_proxy_is_believed_as_far_as_it_makes_sense(start: Start, backend: RecordingBackend) -> None:
    gateway = await start(backend.port, trusted_proxies=["127.0.0.1"])
    received = await seen(gateway, backend, request("X-Forwarded-Proto: https", "X-Forwarded-Host: www.example", bearer=token()))
    assert (received.values("x-forwarded-proto"), received.values("x-forwarded-host")) == ([b"https"], [b"www.example"])
    for proto, host in (
        ("javascript", "evil.example/x"),
        ("https,http", "a.example, b.example"),
        ("", "a b"),
        ("HTTPS ", "user@evil.example"),
    ):
        received = await seen(
            gateway, backend, request(f"X-Forwarded-Proto: {proto}", f"X-Forwarded-Host: {host}", bearer=token())
        )
        assert (received.values("x-forwarded-proto"), received.values("x-forwarded-host")) == ([b"http"], [b"shop.example"])
    aliases = [
        "X_Forwarded_Proto: https",
        "X_Forwarded_For: 6.6.6.6",
        "X.Forwarded.Host: evil.example",
        "X-Forwarded-Port: 1",
        "Forwarded: for=6.6.6.6",
    ]
    received = await seen(gateway, backend, request(*aliases, bearer=token()))
    assert received.values("x-forwarded-for") == [b"127.0.0.1"]
    assert b"6.6.6.6" not in received.raw_head
    assert b"evil" not in received.raw_head


async def test_H19_the_real_method_decides(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        received = await seen(
            gateway, backend, request(f"{name}: DELETE", "_method: DELETE", target="/public/?_method=DELETE", method="GET")
        )
        assert received.method == b"GET"
        assert received.values(name) == []


async def test_H21_the_judged_token_does_not_reach_the_application(gateway: DataPlane, backend: RecordingBackend) -> None:
    mine = token()
    received = await seen(gateway, backend, request(bearer=mine))
    assert mine.encode() not in received.raw_head
    assert received.values("authorization") == []
    received = await seen(gateway, backend, request("Authorization: Basic dXNlcjpwYXNz", target="/public/x"))
    assert received.values("authorization") == [b"Basic dXNlcjpwYXNz"]


async def test_H22_other_cookies_are_kept_byte_for_byte(gateway: DataPlane, backend: RecordingBackend) -> None:
    for cookie in ("a=b", "a=b; c=d;e=f ; g", 'q="x y"; z=\xe9\xff', "=; ;;", "a=b; a=c"):
        received = await seen(gateway, backend, request(f"Cookie: {cookie}", bearer=token()))
        assert received.values("cookie") == [cookie.encode("latin-1")]


async def test_H23_no_user_agent_is_let_through(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    for agent in ("kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Prometheus/2.53", "curl/8", ""):
        assert (await gateway.ask(request(f"User-Agent: {agent}"))).reason == "no-token"
    assert backend.requests == []


async def test_what_the_gateway_says_about_a_request_is_said_once(gateway: DataPlane, backend: RecordingBackend) -> None:
    lines = ["X-Request-Id: client-1", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Via: 1.0 a"]
    received = await seen(gateway, backend, request(*lines, bearer=token()))
    assert received.values("x-request-id") == [b"client-1"]
    assert received.values("traceparent") == [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
    for name in (
        "host",
        "x-user",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "via",
        "x-request-id",
        "traceparent",
    ):
        assert len(received.values(name)) == 1, name
    for wrong in ("a b", "x" * 65, "a;b", "\xff", ""):
        received = await seen(gateway, backend, request(f"X-Request-Id: {wrong}", f"traceparent: {wrong}", bearer=token()))
        (identifier,) = received.values("x-request-id")
        assert len(identifier) == 32, wrong
        (traceparent,) = received.values("traceparent")
        assert traceparent.startswith(b"00-" + identifier + b"-"), wrong


async def test_all_of_them_together(gateway: DataPlane, backend: RecordingBackend) -> None:
    for names in itertools.batched(ALL_NAMES, 40) if hasattr(itertools, "batched") else [ALL_NAMES[:40], ALL_NAMES[40:]]:
        received = await seen(
            gateway, backend, request(*[f"{name}: {EVIL}" for name in names], "Connection: " + ", ".join(names), bearer=token())
        )
        assert EVIL.encode() not in received.raw_head
        assert received.values("x-user") == [b"alice"]
