"""What one may do to others: keep everybody's endpoints busy, have a cache keep what is hers, plant cookies in her browser."""

import socket
from collections.abc import Callable, Iterator

import pytest
from attacks.process_figures import processor_s
from attacks.wire_gateway import Wire, read_answer
from backends import Answer, plain
from browser import Browser, NewBrowser, Reply
from kept import Kept
from live.running_gateway import eventually
from patience import PATIENCE_S

JSON = "Content-Type: application/json"


# Our own endpoints have few connections.


def slow(shop: Wire, number: int, framing: str = "Content-Length: 100", path: str = "/auth/login") -> list[socket.socket]:
    """So many connections on which a body has begun, of which more would come."""
    head = f"POST {path} HTTP/1.1\r\nHost: shop.example\r\n{JSON}\r\n{framing}\r\n\r\n".encode()
    begun = []
    for _ in range(number):
        client = socket.create_connection(("127.0.0.1", shop.gateway.port), PATIENCE_S)
        client.sendall(head + (b"5\r\n{    \r\n" if "chunked" in framing else b"{"))
        begun.append(client)
    return begun


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_L05_D02_bodies_that_come_slowly_keep_nobody_from_our_endpoints(shop: Wire, browser: NewBrowser, framing: str) -> None:
    """128 connections lead to the endpoints of a worker. Whoever holds them all with a byte a minute is alone with us."""
    alice = browser()
    begun = slow(shop, 300, framing)
    try:
        eventually(lambda: shop.gateway.metrics()['gateway_connections{side="client"}'] >= 300)
        for _ in range(8):
            assert shop.get("/auth/login").status == 200
            assert alice.post("/auth/refresh").status == 200
            assert alice.get("/auth/me").status == 200
        assert all(is_held(client) for client in begun), "none of them had to go first"
        for client, rest in ((begun[0], b'"email":1}'), (begun[1], b"}")):  # they are not forgotten either
            piece = rest.ljust(99)
            client.sendall(piece if "Length" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))
            assert read_answer(client).status == 422
    finally:
        for client in begun:
            client.close()


def is_held(client: socket.socket) -> bool:
    """Whether the gateway has neither answered nor ended this connection."""
    client.setblocking(False)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(PATIENCE_S)
    return False


def test_L05_a_body_is_whole_before_an_endpoint_is_asked_and_what_follows_it_is_the_next_request(
    shop: Wire, browser: NewBrowser
) -> None:
    alice = browser()
    body = b'{"email": 1}'
    head = f"POST /auth/login HTTP/1.1\r\nHost: shop.example\r\n{JSON}\r\n".encode()
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    follower = alice.raw("GET", "/auth/me").replace(b"Connection: close\r\n", b"")
    for raw in (head + b"Content-Length: 12\r\n\r\n" + body, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked):
        with Kept(shop) as line:
            for byte in raw + follower:
                line.send(bytes((byte,)))
            assert line.answer().status == 422
            assert line.answer().json()["user"] == alice.email


def test_L05_a_body_without_end_is_refused_where_the_limit_is(shop: Wire) -> None:
    (client,) = slow(shop, 1, "Transfer-Encoding: chunked")
    with client:
        for _ in range(5):
            client.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert read_answer(client).told == "413 too-large"
    (client,) = slow(shop, 1, "Content-Length: 16385")
    with client:
        assert read_answer(client).told == "413 too-large"


def test_L05_who_expects_to_be_asked_for_his_body_is_asked_once(shop: Wire) -> None:
    (client,) = slow(shop, 1, "Expect: 100-continue\r\nContent-Length: 12")
    with client:
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b'"email": 1}')
        assert read_answer(client).status == 422


# Caches [C2].


@pytest.fixture
def answering(shop: Wire) -> Iterator[Callable[[Answer], None]]:
    before = shop.background.backend.answer

    def answer(with_: Answer) -> None:
        shop.background.backend.answer = with_

    yield answer
    shop.background.backend.answer = before


