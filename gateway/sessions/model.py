"""A session of this gateway's own: its record, and the names of a session and of its tokens.

    sub   aSubjectOf16Char                                   whose: random, never reused
    sid   aSubjectOf16Char.22-random-characters              so whoever has the id knows where the record lies
    jti   aSubjectOf16Char.22-random-characters.22-of-a-MAC  so whoever has a token's id knows the session to end [T3]

One record is the whole truth about a session. Tokens are not kept: they are computed from it, so any worker mints the same
successor again [R1]. A `Record` is a snapshot and never changes; the scripts in `lua/` are the only ones that write, and each
write that a decision could see makes the revision greater.

Of another issuer's token we did not see the login. What we know of it is its `FirstUse` [S3], under a name of the same shape
(digests instead of random characters, and longer ones, so no such name is a sid).

It owns no data and does no I/O.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from gateway.tokens import base64url

SUBJECT_BYTES: Final = 12
SESSION_BYTES: Final = 16  # 128 random bits: not guessed, not enumerated
SECRET_BYTES: Final = 32
COOKIE: Final = "cookie"
TOKEN: Final = "token"


@dataclass(frozen=True, slots=True)
class Record:
    """One session as the store held it. Times are seconds since 1970 by the store's clock.

    `generation` counts rotations from 1; `used` is the newest generation of which a token was seen [R2].
    """

    sid: str
    sub: str
    user: str  # the account's name: what X-User says
    version: int  # the account's version at login, or at the change of password that kept this session
    groups: tuple[str, ...]
    delivery: str  # COOKIE or TOKEN, fixed at login [R6]
    created: float
    ends: float  # the absolute end, never extended
    generation: int
    used: int
    rotated_at: float  # when this generation was made; its tokens' `iat`, rounded down
    access_expires: float
    refresh_expires: float  # the idle end
    secret: bytes  # of the token ids
    revision: int
    # The login's fingerprint, never changed; empty: not known.
    network: str = ""
    device: str = ""
    hints: str = ""
    country: str = ""
    agent: str = ""  # for people: "Firefox on Linux"
    # What the rules of rotation remember.
    rotated_from: str = ""  # the network that asked for this generation
    odd_generation: int = 0  # the last generation that was asked for again from another network
    first_used: float = 0.0  # when a token of generation `used` was first seen
    is_ended: bool = False  # reuse was found; the tombstone in the log is being written
    # Use, written in batches: seconds late at most.
    last_seen: float = 0.0
    last_network: str = ""
    uses: int = 0


@dataclass(frozen=True, slots=True)
class FirstUse:
    """How another issuer's session looked when it was first seen here [S3]. It never changes."""

    name: str  # `<digest of whose>.<digest of which>`
    created: float
    expires: float
    network: str = ""
    device: str = ""
    hints: str = ""
    country: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """What a login says about the session that it opens."""

    sub: str
    user: str
    version: int
    groups: tuple[str, ...] = ()
    delivery: str = COOKIE
    network: str = ""
    device: str = ""
    hints: str = ""
    country: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """That a session was used `count` times, the last time then and from there."""

    sid: str
    seen_at: float
    network: str
    count: int


def new_subject() -> str:
    """A name for an account that no other account had or will have."""
    return base64url.encode(secrets.token_bytes(SUBJECT_BYTES)).decode()


def new_session_id(sub: str) -> str:
    """A name for a new session of this account."""
    return f"{sub}.{base64url.encode(secrets.token_bytes(SESSION_BYTES)).decode()}"


def is_subject(text: str) -> bool:
    """Whether this can be the name of an account of ours."""
    return _is_id(text, SUBJECT_BYTES)


def subject_of(sid: str) -> str | None:
    """Whose session this is; None when it is not the id of a session of ours."""
    sub, dot, rest = sid.partition(".")
    return sub if dot and _is_id(sub, SUBJECT_BYTES) and _is_id(rest, SESSION_BYTES) else None


def session_of(token_id: str) -> str | None:
    """Which session a token of ours belongs to; None when it is not the id of a token of ours."""
    sid, dot, rest = token_id.rpartition(".")
    return sid if dot and _is_id(rest, SESSION_BYTES) and subject_of(sid) is not None else None


def _is_id(text: str, length: int) -> bool:
    try:
        return len(base64url.decode(text.encode("ascii"))) == length
    except ValueError:  # NotBase64URL and UnicodeEncodeError are
        return False
