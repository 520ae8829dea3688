"""Revoking, undoing, declaring, and what the receipt claims."""

import asyncio
import secrets
import socket
import time

import pytest
from following import MAX_STALENESS_S, SetClock, following
from redis.asyncio.client import PubSub
from store_process import StoreProcess, until_awaited

from gateway.clock import Clock
from gateway.errors import StoreLost, StoreUnavailable
from gateway.revocation.entry import Kind, Revocation, fact_key
from gateway.revocation.keys import ENTRIES, FACTS, KEYS, STATES, WORKERS
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import DEADLINE_S, RevocationLog, RevocationRefused
from gateway.store.client import Store, command, connect

ISSUERS = {"i": Lifetimes(max_lifetime_s=300, session_lifetime_s=1000, leeway_s=10, skew_s=5)}
ALICE = fact_key(Kind.USER, "", "alice")


@pytest.fixture
async def log(store: Store, clock: Clock) -> RevocationLog:
    made = RevocationLog(store, clock, MAX_STALENESS_S, issuers=ISSUERS)
    await made.declare()
    return made


async def test_L5_a_store_is_declared_once(log: RevocationLog, store: Store) -> None:
    first = await log.declare()
    await log.revoke(Revocation(Kind.USER, "alice"))
    assert await log.declare() == first
    assert await log.is_declared()
    again = await log.declare(again=True)
    assert int(again) > int(first)
    assert await command(store, "HLEN", STATES) == 1, "declaring forgets nothing"


async def test_L5_nothing_is_appended_to_a_store_that_was_never_declared(store: Store, clock: Clock) -> None:
    with pytest.raises(StoreLost):
        await RevocationLog(store, clock, MAX_STALENESS_S).revoke(Revocation(Kind.USER, "alice"))
    assert await command(store, "DBSIZE") == 0


async def test_L7_a_not_before_in_the_future_is_refused_and_one_within_the_skew_is_not(log: RevocationLog, store: Store) -> None:
    with pytest.raises(RevocationRefused):
        await log.revoke(Revocation(Kind.USER, "alice", value=int(time.time()) + 1000))
    assert await command(store, "XLEN", ENTRIES) == 1
    await log.revoke(Revocation(Kind.USER, "alice", value=int(time.time()) + 2))
    assert await command(store, "XLEN", ENTRIES) == 2


async def test_L7_undo_lifts_by_sequence_and_leaves_what_others_said(log: RevocationLog, store_url: str) -> None:
    async with following(store_url) as worker:
        await worker.until_live()
        now = int(time.time())
        first = await log.revoke(Revocation(Kind.USER, "alice", value=now - 500))
        second = await log.revoke(Revocation(Kind.USER, "alice", value=now - 100))
        third = await log.revoke(Revocation(Kind.USER, "alice", value=now))
        assert worker.view.find(ALICE) == now
        await log.undo(third.id)
        assert worker.view.find(ALICE) == now - 100
        await log.undo(first.id)
        assert worker.view.find(ALICE) == now - 100
        assert (await log.undo(second.id)).complete
        assert worker.view.find(ALICE) == 0
        await log.revoke(Revocation(Kind.USER, "alice", value=now - 50))
        assert worker.view.find(ALICE) == now - 50


async def test_L7_undoing_twice_or_a_stranger_s_id_changes_nothing(log: RevocationLog, store: Store) -> None:
    receipt = await log.revoke(Revocation(Kind.BLOCK, "alice"))
    await log.undo(receipt.id)
    length = await command(store, "XLEN", ENTRIES)
    assert (await log.undo(receipt.id)).id == receipt.id
    assert await command(store, "XLEN", ENTRIES) == length
    for stranger in (secrets.token_hex(16), "0" * 32, "nonsense", "", "é"):
        with pytest.raises(RevocationRefused):
            await log.undo(stranger)


async def test_L4_a_lift_stays_in_the_snapshot_until_the_fact_expires(log: RevocationLog, store: Store) -> None:
    receipt = await log.revoke(Revocation(Kind.TOKEN, "t", "i"))
    (expires,) = (await command(store, "ZRANGE", FACTS, 0, -1, "WITHSCORES"))[1::2]
    await log.undo(receipt.id)
    assert (await command(store, "ZRANGE", FACTS, 0, -1, "WITHSCORES"))[1::2] == [expires]


async def test_L6_a_fact_never_gets_a_shorter_life(log: RevocationLog, store: Store) -> None:
    now = time.time()
    await log.revoke(Revocation(Kind.TOKEN, "t", "i", expires_at=now + 9000))
    await log.revoke(Revocation(Kind.TOKEN, "t", "i", expires_at=now + 10))
    ((_, score),) = zip(*[iter(await command(store, "ZRANGE", FACTS, 0, -1, "WITHSCORES"))] * 2, strict=True)
    assert float(score) > now + 9000


