"""A key of the ring as the store holds it: sealed, so that whoever reads the store or a copy of it cannot sign [T4].

    row      "<state> <since> <algorithm> <created> <box>"        times are seconds with six decimals; box is base64url
    box      nonce 12 │ AES-256-GCM( half 1 │ DER or secret ) │ tag 16
    half     "s" private: signs and verifies      "v" public, of a key that is gone: verifies only
    key      HKDF-SHA256(secret, info "gateway ring")
    bound    kid, algorithm and created, each behind its length: a box moved to another row does not open

The public half of a key is derived from what the box held and never read from beside it: a public key that was swapped in
the store would let a stranger sign. State and since are in the open, because the script that changes them tells the time by
the store's clock; whoever could write them could as well put an older row back.

The newest of the secrets seals, any of them opens. So a secret is replaced in three steps: the new one second in the list of
every gateway, then first (the ring is sealed anew by itself), then the old one out.

It owns no data and does no I/O.
"""

import re
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import KeySetError
from gateway.tokens import base64url
from gateway.tokens.material import ALGORITHMS, public_half, read_private, read_public, write_private, write_public
from gateway.tokens.ring import SigningKey, State, signing_key

SECRET_BYTES: Final = 32
_PURPOSE: Final = b"gateway ring"
_NONCE_BYTES: Final = 12
_PRIVATE: Final = b"s"
_PUBLIC: Final = b"v"
_KID: Final = re.compile(r"[A-Za-z0-9_-]{12}", re.ASCII)
_ROW: Final = re.compile(r"([a-z]+) (\d{1,12}\.\d{6}) ([A-Za-z0-9]+) (\d{1,12}\.\d{6}) ([A-Za-z0-9_-]+)", re.ASCII)


class Unsealed(NamedTuple):
    """A key, and whether the newest secret opened it: if not it should be sealed anew."""

    key: SigningKey
    is_newest: bool


def derived(secret: bytes, purpose: bytes) -> bytes:
    """32 bytes for one purpose: knowing those of one purpose tells nothing of another's (RFC 5869)."""
    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret)


def seal(key: SigningKey, secrets_: Sequence[bytes]) -> str:
    """What follows state and since in the key's row."""
    half = _PUBLIC + write_public(key.verifier.material) if key.private is None else _PRIVATE + write_private(key.private)
    created = time_text(key.created)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    box = nonce + AESGCM(derived(secrets_[0], _PURPOSE)).encrypt(nonce, half, _bound(key.kid, key.algorithm, created))
    return f"{key.algorithm} {created} {base64url.encode(box).decode()}"


def unseal(kid: str, row: str, secrets_: Sequence[bytes]) -> Unsealed:
    """The key in a row. Raises `KeySetError`, with a text for the operator, for a row that no secret opens or that is none."""
    found = _ROW.fullmatch(row)
    if found is None or not _KID.fullmatch(kid) or found[1] not in tuple(State) or found[3] not in ALGORITHMS:
        raise KeySetError(f"signing key {kid[:20]!r}: what the store holds of it cannot be read")
    state, since, algorithm, created, box = found.groups()
    half, is_newest = _open(kid, base64url.decode(box.encode()), _bound(kid, algorithm, created), secrets_)
    if (half[:1] == _PUBLIC) != (state == State.GONE):
        raise KeySetError(f"signing key {kid}: the store calls it {state}, and that is not what was sealed")
    private = None if half[:1] == _PUBLIC else read_private(algorithm, half[1:])
    public = read_public(algorithm, half[1:]) if private is None else public_half(private)
    return Unsealed(signing_key(kid, algorithm, float(created), State(state), float(since), public, private), is_newest)


def time_text(seconds: float) -> str:
    """A time as rows hold it."""
    return f"{seconds:.6f}"


def _open(kid: str, box: bytes, bound: bytes, secrets_: Sequence[bytes]) -> tuple[bytes, bool]:
    for place, secret in enumerate(secrets_):
        try:
            return AESGCM(derived(secret, _PURPOSE)).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], bound), place == 0
        except (InvalidTag, ValueError):  # ValueError: too short to be one
            continue
    raise KeySetError(
        f"signing key {kid}: no secret of `tokens.secrets` opens it. Gateways on one store have the same secrets; if the right "
        "one is lost, `gateway keys rotate --compromised` begins anew"
    )


def _bound(kid: str, algorithm: str, created: str) -> bytes:
    parts = (part.encode() for part in (kid, algorithm, created))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
