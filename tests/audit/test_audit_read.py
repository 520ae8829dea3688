"""Reading: newest first or onwards, filtered, in pages that neither lose nor repeat, and following what comes."""

import asyncio
import random
import time

import pytest
from auditing import ALICE, NETWORK, NOON, everything, login, trail_of
from patience import PATIENCE_S
from store_process import StoreProcess

from gateway.audit.event import Action, Event
from gateway.audit.keys import STRANGERS, TRAIL
from gateway.audit.read import LARGEST_PAGE, MOST_LOOKED_AT, PORTION, CursorRefused, Query, Reader
from gateway.errors import StoreUnavailable
from gateway.store.client import Store, command, connect

BOB = "bob@example.com"


async def fill(store: Store, count: int, user: str = ALICE) -> None:
    """Events of both streams, in turn and in runs."""
    trail = trail_of(store)
    chance = random.Random(7)
    for number in range(count):
        if chance.random() < 0.5:
            trail.record(login(number, user=user))
        else:
            trail.refused(NOON + 60 * number, "no-token", f"10.0.{number % 200}.0/24")
        if chance.random() < 0.01:
            await trail.flush()
    await trail.flush()


async def ids(store: Store) -> list[str]:
    found = [await command(store, "XRANGE", stream, "-", "+") for stream in (TRAIL, STRANGERS)]
    pairs = [entry[0].decode().split("-") for entries in found for entry in entries]
    return [f"{ms}-{number}" for ms, number in sorted((int(ms), int(number)) for ms, number in pairs)]


async def test_one_event_is_found_by_its_id_in_either_stream(store: Store):
    await fill(store, 40)
    reader = Reader(store)
    found = [await reader.find(identifier) for identifier in await ids(store)]
    assert [one and one.id for one in found] == await ids(store)
    assert found == (await everything(store))
    assert await reader.find("5-5") is None
    with pytest.raises(CursorRefused):
        await reader.find("five")


async def test_an_empty_trail_is_an_empty_page(store: Store):
    page = await Reader(store).newest(Query())
    assert (page.events, page.cursor) == ((), None)
    assert await Reader(store).position() == "0-0"


@pytest.mark.parametrize("limit", [1, 7, 100, PORTION, 1000])
async def test_pages_backwards_lose_and_repeat_nothing(store: Store, limit: int):
    count = 90 if limit == 1 else 3 * PORTION
    await fill(store, count)
    reader, found, cursor = Reader(store), [], None
    while True:
        page = await reader.newest(Query(), cursor, limit)
        found += [one.id for one in page.events]
        assert len(page.events) <= limit
        if (cursor := page.cursor) is None:
            break
    assert found == (await ids(store))[::-1]
    assert len(found) == count


@pytest.mark.parametrize("limit", [1, 7, 100, PORTION, 1000])
async def test_pages_onwards_lose_and_repeat_nothing(store: Store, limit: int):
    count = 90 if limit == 1 else 3 * PORTION
    await fill(store, count)
    reader, found, cursor = Reader(store), [], "0-0"
    while True:
        page = await reader.following(Query(), cursor, limit)
        found += [one.id for one in page.events]
        if not page.events:
            break
        assert page.cursor is not None
        cursor = page.cursor
    assert found == await ids(store)


async def test_the_last_page_says_so_even_when_it_is_full(store: Store):
    await fill(store, 20)
    page = await Reader(store).newest(Query(), None, 20)
    assert (len(page.events), page.cursor) == (20, None)


async def test_by_user_and_by_action(store: Store):
    trail = trail_of(store)
    for number in range(20):
        trail.record(login(number, user=ALICE if number % 2 else BOB))
        trail.record(Event(NOON, Action.LOGOUT, user=ALICE, text='"a":"login"'))
    await trail.flush()
    assert {one.event.user for one in await everything(store, Query(user=BOB))} == {BOB}
    assert len(await everything(store, Query(user=BOB))) == 10
    assert len(await everything(store, Query(action=Action.LOGIN))) == 20, "a text that looks like an action is none"
    assert len(await everything(store, Query(user=ALICE, action=Action.LOGOUT))) == 20
    assert await everything(store, Query(user="nobody")) == []
    assert await everything(store, Query(action=Action.PURGE)) == []


