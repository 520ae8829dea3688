"""A follower and a real store: the log is followed, proven, acknowledged, and not believed when it is not the one we knew."""

import asyncio
import secrets
import time
from dataclasses import replace

import pytest
from following import MAX_STALENESS_S, SetClock, following, nothing
from store_process import StoreProcess, until, until_awaited

from gateway.clock import Clock
from gateway.revocation.entry import Entry, Kind, Revocation, fact_key
from gateway.revocation.follower import Follower
from gateway.revocation.keys import ENTRIES, KEYS, RECORD, REVOKE, UNDO, WORKERS
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import RevocationLog
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.store.client import Argument, Store, command, connect, many_commands
from gateway.store.scripts import Script, run_script

ALICE = fact_key(Kind.USER, "", "alice")
BOB = Revocation(Kind.SESSION, "bob", id="b" * 32)
CAROL = Revocation(Kind.SESSION, "carol", id="c" * 32)


@pytest.fixture
def log(store: Store, clock: Clock) -> RevocationLog:
    return RevocationLog(store, clock, MAX_STALENESS_S)


async def test_a_revocation_reaches_the_view_and_then_the_live_connections(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "alice", reason="left"))
        assert (receipt.enforced_by, receipt.fenced, receipt.workers, receipt.complete) == (1, 0, 1, True)
        assert abs(worker.view.find(ALICE) - time.time()) < 5
        assert [(seen.kind, seen.name, seen.reason, seen.revocation) for seen in worker.entries] == [
            (Kind.USER, "alice", "left", receipt.id)
        ]


async def test_L1_positions_are_dense_and_each_entry_names_the_one_before(store: Store, log: RevocationLog) -> None:
    epoch = await log.declare()
    for name in "abc":
        await log.revoke(Revocation(Kind.SESSION, name))
    entries = await command(store, "XRANGE", ENTRIES, "-", "+")
    assert [position.decode() for position, _ in entries] == [f"{epoch}-{sequence}" for sequence in (1, 2, 3, 4)]
    fields = [entry for _, entry in entries]
    assert [entry[b"before"] for entry in fields[1:]] == [entry[b"id"] for entry in fields[:-1]]
    assert len({entry[b"id"] for entry in fields}) == 4


async def test_L2_a_hole_in_the_log_is_lost(store_url: str, store: Store, log: RevocationLog) -> None:
    epoch = await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        worker.follower._on_entry = _refuse  # it reads, and cannot go on
        for name in "abc":
            await _append(log, Revocation(Kind.USER, name))
        await command(store, "XDEL", ENTRIES, f"{epoch}-3")
        await worker.until_lost()


