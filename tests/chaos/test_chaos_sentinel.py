"""Three sentinels, a master, two replicas: the master is killed while a gateway revokes; again and again.

make chaos ARGS='-s -k sentinel'      prints how long each failover took
"""

from collections.abc import Iterator

import pytest
from attacks.wire_gateway import Wire, wire
from chaos.failing_over import Revoking, forgotten
from live.running_gateway import eventually
from store_sets import Watched, until, watched

ROUNDS = 3
DOWN_AFTER_MS = 1000
CAREFUL = ("min-replicas-to-write 1", "min-replicas-max-lag 1")
UNAVAILABLE = "503 store-unavailable"


@pytest.fixture(scope="module")
def service() -> Iterator[Watched]:
    with watched(sentinels=3, replicas=2, down_after_ms=DOWN_AFTER_MS, options=CAREFUL) as service:
        yield service


@pytest.fixture(scope="module")
def gateway(service: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("sentinel"), is_awaited=False, store={"url": service.url}) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        yield running


@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_R09_what_was_acknowledged_survives_a_killed_master(service: Watched, gateway: Wire, turn: int) -> None:
    revoked = gateway.gateway.token(sid=f"before-{turn}")
    gateway.gateway.call("POST", "/v1/revocations", json={"session": f"before-{turn}"})
    old = service.master()
    with Revoking(gateway, f"turn-{turn}") as revoking:
        eventually(lambda: len(revoking.acknowledged) > 20)
        old.kill()
        service.until_failed_over(old)
        known = len(revoking.acknowledged)
        eventually(lambda: len(revoking.acknowledged) > known + 20, 40)
    assert revoking.told <= {"200", UNAVAILABLE}
    assert gateway.everywhere(revoked) == {"401 revoked-session"}
    durable = [sid for sid, is_durable in revoking.acknowledged.items() if is_durable]
    print(
        f"\nfailover {turn}: no receipt for {revoking.longest_pause_of_receipts_s:.1f} s, no page for"
        f" {revoking.longest_pause_of_answers_s:.1f} s; {len(revoking.acknowledged)} acknowledged, {len(durable)} durable,"
        f" {revoking.refused} refused"
    )
    assert await forgotten(service.url, revoking.acknowledged) == []
    assert len(durable) > 20
    old.start()
    until(lambda: old.role() == "slave" and service.master().acknowledging() == 2)


def test_R10_a_master_that_was_cut_off_from_its_replicas_is_left(service: Watched, gateway: Wire) -> None:
    """Frozen replicas are as good as a cut: the master goes on answering, but may not write, and nobody is let in on its word."""
    token = gateway.gateway.token(sub="good")
    eventually(lambda: gateway.everywhere(token) == {"200"})
    replicas = [server for server in service.servers if server is not service.master()]
    for replica in replicas:
        replica.freeze()
    eventually(lambda: gateway.everywhere(token) == {UNAVAILABLE})
    for replica in replicas:
        replica.thaw()
    eventually(lambda: gateway.everywhere(token) == {"200"})


def test_the_sentinels_may_be_away_while_the_master_is_there(service: Watched, gateway: Wire) -> None:
    token = gateway.gateway.token(sub="good")
    for sentinel in service.sentinels:
        sentinel.freeze()
    try:
        told = {answer for _ in range(20) for answer in gateway.everywhere(token)}
        assert told == {"200"}
        gateway.gateway.revoke(session="meanwhile")
    finally:
        for sentinel in service.sentinels:
            sentinel.thaw()
