"""Sessions of accounts of ours: listed, and ended one by one or all at once.

A session ends by a fact in the log, for which the receipt is; its record goes afterwards [L8]. What is listed is what could still
be used: a record whose version or id the log refuses is as good as gone, and comes back when that is undone.
"""

from typing import Any, Final

from aiohttp import web

from gateway.admin.acts import SOURCE, Act
from gateway.admin.answers import Problem, json_answer
from gateway.admin.call import Call
from gateway.admin.desk import Desk, receipt_answer
from gateway.audit.event import Action
from gateway.login.accounts import Account
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.receipt import Receipt
from gateway.sessions.model import Record, subject_of
from gateway.sessions.stored import SessionCorrupt

REASON: Final = "ended by an operator"
_ROUNDS: Final = 3


async def list_sessions(desk: Desk, call: Call) -> web.Response:
    """`{"user", "blocked", "sessions": […], "damaged": […]}`, oldest first. Raises Problem 404."""
    account = await account_named(desk, call.names[0])
    listed = await desk.office.sessions.list(account.sub)
    own = desk.config.own_issuer
    facts = [Revocation(Kind.VERSION, account.sub, own), *blocks_of(account.email, own)]
    facts += [Revocation(Kind.SESSION, record.sid, issuer) for record in listed.records for issuer in (own, "")]
    smallest_version, block, block_of_ours, *ended = [said.value for said in await desk.office.log.find(facts)]
    living = [
        record
        for place, record in enumerate(listed.records)
        if record.version >= smallest_version and not any(ended[2 * place : 2 * place + 2])
    ]
    return json_answer(
        {
            "user": account.email,
            "blocked": bool(block or block_of_ours),
            "sessions": [session_document(record) for record in living],
            "damaged": list(listed.corrupt),
        }
    )


async def end_sessions(desk: Desk, call: Call) -> web.Response:
    """End every session of an account; the receipt, and how many there were. Raises Problem 404."""
    account = await account_named(desk, call.names[0])
    receipts: list[Receipt] = []
    ended: set[str] = set()
    for _ in range(_ROUNDS):  # a login may open one meanwhile
        sids = [sid for sid in await desk.office.sessions.sids(account.sub) if sid not in ended]
        if not sids:
            break
        receipts.append(await desk.office.log.revoke(*(desk.office.session_fact(sid, REASON, SOURCE) for sid in sids)))
        ended.update(sids)
        call.happened.append(f"{len(sids)} sessions are ended")
        await desk.office.forget(sids)
    if not receipts:
        # With nobody to refuse the receipt is for a look at the account: every worker drops what it remembers of it.
        receipts.append(await desk.office.log.touch(desk.config.own_issuer, account.sub))
    receipt = min(receipts, key=lambda one: one.complete)
    kinds, text = ("session",) * len(ended), f"all {len(ended)} sessions"
    desk.acts.tell(call, Act(Action.SESSION_ENDED, account.email, kinds, user=account.email, reason="api", text=text), receipt)
    return receipt_answer(receipt, sessions=len(ended))


async def end_session(desk: Desk, call: Call) -> web.Response:
    """End one session of ours by its id; the receipt. Ending it again is as good as once. Raises Problem 404."""
    sid = call.names[0]
    if subject_of(sid) is None:
        raise _no_such_session("A session of another issuer is revoked by POST /v1/revocations.")
    fact = desk.office.session_fact(sid, REASON, SOURCE)
    record = await _record(desk, sid)
    if record is None and not (await desk.office.log.find((fact,)))[0].value:
        raise _no_such_session("It never was, or it is over.")
    receipt = await desk.office.log.revoke(fact)
    await desk.office.forget([sid])
    user = record.user if isinstance(record, Record) else ""
    act = Act(Action.SESSION_ENDED, sid, ("session",), user=user, session=sid, reason="api")
    desk.acts.tell(call, act, receipt)
    return receipt_answer(receipt)


async def account_named(desk: Desk, name: str) -> Account:
    """The account of this name, in whatever spelling. Raises Problem 404, AccountsError."""
    account = await desk.office.account(name)
    if account is None:
        why = "" if desk.config.has_accounts else "The built-in accounts are off: the configuration gives users to other issuers."
        raise Problem(404, "There is no account of this name", why)
    return account


def blocks_of(user: str, own_issuer: str) -> list[Revocation]:
    """The facts that keep an account's user out [T2]."""
    return [Revocation(Kind.BLOCK, user, issuer) for issuer in ("", own_issuer)]


def session_document(record: Record) -> dict[str, Any]:
    """One session as the API tells it; times are whole seconds since 1970. Never its secret."""
    return {
        "id": record.sid,
        "device": record.agent,
        "network": record.last_network or record.network,
        "country": record.country,
        "delivery": record.delivery,
        "created": int(record.created),
        "last_seen": int(max(record.last_seen, record.created)),
        "expires": int(record.refresh_expires),
        "ends": int(record.ends),
        "uses": record.uses,
    }


async def _record(desk: Desk, sid: str) -> Record | SessionCorrupt | None:
    """The record; a damaged one is there too, and can be ended."""
    try:
        return await desk.office.sessions.fetch(sid)
    except SessionCorrupt as error:
        return error


def _no_such_session(why: str) -> Problem:
    return Problem(404, "There is no such session", why)
