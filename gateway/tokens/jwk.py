"""Key sets: which keys of an issuer may verify a token, and with which algorithm.

It owns the immutable `KeySet`; a new fetch makes a new one. Parsing is strict because a key set decides who everybody
is. The libraries accept RSA-1024, sets that mix secrets with public keys (the way to sign with the public key as if it
were a secret), equal kids and keys published for encryption; here

* a set is **refused whole** when a key in it is weak, private, labelled against its own material, or when two share a
  kid: somebody has made a mistake, and the set before it is the better one;
* a key is **passed over** when it is well but not for us: for encryption, of an unknown type or curve, of an algorithm
  that the issuer's configuration does not list. Identity providers publish such keys beside the others (RFC 7517 section 5).

Each key has exactly one algorithm (RFC 8725 section 3.1): its own `alg`, or the only one of the configured algorithms
that its type and curve can serve. A token never chooses. Nothing here fetches: `x5u` is not followed, `x5c` not read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from gateway.errors import KeySetError
from gateway.tokens import base64url
from gateway.tokens.strict_json import NotStrictJSON, loads_object
from gateway.tokens.weak import refuse_weak_ed25519, refuse_weak_rsa

MAX_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 100
MAX_KEY_ID: Final = 256


class _Scheme(NamedTuple):
    """What an algorithm name stands for: the key it takes, and the PyJWT object that checks its signatures."""

    key_type: str
    curve: str | None
    verifier: Algorithm
    least_secret_bytes: int = 0  # RFC 7518 section 3.2: a secret is at least as long as the hash


_SCHEMES: Final[dict[str, _Scheme]] = {
    "RS256": _Scheme("RSA", None, RSAAlgorithm(RSAAlgorithm.SHA256)),
    "RS384": _Scheme("RSA", None, RSAAlgorithm(RSAAlgorithm.SHA384)),
    "RS512": _Scheme("RSA", None, RSAAlgorithm(RSAAlgorithm.SHA512)),
    "PS256": _Scheme("RSA", None, RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256)),
    "PS384": _Scheme("RSA", None, RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384)),
    "PS512": _Scheme("RSA", None, RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512)),
    "ES256": _Scheme("EC", "P-256", ECAlgorithm(ECAlgorithm.SHA256, SECP256R1)),
    "ES384": _Scheme("EC", "P-384", ECAlgorithm(ECAlgorithm.SHA384, SECP384R1)),
    "ES512": _Scheme("EC", "P-521", ECAlgorithm(ECAlgorithm.SHA512, SECP521R1)),
    "EdDSA": _Scheme("OKP", "Ed25519", OKPAlgorithm()),
    "HS256": _Scheme("oct", None, HMACAlgorithm(HMACAlgorithm.SHA256), 32),
    "HS384": _Scheme("oct", None, HMACAlgorithm(HMACAlgorithm.SHA384), 48),
    "HS512": _Scheme("oct", None, HMACAlgorithm(HMACAlgorithm.SHA512), 64),
}
ALGORITHMS: Final = frozenset(_SCHEMES)
SYMMETRIC: Final = frozenset(name for name, scheme in _SCHEMES.items() if scheme.key_type == "oct")

_CURVE_TYPES: Final = {"P-256": "EC", "P-384": "EC", "P-521": "EC", "secp256k1": "EC", "Ed25519": "OKP", "Ed448": "OKP"}
_EC_CURVES: Final = {"P-256": (SECP256R1, 32), "P-384": (SECP384R1, 48), "P-521": (SECP521R1, 66)}
_PUBLIC_MEMBERS: Final = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "oct": ("k", "kty"),
}
_PRIVATE_MEMBERS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"))


@dataclass(frozen=True, slots=True)
class Key:
    """One key and the one algorithm it serves. Two keys are equal when kid, algorithm and thumbprint are."""

    kid: str | None
    algorithm: str
    thumbprint: str  # RFC 7638, SHA-256, base64url
    verifier: Algorithm = field(compare=False, repr=False)
    material: Any = field(compare=False, repr=False)  # what the verifier takes: a public key object, or the secret

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """True when `signature` is this key's signature over `signing_input`."""
        return self.verifier.verify(signing_input, self.material, signature)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer at one time. `passed_over` says for people which published keys are not used, and why."""

    keys: Mapping[str | None, Key]
    passed_over: tuple[str, ...] = field(default=(), compare=False)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key a token means. Without a kid only a set with exactly one key for the algorithm has an answer."""
        if kid is not None:
            return self.keys.get(kid)
        fitting = [key for key in self.keys.values() if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


class _PassedOver(Exception):
    """A sound key that is not for us."""


def parse_key_set(raw: bytes, algorithms: Sequence[str]) -> KeySet:
    """The usable keys in the JWK Set `raw` (RFC 7517) for an issuer that signs with `algorithms`.

    Raises `KeySetError`, with a text for the operator, when the set must not be trusted or holds no usable key.
    """
    refuse_mixed_algorithms(algorithms)
    keys: dict[str | None, Key] = {}
    passed_over: list[str] = []
    members = _read_members(raw)
    _refuse_mixed_types(members, algorithms)
    _refuse_equal_kids(members)
    for position, jwk in enumerate(members, 1):
        try:
            key = _read_key(jwk, algorithms)
        except _PassedOver as why:
            passed_over.append(f"key {position}: {why}")
            continue
        except KeySetError as error:
            raise KeySetError(f"key {position}: {error}") from error
        if key.kid in keys:
            raise KeySetError(f"key {position}: a second key without a kid")
        keys[key.kid] = key
    if not keys:
        raise KeySetError("; ".join(["no usable key", *passed_over[:5]]))
    return KeySet(MappingProxyType(keys), tuple(passed_over))


def read_key(jwk: Mapping[str, Any], algorithm: str) -> Key:
    """One key that is known to be for `algorithm`, judged as one of a set is. Raises `KeySetError`."""
    try:
        return _read_key(dict(jwk), (algorithm,))
    except _PassedOver as error:
        raise KeySetError(str(error)) from error


def refuse_mixed_algorithms(algorithms: Sequence[str]) -> None:
    """Raise for names that are not known, and for secrets and public keys in one list."""
    if not algorithms or not ALGORITHMS.issuperset(algorithms):
        raise KeySetError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
    if not SYMMETRIC.isdisjoint(algorithms) and not SYMMETRIC.issuperset(algorithms):
        raise KeySetError("HS algorithms cannot be mixed with others: a public key would serve as a secret")


def is_url(location: str) -> bool:
    """True when the key set at `location` is fetched, False when it is a file."""
    return location.lower().startswith(("http://", "https://"))


def refuse_secrets_from_url(location: str, algorithms: Sequence[str]) -> None:
    """Raise for an issuer whose secret would travel: a shared secret comes from a file, never over a network."""
    if is_url(location) and not SYMMETRIC.isdisjoint(algorithms):
        raise KeySetError("the secret of an HS issuer must come from a file, not from a URL")


def _read_members(raw: bytes) -> list[dict[str, Any]]:
    if len(raw) > MAX_BYTES:
        raise KeySetError(f"the key set is larger than {MAX_BYTES} bytes")
    try:
        document = loads_object(raw)
    except NotStrictJSON as error:
        raise KeySetError(f"the key set cannot be read: {error}") from error
    members = document.get("keys")
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise KeySetError('not a key set: {"keys": [...]} is expected')
    if len(members) > MAX_KEYS:
        raise KeySetError(f"the key set holds more than {MAX_KEYS} keys")
    return members


def _refuse_mixed_types(members: list[dict[str, Any]], algorithms: Sequence[str]) -> None:
    is_secret = {jwk.get("kty") == "oct" for jwk in members}
    if len(is_secret) > 1:
        raise KeySetError("the key set mixes secrets (oct) with public keys")
    if True in is_secret and SYMMETRIC.isdisjoint(algorithms):
        raise KeySetError("the key set holds secrets (oct), and the issuer's algorithms are for public keys")
    if False in is_secret and not SYMMETRIC.isdisjoint(algorithms):
        raise KeySetError("the key set holds public keys, and the issuer's algorithms are for secrets (oct)")


def _refuse_equal_kids(members: list[dict[str, Any]]) -> None:
    # Also against keys that are passed over for their algorithm; only an encryption key may share a name with its twin.
    kids = [jwk["kid"] for jwk in members if isinstance(jwk.get("kid"), str) and jwk.get("use") != "enc"]
    if len(set(kids)) != len(kids):
        raise KeySetError("two keys with the same kid")


def _read_key(jwk: dict[str, Any], algorithms: Sequence[str]) -> Key:
    key_type = jwk.get("kty")
    if not isinstance(key_type, str):
        raise KeySetError("no kty")
    _refuse_private(jwk, key_type)
    kid = _read_kid(jwk)
    algorithm = _read_algorithm(jwk, key_type, algorithms)
    scheme = _SCHEMES[algorithm]
    material = _MATERIALS[key_type](jwk, scheme)
    return Key(kid, algorithm, _thumbprint(jwk, key_type), scheme.verifier, material)


def _refuse_private(jwk: dict[str, Any], key_type: str) -> None:
    leaked = _PRIVATE_MEMBERS.intersection(jwk) - ({"k"} if key_type == "oct" else set())
    if leaked:
        raise KeySetError("private key material is published here; treat the key as stolen")


def _read_kid(jwk: dict[str, Any]) -> str | None:
    kid = jwk.get("kid")
    if "kid" in jwk and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KEY_ID and kid.isprintable()):
        raise KeySetError(f"a kid that is not a printable string of 1 to {MAX_KEY_ID} characters")
    return kid


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    """What `use` and `key_ops` say together; a key with neither is for signatures. Raises when they disagree."""
    use, operations = jwk.get("use"), jwk.get("key_ops")
    if "use" in jwk and not isinstance(use, str):
        raise KeySetError("`use` is not a string")
    if "key_ops" in jwk and not (isinstance(operations, list) and all(isinstance(name, str) for name in operations)):
        raise KeySetError("`key_ops` is not a list of strings")
    if operations is not None and len(set(operations)) != len(operations):
        raise KeySetError("`key_ops` names an operation twice")
    verdicts = {use == "sig"} if use is not None else set()
    verdicts |= {"verify" in operations} if operations is not None else set()
    if len(verdicts) > 1:
        raise KeySetError("`use` and `key_ops` contradict each other")
    return False not in verdicts


