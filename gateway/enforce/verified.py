"""What is known about a genuine token: the record that the verified-token cache keeps, and its judgement by time.

A `Verified` says that the bytes were signed by the issuer's key for one of our audiences. That never changes, so it may be
kept. Whether the token is *still wanted* does change: time is judged by `judge_time` for each request, revocations by the
view. The record owns no clock and no cache.

    from the token, never changed      bookkeeping of whoever keeps the record
    ─────────────────────────────      ─────────────────────────────────────────────────────────────────────────────
    issuer, user, times, key           fact_keys       what to look up in the view, computed once
                                       identity        the header lines for the backend, computed once
                                       allow           the verdict "forward as this user", built once
                                       revoked_by      what the view said of it, at its revision `looked_up`; -1: not asked yet
                                       entry           the session's record, or the first use's, in this worker's memory
                                       shown_as        the bytes under which the memory of tokens keeps it
                                       generation      the issuer's generation at verification; another: its key may be withdrawn
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.reasons import Reason

if TYPE_CHECKING:
    from gateway.enforce.issuer import Issuer
    from gateway.enforce.verdict import Allow
    from gateway.revocation.entry import Kind
    from gateway.sessions.cache import Entry

_JUST_MINTED_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Own:
    """What only tokens of this gateway say. `generation` counts the rotations of their session.

    `is_unseen`: it was minted for the request at hand, no client has shown it yet.
    """

    generation: int
    is_refresh: bool = False
    is_unseen: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Verified:
    """A genuine token. Times are seconds since 1970 as the token states them; `usable_*` include the issuer's leeway."""

    issuer: str
    subject: str  # the `sub` claim; the user claim when the token has none
    user: str  # what the backend sees: the issuer's prefix and the mapped claim
    groups: tuple[str, ...]
    name: str | None
    email: str | None
    token_id: str | None
    session: str | None
    version: int | None
    key_id: str  # the key's kid; its thumbprint when it has none
    thumbprint: str
    algorithm: str
    issued_at: float
    not_before: float | None
    expires_at: float
    usable_from: float  # the later of iat and nbf, less the leeway
    usable_until: float  # exp and the leeway; the last second still passes

    generation: int
    own: Own | None = None
    is_from_cookie: bool = False
    auth_time: float | None = None
    record_name: str = ""  # of the session's record, or the first use's; empty: there is none
    shown_as: bytes = b""
    fact_keys: "tuple[tuple[Kind, bytes], ...]" = ()
    identity: bytes = b""
    allow: "Allow" = field(init=False, repr=False)
    looked_up: int = -1
    revoked_by: "tuple[Reason, Kind, int] | None" = None
    entry: "Entry | None" = None


def judge_time(verified: Verified, issuer: "Issuer", now: float) -> Reason | None:
    """Why the token is not usable at `now`, or None. To be asked for every request: a cached token must not outlive `exp`."""
    if now > verified.usable_until:
        return Reason.EXPIRED_TOKEN
    if now < verified.usable_from:
        return Reason.NOT_YET_VALID
    if verified.expires_at - verified.issued_at > issuer.max_lifetime:
        return Reason.LIFETIME_TOO_LONG
    return None


def minted_now(verified: Verified, now: float) -> Verified:
    """A token that was made a moment ago, for the request at hand: its `exp`, which is rounded down, may be over already when it
    lives for a second only. It is not, for this request."""
    verified.usable_until = max(verified.usable_until, now + _JUST_MINTED_S)
    return verified
