"""Our own endpoints under what no browser sends: nothing is a failure of ours, nothing is repeated, nothing says what serves.

They are served by a library that has words of its own for what it refuses, so it gets nothing that it could refuse.
"""

import json
import socket
import zlib
from collections.abc import Iterable

import pytest
from attacks.wire_gateway import Answer, Wire
from browser import Browser, NewBrowser
from kept import Kept
from live.running_gateway import eventually
from malformed_json import EVERY_BODY

JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
SAME_ORIGIN = "Sec-Fetch-Site: same-origin"


def post(path: str, body: bytes, *lines: str | bytes, method: str = "POST") -> bytes:
    """A request that says no more than `lines`."""
    encoded = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: shop.example", b"Content-Length: %d" % len(body), *encoded]
    return b"\r\n".join([*head, b"", b""]) + body


def is_ours(answer: Answer) -> bool:
    """Whether the gateway itself answered, in its own words, and not the library it is made of."""
    head = answer.head.lower()
    return (
        0 < answer.status < 500
        and b"\r\nserver:" not in head
        and b"aiohttp" not in answer.head + answer.body
        and (b"no-store" in head or b"max-age=300" in head)
    )


def failures(wire: Wire) -> list[str]:
    """What was logged as a failure of ours."""
    return [str(line) for line in wire.gateway.messages() if line.get("level") == "error" or "exception" in line]


@pytest.fixture(autouse=True)
def nothing_fails(shop: Wire) -> Iterable[None]:
    before = len(failures(shop))
    yield
    assert failures(shop)[before:] == []


# Bodies.

BODIES = {
    "lone surrogates": rb'{"email":"\ud800@x.example","password":"\udfff12345678"}',
    "a lone surrogate in the password": rb'{"email":"a@b.example","password":"\ud800aaaaaaaaaaa"}',
    "NUL": rb'{"email":"a\u0000@b.example","password":"aaaaaaaaaaaa"}',
    "a name twice": b'{"email":"a@b.example","email":"c@d.example","password":"aaaaaaaaaaaa"}',
    "NaN": b'{"email":NaN,"password":"aaaaaaaaaaaa"}',
    "a number of 5000 digits": b'{"email":' + b"9" * 5000 + b',"password":"a"}',
    "an array for a string": b'{"email":["a@b.example"],"password":"aaaaaaaaaaaa"}',
    "an object for a string": b'{"email":{"$ne":""},"password":{"$ne":""}}',
    "null": b'{"email":null,"password":null}',
    "truth": b'{"email":true,"password":true}',
    "no object": b"[]",
    "nothing": b"",
    "3000 deep": b'{"email":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "a byte order mark": b'\xef\xbb\xbf{"email":"a@b.example","password":"aaaaaaaaaaaa"}',
    "UTF-16": '{"email":"a@b.example","password":"aaaaaaaaaaaa"}'.encode("utf-16"),
    "bytes that are no UTF-8": b'{"email":"\xe9@b.example","password":"aaaaaaaaaaaa"}',
    "a body of 17 KiB": b'{"email":"' + b"a" * 17 * 1024 + b'"}',
    "a field that nobody knows": b'{"email":"a@b.example","password":"aaaaaaaaaaaa","is_admin":true}',
    "a version": b'{"email":"a@b.example","password":"aaaaaaaaaaaa","version":99,"groups":["staff"],"sub":"x"}',
    "a password of a megabyte": json.dumps({"email": "a@b.example", "password": "x" * (1 << 20)}).encode(),
    "a password of 4 KiB": json.dumps({"email": "a@b.example", "password": "x" * 4097}).encode(),
    "a kind of delivery that there is not": b'{"email":"a@b.example","password":"aaaaaaaaaaaa","delivery":"both"}',
    "a domain that is no domain": json.dumps({"email": "a@xn--" + "9" * 60, "password": "short"}).encode(),
    "a form that is none": b"email=%zz&password",
    "a form with a name twice": b"email=a%40b.example&email=c%40d.example&password=aaaaaaaaaaaa",
    "a form of a thousand fields": b"&".join(b"f%d=1" % number for number in range(1000)),
}
TYPES = (JSON, FORM, "Content-Type: text/plain", "Content-Type: multipart/form-data; boundary=x", "X-None: 1")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/password"])
@pytest.mark.parametrize("name", BODIES)
def test_L08_L09_a_body_that_is_not_exactly_what_is_asked_for_is_refused(
    shop: Wire, resident: NewBrowser, name: str, path: str
) -> None:
    session = ()
    if path == "/auth/password":
        alice = resident()
        session = (f"Cookie: __Host-access={alice.cookies['access']}", f"User-Agent: {alice.agent}")
    for kind in TYPES:
        answer = shop.send(
            post(path, BODIES[name], kind, SAME_ORIGIN, "Connection: close", "X-Forwarded-For: 10.9.8.7", *session)
        )
        assert answer.status in (400, 401, 413, 415, 422), (kind, answer)
        assert is_ours(answer), (kind, answer)


