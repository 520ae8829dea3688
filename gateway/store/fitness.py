"""Whether a store may be trusted with revocations at all: from what its `INFO` says, and its `CONFIG` where that is not closed.

an eviction policy      frees memory by forgetting: a revocation could be what it forgets
replicas, and no        a master that lost its replicas goes on answering, and renews leases, while another one
min-replicas-to-write   is master already: a worker on the wrong side would read "nothing new" for ever [L3]. Behind
                        sentinels and in a cluster another one may always take over; the replicas that a cut-off master
                        does not see any more are the very danger, so there it is asked for however many are connected
min-replicas-max-lag    it goes on for so long. When a failover begins sooner, the new master counts workers as stopped
longer than a failover  that the old one has just renewed the leases of: a receipt would lie [W2]

Of a cluster every master is judged: one that evicts could forget that a one-time token was used.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from gateway.errors import StoreError, StoreUnfit
from gateway.store.client import Store, command, each_server, store_errors
from gateway.store.cluster import ClusterStore
from gateway.store.failover_pool import FailoverPool
from gateway.store.sentinel import SentinelPlace

_KEEPS_EVERYTHING: Final = "noeviction"


async def refuse_unfit(store: Store) -> None:
    """Raise StoreUnfit, with what to change, or StoreUnavailable. Says nothing about the store's content."""
    async for server in each_server(store):
        with store_errors():
            memory = await server.info("memory")
            replication = await server.info("replication")
        settings = await settings_of(server)
        for problem in problems_of(memory, replication, has_failover=has_failover(store)):
            raise StoreUnfit(problem)
        for problem in problems_of_lag(settings, await failover_after_s(store, settings)):
            raise StoreUnfit(problem)


def has_failover(store: Store) -> bool:
    """Whether somebody makes another server the master by himself: sentinels, or a cluster."""
    return isinstance(store.connection_pool, FailoverPool)


def problems_of(memory: Mapping[str, Any], replication: Mapping[str, Any], *, has_failover: bool) -> Iterator[str]:
    """What must be changed, from the two sections of `INFO`."""
    policy = memory.get("maxmemory_policy", _KEEPS_EVERYTHING)
    if policy != _KEEPS_EVERYTHING and memory.get("maxmemory", 0):
        yield f"maxmemory-policy is {policy}, which forgets revocations when memory is short; set it to noeviction"
    if (has_failover or replication.get("connected_slaves", 0)) and "min_slaves_good_slaves" not in replication:
        why = "another server may take over" if has_failover else "it has replicas"
        yield f"{why} but min-replicas-to-write is 0, so a cut-off master would go on answering; set it to 1"


def problems_of_lag(settings: Mapping[str, str], failover_s: float) -> Iterator[str]:
    """What must be changed, from settings and from how soon another server may be the master (0: never, or nobody knows)."""
    lag_s = float(settings.get("min-replicas-max-lag", 0))
    if failover_s and lag_s > failover_s:
        yield (
            f"min-replicas-max-lag is {lag_s:g} s and a failover begins after {failover_s:g} s: in between a master that was cut"
            " off renews the leases of workers that do not hear of revocations any more; set it below"
        )


async def failover_after_s(store: Store, settings: Mapping[str, str]) -> float:
    """How soon another server may be the master. 0: never by itself, or it is not known."""
    if isinstance(store, ClusterStore):
        return float(settings.get("cluster-node-timeout", 0)) / 1000
    pool = store.connection_pool
    if isinstance(pool, FailoverPool) and isinstance(pool.place, SentinelPlace):
        with suppress(StoreError), store_errors():  # sentinels may be away while the master is there
            return await pool.place.down_after_s()
    return 0.0


async def settings_of(server: Store) -> dict[str, str]:
    """What promises rest on. Empty where `CONFIG` is closed."""
    found: dict[str, str] = {}
    for pattern in ("append*", "min-replicas-*", "cluster-node-timeout"):
        try:
            answer = await command(server, "CONFIG GET", pattern)
        except StoreError:
            return {}
        found.update({_text(name): _text(value) for name, value in dict(answer).items()})
    return found


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
