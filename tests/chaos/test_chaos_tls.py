"""A store that speaks TLS only, to clients with a certificate: its master is killed while a gateway revokes.

make chaos ARGS='-s -k tls'      prints how long each failover took
"""

from collections.abc import Callable
from pathlib import Path

from attacks.wire_gateway import wire
from chaos.failing_over import Revoking, forgotten
from live.running_gateway import eventually
from proxy.certificates import authority, issued
from store_sets import Tls, clustered, until, watched

from gateway.store.cluster import HOME_SLOT

CAREFUL = ("min-replicas-to-write 1", "min-replicas-max-lag 1")
UNAVAILABLE = "503 store-unavailable"


def files(folder: Path, name: str) -> Tls:
    return Tls(*issued(name).written(folder, "server"), authority().written(folder, "authority")[0])


async def revoke_through(folder: Path, url: str, kill: Callable[[], None]) -> None:
    """Revoke before, while and after the master is killed: nothing that was acknowledged is forgotten."""
    with wire(folder / "gateway", is_awaited=False, store={"url": url}) as gateway:
        assert gateway.gateway.command("store init").returncode == 0
        eventually(gateway.gateway.is_ready)
        with Revoking(gateway, "tls") as revoking:
            eventually(lambda: len(revoking.acknowledged) > 20)
            kill()
            known = len(revoking.acknowledged)
            eventually(lambda: len(revoking.acknowledged) > known + 20, 40)
        print(
            f"\nno receipt for {revoking.longest_pause_of_receipts_s:.1f} s, no page for"
            f" {revoking.longest_pause_of_answers_s:.1f} s; {len(revoking.acknowledged)} acknowledged,"
            f" {sum(revoking.acknowledged.values())} durable, {revoking.refused} refused"
        )
        assert revoking.told <= {"200", UNAVAILABLE}
    assert await forgotten(url, revoking.acknowledged) == []


async def test_R09_over_tls_what_was_acknowledged_survives_a_killed_master_behind_sentinels(tmp_path: Path) -> None:
    with watched(sentinels=3, replicas=2, options=CAREFUL, tls=files(tmp_path, "127.0.0.1")) as service:

        def kill() -> None:
            old = service.master()
            old.kill()
            service.until_failed_over(old)

        await revoke_through(tmp_path, service.url, kill)


async def test_R14_over_tls_what_was_acknowledged_survives_a_killed_master_of_a_cluster(tmp_path: Path) -> None:
    named = (*CAREFUL, "cluster-announce-hostname localhost")
    with clustered(masters=3, replicas=2, options=named, tls=files(tmp_path, "localhost")) as cluster:

        def kill() -> None:
            old = cluster.owner(HOME_SLOT)
            old.kill()
            until(lambda: cluster.owner(HOME_SLOT) is not old and cluster.owner(HOME_SLOT).role() == "master")

        await revoke_through(tmp_path, cluster.url, kill)