def test_L09_no_malformed_json_is_taken_for_a_login(shop: Wire) -> None:
    for text in EVERY_BODY:
        assert shop.send(post("/auth/login", text, JSON, "Connection: close")).status in (400, 413, 422), text


def test_L09_a_compressed_body_is_not_inflated(shop: Wire) -> None:
    bomb = zlib.compress(bytes(15_000_000))
    for coding in ("deflate", "gzip", "br", "identity", "zstd"):
        for body in (bomb, b"{}"):
            assert shop.send(post("/auth/login", body, JSON, f"Content-Encoding: {coding}", "Connection: close")).status == 415


@pytest.mark.parametrize("rest", [b"", b"5\r\nhel", b"zz\r\n", b"5\r\nhelloXX\r\n", b"ffffffffffffffff\r\nx"])
def test_O05_whoever_leaves_in_the_middle_of_a_body_is_no_failure_of_ours(shop: Wire, rest: bytes) -> None:
    head = f"POST /auth/login HTTP/1.1\r\nHost: shop.example\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", shop.gateway.port), 10) as client:
            client.sendall(head + rest)
            eventually(shop.gateway.metrics)
    assert shop.get("/auth/login").status == 200


def test_F20_a_trailer_cannot_say_who_asks(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    head = alice.raw("POST", "/auth/logout", SAME_ORIGIN, "Transfer-Encoding: chunked", without=("access", "refresh", "csrf"))
    trailers = f"X-Gateway-Cookies: __Host-access={alice.cookies['access']}\r\nX-Gateway-Session: {alice.claims()['sid']}\r\n"
    shop.send(head + b"0\r\n" + trailers.encode() + b"\r\n")
    assert alice.get("/who").status == 200


# Heads.

FIELDS = """Authorization;Authorization: Bearer;Cookie;User-Agent;Accept-Language;Accept;Origin;X-CSRF-Token;Content-Type
Content-Encoding;Sec-CH-UA;X-Anything;X-Request-Id;Forwarded""".replace("\n", ";").split(";")
ODD_VALUES = ["ł".encode(), b"\xff", b"\xc3\x28", "𝔘\u202e".encode(), b"\x80" * 300, b"x" * 9000, b"a=b; c=d", b"  ", b'"']


@pytest.mark.parametrize("value", ODD_VALUES, ids=range(len(ODD_VALUES)))
@pytest.mark.parametrize("name", FIELDS)
def test_O06_no_value_of_a_field_makes_our_endpoints_fail_or_repeat_it(shop: Wire, name: str, value: bytes) -> None:
    cookies = b"__Host-access=%b; __Host-refresh=%b; __Host-csrf=%b" % (value, value, value)
    line = b"Cookie: " + cookies if name == "Cookie" else b"%b: %b" % tuple([name.encode(), value][:2])
    line = line.replace(b"Bearer: ", b"Bearer ")
    for method, path in (("GET", "/auth/login"), ("POST", "/auth/login"), ("POST", "/auth/refresh"), ("POST", "/auth/logout")):
        answer = shop.send(post(path, b"", line, "Connection: close", method=method))
        assert is_ours(answer), answer
        assert value not in answer.head + answer.body or len(value) < 3


@pytest.mark.parametrize(
    "field",
    ["Content-Type: application/json", "User-Agent: x", "Accept: text/html", "Accept-Language: fr", "Origin: https://shop.example",
     "Content-Encoding: gzip", "Sec-Fetch-Site: same-origin", "Server: x", "ETag: x", "Max-Forwards: 1", "Content-Range: x"],
)  # fmt: skip
def test_O06_a_field_that_comes_twice_or_a_hundred_times_is_answered_by_us(shop: Wire, field: str) -> None:
    for times in (2, 90):
        assert is_ours(shop.send(post("/auth/login", b"{}", *[field] * times, "Connection: close")))


def test_O06_the_longest_head_that_is_allowed_reaches_our_endpoints_whole(shop: Wire) -> None:
    for line in ("Cookie: " + "; ".join(f"c{number}={'y' * 100}" for number in range(280)), "X-Long: " + "x" * 30_000):
        assert shop.get("/auth/login", line).status == 200
    assert shop.get("/auth/login?" + "x" * 8000).status == 200


@pytest.mark.parametrize("method", ["PROPFIND", "M-SEARCH", "QUERY", "PURGE", "HEAD", "OPTIONS", "DELETE", "FOO", "A" * 32])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/.well-known/jwks.json", "/auth/none", "/auth/sessions/x"])
def test_S10_O06_another_method_is_refused_by_us(shop: Wire, path: str, method: str) -> None:
    answer = shop.send(post(path, b"", "Connection: close", method=method))
    assert answer.status in (200, 400, 401, 404, 405) and b"aiohttp" not in answer.head.lower() + answer.body
    assert answer.status != 200 or method == "HEAD"


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/.well-known/jwks.json", "/auth/me"])
def test_W04_our_endpoints_switch_to_no_other_protocol_and_read_nothing_behind_the_wish(shop: Wire, path: str) -> None:
    wish = post(path, b"", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", method="GET").replace(b"Content-Length: 0\r\n", b"")  # fmt: skip
    with Kept(shop) as line:
        line.send(wish, post("/auth/login", b"", method="GET"))
        assert line.answer().status in (200, 401, 405)
        assert line.answer().status == 0, "the connection ends behind it"
    for _ in range(8):
        assert shop.get("/auth/login").status == 200


def test_F01_requests_behind_each_other_get_their_own_answers(shop: Wire, browser: NewBrowser) -> None:
    """Two users' requests on one connection, as a reverse proxy in front of us would send them."""
    alice, bob = browser(), browser()
    with Kept(shop) as line:
        for _ in range(3):
            line.send(
                alice.raw("GET", "/auth/me"),
                post("/auth/login", b'{"email":1}', JSON),
                bob.raw("GET", "/auth/me"),
                alice.raw("GET", "/who"),
                bob.raw("HEAD", "/auth/me"),
                bob.raw("GET", "/auth/sessions"),
            )
            assert line.answer().json()["user"] == alice.email
            assert line.answer().status == 422
            assert line.answer().json()["user"] == bob.email
            assert line.answer().status == 200
            assert line.answer(is_head=True).status == 200
            assert {one["id"] for one in line.answer().json()["sessions"]} == {bob.claims()["sid"]}


SPOOFS = (
    "X-Gateway-Session",
    "X_Gateway_Session",
    "x-gateway-session",
    "X.Gateway.Session",
    "X-Gateway--Session",
    "X-Gateway-Session_",
)


@pytest.mark.parametrize("name", SPOOFS)
def test_H01_nobody_tells_our_endpoints_who_asks(shop: Wire, browser: NewBrowser, name: str) -> None:
    alice, mallory = browser(), browser()
    told = [
        f"{name}: {alice.claims()['sid']}",
        f"{name.replace('ession', 'lient').replace('S', 'C').replace('s', 'c')}: 203.0.113.1",
        f"{name.replace('Session', 'Cookies').replace('session', 'cookies')}: __Host-access={alice.cookies['access']}",
    ]
    assert mallory.get("/auth/me", *told).json()["user"] == mallory.email
    assert Browser(shop).ask("POST", "/auth/logout", SAME_ORIGIN, *told).told == "401 no-token"
    assert mallory.ask("POST", "/auth/logout-all", SAME_ORIGIN, *told).status == 204
    assert alice.get("/who").status == 200


@pytest.mark.parametrize("path", ["/auth/me", "/auth/sessions", "/auth/devices", "/auth/password", "/auth/logout-all"])
def test_T1_another_issuers_token_is_nobody_at_our_endpoints(shop: Wire, browser: NewBrowser, path: str) -> None:
    """Its `sid` and `sub` may be anything: those of an account of ours too."""
    alice = browser()
    claims = alice.claims()
    token = shop.gateway.token(
        sub=claims["sub"], sid=claims["sid"], name=alice.email, jti=claims["jti"], ver=1, gen=1, email=alice.email
    )
    method = "POST" if path in ("/auth/password", "/auth/logout-all") else "GET"
    answer = shop.send(post(path, b"", f"Authorization: Bearer {token}", SAME_ORIGIN, "Connection: close", method=method))
    assert answer.told == "401 wrong-issuer"
    assert shop.send(post("/auth/logout", b"", f"Authorization: Bearer {token}", "Connection: close")).told == "401 wrong-issuer"
    assert alice.get("/who").status == 200
