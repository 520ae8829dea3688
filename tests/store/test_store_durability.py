"""`durable` is said of the connection that wrote, and of the server that it wrote to, and else not at all [B4]."""

from collections.abc import AsyncIterator

import pytest
from ports import free_port
from store_process import StoreProcess, until_awaited

from gateway.errors import StoreUnavailable
from gateway.store.client import Store, command, connect
from gateway.store.durability import Durability


@pytest.fixture
async def own(store_url: str) -> AsyncIterator[Store]:
    """A client of one connection, to a server that flushes before it answers."""
    store = connect(store_url)
    client = store.client()
    await client.initialize()
    yield client
    await client.aclose()
    await store.aclose()


async def cut(own: Store, process: StoreProcess) -> None:
    """The connection ends; the next command makes a new one."""
    process.command("CLIENT", "KILL", "ID", await command(own, "CLIENT ID"))
    with pytest.raises(StoreUnavailable):
        await command(own, "PING")


async def test_B4_what_is_flushed_before_it_is_answered_is_durable(own: Store) -> None:
    durability = Durability(own)
    await durability.before_append()
    await command(own, "SET", "key", "value")
    assert await durability.after_append()


async def test_B4_what_another_connection_wrote_is_not(own: Store, shared_store_process: StoreProcess) -> None:
    """After a failover the new connection leads to another server: what the first one said of its disk does not hold there."""
    durability = Durability(own)
    await durability.before_append()
    await cut(own, shared_store_process)
    await command(own, "SET", "key", "value")
    assert not await durability.after_append()


async def test_B4_a_further_attempt_asks_the_server_it_has_come_to(own: Store, shared_store_process: StoreProcess) -> None:
    durability = Durability(own)
    await durability.before_append()
    await cut(own, shared_store_process)
    await durability.before_append()
    await command(own, "SET", "key", "value")
    assert await durability.after_append()


async def test_B4_a_connection_that_is_made_anew_while_it_is_asked_says_nothing_of_the_write() -> None:
    """`WAIT` on a connection that wrote nothing is answered by every replica there is."""
    port = free_port()
    master = StoreProcess("--port", str(port), flush="everysec").start()
    replica = StoreProcess("--replicaof", f"127.0.0.1 {port}", flush="").start()
    store = connect(master.url)
    client = store.client()
    await client.initialize()
    try:

        async def is_attached() -> bool:
            return await command(client, "WAIT", 1, 50) == 1

        await until_awaited(is_attached)
        durability = Durability(client)
        await durability.before_append()
        await command(client, "SET", "key", "value")
        master.command("CLIENT", "KILL", "ID", await command(client, "CLIENT ID"))
        assert not await durability.after_append()
        assert client.connection is not None
        assert not client.connection.is_connected, "it is not made anew for a question"
        assert await command(client, "WAIT", 1, 50) == 1
    finally:
        await client.aclose()
        await store.aclose()
        replica.close()
        master.close()


async def test_B4_without_a_disk_and_without_a_replica_nothing_is_durable() -> None:
    process = StoreProcess(flush="everysec").start()
    store = connect(process.url)
    client = store.client()
    await client.initialize()
    try:
        durability = Durability(client)
        await durability.before_append()
        await command(client, "SET", "key", "value")
        assert not await durability.after_append()
        assert "cmdstat_wait" not in await command(store, "INFO", "commandstats"), "there is nobody to wait for"
    finally:
        await client.aclose()
        await store.aclose()
        process.close()
