"""The moment in which the store is away: frozen, killed, emptied, rolled back, in the middle of a login, a refresh, a log-out.

Asked each time: does anybody get in who should not, does anybody lose a session that is good, is anybody told that he is signed
out who is not, and is everything as it should be once the store answers.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attacks.wire_gateway import Wire, at_once, wire
from browser import ACCOUNTS, CALM, PASSWORD, Browser, NewBrowser, Reply, claims_of
from live.running_gateway import eventually
from patience import PATIENCE_S
from store_process import StoreProcess

from gateway.revocation.keys import RECORD

UNAVAILABLE = "503 store-unavailable"
SETTINGS: dict[str, Any] = ACCOUNTS | {"tokens": {"access_ttl": "3s"}, "sessions": {"grace": "2s"}}


def start(store: StoreProcess, running: Wire) -> None:
    assert running.gateway.command("store init").returncode == 0
    eventually(running.gateway.is_ready)
    eventually(lambda: _can_sign_in(running))


def _can_sign_in(running: Wire) -> bool:
    """There is a key to sign with."""
    return bool(running.gateway.call("GET", "/v1/keys").json().get("keys"))


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.thaw()
    process.close()


@pytest.fixture(scope="module")
def outage(store: StoreProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Two workers; a replica is trusted for a second. Each test leaves the store as it was."""
    settings = SETTINGS | {"store": {"url": store.url, "max_staleness": "1s"}}
    with wire(tmp_path_factory.mktemp("outage"), is_awaited=False, **settings) as running:
        start(store, running)
        yield running
        store.thaw()


@pytest.fixture(params=["frozen", "killed"])
def away(request: pytest.FixtureRequest, store: StoreProcess, outage: Wire) -> Iterator[Any]:
    """Called, it takes the store away; called again, it brings it back. As a list: what is to be called."""
    is_away = False

    def toggle() -> None:
        nonlocal is_away
        frozen = request.param == "frozen"
        if is_away:
            (store.thaw if frozen else store.start)()
        else:
            (store.freeze if frozen else store.kill)()
        is_away = not is_away
        if is_away:
            eventually(lambda: outage.everywhere("x", "/auth/me", times=4) and not outage.gateway.is_ready())

    yield toggle
    if is_away:
        toggle()
    eventually(outage.gateway.is_ready)


def test_L12_R2_R5_what_needs_the_store_says_so_and_takes_no_cookie_away(outage: Wire, browser: NewBrowser, away: Any) -> None:
    alice, other = browser(wire=outage), browser(wire=outage)
    email = other.email
    away()
    asked: dict[str, Reply] = {}
    for name, ask in {
        "login": lambda: Browser(outage).post("/auth/login", {"email": email, "password": PASSWORD}),
        "wrong login": lambda: Browser(outage).post("/auth/login", {"email": email, "password": "x" * 12}),
        "login of nobody": lambda: Browser(outage).post("/auth/login", {"email": "no@example.com", "password": "x" * 12}),
        "register": lambda: Browser(outage).post("/auth/register", {"email": "new@example.com", "password": PASSWORD}),
        "refresh": lambda: alice.post("/auth/refresh"),
        "renewal": lambda: alice.get("/who", without=("access",)),
        "request": lambda: alice.get("/who"),
        "page": lambda: alice.open("/who"),
        "me": lambda: alice.get("/auth/me"),
        "sessions": lambda: alice.get("/auth/sessions"),
        "devices": lambda: alice.open("/auth/devices"),
        "password": lambda: alice.post("/auth/password", {"current": PASSWORD, "new": "another good phrase"}),
        "end": lambda: alice.delete(f"/auth/sessions/{alice.claims()['sid']}"),
        "logout-all": lambda: alice.post("/auth/logout-all"),
    }.items():
        asked[name] = ask()
    for name, reply in asked.items():
        assert reply.status == 503, name
        assert reply.fields("retry-after") and not reply.fields("set-cookie"), name
    assert all(asked[name].told == UNAVAILABLE for name in asked)
    assert PASSWORD not in str(outage.gateway.messages()) and "x" * 12 not in str(outage.gateway.messages())
    away()
    eventually(lambda: alice.get("/who").status == 200)
    assert eventually(lambda: alice.everywhere(times=8) == {"200"})
    again = Browser(outage)
    assert eventually(lambda: again.post("/auth/login", {"email": email, "password": PASSWORD}).status == 200)
    assert Browser(outage).post("/auth/login", {"email": alice.email, "password": PASSWORD}).status == 200, "the old password"


