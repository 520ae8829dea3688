"""The index of all sessions: counted, purged, ended after a leak. On a real store."""

import time

import pytest
from session_making import RULES, login, sessions
from store_process import StoreProcess

from gateway.errors import StoreUnavailable
from gateway.sessions.everyone import PAGE
from gateway.sessions.keys import ALL, index_key, record_key
from gateway.sessions.model import Record, new_session_id, new_subject
from gateway.sessions.rotation import Presented
from gateway.sessions.stored import over_at
from gateway.store.client import Store, command, connect


async def opened(store: Store, count: int) -> list[Record]:
    return [(await sessions(store).create(login())).record for _ in range(count)]


async def score_of(store: Store, sid: str) -> float | None:
    score = await command(store, "ZSCORE", ALL, sid)
    return None if score is None else float(score)


async def test_sessions_are_counted_from_login_to_removal(store: Store) -> None:
    assert await sessions(store).count() == 0
    records = await opened(store, 3)
    assert await sessions(store).count() == 3
    await sessions(store).remove([records[0].sid])
    assert await sessions(store).count() == 2


async def test_the_purge_drops_from_every_index_what_has_expired_and_only_that(store: Store) -> None:
    gone, lives = await opened(store, 2)
    await command(store, "DEL", record_key(gone.sid))
    later = gone.refresh_expires + 3600
    assert await sessions(store).everyone.purge(time.time()) == (), "nothing is due"
    assert await sessions(store).everyone.purge(later) == (gone.sid,)
    assert await sessions(store).count() == 1
    assert not await command(store, "EXISTS", index_key(gone.sub))
    assert await sessions(store).fetch(lives.sid) == lives
    assert await sessions(store).sids(lives.sub) == (lives.sid,)


async def test_the_purge_gives_a_session_that_was_refreshed_its_new_time(store: Store) -> None:
    (record,) = await opened(store, 1)
    await command(store, "ZADD", ALL, 1, record.sid)  # a week ago it was to be over by now
    rotated = (await sessions(store).rotate(record.sid, Presented(1, 1))).record
    assert rotated is not None
    assert await sessions(store).everyone.purge(time.time()) == ()
    assert await score_of(store, record.sid) == over_at(rotated.refresh_expires, rotated.access_expires)


async def test_a_purge_by_a_clock_that_runs_ahead_ends_nobody_and_comes_to_an_end(store: Store) -> None:
    records = await opened(store, 3)
    far = time.time() + 10 * RULES.session_ttl_s
    assert await sessions(store).everyone.purge(far) == ()
    for record in records:
        assert await sessions(store).fetch(record.sid) == record
        score = await score_of(store, record.sid)
        assert score is not None and score > far


async def test_the_purge_goes_through_many_pages_and_stops_at_its_limit(store: Store) -> None:
    members = [part for _ in range(3 * PAGE) for part in (1, new_session_id(new_subject()))]
    await command(store, "ZADD", ALL, *members)
    assert len(await sessions(store).everyone.purge(time.time(), limit=PAGE)) == PAGE
    assert len(await sessions(store).everyone.purge(time.time())) == 2 * PAGE
    assert await sessions(store).count() == 0


async def test_S37_the_purge_drops_damaged_records_and_strange_names(store: Store) -> None:
    damaged, other_type = await opened(store, 2)
    await command(store, "HSET", record_key(damaged.sid), "refresh_expires", "x")
    await command(store, "SET", record_key(other_type.sid), "x")
    await command(store, "ZADD", ALL, 1, damaged.sid, 1, other_type.sid, 1, "no session", 1, b"\xff", 1, "{x}.y")
    assert set(await sessions(store).everyone.purge(time.time())) == {damaged.sid, other_type.sid}
    assert await command(store, "DBSIZE") == 0


async def test_after_a_leak_every_session_goes_however_many(store: Store) -> None:
    """1200 records in several pages, removed while the index is being read."""
    sids = [new_session_id(new_subject()) for _ in range(1200)]
    for at in range(0, len(sids), 100):
        for sid in sids[at : at + 100]:
            await command(store, "HSET", record_key(sid), "schema", "1")
        await command(store, "ZADD", ALL, *[part for sid in sids[at : at + 100] for part in (9e9, sid)])
    records = await opened(store, 2)
    assert await sessions(store).everyone.remove_all() == 1202
    assert await command(store, "DBSIZE") == 0
    assert await sessions(store).fetch(records[0].sid) is None
    assert await sessions(store).everyone.remove_all() == 0


async def test_every_session_is_named_in_pages(store: Store) -> None:
    records = await opened(store, 5)
    named = [sid async for page in sessions(store).everyone.pages(2) for sid in page]
    assert set(named) == {record.sid for record in records}


async def test_a_store_that_hangs_purges_nothing(store_process: StoreProcess) -> None:
    client = connect(store_process.url, timeout_s=0.2)
    await opened(client, 1)
    store_process.freeze()
    for asking in (sessions(client).everyone.purge(9e9), sessions(client).everyone.remove_all(), sessions(client).count()):
        with pytest.raises(StoreUnavailable):
            await asking
    store_process.thaw()
    await client.aclose()
