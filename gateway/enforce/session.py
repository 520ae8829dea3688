"""The step between a token and the record behind it: the session of a token of ours [S1], the first use of somebody else's [S3].

    the entry this worker holds is good      go on with it
    none, or the log said that it changed    NeedsSession: fetch it, then decide again
    it knows of no use of this generation    NeedsSession: tell it; only a token that the session made gets so far
    the store said that there is none        unknown-session (ours only; a first use that is missing is made anew)
    the session's secret did not make it     bad-signature: whoever signed it had the key, and not the session

What an own token says of groups and names is what was true when it was signed; the record says what is true now, and the
record counts. The generations are met here: a token of a generation that was never seen is told to the store at once, so that
its predecessor cannot be shown for a lost answer any more [R2].
"""

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.enforce.identity import identity_lines
from gateway.enforce.revoked import fact_keys
from gateway.enforce.verdict import Allow, Deny, NeedsSession
from gateway.enforce.verified import Own, Verified
from gateway.reasons import Reason
from gateway.sessions.cache import ABSENT, Entry
from gateway.sessions.model import Record
from gateway.tokens.issue import ACCESS_KIND, REFRESH_KIND, token_id

if TYPE_CHECKING:
    from gateway.enforce.known import Known


def with_entry(token: Verified, known: "Known", boot: float) -> Verified | NeedsSession | Deny:
    """The token with its record; it may be another object when the record says more than the token."""
    entry = known.sessions.find(token.record_name, boot)
    if entry is ABSENT:
        return Deny(Reason.UNKNOWN_SESSION, "", token)
    if not isinstance(entry, Entry) or entry.is_dirty:
        return NeedsSession(token)
    record = entry.record
    if isinstance(record, Record) and not is_of(token, record):
        return Deny(Reason.BAD_SIGNATURE, "the session did not make this token", token)
    if isinstance(record, Record) and token.own is not None and is_news(token.own, record):
        return NeedsSession(token, token.own.generation)
    if token.own is not None and isinstance(record, Record) and (token.groups, token.user) != (record.groups, record.user):
        keep = prepare if token.own.is_unseen else remember  # what nobody has shown is not to be found as if somebody had
        token = keep(token.shown_as, replace(token, groups=record.groups, user=record.user), known)
    token.entry = entry
    return token


def is_of(token: Verified, record: Record) -> bool:
    """Whether the session itself vouches for its token: a `jti` of ours is a MAC under the session's secret [R1], so who has
    stolen a signing key can make no token with it."""
    if token.own is None or token.token_id is None:
        return False
    kind = REFRESH_KIND if token.own.is_refresh else ACCESS_KIND
    return hmac.compare_digest(token_id(record.secret, record.sid, kind, token.own.generation).encode(), token.token_id.encode())


def is_news(own: Own, record: Record) -> bool:
    """Whether the store does not know yet that a token of this generation was seen. A refresh token is told by its rotation."""
    return not own.is_refresh and not own.is_unseen and record.used < own.generation


def remember(shown_as: bytes, token: Verified, known: "Known") -> Verified:
    """Keep a token under the bytes that were shown, with all that every request with it needs."""
    if token.own is not None:
        known.verified_by_key[token.key_id] = known.verified_by_key.get(token.key_id, 0) + 1
    known.memory_of(token).put(shown_as, prepare(shown_as, token, known))
    return token


def named(refresh: Verified, access: Verified, known: "Known") -> Verified:
    """The refresh token of a session, with what only the access token beside it says: whose it is. The record that says so too
    may be gone when the token is refused, and whoever reads of that wants a name."""
    if refresh.user == access.user:
        return refresh
    refresh = prepare(refresh.shown_as, replace(refresh, user=access.user), known)
    known.memory_of(refresh).put(refresh.shown_as, refresh)
    return refresh


def prepare(shown_as: bytes, token: Verified, known: "Known") -> Verified:
    """Compute once what every request with this token needs."""
    if token.own is None and not known.fingerprint.judges_foreign:
        token.record_name = ""
    token.shown_as = shown_as
    token.fact_keys = fact_keys(token)
    token.identity = identity_lines(token, known.preset)
    token.allow = Allow(token)
    return token
