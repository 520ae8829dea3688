"""How long a fact is remembered [L6]."""

import pytest

from gateway.revocation.entry import PERMANENT, Kind, Revocation
from gateway.revocation.lifetimes import Expiry, Lifetimes, expiry_of, largest_skew_s

SHORT = Lifetimes(max_lifetime_s=300, session_lifetime_s=1000, leeway_s=10, skew_s=0)
LONG = Lifetimes(max_lifetime_s=3600, session_lifetime_s=9000, leeway_s=30, skew_s=5)
ISSUERS = {"short": SHORT, "long": LONG}


def test_L6_a_token_is_denied_until_its_end_and_leeway_and_a_minute() -> None:
    assert expiry_of(Revocation(Kind.TOKEN, "j", "short", expires_at=5000.2), ISSUERS) == Expiry(at=5011 + 60)


def test_L6_a_token_whose_end_is_unknown_may_live_as_long_as_any() -> None:
    assert expiry_of(Revocation(Kind.TOKEN, "j", "short"), ISSUERS) == Expiry(after_s=300 + 10 + 60)


def test_L6_a_not_before_outlives_every_token_issued_before_it() -> None:
    assert expiry_of(Revocation(Kind.USER, "u", "short"), ISSUERS) == Expiry(after_s=300 + 10 + 60)
    assert expiry_of(Revocation(Kind.USER, "u"), ISSUERS) == Expiry(after_s=3600 + 35 + 60)


def test_L6_a_session_is_denied_for_as_long_as_sessions_live() -> None:
    assert expiry_of(Revocation(Kind.SESSION, "s", "long"), ISSUERS) == Expiry(after_s=9000 + 35 + 60)


@pytest.mark.parametrize("kind", [Kind.KEY, Kind.BLOCK, Kind.VERSION])
def test_L6_keys_blocks_and_versions_stay_until_lifted(kind: Kind) -> None:
    assert expiry_of(Revocation(kind, "x", "short"), ISSUERS) == Expiry(at=PERMANENT)


def test_L6_an_issuer_that_is_not_configured_gets_the_longest_of_all() -> None:
    assert expiry_of(Revocation(Kind.USER, "u", "stranger"), ISSUERS) == Expiry(after_s=3600 + 35 + 60)
    assert expiry_of(Revocation(Kind.USER, "u", "stranger"), {}).after_s > 3600


def test_L6_a_token_that_claims_to_live_for_ever_is_denied_for_ever() -> None:
    assert expiry_of(Revocation(Kind.TOKEN, "j", "short", expires_at=1e300), ISSUERS) == Expiry(at=PERMANENT)


def test_L7_the_largest_skew_of_all_issuers_bounds_a_not_before() -> None:
    assert largest_skew_s(ISSUERS) == 5
    assert largest_skew_s({}) == 0
