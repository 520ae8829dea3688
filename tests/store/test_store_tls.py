"""A store that is spoken to with TLS only, by clients with a certificate: behind sentinels, and a cluster of names."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from following import MAX_STALENESS_S, following
from proxy.certificates import authority, issued
from redis.asyncio import BlockingConnectionPool
from store_sets import SERVICE, Cluster, Tls, Watched, clustered, watched

from gateway.clock import Clock
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store, command, connect, each_server
from gateway.store.cluster import HOME_SLOT
from gateway.store.cluster_slots import slot_of


def files(folder: Path, name: str) -> Tls:
    """The servers' certificate for a name or an address."""
    return Tls(*issued(name).written(folder, "server"), authority().written(folder, "authority")[0])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Their certificate is for the address, by which sentinels know servers."""
    with watched(sentinels=1, replicas=1, tls=files(tmp_path_factory.mktemp("tls"), "127.0.0.1")) as service:
        yield service


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Their certificate is for a host name, which they announce; the cluster itself speaks of addresses."""
    tls = files(tmp_path_factory.mktemp("tls"), "localhost")
    with clustered(masters=2, tls=tls, options=("cluster-announce-hostname localhost",)) as cluster:
        yield cluster


async def revoked_and_known(store: Store, url: str) -> None:
    """A revocation that a worker enforces, over connections of their own."""
    log = RevocationLog(store, Clock(), MAX_STALENESS_S)
    await log.declare()
    async with following(url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.complete, receipt.enforced_by) == (True, 1)


async def test_sentinels_and_their_master_are_reached_and_a_failover_is_followed(service: Watched) -> None:
    store = connect(service.url)
    await revoked_and_known(store, service.url)
    await asyncio.to_thread(service.fail_over)
    assert int((await store.info("server"))["tcp_port"]) == service.master().port
    await store.aclose()


async def test_nodes_are_called_by_the_names_that_their_certificates_are_for(cluster: Cluster) -> None:
    store = connect(cluster.url)
    await revoked_and_known(store, cluster.url)
    slot = slot_of("{moved}")
    assert cluster.owner(slot) is not cluster.owner(HOME_SLOT)
    await command(store, "SET", "{moved}", "kept")
    cluster.move(slot, cluster.owner(HOME_SLOT))
    assert await command(store, "GET", "{moved}") == b"kept", "told an address, which no certificate here is for"
    assert len([server async for server in each_server(store)]) == 2
    await store.aclose()


async def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(service: Watched, tmp_path: Path) -> None:
    """Nor a sentinel: one whose certificate is for something else, and one that another authority vouches for."""
    named = service.url.partition("?")[2]
    other = named.replace("authority.pem", "server.pem")
    for url, told in (
        (f"rediss://localhost:{service.servers[0].port}?{named}", "certificate is not valid for 'localhost'"),
        (f"rediss://127.0.0.1:{service.servers[0].port}?{other}", "certificate verify failed"),
        (f"rediss+sentinel://127.0.0.1:{service.sentinels[0].port}/{SERVICE}?{other}", "no sentinel that answers"),
    ):
        store = connect(url)
        with pytest.raises(StoreUnavailable, match=told):
            await command(store, "PING")
        await store.aclose()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("ssl_ca_certs=/nowhere.pem", "its TLS options cannot be used: No such file or directory"),
        ("ssl_keyfile=/nowhere.key", "its TLS options cannot be used: ssl_keyfile needs an ssl_certfile"),
        ("ssl_cert_reqs=perhaps", "its TLS options cannot be used: Invalid SSL Certificate Requirements Flag: perhaps"),
        ("ssl_nonsense=1", "its TLS options cannot be used: got an unexpected keyword argument 'ssl_nonsense'"),
        ("nonsense=1", "got an unexpected keyword argument 'nonsense'"),
    ],
)
@pytest.mark.parametrize("kind", ["rediss://h", "rediss+sentinel://h/s", "rediss+cluster://h"])
def test_options_that_cannot_be_used_are_told_when_the_client_is_made(kind: str, query: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        connect(f"{kind}?{query}")
    assert told in str(error.value)


def test_all_connections_of_a_store_share_one_context() -> None:
    store = connect("rediss://h", max_connections=3)
    pool = store.connection_pool
    assert isinstance(pool, BlockingConnectionPool)
    assert len({id(pool.make_connection().ssl_context.get()) for _ in range(3)}) == 1