def test_R5_a_logout_that_got_no_answer_is_not_told_as_done_and_is_done(outage: Wire, browser: NewBrowser, away: Any) -> None:
    alice, bob = browser(wire=outage), browser(wire=outage)
    copy = alice.stolen()
    away()
    reply = alice.post("/auth/logout", is_kept=False)
    assert reply.told == UNAVAILABLE and not reply.fields("set-cookie")
    # Whoever took it refuses already, also where a route goes on without the store; the other cannot know.
    told = copy.everywhere("/open/who", times=16) | copy.everywhere("/stale/who", times=16)
    assert "401 revoked-session" in told and told <= {"401 revoked-session", "200", UNAVAILABLE}
    away()
    assert eventually(lambda: copy.everywhere(times=8) == {"401 revoked-session"})
    assert copy.everywhere(without=("access",)) == {"401 revoked-session"}
    # A refresh asks a fresh replica: until then it is 503, which takes no cookie either.
    assert eventually(lambda: copy.post("/auth/refresh", is_kept=False).told == "401 revoked-session")
    assert eventually(lambda: bob.everywhere(times=8) == {"200"})


def test_S12_R2_rotations_that_were_on_their_way_are_one_rotation(outage: Wire, browser: NewBrowser, away: Any) -> None:
    alice = browser(wire=outage)
    told: list[str] = []

    def ask(number: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            told.append(alice.get(f"/who?{number}", without=("access",), is_kept=False).told)
            if told[-1] == "200":
                return
            time.sleep(0.05)  # the time a browser takes at least; a killed store refuses at once

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    away()
    away()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert set(told) <= {"200", UNAVAILABLE} and "200" in told
    reply = eventually(lambda: _renewed(alice))
    assert claims_of(reply.cookies["access"])["gen"] == 2
    alice.keep(reply)
    assert eventually(lambda: alice.everywhere(times=8) == {"200"})


def _renewed(alice: Browser) -> Reply | None:
    reply = alice.get("/who", without=("access",), is_kept=False)
    return reply if reply.status == 200 and reply.cookies else None


def test_L12_logins_that_were_on_their_way_end_and_leave_nothing_half_done(outage: Wire, browser: NewBrowser, away: Any) -> None:
    alice = browser(wire=outage)
    replies: list[Reply] = []

    def sign_in() -> None:
        replies.append(Browser(outage).post("/auth/login", {"email": alice.email, "password": PASSWORD}))

    threads = [threading.Thread(target=sign_in) for _ in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    away()
    for thread in threads:
        thread.join(PATIENCE_S)
    away()
    assert {reply.status for reply in replies} <= {200, 503}
    for reply in replies:
        assert (reply.status == 200) == bool(reply.cookies.get("access"))
    opened = [Browser(outage, cookies=dict(reply.cookies)) for reply in replies if reply.status == 200]
    eventually(lambda: alice.post("/auth/logout-all").status == 204)
    for one in (alice, *opened):
        assert one.everywhere(times=6) <= {"401 revoked-session", "401 no-token"}


def test_R5_a_worker_that_dies_with_a_promised_logout_is_followed_by_one_that_keeps_the_promise(
    outage: Wire, browser: NewBrowser, store: StoreProcess
) -> None:
    alice = browser(wire=outage)
    copy = alice.stolen()
    workers = outage.gateway.workers()
    store.freeze()
    try:
        eventually(lambda: not outage.gateway.is_ready())
        assert alice.post("/auth/logout", is_kept=False).told == UNAVAILABLE
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
    finally:
        store.thaw()
    eventually(outage.gateway.is_ready)
    assert eventually(lambda: copy.everywhere(times=8) == {"401 revoked-session"})
    assert copy.everywhere(without=("access",), times=8) == {"401 revoked-session"}


def test_S07_a_worker_that_is_killed_in_the_middle_of_rotations_leaves_one_successor(outage: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=outage)
    eventually(outage.gateway.is_ready)
    stop = threading.Event()
    told: list[Reply] = []

    def ask(number: int) -> None:
        while not stop.is_set():
            try:
                told.append(alice.get(f"/who?{number}", without=("access",), is_kept=False))
            except OSError:
                continue

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for worker in outage.gateway.workers():
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.15)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    eventually(outage.gateway.is_ready)
    assert {reply.told for reply in told} <= {"200", UNAVAILABLE, "0"}
    ids = {claims_of(reply.cookies["access"])["jti"] for reply in told if reply.cookies}
    assert len(ids) == 1
    reply = eventually(lambda: _renewed(alice))
    assert claims_of(reply.cookies["access"])["jti"] in ids
    alice.keep(reply)
    assert alice.everywhere(times=8) == {"200"}


def test_L5_a_store_that_is_somebody_else_s_and_then_emptied_signs_nobody_in_and_nobody_out(
    outage: Wire, browser: NewBrowser, store: StoreProcess
) -> None:
    """Last of its gateway: the records of sessions are gone in the end."""
    alice, bob, gone = browser(wire=outage), browser(wire=outage), browser(wire=outage)
    copy = gone.stolen()
    assert gone.post("/auth/logout").status == 204
    unmet = [browser(wire=outage) for _ in range(16)]
    log, epoch = store.command("HMGET", RECORD, "log", "epoch")  # type: ignore[misc]
    store.command("HSET", RECORD, "log", "another", "epoch", str(int(epoch) - 2**30))
    eventually(lambda: not outage.gateway.is_ready())
    eventually(lambda: alice.everywhere(times=8) == {UNAVAILABLE})
    assert copy.everywhere(times=8) == {"401 revoked-session"}
    for reply in (
        Browser(outage).post("/auth/login", {"email": alice.email, "password": PASSWORD}),
        alice.post("/auth/refresh"),
        alice.get("/who", without=("access",)),
        alice.post("/auth/logout", is_kept=False),
    ):
        assert reply.told == UNAVAILABLE and not reply.fields("set-cookie")
    signed_with = {key["kid"] for key in outage.gateway.call("GET", "/v1/keys").json()["keys"]}
    store.command("HSET", RECORD, "log", log, "epoch", epoch)
    eventually(outage.gateway.is_ready)
    eventually(lambda: bob.get("/who").status == 200)
    store.flush()  # ours, and now it is empty: no operator is needed
    # At once: no worker has noticed yet, and none has these sessions in its memory.
    met = at_once(16, lambda place: unmet[place].open("/who", without=("access",) if place % 2 else (), is_kept=False))
    assert not any(reply.told == "200" for reply in met)
    assert not any(reply.fields("set-cookie") for reply in met if reply.told == UNAVAILABLE)
    eventually(lambda: bob.everywhere(times=8) <= {"401 unknown-session", "401 expired-token"})
    eventually(outage.gateway.is_ready)
    assert signed_with <= {key["kid"] for key in outage.gateway.call("GET", "/v1/keys").json()["keys"]}
    assert copy.everywhere(times=8) <= {"401 revoked-session", "401 expired-token"}
    assert copy.everywhere(times=8, without=("access",)) == {"401 revoked-session"}
    again = Browser(outage)
    eventually(lambda: again.post("/auth/login", {"email": bob.email, "password": PASSWORD}).status == 200)
    assert again.everywhere(times=8) == {"200"}


@pytest.fixture
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, StoreProcess]]:
    process = StoreProcess().start()
    settings = SETTINGS | {"store": {"url": process.url, "max_staleness": "1s"}}
    try:
        with wire(tmp_path_factory.mktemp("rolled"), is_awaited=False, **settings) as running:
            start(process, running)
            yield running, process
    finally:
        process.close()


