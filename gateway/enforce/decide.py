"""The decision. Pure: no await, no I/O, no clock, no log.

    request, route, what this worker knows, now   ->   Allow | Deny | NeedsClaim

It can be pure because the revocation log is replicated into every worker. It reads top to bottom in the order in which
reasons are told; the steps are the other files of this folder.
"""

from gateway.enforce.extract import MalformedCredential, bearer
from gateway.enforce.identity import identity_lines
from gateway.enforce.known import Known
from gateway.enforce.revoked import fact_keys, first_fact
from gateway.enforce.verdict import Allow, Deny, NeedsClaim, Verdict
from gateway.enforce.verified import Verified, judge_time
from gateway.enforce.verify import Refused, authenticate
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.revocation.state import State
from gateway.routes.route import Access, OnOutage, Route

# A global is five times as fast as an attribute of an Enum on Python 3.11, and these are asked for every request.
_PUBLIC, _OPTIONAL, _LIVE = Access.PUBLIC, Access.OPTIONAL, State.LIVE

ANYONE = Allow()
NO_TOKEN = Deny(Reason.NO_TOKEN)
MALFORMED = Deny(Reason.MALFORMED_TOKEN, "the Authorization field does not hold one bearer token")


def decide(
    authorization: bytes | None, route: Route, known: Known, now: float, boot: float, *, is_claimed: bool = False
) -> Verdict:
    """Judge one request.

    `now` is wall time in seconds since 1970, `boot` the time since boot with suspension: the age of the replica's proof is
    computed here, at each request, and not taken from a timer's flag [L3]. `is_claimed`: the one-time use was just claimed.
    """
    if route.access is _PUBLIC:
        return ANYONE
    token = known.tokens.get(authorization) if authorization is not None else None
    if token is None:
        try:
            credential = bearer(authorization)
        except MalformedCredential:
            return MALFORMED
        if authorization is None or credential is None:
            return ANYONE if route.access is _OPTIONAL else NO_TOKEN
        judged = authenticate(credential, known.issuers)
        if isinstance(judged, Refused):
            return Deny(judged.reason, judged.detail, issuer=judged.issuer, key_id=judged.kid)
        token = remember(authorization, judged, known)
    return judge(token, route, known, now, boot, is_claimed=is_claimed)


def judge(token: Verified, route: Route, known: Known, now: float, boot: float, *, is_claimed: bool = False) -> Verdict:
    """Judge a genuine token: also asked again for connections that are already open."""
    issuer = known.issuers[token.issuer]
    if route.issuers is not None and token.issuer not in route.issuers:
        return Deny(Reason.WRONG_ISSUER, "this route does not accept the token's issuer", token)

    view = known.replica
    fact = None if token.clean_revision == view.revision else first_fact(token, view, issuer.skew)
    if fact is not None and fact[1] is Kind.KEY:
        return Deny(fact[0], "", token, fact[1], fact[2])
    out_of_time = judge_time(token, issuer, now)
    if out_of_time is not None:
        return Deny(out_of_time, "", token)
    if fact is not None:
        return Deny(fact[0], "", token, fact[1], fact[2])
    token.clean_revision = view.revision
    if token.issued_at < view.complete_since:
        return Deny(Reason.UNKNOWN_SESSION, "revocations of the time before this token may have been lost", token)

    if route.groups and route.groups.isdisjoint(token.groups):
        return Deny(Reason.FORBIDDEN, "", token)
    age = boot - view.proven_at
    is_fresh = view.state is _LIVE and age <= known.max_staleness_s
    if not is_fresh and not may_be_stale(route, known, age):
        return Deny(Reason.STORE_UNAVAILABLE, "", token)
    if route.is_once and not is_claimed:
        return (
            NeedsClaim(token)
            if token.token_id is not None
            else Deny(Reason.MALFORMED_TOKEN, "a token that serves once needs a jti", token)
        )
    return token.allow if is_fresh else Allow(token, is_stale=True)


def may_be_stale(route: Route, known: Known, age_s: float) -> bool:
    """What the route does when revocation cannot be checked [B5]: `stale` needs a replica that was once live, and ends."""
    if route.on_outage is OnOutage.STALE:
        return known.replica.was_live and age_s <= known.stale_limit_s
    return route.on_outage is OnOutage.ALLOW


def remember(authorization: bytes, token: Verified, known: Known) -> Verified:
    """Compute once what every request with this token needs, and keep it under the field's own bytes."""
    token.fact_keys = fact_keys(token)
    token.identity = identity_lines(token, known.preset)
    token.allow = Allow(token)
    known.tokens.put(authorization, token)
    return token
