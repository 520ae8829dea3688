"""One-time tokens."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from following import Following, following
from store_process import StoreProcess, until

from gateway.clock import Clock
from gateway.errors import StoreUnavailable
from gateway.revocation.log import RevocationLog
from gateway.revocation.once import MARGIN_S, claim_once, once_key
from gateway.store.client import Store, command, connect
from gateway.store.cluster import HOME_SLOT
from gateway.store.cluster_slots import slot_of


@pytest.fixture
async def worker(store_process: StoreProcess) -> AsyncIterator[Following]:
    """One that is live; its store may be lost."""
    client = connect(store_process.url, timeout_s=0.2)
    await RevocationLog(client, Clock(), 1.0).declare()
    async with following(store_process.url) as worker:
        await worker.until_live()
        yield worker
    await client.aclose()


@pytest.fixture
async def client(store_process: StoreProcess) -> AsyncIterator[Store]:
    client = connect(store_process.url, timeout_s=0.2)
    yield client
    await client.aclose()


async def test_T5_a_token_is_used_once_per_route_however_many_ask_at_once(worker: Following, client: Store) -> None:
    view, later = worker.view, time.time() + 100
    answers = await asyncio.gather(*(claim_once(client, view, "i", "jti", "pay", later) for _ in range(25)))
    assert answers.count(True) == 1
    assert await claim_once(client, view, "i", "jti", "order", later)
    assert await claim_once(client, view, "j", "jti", "pay", later)
    assert not await claim_once(client, view, "i", "jti", "pay", later)


async def test_T5_a_use_is_remembered_longer_than_the_token_lives(worker: Following, client: Store) -> None:
    expires_at = time.time() + 100.5
    await claim_once(client, worker.view, "i", "jti", "pay", expires_at)
    assert await command(client, "EXPIRETIME", once_key("i", "jti", "pay")) >= expires_at + MARGIN_S


def test_T5_L8_names_cannot_flow_into_each_other_nor_choose_a_slot() -> None:
    names = [("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd"), ("{x}", "b", "c"), ("", "abc", "d")]
    keys = {once_key(*parts) for parts in names}
    assert len(keys) == len(names)
    assert {slot_of(key) for key in keys} == {HOME_SLOT}, "where the log is, whose server's runs are watched"


async def test_T5_without_an_answer_the_use_is_not_granted(store_process: StoreProcess, worker: Following, client: Store) -> None:
    store_process.freeze()
    with pytest.raises(StoreUnavailable):
        await claim_once(client, worker.view, "i", "jti", "pay", time.time() + 100)
    store_process.thaw()


def empty(process: StoreProcess) -> None:
    process.flush()


def restart_without_the_use(process: StoreProcess) -> None:
    process.command("DEL", once_key("i", "jti", "pay"))
    process.restart()


@pytest.mark.parametrize("forget", [empty, restart_without_the_use])
async def test_T5_a_store_that_forgot_a_use_grants_none_before_the_worker_has_looked_at_it(
    store_process: StoreProcess, worker: Following, client: Store, forget: Callable[[StoreProcess], None]
) -> None:
    view, later, issued_at = worker.view, time.time() + 100, int(time.time())
    assert await claim_once(client, view, "i", "jti", "pay", later)
    async with worker.follower._polling:  # between two polls
        forget(store_process)
        with pytest.raises(StoreUnavailable):
            await claim_once(client, view, "i", "jti", "pay", later)
    await until(lambda: view.uses_since > issued_at and worker.is_fresh)
    assert await claim_once(client, view, "i", "a token of later", "pay", later), "tokens of before are refused by the decision"
