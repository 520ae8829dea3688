"""A store of several nodes: a real cluster, slots that are moved, a client that was told otherwise."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from following import MAX_STALENESS_S, following
from redis.exceptions import ResponseError
from session_making import login, sessions
from store_sets import Cluster, Server, clustered

from gateway.clock import Clock
from gateway.errors import StoreUnavailable, StoreUnfit
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog
from gateway.sessions.model import new_subject
from gateway.store.client import Store, command, connect, each_server, many_commands
from gateway.store.cluster import HOME_SLOT, ClusterStore
from gateway.store.cluster_slots import slot_of
from gateway.store.fitness import refuse_unfit


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clustered() as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[Store]:
    client = connect(cluster.url)
    yield client
    await client.aclose()


@pytest.mark.parametrize("key", ["foo", "{}foo", "a{foo", "a{b}{c}", "{log}", "gateway:session:{sub}:sub.one"])
def test_nodes_and_clients_agree_about_slots(cluster: Cluster, key: str) -> None:
    assert slot_of(key) == cluster.nodes[0].command("CLUSTER", "KEYSLOT", key)


async def test_R14_a_log_is_followed_and_sessions_live_on_every_node(cluster: Cluster, store: Store) -> None:
    log, kept = RevocationLog(store, Clock(), MAX_STALENESS_S), sessions(store)
    await log.declare()
    async with following(cluster.url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.complete, receipt.enforced_by) == (True, 1)
        created = [(await kept.create(login(new_subject()))).record for _ in range(24)]
        assert await kept.count() == 24
        assert {(await kept.fetch(record.sid)).sid for record in created} == {record.sid for record in created}
        await kept.remove(record.sid for record in created)
        assert await kept.count() == 0
        await asyncio.to_thread(cluster.move, HOME_SLOT, _another(cluster, HOME_SLOT))
        await worker.until_polled_again(3)
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "bob"))
        assert (receipt.complete, receipt.enforced_by) == (True, 1)
        assert worker.follower.statistics.snapshots == 1
    assert len([server async for server in each_server(store)]) == 3


async def test_R07_who_is_told_that_a_slot_has_moved_goes_there_at_once(cluster: Cluster, store: Store) -> None:
    await command(store, "SET", "{moved}", "kept")
    cluster.move(slot_of("{moved}"), _another(cluster, slot_of("{moved}")))
    assert await command(store, "GET", "{moved}") == b"kept"
    cluster.move(slot_of("{moved}"), _another(cluster, slot_of("{moved}")))
    found, nothing, error = await many_commands(store, [("GET", "{moved}"), ("GET", "{log}nothing"), ("INCR", "{moved}")])
    assert (found, nothing) == (b"kept", None)
    assert isinstance(error, ResponseError)


async def test_R07_while_a_slot_is_being_moved_what_has_gone_ahead_is_asked_for_there(cluster: Cluster, store: Store) -> None:
    slot = slot_of("{half}")
    source, target = cluster.owner(slot), _another(cluster, slot)
    await command(store, "SET", "{half}one", "1")
    await command(store, "SET", "{half}two", "2")
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.command("CLUSTER", "MYID").decode())
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.command("CLUSTER", "MYID").decode())
    source.command("MIGRATE", "127.0.0.1", target.port, "{half}one", 0, 5000)
    assert await many_commands(store, [("GET", "{half}one"), ("GET", "{half}two")]) == [b"1", b"2"]
    with pytest.raises(StoreUnavailable, match="TryAgain"):
        await command(store, "MGET", "{half}one", "{half}two")
    cluster.move(slot, target)
    assert await command(store, "MGET", "{half}one", "{half}two") == [b"1", b"2"]


async def test_a_cluster_that_nobody_answers_for_is_unavailable(cluster: Cluster) -> None:
    client = connect("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout_s=0.5)
    assert isinstance(client, ClusterStore)
    for ask in (("PING",), ("GET", "elsewhere")):
        with pytest.raises(StoreUnavailable, match="no node of the cluster answers"):
            await command(client, *ask)
    await client.aclose()


async def test_L3_a_node_must_stop_when_it_is_cut_off_from_replicas_that_it_does_not_see(cluster: Cluster, store: Store) -> None:
    with pytest.raises(StoreUnfit, match="another server may take over but min-replicas-to-write is 0"):
        await refuse_unfit(store)
    for node in cluster.nodes:
        node.command("CONFIG", "SET", "min-replicas-to-write", 1)
    with pytest.raises(StoreUnfit, match="min-replicas-max-lag is 10 s and a failover begins after 1 s"):
        await refuse_unfit(store)
    for node in cluster.nodes:
        node.command("CONFIG", "SET", "min-replicas-max-lag", 1)
    await refuse_unfit(store)
    for node in cluster.nodes:
        node.command("CONFIG", "SET", "min-replicas-to-write", 0)


def _another(cluster: Cluster, slot: int) -> Server:
    return next(node for node in cluster.nodes if node is not cluster.owner(slot))
