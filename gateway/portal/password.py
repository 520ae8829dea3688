"""`POST /auth/password`: the password changes, and with it the account's version: every other session is over at once.

the current password is right (counted like a login)         401, 429; 429 too for the 61st change in an hour
the new one is acceptable                                    422
the database keeps it, unless somebody was quicker           409         version + 1: from here on it is true
the log refuses every older version                          503: enforced here, and everywhere once the store answers.
                                                             Whoever is killed before: the office tells the log a little later
the session that asked goes on under the new version         its old cookies are `old-version` too, a thief may have them

"""

from functools import partial
from typing import Final

from aiohttp import web

from gateway.audit.event import Action, Outcome
from gateway.enforce.decide import judge
from gateway.login.authenticate import Attempt, WrongCredentials, authenticate
from gateway.login.limits import Counter, Limited, Rate, take
from gateway.login.refused import Refused
from gateway.portal.answers import nothing, redirect
from gateway.portal.asking import Asking, Refusal, text_fields
from gateway.portal.desk import Desk, refusal_of
from gateway.reasons import Reason
from gateway.sessions.model import Record

CHANGES_PER_ACCOUNT: Final = Rate(60, 3600)


async def change_password(desk: Desk, asking: Asking) -> web.Response:
    """`{current, new}`: 204 with new cookies. Raises Refusal."""
    current, new = text_fields(await asking.fields(), "current", "new")
    record = await desk.current(asking)
    place = desk.place(asking)
    answer = await authenticate(
        Attempt(record.user, current, place),
        store=desk.store,
        accounts=desk.accounts,
        passwords=desk.passwords,
        devices=desk.devices,
        on_flood=partial(desk.flooded, asking),
    )
    if isinstance(answer, Limited):
        raise Refusal(429, "Too many failed attempts", retry_after_s=answer.retry_after_s, said="limited")
    if isinstance(answer, WrongCredentials) or answer.account.sub != record.sub:
        desk.record(Action.PASSWORD_CHANGED, asking, outcome=Outcome.FAILURE, user=record.user, session=record.sid)
        raise Refusal(401, "The current password is not right", said="password-wrong")
    if limited := await take(desk.store, [Counter("changed", (record.sub,), CHANGES_PER_ACCOUNT)]):  # each is remembered [B1]
        raise Refusal(429, "Too many changes", retry_after_s=limited.retry_after_s, said="limited")
    hashed = await desk.passwords.choose(new, record.user, desk.services)
    if isinstance(hashed, Refused):
        raise Refusal(422, "The new password cannot be used", errors={"new": hashed.text}, said=hashed.word)
    await _refuse_when_over(desk, record)
    version = await desk.accounts.set_password(record.sub, hashed, replacing=answer.account.password)
    if version is None:
        raise Refusal(409, "The password was changed meanwhile", said="password-wrong")
    fact = desk.keeper.ending.version_fact(record.sub, version, reason="password changed", source="password")
    await desk.keeper.ending.revoke(fact)
    await desk.accounts.tell(record.sub, version)
    minted = await desk.keeper.renew(record.sid, version, place.network)
    others = [sid for sid in await desk.keeper.store.sids(record.sub) if sid != record.sid]
    await desk.keeper.ending.forget(others)
    await desk.devices.forget(record.user, but=place)
    desk.record(Action.PASSWORD_CHANGED, asking, user=record.user, session=record.sid)
    cookies = desk.writer.clear() if minted is None else desk.cookies(minted)
    return redirect(desk.url("/auth/devices?said=password-changed"), cookies) if asking.is_for_a_person else nothing(cookies)


async def _refuse_when_over(desk: Desk, record: Record) -> None:
    """The session may have been ended, its user blocked, while the passwords were hashed [W4]. Raises Refusal."""
    living = await desk.keeper.look(record.sid)
    judged = Reason.UNKNOWN_SESSION if living is None else desk.judge_minted(desk.mint.mint(living), judge)
    if isinstance(judged, Reason):
        raise refusal_of(judged)
