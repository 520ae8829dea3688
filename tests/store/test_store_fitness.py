"""A store whose settings let it lose or hide revocations is refused by name."""

import socket

import pytest
from store_process import StoreProcess, until_awaited

from gateway.errors import StoreUnfit
from gateway.store.client import command, connect
from gateway.store.fitness import refuse_unfit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_store_that_evicts_is_refused_and_one_that_has_no_bound_is_not(store_process: StoreProcess) -> None:
    store = connect(store_process.url)
    await refuse_unfit(store)
    await command(store, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await refuse_unfit(store)
    await command(store, "CONFIG", "SET", "maxmemory", "100mb")
    with pytest.raises(StoreUnfit, match="noeviction"):
        await refuse_unfit(store)
    await command(store, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await refuse_unfit(store)
    await store.aclose()


async def test_L3_a_master_with_replicas_must_be_able_to_notice_that_it_lost_them() -> None:
    port = free_port()
    master = StoreProcess("--port", str(port), "--bind", "127.0.0.1").start()
    replica = StoreProcess("--replicaof", f"127.0.0.1 {port}").start()
    store = connect(master.url)
    try:

        async def is_connected() -> bool:
            return bool((await store.info("replication"))["connected_slaves"])

        await until_awaited(is_connected)
        with pytest.raises(StoreUnfit, match="min-replicas-to-write"):
            await refuse_unfit(store)
        await command(store, "CONFIG", "SET", "min-replicas-to-write", "1")
        await refuse_unfit(store)
    finally:
        await store.aclose()
        replica.close()
        master.close()
