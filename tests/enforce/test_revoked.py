"""Which facts speak of a token, in which order they are told, and for how many look-ups."""

import pytest
from deciding import IDP, World, trusting
from issuing import NOW, OMITTED, rsa_signer

from gateway.enforce.revoked import fact_keys, first_fact
from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Kind, Revocation, everybody_key
from gateway.revocation.view import View


@pytest.fixture
def versioned() -> World:
    return World({IDP: trusting(IDP, rsa_signer(), version_claim="ver")})


def everything(world: World) -> Verified:
    """A token that has all that can be revoked."""
    return world.allowed(world.token(jti="one", sid="session-1", ver=1))


def keys_of(token: Verified, kind: Kind) -> set[bytes]:
    return {key for found, key in fact_keys(token) if found is kind}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Kind.SESSION, [Revocation(Kind.SESSION, "session-1", IDP), Revocation(Kind.SESSION, "session-1")]),
        (Kind.BLOCK, [Revocation(Kind.BLOCK, "alice", IDP), Revocation(Kind.BLOCK, "alice")]),
        (Kind.VERSION, [Revocation(Kind.VERSION, "alice", IDP), Revocation(Kind.VERSION, "alice")]),
        (Kind.TOKEN, [Revocation(Kind.TOKEN, "one", IDP)]),
    ],
)
def test_a_token_is_looked_up_under_its_issuer_and_under_every_issuer(
    versioned: World, kind: Kind, names: list[Revocation]
) -> None:
    assert keys_of(everything(versioned), kind) == {revocation.key for revocation in names}


def test_a_user_is_looked_up_by_name_and_as_one_of_everybody(versioned: World) -> None:
    token = everything(versioned)
    names = {Revocation(Kind.USER, "alice", issuer).key for issuer in (IDP, "")}
    assert keys_of(token, Kind.USER) == names | {everybody_key(IDP), everybody_key("")}


def test_a_key_is_looked_up_with_and_without_its_thumbprint(versioned: World) -> None:
    token = everything(versioned)
    assert keys_of(token, Kind.KEY) == {
        Revocation(Kind.KEY, "key-1", issuer, thumbprint=thumbprint).key
        for issuer in (IDP, "")
        for thumbprint in ("", token.thumbprint)
    }


def test_what_a_token_does_not_have_is_not_looked_up(versioned: World) -> None:
    bare = World().allowed(World().token(jti=OMITTED, sid=OMITTED))
    assert {kind for kind, _ in fact_keys(bare)} == {Kind.KEY, Kind.USER, Kind.BLOCK}
    assert len(fact_keys(everything(versioned))) == 15


def test_facts_are_told_in_the_order_of_the_reasons(versioned: World) -> None:
    token = everything(versioned)
    told = []
    entries = [
        versioned.revoke(Kind.BLOCK, "alice"),
        versioned.revoke(Kind.SESSION, "session-1"),
        versioned.revoke(Kind.USER, "alice"),
        versioned.revoke(Kind.VERSION, "alice", value=5),
        versioned.revoke(Kind.TOKEN, "one"),
        versioned.revoke(Kind.KEY, "key-1"),
    ]
    for entry in reversed(entries):
        found = first_fact(token, versioned.view, 0)
        assert found is not None
        told.append(found)
        versioned.lift(entry)
    assert told == [
        (Reason.RETIRED_KEY, Kind.KEY, NOW),
        (Reason.REVOKED_TOKEN, Kind.TOKEN, NOW),
        (Reason.OLD_VERSION, Kind.VERSION, 5),
        (Reason.OLD_VERSION, Kind.USER, NOW),
        (Reason.REVOKED_SESSION, Kind.SESSION, NOW),
        (Reason.BLOCKED_USER, Kind.BLOCK, NOW),
    ]
    assert first_fact(token, versioned.view, 0) is None


def test_a_fact_that_does_not_refuse_hides_none_behind_it(versioned: World) -> None:
    versioned.revoke(Kind.USER, "alice", value=NOW - 100)
    versioned.revoke(Kind.VERSION, "alice", value=1)
    versioned.revoke(Kind.SESSION, "session-1", "")
    raw = versioned.token(ver=9, iat=NOW + 1, exp=NOW + 300)
    assert versioned.ask(raw) == "revoked-session"


def test_an_empty_replica_refuses_nobody(versioned: World) -> None:
    assert first_fact(everything(versioned), View(), 0) is None
