"""The key material of our own signing keys: how each algorithm's is made, written, read back and shown to others.

    RS256 ES256 EdDSA   private half as PKCS #8, public half as SubjectPublicKeyInfo, both DER
    HS256               the secret, both times: whoever can verify can sign, so it has no public half and is never published

It owns no data and does no I/O. Which key signs is in `ring.py`, and that what is written here is encrypted in `seal.py`.
"""

import secrets
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from gateway.errors import KeySetError
from gateway.tokens import base64url

SECRET_BYTES: Final = 32
_RSA_BITS: Final = 2048  # NIST SP 800-57: enough until 2030; twice the bits cost six times the time of a signature
_COORDINATE_BYTES: Final = 32

# What the bytes of an algorithm must turn out to be: another type under its name would sign something else.
_TYPES: Final[dict[str, tuple[type, type]]] = {
    "ES256": (EllipticCurvePrivateKey, EllipticCurvePublicKey),
    "RS256": (RSAPrivateKey, RSAPublicKey),
    "EdDSA": (Ed25519PrivateKey, Ed25519PublicKey),
    "HS256": (bytes, bytes),
}
ALGORITHMS: Final = frozenset(_TYPES)
SYMMETRIC: Final = "HS256"


def generate(algorithm: str) -> Any:
    """New private material. NB: for RS256 that takes 50 to 500 ms; not on an event loop."""
    match algorithm:
        case "ES256":
            return generate_private_key(SECP256R1())
        case "RS256":
            return generate_rsa(65537, _RSA_BITS)
        case "EdDSA":
            return Ed25519PrivateKey.generate()
        case "HS256":
            return secrets.token_bytes(SECRET_BYTES)
    raise ValueError(f"{algorithm} is not an algorithm of our own tokens")


def public_half(private: Any) -> Any:
    """What verifies the signatures of `private`."""
    return private if isinstance(private, bytes) else private.public_key()


def write_private(private: Any) -> bytes:
    """For `read_private`."""
    if isinstance(private, bytes):
        return private
    raw: bytes = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return raw


def write_public(public: Any) -> bytes:
    """For `read_public`."""
    if isinstance(public, bytes):
        return public
    raw: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return raw


def read_private(algorithm: str, raw: bytes) -> Any:
    """The private half. `raw` must be authentic: that an RSA key is consistent is not proven again (45 ms)."""
    if algorithm == SYMMETRIC:
        return _secret(raw)
    try:
        private = load_der_private_key(raw, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeySetError("not a private key") from error
    return _refuse_other(private, algorithm, 0)


def read_public(algorithm: str, raw: bytes) -> Any:
    """The public half; of HS256 the secret. Raises `KeySetError`."""
    if algorithm == SYMMETRIC:
        return _secret(raw)
    try:
        public = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeySetError("not a public key") from error
    return _refuse_other(public, algorithm, 1)


def as_jwk(public: Any) -> dict[str, str]:
    """The members of RFC 7517 and 7518 that make the key; for a secret they are the secret."""
    if isinstance(public, bytes):
        return {"kty": "oct", "k": _text(public)}
    if isinstance(public, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(public.public_bytes_raw())}
    numbers = public.public_numbers()
    if isinstance(public, RSAPublicKey):
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    x, y = (coordinate.to_bytes(_COORDINATE_BYTES, "big") for coordinate in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": _text(x), "y": _text(y)}


def _secret(raw: bytes) -> bytes:
    if len(raw) != SECRET_BYTES:
        raise KeySetError(f"a secret of {len(raw)} bytes")
    return raw


def _refuse_other(key: Any, algorithm: str, half: int) -> Any:
    is_other_curve = isinstance(key, EllipticCurvePrivateKey | EllipticCurvePublicKey) and key.curve.name != SECP256R1.name
    if algorithm not in _TYPES or not isinstance(key, _TYPES[algorithm][half]) or is_other_curve:
        raise KeySetError(f"not a key of {algorithm}")
    return key


def _text(raw: bytes) -> str:
    return base64url.encode(raw).decode()


def _number(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
