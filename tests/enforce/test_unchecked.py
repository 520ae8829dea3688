"""What was let in while nobody knew is judged when it is known, once, and within bounds."""

import pytest
from deciding import World
from signed_in import OURS, OwnWorld, SignedIn

from gateway.enforce import unchecked
from gateway.enforce.unchecked import AT_ONCE, Unchecked
from gateway.enforce.verdict import Allow
from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Kind, Revocation


def shown(world: World, token: str) -> Verified:
    verdict = world.verdict(token)
    assert isinstance(verdict, Allow)
    assert verdict.token is not None
    return verdict.token


def of(world: OwnWorld, alice: SignedIn) -> Verified:
    verdict = world.decides(alice)
    assert isinstance(verdict, Allow)
    assert verdict.token is not None
    return verdict.token


@pytest.mark.parametrize(("after_s", "is_told"), [(-5, True), (0, True), (1, False)])
def test_only_what_was_revoked_before_it_was_let_in_is_told(after_s: int, is_told: bool) -> None:
    world, notes = OwnWorld(), Unchecked()
    alice = world.sign_in()
    token = of(world, alice)
    for second in (-7, -9, 0, -1):
        notes.note(token, "app", world.now + second, world.boot)
    world.apply(Kind.SESSION, Revocation(Kind.SESSION, alice.record.sid, OURS).key, int(world.now) + after_s)
    found = notes.judge(world.view, world.known.issuers)
    assert [(one.reason, one.kind, one.admission.requests) for one in found] == (
        [(Reason.REVOKED_SESSION, Kind.SESSION, 4)] if is_told else []
    )
    assert not len(notes)
    if is_told:
        assert (found[0].admission.since, found[0].admission.until) == (world.now - 7, world.now)


def test_a_later_fact_does_not_hide_an_earlier_one() -> None:
    world, notes = OwnWorld(), Unchecked()
    alice = world.sign_in()
    token = of(world, alice)
    notes.note(token, "app", world.now, world.boot)
    key = world.ring.signing
    assert key is not None
    world.apply(Kind.KEY, Revocation(Kind.KEY, key.kid, OURS, thumbprint=key.thumbprint).key, int(world.now) + 60)
    world.apply(Kind.SESSION, Revocation(Kind.SESSION, alice.record.sid, OURS).key, int(world.now) - 1)
    assert [one.reason for one in notes.judge(world.view, world.known.issuers)] == [Reason.REVOKED_SESSION]


def test_a_new_version_has_no_time_and_is_told() -> None:
    world, notes = OwnWorld(), Unchecked()
    alice = world.sign_in()
    notes.note(of(world, alice), "app", world.now, world.boot)
    world.apply(Kind.VERSION, Revocation(Kind.VERSION, alice.record.sub, OURS).key, 2)
    assert [one.kind for one in notes.judge(world.view, world.known.issuers)] == [Kind.VERSION]


def test_who_was_let_in_after_the_newest_proof_was_asked_for_waits_for_the_next() -> None:
    world, notes = OwnWorld(), Unchecked()
    alice = world.sign_in()
    notes.note(of(world, alice), "app", world.now, world.boot + 0.001)
    world.apply(Kind.SESSION, Revocation(Kind.SESSION, alice.record.sid, OURS).key, int(world.now) - 1)
    assert notes.judge(world.view, world.known.issuers) == []
    world.view.proven_at += 0.001
    assert len(notes.judge(world.view, world.known.issuers)) == 1


def test_D08_the_notes_are_bounded_and_judged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchecked, "MOST_NOTED", AT_ONCE + 5)
    world, notes = World(), Unchecked()
    tokens = [shown(world, world.token(jti=f"t{number}")) for number in range(AT_ONCE + 8)]
    for _ in range(2):
        for token in tokens:
            notes.note(token, "app", world.now, world.boot)
    assert (len(notes), notes.passed_over) == (AT_ONCE + 5, 6)
    notes.judge(world.view, world.known.issuers)
    assert len(notes) == 5
    notes.judge(world.view, world.known.issuers)
    assert len(notes) == 0
