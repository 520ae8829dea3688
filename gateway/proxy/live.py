"""Exchanges that outlast their decision: tunnels, event streams, long bodies. They end when their token does.

Each is listed under every fact that could revoke its token, so a new fact finds the connections that it ends without looking at
the others. What no single fact announces (expiry, a replica that went stale [W4]) is found by judging all of them anew, twice a
second, some at a time: 2 500 judged at once after a new fact would hold the loop for 28 ms, 128 hold it for 1.5. A token of
ours that expires ends its connection only when its session was not renewed.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

from gateway.enforce.decide import Done, judge
from gateway.enforce.revoked import first_fact
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.errors import GatewayError
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.routes.route import Route
from gateway.sessions.cache import Entry
from gateway.sessions.model import Record

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane


LOOK_AGAIN_AFTER_S: Final = 1.0
PATIENCE_S: Final = 3.0
JUDGED_IN_ONE_TURN: Final = 128
_CLAIMED: Final = Done(is_claimed=True)


class LiveExchange(Protocol):
    """What can be ended."""

    token: Verified
    route: Route

    def cut(self, cause: str) -> None:
        """End it now. `cause` is a label of `gateway_connections_cut_total`."""
        ...


class LiveExchanges:
    """All live exchanges of a worker, by the facts that would end them."""

    __slots__ = ("_all", "_by_fact")

    def __init__(self) -> None:
        self._all: set[LiveExchange] = set()
        self._by_fact: dict[bytes, set[LiveExchange]] = {}

    def add(self, exchange: LiveExchange) -> None:
        self._all.add(exchange)
        for _, key in exchange.token.fact_keys:
            self._by_fact.setdefault(key, set()).add(exchange)

    def remove(self, exchange: LiveExchange) -> None:
        self._all.discard(exchange)
        for _, key in exchange.token.fact_keys:
            listed = self._by_fact.get(key)
            if listed is not None:
                listed.discard(exchange)
                if not listed:
                    del self._by_fact[key]

    def under(self, key: bytes) -> Iterable[LiveExchange]:
        """Those that the fact `key` may end. A copy: the caller ends some of them."""
        return tuple(self._by_fact.get(key, ()))

    def __contains__(self, exchange: LiveExchange) -> bool:
        return exchange in self._all

    def __iter__(self) -> Iterator[LiveExchange]:
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)


class Cut(GatewayError):
    """The session ended while its request or answer was still being sent."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Stream:
    """A body that is still being sent, up or down: as a context manager, listed while it is."""

    __slots__ = ("_client", "_live", "route", "token")

    def __init__(self, client: "ClientConnection", token: Verified, route: Route, plane: "Plane") -> None:
        self._client = client
        self._live = plane.live
        self.token = token
        self.route = route

    def cut(self, cause: str) -> None:
        self._client.interrupt(Cut(cause))

    def __enter__(self) -> None:
        self._client.live = self
        self._live.add(self)

    def __exit__(self, *error: object) -> None:
        self._client.live = None
        self._live.remove(self)


class Upload(Stream):
    """A request whose body was not complete when it was forwarded. Once it is, the application may finish its work."""

    __slots__ = ()

    def cut(self, cause: str) -> None:
        if not self._client.is_body_complete:
            super().cut(cause)


def cause_to_end(token: Verified, route: Route, plane: "Plane") -> str | None:
    """Judge a live exchange anew: the label of `gateway_connections_cut_total`, or None when it may go on.

    A key that was withdrawn is asked about here only: for a new request its tokens are verified anew.
    """
    if plane.known.issuers[token.issuer].has_withdrawn(token):
        return Kind.KEY.value
    now, boot = plane.clock.wall(), plane.clock.boot()
    verdict = judge(token, route, plane.known, now, boot, done=_CLAIMED)
    if type(verdict) is not Deny:
        return None
    if verdict.reason is Reason.EXPIRED_TOKEN and token.own is not None:
        # Time is told before the facts; here the facts count, because a session goes on when its tokens are renewed.
        fact = first_fact(token, plane.known.replica, 0.0)
        return fact[1].value if fact is not None else None if is_renewed(token, plane, now, boot) else "expired"
    if verdict.kind is not None:
        return verdict.kind.value
    return {Reason.EXPIRED_TOKEN: "expired", Reason.STORE_UNAVAILABLE: "stale"}.get(verdict.reason, "other")


def is_renewed(token: Verified, plane: "Plane", now: float, boot: float) -> bool:
    """Whether the session of an expired token goes on: it was renewed by another request, perhaps at another worker.

    What this worker holds of the session may be older than the renewal; so the store is asked, and until it answers, for a
    moment, the connection stays.
    """
    entry = plane.known.sessions.find(token.record_name, boot)
    last_expiry = token.expires_at
    if isinstance(entry, Entry) and isinstance(entry.record, Record):
        last_expiry = max(last_expiry, entry.record.access_expires)
        if now < last_expiry:
            return True
        if boot - entry.fetched_at < now - last_expiry - LOOK_AGAIN_AFTER_S:
            return False
    expired_for_s = now - last_expiry
    if expired_for_s > LOOK_AGAIN_AFTER_S:
        plane.sessions.look_again(token.record_name)
    return expired_for_s < PATIENCE_S


def end_if_revoked(live: LiveExchange, plane: "Plane") -> None:
    """End a live exchange that would not be allowed any more."""
    cause = cause_to_end(live.token, live.route, plane)
    if cause is not None:
        live.cut(cause)


def end_all_revoked(plane: "Plane") -> None:
    """End whichever live exchange would not be allowed any more."""
    for live in plane.live:
        end_if_revoked(live, plane)


async def end_all_revoked_by_turns(plane: "Plane") -> None:
    """The same, some in each turn of the loop: for what may be found half a second later."""
    live = tuple(plane.live)
    for place in range(0, len(live), JUDGED_IN_ONE_TURN):
        for exchange in live[place : place + JUDGED_IN_ONE_TURN]:
            if exchange in plane.live:  # others were served meanwhile: it may have ended, and its connection serves the next
                end_if_revoked(exchange, plane)
        await asyncio.sleep(0)