async def test_L2_an_emptied_store_is_lost_and_nothing_is_forgotten(store_url: str, store: Store, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        await log.revoke(Revocation(Kind.USER, "alice"))
        await command(store, "FLUSHALL")
        found: list[int] = []

        def is_live_again() -> bool:
            found.append(worker.view.find(ALICE))
            return worker.is_fresh and worker.follower.statistics.recoveries == 1

        await worker.until_lost()
        assert worker.view.was_live
        await until(is_live_again)
        assert all(found)


async def test_L2_a_store_that_was_rolled_back_is_lost_even_after_it_grew_again(
    store_process: StoreProcess, clock: Clock
) -> None:
    client = connect(store_process.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S)
    await log.declare()
    old = store_process.keep_copy()
    async with following(store_process.url) as worker:
        await worker.until_live()
        await log.revoke(Revocation(Kind.USER, "alice"))
        store_process.freeze()
        store_process.roll_back(old)
        await _append(log, Revocation(Kind.USER, "bob"))
        await worker.until_lost()
        assert worker.view.find(ALICE)
    await client.aclose()


async def test_L2_a_fork_is_lost(store_url: str, store: Store, log: RevocationLog) -> None:
    """A failover dropped our last entry, and another took its number: the stream looks whole."""
    epoch = await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        await log.revoke(Revocation(Kind.USER, "alice"))
        script = """
            redis.call('DEL', KEYS[1])
            redis.call('XADD', KEYS[1], ARGV[1]..'-2', 'id', 'other', 'before', 'x')
            redis.call('HSET', KEYS[2], 'head', '2', 'head_id', 'other')
        """
        await command(store, "EVAL", script, 2, ENTRIES, RECORD, epoch)
        await worker.until_lost()


async def test_L2_below_the_floor_a_follower_reloads_and_merges(store_url: str, store: Store, log: RevocationLog) -> None:
    epoch = await log.declare()
    told: list[tuple[bool, State]] = []
    async with following(store_url, on_snapshot=lambda view: told.append((view.find(ALICE) > 0, view.state))) as worker:
        await worker.until_live()
        await log.revoke(Revocation(Kind.USER, "alice"))
        script = """
            redis.call('XADD', KEYS[1], ARGV[1]..'-3', 'id', 'x', 'before', 'y')
            redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1]..'-3')
            redis.call('HSET', KEYS[2], 'floor', '3', 'head', '3', 'head_id', 'x')
        """
        await command(store, "EVAL", script, 2, ENTRIES, RECORD, epoch)
        await until(lambda: worker.follower.statistics.snapshots == 2)
        await worker.until_live()
        assert worker.view.find(ALICE)
        assert worker.follower.statistics.position == 3
    # W1: live connections are told of a snapshot's facts while the view has them and nothing is acknowledged yet
    assert told == [(False, State.CATCHING_UP), (True, State.CATCHING_UP)]


async def test_L3_a_replica_proves_nothing(store_url: str, store: Store, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        await command(store, "REPLICAOF", "127.0.0.1", "1")
        try:
            await worker.until_failed_again()
            proven_at = worker.view.proven_at
            await worker.until_failed_again()
            assert worker.view.proven_at == proven_at
            assert "ReadOnly" in worker.follower.statistics.last_error
        finally:
            await command(store, "REPLICAOF", "NO", "ONE")
        await until(lambda: worker.view.proven_at > proven_at)


async def test_L3_what_ends_the_wait_is_refused_at_once_and_proves_nothing(
    store_url: str, store: Store, log: RevocationLog
) -> None:
    """The store takes the entry, and from then on no poll: what the blocking read brought counts, but lets nobody in."""
    await log.declare()
    enforced: list[float] = []
    async with following(store_url) as worker:
        worker.follower._on_enforced = enforced.append
        await worker.until_live()
        alice = await log.revoke(Revocation(Kind.USER, "alice"))
        assert alice.enforced_by == 1
        polls, proven_at = worker.follower.statistics.polls, worker.view.proven_at
        raw = [secrets.token_hex(8), bytes.fromhex(alice.id)]
        await _then_take_no_writes(store, (REVOKE, log._arguments(BOB)), (UNDO, raw), (REVOKE, log._arguments(CAROL)))
        await until(lambda: worker.view.find(BOB.key) > 0)
        assert (worker.follower.statistics.polls, worker.view.proven_at) == (polls, proven_at)
        assert worker.view.find(ALICE), "the lift waits for the poll"
        assert not worker.view.find(CAROL.key), "and what comes behind it"
        await until(lambda: worker.view.find(CAROL.key) > 0)
        assert not worker.view.find(ALICE)
        assert worker.view.proven_at > proven_at
        assert [seen.kind for seen in worker.entries] == [Kind.USER, Kind.SESSION, Kind.LIFT, Kind.SESSION]
        await until(lambda: len(enforced) == 4)
        await worker.until_polled_again()
        assert len(enforced) == 4, "each is counted once"


async def test_L2_what_another_branch_of_the_log_said_does_not_hide_what_this_one_says(
    store_process: StoreProcess, clock: Clock
) -> None:
    """The blocking read is still at a server that was replaced, and that somebody wrote to."""
    client = connect(store_process.url)
    log = RevocationLog(client, clock, MAX_STALENESS_S)
    await log.declare()
    async with following(store_process.url) as worker:
        await worker.until_live()
        replaced = StoreProcess()
        replaced.start()
        replaced.roll_back(store_process.keep_copy())
        theirs = connect(replaced.url)
        worker.follower._waiter, ours = theirs, worker.follower._waiter
        await ours.aclose()
        early = int(clock.wall()) - 30
        await _append(RevocationLog(theirs, clock, MAX_STALENESS_S), Revocation(Kind.USER, "alice", value=early))
        await until(lambda: worker.view.find(ALICE) > 0)
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.enforced_by, receipt.complete) == (1, True)
        assert worker.view.find(ALICE) > early
        assert worker.view.state is State.LIVE
        replaced.close()
    await client.aclose()


async def test_L7_a_clock_that_goes_back_between_a_poll_and_an_entry_makes_no_poison_of_it(
    store_url: str, log: RevocationLog
) -> None:
    await log.declare()
    clock = SetClock()
    async with following(store_url, clock=clock) as worker:
        await worker.until_live()
        clock.ahead_s = -10
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.enforced_by, receipt.complete) == (1, True)
        assert worker.view.find(ALICE)
        assert not worker.poisoned


