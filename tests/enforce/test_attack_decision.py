"""What an attacker tries on the decision: a token in another place, one that its session never made, a store that is lost."""

from dataclasses import replace

import pytest
from deciding import route
from signed_in import FIREFOX, HOME, OwnWorld

from gateway.enforce.decide import decide
from gateway.enforce.verdict import NeedsRefresh, NeedsSession, Verdict
from gateway.revocation.state import Event
from gateway.routes.route import Access, OnOutage
from gateway.sessions.minting import Minted
from gateway.wire.head import RequestHead

REQUIRED = route(Access.REQUIRED)


@pytest.fixture
def world() -> OwnWorld:
    return OwnWorld()


def shown(world: OwnWorld, place: str, token: bytes) -> Verdict:
    head = RequestHead(b"GET", b"/", b"", 1, [(b"User-Agent", FIREFOX.encode())])
    setattr(head, place, token)
    return decide(head, HOME, REQUIRED, world.known, world.now, world.boot)


def reason(verdict: Verdict) -> str:
    return str(verdict.reason.value) if hasattr(verdict, "reason") else type(verdict).__name__


def test_J48_what_is_remembered_of_a_token_is_found_in_its_own_place_only(world: OwnWorld) -> None:
    minted = world.sign_in().minted
    bearer = b"Bearer " + minted.access
    right = {"access_cookie": minted.access, "refresh_cookie": minted.refresh, "authorization": bearer}
    for place, token in right.items():
        assert reason(shown(world, place, token)) in ("Allow", "NeedsRefresh")
    for place in right:
        for token in (minted.access, minted.refresh, bearer, b"Bearer " + minted.refresh):
            if right[place] != token:
                told = reason(shown(world, place, token))
                assert told in ("malformed-token", "no-token"), (place, token[:12])


def test_a_new_key_empties_every_memory(world: OwnWorld) -> None:
    alice = world.sign_in()
    for place, token in (("access_cookie", alice.minted.access), ("refresh_cookie", alice.minted.refresh)):
        shown(world, place, token)
    shown(world, "authorization", b"Bearer " + alice.minted.access)
    world.known.adopt_own(world.ring.key_set())
    known = world.known
    assert len(known.tokens) == len(known.access_cookies) == len(known.refresh_cookies) == 0


def forged(world: OwnWorld, alice_minted: Minted, **changes: object) -> Minted:
    """Signed with our key, by somebody who does not know the session's secret."""
    record = replace(alice_minted.record, secret=b"x" * 32, **changes)  # type: ignore[arg-type]
    return world.mint.mint(record)


@pytest.mark.parametrize("generation", [1, 2, 10**15])
@pytest.mark.parametrize("place", ["access_cookie", "refresh_cookie", "bearer"])
def test_R1_a_token_that_the_session_did_not_make_is_refused_before_the_store_is_told_of_it(
    world: OwnWorld, place: str, generation: int
) -> None:
    for is_known in (True, False):
        alice = world.sign_in(is_known=is_known)
        minted = forged(world, alice.minted, generation=generation)
        token = minted.refresh if place == "refresh_cookie" else minted.access
        name, raw = ("authorization", b"Bearer " + token) if place == "bearer" else (place, token)
        verdict = shown(world, name, raw)
        if not is_known:
            assert isinstance(verdict, NeedsSession) and verdict.seen == 0, "it is only looked up"
            world.fetch(alice.record)
            verdict = shown(world, name, raw)
        assert reason(verdict) == "bad-signature"


def test_R2_a_genuine_generation_is_told_to_the_store_when_the_session_has_vouched_for_it(world: OwnWorld) -> None:
    alice = world.rotate(world.sign_in())
    verdict = world.decides(alice)
    assert isinstance(verdict, NeedsSession) and verdict.seen == 2


def test_what_was_minted_for_the_request_at_hand_is_not_remembered_as_shown(world: OwnWorld) -> None:
    """Else the browser's first use of it would not be told, and its predecessor would be good for longer than the grace."""
    alice = world.sign_in()
    assert isinstance(world.decides(alice, access=None), NeedsRefresh)
    assert len(world.known.access_cookies) == 0


@pytest.mark.parametrize("on_outage", OnOutage)
@pytest.mark.parametrize("access", [Access.REQUIRED, Access.OPTIONAL])
@pytest.mark.parametrize("how", ["stale", "lost"])
@pytest.mark.parametrize("is_known", [True, False])
def test_L5_a_refresh_is_asked_of_no_store_that_may_have_forgotten(
    world: OwnWorld, on_outage: OnOutage, access: Access, how: str, is_known: bool
) -> None:
    """It would say that there is no such session, and everybody whose access token is over would be signed out."""
    alice = world.sign_in(is_known=is_known)
    on = route(access, on_outage=on_outage)
    if how == "lost":
        world.view.meet(Event.BROKEN)
    else:
        world.boot += 3
    assert world.asks(alice, access=None, on=on) == "store-unavailable"


def test_L5_what_is_known_to_be_revoked_is_told_also_then(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.end(alice)
    world.view.meet(Event.BROKEN)
    assert world.asks(alice, access=None) == "revoked-session"
