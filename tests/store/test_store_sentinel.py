"""A store whose master moves: real sentinels, a real failover."""

import asyncio
from collections.abc import Iterator

import pytest
from following import MAX_STALENESS_S, following
from store_sets import Watched, watched

from gateway.clock import Clock
from gateway.errors import StoreUnavailable, StoreUnfit
from gateway.revocation.entry import Kind, Revocation, fact_key
from gateway.revocation.log import RevocationLog
from gateway.store.client import command, connect
from gateway.store.fitness import refuse_unfit
from gateway.store.sentinel import CHECK_EVERY_S


@pytest.fixture(scope="module")
def service() -> Iterator[Watched]:
    with watched(sentinels=1, replicas=1) as service:
        yield service


async def test_a_service_that_the_sentinels_do_not_know_is_unavailable(service: Watched) -> None:
    client = connect(service.url + "-unknown", timeout_s=0.5)
    with pytest.raises(StoreUnavailable, match="no sentinel that answers knows a master"):
        await command(client, "PING")
    await client.aclose()


async def test_a_gateway_follows_the_master_and_keeps_what_was_revoked(service: Watched) -> None:
    client = connect(service.url)
    log = RevocationLog(client, Clock(), MAX_STALENESS_S)
    await log.declare()
    async with following(service.url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.complete, receipt.durable, receipt.enforced_by) == (True, True, 1), "a replica has it"
        old = service.master()
        await asyncio.to_thread(service.fail_over)
        await worker.until_polled_again(3)
        await worker.until_live()
        assert service.master() is not old
        assert worker.view.find(fact_key(Kind.USER, "", "alice"))
        receipt = await log.revoke(Revocation(Kind.USER, "bob"))
        assert receipt.complete and receipt.enforced_by == 1
    await client.aclose()


async def test_W2_a_master_must_stop_before_another_one_can_take_over(service: Watched) -> None:
    client = connect(service.url)
    for server in service.servers:
        server.command("CONFIG", "SET", "min-replicas-to-write", 1)
    with pytest.raises(StoreUnfit, match="min-replicas-max-lag is 10 s and a failover begins after 1 s"):
        await refuse_unfit(client)
    for server in service.servers:
        server.command("CONFIG", "SET", "min-replicas-max-lag", 1)
    await refuse_unfit(client)
    for server in service.servers:
        server.command("CONFIG", "SET", "min-replicas-to-write", 0)
    await client.aclose()


async def test_an_open_connection_to_a_master_that_was_replaced_without_a_word_is_not_used(service: Watched) -> None:
    client = connect(service.url)
    old = service.master()
    assert (await command(client, "ROLE"))[0] == b"master"
    old.freeze()
    try:
        await asyncio.to_thread(service.until_failed_over, old)
        await asyncio.sleep(CHECK_EVERY_S)  # what was heard may be as old as that
        assert int((await client.info("server"))["tcp_port"]) == service.master().port
    finally:
        old.thaw()
        await client.aclose()


async def test_a_server_that_says_it_is_no_master_is_none_whatever_the_sentinels_say(service: Watched) -> None:
    master = service.master()
    other = next(server for server in service.servers if server is not master)
    master.command("REPLICAOF", "127.0.0.1", other.port)
    client = connect(service.url)
    with pytest.raises(StoreUnavailable, match="says that it is a slave"):
        await command(client, "GET", "anything")
    await client.aclose()
