"""One-time tokens."""

import asyncio
import time

import pytest
from store_process import StoreProcess

from gateway.errors import StoreUnavailable
from gateway.store.client import Store, command, connect
from gateway.store.cluster import HOME_SLOT
from gateway.store.cluster_slots import slot_of
from gateway.store.once import MARGIN_S, claim_once, once_key


async def test_T5_a_token_is_used_once_per_route_however_many_ask_at_once(store: Store) -> None:
    later = time.time() + 100
    answers = await asyncio.gather(*(claim_once(store, "i", "jti", "pay", later) for _ in range(25)))
    assert answers.count(True) == 1
    assert await claim_once(store, "i", "jti", "order", later)
    assert await claim_once(store, "j", "jti", "pay", later)
    assert not await claim_once(store, "i", "jti", "pay", later)


async def test_T5_a_use_is_remembered_longer_than_the_token_lives(store: Store) -> None:
    expires_at = time.time() + 100.5
    await claim_once(store, "i", "jti", "pay", expires_at)
    assert await command(store, "EXPIRETIME", once_key("i", "jti", "pay")) >= expires_at + MARGIN_S


def test_T5_L8_names_cannot_flow_into_each_other_nor_choose_a_slot() -> None:
    names = [("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd"), ("{x}", "b", "c"), ("", "abc", "d")]
    keys = {once_key(*parts) for parts in names}
    assert len(keys) == len(names)
    assert {slot_of(key) for key in keys} == {HOME_SLOT}, "where the log is, whose server's runs are watched"


async def test_T5_without_an_answer_the_use_is_not_granted(store_process: StoreProcess) -> None:
    client = connect(store_process.url, timeout_s=0.2)
    store_process.freeze()
    with pytest.raises(StoreUnavailable):
        await claim_once(client, "i", "jti", "pay", time.time() + 100)
    store_process.thaw()
    await client.aclose()
