"""How the gateway is, as one document; what it decided in the last hour; and the purge, now."""

from typing import Any

from aiohttp import web

from gateway.admin.acts import Act
from gateway.admin.answers import json_answer
from gateway.admin.call import Call
from gateway.admin.desk import Desk
from gateway.admin.keys import key_documents
from gateway.admin.office import counted
from gateway.audit.event import Action
from gateway.errors import StoreError


async def purge(desk: Desk, call: Call) -> web.Response:
    """Remove what has expired, and nothing else; how many of each. Raises StoreError."""
    (await call.fields(is_optional=True)).finish()
    figures = await desk.office.purge()
    desk.acts.tell(call, Act(Action.PURGE, counted(figures), text=counted(figures)))
    return json_answer(figures)


async def decisions(desk: Desk, call: Call) -> web.Response:
    """What was decided in the last hour, minute by minute. Asks no store and no worker."""
    return json_answer(desk.history.document())


async def store_document(desk: Desk) -> dict[str, Any]:
    """What the log itself tells of the store; nulls when it does not answer."""
    try:
        register = await desk.office.log.members()
    except StoreError:
        return {"epoch": None, "head": None, "members": None}
    return {"epoch": register.epoch or None, "head": register.head, "members": len(register.members)}


async def office_document(desk: Desk) -> dict[str, Any]:
    """Keys, sessions and accounts; as of the last look when the store does not answer."""
    office = desk.office
    await office.look()
    scheme = desk.config.accounts.database.partition("://")[0].partition("+")[0]
    return {
        "keys": key_documents(office.ring),
        "sessions": office.sessions_count,
        "accounts": {
            "state": office.accounts_state,
            "database": scheme,
            "registration": desk.config.accounts.registration,
        },
    }
