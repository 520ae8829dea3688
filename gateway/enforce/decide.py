"""The decision. Pure: no await, no I/O, no clock, no log.

    request, route, what this worker knows, now   ->   Allow | Deny | NeedsSession | NeedsRefresh | NeedsClaim

It can be pure because the revocation log is replicated into every worker. It reads top to bottom in the order in which
reasons are told; the steps are the other files of this folder.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gateway.enforce.extract import MalformedCredential, bearer
from gateway.enforce.refresh import is_renewed_unseen, judge_refresh
from gateway.enforce.revoked import first_fact
from gateway.enforce.session import named, remember, with_entry
from gateway.enforce.shown import shown_by
from gateway.enforce.verdict import Allow, Deny, NeedsClaim, NeedsRefresh, Verdict
from gateway.enforce.verified import Verified, judge_time
from gateway.enforce.verify import Refused, authenticate
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.revocation.state import State
from gateway.routes.route import Access, OnOutage, Route
from gateway.wire.head import RequestHead

if TYPE_CHECKING:
    from gateway.enforce.issuer import Issuer
    from gateway.enforce.known import Known, TokenMemory

# A global is five times as fast as an attribute of an Enum on Python 3.11, and these are asked for every request.
_PUBLIC, _OPTIONAL, _LIVE, _ALLOW = Access.PUBLIC, Access.OPTIONAL, State.LIVE, OnOutage.ALLOW

ANYONE = Allow()
NO_TOKEN = Deny(Reason.NO_TOKEN)
MALFORMED = Deny(Reason.MALFORMED_TOKEN, "the Authorization field does not hold one bearer token")


class Done(NamedTuple):
    """What was awaited for this request already, so that deciding again does not ask for it again."""

    is_claimed: bool = False  # the one-time use
    renewed: Verified | None = None  # the access token of the session as it is after a refresh
    is_without_record: bool = False  # the store was asked and could not answer; the route says what that means
    questions: int = 0  # how often the store was asked anything


NOTHING_DONE = Done()


def decide(
    head: RequestHead, address: str, route: Route, known: "Known", now: float, boot: float, done: Done = NOTHING_DONE
) -> Verdict:
    """Judge one request that came from `address`.

    `now` is wall time in seconds since 1970, `boot` the time since boot with suspension: the age of the replica's proof is
    computed here, at each request, and not taken from a timer's flag [L3].
    """
    if route.access is _PUBLIC:
        return ANYONE
    authorization = head.authorization
    token = known.tokens.get(authorization) if authorization is not None else None
    if token is None:
        try:
            credential = bearer(authorization)
        except MalformedCredential:
            return MALFORMED
        if credential is None or authorization is None:
            return _decide_by_cookie(head, address, route, known, now, boot, done)
        judged = authenticate(credential, known.issuers)
        if isinstance(judged, Refused):
            return Deny(judged.reason, judged.detail, issuer=judged.issuer, key_id=judged.kid)
        token = remember(authorization, judged, known)
    return judge(token, route, known, now, boot, head, address, done)


def _decide_by_cookie(
    head: RequestHead, address: str, route: Route, known: "Known", now: float, boot: float, done: Done
) -> Verdict:
    """No bearer token: the cookies of a session. They are renewed only when age is all that is wrong with them [T3]."""
    access: Verified | Refused | None = done.renewed
    if access is None:
        if head.has_doubled_cookie:
            return Deny(Reason.MALFORMED_TOKEN, "a cookie of this gateway came twice")
        access = _shown_in_cookie(head.access_cookie, known, known.access_cookies, known.issuers)
    if isinstance(access, Refused):
        return Deny(access.reason, access.detail, issuer=access.issuer, key_id=access.kid)
    verdict: Verdict = ANYONE if route.access is _OPTIONAL else NO_TOKEN
    if access is not None:
        verdict = judge(access, route, known, now, boot, head, address, done)
        if type(verdict) is not Deny or verdict.reason is not Reason.EXPIRED_TOKEN or done.renewed is not None:
            return verdict
    refresh = _shown_in_cookie(head.refresh_cookie, known, known.refresh_cookies, known.refresh_issuers)
    if refresh is None:
        return verdict
    if isinstance(refresh, Refused):
        return Deny(refresh.reason, refresh.detail, issuer=refresh.issuer, key_id=refresh.kid)
    if access is not None and access.session != refresh.session:
        return Deny(Reason.MALFORMED_TOKEN, "the two cookies are of different sessions", access)
    if access is not None:
        refresh = named(refresh, access, known)
    judged = judge_refresh(refresh, known, now, boot, shown_by(head), address)
    if type(judged) is not NeedsRefresh:
        return judged
    if judged.token.entry is None or not is_renewed_unseen(judged.token.entry):
        return verdict
    if not known.csrf.allows(head, refresh.session):
        return Deny(Reason.CSRF, "", judged.token)
    return judged


def _shown_in_cookie(
    cookie: bytes | None, known: "Known", memory: "TokenMemory", issuers: "Mapping[str, Issuer]"
) -> Verified | Refused | None:
    """The token in one of our cookies, verified once. Another issuer's token has no business there, nor one of another kind."""
    if cookie is None:
        return None
    token = memory.get(cookie)
    if token is not None:
        return token
    judged = authenticate(cookie, issuers)
    if isinstance(judged, Refused):
        return judged
    if judged.own is None:
        return Refused(Reason.WRONG_ISSUER, "a cookie of this gateway holds another issuer's token", judged.issuer, judged.key_id)
    judged.is_from_cookie = True
    return remember(cookie, judged, known)


