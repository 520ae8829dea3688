"""Whether a store may be trusted with revocations at all, from what its `INFO` says (`CONFIG` is closed on many services).

an eviction policy      frees memory by forgetting: a revocation could be what it forgets
replicas, and no        a master that lost its replicas goes on answering, and renews leases, while another one
min-replicas-to-write   is master already: a worker on the wrong side would read "nothing new" for ever [L3]
"""

from typing import Final

from gateway.errors import StoreUnfit
from gateway.store.client import Store, store_errors

_KEEPS_EVERYTHING: Final = "noeviction"


async def refuse_unfit(store: Store) -> None:
    """Raise StoreUnfit, with what to change, or StoreUnavailable. Says nothing about the store's content."""
    with store_errors():
        memory = await store.info("memory")
        replication = await store.info("replication")
    policy = memory.get("maxmemory_policy", _KEEPS_EVERYTHING)
    if policy != _KEEPS_EVERYTHING and memory.get("maxmemory", 0):
        raise StoreUnfit(f"maxmemory-policy is {policy}, which forgets revocations when memory is short; set it to noeviction")
    if replication.get("connected_slaves", 0) and "min_slaves_good_slaves" not in replication:
        raise StoreUnfit("it has replicas but min-replicas-to-write is 0, so a cut-off master would go on answering; set it to 1")