SHARED = (
    "Cache-Control: public, max-age=600, s-maxage=900",
    "CDN-Cache-Control: max-age=600",
    "Cloudflare-CDN-Cache-Control: max-age=600",
    "Surrogate-Control: max-age=600",
    "X-Accel-Expires: 600",
    "Edge-Control: cache-maxage=600",
)


def may_be_shared(reply: Reply) -> bool:
    """Whether anything in the answer lets a cache that serves several people keep it."""
    targeted = ("cdn-cache-control", "surrogate-control", "x-accel-expires", "edge-control", "cloudflare-cdn-cache-control")
    directives = {part.strip().partition("=")[0] for value in reply.fields("cache-control") for part in value.split(",")}
    return any(reply.fields(name) for name in targeted) or not directives & {"private", "no-store"} or "public" in directives


@pytest.mark.parametrize("path", ["/account/x.css", "/account/a;b.js", "/account%3Bx.css", "/account?x.js", "/optional/x.png"])
def test_S33_S34_C2_what_was_answered_to_somebody_is_kept_by_no_shared_cache(
    shop: Wire, browser: NewBrowser, answering: Callable[[Answer], None], path: str
) -> None:
    answering(plain("200 OK", b"hers", *SHARED, 'ETag: "1"', "Expires: Fri, 01 Jan 2100 00:00:00 GMT", "Age: 3"))
    alice = browser()
    assert not may_be_shared(alice.get(path))
    assert not may_be_shared(alice.get(path, f"Authorization: Bearer {alice.cookies['access']}", without=("access", "refresh")))
    renewed = alice.get(path, without=("access",))
    assert len(renewed.cookies) == 3 and renewed.fields("cache-control") == ["no-store"]
    assert "Cookie, Authorization" in renewed.fields("vary")
    assert not may_be_shared(renewed)


@pytest.mark.parametrize("status", ["200 OK", "206 Partial Content", "301 Moved", "304 Not Modified", "404 Not Found", "502 Bad"])
def test_S33_no_answer_of_any_status_carries_cookies_into_a_cache(
    shop: Wire, browser: NewBrowser, answering: Callable[[Answer], None], status: str
) -> None:
    answering(plain(status, b"" if status.startswith("304") else b"x", *SHARED))
    alice = browser()
    renewed = alice.get("/cached", without=("access",))
    assert len(renewed.cookies) == 3 and renewed.fields("cache-control") == ["no-store"] and not may_be_shared(renewed)


def test_S34_what_is_answered_to_nobody_stays_as_the_application_says(shop: Wire, answering: Callable[[Answer], None]) -> None:
    answering(plain("200 OK", b"everybody's", *SHARED))
    for path in ("/public/x.css", "/optional/x.css"):
        reply = Reply(shop.get(path))
        assert {line.partition(":")[0] for line in SHARED} == {
            name for name in (line.partition(":")[0] for line in SHARED) if reply.fields(name)
        }
        assert may_be_shared(reply)