def _read_algorithm(jwk: dict[str, Any], key_type: str, algorithms: Sequence[str]) -> str:
    """The key's one algorithm. Labels are compared before anything is passed over: a contradiction is never harmless."""
    is_for_signatures = _is_for_signatures(jwk)
    curve = _read_curve(jwk, key_type)
    named = jwk.get("alg")
    if "alg" in jwk and not isinstance(named, str):
        raise KeySetError("`alg` is not a string")
    if named in _SCHEMES and not is_for_signatures:
        raise KeySetError("a signature algorithm on a key that is not for verifying signatures")
    if named in _SCHEMES and not _serves(_SCHEMES[named], key_type, curve):
        raise KeySetError("`alg` does not fit the key's type or curve")
    if not is_for_signatures:
        raise _PassedOver("not for signatures")
    fitting = [name for name in dict.fromkeys(algorithms) if named in (None, name) and _serves(_SCHEMES[name], key_type, curve)]
    if not fitting:
        raise _PassedOver("none of the issuer's algorithms uses it")
    if len(fitting) > 1:
        raise KeySetError(f"no `alg`, and {' and '.join(fitting)} would fit: list only the one the issuer uses")
    return fitting[0]


def _read_curve(jwk: dict[str, Any], key_type: str) -> str | None:
    curve = jwk.get("crv")
    if "crv" not in jwk:
        return None
    if not isinstance(curve, str) or key_type in ("RSA", "oct") or _CURVE_TYPES.get(curve, key_type) != key_type:
        raise KeySetError("`crv` does not belong to the key's type")
    return curve


