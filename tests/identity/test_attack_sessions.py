"""Two sessions where one was meant, records that somebody edited, decisions that are overtaken while they wait."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attacks.wire_gateway import Wire, at_once, wire
from browser import ANDROID, CALM, PASSWORD, Browser, NewBrowser, Reply, claims_of
from live.running_gateway import PATIENT, eventually
from patience import PATIENCE_S
from store_process import StoreProcess

from gateway.login.limits import Counter
from gateway.portal.login import SESSIONS_PER_ACCOUNT
from gateway.portal.password import CHANGES_PER_ACCOUNT
from gateway.sessions.keys import index_key, record_key
from gateway.sessions.stored import FIELDS


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def glass(store: StoreProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A gateway into whose store a test can look and reach."""
    with wire(tmp_path_factory.mktemp("glass"), is_awaited=False, **CALM | {"store": PATIENT | {"url": store.url}}) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        eventually(lambda: running.gateway.call("GET", "/v1/keys").json()["keys"])
        yield running


# Two sessions.


def test_S08_cookies_of_two_sessions_renew_neither(shop: Wire, browser: NewBrowser) -> None:
    alice, bob = browser(), browser()
    mixed = Browser(shop, cookies={"access": bob.cookies["access"], "refresh": alice.cookies["refresh"]})
    reply = mixed.post("/auth/refresh", is_kept=False)
    assert reply.told == "401 malformed-token" and not any(reply.cookies.values())
    for one in (alice, bob):
        assert one.get("/who", without=("access",)).status == 200
        assert one.claims()["gen"] == 2, "it was the first rotation"


def test_S08_J53_a_valid_access_cookie_is_what_counts_and_the_other_refresh_cookie_is_not_looked_at(
    shop: Wire, browser: NewBrowser
) -> None:
    alice, bob = browser(), browser()
    mixed = Browser(shop, cookies={"access": bob.cookies["access"], "refresh": alice.cookies["refresh"]})
    reply = mixed.get("/mixed/who", is_kept=False)
    assert reply.status == 200 and not reply.cookies
    assert shop.reached("/mixed/who")[0].values("x-user") == [bob.email.encode()]


def test_S08_an_expired_access_cookie_of_another_session_is_not_healed(quick_shop: Wire, browser: NewBrowser) -> None:
    alice, bob = browser(wire=quick_shop), browser(wire=quick_shop)
    time.sleep(2.1)
    mixed = Browser(quick_shop, cookies={"access": bob.cookies["access"], "refresh": alice.cookies["refresh"]})
    assert mixed.get("/mixed/expired", is_kept=False).told == "401 malformed-token"
    assert mixed.post("/auth/refresh", is_kept=False).told == "401 malformed-token"
    assert not quick_shop.reached("/mixed/expired")
    for one in (alice, bob):
        assert one.get("/who").status == 200


@pytest.mark.parametrize("route", ["/who", "/optional/who", "/auth/me"])
def test_J53_a_bearer_token_decides_and_the_cookies_of_another_are_nobody(shop: Wire, browser: NewBrowser, route: str) -> None:
    alice, bob = browser(), browser()
    token = bob.cookies["access"]
    reply = alice.get(f"{route}?both={alice.email}", f"Authorization: Bearer {token}", is_kept=False)
    assert reply.status == 200
    if route != "/auth/me":
        assert [arrived.values("x-user") for arrived in shop.reached(f"both={alice.email}")] == [[bob.email.encode()]]
    else:
        assert reply.json()["user"] == bob.email


@pytest.mark.parametrize("junk", ["Bearer", "Bearer junk", "Bearer a.b.c", "Bearer a b", "bearer\tx"])
@pytest.mark.parametrize("path", ["/upload/junk", "/auth/logout", "/auth/logout-all", "/auth/password"])
def test_J53_S30_a_junk_credential_does_not_switch_the_csrf_check_off(
    shop: Wire, browser: NewBrowser, path: str, junk: str
) -> None:
    alice = browser()
    for lines in ((), ("Sec-Fetch-Site: cross-site",), ("Origin: https://evil.example",)):
        reply = alice.ask("POST", path, f"Authorization: {junk}", *lines, body=b"", is_kept=False)
        assert reply.status in (401, 403) and not reply.cookies, lines
    assert not shop.reached("/upload/junk")
    assert alice.get("/who").status == 200


@pytest.mark.parametrize("scheme", ["Basic dTpw", "Negotiate x", "Token junk"])
def test_S30_another_scheme_beside_the_cookies_leaves_the_check_on(shop: Wire, browser: NewBrowser, scheme: str) -> None:
    alice = browser()
    reply = alice.ask("POST", "/upload/scheme", f"Authorization: {scheme}", body=b"", is_kept=False)
    assert reply.told == "403 csrf"
    assert not shop.reached("/upload/scheme")