def judge(
    token: Verified,
    route: Route,
    known: "Known",
    now: float,
    boot: float,
    head: RequestHead | None = None,
    address: str = "",
    done: Done = NOTHING_DONE,
) -> Verdict:
    """Judge a genuine token: also asked again, without a head, for connections that are already open."""
    issuer = known.issuers[token.issuer]
    if route.issuers is not None and token.issuer not in route.issuers:
        return Deny(Reason.WRONG_ISSUER, "this route does not accept the token's issuer", token)

    view = known.replica
    if token.looked_up != view.revision:
        token.revoked_by, token.looked_up = first_fact(token, view, issuer.skew), view.revision
    fact = token.revoked_by
    if fact is not None and fact[1] is Kind.KEY:
        return Deny(fact[0], "", token, fact[1], fact[2])
    out_of_time = judge_time(token, issuer, now)
    if out_of_time is not None:
        return Deny(out_of_time, "", token)
    if fact is not None:
        return Deny(fact[0], "", token, fact[1], fact[2])
    if token.issued_at < view.complete_since:
        return Deny(Reason.UNKNOWN_SESSION, "revocations of the time before this token may have been lost", token)

    age = boot - view.proven_at
    is_fresh = view.state is _LIVE and age <= known.max_staleness_s
    if token.record_name and head is not None:
        entry = token.entry
        if entry is None or entry.is_dirty:
            if is_fresh and not done.is_without_record:
                found = with_entry(token, known, boot)
                if not isinstance(found, Verified):
                    return found
                token, entry = found, found.entry
            elif token.own is not None and route.on_outage is not _ALLOW:
                return Deny(Reason.STORE_UNAVAILABLE, "", token)
            else:
                is_fresh = is_fresh and token.own is None
        if entry is not None and entry.agreed != (address, shown_by(head).browser):
            refused = known.fingerprint.judge(token, entry, shown_by(head), address, now)
            if refused is not None:
                return refused
    if token.is_from_cookie and head is not None and not known.csrf.allows(head, token.session):
        return Deny(Reason.CSRF, "", token)

    if route.groups and route.groups.isdisjoint(token.groups):
        return Deny(Reason.FORBIDDEN, "", token)
    if not is_fresh and not may_be_stale(route, known, age):
        return Deny(Reason.STORE_UNAVAILABLE, "", token)
    if route.is_once and not done.is_claimed:
        if token.issued_at < view.uses_since:
            return Deny(Reason.UNKNOWN_SESSION, "uses of the time before this token may have been lost", token)
        return (
            NeedsClaim(token)
            if token.token_id is not None
            else Deny(Reason.MALFORMED_TOKEN, "a token that serves once needs a jti", token)
        )
    return token.allow if is_fresh else Allow(token, is_stale=True)


def may_be_stale(route: Route, known: "Known", age_s: float) -> bool:
    """What the route does when revocation cannot be checked [B5]: `stale` needs a replica that was once live, and ends."""
    if route.on_outage is OnOutage.STALE:
        return known.replica.was_live and age_s <= known.stale_limit_s
    return route.on_outage is OnOutage.ALLOW