async def test_L6_no_key_of_the_log_carries_a_time_to_live(log: RevocationLog, store: Store, store_url: str) -> None:
    async with following(store_url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.TOKEN, "t", "i"))
        await log.undo(receipt.id)
        names = await command(store, "KEYS", "*")
        assert len(names) == 6
        assert [await command(store, "PTTL", name) for name in names] == [-1] * 6


async def test_L6_a_session_s_denial_is_renewed_by_use_when_half_of_it_is_over(store: Store, clock: Clock) -> None:
    short = RevocationLog(store, clock, MAX_STALENESS_S, issuers={"i": Lifetimes(session_lifetime_s=10)})
    long = RevocationLog(store, clock, MAX_STALENESS_S, issuers={"i": Lifetimes(session_lifetime_s=10_000)})
    await short.declare()
    assert not await short.renew("i", "unknown")
    await short.revoke(Revocation(Kind.SESSION, "s", "i"))
    assert not await short.renew("i", "s")
    assert await long.renew("i", "s")
    assert not await long.renew("i", "s")


async def test_L8_everything_lives_in_one_slot_whatever_names_say(log: RevocationLog, store: Store) -> None:
    await log.revoke(Revocation(Kind.USER, "{elsewhere}mallory", "i"))
    names = [name.decode() for name in await command(store, "KEYS", "*")]
    assert set(names) <= set(KEYS)
    assert all(name.startswith("gateway:{log}:") for name in KEYS)


@pytest.mark.parametrize("senseless", [Revocation(Kind.TOKEN, "t"), Revocation(Kind.LIFT, "x")])
async def test_what_nobody_would_look_up_is_refused(log: RevocationLog, senseless: Revocation) -> None:
    with pytest.raises(RevocationRefused):
        await log.revoke(senseless)


async def test_W2_L5_a_store_emptied_while_a_receipt_waits_is_told_and_nobody_counts_as_fenced(
    store_process: StoreProcess,
) -> None:
    """Who writes back to it renews its lease without the entry; so without a log that has it there is no receipt."""
    client = connect(store_process.url)
    log = RevocationLog(client, Clock(), MAX_STALENESS_S, deadline_s=1.5 * MAX_STALENESS_S)
    epoch = await log.declare()
    await command(client, "HSET", WORKERS, "slow", f"live {epoch} 1 1000 7 1000 ")
    revoking = asyncio.create_task(log.revoke(Revocation(Kind.USER, "alice")))

    async def is_appended() -> bool:
        return await command(client, "XLEN", ENTRIES) == 2

    await until_awaited(is_appended)
    store_process.flush()
    with pytest.raises(StoreLost):
        await revoking
    await client.aclose()


async def test_W1_repeating_a_request_under_its_id_appends_once(log: RevocationLog, store: Store) -> None:
    revocation = Revocation(Kind.USER, "alice", id=secrets.token_hex(16))
    receipts = [await log.revoke(revocation) for _ in range(3)]
    assert {receipt.id for receipt in receipts} == {revocation.id}
    assert await command(store, "XLEN", ENTRIES) == 2


async def test_W2_the_silent_are_struck_by_our_clock_after_a_minute_and_whoever_speaks_stays(
    store: Store, store_url: str
) -> None:
    clock = SetClock()
    log = RevocationLog(store, clock, MAX_STALENESS_S)
    epoch = await log.declare()
    await command(store, "HSET", WORKERS, "dead", f"live {epoch} 1 2000 7 1000 worker 9")
    async with following(store_url) as worker:
        await worker.until_live()
        assert await log.remove_silent() == ()
        clock.boot_ahead_s += 59
        await worker.until_polled_again()
        assert await log.remove_silent() == ()
        clock.boot_ahead_s += 2
        await worker.until_polled_again()
        assert await log.remove_silent() == ("dead",)
        assert [member.incarnation for member in (await log.members()).members] == [worker.incarnation]


async def test_W2_members_of_a_dead_run_count_as_workers_and_are_fenced(log: RevocationLog, store: Store, store_url: str) -> None:
    epoch = await log.declare()
    await command(store, "HSET", WORKERS, "dead", f"live {epoch} 1 1000 7 1000 worker 9")
    async with following(store_url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.workers, receipt.enforced_by, receipt.fenced, receipt.complete) == (2, 1, 1, True)


async def test_W3_at_the_deadline_a_receipt_says_that_it_is_incomplete(store: Store, clock: Clock) -> None:
    log = RevocationLog(store, clock, 60.0, deadline_s=0.3)
    epoch = await log.declare()
    await command(store, "HSET", WORKERS, "slow", f"live {epoch} 1 60000 7 1000 ")
    receipt = await log.revoke(Revocation(Kind.USER, "alice"))
    assert (receipt.workers, receipt.enforced_by, receipt.fenced, receipt.complete) == (1, 0, 0, False)