async def test_since_and_until_go_by_when_it_was_written(store: Store):
    for number in range(10):
        await command(
            store, "XADD", TRAIL, f"{1000 * number}-1", "event", f'{{"t":{number},"a":"purge","o":"success"}}', "user", ""
        )
    assert [one.event.time for one in await everything(store, Query(since=7.0))] == [7, 8, 9]
    assert [one.event.time for one in await everything(store, Query(since=3.0, until=5.0))] == [3, 4, 5]
    page = await Reader(store).following(Query(since=8.0))
    assert [one.event.time for one in page.events] == [8, 9]


async def test_a_page_looks_at_a_limited_number_of_events(store: Store):
    trail = trail_of(store, max_length=100_000, longest_buffer=100_000)
    trail.record(login(user=BOB))
    for number in range(MOST_LOOKED_AT + 2000):
        trail.record(login(number))
    await trail.flush()
    reader = Reader(store)
    first = await reader.newest(Query(user=BOB))
    assert first.events == ()
    assert first.cursor is not None, "short, and still not the last one"
    second = await reader.newest(Query(user=BOB), first.cursor)
    assert ([one.event.user for one in second.events], second.cursor) == ([BOB], None)


async def test_a_page_has_a_largest_size(store: Store):
    await fill(store, LARGEST_PAGE + 100)
    assert len((await Reader(store).newest(Query(), None, 10**9)).events) == LARGEST_PAGE
    assert len((await Reader(store).following(Query(), "0-0", 10**9)).events) == LARGEST_PAGE
    assert len((await Reader(store).newest(Query(), None, -5)).events) == 1


@pytest.mark.parametrize("cursor", ["", "5", "x-y", "1-1-1", "-1-0", "+", "$", "0-0\n", "1" * 40 + "-0", "٣-٣"])
async def test_a_cursor_that_is_none_is_refused(store: Store, cursor: str):
    for read in (Reader(store).newest, Reader(store).following):
        with pytest.raises(CursorRefused):
            await read(Query(), cursor)


async def test_following_waits_for_what_comes(store: Store):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    reader = Reader(store)
    cursor = await reader.position()
    waiting = asyncio.create_task(reader.following(Query(), cursor, wait_s=10.0))
    trail.record(login(1))
    trail.refused(NOON, "no-token", NETWORK)
    while not waiting.done():
        await trail.flush()
        await asyncio.sleep(0)
    page = await waiting
    later = await reader.following(Query(), page.cursor)
    assert [str(one.event.action) for one in (*page.events, *later.events)] == ["login", "refusal"]
    assert page.events[0].event.user == ALICE


async def test_following_without_a_cursor_begins_now(store: Store):
    await fill(store, 30)
    page = await Reader(store).following(Query())
    assert (page.events, page.cursor) == ((), (await ids(store))[-1])


async def test_following_ends_when_nothing_comes(store: Store):
    await fill(store, 5)
    started = time.perf_counter()
    async with asyncio.timeout(PATIENCE_S):
        page = await Reader(store).following(Query(), wait_s=0.7)
    assert page.events == ()
    assert time.perf_counter() - started > 0.6


async def test_following_a_user_of_whom_nothing_is_known_yet(store: Store):
    await fill(store, 5)
    trail = trail_of(store)
    reader = Reader(store)
    waiting = asyncio.create_task(reader.following(Query(user=BOB), await reader.position(), wait_s=10.0))
    await asyncio.sleep(0)
    trail.record(login())
    trail.record(login(user=BOB))
    await trail.flush()
    page = await waiting
    assert [one.event.user for one in page.events] == [BOB]


async def test_a_reader_who_is_left_alone_by_the_store_says_so(store_process: StoreProcess):
    store = connect(store_process.url)
    store_process.kill()
    for read in (Reader(store).newest, Reader(store).following):
        with pytest.raises(StoreUnavailable):
            await read(Query())
    await store.aclose()
