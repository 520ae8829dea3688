"""A cluster of three masters with two replicas each: masters are killed and the log's slot is moved while a gateway revokes.

make chaos ARGS='-s -k cluster'      prints how long each took
"""

from collections.abc import Iterator

import pytest
from attacks.wire_gateway import Wire, wire
from chaos.failing_over import Revoking, forgotten
from live.running_gateway import eventually
from store_sets import Cluster, Server, clustered, until

from gateway.store.cluster import HOME_SLOT
from gateway.store.cluster_slots import slot_of

CAREFUL = ("min-replicas-to-write 1", "min-replicas-max-lag 1")
UNAVAILABLE = "503 store-unavailable"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clustered(masters=3, replicas=2, node_timeout_ms=1000, options=CAREFUL) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("cluster"), is_awaited=False, store={"url": cluster.url}) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        yield running


def revoke_through(gateway: Wire, cluster: Cluster, name: str, happen: "object") -> Revoking:
    """Revoke before, while and after something happens; say how long nothing went."""
    assert callable(happen)
    with Revoking(gateway, name) as revoking:
        eventually(lambda: len(revoking.acknowledged) > 20)
        happen()
        known = len(revoking.acknowledged)
        eventually(lambda: len(revoking.acknowledged) > known + 20, 40)
    durable = sum(revoking.acknowledged.values())
    print(
        f"\n{name}: no receipt for {revoking.longest_pause_of_receipts_s:.1f} s, no page for"
        f" {revoking.longest_pause_of_answers_s:.1f} s; {len(revoking.acknowledged)} acknowledged, {durable} durable,"
        f" {revoking.refused} refused"
    )
    assert revoking.told <= {"200", UNAVAILABLE}
    return revoking


def until_taken_over(cluster: Cluster, slot: int, old: Server) -> None:
    def is_taken_over() -> bool:
        new = cluster.owner(slot)
        return new is not old and new.role() == "master"

    until(is_taken_over)


async def test_R14_what_was_acknowledged_survives_a_killed_master(cluster: Cluster, gateway: Wire) -> None:
    old = cluster.owner(HOME_SLOT)

    def kill() -> None:
        old.kill()
        until_taken_over(cluster, HOME_SLOT, old)

    revoking = revoke_through(gateway, cluster, "a killed master of the log", kill)
    assert await forgotten(cluster.url, revoking.acknowledged) == []
    old.start()
    until(lambda: cluster.owner(HOME_SLOT).acknowledging() == 2)


async def test_R14_what_was_acknowledged_goes_with_the_slot(cluster: Cluster, gateway: Wire) -> None:
    for name in ("there", "back"):
        owner = cluster.owner(HOME_SLOT)
        target = next(node for node in cluster.masters() if node is not owner)
        revoking = revoke_through(gateway, cluster, f"the log's slot {name}", lambda to=target: cluster.move(HOME_SLOT, to))
        assert cluster.owner(HOME_SLOT) is target
        assert await forgotten(cluster.url, revoking.acknowledged) == []


def test_R14_a_killed_master_of_another_slot_stops_nobody(cluster: Cluster, gateway: Wire) -> None:
    """Revocations and decisions need the log's node only; but a cluster that is not whole answers nobody."""
    slot = next(
        slot for slot in (slot_of(f"{number}") for number in range(100)) if cluster.owner(slot) is not cluster.owner(HOME_SLOT)
    )
    old = cluster.owner(slot)

    def kill() -> None:
        old.kill()
        until_taken_over(cluster, slot, old)

    revoke_through(gateway, cluster, "a killed master of another slot", kill)
    old.start()
