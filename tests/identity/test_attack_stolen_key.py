"""Somebody has our signing key, and nothing else of ours: what he signs is no session.

A token of ours is a claim that its session is asked about. The record says who it is, in which groups, in which version; and
the token's id is a MAC under a secret that lies with the record. So a stolen key opens no door, before its leak is known, and
after it was retired it does not close any either.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from attacks.wire_gateway import Wire, wire
from browser import CALM, Browser, NewBrowser
from forging import FAR, SECRETS, Forger
from live.running_gateway import PATIENT, eventually
from store_process import StoreProcess

from gateway.sessions.keys import record_key
from gateway.sessions.model import new_session_id, new_subject


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.close()


def keys(store: StoreProcess) -> set[str]:
    found = store.command("KEYS", "*")
    assert isinstance(found, list)
    return {key.decode() for key in found}


@pytest.fixture(scope="module")
def robbed(store: StoreProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A gateway whose store, and the secret of whose keys, a test can read."""
    settings: dict[str, Any] = CALM | {"store": PATIENT | {"url": store.url}, "tokens": {"secrets": SECRETS}}
    with wire(tmp_path_factory.mktemp("robbed"), is_awaited=False, **settings) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        yield running


@pytest.fixture(scope="module")
def forger(robbed: Wire, store: StoreProcess) -> Forger:
    return Forger(store.url)


def facts(store: StoreProcess) -> object:
    """How many facts the log knows."""
    return store.command("ZCARD", "gateway:{log}:facts")


def shown(robbed: Wire, token: str, path: str, of: Browser, how: str) -> Any:
    """The answer to a token in its place, from the browser of its session."""
    robbed.gateway.shown.append(token)
    line = f"Authorization: Bearer {token}" if how == "bearer" else f"Cookie: __Host-{how}={token}"
    return of.get(path, line, without=("access", "refresh", "csrf"), is_kept=False)


def test_what_is_signed_with_it_and_unchanged_is_accepted_so_the_forger_is_no_bungler(
    robbed: Wire, browser: NewBrowser, forger: Forger
) -> None:
    alice = browser(wire=robbed)
    for how, token in (("bearer", forger.access(alice)), ("access", forger.access(alice)), ("refresh", forger.refresh(alice))):
        assert shown(robbed, token, "/who", alice, how).status == 200


@pytest.mark.parametrize("how", ["bearer", "access"])
@pytest.mark.parametrize(
    "changes",
    [{"gen": 2}, {"gen": 7}, {"gen": 2**53 - 1}, {"jti": "other"}, {"jti": "of another session"}, {"jti": "refresh"}],
    ids=str,
)
def test_R1_an_access_token_that_the_session_did_not_make_is_refused_and_told(
    robbed: Wire, browser: NewBrowser, forger: Forger, store: StoreProcess, changes: dict[str, Any], how: str
) -> None:
    alice, bob = browser(wire=robbed), browser(wire=robbed)
    record = record_key(alice.claims()["sid"])
    before = store.command("HGETALL", record)
    ids = {
        "other": f"{alice.claims()['sid']}.{'A' * 22}",
        "of another session": f"{alice.claims()['sid']}.{bob.claims()['jti'].rpartition('.')[2]}",
        "refresh": alice.claims("refresh")["jti"],
    }
    changes = {name: ids.get(str(value), value) for name, value in changes.items()}
    reply = shown(robbed, forger.access(alice, exp=FAR, **changes), "/forged/access", alice, how)
    assert reply.told == "401 bad-signature"
    assert not robbed.reached("/forged/access")
    assert store.command("HGETALL", record) == before, "the store was told of no generation that there is not"
    assert eventually(lambda: any("Token signature mismatch" in line["message"] for line in robbed.gateway.messages()))
    assert alice.everywhere() == {"200"}


@pytest.mark.parametrize("generation", [2, 3, 50, 2**53 - 1])
def test_R2_no_invented_generation_rotates_a_session(robbed: Wire, browser: NewBrowser, forger: Forger, generation: int) -> None:
    """A generation above the record's is what a store that lost a write looks like; it is believed of a genuine token only."""
    alice = browser(wire=robbed)
    forged = forger.refresh(alice, gen=generation)
    for path in ("/forged/refresh", "/auth/me"):
        reply = shown(robbed, forged, path, alice, "refresh")
        assert reply.told == "401 bad-signature" and not reply.cookies
    thief = Browser(robbed, cookies={"refresh": forged})
    assert thief.post("/auth/refresh", is_kept=False).told == "401 bad-signature"
    assert not robbed.reached("/forged/refresh")
    assert alice.get("/who", without=("access",)).status == 200
    assert alice.claims()["gen"] == 2


def test_T1_the_record_says_who_it_is_and_not_the_token(robbed: Wire, browser: NewBrowser, forger: Forger) -> None:
    mallory = browser(wire=robbed)
    token = forger.access(mallory, name="root@example.com", groups=["staff", "root"], exp=FAR)
    for how in ("bearer", "access"):
        path = f"/named/{how}"
        assert shown(robbed, token, path, mallory, how).status == 200
        (arrived,) = robbed.reached(path)
        assert arrived.values("x-user") == [mallory.email.encode()]
        assert not arrived.values("x-user-groups")
        assert shown(robbed, token, "/staff/named", mallory, how).told == "403 forbidden"
        assert shown(robbed, token, "/auth/me", mallory, how).json()["user"] == mallory.email


