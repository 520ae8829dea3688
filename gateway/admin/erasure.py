"""Erasing a person (GDPR, article 17): what is known of a user here goes, what must stay is said.

    version       a fact refuses every token of the account, whatever its version; it names the account's random subject only
    sessions      their records: addresses, devices
    first uses    of the same user's sessions at other issuers, where their name leads there
    devices       from where the account logged in
    account       the row in the database; now nobody finds the way from the name to the subject
    sessions      again: one may have begun meanwhile
    name          the one row that links the audit trail's pseudonym to it, and the event that tells so

The account goes late, so an erasure that fails half-way is repeated and finds everything. Tokens of other issuers are theirs to
end; a block stays, and with it the name it keeps out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.admin.acts import SOURCE
from gateway.admin.answers import json_answer
from gateway.admin.call import Call
from gateway.admin.desk import Desk
from gateway.admin.office import spellings
from gateway.admin.sessions import blocks_of
from gateway.audit.erase import erase as erase_name
from gateway.audit.event import Action, Event
from gateway.audit.outline import timestamp
from gateway.login.accounts import Account
from gateway.revocation.entry import LARGEST_VALUE, PERMANENT, Kind, Revocation
from gateway.revocation.receipt import Receipt

REASON: Final = "the account was erased"
LIFTED: Final = "until it is lifted"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the account."""

    receipt: Receipt | None = None
    sessions: int = 0


async def erase(desk: Desk, call: Call) -> web.Response:
    """Erase a user; what is gone, and what is kept until when. Erasing nobody is no error. Raises StoreError, AccountsError."""
    account = await desk.office.account(call.names[0])
    names = spellings(call.names[0])
    ended = Ended() if account is None else await _end(desk, call, account)
    first_uses = [issuer for name in names for issuer in await _forget_first_uses(desk, name)]
    await desk.office.devices.forget(names[0])
    call.happened.append("devices and first uses are forgotten")
    if account is not None:
        await desk.office.accounts.delete(account.email)
        call.happened.append("the account is erased")
        await desk.office.forget_late(account.sub)
    pseudonyms = [await _forget_name(desk, call, name) for name in names]
    pseudonym = next(filter(None, pseudonyms), None)
    if ended.receipt is not None:
        desk.acts.count("version")
        desk.acts.log(call, "erasure", pseudonym or "somebody", ended.receipt)
    return json_answer(
        {
            "user": names[0],
            "erased": {
                "account": account is not None,
                "sessions": ended.sessions,
                "known_devices": account is not None,
                "first_uses": sorted(set(first_uses)),
                "name_in_audit": pseudonym is not None,
            },
            "kept": await _kept(desk, names, account),
            "receipt": ended.receipt.as_json() if ended.receipt is not None else None,
        },
        200 if ended.receipt is None or ended.receipt.complete else 202,
    )


async def _end(desk: Desk, call: Call, account: Account) -> Ended:
    """Refuse whatever the account holds, now and later: no version is ever high enough, and no subject is used again [T1]."""
    office = desk.office
    receipt = await office.log.revoke(office.version_fact(account.sub, LARGEST_VALUE, REASON, SOURCE))
    call.happened.append("every token of the account is refused")
    sids = await office.sessions.sids(account.sub)
    await office.sessions.remove(sids)
    call.happened.append("its sessions are erased")
    return Ended(receipt, len(sids))


async def _forget_first_uses(desk: Desk, user: str) -> list[str]:
    """Of the issuers whose users this name could be. They lie under the token's subject, which is not always the name."""
    found = []
    for issuer in desk.config.issuers:
        if user.startswith(issuer.user_prefix) and issuer.claims.user == "sub":
            await desk.office.first_uses.forget(issuer.issuer, user.removeprefix(issuer.user_prefix))
            found.append(issuer.issuer)
    return found


async def _forget_name(desk: Desk, call: Call, user: str) -> str | None:
    """The last step. What this process still holds of the user is written first, so that it is under the same pseudonym."""
    office = desk.office
    await office.trail.flush()
    event = Event(office.clock.wall(), Action.ERASED, user=user, source=call.by)
    return await erase_name(office.store, event, keep_s=desk.config.audit.keep, forgotten_s=office.forgotten_s)


async def _kept(desk: Desk, names: Sequence[str], account: Account | None) -> list[dict[str, Any]]:
    """What stays, why, and until when."""
    config, now = desk.config, desk.office.clock.wall()
    kept = [{"what": "audit events, under a pseudonym that leads to no name", "until": timestamp(now + config.audit.keep)}]
    if account is not None:
        what = "a fact that refuses the account's tokens; it names the account's random subject"
        kept.append({"what": what, "until": timestamp(now + desk.office.forgotten_s)})
    issuers = ("", config.own_issuer, *(issuer.issuer for issuer in config.issuers))
    revoked = [Revocation(Kind.USER, name, issuer) for name in names for issuer in issuers]
    for fact, said in zip(revoked, await desk.office.log.find(revoked), strict=True):
        if said.value:
            of = f"at {fact.issuer}" if fact.issuer else "at every issuer"
            kept.append({"what": f"a revocation of the user {of}, which names him", "until": _until(said.expires_at)})
    blocks = [fact for name in names for fact in blocks_of(name, config.own_issuer)]
    if any(said.value for said in await desk.office.log.find(blocks)):
        kept.append({"what": "the block that keeps this name out", "until": LIFTED})
    for issuer in config.issuers:
        if issuer.claims.user != "sub":
            what = f"first uses of sessions at {issuer.issuer}, under a digest of a subject that the name does not tell"
            kept.append({"what": what, "until": timestamp(now + issuer.session_lifetime)})
    return kept


def _until(expires_at: int) -> str:
    return LIFTED if expires_at >= PERMANENT else timestamp(expires_at)
