"""`POST /auth/refresh`: the refresh cookie for the next generation of tokens.

A browser in cookie mode hardly ever needs it, because the data plane renews its session on the way of any request; a client
that holds its access token itself calls it. The judgement is the decision's own (`enforce/refresh.py`), the rotation the
keeper's."""

from dataclasses import replace

from aiohttp import web

from gateway.enforce.decide import judge
from gateway.enforce.refresh import judge_refresh, presented_by
from gateway.enforce.session import named
from gateway.enforce.verdict import Deny, NeedsRefresh, NeedsSession
from gateway.enforce.verified import Verified
from gateway.errors import AccountsError, StoreUnavailable
from gateway.portal.answers import json_answer
from gateway.portal.asking import Asking
from gateway.portal.desk import Desk, refusal_of
from gateway.portal.login import session_document
from gateway.reasons import Reason

_ATTEMPTS = 8
# The cookies of a session that can still be renewed elsewhere stay where they are.
_NOT_OVER = frozenset(
    (
        Reason.STORE_UNAVAILABLE,
        Reason.NO_TOKEN,
        Reason.UNKNOWN_KEY,
        Reason.DEVICE_CHANGED,
        Reason.NETWORK_CHANGED,
        Reason.COUNTRY_CHANGED,
        Reason.BLOCKED_USER,
        Reason.CSRF,
    )
)


async def refresh(desk: Desk, asking: Asking) -> web.Response:
    """The session's next tokens. Raises Refusal."""
    desk.refuse_other_sites(asking)
    token = desk.genuine(asking.refresh_cookie, is_refresh=True)
    if token is None:
        raise refusal_of(Reason.NO_TOKEN)
    if not isinstance(token, Verified):
        desk.denied(Deny(token.reason, token.detail, issuer=token.issuer, key_id=token.kid), asking)
        raise _refused(token.reason)
    access = desk.genuine(asking.access_cookie)
    if isinstance(access, Verified) and access.session != token.session:
        raise refusal_of(Reason.MALFORMED_TOKEN, "the two cookies are of different sessions")
    if isinstance(access, Verified):
        token = named(token, access, desk.known)
    desk.refuse_when_stale()
    needed = await _judged(desk, asking, token)
    refreshed = await desk.keeper.refresh(token.record_name, presented_by(needed, desk.signs(asking)))
    if refreshed.minted is None:
        if refreshed.reason is None and needed.barred is not None:
            desk.denied(needed.barred, asking)
            raise await _barred(desk, needed.barred)
        reason = refreshed.reason or Reason.UNKNOWN_SESSION
        desk.denied(Deny(reason, "", needed.token), asking)
        raise _refused(reason)
    judged = desk.judge_minted(refreshed.minted, judge)
    if not isinstance(judged, Verified):
        raise _refused(judged)
    return json_answer(session_document(refreshed.minted), cookies=desk.cookies(refreshed.minted))


async def _judged(desk: Desk, asking: Asking, token: Verified) -> NeedsRefresh:
    for _ in range(_ATTEMPTS):
        verdict = judge_refresh(token, desk.known, desk.clock.wall(), desk.clock.boot(), asking.shown, asking.address)
        match verdict:
            case NeedsRefresh():
                return verdict
            case NeedsSession():
                await desk.keeper.fetch(token.record_name, verdict.seen)
            case Deny():
                desk.denied(await _with_name(desk, verdict), asking)
                raise _refused(verdict.reason)
    raise StoreUnavailable("the record changes faster than it can be read")


async def _with_name(desk: Desk, verdict: Deny) -> Deny:
    """A refresh token does not say whose it is, and the record that does is gone when its session was ended."""
    token = verdict.token
    if token is None or token.user != token.subject:
        return verdict
    try:
        account = await desk.accounts.find_by_sub(token.subject)
    except AccountsError:
        return verdict
    return verdict if account is None else replace(verdict, token=replace(token, user=account.email))


async def _barred(desk: Desk, barred: Deny) -> Exception:
    if barred.ends_session and barred.token is not None and barred.token.session is not None:
        await desk.keeper.ending.end_for_fingerprint(barred.token.issuer, barred.token.session, barred.reason.value)
    return _refused(barred.reason)


def _refused(reason: Reason) -> Exception:
    return refusal_of(reason, clears_cookies=reason not in _NOT_OVER)