async def test_L3_the_protocol_of_the_url_ends_no_follower(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(f"{store_url}?protocol=3") as worker:
        await worker.until_live()
        assert (await log.revoke(Revocation(Kind.USER, "alice"))).enforced_by == 1
        assert worker.view.find(ALICE)


async def test_L2_news_that_do_not_follow_are_left_to_the_poll(store_url: str, store: Store, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        entries = await command(store, "XRANGE", ENTRIES, "-", "+")
        position, fields = entries[-1]
        epoch, _, sequence = position.decode().partition("-")
        forged = fields | {b"id": b"other", b"before": b"x", b"kind": b"session", b"key": BOB.key, b"value": b"9"}
        flat = [part for pair in forged.items() for part in pair]
        await command(store, "XADD", ENTRIES, f"{epoch}-{int(sequence) + 1}", *flat)
        await worker.until_lost()
        assert not worker.view.find(BOB.key)


async def test_L3_a_proof_is_dated_by_when_it_was_asked(store_process: StoreProcess, clock: Clock) -> None:
    client = connect(store_process.url)
    await RevocationLog(client, clock, MAX_STALENESS_S).declare()
    async with following(store_process.url) as worker:
        await worker.until_live()
        store_process.freeze()
        frozen_at = worker.clock.boot()
        await asyncio.sleep(0)
        await until(lambda: worker.clock.boot() > frozen_at + 0.1)
        assert worker.view.proven_at <= frozen_at + 0.1
        store_process.thaw()
        await until(lambda: worker.view.proven_at > frozen_at)
    await client.aclose()


async def test_L3_entries_are_applied_before_they_prove_anything(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        proven: list[float] = []

        def note(_: Entry) -> None:
            proven.append(worker.view.proven_at)
            raise RuntimeError("a live connection could not be ended")

        worker.follower._on_entry = note
        await _append(log, Revocation(Kind.USER, "alice"))
        await until(lambda: len(proven) >= 3)
        assert len(set(proven)) == 1, "an entry that was not handed on proves nothing"
        assert worker.view.find(fact_key(Kind.USER, "", "alice"))
        worker.follower._on_entry = worker.entries.append
        await until(lambda: worker.view.proven_at > proven[0])
        assert len(worker.entries) == 1


async def test_W1_what_an_entry_ends_has_ended_before_it_is_acknowledged_and_the_lease_does_not_wait_for_it(
    store_url: str, store: Store, log: RevocationLog
) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        published, gate = await _published(store, worker.incarnation), asyncio.Event()

        async def end_thousands() -> None:
            if worker.view.find(ALICE):
                await gate.wait()

        worker.follower._enforce = end_thousands
        revoking = asyncio.create_task(log.revoke(Revocation(Kind.USER, "alice")))
        await until(lambda: worker.view.find(ALICE) > 0)
        proven_at = worker.view.proven_at
        await until(lambda: worker.view.proven_at > proven_at)
        await _append(log, Revocation(Kind.USER, "bob"))
        await until(lambda: worker.view.find(fact_key(Kind.USER, "", "bob")) > 0)
        assert await _published(store, worker.incarnation) == published
        assert not revoking.done()
        gate.set()
        receipt = await revoking
        assert (receipt.enforced_by, receipt.fenced, receipt.complete) == (1, 0, True)
        await until_awaited(lambda: _has_published(store, worker.incarnation, published + 2))


async def test_W1_an_entry_whose_connections_could_not_be_ended_is_not_acknowledged(
    store_url: str, store: Store, log: RevocationLog
) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        published, attempts = await _published(store, worker.incarnation), 0

        async def fail() -> None:
            nonlocal attempts
            attempts += 1
            raise RuntimeError("a live connection could not be ended")

        worker.follower._enforce = fail
        await _append(log, Revocation(Kind.USER, "alice"))
        await until(lambda: attempts >= 3)
        assert await _published(store, worker.incarnation) == published
        worker.follower._enforce = nothing
        await until_awaited(lambda: _has_published(store, worker.incarnation, published + 1))


async def test_waiting_for_news_costs_no_connection(store_url: str, store: Store, log: RevocationLog) -> None:
    """The server ends a blocking read up to a tenth of a second after its time, and is waited for."""
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        await worker.until_polled_again()
        before = await _connections_made(store)
        await worker.until_polled_again(times=4)
        assert await _connections_made(store) == before


async def _connections_made(store: Store) -> int:
    found = await command(store, "INFO", "stats")
    return int(found["total_connections_received"])


async def _published(store: Store, incarnation: str) -> int:
    """The position that this worker has acknowledged."""
    line = await command(store, "HGET", WORKERS, incarnation)
    return int(line.split()[2])


async def _has_published(store: Store, incarnation: str, position: int) -> bool:
    return await _published(store, incarnation) == position


async def test_L4_a_lift_reaches_the_view_and_survives_in_the_snapshot(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        await log.undo(receipt.id)
        assert worker.view.find(ALICE) == 0
        assert worker.entries[-1].kind is Kind.LIFT
        assert (worker.entries[-1].lifted_kind, worker.entries[-1].name) == (Kind.USER, "alice")
    async with following(store_url) as newcomer:
        await newcomer.until_live()
        assert newcomer.view.find(ALICE) == 0
        assert len(newcomer.view) == 1


async def test_L5_a_store_that_was_never_declared_is_lost(store_url: str, log: RevocationLog) -> None:
    async with following(store_url) as worker:
        await worker.until_lost()
        await worker.until_polled_again()
        assert not worker.view.was_live
        await log.declare()
        await worker.until_live()


async def test_L7_a_poisoned_not_before_is_reported_and_not_applied(store_url: str, store: Store, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        future = int(time.time()) + 100_000
        careless = RevocationLog(store, Clock(), 2.0, issuers={"": Lifetimes(skew_s=1_000_000)})
        await careless.revoke(Revocation(Kind.USER, "alice", value=future))
        assert worker.view.find(ALICE) == 0
        assert worker.poisoned
        assert not worker.entries
        async with following(store_url) as newcomer:
            await newcomer.until_live()
            assert newcomer.view.find(ALICE) == 0
            assert newcomer.poisoned


async def test_W1_a_worker_is_a_member_only_once_it_has_applied_the_head(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    assert (await log.revoke(Revocation(Kind.USER, "alice"))).workers == 0
    async with following(store_url) as worker:
        await worker.until_live()
        (member,) = (await log.members()).members
        assert (member.incarnation, member.state, member.position, member.label) == (worker.incarnation, "live", 2, "worker 0")


async def test_W1_a_draining_worker_counts_until_it_leaves(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        worker.follower.drain()

        async def is_draining() -> bool:
            return [member.state for member in (await log.members()).members] == ["draining"]

        await until_awaited(is_draining)
        assert (await log.revoke(Revocation(Kind.USER, "alice"))).enforced_by == 1
        await worker.follower.leave()
        assert (await log.revoke(Revocation(Kind.USER, "alice"))).workers == 0
        assert not worker.is_fresh
        await worker.task
        assert not (await log.members()).members


async def test_W1_a_worker_that_was_struck_registers_again_only_at_the_head(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        assert await log.remove(worker.incarnation)
        await worker.until_polled_again()
        assert (await log.revoke(Revocation(Kind.USER, "alice"))).enforced_by == 1


async def test_W2_a_member_that_hangs_is_fenced_and_has_stopped_itself(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        worker.task.cancel()
        receipt = await log.revoke(Revocation(Kind.USER, "alice"))
        assert (receipt.enforced_by, receipt.fenced, receipt.workers, receipt.complete) == (0, 1, 1, True)
        assert receipt.took_ms >= 1250 * MAX_STALENESS_S
        assert not worker.is_fresh


async def test_T6_the_offset_to_the_store_is_measured_and_a_wrong_clock_is_told(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    clock = SetClock()
    async with following(store_url, clock=clock) as worker:
        await worker.until_live()
        assert worker.follower.is_clock_right
        clock.ahead_s = 10.0
        await worker.until_polled_again()
        assert not worker.follower.is_clock_right
        assert -11 < clock.store_offset_s < -9


async def test_T6_now_never_goes_back() -> None:
    clock = Clock()
    clock._latest = time.time() + 1000
    assert clock.wall() == clock.wall() > time.time()


async def test_a_large_snapshot_is_loaded_whole_while_the_log_goes_on(store_url: str, store: Store, log: RevocationLog) -> None:
    await log.declare()
    script = """
        for i = 1, 20000 do
          local key, none = string.sub(redis.sha1hex(tostring(i)), 1, 16), string.rep('\\0', 16)
          redis.call('HSET', KEYS[1], key, struct.pack('>I8I8I8I8Bc16c16', i, 1900000000, 1, 0, 1, none, none))
        end
    """
    await command(store, "EVAL", script, 1, "gateway:{log}:states")
    async with following(store_url) as worker:
        names = [f"user{number}" for number in range(30)]
        for name in names:
            await _append(log, Revocation(Kind.USER, name))
        await worker.until_live()
        await until(lambda: len(worker.view) == 20_030)
        assert all(worker.view.find(fact_key(Kind.USER, "", name)) for name in names)


async def test_L6_the_store_s_clock_ahead_frees_nothing(store: Store, clock: Clock) -> None:
    """The purge believes the earlier of the two clocks: here ours, an hour behind the expiry that the store has passed."""
    from gateway.revocation.keys import KEYS, PURGE, STATES
    from gateway.store.scripts import run_script

    log = RevocationLog(store, clock, MAX_STALENESS_S)
    await log.declare()
    await log.revoke(Revocation(Kind.TOKEN, "jti", "i", expires_at=time.time() - 1000))
    an_hour_ago = int(time.time()) - 3600
    assert await run_script(store, PURGE, KEYS, [an_hour_ago, 100, 3600]) == [0, 0]
    assert await command(store, "HLEN", STATES) == 1
    assert (await run_script(store, PURGE, KEYS, [int(time.time()) + 9999, 100, 3600]))[0] == 1
    assert await command(store, "HLEN", STATES) == 0


async def test_L2_trimming_is_by_age_leaves_the_head_and_tells_the_floor(store: Store, clock: Clock) -> None:
    from gateway.revocation.keys import KEYS, PURGE
    from gateway.store.scripts import run_script

    log = RevocationLog(store, clock, MAX_STALENESS_S)
    epoch = await log.declare()
    for name in "abcd":
        await log.revoke(Revocation(Kind.USER, name))
    now = int(time.time()) + 10
    assert (await run_script(store, PURGE, KEYS, [now, 100, 3600]))[1] == 0
    assert (await run_script(store, PURGE, KEYS, [now, 100, -3600]))[1] == 4
    assert [position for position, _ in await command(store, "XRANGE", ENTRIES, "-", "+")] == [f"{epoch}-5".encode()]
    assert await command(store, "HGET", RECORD, "floor") == b"5"


async def test_leases_are_written_by_each_poll(store_url: str, store: Store, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url) as worker:
        await worker.until_live()
        before = await command(store, "HGET", WORKERS, worker.incarnation)
        await worker.until_polled_again()
        assert await command(store, "HGET", WORKERS, worker.incarnation) != before


async def test_two_followers_with_the_default_staleness_share_a_store(store_url: str, log: RevocationLog) -> None:
    await log.declare()
    async with following(store_url, max_staleness=2.0) as one, following(store_url, max_staleness=2.0) as two:
        await one.until_live(), await two.until_live()
        receipts = await asyncio.gather(*(log.revoke(Revocation(Kind.TOKEN, f"t{number}", "i")) for number in range(40)))
        assert all((receipt.enforced_by, receipt.workers) == (2, 2) for receipt in receipts)
        assert len(one.entries) == len(two.entries) == 40


def test_a_follower_says_what_it_is_about(clock: Clock) -> None:
    follower = Follower("unix:///nowhere", View(), clock, incarnation="x", max_staleness=2.0)
    assert repr(follower) == "<Follower x empty at None>"


def _refuse(_: Entry) -> None:
    raise RuntimeError("not now")


async def _then_take_no_writes(store: Store, *appends: tuple[Script, list[Argument]]) -> None:
    """Append these, and stop: all in one write, so that nobody is served in between."""
    commands = [("EVAL", script.text, len(KEYS), *KEYS, *arguments) for script, arguments in appends]
    await many_commands(store, [("MULTI",), *commands, ("EXEC",), ("CLIENT", "PAUSE", 600, "WRITE")])


async def _append(log: RevocationLog, revocation: Revocation) -> None:
    """Append without waiting for anybody."""
    revocation = replace(revocation, id=revocation.name.encode().hex().ljust(32, "0"))
    await run_script(log._store, REVOKE, KEYS, log._arguments(revocation))
