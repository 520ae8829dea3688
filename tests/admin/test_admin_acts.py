"""What operators do to people who are signed in, seen from the application's side: a whole gateway, two workers, real requests.

Each test has accounts of its own, so they share one gateway.
"""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from live.running_gateway import Child, complete, eventually
from people import APPLICATION, OTHER_PASSWORD, PASSWORD, People

BLOCKED, OLD, SESSION, TOKEN, RETIRED = (
    {"403 blocked-user"},
    {"401 old-version"},
    {"401 revoked-session"},
    {"401 revoked-token"},
    {"401 retired-key"},
)
GOOD = {"200"}


@pytest.fixture(scope="module")
def application() -> Iterator[Child]:
    child = Child(APPLICATION)
    yield child
    child.stop()


@pytest.fixture(scope="module")
def gateway(application: Child, tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    gateway = People(tmp_path_factory.mktemp("people"), application)
    try:
        yield gateway.start()
    finally:
        gateway.stop()
    output = gateway.path("access").read_bytes() + gateway.path("messages").read_bytes()
    assert not gateway.leaks()
    assert not any(password.encode() in output for password in (PASSWORD, OTHER_PASSWORD, "argon2id"))


def claims(token: str) -> dict[str, str]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def test_a_raised_version_of_which_nobody_told_the_log_is_told_a_little_later(gateway: People):
    """What is left behind by a worker that is killed between the database's word and the log's."""
    dora, eve = gateway.add("dora@example.com"), gateway.add("eve@example.com")
    theirs = {name: gateway.sign_in(name) for name in (dora, eve)}
    with closing(sqlite3.connect(gateway.folder / "var" / "accounts.db")) as database, database:
        database.execute("UPDATE accounts SET version = version + 1, changed = changed - 60 WHERE email = ?", (dora,))
    eventually(lambda: gateway.told_everywhere("/who", theirs[dora]) == OLD)
    assert gateway.told_everywhere("/who", theirs[eve]) == GOOD
    assert [event["text"] for event in gateway.events(user=dora) if event["action"] == "revocation"] == ["told late"]
    gateway.sign_in(dora)


def test_T2_a_revoked_user_is_refused_signs_in_again_and_an_undo_really_undoes(gateway: People):
    alice = gateway.add("alice@example.com")
    before = gateway.sign_in(alice)
    receipt = gateway.revoke(user=alice, reason="by mistake")
    after = gateway.sign_in(alice)
    assert gateway.told_everywhere("/who", before) == OLD
    assert gateway.told_everywhere("/who", after) == GOOD
    assert len(gateway.sessions_of(alice)) == 1
    gateway.undo(receipt)
    assert gateway.told_everywhere("/who", before) == GOOD
    assert len(gateway.sessions_of(alice)) == 2


def test_a_user_is_named_in_any_spelling_of_the_address(gateway: People):
    name = gateway.add("Spelled@Example.com")
    token = gateway.sign_in(name)
    gateway.revoke(user="SPELLED@example.COM")
    assert gateway.told_everywhere("/who", token) == OLD
    assert gateway.call("GET", "/v1/users/%53pelled%40Example.com").json()["user"] == name == "spelled@example.com"


def test_a_user_of_one_issuer_is_not_an_account(gateway: People):
    name = gateway.add("two@example.com")
    own, foreign = gateway.sign_in(name), gateway.token(sub="two@example.com")
    gateway.revoke(user="shop|two@example.com")
    assert gateway.told_everywhere("/who", own) == GOOD
    assert gateway.told_everywhere("/who", foreign) == OLD
    gateway.revoke(user=name, issuer="https://idp.example")
    assert gateway.told_everywhere("/who", own) == GOOD
    gateway.revoke(user=name, issuer="http://gateway.test")
    assert gateway.told_everywhere("/who", own) == OLD


def test_T3_a_revoked_token_of_ours_takes_its_session_along(gateway: People):
    name = gateway.add("token@example.com")
    token, other = gateway.sign_in(name), gateway.sign_in(name)
    gateway.revoke(token_id=claims(token)["jti"])
    assert gateway.told_everywhere("/who", token) == TOKEN
    assert gateway.told_everywhere("/who", other) == GOOD
    assert gateway.sessions_of(name) == [claims(other)["sid"]]
    facts = [event["session"] for event in gateway.events(user=name, action="revocation")]
    assert facts == [claims(token)["sid"]]


def test_L8_a_session_is_ended_by_its_id_and_again_without_harm(gateway: People):
    name = gateway.add("session@example.com")
    token, other = gateway.sign_in(name), gateway.sign_in(name)
    sid = claims(token)["sid"]
    for _ in range(2):
        complete(gateway.call("DELETE", f"/v1/sessions/{sid}").json())
    gateway.revoke(session=claims(other)["sid"])
    assert gateway.told_everywhere("/who", token) | gateway.told_everywhere("/who", other) == SESSION
    assert gateway.sessions_of(name) == []


def test_every_session_of_a_user_ends_at_once(gateway: People):
    name = gateway.add("all@example.com")
    tokens = [gateway.sign_in(name) for _ in range(3)]
    receipt = gateway.call("DELETE", f"/v1/users/{name}/sessions").json()
    complete(receipt)
    assert receipt["sessions"] == 3
    assert set.union(*(gateway.told_everywhere("/who", token) for token in tokens)) == SESSION
    again = gateway.call("DELETE", f"/v1/users/{name}/sessions").json()
    complete(again)
    assert again["sessions"] == 0


def test_a_block_keeps_out_until_it_is_lifted_whoever_issued_the_token(gateway: People):
    name = gateway.add("blocked@example.com")
    own, foreign = gateway.sign_in(name), gateway.token(sub="stranger")
    for user in ("Blocked@example.com", "shop|stranger"):
        for _ in range(2):
            answer = gateway.call("POST", f"/v1/users/{user}/block", json={"reason": "left the company"})
            assert answer.status_code == 201
            complete(answer.json())
    assert gateway.told_everywhere("/who", own) | gateway.told_everywhere("/who", foreign) == BLOCKED
    assert gateway.try_to_sign_in(name).status_code == 403
    assert gateway.call("GET", f"/v1/users/{name}").json()["blocked"] is True
    for user in (name, "shop|stranger"):
        complete(gateway.call("DELETE", f"/v1/users/{user}/block").json())
        assert gateway.call("DELETE", f"/v1/users/{user}/block").status_code == 404
    assert gateway.told_everywhere("/who", own) | gateway.told_everywhere("/who", foreign) == GOOD


def test_groups_count_from_the_next_request_on(gateway: People):
    name = gateway.add("groups@example.com")
    token = gateway.sign_in(name)
    assert gateway.told_everywhere("/staff/who", token) == {"403 forbidden"}
    receipt = gateway.call("PUT", f"/v1/users/{name}/groups", json={"groups": ["staff", "büro"]}).json()
    complete(receipt)
    assert (receipt["groups"], receipt["sessions"]) == (["büro", "staff"], 1)
    assert gateway.told_everywhere("/staff/who", token) == GOOD
    headers = dict(gateway.ask("/staff/who", token).json()["headers"])
    assert headers["X-User-Groups"] == "b%C3%BCro,staff"
    complete(gateway.call("PUT", f"/v1/users/{name}/groups", json={"groups": []}).json())
    assert gateway.told_everywhere("/staff/who", token) == {"403 forbidden"}


def test_a_password_set_by_an_operator_ends_every_session(gateway: People):
    name = gateway.add("password@example.com")
    token = gateway.sign_in(name)
    answer = gateway.call("PUT", f"/v1/users/{name}/password", json={"password": OTHER_PASSWORD})
    complete(answer.json())
    assert answer.json()["sessions"] == 1
    assert gateway.told_everywhere("/who", token) == OLD
    assert gateway.try_to_sign_in(name).status_code == 401
    assert gateway.told_everywhere("/who", gateway.sign_in(name, OTHER_PASSWORD)) == GOOD


def test_a_person_is_erased_and_the_name_is_nobodys(gateway: People):
    name = gateway.add("erased@example.com", "staff")
    token = gateway.sign_in(name)
    eventually(lambda: gateway.events(user=name, action="login"))
    answer = gateway.call("DELETE", f"/v1/users/{name}")
    told = answer.json()
    complete(told["receipt"])
    assert told["erased"] == {
        "account": True,
        "sessions": 1,
        "known_devices": True,
        "first_uses": [],
        "name_in_audit": True,
    }
    assert gateway.told_everywhere("/who", token) == OLD
    assert gateway.try_to_sign_in(name).status_code == 401
    assert gateway.call("GET", f"/v1/users/{name}").status_code == 404
    assert gateway.events(user=name) == []
    assert name not in json.dumps(gateway.events(limit="1000"))
    again = gateway.call("DELETE", f"/v1/users/{name}").json()
    assert (again["erased"]["account"], again["receipt"]) == (False, None)


def test_T1_a_name_that_is_registered_again_is_somebody_else(gateway: People):
    name = gateway.add("again@example.com", "staff")
    old = gateway.sign_in(name)
    gateway.call("DELETE", f"/v1/users/{name}")
    gateway.add(name)
    new = gateway.sign_in(name)
    assert gateway.told_everywhere("/who", old) == OLD
    assert gateway.told_everywhere("/who", new) == GOOD
    assert claims(old)["sub"] != claims(new)["sub"]
    assert gateway.told_everywhere("/staff/who", new) == {"403 forbidden"}


def test_an_erasure_says_what_of_the_name_is_kept(gateway: People):
    name = gateway.add("kept@example.com")
    gateway.revoke(user=name)
    gateway.call("POST", f"/v1/users/{name}/block")
    kept = gateway.call("DELETE", f"/v1/users/{name}").json()["kept"]
    named = {entry["what"]: entry["until"] for entry in kept}
    assert named["the block that keeps this name out"] == "until it is lifted"
    assert any("a revocation of the user at every issuer" in what for what in named)
    assert any("refuses the account's tokens" in what for what in named)


def test_a_leak_of_the_keys_is_answered_by_one_call(gateway: People):
    name = gateway.add("leak@example.com")
    token = gateway.sign_in(name)
    assert len(gateway.sessions_of(name)) == 1
    answer = gateway.call("POST", "/v1/keys/rotate", json={"compromised": True})
    complete(answer.json())
    assert answer.json()["sessions"] >= 1
    assert gateway.told_everywhere("/who", token) == RETIRED
    assert gateway.sessions_of(name) == []
    keys = gateway.call("GET", "/v1/keys").json()["keys"]
    assert [key["kid"] for key in keys if key["state"] == "signing"] == [answer.json()["signing"]]
    assert {key["state"] for key in keys} == {"signing", "gone"}
    assert gateway.told_everywhere("/who", gateway.sign_in(name)) == GOOD


def test_T4_a_plain_rotation_ends_nothing_and_a_retired_key_is_refused(gateway: People):
    name = gateway.add("rotation@example.com")
    before = gateway.sign_in(name)
    signed_by = json.loads(base64.urlsafe_b64decode(before.split(".")[0] + "=="))["kid"]
    complete(gateway.call("POST", "/v1/keys/rotate").json())
    after = gateway.sign_in(name)
    assert gateway.told_everywhere("/who", before) | gateway.told_everywhere("/who", after) == GOOD
    complete(gateway.call("DELETE", f"/v1/keys/{signed_by}").json())
    assert gateway.told_everywhere("/who", before) == RETIRED
    assert gateway.told_everywhere("/who", after) == GOOD


def test_every_act_is_in_the_trail_with_who_did_it(gateway: People):
    name = gateway.add("trail@example.com", "staff")
    gateway.sign_in(name)
    sid = gateway.sessions_of(name)[0]
    acts = [
        ("PUT", f"/v1/users/{name}/groups", {"groups": []}),
        ("POST", f"/v1/users/{name}/block", {"reason": "a while"}),
        ("DELETE", f"/v1/users/{name}/block", None),
        ("DELETE", f"/v1/sessions/{sid}", None),
        ("DELETE", f"/v1/users/{name}/sessions", None),
        ("PUT", f"/v1/users/{name}/password", {"password": OTHER_PASSWORD}),
        ("POST", "/v1/revocations", {"user": name}),
    ]
    for method, path, body in acts:
        assert gateway.call(method, path, json=body).status_code in (200, 201), path
    told = [(event["action"], event["source"]) for event in gateway.events(user=name) if "source" in event]
    by = "admin token 1"
    words = ["revocation", "password-changed", "session-ended", "session-ended", "unblocked", "blocked", "groups-changed"]
    assert told == [(word, by) for word in [*words, "registered"]]


def test_status_knows_keys_sessions_and_accounts(gateway: People):
    gateway.sign_in(gateway.add("status@example.com"))
    status = gateway.status()
    assert any(key["state"] == "signing" for key in status["keys"])
    assert status["sessions"] >= 1
    assert status["accounts"] == {"state": "up", "database": "sqlite", "registration": "closed"}


def test_the_purge_answers_with_figures(gateway: People):
    assert set(gateway.call("POST", "/v1/purge").json()) == {"sessions", "audit_events", "audit_names"}
    assert gateway.events(action="purge")[0]["source"] == "admin token 1"


def test_the_first_revocation_of_a_user_does_not_wait_for_a_database_that_is_not_there(
    application: Child, tmp_path_factory: pytest.TempPathFactory
):
    gateway = People(tmp_path_factory.mktemp("nobody"), application)
    try:
        gateway.start()
        gateway.revoke(user="nobody@example.com")
        assert not (gateway.folder / "var" / "accounts.db").exists()
        assert gateway.call("GET", "/v1/users").json() == {"users": [], "next": None}
        assert gateway.status()["accounts"]["state"] == "unused"
    finally:
        gateway.stop()