def _serves(scheme: _Scheme, key_type: str, curve: str | None) -> bool:
    return scheme.key_type == key_type and scheme.curve in (None, curve)


def _bytes_member(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not value:
        raise KeySetError(f"`{name}` is missing or not a string")
    try:
        return base64url.decode(value.encode("ascii"))
    except ValueError as error:
        raise KeySetError(f"`{name}` is not base64url") from error


def _rsa_material(jwk: dict[str, Any], _: _Scheme) -> Any:
    modulus = int.from_bytes(_bytes_member(jwk, "n"), "big")
    exponent = int.from_bytes(_bytes_member(jwk, "e"), "big")
    refuse_weak_rsa(modulus, exponent)
    return _load(RSAPublicNumbers(exponent, modulus).public_key)


def _ec_material(jwk: dict[str, Any], scheme: _Scheme) -> Any:
    assert scheme.curve is not None
    curve, size = _EC_CURVES[scheme.curve]
    x, y = _bytes_member(jwk, "x"), _bytes_member(jwk, "y")
    if len(x) != size or len(y) != size:  # RFC 7518 section 6.2.1.2: leading zeros stay
        raise KeySetError("a coordinate of the wrong length for the curve")
    numbers = EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve())
    return _load(numbers.public_key)


def _ed25519_material(jwk: dict[str, Any], _: _Scheme) -> Any:
    public = _bytes_member(jwk, "x")
    if len(public) != 32:
        raise KeySetError("an Ed25519 key that is not 32 bytes long")
    refuse_weak_ed25519(public)
    return _load(lambda: Ed25519PublicKey.from_public_bytes(public))


def _secret_material(jwk: dict[str, Any], scheme: _Scheme) -> Any:
    secret = _bytes_member(jwk, "k")
    if len(secret) < scheme.least_secret_bytes:
        raise KeySetError(f"a secret of {len(secret)} bytes: at least {scheme.least_secret_bytes} are needed for its algorithm")
    if len(set(secret)) < 8:
        raise KeySetError("a secret of a few repeated bytes")
    return secret


_MATERIALS: Final[dict[str, Callable[[dict[str, Any], _Scheme], Any]]] = {
    "RSA": _rsa_material,
    "EC": _ec_material,
    "OKP": _ed25519_material,
    "oct": _secret_material,
}


def _load(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeySetError("not a public key: the point is not on the curve, or the numbers make no sense") from error


def _thumbprint(jwk: dict[str, Any], key_type: str) -> str:
    """RFC 7638. Numbers are spelled minimally first: a leading zero in `n` must not make another key of it."""
    members = {name: jwk[name] for name in _PUBLIC_MEMBERS[key_type]}
    if key_type == "RSA":
        for name in ("n", "e"):
            members[name] = base64url.encode(_bytes_member(jwk, name).lstrip(b"\0")).decode()
    # Every value is base64url or one of our own words by now, so this is what a JSON writer would write.
    spelled = ",".join(f'"{name}":"{members[name]}"' for name in sorted(members))
    return base64url.encode(sha256(f"{{{spelled}}}".encode()).digest()).decode()
