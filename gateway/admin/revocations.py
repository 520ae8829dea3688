"""`POST /v1/revocations`, and undoing one.

What a revocation takes with it, in the same step and under the same id, so that undoing it lifts all of it:

    user        our account of that name: its version is raised in the database, the truth about versions, and told to the log.
                Its records stay, refused by their version: a revocation made in error really is undone [T2]
    token_id    of ours: its session, whose refresh token travels with it; then its record goes [T3]
    session     of ours: its record goes
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from gateway.admin.acts import SOURCE, Act
from gateway.admin.answers import Problem
from gateway.admin.call import Call, Fields
from gateway.admin.desk import Desk, receipt_answer
from gateway.audit.event import Action
from gateway.errors import GatewayError
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationRefused
from gateway.sessions.model import session_of, subject_of

SUBJECTS: Final = {"token_id": Kind.TOKEN, "session": Kind.SESSION, "user": Kind.USER, "key": Kind.KEY}
ID_DIGITS: Final = 32
_FURTHER: Final = ("issuer", "reason")
_ID: Final = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]+\.")


async def post_revocation(desk: Desk, call: Call) -> web.Response:
    """Revoke; the receipt. Raises Problem, StoreError, AccountsError."""
    config, office = desk.config, desk.office
    asked = read_revocation(
        await call.fields(*SUBJECTS, *_FURTHER),
        config.own_issuer,
        [issuer.issuer for issuer in config.issuers],
        has_own_tokens=config.has_accounts,
    )
    also, user = await _what_goes_along(desk, call, asked)
    try:
        receipt = await office.log.revoke(asked, *also)
    except RevocationRefused as error:
        raise Problem(422, "The revocation is not valid", str(error)) from None
    for fact in also:
        if fact.kind is Kind.VERSION:
            await office.accounts.tell(fact.name, fact.value)
    sids = [fact.name for fact in (asked, *also) if fact.kind is Kind.SESSION and fact.issuer in ("", config.own_issuer)]
    await office.forget(sids)
    act = Act(
        Action.REVOCATION,
        asked.name,
        tuple(fact.kind.value for fact in (asked, *also)),
        user=user,
        session=sids[0] if sids else asked.name if asked.kind is Kind.SESSION else "",
        token_id=asked.name if asked.kind is Kind.TOKEN else "",
        reason=asked.kind.value,
        text=f"{asked.name}: {asked.reason}".removesuffix(": ") if asked.kind is Kind.KEY else asked.reason,
    )
    desk.acts.tell(call, act, receipt)
    return receipt_answer(receipt, 201)


async def delete_revocation(desk: Desk, call: Call) -> web.Response:
    """Lift it; the receipt. Raises Problem, StoreError."""
    name = read_id(call.names[0])
    try:
        receipt = await desk.office.log.undo(name)
    except RevocationRefused as error:
        raise no_such_revocation(str(error)) from None
    desk.acts.tell(call, Act(Action.UNDO, name, ("lift",)), receipt)
    return receipt_answer(receipt)


async def _what_goes_along(desk: Desk, call: Call, asked: Revocation) -> tuple[tuple[Revocation, ...], str]:
    """The further facts, and whose it is, where that is known."""
    office, own = desk.office, desk.config.own_issuer
    if asked.issuer not in ("", own):
        return (), asked.name if asked.kind is Kind.USER else ""
    match asked.kind:
        case Kind.USER:
            return await _account_facts(desk, call, asked)
        case Kind.TOKEN if sid := session_of(asked.name):
            return (office.session_fact(sid, asked.reason, SOURCE),), await whose(desk, sid)
        case Kind.SESSION if subject_of(asked.name):
            return (), await whose(desk, asked.name)
    return (), ""


async def _account_facts(desk: Desk, call: Call, asked: Revocation) -> tuple[tuple[Revocation, ...], str]:
    """The version of our account of that name, and the name as it is spelled there."""
    account = await desk.office.account(asked.name)
    raised = None if account is None else await desk.office.accounts.bump_version(account.email)
    if account is None or raised is None:
        return (), asked.name
    sub, version = raised
    call.happened.append(f"the account's version was raised to {version}, which refuses nothing before the log knows it")
    facts = [desk.office.version_fact(sub, version, asked.reason, SOURCE)]
    if account.email != asked.name:
        facts.append(replace(asked, name=account.email))
    return tuple(facts), account.email


async def whose(desk: Desk, sid: str) -> str:
    """The user of a session of ours, for the audit; empty when there is no saying."""
    try:
        record = await desk.office.sessions.fetch(sid)
    except GatewayError:
        return ""
    return record.user if record is not None else ""


def read_revocation(fields: Fields, own_issuer: str, issuers: Collection[str], *, has_own_tokens: bool) -> Revocation:
    """What the body asks for. Raises Problem 422, with one text per wrong field."""
    named = [name for name in SUBJECTS if name in fields]
    values = {name: fields.text(name, "") for name in (*named, *_FURTHER)}
    errors = fields.errors
    if _TOKEN.match(values.get("token_id", "")):
        errors["token_id"] = "is a whole token; its jti is asked for, and a token belongs into no request and no log"
    if len(named) != 1:
        errors.setdefault(
            named[1] if named else "token_id", f"exactly one of {', '.join(SUBJECTS)} must be given, not {len(named)}"
        )
    known = {own_issuer, *issuers}
    configured = f"configured are {', '.join(sorted(known))}"
    if values["issuer"] and values["issuer"] not in known:
        errors["issuer"] = f"is not an issuer of this gateway; {configured}"
    if "token_id" in values and not values["issuer"] and not has_own_tokens:
        errors["issuer"] = f"is needed where accounts are off; {configured}"
    fields.finish("The revocation is not valid")
    return _revocation(named[0], values, own_issuer)


def _revocation(subject: str, values: Mapping[str, Any], own_issuer: str) -> Revocation:
    kind = SUBJECTS[subject]
    issuer = values["issuer"] or (own_issuer if kind is Kind.TOKEN else "")
    return Revocation(kind, values[subject], issuer, values["reason"], SOURCE)


def read_id(text: str) -> str:
    """The id in the path. What cannot be an id is not looked up."""
    if _ID.fullmatch(text):
        return text
    has = "other characters" if len(text) == ID_DIGITS else len(text)
    raise no_such_revocation(f"an id has {ID_DIGITS} hexadecimal digits, this has {has}")


def no_such_revocation(why: str) -> Problem:
    return Problem(404, "There is no such revocation", why)
