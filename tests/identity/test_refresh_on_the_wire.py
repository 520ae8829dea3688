"""Refresh that nobody sees, and the thief who is noticed: over real sockets, on two workers, judged by what the backend got."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from attacks.wire_gateway import Wire, at_once
from browser import ANDROID, Browser, NewBrowser, claims_of
from live.running_gateway import eventually
from patience import PATIENCE_S


def refreshes(wire: Wire) -> dict[str, float]:
    """Counts by outcome."""
    prefix = 'gateway_refreshes_total{outcome="'
    return {
        name.removeprefix(prefix).rstrip('"}'): value for name, value in wire.gateway.metrics().items() if name.startswith(prefix)
    }


class Counted:
    """What was counted since it was made."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._before = refreshes(wire)

    def is_now(self, **expected: int) -> bool:
        """Whether the counts have grown by exactly this; they are seen within 0.3 s."""
        time.sleep(0.05)
        now = refreshes(self._wire)
        return {name: now[name] - self._before[name] for name in now} == {**dict.fromkeys(now, 0.0), **expected}


# Invisible.


def test_an_expired_access_cookie_is_renewed_on_the_way_and_the_body_arrives_intact(
    quick_shop: Wire, browser: NewBrowser
) -> None:
    alice = browser(wire=quick_shop)
    first = alice.claims()
    time.sleep(2.1)  # the token's life, by the wall: nothing else makes it old
    body = bytes(range(256)) * 500
    reply = alice.ask("POST", "/upload/renewed", "Sec-Fetch-Site: same-origin", body=body)
    (arrived,) = quick_shop.reached("/upload/renewed")
    assert (reply.status, arrived.body) == (200, body)
    assert arrived.values("x-user") == [alice.email.encode()]
    assert not arrived.values("cookie")
    assert set(reply.cookies) == {"access", "refresh", "csrf"}
    assert reply.fields("cache-control") == ["no-store"]
    second = alice.claims()
    assert (second["gen"], second["sid"]) == (2, first["sid"]) and second["jti"] != first["jti"]
    assert reply.cookies["csrf"] == second["csrf"] == first["csrf"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_S36_a_missing_access_cookie_is_made_anew_for_every_method(browser: NewBrowser, method: str) -> None:
    alice = browser()
    reply = alice.ask(method, "/who", without=("access",))
    assert reply.status == 200
    assert alice.claims()["gen"] == 2


def test_S36_a_chunked_upload_is_renewed_on_the_way(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    raw = alice.raw("POST", "/upload/chunked", "Sec-Fetch-Site: same-origin", "Transfer-Encoding: chunked", without=("access",))
    answer = shop.send(raw + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    assert answer.status == 200 and answer.head.count(b"Set-Cookie: ") == 3
    assert shop.reached("/upload/chunked")[0].body == b"hello world"


def test_a_refusal_after_a_rotation_carries_the_new_cookies_too(browser: NewBrowser) -> None:
    alice = browser()
    reply = alice.get("/staff/", without=("access",))
    assert reply.told == "403 forbidden"
    assert alice.claims()["gen"] == 2
    assert alice.get("/who").status == 200


def test_200_parallel_requests_of_one_browser_are_one_rotation_and_200_answers(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    counted = Counted(shop)
    replies = at_once(200, lambda number: alice.get(f"/who?{number}", without=("access",), is_kept=False))
    assert {reply.told for reply in replies} == {"200"}
    assert {claims_of(reply.cookies["access"])["jti"] for reply in replies if reply.cookies} == {
        claims_of(replies[0].cookies["access"])["jti"]
    }
    assert eventually(lambda: counted.is_now(rotated=1, repeated=199))


def test_S02_50_at_the_endpoint_are_one_rotation_too(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    counted = Counted(shop)
    replies = at_once(50, lambda number: alice.post("/auth/refresh", is_kept=False))
    assert {(reply.status, claims_of(reply.cookies["refresh"])["jti"]) for reply in replies} == {
        (200, claims_of(replies[0].cookies["refresh"])["jti"])
    }
    assert eventually(lambda: counted.is_now(rotated=1, repeated=49))


def test_R3_C1_a_request_of_another_site_rotates_nothing(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    counted = Counted(shop)
    reply = alice.ask("POST", "/upload/forged", "Sec-Fetch-Site: cross-site", body=b"x", without=("access",))
    assert reply.told == "403 csrf" and not reply.cookies
    assert not shop.reached("/upload/forged")
    assert counted.is_now()


def test_W18_a_handshake_renews_the_session_and_brings_the_cookies(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    lines = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "Origin: https://shop.example")
    raw = alice.raw("GET", "/socket", *lines, without=("access",)).replace(b"Connection: close", b"Connection: Upgrade")
    answer = shop.send(raw)
    # The recording backend does not switch protocols: what matters is that the answer, whatever it is, brings the cookies.
    assert answer.head.count(b"Set-Cookie: __Host-") == 3
    assert shop.reached("/socket")[0].values("x-user") == [alice.email.encode()]


def test_only_cookie_sessions_are_renewed_unseen(browser: NewBrowser, shop: Wire) -> None:
    alice = Browser(shop)
    reply = alice.sign_in("in-her-hands@example.com", delivery="token")
    document = reply.json()
    assert set(reply.cookies) == {"refresh"}
    assert (document["token_type"], document["expires_in"]) == ("Bearer", 300)
    shop.gateway.shown.append(document["access_token"])
    assert alice.get("/who").told == "401 no-token"
    assert alice.get("/who", f"Authorization: Bearer {document['access_token']}").status == 200
    renewed = alice.post("/auth/refresh").json()
    assert claims_of(renewed["access_token"])["gen"] == 2
    shop.gateway.shown.append(renewed["access_token"])


# Theft.


def test_R2_the_grandparent_ends_the_family_on_every_worker(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    thief = alice.stolen()
    alice.get("/who", without=("access",))
    alice.get("/who", without=("access",))
    counted = Counted(shop)
    assert thief.get("/who", without=("access",)).told == "401 refresh-reused"
    assert alice.everywhere() == {"401 revoked-session"}
    assert alice.everywhere(without=("access",)) == {"401 revoked-session"}
    assert eventually(lambda: counted.is_now(reused=1))
    words = ("Refresh after revocation", f"sub={alice.email}", f"sid={alice.claims()['sid']}", "reason=refresh-reused")
    assert eventually(lambda: any(all(word in line for word in words) for line in _messages(shop)))


def test_R2_late_and_used_ends_the_family(quick_shop: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=quick_shop)
    thief = alice.stolen()
    alice.get("/who", without=("access",))
    assert alice.get("/who").status == 200, "the successor was seen"
    time.sleep(1.1)  # the grace
    assert thief.get("/who", without=("access",)).told == "401 refresh-reused"
    assert alice.get("/who").told == "401 revoked-session"


def test_R2_a_lost_answer_is_no_theft_however_late(quick_shop: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=quick_shop)
    alice.get("/who", without=("access",), is_kept=False)
    time.sleep(1.1)
    counted = Counted(quick_shop)
    reply = alice.get("/who", without=("access",))
    assert reply.status == 200
    assert alice.claims()["gen"] == 2
    assert alice.get("/who").status == 200
    assert eventually(lambda: counted.is_now(late=1))


def test_S06_another_device_inside_the_grace_ends_the_family(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    thief = alice.stolen(agent=ANDROID)
    alice.get("/who", without=("access",))
    assert thief.open("/who", without=("access",)).told == "401 refresh-reused"
    assert alice.everywhere() == {"401 revoked-session"}


def test_the_generation_is_judged_before_the_fingerprint(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    thief = alice.stolen(agent=ANDROID)
    for _ in range(2):
        alice.get("/who", without=("access",))
    assert thief.post("/auth/refresh").told == "401 refresh-reused"


def test_the_trail_tells_who_showed_the_reused_token_and_not_whose_it_was(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    thief = alice.stolen(agent=ANDROID, address="198.51.100.23")
    alice.get("/who", without=("access",))
    assert thief.open("/who", without=("access",)).told == "401 refresh-reused"

    def told() -> dict[str, str]:
        events = shop.gateway.call("GET", "/v1/audit", params={"user": alice.email, "action": "refresh"}).json()["events"]
        return next(({"network": e["network"], "device": e["device"]} for e in events if e["reason"] == "reused"), {})

    assert eventually(told) == {"network": "198.51.100.0/24", "device": "Chrome|Android|phone"}


# R4: what may still go out when the answer comes late.


@pytest.fixture
def slow(shop: Wire) -> Iterator[threading.Event]:
    """The backend answers when the event is set."""
    from backends import plain

    may_answer = threading.Event()
    before = shop.background.backend.answer

    async def answer(request, reader, writer):  # type: ignore[no-untyped-def]
        import asyncio

        if b"/slow/" in request.target:
            await asyncio.to_thread(may_answer.wait, 10)
        return await plain()(request, reader, writer)

    shop.background.backend.answer = answer
    yield may_answer
    may_answer.set()
    shop.background.backend.answer = before


def test_R4_a_late_answer_does_not_restore_what_a_logout_took(shop: Wire, browser: NewBrowser, slow: threading.Event) -> None:
    alice = browser()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(alice.get("/slow/report", without=("access",), is_kept=False)))
    asking.start()
    eventually(lambda: shop.reached("/slow/report"))
    assert alice.post("/auth/logout", is_kept=False).status == 204
    slow.set()
    asking.join(PATIENCE_S)
    assert not answers or not answers[0].cookies


def test_R4_a_late_answer_does_not_bring_back_an_older_generation(shop: Wire, browser: NewBrowser, slow: threading.Event) -> None:
    alice = browser()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(alice.get("/slow/older", without=("access",), is_kept=False)))
    asking.start()
    eventually(lambda: shop.reached("/slow/older"))
    alice.get("/who", without=("access",))
    for _ in range(24):
        alice.get("/who", without=("access",))  # both workers have met a newer generation by now
    slow.set()
    asking.join(PATIENCE_S)
    assert answers[0].status == 200 and not answers[0].cookies


def _messages(wire: Wire) -> list[str]:
    return [json.dumps(message)[:4000] and message["message"] for message in wire.gateway.messages()]