def test_S13_a_login_into_the_clients_hands_leaves_no_cookie_of_the_session_before(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    before = alice.stolen()
    alice.sign_in(delivery="token")
    shop.gateway.shown.append(alice.cookies["refresh"])
    assert set(alice.cookies) == {"refresh"}
    assert alice.post("/auth/refresh").status == 200
    assert before.everywhere() == {"401 revoked-session"}


def test_S13_a_planted_refresh_cookie_is_worth_nothing_after_the_login(shop: Wire, browser: NewBrowser) -> None:
    """The attacker's own session, planted in the victim's browser before she signs in."""
    mallory, alice = browser(), browser()
    planted = Browser(shop, cookies={"refresh": mallory.cookies["refresh"]})
    planted.sign_in(alice.email)
    assert planted.get("/auth/me").json()["user"] == alice.email
    assert planted.claims()["sid"].partition(".")[0] == alice.claims()["sub"]
    assert mallory.everywhere() == {"401 revoked-session"}
    for _ in range(3):
        planted.get("/who", without=("access",))
        assert planted.get("/auth/me").json()["user"] == alice.email


def test_two_logins_at_once_are_two_sessions_and_the_cap_holds(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    opened = at_once(14, lambda _: Browser(shop).sign_in(alice.email))
    sids = {claims_of(reply.cookies["access"])["sid"] for reply in opened}
    assert len(sids) == 14
    Browser(shop).sign_in(alice.email)  # names what is still too much
    last = Browser(shop)
    last.sign_in(alice.email)
    assert len(last.get("/auth/sessions").json()["sessions"]) == 10
    living = [reply for reply in opened if Browser(shop, cookies=reply.cookies).get("/who", is_kept=False).status == 200]
    assert len(living) <= 9
    dead = [Browser(shop, cookies=reply.cookies) for reply in opened if reply not in living]
    assert {one.get("/who", is_kept=False).told for one in dead} == {"401 revoked-session"}


# Records that somebody edited [S37].

EDITS: dict[str, Any] = {
    "another schema": {"schema": "2"},
    "another session's id": {"sid": "x"},
    "no user": {"user": ""},
    "a user with a line end": {"user": "alice\r\nX-User: root"},
    "a user with marks": {"user": "alice\u202e"},
    "a user that is longer than anything": {"user": "a" * 5000},
    "a user that is no UTF-8": {"user": b"\xff\xfe"},
    "groups that are no JSON": {"groups": "[staff"},
    "groups that are no list": {"groups": '{"staff":1}'},
    "groups of numbers": {"groups": "[1]"},
    "a group with a line end": {"groups": '["a\\r\\nb"]'},
    "a version of text": {"version": "one"},
    "a negative version": {"version": "-1"},
    "a version without end": {"version": "9" * 400},
    "a generation of text": {"generation": "NaN"},
    "a generation with an exponent": {"generation": "1e3"},
    "generation nought": {"generation": "0"},
    "a hexadecimal time": {"access_expires": "0x7fffffff"},
    "an infinite time": {"refresh_expires": "inf"},
    "an end that is before its tokens": {"ends": "1"},
    "a secret of one byte": {"secret": "x"},
    "another secret": {"secret": bytes(range(32))},
    "a delivery that there is not": {"delivery": "both"},
    "a truth that is none": {"ended": "yes"},
}


@pytest.mark.parametrize("name", EDITS)
def test_S37_an_edited_record_lets_nobody_in_and_fails_nothing(
    glass: Wire, browser: NewBrowser, store: StoreProcess, name: str
) -> None:
    alice = browser(wire=glass)
    key = record_key(alice.claims()["sid"])
    fields = [part for pair in EDITS[name].items() for part in pair]
    store.command("HSET", key, *fields)
    _is_refused_everywhere(glass, alice)


@pytest.mark.parametrize("field", FIELDS)
def test_S37_a_record_with_a_hole_is_none(glass: Wire, browser: NewBrowser, store: StoreProcess, field: str) -> None:
    alice = browser(wire=glass)
    store.command("HDEL", record_key(alice.claims()["sid"]), field)
    _is_refused_everywhere(glass, alice)


NO_RECORDS = ("SET {} x", "LPUSH {} x", 'SET {} {"sid":', "ZADD {} 1 x", "XADD {} * a b")


@pytest.mark.parametrize("command", NO_RECORDS)
def test_S37_what_is_not_even_a_record_is_none(glass: Wire, browser: NewBrowser, store: StoreProcess, command: str) -> None:
    alice = browser(wire=glass)
    key = record_key(alice.claims()["sid"])
    store.command("DEL", key)
    store.command(*(part if part != "{}" else key for part in command.split(" ")))
    _is_refused_everywhere(glass, alice)


def test_S37_one_users_record_under_anothers_name_is_none(glass: Wire, browser: NewBrowser, store: StoreProcess) -> None:
    alice, root = browser(wire=glass), browser(wire=glass)
    store.command("COPY", record_key(root.claims()["sid"]), record_key(alice.claims()["sid"]), "REPLACE")
    _is_refused_everywhere(glass, alice)
    assert root.get("/who").status == 200


def _is_refused_everywhere(glass: Wire, alice: Browser) -> None:
    """By every worker, with every token, at every endpoint; and whoever has such a session can leave it and sign in anew."""
    arrived = len(glass.arrived)
    refused = {"401 unknown-session", "401 bad-signature", "401 old-version"}
    for without in ((), ("access",)):
        assert alice.everywhere(times=10, without=without) <= refused
    for path in ("/auth/me", "/auth/sessions", "/auth/devices"):
        assert alice.get(path, is_kept=False).told in refused
    assert alice.post("/auth/refresh", is_kept=False).told in refused
    assert alice.post("/auth/password", {"current": PASSWORD, "new": "another good phrase"}, is_kept=False).told in refused
    assert len(glass.arrived) == arrived
    again = alice.stolen()
    again.sign_in()
    assert again.get("/who").status == 200
    assert [one["id"] for one in again.get("/auth/sessions").json()["sessions"]] == [again.claims()["sid"]]
    assert alice.post("/auth/logout", is_kept=False).status == 204
    messages = [line for line in glass.gateway.messages() if "exception" in line]
    assert messages == []


@pytest.mark.parametrize("member", ["x", "a.b", "{log}.x", "\r\n", b"\xff"], ids=repr)
def test_S37_an_edited_index_leads_nowhere(glass: Wire, browser: NewBrowser, store: StoreProcess, member: str | bytes) -> None:
    alice = browser(wire=glass)
    store.command("ZADD", index_key(alice.claims()["sub"]), 1, member)
    assert [one["id"] for one in alice.get("/auth/sessions").json()["sessions"]] == [alice.claims()["sid"]]
    phone = Browser(glass, agent=ANDROID)
    phone.sign_in(alice.email)
    assert alice.post("/auth/logout-all").status == 204
    assert phone.get("/who").told == "401 revoked-session"


# What is remembered of an end must not be made without end [B1].


def full(store: StoreProcess, counter: Counter) -> None:
    """As if all of it had been used a moment ago."""
    store.command("SET", counter.key, int((time.time() + counter.rate.period_s) * 1e6), "EX", 60)


def test_B1_who_signs_in_without_end_is_slowed_down_though_his_password_is_right(
    glass: Wire, browser: NewBrowser, store: StoreProcess
) -> None:
    """Every session above the cap is a fact in the log, for as long as a session may last."""
    alice, bob = browser(wire=glass), browser(wire=glass)
    full(store, Counter("opened", (alice.claims()["sub"],), SESSIONS_PER_ACCOUNT))
    before = store.command("ZCARD", "gateway:{log}:facts")
    for _ in range(3):
        reply = Browser(glass).post("/auth/login", {"email": alice.email, "password": PASSWORD})
        assert reply.status == 429 and reply.fields("retry-after")
    assert alice.get("/who").status == 200, "the sessions that are there go on"
    full(store, Counter("changed", (alice.claims()["sub"],), CHANGES_PER_ACCOUNT))
    assert alice.post("/auth/password", {"current": PASSWORD, "new": "another good phrase"}).status == 429
    assert store.command("ZCARD", "gateway:{log}:facts") == before
    assert Browser(glass).post("/auth/login", {"email": bob.email, "password": PASSWORD}).status == 200


def test_B1_a_dead_token_shown_again_and_again_fills_neither_the_log_nor_the_trail(
    glass: Wire, browser: NewBrowser, store: StoreProcess
) -> None:
    alice = browser(wire=glass)
    copy = alice.stolen()
    assert alice.post("/auth/logout").status == 204
    before = store.command("ZCARD", "gateway:{log}:facts")

    def told() -> int:
        events = glass.gateway.call("GET", "/v1/audit", params={"user": copy.email, "limit": 1000}).json()["events"]
        return sum(event["action"] == "logout" for event in events)

    eventually(told)
    for _ in range(40):
        assert copy.post("/auth/logout", is_kept=False).status == 204
        bearer = f"Authorization: Bearer {copy.cookies['access']}"
        assert copy.ask("POST", "/auth/logout", bearer, without=("access", "refresh", "csrf"), is_kept=False).status == 204
    assert store.command("ZCARD", "gateway:{log}:facts") == before
    time.sleep(1.2)  # the trail is written twice a second
    assert told() == 1


# Overtaken while they wait [W4].


def busy(shop: Wire, number: int = 60) -> list[threading.Thread]:
    """Logins that keep both workers' hashing threads busy for about a second; nobody is limited by them."""

    def sign_in(place: int) -> None:
        Browser(shop, address=f"10.{place}.1.1").post(
            "/auth/login", {"email": f"nobody-{place}@example.com", "password": "x" * 12}
        )

    threads = [threading.Thread(target=sign_in, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("how", ["end", "block", "revoke"])
def test_W4_who_is_put_out_while_a_password_is_hashed_changes_nothing(shop: Wire, browser: NewBrowser, how: str) -> None:
    """A thief who sits at the form, and knows the password, must not win the race against whoever puts him out."""
    owner = browser()
    thief = owner.stolen()
    phone = Browser(shop, agent=ANDROID)
    phone.sign_in(owner.email)
    told: list[str] = []
    threads = busy(shop)

    def change() -> None:
        told.append(thief.post("/auth/password", {"current": PASSWORD, "new": "the thief's phrase"}, is_kept=False).told)

    asking = threading.Thread(target=change)
    asking.start()
    time.sleep(0.1)  # by now it is behind the others in the queue
    match how:
        case "end":
            assert phone.delete(f"/auth/sessions/{owner.claims()['sid']}").status == 204
        case "block":
            assert shop.gateway.call("POST", f"/v1/users/{owner.email}/block").status_code in (200, 201)
        case "revoke":
            assert shop.gateway.call("POST", "/v1/revocations", json={"user": owner.email}).status_code == 201
    for thread in (asking, *threads):
        thread.join(PATIENCE_S)
    assert (
        told[0]
        in {
            "end": ("401 revoked-session", "401 unknown-session"),
            "block": ("403 blocked-user",),
            "revoke": ("401 old-version", "401 unknown-session"),
        }[how]
    )
    if how == "block":
        shop.gateway.call("DELETE", f"/v1/users/{owner.email}/block")
    assert Browser(shop).post("/auth/login", {"email": owner.email, "password": PASSWORD}).status == 200


@pytest.mark.parametrize("round_", range(6))
def test_R5_a_refresh_that_meets_a_logout_brings_nothing_back(shop: Wire, browser: NewBrowser, round_: int) -> None:
    alice = browser()
    copy = alice.stolen()

    def ask(number: int) -> Reply:
        if number == 5:
            return alice.post("/auth/logout", is_kept=False)
        if number % 2:
            return copy.get(f"/who?{number}", without=("access",), is_kept=False)
        return copy.post("/auth/refresh", is_kept=False)

    replies = at_once(12, ask)
    assert replies[5].status == 204
    for reply in replies:
        if reply.cookies.get("access"):
            holder = Browser(shop, cookies=dict(reply.cookies))
            assert holder.everywhere(times=8) == {"401 revoked-session"}
            assert holder.everywhere(times=8, without=("access",)) == {"401 revoked-session"}


@pytest.mark.parametrize("round_", range(5))
def test_L8_a_refresh_that_meets_a_change_of_password_keeps_no_old_session_alive(
    shop: Wire, browser: NewBrowser, round_: int
) -> None:
    alice = browser()
    thief = alice.stolen()
    phone = Browser(shop, agent=ANDROID)
    phone.sign_in(alice.email)

    def ask(number: int) -> Reply:
        if number == 5:
            return alice.post("/auth/password", {"current": PASSWORD, "new": "another good phrase"}, is_kept=False)
        return (thief if number % 2 else phone).post("/auth/refresh", is_kept=False)

    replies = at_once(11, ask)
    changed = replies.pop(5)
    assert changed.status == 204
    over = {"401 old-version", "401 revoked-session", "401 refresh-reused"}
    for holder in (
        thief,
        phone,
        *(Browser(shop, cookies=dict(reply.cookies)) for reply in replies if reply.cookies.get("access")),
    ):
        holder.agent = phone.agent if holder.claims()["sid"] == phone.claims()["sid"] else alice.agent
        assert holder.everywhere(times=6) <= over
        assert holder.everywhere(times=6, without=("access",)) <= over
    if changed.cookies.get("access"):  # unless the thief's refresh was taken for reuse
        alice.keep(changed)
        assert alice.everywhere(times=6) in ({"200"}, {"401 revoked-session"})
