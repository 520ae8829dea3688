"""An identity provider for tests: keys, key sets, and tokens, good and malformed.

Everything is signed with real keys, but built by hand below the level of a JWT library, so that a test can send what no
library would write: any header, any payload bytes, any signature.

    provider = Provider("https://idp.example", audience="shop", signer=rsa_signer())
    provider.token(sub="alice")                       a good token, valid at provider.now
    provider.token(sub="alice", exp=OMITTED)          without a claim
    provider.token(header={"typ": "rt+jwt"})          another header
    compact({"alg": "none"}, b"...", b"")             anything at all
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms


class _Omitted:
    def __repr__(self) -> str:  # the same in every process: it becomes part of the names of tests
        return "OMITTED"


OMITTED: Any = _Omitted()
"""A claim or header parameter with this value is left out."""

NOW = 1_800_000_000
"""The time at which tests live unless they say otherwise."""


@dataclass(frozen=True)
class Signer:
    """A private key with the algorithm it signs with."""

    algorithm: str
    private: Any = field(repr=False)
    kid: str | None = "key-1"

    def sign(self, signing_input: bytes) -> bytes:
        return get_default_algorithms()[self.algorithm].sign(signing_input, self.private)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public JWK (for HS the secret itself), with members replaced, added or `OMITTED`."""
        if self.algorithm.startswith("HS"):
            members = {"kty": "oct", "k": base64url(self.private)}
        elif self.algorithm.startswith("ES"):
            members = json.loads(ECAlgorithm.to_jwk(self.private.public_key()))
        elif self.algorithm == "EdDSA":
            members = json.loads(OKPAlgorithm.to_jwk(self.private.public_key()))
        else:
            members = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
            members.pop("key_ops", None)
        members |= {"use": "sig", "alg": self.algorithm}
        if self.kid is not None:
            members["kid"] = self.kid
        return without_omitted(members | changes)

    def private_jwk(self) -> dict[str, Any]:
        """The JWK with the private half: what must never be published."""
        algorithm: Any = {"E": ECAlgorithm, "R": RSAAlgorithm, "P": RSAAlgorithm, "H": HMACAlgorithm}[self.algorithm[0]]
        if self.algorithm == "EdDSA":
            algorithm = OKPAlgorithm
        return json.loads(algorithm.to_jwk(self.private)) | {"kid": self.kid, "alg": self.algorithm}


@lru_cache
def rsa_signer(kid: str | None = "key-1", algorithm: str = "RS256", bits: int = 2048) -> Signer:
    return Signer(algorithm, rsa.generate_private_key(65537, bits), kid)


@lru_cache
def ec_signer(kid: str | None = "key-1", algorithm: str = "ES256") -> Signer:
    curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]
    return Signer(algorithm, ec.generate_private_key(curve()), kid)


@lru_cache
def ed25519_signer(kid: str | None = "key-1") -> Signer:
    return Signer("EdDSA", ed25519.Ed25519PrivateKey.generate(), kid)


def hs_signer(secret: bytes = bytes(range(64)), kid: str | None = "key-1", algorithm: str = "HS256") -> Signer:
    return Signer(algorithm, secret, kid)


def signer_for(algorithm: str, kid: str | None = "key-1") -> Signer:
    """A signer of any supported algorithm."""
    make: Callable[..., Signer] = {"R": rsa_signer, "P": rsa_signer, "E": ec_signer, "H": hs_signer}[algorithm[0]]
    return ed25519_signer(kid) if algorithm == "EdDSA" else make(kid=kid, algorithm=algorithm)


def key_set(*keys: Signer | Mapping[str, Any]) -> bytes:
    """A JWK Set of signers' public halves and of JWKs as they are."""
    return json.dumps({"keys": [key.jwk() if isinstance(key, Signer) else dict(key) for key in keys]}).encode()


def write_key_set(path: Path, *keys: Signer | Mapping[str, Any]) -> Path:
    """A key-set file, replaced in one step as a careful operator would."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(key_set(*keys))
    fresh.replace(path)
    return path


@dataclass
class Provider:
    """An issuer: who it says it is, for whom its tokens are, and the key it signs with."""

    issuer: str = "https://idp.example/realms/shop"
    audience: str | list[str] = "shop"
    signer: Signer = field(default_factory=rsa_signer)
    now: float = NOW
    lifetime_s: int = 300
    serial: int = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token of alice's, changed."""
        self.serial += 1
        now = int(self.now)
        good = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "alice",
            "jti": f"token-{self.serial}",
            "sid": "session-1",
            "iat": now,
            "exp": now + self.lifetime_s,
            "groups": ["staff"],
        }
        return without_omitted(good | changes)

    def header(self, **changes: Any) -> dict[str, Any]:
        """The header of a good token, changed."""
        kid = OMITTED if self.signer.kid is None else self.signer.kid
        return without_omitted({"alg": self.signer.algorithm, "typ": "at+jwt", "kid": kid} | changes)

    def token(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A signed token; header parameters and claims replace those of a good one."""
        return self.sign(self.header(**(header or {})), self.claims(**claims))

    def sign(self, header: Any, payload: Any) -> str:
        """Sign any header and payload: objects are written as JSON, bytes are taken as they are."""
        return compact(header, payload, self.signer)


def compact(header: Any, payload: Any, signature: Signer | bytes) -> str:
    """The compact serialization of whatever is given; a signer signs it, bytes are the signature."""
    signing_input = f"{base64url(json_bytes(header))}.{base64url(json_bytes(payload))}"
    raw = signature.sign(signing_input.encode()) if isinstance(signature, Signer) else signature
    return f"{signing_input}.{base64url(raw)}"


def resign(signing_input: bytes, signer: Signer) -> bytes:
    """A token over a signing input that is already encoded, perhaps in a spelling that nobody should accept."""
    return signing_input + b"." + base64url(signer.sign(signing_input)).encode()


def json_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unbase64url(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))


def without_omitted(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not OMITTED}
