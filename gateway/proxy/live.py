"""Exchanges that outlast their decision: tunnels, event streams, long bodies. They end when their token does.

Each is listed under every fact that could revoke its token, so a new fact finds the connections that it may end without looking
at the others. They are suspects from that moment on: not a byte of one passes before it is judged (`is_in_doubt`), and they are
judged, and ended, some in each turn of the loop (`suspects.py`). What no single fact announces (expiry, a replica that went
stale [W4]) is found by judging all of them anew, twice a second, by turns too. A token of ours that expires ends its connection
only when its session was not renewed.
"""

from asyncio import Event
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from gateway.enforce.decide import Done, judge
from gateway.enforce.revoked import first_fact
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.errors import GatewayError
from gateway.proxy.steps import Wait
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.routes.route import Route
from gateway.sessions.cache import Entry
from gateway.sessions.model import Record

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane


STALE: Final = "stale"
"""The cause of a cut for want of the store, one of CUT_CAUSES (telemetry/metrics.py)."""
LOOK_AGAIN_AFTER_S: Final = 1.0
PATIENCE_S: Final = 3.0
_CLAIMED: Final = Done(is_claimed=True)


class LiveExchange(Protocol):
    """What can be ended."""

    token: Verified
    route: Route

    def cut(self, cause: str) -> None:
        """End it now. `cause` is a label of `gateway_connections_cut_total`."""
        ...


class LiveExchanges:
    """All live exchanges of a worker, by the facts that would end them; and what `suspects.py` has still to do with some."""

    __slots__ = ("_all", "_by_fact", "is_in_turn", "settled", "suspects", "unclosed", "unwritten")

    def __init__(self) -> None:
        self._all: set[LiveExchange] = set()
        self._by_fact: dict[bytes, set[LiveExchange]] = {}
        self.suspects: OrderedDict[LiveExchange, None] = OrderedDict()  # to be judged, in this order
        self.unclosed: deque[Callable[[], None]] = deque()  # told of its end; this closes both sides
        self.settled = Event()  # there is neither any more
        self.unwritten: deque[Wait[None]] = deque()  # closed; `set` counts it, and writes it down
        self.is_in_turn = False  # the loop's next turn goes on with these three

    def add(self, exchange: LiveExchange) -> None:
        self._all.add(exchange)
        for _, key in exchange.token.fact_keys:
            self._by_fact.setdefault(key, set()).add(exchange)

    def remove(self, exchange: LiveExchange) -> None:
        self._all.discard(exchange)
        self.suspects.pop(exchange, None)
        for _, key in exchange.token.fact_keys:
            listed = self._by_fact.get(key)
            if listed is not None:
                listed.discard(exchange)
                if not listed:
                    del self._by_fact[key]

    def under(self, key: bytes) -> Collection[LiveExchange]:
        """Those that the fact `key` may end."""
        return self._by_fact.get(key, ())

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

    __slots__ = ("_client", "_plane", "route", "token")

    def __init__(self, client: "ClientConnection", token: Verified, route: Route, plane: "Plane") -> None:
        self._client = client
        self._plane = plane
        self.token = token
        self.route = route

    def cut(self, cause: str) -> None:
        self._client.interrupt(Cut(cause))

    def __enter__(self) -> None:
        self._client.live = self
        self._plane.live.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.live = None
        self._plane.live.remove(self)


class Upload(Stream):
    """A request whose body was not complete when it was forwarded. Once it is, the application may finish its work."""

    __slots__ = ()

    def cut(self, cause: str) -> None:
        if not self._client.is_body_complete:
            super().cut(cause)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """An answer that came before the body was complete, and before a suspect was judged, is judged here. Raises Cut."""
        is_in_time = kind is None and not self._client.is_body_complete and self in self._plane.live.suspects
        super().__exit__(kind, error, trace)
        if is_in_time and (cause := cause_to_end(self.token, self.route, self._plane)) is not None:
            raise Cut(cause)


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
    return {Reason.EXPIRED_TOKEN: "expired", Reason.STORE_UNAVAILABLE: STALE}.get(verdict.reason, "other")


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


def is_in_doubt(live: LiveExchange, plane: "Plane") -> bool:
    """Whether it must be judged before another byte of it passes: asked for each piece."""
    return live in plane.live.suspects or plane.is_stale


def end_if_revoked(live: LiveExchange, plane: "Plane") -> None:
    """End a live exchange that would not be allowed any more. One that was a suspect is none any more."""
    cause = cause_to_end(live.token, live.route, plane)
    if cause is not None:
        live.cut(cause)
    plane.live.suspects.pop(live, None)


def end_all_revoked(plane: "Plane") -> None:
    """End whichever live exchange would not be allowed any more."""
    for live in plane.live:
        end_if_revoked(live, plane)
