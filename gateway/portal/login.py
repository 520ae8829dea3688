"""Signing in, and registering.

The order of a login: did a page of ours send it, is the form complete, may they try, is the password right, is the user
blocked; then a session is opened. Whoever was signed in with this browser before is signed out of it: two people's sessions
are never merged, and nothing that was planted before the login lives on [S13, S14]."""

from functools import partial
from typing import Final
from urllib.parse import quote

from aiohttp import web

from gateway.audit.event import Action, Outcome
from gateway.audit.pressure import Use
from gateway.enforce.decide import judge
from gateway.enforce.verified import Verified
from gateway.login.accounts import Account
from gateway.login.authenticate import Attempt, WrongCredentials, authenticate
from gateway.login.limits import Counter, Limited, Rate, take
from gateway.login.refused import Refused
from gateway.login.register import NameTaken, register
from gateway.portal.answers import json_answer, page, redirect
from gateway.portal.asking import Asking, Refusal, path_here, text_fields
from gateway.portal.desk import Desk, refusal_of
from gateway.reasons import Reason
from gateway.sessions.minting import Minted
from gateway.sessions.model import COOKIE, TOKEN, Login

SESSIONS_PER_ACCOUNT: Final = Rate(600, 3600)
WRONG = "The e-mail address or the password is wrong"


async def login_page(desk: Desk, asking: Asking) -> web.Response:
    """The form."""
    query = asking.request.query
    shown = desk.pages.login(asking.language, said=query.get("said", ""), return_to=path_here(query.get("return_to", "/")))
    return page(*shown)


async def login(desk: Desk, asking: Asking) -> web.Response:
    """`{email, password, delivery?}`: a session, in cookies or in the client's hands [R6]."""
    desk.refuse_other_sites(asking)
    fields = await asking.fields()
    email, password, delivery, return_to = text_fields(fields, "email", "password", optional=("delivery", "return_to"))
    if delivery not in ("", COOKIE, TOKEN):
        raise Refusal(422, "The request is not complete", errors={"delivery": f"is {COOKIE} or {TOKEN}"})
    desk.refuse_when_stale()
    account = await _authenticated(desk, asking, email, password)
    await _refuse_too_many(desk, asking, account)
    await _sign_out_of_this_browser(desk, asking)
    minted = await _open(desk, asking, account, delivery or COOKIE)
    desk.metrics.login("success")
    desk.record(Action.LOGIN, asking, user=account.email, session=minted.record.sid)
    if asking.is_for_a_person:
        # NB: no redirect: Chromium applies `form-action` to all that follow a form, and the application may lead elsewhere.
        return page(*desk.pages.onward(asking.language, path_here(return_to or "/")), cookies=desk.cookies(minted))
    cookies = desk.cookies(minted)
    if minted.record.delivery == TOKEN and asking.access_cookie is not None:
        cookies = desk.writer.clear() + cookies  # of the session that is over: it would stand beside the new refresh cookie
    return json_answer(session_document(minted), cookies=cookies)


def session_document(minted: Minted) -> dict[str, object]:
    """What a client is told of its session: everything but the tokens that travel in cookies."""
    record = minted.record
    document: dict[str, object] = {
        "user": record.user,
        "groups": list(record.groups),
        "session": record.sid,
        "session_expires_at": int(record.refresh_expires),
        "csrf_token": minted.csrf,
        "expires_in": int(record.access_expires - record.rotated_at),
    }
    if record.delivery == TOKEN:
        document |= {"access_token": minted.access.decode("ascii"), "token_type": "Bearer"}
    return document


async def register_page(desk: Desk, asking: Asking) -> web.Response:
    """The form, where registration is open."""
    _refuse_when_closed(desk)
    query = asking.request.query
    return page(
        *desk.pages.register(asking.language, said=query.get("said", ""), return_to=path_here(query.get("return_to", "/")))
    )


