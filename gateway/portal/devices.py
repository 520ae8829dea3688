"""What a user sees of himself: who he is here, his sessions, the page of his devices."""

from aiohttp import web

from gateway.portal.answers import json_answer, page
from gateway.portal.asking import Asking
from gateway.portal.desk import Desk
from gateway.portal.pages import Device
from gateway.sessions.model import Record


async def me(desk: Desk, asking: Asking) -> web.Response:
    """User, groups, session, expiry. Times are seconds since 1970."""
    record = await desk.current(asking)
    return json_answer(
        {
            "user": record.user,
            "groups": list(record.groups),
            "session": record.sid,
            "delivery": record.delivery,
            "expires_at": int(record.access_expires),
            "session_expires_at": int(record.refresh_expires),
            "session_ends_at": int(record.ends),
            "csrf_token": desk.known.csrf.value_of(record.sid),
        }
    )


async def sessions(desk: Desk, asking: Asking) -> web.Response:
    """The user's living sessions, the one that asks first."""
    current = await desk.current(asking)
    records = await living_sessions(desk, current)
    return json_answer({"sessions": [session_of(record, current.sid) for record in records]})


async def devices_page(desk: Desk, asking: Asking) -> web.Response:
    """The same for people."""
    current = await desk.current(asking)
    shown = [Device.of(record, current.sid) for record in await living_sessions(desk, current)]
    said = asking.request.query.get("said", "")
    return page(*desk.pages.devices(asking.language, user=current.user, devices=shown, now=desk.clock.wall(), said=said))


async def living_sessions(desk: Desk, current: Record) -> list[Record]:
    """Those that a request could still use: a record may outlive a change of password for a moment."""
    listed = await desk.keeper.store.list(current.sub)
    living = [record for record in listed.records if record.version >= current.version]
    return sorted(living, key=lambda record: (record.sid != current.sid, -record.created))


def session_of(record: Record, current: str) -> dict[str, object]:
    """One session as the API tells it."""
    return {
        "id": record.sid,
        "current": record.sid == current,
        "device": record.agent,
        "network": record.last_network or record.network,
        "created": int(record.created),
        "last_seen": int(max(record.last_seen, record.created)),
    }