CONFUSED: dict[str, dict[str, Any]] = {
    "no session": {"sid": None},
    "no id": {"jti": None},
    "no subject": {"sub": None},
    "another's subject": {"sub": "bob's"},
    "another's session": {"sid": "bob's"},
    "another's id": {"jti": "bob's"},
    "a session without a dot": {"sid": "A" * 39},
    "an empty session": {"sid": ""},
    "a session that is longer": {"sid": "longer"},
    "a session with a slot": {"sid": "{log}." + "A" * 22},
    "a session with another key's name": {"sid": "x}:y"},
    "no version": {"ver": None},
    "a negative version": {"ver": -1},
    "a version of text": {"ver": "1"},
    "no generation": {"gen": None},
    "generation nought": {"gen": 0},
    "a generation of text": {"gen": "1"},
    "a generation beyond all": {"gen": 2**63},
}


@pytest.mark.parametrize("name", CONFUSED)
def test_sub_sid_and_jti_are_of_one_session_or_the_token_is_none(
    robbed: Wire, browser: NewBrowser, forger: Forger, name: str
) -> None:
    alice, bob = browser(wire=robbed), browser(wire=robbed)
    changes = {
        claim: bob.claims()[claim] if value == "bob's" else alice.claims()["sid"] + "A" if value == "longer" else value
        for claim, value in CONFUSED[name].items()
    }
    for how, token in (
        ("bearer", forger.access(alice, **changes)),
        ("access", forger.access(alice, **changes)),
        ("refresh", forger.refresh(alice, **changes)),
    ):
        assert shown(robbed, token, "/confused", alice, how).told == "401 malformed-token", how
    assert not robbed.reached("/confused")


def test_S38_a_session_that_nobody_has_is_unknown_and_makes_no_key_in_the_store(
    robbed: Wire, browser: NewBrowser, forger: Forger, store: StoreProcess
) -> None:
    alice = browser(wire=robbed)
    before = keys(store)
    invented = [new_subject() for _ in range(50)]
    for sub in invented:
        sid = new_session_id(sub)
        token = forger.access(alice, sub=sub, sid=sid, jti=f"{sid}.{'A' * 22}")
        assert shown(robbed, token, "/nobody", alice, "bearer").told == "401 unknown-session"
        refresh = forger.refresh(alice, sub=sub, sid=sid, jti=f"{sid}.{'A' * 22}")
        assert shown(robbed, refresh, "/nobody", alice, "refresh").told == "401 unknown-session"
    assert not robbed.reached("/nobody")
    made = keys(store) - before  # a lease or the trail of somebody else may begin meanwhile
    assert len(made) < 10
    assert not [key for key in made if any(sub in key for sub in invented)]


@pytest.mark.parametrize(
    "kind", ["rt+jwt", "JWT", "assertion+jwt", "at+JWT ", "application/rt+jwt", "", None, "at+jwt;x", "refresh"]
)
def test_J48_a_token_of_another_type_is_no_access_token(
    robbed: Wire, browser: NewBrowser, forger: Forger, kind: str | None
) -> None:
    alice = browser(wire=robbed)
    token = forger.sign(kind, alice.claims())  # type: ignore[arg-type]  # as a library would not
    for how in ("bearer", "access"):
        assert shown(robbed, token, "/typed", alice, how).told == "401 malformed-token"
    assert not robbed.reached("/typed")


# After the leak is known.


def test_T4_a_retired_key_opens_nothing_and_closes_nothing_either(robbed: Wire, browser: NewBrowser, store: StoreProcess) -> None:
    """Whoever holds a leaked key must not sign everybody out with it, nor fill the log with facts about what never was."""
    forger = Forger(store.url)
    alice = browser(wire=robbed)
    assert robbed.gateway.call("POST", "/v1/keys/rotate").json()["complete"]
    assert robbed.gateway.call("DELETE", f"/v1/keys/{forger.key.kid}").json()["complete"]
    bob = browser(wire=robbed)
    before = facts(store)
    sid = bob.claims()["sid"]
    forged = {"access": forger.access(bob, jti=f"{sid}.{'A' * 22}"), "refresh": forger.refresh(bob, jti=f"{sid}.{'A' * 22}")}
    invented = new_session_id(new_subject())
    nobody = forger.access(bob, sub=invented.partition(".")[0], sid=invented, jti=f"{invented}.{'A' * 22}")
    robbed.gateway.shown += [*forged.values(), nobody]
    mallory = Browser(robbed, cookies=forged)
    for how, token in forged.items():
        assert shown(robbed, token, "/who", bob, how).told == "401 retired-key"
    assert mallory.post("/auth/refresh", is_kept=False).told == "401 retired-key"
    mallory.post("/auth/logout", is_kept=False)
    for token in (forged["access"], nobody):
        reply = Browser(robbed).ask("POST", "/auth/logout", f"Authorization: Bearer {token}")
        assert reply.told == "401 retired-key"
    browser(wire=robbed, cookies=forged)
    assert bob.everywhere() == {"200"}
    assert facts(store) == before
    # Its owner, whose tokens the session itself made, still leaves with them: perhaps a thief has newer ones.
    assert alice.get("/who", is_kept=False).told == "401 retired-key"
    assert alice.post("/auth/logout", is_kept=False).status == 204
    assert facts(store) == int(str(before)) + 1
