"""The second bound: age. Events leave, then the names that no event speaks of; nothing younger does."""

import time

from auditing import ALICE, everything, login, trail_of

from gateway.audit.erase import erase
from gateway.audit.event import Action, Event
from gateway.audit.keys import FORGOTTEN, NAMES, PEOPLE, SEEN, STRANGERS, TRAIL, digest_of
from gateway.audit.purge import PORTION, Purged, purge
from gateway.store.client import Store, command

KEEP_S = 3600.0
EVENT = '{"t":1,"a":"purge","o":"success"}'


async def written_ago(store: Store, seconds: float, stream: str = TRAIL, count: int = 1) -> None:
    """Events as if they had been appended then; to be called from the oldest on."""
    milliseconds = int((time.time() - seconds) * 1000)
    pipeline = store.pipeline(transaction=False)
    for _ in range(count):
        pipeline.execute_command("XADD", stream, f"{milliseconds}-*", "event", EVENT, "user", "")
    await pipeline.execute()


async def test_events_leave_by_age(store: Store):
    for stream in (TRAIL, STRANGERS):
        await written_ago(store, KEEP_S + 60, stream, 30)
        await written_ago(store, KEEP_S - 60, stream, 5)
    assert await purge(store, keep_s=KEEP_S) == Purged(events=60, names=0, erasures=0)
    assert len(await everything(store)) == 10
    assert await purge(store, keep_s=KEEP_S) == Purged(0, 0, 0)


async def test_many_events_leave_in_portions(store: Store):
    await written_ago(store, KEEP_S + 60, count=3 * PORTION + 7)
    await written_ago(store, KEEP_S - 60, count=1)
    before = await scripts_run(store)
    assert (await purge(store, keep_s=KEEP_S)).events == 3 * PORTION + 7
    assert await scripts_run(store) - before >= 4
    assert len(await everything(store)) == 1


async def scripts_run(store: Store) -> int:
    statistics = await command(store, "INFO", "commandstats")
    return sum(int(statistics.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("eval", "evalsha"))


async def test_a_person_no_event_speaks_of_is_forgotten(store: Store):
    trail = trail_of(store)
    trail.record(login())
    trail.record(login(user="bob@example.com"))
    await trail.flush()
    await command(store, "ZADD", SEEN, time.time() - KEEP_S - 60, digest_of(ALICE))
    assert (await purge(store, keep_s=KEEP_S)).names == 1
    assert await command(store, "HVALS", NAMES) == [b"bob@example.com"]
    assert await command(store, "HKEYS", PEOPLE) == [digest_of("bob@example.com").encode()]
    assert await command(store, "ZCARD", SEEN) == 1


async def test_a_person_who_is_still_spoken_of_keeps_the_name(store: Store):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    await command(store, "ZADD", SEEN, time.time() - KEEP_S - 60, digest_of(ALICE))
    trail.record(login(1))
    await trail.flush()
    assert (await purge(store, keep_s=KEEP_S)).names == 0
    assert [one.event.user for one in await everything(store)] == [ALICE, ALICE]


async def test_erasures_are_forgotten_in_their_time(store: Store):
    await erase(store, Event(1.0, Action.ERASED, user=ALICE), keep_s=KEEP_S)
    assert (await purge(store, keep_s=KEEP_S, forgotten_s=600)).erasures == 0
    await command(store, "ZADD", FORGOTTEN, time.time() - 700, digest_of(ALICE))
    assert (await purge(store, keep_s=KEEP_S, forgotten_s=600)).erasures == 1
    assert await command(store, "EXISTS", FORGOTTEN) == 0


async def test_an_empty_store_has_nothing_to_purge(store: Store):
    assert await purge(store, keep_s=KEEP_S) == Purged(0, 0, 0)
    assert await command(store, "KEYS", "*") == []


async def test_writing_goes_on_after_everything_was_purged(store: Store):
    """An emptied stream remembers its last id; what comes next must lie behind it."""
    await command(store, "XADD", TRAIL, f"{int(time.time() * 1000) + 100_000}-7", "event", EVENT, "user", "")
    await command(store, "XTRIM", TRAIL, "MAXLEN", 0)
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    assert [one.event.user for one in await everything(store)] == [ALICE]
