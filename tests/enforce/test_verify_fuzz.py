"""Whatever the bytes, judging a token ends in a refusal and never in an exception."""

from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from issuing import NOW, Provider, compact, key_set, signer_for

from gateway.enforce.issuer import Issuer
from gateway.enforce.verify import Refused, Verified, verify
from gateway.reasons import Reason
from gateway.tokens.jwk import ALGORITHMS, parse_key_set

REASONS = {
    Reason.MALFORMED_TOKEN,
    Reason.BAD_SIGNATURE,
    Reason.UNKNOWN_KEY,
    Reason.WRONG_ISSUER,
    Reason.WRONG_AUDIENCE,
    Reason.EXPIRED_TOKEN,
    Reason.NOT_YET_VALID,
    Reason.LIFETIME_TOO_LONG,
}
TEXTS = st.text(max_size=8) | st.sampled_from(["alice", "shop", "JWT", "at+jwt", "key-1", "RS256"])
SCALARS = st.none() | st.booleans() | st.integers() | st.integers(NOW - 9999, NOW + 9999) | st.floats() | TEXTS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


@cache
def providers() -> dict[str, Provider]:
    """One provider for each algorithm, as an issuer of its own."""
    return {name: Provider(f"https://{name}.example", signer=signer_for(name)) for name in sorted(ALGORITHMS)}


@cache
def issuers() -> dict[str, Issuer]:
    trusted = {}
    for name, provider in providers().items():
        issuer = Issuer(provider.issuer, frozenset({"shop"}), frozenset({name}), version_claim="ver", name_claim="name")
        issuer.adopt(parse_key_set(key_set(provider.signer), [name]))
        trusted[issuer.name] = issuer
    return trusted


def refusal(token: bytes) -> Reason:
    verdict = verify(token, issuers(), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.reason in REASONS
    return verdict.reason


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(token: bytes) -> None:
    refusal(token)


@given(st.lists(st.text("ABCDEFab01-_=+/", max_size=12), min_size=3, max_size=3))
def test_anything_of_three_parts_is_refused(parts: list[str]) -> None:
    refusal(".".join(parts).encode())


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "cty", "crit", "b64", "jwk", "x"]) | TEXTS, ANYTHING),
    ANYTHING,
    st.binary(max_size=80),
)
def test_any_header_and_payload_without_a_signature_are_refused(header: dict[str, Any], payload: Any, signature: bytes) -> None:
    refusal(compact(header, payload, signature).encode())


@settings(max_examples=300)
@given(st.sampled_from(sorted(ALGORITHMS)), st.binary(max_size=600))
def test_any_signature_is_refused(algorithm: str, signature: bytes) -> None:
    provider = providers()[algorithm]
    assert refusal(compact(provider.header(), provider.claims(ver=1), signature).encode()) is Reason.BAD_SIGNATURE


CLAIMS = st.sampled_from(["iss", "aud", "sub", "jti", "sid", "iat", "exp", "nbf", "groups", "ver", "name"])


@settings(max_examples=300)
@given(
    st.dictionaries(CLAIMS, ANYTHING, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["typ", "kid", "cty"]), ANYTHING, max_size=1),
)
def test_any_claims_with_a_good_signature_are_judged(claims: dict[str, Any], header: dict[str, Any]) -> None:
    provider = providers()["HS256"]
    verdict = verify(provider.token(header, **{"ver": 1} | claims).encode(), issuers(), NOW)
    if isinstance(verdict, Verified):
        assert verdict.user.isprintable()
        assert 0 < len(verdict.user.encode()) <= 255
        assert verdict.usable_from <= NOW <= verdict.usable_until
        assert verdict.expires_at - verdict.issued_at <= 3600
        assert all(group.isprintable() and group for group in verdict.groups)
    else:
        assert verdict.reason in REASONS
