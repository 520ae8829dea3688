"""Exchanges that outlast their decision: tunnels, event streams, long bodies. They end when their token does.

Each is listed under every fact that could revoke its token, so a new fact finds the connections that it ends without
looking at the others. What no single fact announces (expiry, a replica that went stale [W4]) is found by judging all of them
anew, twice a second.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from gateway.enforce.verified import Verified
from gateway.routes.route import Route


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

    def __iter__(self) -> Iterator[LiveExchange]:
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)
