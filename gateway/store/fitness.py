"""Whether a store may be trusted with revocations at all, from what its `INFO` says (`CONFIG` is closed on many services).

an eviction policy      frees memory by forgetting: a revocation could be what it forgets
replicas, and no        a master that lost its replicas goes on answering, and renews leases, while another one
min-replicas-to-write   is master already: a worker on the wrong side would read "nothing new" for ever [L3]. Behind
                        sentinels and in a cluster another one may always take over; the replicas that a cut-off master
                        does not see any more are the very danger, so there it is asked for however many are connected

Of a cluster every master is judged: one that evicts could forget that a one-time token was used.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.errors import StoreUnfit
from gateway.store.client import Store, each_server, store_errors
from gateway.store.failover_pool import FailoverPool

_KEEPS_EVERYTHING: Final = "noeviction"


async def refuse_unfit(store: Store) -> None:
    """Raise StoreUnfit, with what to change, or StoreUnavailable. Says nothing about the store's content."""
    async for server in each_server(store):
        with store_errors():
            memory = await server.info("memory")
            replication = await server.info("replication")
        for problem in problems_of(memory, replication, has_failover=has_failover(store)):
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
