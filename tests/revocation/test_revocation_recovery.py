"""A lost store and two workers: they notice, write back what they hold, and go on in a new epoch without an operator [L5]."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest
from following import MAX_STALENESS_S, Following, following
from store_process import StoreProcess, until

from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.revocation.entry import Kind, Revocation, fact_key
from gateway.revocation.keys import ENTRIES, RECORD, STATES
from gateway.revocation.log import RevocationLog
from gateway.revocation.receipt import Receipt
from gateway.revocation.state import State
from gateway.revocation.view import NUMBERS, Fact
from gateway.store.client import Store, command, connect

ALICE = Revocation(Kind.USER, "alice")
TOKEN = Revocation(Kind.TOKEN, "t-1", "https://idp.example", expires_at=2**33)
SESSION = Revocation(Kind.SESSION, "s-1", "https://idp.example")
VERSION = Revocation(Kind.VERSION, "sub", value=7, expires_at=2**33)
BLOCK = Revocation(Kind.BLOCK, "mallory")
KEY = Revocation(Kind.KEY, "kid-1")
FACTS = (ALICE, TOKEN, SESSION, VERSION, BLOCK, KEY)


@dataclass
class Pair:
    """Two workers on one store."""

    process: StoreProcess
    client: Store
    log: RevocationLog
    one: Following
    two: Following

    @property
    def both(self) -> tuple[Following, Following]:
        return self.one, self.two

    @property
    def recoveries(self) -> int:
        return sum(worker.follower.statistics.recoveries for worker in self.both)

    async def until_in_another_epoch(self, epoch: str) -> None:
        await until(lambda: all(worker.is_fresh and worker.view.epoch != epoch for worker in self.both))


@asynccontextmanager
async def pair(process: StoreProcess) -> AsyncIterator[Pair]:
    client = connect(process.url)
    log = RevocationLog(client, Clock(), MAX_STALENESS_S)
    await log.declare()
    async with following(process.url) as one, following(process.url) as two:
        await one.until_live()
        await two.until_live()
        yield Pair(process, client, log, one, two)
    await client.aclose()


async def revoke_all(log: RevocationLog) -> list[Receipt]:
    return list(await asyncio.gather(*(log.revoke(fact) for fact in FACTS)))


def at_sequence(revocation: Revocation, sequence: int) -> Fact:
    return Fact(revocation.key, int(Clock().wall()), 2**33, sequence, 0, NUMBERS[revocation.kind])


class HeldUp(asyncio.Lock):
    """A lock whose holder waits for something else first."""

    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._before = before

    async def acquire(self) -> Literal[True]:
        await self._before()
        return await super().acquire()


def holds_all(worker: Following) -> bool:
    return all(worker.view.find(fact.key) for fact in FACTS)


async def empty(at: Pair) -> None:
    await command(at.client, "FLUSHALL")


async def restart_empty(at: Pair) -> None:
    at.process.flush()
    at.process.restart()


async def delete_the_record(at: Pair) -> None:
    await command(at.client, "DEL", RECORD)


LOSSES = [empty, restart_empty, delete_the_record]


@pytest.mark.parametrize("lose", LOSSES)
async def test_L5_what_an_emptied_store_lost_is_written_back_and_all_goes_on(
    store_process: StoreProcess, lose: Callable[[Pair], Awaitable[None]]
) -> None:
    async with pair(store_process) as at:
        await revoke_all(at.log)
        epoch, since = at.one.view.epoch, at.one.view.complete_since
        await lose(at)
        await at.until_in_another_epoch(epoch)
        assert at.one.view.epoch == at.two.view.epoch
        assert at.recoveries == 1, "they met in one epoch"
        assert all(holds_all(worker) for worker in at.both)
        assert at.one.view.complete_since == since, "nothing was lost, so nobody need sign in again"
        receipt = await at.log.revoke(Revocation(Kind.SESSION, "later"))
        assert (receipt.enforced_by, receipt.workers, receipt.complete) == (2, 2, True)
        async with following(store_process.url) as newcomer:
            await newcomer.until_live()
            assert holds_all(newcomer)
            assert newcomer.view.find(VERSION.key) == 7
            assert newcomer.view.complete_since == since


async def test_L5_facts_that_were_written_back_can_be_lifted(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        await at.log.revoke(BLOCK)
        await empty(at)
        await at.until_in_another_epoch(at.one.view.epoch)
        await at.log.clear(BLOCK)
        assert not any(worker.view.find(BLOCK.key) for worker in at.both)


async def test_L5_a_store_restored_from_an_older_dump_gets_what_came_after_it(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        await at.log.revoke(BLOCK)
        older = store_process.keep_copy()
        await revoke_all(at.log)
        epoch = at.one.view.epoch
        store_process.roll_back(older)
        await at.until_in_another_epoch(epoch)
        assert all(holds_all(worker) for worker in at.both)
        async with following(store_process.url) as newcomer:
            await newcomer.until_live()
            assert holds_all(newcomer)


async def test_L5_two_branches_of_a_forked_log_become_one(store_process: StoreProcess) -> None:
    """A failover dropped an entry that one worker has, and another entry took its number."""
    async with pair(store_process) as at:
        at.one.task.cancel()  # hangs
        await at.log.revoke(ALICE)
        epoch = at.one.view.epoch
        script = """
            local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 2)
            redis.call('XDEL', KEYS[1], entries[1][1])
            redis.call('HSET', KEYS[2], 'head', 1, 'head_id', entries[2][2][2])
            redis.call('DEL', KEYS[3])
        """
        await command(at.client, "EVAL", script, 3, ENTRIES, RECORD, STATES)
        await at.log.revoke(BLOCK)
        async with following(store_process.url) as other_branch:
            await until(lambda: at.two.is_fresh and at.two.view.epoch != epoch)
            await until(lambda: other_branch.is_fresh and other_branch.view.epoch == at.two.view.epoch)
            for worker in (at.two, other_branch):
                assert worker.view.find(ALICE.key) and worker.view.find(BLOCK.key)


async def test_L5_nobody_is_live_before_all_members_were_heard_or_have_stopped_themselves(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        await at.log.revoke(ALICE)
        at.two.task.cancel()  # hangs, and serves until its proof is too old
        epoch = at.one.view.epoch
        await empty(at)
        seen_fresh = []
        await until(lambda: at.recoveries == 1)
        revoking = asyncio.create_task(at.log.revoke(BLOCK))

        def is_over() -> bool:
            seen_fresh.append(at.two.is_fresh)
            return at.one.is_fresh and at.one.view.epoch != epoch

        await until(is_over)
        assert any(seen_fresh), "it was waited for"
        assert not at.two.is_fresh
        receipt = await revoking
        assert (receipt.workers, receipt.complete) == (2, True), "the silent one may have been deciding"
        assert at.one.view.find(BLOCK.key)


async def test_L5_who_comes_late_has_his_facts_enforced_by_all(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        at.two.task.cancel()
        await at.log.revoke(ALICE)
        epoch = at.one.view.epoch
        at.two.view.merge([at_sequence(BLOCK, 99)])  # an acknowledged fact that no other worker has
        await empty(at)
        await until(lambda: at.one.is_fresh and at.one.view.epoch != epoch)
        assert not at.one.view.find(BLOCK.key)
        late = asyncio.create_task(at.two.follower.run())
        try:
            await until(lambda: at.two.is_fresh)
            assert at.two.view.epoch == at.one.view.epoch
            await until(lambda: bool(at.one.view.find(BLOCK.key)))
            assert at.two.view.find(ALICE.key)
            assert [entry.kind for entry in at.one.entries][-1] is Kind.BLOCK, "live connections are told"
        finally:
            late.cancel()


async def test_L5_without_one_who_can_vouch_for_it_the_log_is_complete_since_now(store_process: StoreProcess) -> None:
    """The store was away for longer than a proof is good for, a member is missing, and it comes back empty."""
    async with pair(store_process) as at:
        await at.log.revoke(ALICE)
        at.two.task.cancel()
        lost_at = Clock().wall()
        store_process.kill()
        await until(lambda: not at.one.is_fresh)
        store_process.start()
        store_process.flush()
        await at.one.until_live()
        assert at.one.view.find(ALICE.key)
        assert at.one.view.complete_since > lost_at


async def test_T5_uses_of_one_time_tokens_that_the_store_lost_are_complete_since_the_loss(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        assert at.one.view.uses_since == 0.0
        lost_at = int(Clock().wall())
        await empty(at)
        await at.until_in_another_epoch(at.one.view.epoch)
        assert all(worker.view.uses_since > lost_at for worker in at.both)


async def test_T5_a_server_that_restarted_with_its_log_may_have_dropped_the_last_uses(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        epoch, restarted_at = at.one.view.epoch, int(Clock().wall())
        store_process.restart()
        await until(lambda: all(worker.view.uses_since > restarted_at and worker.is_fresh for worker in at.both))
        assert at.one.view.epoch == epoch and at.one.view.complete_since == 0.0, "the log itself is whole"


async def test_L5_an_operator_s_declaration_is_followed_and_given_what_was_known(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        await revoke_all(at.log)
        epoch = at.one.view.epoch
        script = """
            redis.call('FLUSHALL')
            redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'head', 1, 'head_id', 'first')
            redis.call('HSET', KEYS[1], 'floor', 1, 'complete_since', 0, 'log', 'another')
            redis.call('XADD', KEYS[2], ARGV[1]..'-1', 'id', 'first', 'before', '')
        """
        declared = str(((int(Clock().wall()) + 1) * 1000) << 11)
        await command(at.client, "EVAL", script, 2, RECORD, ENTRIES, declared)
        await at.until_in_another_epoch(epoch)
        assert at.recoveries == 0
        assert at.one.view.complete_since > 0, "nobody has vouched for what was before"
        async with following(store_process.url) as newcomer:
            await newcomer.until_live()
            assert holds_all(newcomer)


async def test_L5_somebody_else_s_store_is_not_written_to(store_process: StoreProcess) -> None:
    """Another gateway's log, older than ours: it is no answer to the loss of ours, and no dump of it either."""
    async with pair(store_process) as at:
        await revoke_all(at.log)
        epoch = at.one.view.epoch
        ours = store_process.keep_copy()
        await command(at.client, "HSET", RECORD, "log", "another", "epoch", str(int(epoch) - (1 << 20)))
        before = await command(at.client, "HGETALL", RECORD)
        for worker in at.both:
            await worker.until_lost()
            await worker.until_polled_again(4)
            assert worker.view.state is State.LOST and holds_all(worker)
        assert await command(at.client, "HGETALL", RECORD) == before
        store_process.roll_back(ours)
        for worker in at.both:
            await worker.until_live()
            assert worker.view.epoch == epoch


