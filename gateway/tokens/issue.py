"""Tokens of our own: their claims, their ids, their signature.

Every time in a token comes from the session's record, where the store's clock put it, and never from the moment of minting
[T6]: any worker mints the same token again, but for an ECDSA signature [R1]. `iat` and `exp` are whole seconds, rounded down.

    access      at+jwt          iss aud sub name jti sid ver gen iat exp groups csrf
    refresh     rt+jwt          iss aud sub      jti sid ver gen iat exp
    assertion   assertion+jwt   iss aud sub user     sid         iat exp groups          for a backend; aud is the route's name

The type is what keeps the three apart (RFC 8725 section 3.11): they are signed with one key.

It owns no data and does no I/O. An access token costs 33 µs of CPU to mint with ES256 (EdDSA 41, RS256 275, HS256 8).
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.tokens import base64url
from gateway.tokens.ring import SigningKey

ACCESS: Final = "at+jwt"
REFRESH: Final = "rt+jwt"
ASSERTION: Final = "assertion+jwt"
ACCESS_KIND: Final = b"access"
REFRESH_KIND: Final = b"refresh"
_MAC_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Claims:
    """What the two tokens of one generation of a session say. Times are seconds since 1970 from the session's record."""

    issuer: str
    audience: str
    sub: str
    name: str
    sid: str
    version: int
    generation: int
    issued_at: float
    access_expires: float
    refresh_expires: float
    groups: Sequence[str]
    csrf: str
    secret: bytes  # the session's: the ids of its tokens are made of it


def access_token(key: SigningKey, claims: Claims) -> bytes:
    """The access token of this generation, signed."""
    return sign(key, ACCESS, access_claims(claims))


def refresh_token(key: SigningKey, claims: Claims) -> bytes:
    """The refresh token of this generation, signed."""
    return sign(key, REFRESH, refresh_claims(claims))


def access_claims(claims: Claims) -> dict[str, Any]:
    """The payload of the access token."""
    return {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.sub,
        "name": claims.name,
        "jti": token_id(claims.secret, claims.sid, ACCESS_KIND, claims.generation),
        "sid": claims.sid,
        "ver": claims.version,
        "gen": claims.generation,
        "iat": int(claims.issued_at),
        "exp": int(claims.access_expires),
        "groups": list(claims.groups),
        "csrf": claims.csrf,
    }


def refresh_claims(claims: Claims) -> dict[str, Any]:
    """The payload of the refresh token."""
    return {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.sub,
        "jti": token_id(claims.secret, claims.sid, REFRESH_KIND, claims.generation),
        "sid": claims.sid,
        "ver": claims.version,
        "gen": claims.generation,
        "iat": int(claims.issued_at),
        "exp": int(claims.refresh_expires),
    }


def assertion_claims(
    issuer: str, route: str, sub: str, user: str, groups: Sequence[str], sid: str | None, issued_at: float, lifetime_s: float
) -> dict[str, Any]:
    """The payload of what a backend may verify by itself. `issued_at` is by the store's clock too."""
    claims = {
        "iss": issuer,
        "aud": route,
        "sub": sub,
        "user": user,
        "groups": list(groups),
        "iat": int(issued_at),
        "exp": int(issued_at + lifetime_s),
    }
    return claims if sid is None else claims | {"sid": sid}


def token_id(secret: bytes, sid: str, kind: bytes, generation: int) -> str:
    """The `jti`: it names its session, and nobody guesses another of it [R1]."""
    mac = hmac.digest(secret, kind + b"\0" + generation.to_bytes(8, "big"), "sha256")
    return f"{sid}.{base64url.encode(mac[:_MAC_BYTES]).decode()}"


def sign(key: SigningKey, token_type: str, claims: Mapping[str, Any]) -> bytes:
    """`claims` as a token of that type. Raises ValueError for a key that does not sign [T4]."""
    if not key.signs:
        raise ValueError(f"a key that is {key.state} signs nothing")
    header = orjson.dumps({"alg": key.algorithm, "kid": key.kid, "typ": token_type})
    signing_input = base64url.encode(header) + b"." + base64url.encode(orjson.dumps(claims))
    return signing_input + b"." + base64url.encode(_SIGNERS[key.algorithm](key.private, signing_input))


_HASH: Final = SHA256()
_ECDSA: Final = ECDSA(_HASH)
_PKCS1: Final = PKCS1v15()


def _sign_es256(private: EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(private.sign(data, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")  # RFC 7518 section 3.4


def _sign_rs256(private: RSAPrivateKey, data: bytes) -> bytes:
    return private.sign(data, _PKCS1, _HASH)


def _sign_eddsa(private: Ed25519PrivateKey, data: bytes) -> bytes:
    return private.sign(data)


def _sign_hs256(secret: bytes, data: bytes) -> bytes:
    return hmac.digest(secret, data, "sha256")


_SIGNERS: Final[dict[str, Callable[[Any, bytes], bytes]]] = {
    "ES256": _sign_es256,
    "RS256": _sign_rs256,
    "EdDSA": _sign_eddsa,
    "HS256": _sign_hs256,
}
