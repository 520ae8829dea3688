"""Refresh where something is odd about the request that asks for it, and refresh tokens whose time, or turn, is over."""

import asyncio
import base64
import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attacks.wire_gateway import Wire, at_once, wire
from backends import Received, plain
from browser import ANDROID, CALM, PASSWORD, Browser, NewBrowser, claims_of
from forging import SECRETS, ring_of
from kept import Kept
from live.running_gateway import PATIENT, eventually
from patience import PATIENCE_S
from store_process import StoreProcess

from gateway.sessions.minting import Mint
from gateway.sessions.model import Login, new_subject
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
from gateway.store.client import connect

SAME_ORIGIN = "Sec-Fetch-Site: same-origin"


# Whose turn it is.


def test_S03_S05_a_lost_answer_is_asked_for_again_and_is_the_new_pair_each_time(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    first = alice.cookies
    asked = [alice.get("/who", without=("access",), is_kept=False) for _ in range(5)]
    asked += [alice.post("/auth/refresh", is_kept=False) for _ in range(5)]
    for kind in ("access", "refresh"):
        assert {claims_of(reply.cookies[kind])["jti"] for reply in asked} == {claims_of(asked[0].cookies[kind])["jti"]}
        assert claims_of(asked[0].cookies[kind])["gen"] == 2
    assert all(reply.cookies["refresh"] != first["refresh"] for reply in asked)


def test_S01_S04_the_grace_covers_the_direct_parent_only(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    generations = [alice.stolen()]
    for _ in range(3):
        alice.get("/who", without=("access",))
        generations.append(alice.stolen())
    parent, grandparent = generations[-2], generations[-3]
    assert parent.get("/who", without=("access",), is_kept=False).status == 200
    assert grandparent.get("/who", without=("access",)).told == "401 refresh-reused"
    for one in generations:
        assert one.everywhere(times=8, without=("access",)) <= {"401 revoked-session", "401 refresh-reused"}
        assert one.everywhere(times=8) == {"401 revoked-session"}


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Access tokens live for one second, an idle session for four, any session for seven."""
    tokens = {"access_ttl": "1s", "refresh_ttl": "4s", "session_ttl": "7s"}
    with wire(tmp_path_factory.mktemp("brief"), **CALM | {"tokens": tokens, "sessions": {"grace": "5s"}}) as running:
        yield running


def test_S09_an_idle_session_is_over(brief: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=brief)
    time.sleep(4.1)
    assert alice.get("/who").told == "401 expired-token"
    assert alice.get("/who", without=("access",)).told == "401 expired-token"
    page = alice.stolen().open("/who")
    assert (page.status, page.reason) == (303, "expired-token") and set(page.cookies.values()) == {""}
    assert alice.post("/auth/refresh").told == "401 expired-token"


def test_S09_no_refresh_takes_a_session_beyond_its_absolute_end(brief: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=brief)
    began = alice.claims()["iat"]
    while (reply := alice.get("/who")).status == 200:
        assert time.time() < began + 10
        assert alice.claims()["exp"] <= began + 8 and alice.claims("refresh")["exp"] <= began + 8
        time.sleep(0.3)
    assert reply.told == "401 expired-token" and time.time() >= began + 6
    assert alice.claims()["gen"] > 3
    assert alice.post("/auth/refresh").told == "401 expired-token"


def test_R2_a_retry_gets_a_token_that_lives_though_tokens_live_for_less_than_the_grace(brief: Wire, browser: NewBrowser) -> None:
    """Else whoever lost an answer would be refused until the grace is over, and signed out at the endpoint."""
    alice = browser(wire=brief)
    time.sleep(1.1)
    lost = alice.get("/who", is_kept=False)
    assert claims_of(lost.cookies["access"])["gen"] == 2
    time.sleep(1.6)
    for ask in (lambda: alice.get("/who", is_kept=False), lambda: alice.post("/auth/refresh", is_kept=False)):
        again = ask()
        assert again.status == 200 and claims_of(again.cookies["access"])["gen"] == 2
        assert claims_of(again.cookies["access"])["jti"] == claims_of(lost.cookies["access"])["jti"]
        assert claims_of(again.cookies["access"])["exp"] >= time.time() - 1


def test_S09_after_a_change_of_password_and_after_a_logout_of_all(shop: Wire, browser: NewBrowser) -> None:
    laptop = browser()
    phone = Browser(shop, agent=ANDROID)
    phone.sign_in(laptop.email)
    old = laptop.stolen()
    assert laptop.post("/auth/password", {"current": PASSWORD, "new": "another good phrase"}).status == 204
    for one in (old, phone):
        assert one.post("/auth/refresh", is_kept=False).told == "401 old-version"
    newer = laptop.stolen()
    assert laptop.post("/auth/logout-all").status == 204
    assert newer.post("/auth/refresh", is_kept=False).told == "401 revoked-session"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_S10_a_refresh_is_a_post(shop: Wire, browser: NewBrowser, method: str) -> None:
    alice = browser()
    assert alice.ask(method, "/auth/refresh", SAME_ORIGIN, is_kept=False).status == 405
    assert alice.post("/auth/refresh").status == 200 and alice.claims()["gen"] == 2


@pytest.mark.parametrize("lines", [("Sec-Fetch-Site: cross-site",), ("Sec-Fetch-Site: same-site",), ("Sec-Fetch-Site: none",),
                                   ("Origin: null",), ("Origin: https://evil.example",), ("Origin: http://shop.example",),
                                   ("Origin: https://shop.example.evil.example",)])  # fmt: skip
def test_S10_R3_another_site_refreshes_nothing(shop: Wire, browser: NewBrowser, lines: tuple[str, ...]) -> None:
    alice = browser()
    assert alice.ask("POST", "/auth/refresh", *lines, body=b"", is_kept=False).told == "403 csrf"
    alice.get("/who", without=("access",))
    assert alice.claims()["gen"] == 2


def test_S10_R6_a_token_in_the_body_or_the_field_is_no_refresh_cookie(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    token = alice.cookies["refresh"]
    none = Browser(shop)
    for name in ("refresh_token", "refresh", "token"):
        assert none.post("/auth/refresh", {name: token, "grant_type": "refresh_token"}).told == "401 no-token"
    assert none.ask("POST", "/auth/refresh", SAME_ORIGIN, form={"refresh_token": token}).told == "401 no-token"
    assert none.ask("POST", f"/auth/refresh?refresh_token={token}", SAME_ORIGIN, body=b"").told == "401 no-token"
    assert none.ask("POST", "/auth/refresh", SAME_ORIGIN, f"Authorization: Bearer {token}", body=b"").told == "401 no-token"


def test_R6_no_script_turns_a_cookie_session_into_a_token_in_its_hands(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    for document in ({"delivery": "token"}, {"delivery": "token", "email": alice.email}):
        reply = alice.post("/auth/refresh", document)
        assert reply.status == 200 and "access_token" not in reply.json()
    assert alice.cookies["access"] not in reply.text and alice.cookies["refresh"] not in reply.text
    assert alice.get("/auth/me").json()["delivery"] == "cookie"
    for path in ("/auth/me", "/auth/sessions", "/auth/devices", "/auth/login"):
        shown = alice.get(path).text
        assert not any(alice.cookies[name] in shown for name in ("access", "refresh"))


# Odd requests.


@pytest.mark.parametrize(
    "lines",
    [("Range: bytes=0-3",), ('If-None-Match: "1"',), ("Accept: text/event-stream",), ("Purpose: prefetch",), ("TE: trailers",)],
)
def test_S36_whatever_a_request_is_for_it_is_renewed_once_and_its_answer_is_whole(
    shop: Wire, browser: NewBrowser, lines: tuple[str, ...]
) -> None:
    alice = browser()
    reply = alice.get("/odd/who", *lines, without=("access",))
    assert reply.status == 200 and reply.text == '{"ok":true}' and len(reply.fields("set-cookie")) == 3
    assert alice.claims()["gen"] == 2


def test_S36_HTTP_1_0_is_renewed_too(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    answer = shop.send(alice.raw("GET", "/who", without=("access",)).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.status == 200 and answer.head.count(b"\r\nSet-Cookie: __Host-") == 3


def test_S36_a_service_worker_is_refused_before_anything_is_renewed(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    reply = alice.get("/sw.js", "Service-Worker: script", without=("access",), is_kept=False)
    assert reply.told == "403 forbidden" and not reply.cookies
    assert not shop.reached("/sw.js")
    alice.get("/who", without=("access",))
    assert alice.claims()["gen"] == 2


def test_R3_two_requests_behind_each_other_of_which_the_first_rotates(shop: Wire, browser: NewBrowser) -> None:
    """The second was sent before the first one's cookies could arrive."""
    alice = browser()
    with Kept(shop) as line:
        line.send(*(alice.raw("GET", f"/behind/{number}", without=("access",)) for number in range(4)))
        replies = [line.answer() for _ in range(4)]
    assert {reply.status for reply in replies} == {200}
    assert len({claims_of(reply.cookies["refresh"])["jti"] for reply in replies}) == 1
    assert [arrived.values("x-user") for arrived in shop.reached("/behind/")] == [[alice.email.encode()]] * 4
    alice.keep(replies[-1])
    assert alice.everywhere(times=8) == {"200"}


def test_two_users_behind_each_other_on_one_connection_are_not_mixed_up(shop: Wire, browser: NewBrowser) -> None:
    alice, bob = browser(), browser()
    with Kept(shop) as line:
        for number in range(4):
            line.send(
                alice.raw("GET", f"/mix/{number}a", without=("access",)), bob.raw("GET", f"/mix/{number}b", without=("access",))
            )
            for one in (alice, bob):
                reply = line.answer()
                assert claims_of(reply.cookies["access"])["name"] == one.email
                one.keep(reply)
    users = {arrived.target[-1:]: arrived.values("x-user") for arrived in shop.reached("/mix/")}
    assert users == {b"a": [alice.email.encode()], b"b": [bob.email.encode()]}


@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "404 Not Found", "500 Oops"])
def test_whatever_the_application_answers_the_cookies_arrive(shop: Wire, browser: NewBrowser, status: str) -> None:
    before = shop.background.backend.answer
    shop.background.backend.answer = plain(status, b"")
    try:
        alice = browser()
        reply = alice.get("/answers", without=("access",))
    finally:
        shop.background.backend.answer = before
    assert reply.status == int(status[:3]) and len(reply.fields("set-cookie")) == 3
    assert alice.get("/who").status == 200 and alice.claims()["gen"] == 2