async def test_L5_an_older_epoch_of_our_log_is_a_dump_of_it_and_gets_what_came_after(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        older = store_process.keep_copy()
        await at.log.declare(again=True)
        await until(lambda: at.one.is_fresh and at.two.is_fresh)
        await revoke_all(at.log)
        epoch = at.one.view.epoch
        store_process.roll_back(older)
        await at.until_in_another_epoch(epoch)
        assert at.recoveries == 1 and int(at.one.view.epoch) > int(epoch)
        async with following(store_process.url) as newcomer:
            await newcomer.until_live()
            assert holds_all(newcomer)


async def test_L5_who_was_never_live_begins_nothing(store_process: StoreProcess) -> None:
    async with following(store_process.url) as newcomer:
        await newcomer.until_lost()
        await newcomer.until_polled_again(3)
        assert not store_process.command("EXISTS", RECORD)


async def test_L5_a_revocation_that_the_store_lost_before_anybody_read_it_is_appended_again(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:

        async def hold_up() -> None:
            await until(lambda: is_let_go)

        is_let_go = False
        for worker in at.both:  # they do not read the entry before the store has lost it
            worker.follower._polling = HeldUp(hold_up)
        revoking = asyncio.create_task(at.log.revoke(ALICE))
        await until(lambda: store_process.command("XLEN", ENTRIES) == 2)
        await empty(at)
        is_let_go = True
        receipt = await revoking
        assert (receipt.enforced_by, receipt.workers, receipt.complete) == (2, 2, True)
        assert all(worker.view.find(ALICE.key) for worker in at.both)


async def test_L5_a_restarted_server_is_not_believed_before_all_members_have_shown_their_entries(
    store_process: StoreProcess,
) -> None:
    """It lost the tail that one of them has; the other cannot miss it."""
    async with pair(store_process) as at:
        older = store_process.keep_copy()
        at.one.task.cancel()
        await at.log.revoke(ALICE)
        assert at.two.view.find(ALICE.key) and not at.one.view.find(ALICE.key)
        async with AsyncExitStack() as held:
            await held.enter_async_context(at.two.follower._polling)
            again = asyncio.create_task(at.one.follower.run())
            store_process.roll_back(older)
            polls = at.one.follower.statistics.polls
            await until(lambda: at.one.follower.statistics.polls > polls + 3)
            proven_at = at.one.view.proven_at
            await until(lambda: at.one.follower.statistics.polls > polls + 8)
            assert at.one.view.proven_at == proven_at, "it is waiting for the other"
        await until(lambda: at.one.is_fresh and at.two.is_fresh and bool(at.one.view.find(ALICE.key)))
        again.cancel()


async def test_L5_a_store_that_is_lost_again_and_again_forgets_nothing(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        await revoke_all(at.log)
        for number in range(3):
            epoch = at.one.view.epoch
            await empty(at)
            await at.until_in_another_epoch(epoch)
            await at.log.revoke(Revocation(Kind.SESSION, f"s{number}"))
        for worker in at.both:
            assert holds_all(worker)
            assert all(worker.view.find(fact_key(Kind.SESSION, "", f"s{number}")) for number in range(3))


async def test_while_they_write_back_a_lift_is_not_told_as_unknown(store_process: StoreProcess) -> None:
    async with pair(store_process) as at:
        receipt = await at.log.revoke(BLOCK)
        await command(at.client, "HSET", RECORD, "phase", "merge", "waiting", "9000 0 x")
        with pytest.raises(StoreError):
            await at.log.undo(receipt.id)
        with pytest.raises(StoreError):
            await at.log.clear(BLOCK)


async def test_L5_a_log_that_is_declared_again_is_complete_since_now_though_nothing_is_left_of_it(store: Store) -> None:
    log, declared_at = RevocationLog(store, Clock(), MAX_STALENESS_S), Clock().wall()
    await log.declare(again=True)
    assert float(await command(store, "HGET", RECORD, "complete_since")) > declared_at


async def test_L5_a_worker_without_history_trusts_no_declaration_that_came_after_what_its_host_saw(
    store_url: str, store: Store
) -> None:
    log = RevocationLog(store, Clock(), MAX_STALENESS_S)
    seen = int(await log.declare())
    await command(store, "FLUSHALL")
    declared_at = int(Clock().wall())
    await log.declare()
    async with following(store_url, log_seen=(seen, 1)) as newcomer:
        await newcomer.until_live()
        assert newcomer.view.complete_since >= declared_at
