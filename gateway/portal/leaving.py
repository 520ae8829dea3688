"""Signing out: of this session, of one of the others, of all of them.

It works with any one of the session's tokens, also with an expired one: whoever wants to leave is not asked to sign in first
[R5]. When the store does not answer nobody is told that he is signed out, though here he is."""

from typing import Final

from aiohttp import web

from gateway.audit.event import Action
from gateway.enforce.verified import Verified
from gateway.enforce.verify import Refused
from gateway.portal.answers import nothing, redirect
from gateway.portal.asking import Asking
from gateway.portal.desk import Desk, refusal_of
from gateway.reasons import Reason
from gateway.revocation.entry import Kind, fact_key
from gateway.sessions.model import subject_of

_ROUNDS = 3
# NB: applications seldom forbid a browser to keep their pages: Back would show them to whoever sits there next. Browsers obey
# on https and on loopback.
_NOTHING_KEPT: Final = {"Clear-Site-Data": '"cache"'}


async def logout(desk: Desk, asking: Asking) -> web.Response:
    """204, and the cookies are gone: this session only."""
    tokens = await _shown(desk, asking)
    by_cookie = [token for token in tokens if token.shown_as in (asking.access_cookie, asking.refresh_cookie)]
    for sid in {token.session for token in by_cookie}:
        desk.refuse_forgery(asking, sid or "")
    if not tokens:
        desk.refuse_other_sites(asking)
        if asking.access_cookie is None and asking.refresh_cookie is None:
            raise refusal_of(Reason.NO_TOKEN)
    # The access token first: it has the name.
    living = {token.session or "": token for token in reversed(tokens) if not _is_ended(desk, token.session or "")}
    await _end(desk, asking, list(living))
    for sid, token in living.items():  # of those that end now: a dead token shown again and again must not fill the trail
        desk.record(Action.LOGOUT, asking, user=token.user if "@" in token.user else "", session=sid)
    return _left(desk, asking, "signed-out")


async def logout_all(desk: Desk, asking: Asking) -> web.Response:
    """204: every session of the user, also one that is opened at this moment."""
    current = await desk.current(asking)
    for _ in range(_ROUNDS):
        sids = [sid for sid in await desk.keeper.store.sids(current.sub) if not _is_ended(desk, sid)]
        if not sids:
            break
        await _end(desk, asking, sids)
    desk.record(Action.LOGOUT, asking, user=current.user, session=current.sid, text="all sessions")
    return _left(desk, asking, "signed-out-everywhere")


async def end_one(desk: Desk, asking: Asking) -> web.Response:
    """204: one session of the same user, by its id. Another user's is not there."""
    current = await desk.current(asking)
    sid = asking.request.match_info["sid"]
    if subject_of(sid) != current.sub or await desk.keeper.look(sid) is None:
        if asking.is_for_a_person:
            return redirect(desk.url("/auth/devices?said=session-unknown"))
        raise refusal_of(Reason.NO_ROUTE)
    await _end(desk, asking, [sid])
    desk.record(Action.SESSION_ENDED, asking, user=current.user, session=sid)
    if sid == current.sid:
        return _left(desk, asking, "signed-out")
    return redirect(desk.url("/auth/devices?said=session-ended")) if asking.is_for_a_person else nothing()


async def _shown(desk: Desk, asking: Asking) -> list[Verified]:
    """The genuine tokens of ours that were shown and may end a session. A bearer token is the only one that counts when there is
    one, and is refused when it is none. Raises Refusal."""
    raw = desk.bearer(asking)
    if raw is not None:
        found = [desk.genuine(raw)]
    else:
        found = [desk.genuine(asking.access_cookie), desk.genuine(asking.refresh_cookie, is_refresh=True)]
    if raw is not None and isinstance(found[0], Refused):
        raise refusal_of(found[0].reason)
    shown = [token for token in found if isinstance(token, Verified) and await desk.may_end(token)]
    if raw is not None and not shown:
        raise refusal_of(Reason.RETIRED_KEY)
    return shown


def _is_ended(desk: Desk, sid: str) -> bool:
    return bool(desk.known.replica.find(fact_key(Kind.SESSION, desk.config.own_issuer, sid)))


async def _end(desk: Desk, asking: Asking, sids: list[str]) -> None:
    device = desk.signs(asking).device
    await desk.keeper.ending.end(sids, reason="signed out", source="logout", device="" if device is None else device.text)


def _left(desk: Desk, asking: Asking, said: str) -> web.Response:
    cookies = desk.writer.clear()
    if asking.is_for_a_person:
        return redirect(desk.url(f"/auth/login?said={said}"), cookies, _NOTHING_KEPT)
    return nothing(cookies, headers=_NOTHING_KEPT)