def test_a_502_after_a_rotation_brings_the_cookies_too(shop: Wire, browser: NewBrowser) -> None:
    from backends import raw

    before = shop.background.backend.answer
    shop.background.backend.answer = raw(b"nonsense\r\n\r\n")
    try:
        alice = browser()
        reply = alice.get("/broken", without=("access",))
    finally:
        shop.background.backend.answer = before
    assert reply.told == "502 upstream-unreachable" and len(reply.fields("set-cookie")) == 3
    assert alice.get("/who").status == 200 and alice.claims()["gen"] == 2


# While it is going on.


def test_W4_a_body_that_comes_slowly_ends_with_the_session(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    copy = alice.stolen()
    head = copy.raw("POST", "/upload/slowly", SAME_ORIGIN, "Content-Length: 100", without=("access",))
    with socket.create_connection(("127.0.0.1", shop.gateway.port), 10) as client:
        client.sendall(head + b"before the log-out ")
        time.sleep(0.3)  # the head is with the application by now
        assert alice.post("/auth/logout").status == 204
        rest = shop.rest_of(client)
    assert not rest or rest.startswith(b"HTTP/1.1 401")
    eventually(lambda: any(b"/upload/slowly" in head for head in shop.background.backend.broken))
    assert not shop.reached("/upload/slowly"), "the application never got it whole"


GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture
def echoing(quick_shop: Wire) -> Iterator[Wire]:
    """The application switches to a protocol in which it says again what it hears."""
    before = quick_shop.background.backend.answer

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        keys = request.values("sec-websocket-key")
        if not keys:
            return await plain()(request, reader, writer)
        proof = base64.b64encode(hashlib.sha1(keys[0] + GUID, usedforsecurity=False).digest())
        writer.write(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n" % proof)
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        return False

    quick_shop.background.backend.answer = answer
    yield quick_shop
    quick_shop.background.backend.answer = before


def socket_of(running: Wire, alice: Browser, *lines: str, without: tuple[str, ...] = ()) -> tuple[socket.socket, str]:
    """An open WebSocket and the head of its handshake."""
    handshake = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    raw = alice.raw("GET", "/socket", *handshake, *(lines or ("Origin: https://shop.example",)), without=without)
    client = socket.create_connection(("127.0.0.1", running.gateway.port), 10)
    client.sendall(raw.replace(b"Connection: close", b"Connection: Upgrade"))
    head = b""
    while not head.endswith(b"\r\n\r\n") and (more := client.recv(1)):
        head += more
    return client, head.decode("latin-1")


def is_open(client: socket.socket, said: bytes = b"ping") -> bool:
    try:
        client.sendall(said)
        return client.recv(1000) == said
    except OSError:
        return False


def test_W18_W11_a_handshake_brings_the_new_cookies_and_the_socket_outlives_further_rotations(
    echoing: Wire, browser: NewBrowser
) -> None:
    alice = browser(wire=echoing)
    client, head = socket_of(echoing, alice, without=("access",))
    with client:
        assert head.startswith("HTTP/1.1 101 ") and head.count("Set-Cookie: __Host-") == 3
        for line in head.split("\r\n"):
            if line.startswith("Set-Cookie: "):
                name, _, value = line.removeprefix("Set-Cookie: __Host-").partition(";")[0].partition("=")
                alice.cookies[name] = value
        began = time.monotonic()
        while time.monotonic() - began < 7:  # three lives of a token
            assert alice.get("/who").status == 200
            assert is_open(client)
            time.sleep(0.5)
        assert alice.claims()["gen"] >= 4
        assert alice.post("/auth/logout").status == 204
        assert eventually(lambda: not is_open(client))


def test_W09_a_socket_whose_session_nobody_renews_is_closed(echoing: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=echoing)
    client, head = socket_of(echoing, alice)
    with client:
        assert head.startswith("HTTP/1.1 101 ")
        assert eventually(lambda: not is_open(client))


@pytest.mark.parametrize(
    "lines", [("Origin: https://evil.example",), ("Sec-Fetch-Site: cross-site",), ("Origin: null",), ("X: none",)]
)
@pytest.mark.parametrize("without", [(), ("access",)])
def test_W08_C1_another_sites_page_opens_no_socket_with_our_cookies(
    echoing: Wire, browser: NewBrowser, lines: tuple[str, ...], without: tuple[str, ...]
) -> None:
    alice = browser(wire=echoing)
    arrived = len(echoing.arrived)
    client, head = socket_of(echoing, alice, *lines, without=without)
    with client:
        assert head.startswith("HTTP/1.1 403 ") and "Set-Cookie" not in head
    assert len(echoing.arrived) == arrived


# Everybody at once.

CROWD = 300


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, StoreProcess]]:
    process = StoreProcess().start()
    settings: dict[str, Any] = CALM | {"store": PATIENT | {"url": process.url}, "tokens": {"secrets": SECRETS}}
    try:
        with wire(tmp_path_factory.mktemp("crowd"), is_awaited=False, **settings) as running:
            assert running.gateway.command("store init").returncode == 0
            eventually(running.gateway.is_ready)
            yield running, process
    finally:
        process.close()


