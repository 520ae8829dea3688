"""What a worker remembers of sessions [S1]."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_making import CAFE, HOME

from gateway.sessions.cache import ABSENT, NEGATIVE_S, Entry, SessionCache
from gateway.sessions.model import FirstUse, Record, Use, new_session_id, new_subject

SUB = new_subject()
NOW = 5000.0


def record_of(sid: str = "", revision: int = 1) -> Record:
    sid = sid or new_session_id(SUB)
    sub = sid.partition(".")[0]
    return Record(sid, sub, "alice", 1, (), "cookie", 0.0, 9e9, 1, 1, 0.0, 9e9, 9e9, b"s" * 32, revision, last_network=HOME)


def keep(cache: SessionCache, record: Record, now: float = NOW) -> Entry:
    assert cache.keep(cache.begin(record.sid), record, now)
    return found(cache, record.sid)


def found(cache: SessionCache, sid: str, now: float = NOW) -> Entry:
    entry = cache.find(sid, now)
    assert isinstance(entry, Entry)
    return entry


def test_what_was_kept_is_found_until_it_is_evicted() -> None:
    cache, record = SessionCache(), record_of()
    assert cache.find(record.sid, NOW) is None
    entry = keep(cache, record)
    assert found(cache, record.sid) is entry
    assert (entry.record, entry.fetched_at, entry.is_dirty, len(cache)) == (record, NOW, False, 1)
    cache.evict(record.sid)
    assert cache.find(record.sid, NOW) is None
    assert entry.is_dirty, "who holds it must not go on with it"


@pytest.mark.parametrize("reply", [record_of(f"{SUB}.a"), None], ids=["a record", "none"])
@pytest.mark.parametrize("change", ["evict", "evict_user", "clear"])
def test_S1_a_reply_that_was_read_before_a_change_is_not_kept(change: str, reply: Record | None) -> None:
    cache, sid = SessionCache(), f"{SUB}.a"
    marker = cache.begin(sid)
    if change == "evict":
        cache.evict(sid)
    elif change == "evict_user":
        cache.evict_user(SUB)
    else:
        cache.clear()
    assert not cache.keep(marker, reply, NOW)
    assert cache.find(sid, NOW) is None
    assert cache.keep(cache.begin(sid), reply, NOW), "what is asked afterwards is kept"


def test_S1_changes_of_others_and_from_before_the_question_make_no_reply_dirty() -> None:
    cache, record = SessionCache(), record_of()
    cache.evict(record.sid)
    cache.evict_user(SUB)
    cache.clear()
    marker = cache.begin(record.sid)
    cache.evict(new_session_id(SUB))
    cache.evict_user(new_subject())
    assert cache.keep(marker, record, NOW)


def test_S1_every_reply_on_its_way_is_dirty_not_only_the_first() -> None:
    cache, record = SessionCache(), record_of()
    markers = [cache.begin(record.sid), cache.begin(record.sid)]
    cache.evict(record.sid)
    assert [cache.keep(marker, record, NOW) for marker in markers] == [False, False]


def test_S1_a_reply_that_took_longer_than_evictions_are_remembered_is_taken_for_dirty() -> None:
    cache, record = SessionCache(), record_of()
    marker = cache.begin(record.sid)
    for _ in range(5000):
        cache.evict(new_session_id(SUB))
    assert not cache.keep(marker, record, NOW)


def test_S1_a_lower_revision_never_replaces_a_higher_and_an_equal_one_does() -> None:
    cache, old = SessionCache(), record_of(revision=3)
    new = replace(old, revision=4, used=2)
    slow = cache.begin(old.sid)
    entry = keep(cache, new)
    assert cache.keep(slow, old, NOW)
    assert found(cache, old.sid).record == new
    seen = replace(new, last_seen=7.0)
    assert keep(cache, seen) is entry, "whoever holds the entry sees the newer record"
    assert entry.record == seen


def test_S1_no_such_session_is_remembered_for_a_second_at_most() -> None:
    cache, sid = SessionCache(), new_session_id(SUB)
    assert cache.keep(cache.begin(sid), None, NOW)
    assert cache.find(sid, NOW) is ABSENT
    assert cache.find(sid, NOW + NEGATIVE_S - 0.001) is ABSENT
    assert cache.find(sid, NOW + NEGATIVE_S) is None
    assert NEGATIVE_S <= 1


def test_S1_a_new_epoch_forgets_everything_also_that_there_is_no_such_session() -> None:
    cache, record, gone = SessionCache(), record_of(), new_session_id(SUB)
    entry = keep(cache, record)
    cache.keep(cache.begin(gone), None, NOW)
    cache.clear()
    assert cache.find(record.sid, NOW) is None and cache.find(gone, NOW) is None
    assert entry.is_dirty and len(cache) == 0


def test_a_session_that_is_gone_replaces_what_was_known_of_it_and_the_other_way_round() -> None:
    cache, record = SessionCache(), record_of()
    entry = keep(cache, record)
    cache.keep(cache.begin(record.sid), None, NOW)
    assert cache.find(record.sid, NOW) is ABSENT and entry.is_dirty
    assert keep(cache, record).record == record


def test_all_sessions_of_one_account_are_evicted_at_once() -> None:
    cache, mine, other = SessionCache(), [record_of(), record_of()], record_of(new_session_id(new_subject()))
    entries = [keep(cache, record) for record in (*mine, other)]
    gone = new_session_id(SUB)
    cache.keep(cache.begin(gone), None, NOW)
    cache.evict_user(SUB)
    assert [entry.is_dirty for entry in entries] == [True, True, False]
    assert cache.find(gone, NOW) is None
    assert len(cache) == 1


def test_the_memory_is_bounded_and_what_leaves_it_is_dirty() -> None:
    cache = SessionCache(100)
    entries = [keep(cache, record_of()) for _ in range(250)]
    assert len(cache) == 100
    assert [entry.is_dirty for entry in entries] == [True] * 150 + [False] * 100
    for number in range(10_000):
        cache.keep(cache.begin(f"{SUB}.{number}"), None, NOW)
    assert len(cache) == 100 and cache.find(f"{SUB}.0", NOW) is None


def test_a_session_in_use_stays_while_others_pass_through() -> None:
    cache = SessionCache(100)
    busy = keep(cache, record_of())
    for number in range(1000):
        cache.note(busy, float(number + 1), HOME)
        keep(cache, record_of())
    assert not busy.is_dirty and cache.find(busy.record.sid, NOW) is busy  # type: ignore[union-attr]


def test_when_all_are_in_use_one_goes_all_the_same() -> None:
    cache = SessionCache(200)
    for number in range(400):
        cache.note(keep(cache, record_of()), float(number + 1), HOME)
    assert len(cache) == 200


def test_use_is_collected_once_with_its_last_time_and_place() -> None:
    cache = SessionCache()
    entry = keep(cache, record_of())
    cache.note(entry, 100.0, HOME)
    cache.note(entry, 101.0, CAFE)
    assert cache.take_uses() == [Use(entry.record.sid, 101.0, CAFE, 2)]  # type: ignore[union-attr]
    assert cache.take_uses() == []
    cache.note(entry, 102.0, HOME)
    cache.evict(entry.record.sid)  # type: ignore[union-attr]
    assert [use.count for use in cache.take_uses()] == [1], "use that is not written yet survives the entry"


def test_a_first_use_is_remembered_like_a_record_and_its_use_is_nowhere_to_be_written() -> None:
    cache, first = SessionCache(), FirstUse("whose.which", 1.0, 2.0, HOME)
    name = "https://idp.example\0sid\0abc"
    assert cache.keep(cache.begin(name), first, NOW)
    entry = found(cache, name)
    assert entry.record is first
    cache.note(entry, 1.0, HOME)
    assert cache.take_uses() == []


class Store:
    """A store and the log behind it: what is read arrives later, and each change is told later too, in order."""

    def __init__(self) -> None:
        self.revision = 1
        self.told = 1


@given(st.lists(st.sampled_from(("ask", "reply", "change", "tell")), max_size=60))
def test_S1_once_the_log_told_of_a_change_no_older_copy_is_ever_found(steps: list[str]) -> None:
    cache, store, sid, replies = SessionCache(), Store(), new_session_id(SUB), []
    for step in steps:
        if step == "ask":
            replies.append((cache.begin(sid), record_of(sid, store.revision)))
        elif step == "reply" and replies:
            marker, record = replies.pop(len(replies) // 2)
            cache.keep(marker, record, NOW)
        elif step == "change":
            store.revision += 1
        elif step == "tell":
            store.told = store.revision
            cache.evict(sid)
        entry = cache.find(sid, NOW)
        if isinstance(entry, Entry):
            assert isinstance(entry.record, Record) and entry.record.revision >= store.told