def test_L2_a_store_that_went_back_before_a_logout_lets_nobody_in_on_its_word(
    rolled: tuple[Wire, StoreProcess], browser: NewBrowser
) -> None:
    running, store = rolled
    alice, bob = browser(wire=running), browser(wire=running)
    copy = alice.stolen()
    older = store.keep_copy()
    assert alice.post("/auth/logout").status == 204
    later = [browser(wire=running) for _ in range(12)]
    store.roll_back(older)
    met = at_once(12, lambda place: later[place].open("/who", without=("access",) if place % 2 else (), is_kept=False))
    assert not any(reply.told == "200" for reply in met)
    assert not any(reply.fields("set-cookie") for reply in met if reply.told == UNAVAILABLE)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert copy.everywhere(times=4) <= {"401 revoked-session", "401 expired-token"}
        assert copy.everywhere(times=4, without=("access",)) <= {"401 revoked-session", UNAVAILABLE}
        assert copy.post("/auth/refresh", is_kept=False).status in (401, 503)
    assert eventually(lambda: bob.get("/who").status == 200), "what the workers knew was written back, and all goes on"
    assert bob.everywhere(times=8) == {"200"}
    assert copy.everywhere(times=8, without=("access",)) == {"401 revoked-session"}


def test_R2_a_store_that_lost_a_rotation_signs_nobody_out_and_still_finds_the_thief(
    rolled: tuple[Wire, StoreProcess], browser: NewBrowser
) -> None:
    """No entry of the log was lost, so nothing tells that the record is older than the browser's tokens, but these."""
    running, store = rolled
    alice = browser(wire=running)
    thief = alice.stolen()
    older = store.keep_copy()
    alice.get("/who", without=("access",))
    alice.get("/who", without=("access",))
    assert alice.claims()["gen"] == 3
    store.roll_back(older)
    eventually(running.gateway.is_ready)
    assert eventually(lambda: alice.get("/who", without=("access",)).status == 200)
    assert alice.claims()["gen"] == 4
    assert thief.get("/who", without=("access",)).told == "401 refresh-reused"
    assert eventually(lambda: alice.everywhere(times=8) == {"401 revoked-session"})


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("four"), **CALM, workers=4) as running:
        yield running