async def test_W3_routes_that_serve_without_the_store_are_named_when_a_fence_was_needed(store: Store, clock: Clock) -> None:
    log = RevocationLog(store, clock, 0.1, not_fenced_routes=("news",))
    epoch = await log.declare()
    assert log_routes(await log.revoke(Revocation(Kind.USER, "alice"))) == ()
    await command(store, "HSET", WORKERS, "gone", f"live {epoch} 1 100 7 1000 ")
    assert log_routes(await log.revoke(Revocation(Kind.USER, "alice"))) == ("news",)


def log_routes(receipt) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    return receipt.not_fenced_routes


async def test_W3_without_the_store_nothing_is_promised(store_process: StoreProcess, clock: Clock) -> None:
    client = connect(store_process.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S, deadline_s=0.5)
    await log.declare()
    store_process.kill()
    with pytest.raises(StoreUnavailable):
        await log.revoke(Revocation(Kind.USER, "alice"))
    await client.aclose()


async def test_W3_a_store_that_restarts_in_between_gets_the_entry_once(store_process: StoreProcess, clock: Clock) -> None:
    client = connect(store_process.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S, deadline_s=20)
    await log.declare()
    store_process.kill()
    revoking = asyncio.create_task(log.revoke(Revocation(Kind.USER, "alice")))
    await asyncio.sleep(0)
    store_process.start()
    receipt = await revoking
    assert receipt.complete
    assert await command(client, "XLEN", ENTRIES) == 2
    await client.aclose()


async def test_W1_what_was_published_before_anybody_listened_is_read_in_the_register(
    store_url: str, log: RevocationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a lease that outlasts the deadline nobody is fenced, and nothing else makes anybody look."""
    monkeypatch.setattr("gateway.revocation.log._REGISTER_EVERY_S", 60.0)
    await log.declare()
    async with following(store_url, max_staleness=60.0) as worker:
        await worker.until_live()
        before, subscribe = worker.follower.statistics.position, PubSub.subscribe

        async def is_published() -> bool:
            return all(member.position > before for member in (await log.members()).members)

        async def late(acks: PubSub, *channels: str) -> None:
            await until_awaited(is_published)
            await subscribe(acks, *channels)

        monkeypatch.setattr(PubSub, "subscribe", late)
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.enforced_by, receipt.fenced, receipt.complete) == (1, 0, True)
        assert receipt.took_ms < 1000 * DEADLINE_S, "not only when nobody waited any longer"


@pytest.mark.parametrize(("flush", "durable"), [("always", True), ("everysec", False), ("", False)])
async def test_B4_durable_is_said_only_of_what_is_on_the_disk(flush: str, durable: bool, clock: Clock) -> None:
    process = StoreProcess(flush=flush).start()
    client = connect(process.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S)
    await log.declare()
    assert (await log.revoke(Revocation(Kind.USER, "alice"))).durable is durable
    await client.aclose()
    process.close()


async def test_B4_a_replica_that_acknowledges_makes_a_write_durable(clock: Clock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    master = StoreProcess("--port", str(port), flush="everysec").start()
    replica = StoreProcess("--replicaof", f"127.0.0.1 {port}", flush="").start()
    client = connect(master.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S)
    await log.declare()

    async def is_attached() -> bool:
        return await command(client, "WAIT", 1, 50) == 1

    await until_awaited(is_attached)
    assert (await log.revoke(Revocation(Kind.USER, "alice"))).durable is True
    replica.close()
    assert (await log.revoke(Revocation(Kind.USER, "alice"))).durable is False
    await client.aclose()
    master.close()


async def test_B4_a_revocation_that_was_answered_survives_a_kill(store_process: StoreProcess, clock: Clock) -> None:
    client = connect(store_process.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S)
    await log.declare()
    await log.revoke(Revocation(Kind.USER, "alice"))
    store_process.restart()
    async with following(store_process.url) as worker:
        await worker.until_live()
        assert worker.view.find(ALICE)
    await client.aclose()


async def test_undo_of_a_fact_that_was_purged_is_refused(log: RevocationLog, store: Store) -> None:
    from gateway.revocation.keys import PURGE, REVOCATIONS
    from gateway.store.scripts import run_script

    ids = [(await log.revoke(Revocation(Kind.TOKEN, "t", "i", expires_at=time.time() - 1000))).id for _ in range(3)]
    await run_script(store, PURGE, KEYS, [int(time.time()), 2, 3600])
    assert await command(store, "HLEN", STATES) == 1, "a long history goes in pieces"
    await run_script(store, PURGE, KEYS, [int(time.time()), 2, 3600])
    assert await command(store, "HLEN", STATES) == await command(store, "HLEN", REVOCATIONS) == 0
    with pytest.raises(RevocationRefused):
        await log.undo(ids[0])