REFUSED = [
    ("GET", "/who", ()),
    ("GET", "/who", ("Authorization: Bearer x",)),
    ("GET", "/staff/x", ("cookies",)),
    ("POST", "/upload", ("cookies", "Sec-Fetch-Site: cross-site")),
    ("GET", "/who", ("Sec-Fetch-Mode: navigate",)),
    ("GET", "/staff/x", ("cookies", "Sec-Fetch-Mode: navigate")),
    ("GET", "/auth/none", ()),
    ("POST", "/auth/login", (JSON,)),
    ("POST", "/auth/refresh", ()),
    ("GET", "/auth/login", ()),
    ("GET", "/auth/me", ("cookies",)),
    ("GET", "/auth/devices", ("cookies", "Sec-Fetch-Mode: navigate")),
    ("GET", "/auth/register", ()),
    ("GET", "/" + "x" * 9000, ()),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_S35_what_the_gateway_itself_says_is_kept_by_nobody(shop: Wire, browser: NewBrowser, case: int) -> None:
    method, path, lines = REFUSED[case]
    client = browser() if "cookies" in lines else Browser(shop)
    reply = client.ask(method, path, *(line for line in lines if line != "cookies"), is_kept=False)
    assert reply.fields("cache-control") == ["no-store"], reply


# Cookies.


def test_S24_a_browser_with_more_cookies_than_we_read_is_told_to_drop_them(shop: Wire, browser: NewBrowser) -> None:
    """A page of a sibling domain may plant them. Who is refused for them must not be refused for ever."""
    alice = browser()
    bomb = "; ".join(f"b{number}={'x' * 4000}" for number in range(20))
    reply = alice.ask("GET", "/who", f"Cookie: {bomb}", without=("access", "refresh", "csrf"))
    assert reply.told == "431 too-large" and reply.fields("clear-site-data") == ['"cookies"']
    page = alice.open("/who", f"Cookie: {bomb}", without=("access", "refresh", "csrf"))
    assert page.told == "431 too-large" and page.fields("content-type") == ["text/html; charset=utf-8"]
    assert page.fields("clear-site-data") == ['"cookies"']


@pytest.mark.parametrize(
    "line", ["X-Long: " + "x" * 40_000, "Cookie: a=b\r\nX-Long: " + "x" * 40_000, "\r\n".join(["X: y"] * 200)]
)
def test_S24_whoever_can_make_a_browser_send_a_long_head_does_not_sign_it_out(shop: Wire, line: str) -> None:
    reply = Reply(shop.get("/who", line))
    assert reply.told == "431 too-large" and not reply.fields("clear-site-data")
    assert not Reply(shop.get("/" + "x" * 9000, "Cookie: a=b")).fields("clear-site-data")


@pytest.mark.parametrize(
    "value", ["\\" * 8000, '"' * 8000, "\\073" * 2000, "=;" * 4000, ";" * 8000, " " * 8000, "__Host-access" * 600]
)
def test_S23_a_long_cookie_full_of_quotes_costs_no_time(shop: Wire, value: str) -> None:
    workers = shop.gateway.workers()
    before_s = sum(processor_s(pid) for pid in workers)
    for _ in range(20):
        assert shop.get("/public/quotes", f"Cookie: q={value}").status in (200, 400)
    assert sum(processor_s(pid) for pid in workers) - before_s < 1


PLANTED = {
    "a quoted pair": '$Version=1; a="x; __Host-access={}"',
    "an octal escape": 'a="x\\073 __Host-access={}"',
    "a space of Unicode": "\u2000__Host-access={}",
    "a no-break space": "\u00a0__Host-access={}",
    "no name": "=__Host-access={}",
    "another case": "__host-access={}",
    "an attribute": "Path=/; x=__Host-access={}",
    "a comma": "a=b, __Host-access={}",
    "a tab inside": "__Host-\taccess={}",
    "a value in quotes": '__Host-access="{}"',
    "an encoded name": "__Host%2Daccess={}",
    "no prefix": "access={}",
    "the other prefix": "__Secure-access={}",
}


@pytest.mark.parametrize("name", PLANTED)
def test_S20_S21_S22_nothing_but_the_cookie_itself_is_the_cookie(shop: Wire, browser: NewBrowser, name: str) -> None:
    alice, bob = browser(), browser()
    planted = f"Cookie: {PLANTED[name].format(alice.cookies['access'])}".encode()
    path = f"/planted/{alice.email}"
    alone = shop.get(path, planted, f"User-Agent: {alice.agent}")
    assert alone.status in (400, 401), "nobody is signed in by it"
    both = shop.get(path, planted, f"Cookie: __Host-access={bob.cookies['access']}", f"User-Agent: {bob.agent}")
    assert both.status in (200, 400, 401)
    assert {user for arrived in shop.reached(path) for user in arrived.values("x-user")} <= {bob.email.encode()}


@pytest.mark.parametrize("order", [("alice", "bob"), ("bob", "alice")])
@pytest.mark.parametrize("split", ["one field", "two fields", "three fields", "an empty one"])
@pytest.mark.parametrize("cookie", ["access", "refresh"])
def test_S19_two_cookies_of_one_name_are_none(
    shop: Wire, browser: NewBrowser, cookie: str, split: str, order: tuple[str, str]
) -> None:
    users = {"alice": browser(), "bob": browser()}
    first, second = (f"__Host-{cookie}={users[name].cookies[cookie]}" for name in order)
    lines = {
        "one field": [f"Cookie: {first}; {second}"],
        "two fields": [f"Cookie: {first}", f"Cookie: {second}"],
        "three fields": [f"Cookie: {first}", "Cookie: theme=dark", f"Cookie: {second}"],
        "an empty one": [f"Cookie: __Host-{cookie}", f"Cookie: {second}"],
    }[split]
    path = f"/tossed/{users['alice'].email}"
    for route in (path, "/optional" + path, "/auth/me"):
        assert shop.get(route, *lines, f"User-Agent: {users['alice'].agent}").told == "401 malformed-token"
    head = ["POST /auth/refresh HTTP/1.1", "Host: shop.example", "Connection: close", "Content-Length: 0", *lines, "", ""]
    raw = "\r\n".join(head).encode()
    assert shop.send(raw).told == "401 no-token"
    assert not shop.reached(path)
    for one in users.values():
        assert one.get("/who").status == 200


def test_S19_our_cookies_split_over_fields_are_ours_and_leave_the_others_in_place(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    fields = [f"Cookie: a=1; __Host-access={alice.cookies['access']}", f"Cookie: __Host-refresh={alice.cookies['refresh']}; b=2",
              f"Cookie: __Host-csrf={alice.cookies['csrf']}", "Cookie: c=3"]  # fmt: skip
    reply = alice.get("/split/who", *fields, without=("access", "refresh", "csrf"))
    assert reply.status == 200
    (arrived,) = shop.reached("/split/who")
    assert b"; ".join(arrived.values("cookie")) == b"a=1; b=2; c=3"


def test_S25_every_cookie_has_its_attributes_wherever_it_is_set(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    for reply in (
        alice.sign_in(),
        alice.post("/auth/refresh"),
        alice.get("/who", without=("access",)),
        alice.get("/staff/x", without=("access",)),
        alice.open("/who", without=("access",)),
        alice.post("/auth/logout"),
    ):
        lines = reply.fields("set-cookie")
        assert [line.partition("=")[0] for line in lines] == ["__Host-access", "__Host-refresh", "__Host-csrf"]
        for line in lines:
            attributes = line.split("; ")[1:]
            assert {"Path=/", "Secure", "SameSite=Lax"} <= set(attributes)
            assert ("HttpOnly" in attributes) == ("csrf" not in line)
            assert not any(attribute.lower().startswith("domain") for attribute in attributes)


@pytest.mark.parametrize(
    "claim",
    [
        "X-Forwarded-Proto: http",
        "Forwarded: proto=http",
        "X-Forwarded-Ssl: off",
        "X-Forwarded-Scheme: http",
        "Front-End-Https: off",
    ],
)
def test_S26_no_word_about_the_way_here_makes_cookies_less_secure(shop: Wire, browser: NewBrowser, claim: str) -> None:
    alice = browser()
    reply = alice.get("/who", claim, without=("access",))
    assert len(reply.fields("set-cookie")) == 3
    assert all("; Secure" in line and line.startswith("__Host-") for line in reply.fields("set-cookie"))
    assert "return_to=%2Fwho" in Browser(shop).open("/who", claim).fields("location")[0]
    assert Browser(shop).open("/who", claim).fields("location")[0].startswith("https://shop.example/")