async def sign_up(desk: Desk, asking: Asking) -> web.Response:
    """`{email, password}`: an account. Does not log in."""
    _refuse_when_closed(desk)
    desk.refuse_other_sites(asking)
    email, password, return_to = text_fields(await asking.fields(), "email", "password", optional=("return_to",))
    if not desk.memory.allows(Use.REGISTRATION):
        raise refusal_of(Reason.STORE_UNAVAILABLE, said="unavailable")
    answer = await register(
        email,
        password,
        desk.signs(asking).network,
        store=desk.store,
        accounts=desk.accounts,
        passwords=desk.passwords,
        services=desk.services,
    )
    match answer:
        case Limited():
            raise Refusal(429, "Too many registrations", retry_after_s=answer.retry_after_s, said="limited")
        case Refused():
            field = "password" if answer.word.startswith("password") else "email"
            raise Refusal(422, "The account cannot be made", errors={field: answer.text}, said=answer.word)
        case NameTaken():
            raise Refusal(409, "There is an account with this address already", said="taken")
    assert isinstance(answer, Account)
    desk.record(Action.REGISTERED, asking, user=answer.email)
    if asking.is_for_a_person:
        return redirect(desk.url(f"/auth/login?said=registered&return_to={quote(path_here(return_to or '/'), safe='')}"))
    return json_answer({"user": answer.email}, 201)


def _refuse_when_closed(desk: Desk) -> None:
    if desk.config.accounts.registration != "open":
        raise refusal_of(Reason.NO_ROUTE)


async def _authenticated(desk: Desk, asking: Asking, email: str, password: str) -> Account:
    """The account whose password was shown. Raises Refusal: the same for a wrong user and a wrong password."""
    answer = await authenticate(
        Attempt(email, password, desk.place(asking)),
        store=desk.store,
        accounts=desk.accounts,
        passwords=desk.passwords,
        devices=desk.devices,
        on_flood=partial(desk.flooded, asking),
    )
    if isinstance(answer, Limited):
        desk.metrics.login("limited")
        desk.record(Action.LOGIN_FAILED, asking, outcome=Outcome.DENIED, reason="limited")
        raise Refusal(429, "Too many failed attempts", retry_after_s=answer.retry_after_s, said="limited")
    if isinstance(answer, WrongCredentials):
        desk.metrics.login("failed")
        known = answer.account.email if answer.account is not None else ""
        desk.record(Action.LOGIN_FAILED, asking, outcome=Outcome.FAILURE, reason="wrong-credentials", user=known)
        raise Refusal(401, WRONG, said="wrong")
    if desk.is_blocked(answer.account.email):
        desk.metrics.login("blocked")
        desk.record(
            Action.LOGIN_FAILED, asking, outcome=Outcome.DENIED, reason=Reason.BLOCKED_USER.value, user=answer.account.email
        )
        raise refusal_of(Reason.BLOCKED_USER, said="blocked")
    return answer.account


async def _refuse_too_many(desk: Desk, asking: Asking, account: Account) -> None:
    """A session above the cap ends another, and every end is remembered for as long as a session may last: who signs in again and
    again must not fill the log [B1]. Raises Refusal."""
    limited = await take(desk.store, [Counter("opened", (account.sub,), SESSIONS_PER_ACCOUNT)])
    if limited is not None:
        desk.metrics.login("limited")
        desk.record(Action.LOGIN_FAILED, asking, outcome=Outcome.DENIED, reason="limited", user=account.email)
        raise Refusal(429, "Too many sessions", retry_after_s=limited.retry_after_s, said="limited")


async def _sign_out_of_this_browser(desk: Desk, asking: Asking) -> None:
    found = (desk.genuine(asking.access_cookie), desk.genuine(asking.refresh_cookie, is_refresh=True))
    sids = {token.session or "" for token in found if isinstance(token, Verified) and await desk.may_end(token)}
    living = [sid for sid in sids if await desk.keeper.look(sid) is not None]
    await desk.keeper.ending.end(living, reason="signed in again with the same browser", source="login")


async def _open(desk: Desk, asking: Asking, account: Account, delivery: str) -> Minted:
    """A session of this account as it is now: what changed while the password was hashed counts. Raises Refusal."""
    minted = await desk.keeper.open(
        Login(account.sub, account.email, account.version, account.groups, delivery, **desk.signs(asking).to_remember())
    )
    newest = await desk.accounts.find_by_sub(account.sub)
    if newest is None:
        await desk.keeper.ending.end([minted.record.sid], reason="the account was erased", source="login")
        raise Refusal(401, WRONG, said="wrong")
    if newest.groups != account.groups:
        await desk.keeper.store.set_groups(account.sub, newest.groups)
        record = await desk.keeper.look(minted.record.sid)
        minted = desk.mint.mint(record) if record is not None else minted
    judged = desk.judge_minted(minted, judge)
    if not isinstance(judged, Verified):
        raise refusal_of(judged)
    return minted
