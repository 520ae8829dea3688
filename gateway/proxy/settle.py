"""What a decision asks of the store before it can be made: a record, a rotation, a claim. And what a refusal brings with it.

    NeedsSession    fetch the record, or the first use, into the worker's memory
    NeedsRefresh    rotate; the minted access token is judged in the next decision, its cookies go out with the answer [R3, R4]
    NeedsClaim      use the token up [T5]
    Deny            answered here

Each ends in another decision [W4], and each is asked a bounded number of times: a record that the log makes dirty faster than it
can be read is a store that cannot be used.
"""

from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gateway.enforce.decide import Done
from gateway.enforce.refresh import presented_by
from gateway.enforce.session import prepare
from gateway.enforce.shown import shown_by
from gateway.enforce.verdict import Allow, Deny, NeedsClaim, NeedsRefresh, NeedsSession, Verdict
from gateway.enforce.verified import Verified, minted_now
from gateway.enforce.verify import Refused, authenticate
from gateway.errors import StoreError, StoreUnavailable
from gateway.proxy.refuse import refuse
from gateway.proxy.renewal import Renewal
from gateway.proxy.report import Record
from gateway.proxy.steps import wait_for_task
from gateway.proxy.traced import told
from gateway.reasons import Reason
from gateway.routes.route import OnOutage
from gateway.sessions.first_use import Look, Seen
from gateway.sessions.model import COOKIE
from gateway.wire.head import RequestHead

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane

_MOST_QUESTIONS: Final = 8
UNSEEN_S: Final = 1.0
"""A token that was minted for the request at hand is good for it, though it lives for a second and is told in whole ones."""


async def settle(
    verdict: Verdict, done: Done, client: "ClientConnection", head: RequestHead, record: Record, plane: "Plane"
) -> Done | None:
    """Do what the verdict asks for. None: it was a refusal, and it is answered. Raises StoreError."""
    assert type(verdict) is not Allow
    if done.questions >= _MOST_QUESTIONS:
        raise StoreUnavailable("the record changes faster than it can be read")
    done = done._replace(questions=done.questions + 1)
    match verdict:
        case NeedsSession():
            return await _fetch(verdict, done, head, record, plane)
        case NeedsRefresh():
            rotated = await _rotate(verdict, done, head, record, plane)
            if isinstance(rotated, Done):
                return rotated
            verdict = rotated
        case NeedsClaim():
            route = record.route
            assert route is not None
            claim = plane.claim_once(verdict.token, route.name)
            if await told(wait_for_task(plane.loop.create_task(claim)), "token claim", record, plane):
                return done._replace(is_claimed=True)
            verdict = Deny(Reason.REPLAYED_TOKEN, token=verdict.token)
    assert isinstance(verdict, Deny)
    record.verdict = verdict
    plane.refused(verdict, record)
    refuse(client, head, record, plane, verdict.reason, verdict.detail)
    return None


async def _fetch(verdict: NeedsSession, done: Done, head: RequestHead, record: Record, plane: "Plane") -> Done:
    token = verdict.token
    try:
        fetched = _fetched(token, verdict.seen, head, record.address, plane)
        await told(wait_for_task(plane.loop.create_task(fetched)), "session fetch", record, plane)
    except StoreError:
        # Somebody else's token needs no record to be genuine. One of ours does, unless the route goes on without the store.
        assert record.route is not None
        if token.own is not None and record.route.on_outage is not OnOutage.ALLOW:
            raise
        return done._replace(is_without_record=True)
    return done


def _fetched(token: Verified, seen: int, head: RequestHead, address: str, plane: "Plane") -> Coroutine[Any, Any, None]:
    if token.own is not None:
        return plane.sessions.fetch(token.record_name, seen)
    look = Look(**plane.known.fingerprint.signs(shown_by(head), address).to_remember())
    lifetime_s = plane.known.issuers[token.issuer].session_lifetime
    return plane.sessions.fetch_first_use(Seen(token.issuer, token.subject, token.record_name, lifetime_s, look))


async def _rotate(verdict: NeedsRefresh, done: Done, head: RequestHead, record: Record, plane: "Plane") -> Done | Deny:
    refresh = verdict.token
    presented = presented_by(verdict, plane.known.fingerprint.signs(shown_by(head), record.address), delivery=COOKIE)
    rotated = plane.sessions.refresh(refresh.record_name, presented)
    refreshed = await told(wait_for_task(plane.loop.create_task(rotated)), "session refresh", record, plane)
    if refreshed.minted is None:
        if refreshed.reason is None and verdict.barred is not None:
            return verdict.barred
        return Deny(refreshed.reason or Reason.UNKNOWN_SESSION, "", refresh)
    access = authenticate(refreshed.minted.access, plane.known.issuers)
    if isinstance(access, Refused):
        # Our own keys changed between the signature and this line: the client asks again and gets a token of the new one.
        raise StoreUnavailable(f"a token of our own was refused: {access.detail}")
    assert access.own is not None
    access.own = replace(access.own, is_unseen=True)
    access.usable_until = refreshed.minted.record.access_expires + UNSEEN_S
    access.is_from_cookie = True
    access.entry = refreshed.entry
    prepare(refreshed.minted.access, minted_now(access, plane.clock.wall()), plane.known)
    record.renewal = Renewal(access, refreshed.minted)
    return done._replace(renewed=access)
