"""Several facts under one id, lifting a fact whoever said it, and news that are no facts."""

import asyncio
from dataclasses import replace

import pytest
from following import MAX_STALENESS_S, following

from gateway.clock import Clock
from gateway.errors import StoreUnavailable
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.keys import NEWS
from gateway.revocation.log import RevocationLog, RevocationRefused
from gateway.revocation.view import View
from gateway.store.client import Store

OURS = "https://gateway.example"
TOKEN = Revocation(Kind.TOKEN, "t-1", OURS, expires_at=2**33)
SESSION = Revocation(Kind.SESSION, "s-1", OURS)
BLOCK = Revocation(Kind.BLOCK, "alice")


@pytest.fixture
async def log(store: Store, clock: Clock) -> RevocationLog:
    made = RevocationLog(store, clock, MAX_STALENESS_S)
    await made.declare()
    return made


async def test_T3_what_is_revoked_together_is_enforced_and_lifted_together(log: RevocationLog, store_url: str) -> None:
    async with following(store_url) as worker:
        await worker.until_live()
        receipt = await log.revoke(TOKEN, SESSION)
        assert receipt.complete
        assert worker.view.find(TOKEN.key) and worker.view.find(SESSION.key)
        await log.undo(receipt.id)
        assert not worker.view.find(TOKEN.key) and not worker.view.find(SESSION.key)


async def test_lifting_what_was_revoked_together_leaves_what_was_revoked_alone(log: RevocationLog, store_url: str) -> None:
    async with following(store_url) as worker:
        await worker.until_live()
        alone = await log.revoke(SESSION)
        together = await log.revoke(TOKEN, SESSION)
        await log.undo(together.id)
        assert worker.view.find(SESSION.key) and not worker.view.find(TOKEN.key)
        await log.undo(alone.id)
        assert not worker.view.find(SESSION.key)


async def test_R5_repeating_it_under_its_id_appends_nothing(log: RevocationLog) -> None:
    await log.revoke(replace(TOKEN, id="ab" * 16), SESSION)
    head = (await log.members()).head
    await log.revoke(replace(TOKEN, id="ab" * 16), SESSION)
    assert (await log.members()).head == head


async def test_a_lift_of_two_can_be_repeated(log: RevocationLog) -> None:
    receipt = await log.revoke(TOKEN, SESSION)
    await log.undo(receipt.id)
    head = (await log.members()).head
    assert (await log.undo(receipt.id)).complete
    assert (await log.members()).head == head


async def test_a_block_is_lifted_however_often_it_was_set(log: RevocationLog, store_url: str) -> None:
    async with following(store_url) as worker:
        await worker.until_live()
        for _ in range(3):
            await log.revoke(BLOCK)
        assert (await log.clear(BLOCK)).complete
        assert not worker.view.find(BLOCK.key)
        with pytest.raises(RevocationRefused):
            await log.clear(BLOCK)
        again = await log.revoke(BLOCK)
        assert worker.view.find(BLOCK.key)
        await log.undo(again.id)
        assert not worker.view.find(BLOCK.key), "what was lifted before does not come back"


async def test_S1_news_reach_every_worker_before_they_are_acknowledged_and_are_no_facts(
    log: RevocationLog, store_url: str
) -> None:
    async with following(store_url) as one, following(store_url) as other:
        await one.until_live()
        await other.until_live()
        receipt = await log.touch(OURS, "a-subject")
        assert (receipt.enforced_by, receipt.workers) == (2, 2)
        for worker in (one, other):
            assert [(entry.kind, entry.issuer, entry.name) for entry in worker.entries] == [(Kind.TOUCH, OURS, "a-subject")]
            assert len(worker.view) == 0


async def test_T4_new_keys_are_read_before_they_are_acknowledged(log: RevocationLog, store_url: str) -> None:
    may_read, reads = asyncio.Event(), []

    async def read_ring() -> None:
        await may_read.wait()
        reads.append(True)

    may_read.set()
    async with following(store_url, on_ring=read_ring) as worker:
        await worker.until_live()
        assert len(reads) == 1, "a snapshot reads them too"
        may_read.clear()
        changing = asyncio.create_task(log.append_and_wait(NEWS, ["an-entry", Kind.RING.value, "{}"], "cd" * 16))
        done, _ = await asyncio.wait([changing], timeout=0.2)
        assert not done
        may_read.set()
        assert (await changing).enforced_by == 1
        assert len(reads) == 2


async def test_T4_new_keys_that_cannot_be_read_are_not_acknowledged(store: Store, clock: Clock, store_url: str) -> None:
    log = RevocationLog(store, clock, MAX_STALENESS_S, deadline_s=MAX_STALENESS_S / 2)
    await log.declare()
    is_away, tries = False, []

    async def read_ring() -> None:
        tries.append(True)
        if is_away:
            raise StoreUnavailable("not now")

    async with following(store_url, on_ring=read_ring) as worker:
        await worker.until_live()
        is_away = True
        change = ["an-entry", Kind.RING.value, "{}"]
        assert (await log.append_and_wait(NEWS, change, "cd" * 16)).enforced_by == 0
        assert len(tries) > 2
        is_away = False
        await worker.until_live()
        assert (await log.append_and_wait(NEWS, change, "ef" * 16)).enforced_by == 1


def test_R5_what_is_enforced_locally_is_found_and_not_lifted_by_the_log() -> None:
    view = View()
    view.enforce_locally(SESSION.key, 1000, 2**33)
    assert view.find(SESSION.key) == 1000
    assert view.revision == 1
