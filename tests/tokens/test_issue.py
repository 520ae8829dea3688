"""Tokens of our own: what they say, what they are called, and who may sign them."""

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest

from gateway.sessions.model import new_session_id, new_subject, session_of
from gateway.tokens import base64url
from gateway.tokens.issue import (
    ACCESS,
    ACCESS_KIND,
    ASSERTION,
    REFRESH_KIND,
    Claims,
    access_claims,
    access_token,
    assertion_claims,
    refresh_claims,
    refresh_token,
    sign,
    token_id,
)
from gateway.tokens.material import ALGORITHMS
from gateway.tokens.ring import Event, SigningKey, new_key

NOW = 1_800_000_000.0
ALL = sorted(ALGORITHMS)
KEYS = {algorithm: new_key(algorithm, NOW).after(Event.PROMOTED, NOW) for algorithm in ALL}
SUB = new_subject()
CLAIMS = Claims(
    issuer="https://gateway.example",
    audience="gateway",
    sub=SUB,
    name="alice@example.org",
    sid=new_session_id(SUB),
    version=3,
    generation=7,
    issued_at=NOW + 0.999999,
    access_expires=NOW + 300.999999,
    refresh_expires=NOW + 604800.999999,
    groups=("staff", "été"),
    csrf="c" * 43,
    secret=bytes(range(32)),
)


def parts(token: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    header, payload, signature = token.split(b".")
    return json.loads(base64url.decode(header)), json.loads(base64url.decode(payload)), base64url.decode(signature)


def material(key: SigningKey) -> Any:
    return key.verifier.material


@pytest.mark.parametrize("algorithm", ALL)
def test_a_token_is_one_to_an_independent_library(algorithm: str) -> None:
    key = KEYS[algorithm]
    for token, claims in (
        (access_token(key, CLAIMS), access_claims(CLAIMS)),
        (refresh_token(key, CLAIMS), refresh_claims(CLAIMS)),
    ):
        read = jwt.decode(
            token, material(key), algorithms=[algorithm], audience="gateway", options={"verify_exp": False, "verify_iat": False}
        )
        assert read == claims
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token[:-8] + b"AAAAAAAA", material(key), algorithms=[algorithm], options={"verify_aud": False})


def test_the_tokens_say_what_is_documented_and_no_more() -> None:
    header, access, _ = parts(access_token(KEYS["ES256"], CLAIMS))
    assert header == {"alg": "ES256", "kid": KEYS["ES256"].kid, "typ": "at+jwt"}
    assert set(access) == {"iss", "aud", "sub", "name", "jti", "sid", "ver", "gen", "iat", "exp", "groups", "csrf"}
    assert (access["sub"], access["name"], access["ver"], access["gen"]) == (SUB, "alice@example.org", 3, 7)
    assert access["groups"] == ["staff", "été"]
    header, refresh, _ = parts(refresh_token(KEYS["ES256"], CLAIMS))
    assert header["typ"] == "rt+jwt"
    assert set(refresh) == {"iss", "aud", "sub", "jti", "sid", "ver", "gen", "iat", "exp"}


def test_T6_times_are_the_record_s_in_whole_seconds_rounded_down() -> None:
    access, refresh = access_claims(CLAIMS), refresh_claims(CLAIMS)
    assert (access["iat"], access["exp"], refresh["iat"], refresh["exp"]) == (NOW, NOW + 300, NOW, NOW + 604800)
    assert all(type(claims[name]) is int for claims in (access, refresh) for name in ("iat", "exp"))


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "HS256"])
def test_R1_minting_again_makes_the_same_token(algorithm: str) -> None:
    again = replace(CLAIMS, groups=list(CLAIMS.groups))
    assert access_token(KEYS[algorithm], CLAIMS) == access_token(KEYS[algorithm], again)


def test_R1_with_ECDSA_only_the_signature_differs() -> None:
    first, second = access_token(KEYS["ES256"], CLAIMS), access_token(KEYS["ES256"], CLAIMS)
    assert first.rpartition(b".")[0] == second.rpartition(b".")[0]
    assert len(parts(first)[2]) == 64


def test_R1_an_id_is_the_documented_MAC_and_names_its_session() -> None:

    expected = hmac.new(CLAIMS.secret, b"access\x00" + bytes(7) + b"\x07", hashlib.sha256).digest()[:16]
    jti = access_claims(CLAIMS)["jti"]
    assert jti == f"{CLAIMS.sid}.{base64url.encode(expected).decode()}"
    assert session_of(jti) == CLAIMS.sid
    assert session_of(refresh_claims(CLAIMS)["jti"]) == CLAIMS.sid


def test_R1_every_token_has_an_id_of_its_own() -> None:
    ids = {
        token_id(secret, CLAIMS.sid, kind, generation)
        for secret in (bytes(32), bytes(range(32)))
        for kind in (ACCESS_KIND, REFRESH_KIND)
        for generation in (1, 2, 256, 2**40)
    }
    assert len(ids) == 16


@pytest.mark.parametrize("algorithm", ALL)
def test_T4_a_key_that_is_next_or_retiring_or_gone_signs_nothing(algorithm: str) -> None:
    signing = KEYS[algorithm]
    retiring = signing.after(Event.SUCCEEDED, NOW)
    for key in (new_key("EdDSA", NOW), retiring, retiring.after(Event.EXPIRED, NOW)):
        with pytest.raises(ValueError, match="signs nothing"):
            sign(key, ACCESS, {})
    assert sign(signing.after(Event.CONDEMNED, NOW), ACCESS, {}), "somebody has to"


def test_an_assertion_is_for_one_route_and_of_a_type_of_its_own() -> None:
    claims = assertion_claims("https://gateway.example", "app", SUB, "alice", ("staff",), CLAIMS.sid, NOW + 0.7, 60.0)
    header, payload, _ = parts(sign(KEYS["ES256"], ASSERTION, claims))
    assert header["typ"] == "assertion+jwt"
    assert payload == {
        "iss": "https://gateway.example",
        "aud": "app",
        "sub": SUB,
        "user": "alice",
        "groups": ["staff"],
        "iat": NOW,
        "exp": NOW + 60,
        "sid": CLAIMS.sid,
    }
    assert "sid" not in assertion_claims("i", "app", "s", "alice", (), None, NOW, 60.0)
