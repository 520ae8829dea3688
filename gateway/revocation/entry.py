"""What a revocation is: the facts, their keys, and the entry of the log that carries one.

A fact says "this token (session, user's older tokens, key…) is not wanted any more". It is found by its key, 16 bytes:

    blake2b-128( len ‖ kind ‖ len ‖ issuer ‖ len ‖ name ‖ … )        every len is 4 bytes, big endian

The lengths are there because names come from tokens: without them ("a", "bc") and ("ab", "c") were one fact, and whoever
chooses a user name could be confused with a session, or free himself with a fact of somebody else. The issuer `""`
means every issuer.

What the value of a fact means:

    token session block key    the second of the revocation
    user                       a not-before: tokens with `iat` up to that second are refused
    version                    the smallest version that is still accepted
    lift                       what remains of the lifted key's fact without the lifted revocation; 0: nothing

Two kinds are no facts but news, which every worker takes in before it acknowledges them. They have a key of sixteen
zeros, and what they are about in their text:

    ring                       our own signing keys changed
    touch                      the records of a session (name: its sid) or of all sessions of an account (name: its sub)

Keys that apply to a token of issuer I (look up each with I and, but for `token`, with `""`):
    token (I, jti) · session (I, sid) · user (I, user) and user (I) alone · block (I, user) · version (I, user) · key
    (I, kid) and key (I, kid, thumbprint).
`user (I)`, with no name, is the not-before of everybody: facts about tokens whose user is not known fold into it when
the replica is full.

This file owns no data and does no I/O.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Final

KEY_BYTES: Final = 16
PERMANENT: Final = 2**40 - 1
"""An expiry that never comes. It is a number, so that facts with and without end are sorted by one rule."""

LARGEST_VALUE: Final = 2**39 - 1
NO_KEY: Final = bytes(KEY_BYTES)


class Kind(StrEnum):
    """What is revoked, or that a revocation is lifted."""

    TOKEN = "token"
    SESSION = "session"
    USER = "user"
    VERSION = "version"
    BLOCK = "block"
    KEY = "key"
    LIFT = "lift"
    RING = "ring"
    TOUCH = "touch"


NEWS: Final = (Kind.RING, Kind.TOUCH)
KINDS: Final = tuple(Kind)
"""The store holds the position in this tuple plus one in a byte: append to the enumeration, never reorder it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. `issuer`, `name`, `reason`, `source`, `device` are for audit and log lines, never for decisions."""

    sequence: int
    id: str
    predecessor: str
    kind: Kind
    key: bytes
    value: int
    expires_at: int
    revocation: str
    lifted_kind: Kind | None = None
    fold_into: bytes = NO_KEY
    issuer: str = ""
    name: str = ""
    reason: str = ""
    source: str = ""
    device: str = ""
    appended_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Revocation:
    """A request to revoke. The issuer `""` means every issuer.

    `expires_at` and `user` help with a token: its `exp` and whose it is, when known. `value` is the smallest accepted
    version, or a not-before other than the store's present second. `device` is the class of the device on which a user ended
    his own session. `id` makes a repetition of the same request harmless.
    """

    kind: Kind
    name: str
    issuer: str = ""
    reason: str = ""
    source: str = "api"
    expires_at: float | None = None
    user: str | None = None
    value: int = 0
    thumbprint: str = ""
    device: str = ""
    id: str = ""

    @property
    def key(self) -> bytes:
        """The key of the fact that this becomes."""
        if self.kind is Kind.KEY and self.thumbprint:
            return fact_key(self.kind, self.issuer, self.name, self.thumbprint)
        return fact_key(self.kind, self.issuer, self.name)

    @property
    def fold_into(self) -> bytes:
        """The not-before that may stand in for this fact when the replica is full [L9]; no key: nothing can.

        Only a token's denial folds: a not-before says nothing about what is issued later, and a revoked session, block
        or key does.
        """
        if self.kind is not Kind.TOKEN:
            return NO_KEY
        return everybody_key(self.issuer) if self.user is None else fact_key(Kind.USER, self.issuer, self.user)


def fact_key(kind: Kind, issuer: str, *names: str) -> bytes:
    """The 16 bytes by which a fact is found."""
    digest = blake2b(digest_size=KEY_BYTES)
    for part in (kind.value, issuer, *names):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return digest.digest()


def everybody_key(issuer: str) -> bytes:
    """The key of the not-before that concerns every user of an issuer."""
    return fact_key(Kind.USER, issuer)