@asynccontextmanager
async def session_store(url: str) -> AsyncIterator[SessionStore]:
    client = connect(url)
    yield SessionStore(client, Rules(30.0, 300.0, 604800.0, 2592000.0, 10))
    await client.aclose()


def signed_in(url: str, number: int) -> list[str]:
    """So many sessions, made as a login makes them but without the passwords; their refresh tokens."""
    mint = Mint("https://shop.example", "gateway", lambda sid: "")
    mint.ring = ring_of(url)

    async def make() -> list[str]:
        async with session_store(url) as sessions:
            made = [await sessions.create(Login(new_subject(), f"crowd-{place}@example.com", 1)) for place in range(number)]
        return [mint.mint(created.record).refresh.decode() for created in made]

    return asyncio.run(make())


def test_S11_hundreds_of_sessions_that_expire_at_once_are_renewed_each_and_once(crowd: tuple[Wire, StoreProcess]) -> None:
    running, store = crowd
    tokens = signed_in(store.url, CROWD)
    running.gateway.shown += tokens
    before = running.gateway.metrics()

    def renew(token: str) -> tuple[str, bool]:
        reply = Browser(running, cookies={"refresh": token}).get("/crowd/who", is_kept=False)
        return reply.told, len(reply.cookies) == 3

    with ThreadPoolExecutor(32) as threads:
        assert set(threads.map(renew, tokens)) == {("200", True)}
    names = ("rotated", "repeated", "reused", "refused", "unavailable")

    def grown() -> dict[str, float]:
        now = running.gateway.metrics()
        return {name: now[key] - before[key] for name in names for key in [f'gateway_refreshes_total{{outcome="{name}"}}']}

    eventually(lambda: grown()["rotated"] == CROWD)
    assert grown() == dict.fromkeys(names, 0.0) | {"rotated": float(CROWD)}
    users = {arrived.values("x-user")[0] for arrived in running.reached("/crowd/who")}
    assert len(users) == CROWD, "and each of them is herself"


