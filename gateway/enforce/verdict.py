"""What a decision can say. Five answers, no more; `proxy/exchange.py` does what they say.

`Allow` and `Deny` are final. The other three name the one thing that only the store knows; when it is known the same decision is
asked again [W4].
"""

from dataclasses import dataclass

from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Kind


@dataclass(frozen=True, slots=True)
class Allow:
    """Forward, as the token's user, or as nobody when there is none. `is_stale`: revocation could not be checked."""

    token: Verified | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse. `detail` is for the log and for the client, and repeats nothing that the client sent.

    `token` is there when the token itself is genuine, so the log can say whose it was; `kind` and `revoked_at` (seconds
    since 1970; of a version the smallest that is accepted) when it was revoked. `issuer` and `key_id` are what a token that
    is not genuine claims: attacker's text. `ends_session`: it is to be ended for this [S2].
    """

    reason: Reason
    detail: str = ""
    token: Verified | None = None
    kind: Kind | None = None
    revoked_at: int = 0
    issuer: str | None = None
    key_id: str | None = None
    ends_session: bool = False


@dataclass(frozen=True, slots=True)
class NeedsClaim:
    """All is well, but this token serves once on this route: claim it in the store, then decide again [T5, W4]."""

    token: Verified


@dataclass(frozen=True, slots=True)
class NeedsSession:
    """The record of the token's session, or of its first use, is not in this worker's memory: fetch it, then decide again.

    `seen`: the generation of the token that was shown, which the record does not know to be used yet [R2].
    """

    token: Verified
    seen: int = 0


@dataclass(frozen=True, slots=True)
class NeedsRefresh:
    """The access token is missing or expired and the refresh token is good: rotate in the store, then decide again.

    `barred`: a fingerprint refuses it already; then only the generation is judged, because reuse is told first.
    """

    token: Verified
    barred: Deny | None = None


Verdict = Allow | Deny | NeedsClaim | NeedsSession | NeedsRefresh
