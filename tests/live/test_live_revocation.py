"""Each of the four kinds of revocation, on two real workers: the next request is refused for its own reason, by both."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from issuing import rsa_signer
from running_gateway import ISSUER, RunningGateway, complete, eventually

BOTH = {"worker 0", "worker 1"}


@dataclass(frozen=True)
class Case:
    """A kind of revocation: what is named, the option of the command, and the reason that is told."""

    subject: str
    option: str
    reason: str
    kind: str

    def body(self, name: str) -> dict[str, str]:
        return {self.subject: name, "reason": "a test"} | ({"issuer": ISSUER} if self.subject == "token_id" else {})

    def arguments(self, name: str) -> list[str]:
        return [self.option, name, *(["--issuer", ISSUER] if self.subject == "token_id" else [])]

    def token(self, gateway: RunningGateway, name: str) -> str:
        """A token that this revocation concerns."""
        if self.subject == "key":
            if all(signer.kid != name for signer in gateway.signers):
                gateway.publish(rsa_signer(name))
            signer = next(signer for signer in gateway.signers if signer.kid == name)
            return gateway.token(signer=signer, sub=name, jti=name, sid=name)
        claim = {"token_id": "jti", "session": "sid", "user": "sub"}[self.subject]
        return gateway.token(**({"sub": name, "jti": name, "sid": name} | {claim: name}))


CASES = [
    Case("token_id", "--token-id", "revoked-token", "token"),
    Case("session", "--session", "revoked-session", "session"),
    Case("user", "--user", "old-version", "version"),
    Case("key", "--key", "retired-key", "key"),
]
each_kind = pytest.mark.parametrize("case", CASES, ids=[case.subject for case in CASES])


@each_kind
def test_the_next_request_is_refused_by_both_workers_for_its_own_reason(gateway: RunningGateway, case: Case):
    name = f"next-{case.subject}"
    token, other = case.token(gateway, name), gateway.token(sub="bystander", sid="bystander")
    eventually(lambda: gateway.told_everywhere("/who", token) == {"200"})  # a new key takes a moment to be read
    gateway.revoke(**case.body(name))
    assert gateway.told_everywhere("/who", token) == {f"401 {case.reason}"}
    assert gateway.told_everywhere("/who", other) == {"200"}
    eventually(lambda: gateway.who_refused(f"sid={name} ") == BOTH)


@each_kind
def test_an_undone_revocation_is_undone_on_both_workers(gateway: RunningGateway, case: Case):
    name = f"undo-{case.subject}"
    token = case.token(gateway, name)
    eventually(lambda: gateway.told_everywhere("/who", token) == {"200"})
    receipt = gateway.revoke(**case.body(name))
    assert gateway.told("/who", token) == f"401 {case.reason}"
    gateway.undo(receipt)
    assert gateway.told_everywhere("/who", token) == {"200"}
    assert gateway.call("DELETE", f"/v1/revocations/{'0' * 32}").status_code == 404


@each_kind
def test_the_command_prints_the_receipt_of_the_api(gateway: RunningGateway, case: Case):
    name = f"command-{case.subject}"
    token = case.token(gateway, name)
    eventually(lambda: gateway.told_everywhere("/who", token) == {"200"})
    done = gateway.command("revoke", *case.arguments(name), "--json")
    assert done.returncode == 0, done.stderr
    receipt = complete(json.loads(done.stdout))
    assert shape(receipt) == shape(gateway.revoke(**case.body(name)))
    assert gateway.told_everywhere("/who", token) == {f"401 {case.reason}"}
    said = gateway.command("revoke", "--undo", receipt["id"])
    assert said.returncode == 0
    assert "by 2 of 2 workers" in said.stdout
    assert "durable   yes" in said.stdout


@each_kind
def test_use_of_what_was_revoked_is_a_signal_of_its_own(gateway: RunningGateway, case: Case):
    name = f"signal-{case.subject}"
    token = case.token(gateway, name)
    eventually(lambda: gateway.told_everywhere("/who", token) == {"200"})
    series = f'gateway_revoked_use_total{{age="tail",kind="{case.kind}"}}'
    before = gateway.metrics()[series]
    gateway.revoke(**case.body(name))
    refused = [gateway.told("/who", token) for _ in range(5)]
    assert refused == [f"401 {case.reason}"] * 5
    eventually(lambda: gateway.metrics()[series] == before + 5)


def test_a_revocation_of_an_issuers_session_spares_the_same_name_elsewhere(gateway: RunningGateway):
    token = gateway.token(sid="shared-name")
    assert (
        gateway.call("POST", "/v1/revocations", json={"session": "shared-name", "issuer": "https://unknown"}).status_code == 422
    )
    gateway.revoke(session="shared-name", issuer="http://localhost:8080")  # our own issuer, not theirs
    assert gateway.told_everywhere("/who", token) == {"200"}
    gateway.revoke(session="shared-name", issuer=ISSUER)
    assert gateway.told_everywhere("/who", token) == {"401 revoked-session"}


def test_T2_tokens_issued_after_a_users_revocation_pass_and_those_of_a_session_do_not(gateway: RunningGateway):
    import time

    gateway.revoke(user="returning")
    assert gateway.told("/who", gateway.token(sub="returning", iat=int(time.time()) - 1)) == "401 old-version"
    second = int(time.time())
    eventually(lambda: int(time.time()) > second)
    assert gateway.told_everywhere("/who", gateway.token(sub="returning")) == {"200"}
    gateway.revoke(session="ended")
    eventually(lambda: int(time.time()) > second + 1)
    assert gateway.told_everywhere("/who", gateway.token(sid="ended")) == {"401 revoked-session"}


def test_a_token_that_serves_once_serves_once_whoever_of_the_workers_is_asked(gateway: RunningGateway):
    token = gateway.token(jti="only-once")
    told = [gateway.told("/once/who", token) for _ in range(12)]
    assert told == ["200"] + ["401 replayed-token"] * 11


def test_groups_and_unknown_paths_have_their_own_words(gateway: RunningGateway):
    assert gateway.told("/staff/who", gateway.token(groups=["guests"])) == "403 forbidden"
    assert gateway.told("/staff/who", gateway.token(groups=["staff"])) == "200"
    assert gateway.told("/optional/who") == "200"
    assert gateway.told("/optional/who", "not.a.token") == "401 malformed-token"


def test_a_key_that_the_issuer_adds_is_read_without_a_restart(gateway: RunningGateway):
    fresh = rsa_signer("added-later")
    token = gateway.token(signer=fresh)
    assert gateway.told_everywhere("/who", token) == {"401 unknown-key"}
    gateway.publish(fresh)
    eventually(lambda: gateway.told_everywhere("/who", token) == {"200"})


def shape(receipt: dict[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in receipt.items() if name != "took_ms"}


def test_a_token_of_nobody_is_not_revoked(gateway: RunningGateway) -> None:
    """Accounts are off here, so a token that names no issuer is nobody's: a receipt would be about nothing."""
    answer = gateway.call("POST", "/v1/revocations", json={"token_id": "t-1"})
    assert answer.status_code == 422
    wrong = answer.json()["errors"]
    assert set(wrong) == {"issuer"}
    assert wrong["issuer"].startswith("is needed where accounts are off; configured are ")
    assert ISSUER in wrong["issuer"]
    done = gateway.command("revoke", "--token-id", "t-1")
    assert done.returncode == 1
    assert "issuer is needed" in done.stderr