def test_S02_50_at_once_on_four_workers_are_one_rotation_and_no_alarm(four: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=four)
    before = four.gateway.metrics()
    replies = at_once(
        50,
        lambda number: (
            alice.get(f"/who?{number}", without=("access",), is_kept=False)
            if number % 2
            else alice.post("/auth/refresh", is_kept=False)
        ),
    )
    assert {reply.status for reply in replies} == {200}
    assert len({claims_of(reply.cookies["access"])["jti"] for reply in replies if reply.cookies}) == 1

    def grown(outcome: str) -> float:
        name = f'gateway_refreshes_total{{outcome="{outcome}"}}'
        return four.gateway.metrics()[name] - before[name]

    eventually(lambda: grown("rotated") + grown("repeated") == 50)
    assert (grown("rotated"), grown("reused"), grown("refused")) == (1, 0, 0)
    alice.keep(replies[0])
    assert alice.everywhere(times=40) == {"200"}


def test_S16_a_logout_of_all_is_enforced_by_four_workers_when_it_is_answered(four: Wire, browser: NewBrowser) -> None:
    laptop = browser(wire=four)
    others = [Browser(four) for _ in range(4)]
    for one in others:
        one.sign_in(laptop.email)
        assert one.everywhere(times=8) == {"200"}
    copy = laptop.stolen()
    assert laptop.post("/auth/logout-all").status == 204
    for one in (copy, *others):
        assert one.everywhere(times=40) == {"401 revoked-session"}
        assert one.everywhere(times=20, without=("access",)) == {"401 revoked-session"}