def test_S06_two_on_one_session_inside_the_grace_from_two_networks_are_found_in_the_second_generation(
    shop: Wire, browser: NewBrowser
) -> None:
    alice = browser(address="203.0.113.7")
    thief = alice.stolen(address="198.51.100.9")
    alice.get("/who", without=("access",))
    assert thief.get("/who", without=("access",)).status == 200, "once may be a phone that changed its network"
    alice.get("/who", without=("access",))
    assert thief.get("/who", without=("access",)).told == "401 refresh-reused"
    assert alice.everywhere(times=8) == {"401 revoked-session"}


def test_rotations_while_the_ring_rotates_lose_nobody(shop: Wire, browser: NewBrowser) -> None:
    users = [browser() for _ in range(6)]
    stop = threading.Event()
    told: set[str] = set()

    def go_on(alice: Browser) -> None:
        while not stop.is_set():
            told.add(alice.get("/who", without=("access",)).told)
            told.add(alice.get("/who").told)
            told.add(alice.post("/auth/refresh").told)

    threads = [threading.Thread(target=go_on, args=(alice,)) for alice in users]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert shop.gateway.call("POST", "/v1/keys/rotate").json()["complete"]
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert told == {"200"}
    assert {alice.get("/who").status for alice in users} == {200}


def test_logins_while_the_ring_rotates_are_all_good(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()

    def ask(place: int) -> int:
        if place == 0:
            return int(shop.gateway.call("POST", "/v1/keys/rotate").status_code == 200)
        one = Browser(shop)
        one.sign_in(alice.email)
        return one.get("/who").status

    assert set(at_once(7, ask)[1:]) == {200}
