"""The session store on a real store: logins, sight of tokens, rotation from many sides, changes, and what somebody edited."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace

import pytest
from session_making import CAFE, HOME, RULES, edit, let_pass, login, look, raw_record, sessions
from store_process import StoreProcess, until

from gateway.errors import StoreUnavailable
from gateway.sessions.keys import ALL, index_key, record_key
from gateway.sessions.model import COOKIE, TOKEN, Record, Use, new_session_id, new_subject, session_of, subject_of
from gateway.sessions.rotation import Outcome, Presented
from gateway.sessions.store import SessionStore
from gateway.sessions.stored import FIELDS, MARGIN_S, SessionCorrupt, over_at, read_record
from gateway.store.client import Store, command, connect
from gateway.tokens.issue import ACCESS_KIND, REFRESH_KIND, token_id

# Logins


async def test_a_login_becomes_a_record_dated_by_the_stores_time(store: Store) -> None:
    wanted = login(version=4)
    record = (await sessions(store).create(wanted)).record
    seconds, microseconds = await command(store, "TIME")
    assert 0 <= seconds + microseconds / 1e6 - record.created < 60
    assert (record.sub, record.user, record.version, record.groups) == (wanted.sub, wanted.user, 4, ("staff", "büro"))
    assert (record.network, record.device, record.country, record.agent) == (HOME, wanted.device, "CH", wanted.agent)
    assert (record.generation, record.used, record.revision, record.is_ended) == (1, 0, 1, False)
    assert record.rotated_at == record.last_seen == record.created
    assert record.access_expires == pytest.approx(record.created + RULES.access_ttl_s, abs=1e-5)
    assert record.refresh_expires == pytest.approx(record.created + RULES.refresh_ttl_s, abs=1e-5)
    assert record.ends == pytest.approx(record.created + RULES.session_ttl_s, abs=1e-5)
    assert await sessions(store).fetch(record.sid) == record


async def test_two_sessions_share_neither_name_nor_secret(store: Store) -> None:
    wanted = login()
    first, second = [(await sessions(store).create(wanted)).record for _ in range(2)]
    assert first.sid != second.sid and first.secret != second.secret
    assert subject_of(first.sid) == subject_of(second.sid) == wanted.sub


async def test_the_record_outlives_its_tokens_by_a_margin_and_no_more(store: Store) -> None:
    record = (await sessions(store).create(login())).record
    expected = over_at(record.refresh_expires, record.access_expires)
    assert await command(store, "EXPIRETIME", record_key(record.sid)) == expected
    assert expected - MARGIN_S >= record.refresh_expires
    assert await command(store, "EXPIRETIME", index_key(record.sub)) >= record.ends


async def test_whatever_dates_a_session_anew_keeps_its_record_as_long(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record

    async def keeps(asking: Awaitable[Record | None]) -> None:
        await command(store, "EXPIRE", record_key(record.sid), 1000)
        dated = await asking
        assert dated is not None
        expected = over_at(dated.refresh_expires, dated.access_expires)
        assert await command(store, "EXPIRETIME", record_key(record.sid)) == expected

    async def rotated(generation: int, outcome: Outcome) -> Record | None:
        rotation = await store_of_sessions.rotate(record.sid, Presented(generation, 1))
        assert rotation.outcome is outcome
        return rotation.record

    await keeps(rotated(1, Outcome.ROTATED))
    await let_pass(store, record.sid, RULES.grace_s + 1)
    await keeps(rotated(1, Outcome.LATE))
    await keeps(store_of_sessions.renew(record.sid, 2))


async def test_a_login_above_the_bound_names_the_oldest_until_they_are_removed(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    sids = [(await store_of_sessions.create(wanted)).record.sid for _ in range(RULES.per_user)]
    fourth = await store_of_sessions.create(wanted)
    assert fourth.surplus == (sids[0],)
    fifth = await store_of_sessions.create(wanted)
    assert fifth.surplus == (sids[0], sids[1]), "what was not ended is named again [L8]"
    await store_of_sessions.remove(fifth.surplus)
    assert await store_of_sessions.sids(wanted.sub) == (sids[2], fourth.record.sid, fifth.record.sid)
    assert (await store_of_sessions.create(login())).surplus == (), "another account"


async def test_sessions_that_expired_do_not_count(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    sids = [(await store_of_sessions.create(wanted)).record.sid for _ in range(RULES.per_user)]
    await command(store, "DEL", record_key(sids[1]))
    assert (await store_of_sessions.create(wanted)).surplus == ()
    assert sids[1] not in await store_of_sessions.sids(wanted.sub)


async def test_a_new_session_is_never_its_own_surplus_even_when_the_stores_clock_went_back(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    sids = [(await store_of_sessions.create(wanted)).record.sid for _ in range(RULES.per_user)]
    for number, sid in enumerate(sids):
        await command(store, "ZADD", index_key(wanted.sub), time.time() + 1000 + number, sid)
    assert (await store_of_sessions.create(wanted)).surplus == (sids[0],)


async def test_many_logins_at_once_lose_nobody(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    created = await asyncio.gather(*(store_of_sessions.create(wanted) for _ in range(12)))
    assert len(await store_of_sessions.sids(wanted.sub)) == 12
    await store_of_sessions.remove({sid for one in created for sid in one.surplus})
    assert len(await store_of_sessions.sids(wanted.sub)) == RULES.per_user


# First sight


async def test_R2_the_first_sight_of_a_generation_is_on_record_at_once_and_written_once(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    seen = await store_of_sessions.fetch(record.sid, 1)
    assert seen is not None
    assert (seen.used, seen.revision) == (1, record.revision + 1)
    assert seen.first_used == seen.last_seen >= record.created
    assert await store_of_sessions.fetch(record.sid, 1) == seen
    assert await store_of_sessions.fetch(record.sid) == seen


async def test_R2_an_older_token_does_not_take_back_what_was_seen(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    await store_of_sessions.rotate(record.sid, Presented(1, 1))
    await store_of_sessions.fetch(record.sid, 2)
    again = await store_of_sessions.fetch(record.sid, 1)
    assert again is not None and again.used == 2


@pytest.mark.parametrize("sid", ["", "nonsense", "a.b", "{x}.y", "A" * 16 + "." + "B" * 22, "c3ViamVjdC1vbmUh.{x}"])
async def test_S38_a_session_that_is_not_there_is_none_and_a_name_that_is_no_name_reaches_no_key(store: Store, sid: str) -> None:
    store_of_sessions = sessions(store)
    assert await store_of_sessions.fetch(sid, 1) is None
    assert (await store_of_sessions.rotate(sid, Presented(1, 1))).outcome is Outcome.ABSENT
    assert await store_of_sessions.renew(sid, 2) is None
    await store_of_sessions.note_use([Use(new_session_id(new_subject()), 1.0, HOME, 1)])
    assert await command(store, "DBSIZE") == 0


# Rotation


async def test_R1_any_worker_mints_the_same_successor_again(store_url: str) -> None:
    """S03: the answer of the rotation is lost, and the client comes again, to another worker."""
    one, other = connect(store_url), connect(store_url)
    record = (await sessions(one).create(login())).record
    first = await sessions(one).rotate(record.sid, Presented(1, 1))
    second = await sessions(other).rotate(record.sid, Presented(1, 1))
    assert (first.outcome, second.outcome) == (Outcome.ROTATED, Outcome.REPEATED)
    assert first.record == second.record and first.record is not None and second.record is not None
    for kind in (ACCESS_KIND, REFRESH_KIND):
        ids = [token_id(one.secret, one.sid, kind, one.generation) for one in (first.record, second.record)]
        assert ids[0] == ids[1] and session_of(ids[0]) == record.sid
    assert first.record.secret == record.secret
    await one.aclose()
    await other.aclose()


async def test_S02_fifty_at_once_on_four_workers_rotate_once_and_nobody_is_taken_for_a_thief(store_url: str) -> None:
    workers = [connect(store_url) for _ in range(4)]
    record = (await sessions(workers[0]).create(login())).record
    asked = [sessions(workers[number % 4]).rotate(record.sid, Presented(1, 1, HOME)) for number in range(50)]
    rotations = await asyncio.gather(*asked)
    assert Counter(one.outcome for one in rotations) == {Outcome.ROTATED: 1, Outcome.REPEATED: 49}
    assert len({one.record for one in rotations}) == 1
    for worker in workers:
        await worker.aclose()


async def test_S01_a_used_successor_ends_the_family_after_the_grace_and_nobody_gets_anything_any_more(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    await store_of_sessions.rotate(record.sid, Presented(1, 1))
    await store_of_sessions.fetch(record.sid, 2)
    await let_pass(store, record.sid, RULES.grace_s + 1)
    thief = await store_of_sessions.rotate(record.sid, Presented(1, 1))
    assert thief.outcome is Outcome.REUSED and thief.record is not None and thief.record.is_ended
    victim = await store_of_sessions.rotate(record.sid, Presented(2, 1))
    assert victim.outcome is Outcome.REUSED, "told again until the tombstone is written"
    assert await store_of_sessions.fetch(record.sid, 2) is None
    assert (await store_of_sessions.list(record.sub)).records == ()
    assert await store_of_sessions.sids(record.sub) == (record.sid,), "whoever ends all of them ends it too"


async def test_R2_a_lost_answer_is_made_good_hours_later_with_tokens_that_are_not_over(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    lost = (await store_of_sessions.rotate(record.sid, Presented(1, 1))).record
    await let_pass(store, record.sid, 5 * 3600)
    late = await store_of_sessions.rotate(record.sid, Presented(1, 1))
    assert late.outcome is Outcome.LATE and late.record is not None and lost is not None
    assert (late.record.generation, late.record.secret) == (lost.generation, lost.secret)
    assert late.record.access_expires > late.at


async def test_R2_a_store_that_lost_the_rotation_takes_the_newer_generation(store_process: StoreProcess) -> None:
    client = connect(store_process.url)
    record = (await sessions(client).create(login())).record
    copy = store_process.keep_copy()
    await sessions(client).rotate(record.sid, Presented(1, 1))
    await sessions(client).rotate(record.sid, Presented(2, 1))
    store_process.roll_back(copy)
    await client.aclose()
    client = connect(store_process.url)
    recovered = await sessions(client).rotate(record.sid, Presented(3, 1))
    assert recovered.outcome is Outcome.RECOVERED and recovered.record is not None
    assert (recovered.record.generation, recovered.record.used) == (4, 3)
    await client.aclose()


async def test_S07_a_store_that_dies_with_the_rotation_has_one_living_child(store_process: StoreProcess) -> None:
    client = connect(store_process.url)
    record = (await sessions(client).create(login())).record
    rotated = (await sessions(client).rotate(record.sid, Presented(1, 1))).record
    store_process.restart()
    await client.aclose()
    client = connect(store_process.url)
    again = await sessions(client).rotate(record.sid, Presented(1, 1))
    assert again.outcome is Outcome.REPEATED and again.record == rotated
    await client.aclose()


async def test_R6_who_serves_cookies_gets_nothing_from_a_session_whose_tokens_go_to_the_page(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login(delivery=TOKEN))).record
    answer = await store_of_sessions.rotate(record.sid, Presented(1, 1, delivery=COOKIE))
    assert answer.outcome is Outcome.DELIVERY and not answer.outcome.has_tokens
    assert await look(store, record.sid) == record
    rotated = (await store_of_sessions.rotate(record.sid, Presented(1, 1))).record
    assert rotated is not None and rotated.delivery == TOKEN, "no rotation changes it"


async def test_L8_a_rotation_copies_the_version_of_the_record_so_nothing_revives(store: Store) -> None:
    """The password was changed elsewhere: the account is at 2, this session stays at 1, and its tokens old."""
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login(version=1))).record
    rotated = (await store_of_sessions.rotate(record.sid, Presented(1, 2))).record
    assert rotated is not None and rotated.version == 1


# A change of password, new groups


async def test_L8_a_change_of_password_keeps_the_session_and_its_own_old_tokens_get_nothing(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    renewed = await store_of_sessions.renew(record.sid, 2, CAFE)
    assert renewed is not None
    assert (renewed.version, renewed.generation, renewed.rotated_from) == (2, 2, CAFE)
    stolen = await store_of_sessions.rotate(record.sid, Presented(1, 1))
    assert stolen.outcome is Outcome.OUTDATED, "inside the grace, too"
    assert (await store_of_sessions.rotate(record.sid, Presented(2, 2))).outcome is Outcome.ROTATED


async def test_L6_versions_never_decrease_and_repeating_a_renewal_changes_nothing(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login(version=3))).record
    renewed = await store_of_sessions.renew(record.sid, 5)
    assert await store_of_sessions.renew(record.sid, 5) == renewed
    assert await store_of_sessions.renew(record.sid, 4) == renewed


async def test_a_session_that_is_over_is_not_renewed(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    await let_pass(store, record.sid, RULES.refresh_ttl_s + 1)
    assert await store_of_sessions.renew(record.sid, 2) is None
    assert (await store_of_sessions.list(record.sub)).records == ()


async def test_new_groups_reach_all_sessions_of_the_account_and_no_other(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    mine = [(await store_of_sessions.create(wanted)).record for _ in range(2)]
    other = (await store_of_sessions.create(login())).record
    changed = await store_of_sessions.set_groups(wanted.sub, ("admins", 'a "group"'))
    assert changed == tuple(record.sid for record in mine)
    for record in mine:
        now = await look(store, record.sid)
        assert (now.groups, now.revision) == (("admins", 'a "group"'), record.revision + 1)
        assert (now.generation, now.refresh_expires) == (record.generation, record.refresh_expires)
    assert await look(store, other.sid) == other
    assert await store_of_sessions.set_groups(new_subject(), ()) == ()


async def test_new_groups_reach_a_session_that_opens_meanwhile(store: Store) -> None:
    """The index is read, then written: whoever comes in between makes it be read again."""

    class Interrupted(SessionStore):
        async def sids(self, sub: str) -> tuple[str, ...]:
            found = await super().sids(sub)
            if len(found) == 1:
                await sessions(store).create(replace(wanted, groups=("old",)))
            return found

    wanted = login()
    await sessions(store).create(wanted)
    changed = await Interrupted(store, RULES).set_groups(wanted.sub, ("new",))
    assert len(changed) == 2
    assert {record.groups for record in (await sessions(store).list(wanted.sub)).records} == {("new",)}


# For people


async def test_use_is_written_for_people_and_makes_no_copy_old(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    later = record.created + 100
    uses = [Use(record.sid, later, CAFE, 3), Use(record.sid, later - 50, HOME, 2), Use(record.sid, later - 10, "", 1)]
    await store_of_sessions.note_use(uses)
    now = await look(store, record.sid)
    assert (now.last_seen, now.last_network, now.uses) == (pytest.approx(later, abs=1e-5), CAFE, 6)
    assert now.revision == record.revision
    await store_of_sessions.note_use([Use(record.sid, later + 1, "", 1)])
    assert (await look(store, record.sid)).last_network == CAFE, "a network that is not known takes no place"


async def test_use_never_makes_a_record_that_is_not_there(store: Store) -> None:
    store_of_sessions = sessions(store)
    gone, lives = [(await store_of_sessions.create(login())).record for _ in range(2)]
    await store_of_sessions.remove([gone.sid])
    await store_of_sessions.note_use([Use(gone.sid, time.time(), HOME, 1), Use(lives.sid, time.time(), HOME, 1)] * 600)
    assert not await command(store, "EXISTS", record_key(gone.sid))
    assert (await look(store, lives.sid)).uses == 600
    await store_of_sessions.note_use([])


async def test_an_accounts_sessions_are_listed_oldest_first(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    records = [(await store_of_sessions.create(wanted)).record for _ in range(3)]
    await command(store, "DEL", record_key(records[1].sid))
    listed = await store_of_sessions.list(wanted.sub)
    assert listed.records == (records[0], records[2]) and listed.corrupt == ()
    assert await store_of_sessions.sids(wanted.sub) == (records[0].sid, records[2].sid), "what is gone leaves the index"
    assert (await store_of_sessions.list(new_subject())).records == ()


async def test_removed_sessions_leave_no_trace_and_removing_them_again_does_nothing(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    sids = [(await store_of_sessions.create(wanted)).record.sid for _ in range(2)]
    await store_of_sessions.remove([*sids, "no session", "{x}.y"])
    await store_of_sessions.remove(sids)
    assert await command(store, "DBSIZE") == 0


# What somebody edited [S37]

EDITS = {
    "a number that is none": {"generation": "seven"},
    "a hexadecimal number": {"refresh_expires": "0x7fffffffff"},
    "no number at all": {"ends": "nan"},
    "infinity": {"refresh_expires": "inf"},
    "a negative number": {"used": "-1"},
    "a number with an exponent": {"rotated_at": "1e9"},
    "the zeroth generation": {"generation": "0"},
    "a number without end": {"version": "9" * 400},
    "another layout": {"schema": "2"},
    "another session's name": {"sid": new_session_id(new_subject())},
    "an unknown delivery": {"delivery": "pigeon"},
    "no user": {"user": ""},
    "a user with a line end": {"user": "alice\r\nX-User: root"},
    "a user that is not UTF-8": {"user": b"\xff\xfe"},
    "groups that are no JSON": {"groups": "staff"},
    "groups that are no list": {"groups": '{"a": 1}'},
    "groups that are no text": {"groups": "[1]"},
    "a group with a line end": {"groups": '["a\\n"]'},
    "a short secret": {"secret": "x"},
    "tokens beyond the end": {"refresh_expires": "9999999999.0"},
    "a text without end": {"device": "x" * 5000},
    "a truth that is none": {"ended": "perhaps"},
    "no first use": {"first_used": ""},
}


@pytest.mark.parametrize("fields", EDITS.values(), ids=EDITS)
async def test_S37_an_edited_record_is_no_record(store: Store, fields: dict[str, str | bytes]) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    await edit(store, record.sid, **fields)
    with pytest.raises(SessionCorrupt):
        await store_of_sessions.fetch(record.sid, 1)
    with pytest.raises(SessionCorrupt):
        await store_of_sessions.rotate(record.sid, Presented(1, 1))
    with pytest.raises(SessionCorrupt):
        await store_of_sessions.renew(record.sid, 2)
    assert (await store_of_sessions.list(record.sub)).corrupt == (record.sid,)
    await store_of_sessions.note_use([Use(record.sid, time.time(), HOME, 1)])
    await store_of_sessions.remove([record.sid])
    assert await store_of_sessions.fetch(record.sid) is None


@pytest.mark.parametrize("field", FIELDS)
async def test_S37_a_record_with_a_field_missing_is_no_record(store: Store, field: str) -> None:
    record = (await sessions(store).create(login())).record
    await command(store, "HDEL", record_key(record.sid), field)
    with pytest.raises(SessionCorrupt):
        await sessions(store).fetch(record.sid, 1)
    with pytest.raises(SessionCorrupt):
        await sessions(store).rotate(record.sid, Presented(1, 1))


async def test_S37_another_type_under_a_sessions_name_is_no_record(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    await command(store, "SET", record_key(record.sid), '{"user": "root"}')
    for asking in (store_of_sessions.fetch(record.sid, 1), store_of_sessions.rotate(record.sid, Presented(1, 1))):
        with pytest.raises(SessionCorrupt):
            await asking
    assert (await store_of_sessions.list(record.sub)).corrupt == (record.sid,)
    await store_of_sessions.note_use([Use(record.sid, time.time(), HOME, 1)])


async def test_S37_a_record_copied_to_another_accounts_name_is_no_record(store: Store) -> None:
    store_of_sessions = sessions(store)
    mine, root = [(await store_of_sessions.create(login())).record for _ in range(2)]
    fields = [part for pair in zip(FIELDS, await raw_record(store, root.sid), strict=True) for part in pair]
    await command(store, "HSET", record_key(mine.sid), *fields)
    for asking in (store_of_sessions.fetch(mine.sid, 1), store_of_sessions.rotate(mine.sid, Presented(1, 1))):
        with pytest.raises(SessionCorrupt):
            await asking
    assert await raw_record(store, mine.sid) == await raw_record(store, root.sid), "and nothing is written into it"


async def test_S37_fields_of_another_session_or_another_layout_are_not_read(store: Store) -> None:
    record = (await sessions(store).create(login())).record
    raw = await raw_record(store, record.sid)
    assert read_record(record.sid, raw) == record
    for sid, fields in ((new_session_id(record.sub), raw), (record.sid, [b"2", *raw[1:]]), (record.sid, raw[:-1]), ("x", raw)):
        with pytest.raises(SessionCorrupt):
            read_record(sid, fields)


async def test_S37_one_damaged_record_hides_none_of_the_others(store: Store) -> None:
    store_of_sessions, wanted = sessions(store), login()
    damaged, sound = [(await store_of_sessions.create(wanted)).record for _ in range(2)]
    await edit(store, damaged.sid, generation="x")
    listed = await store_of_sessions.list(wanted.sub)
    assert (listed.records, listed.corrupt) == ((sound,), (damaged.sid,))
    await command(store, "SET", record_key(damaged.sid), "x")
    assert await store_of_sessions.set_groups(wanted.sub, ("new",)) == (sound.sid,)


async def test_S37_an_index_that_was_edited_leads_nowhere_else(store: Store) -> None:
    store_of_sessions = sessions(store)
    mine, other = [(await store_of_sessions.create(login())).record for _ in range(2)]
    await command(store, "ZADD", index_key(mine.sub), 1, other.sid, 2, "{x}.y", 3, b"\xff")
    assert await store_of_sessions.sids(mine.sub) == (mine.sid,)
    assert await store_of_sessions.set_groups(mine.sub, ("new",)) == (mine.sid,)
    assert await look(store, other.sid) == other


# The store itself


async def test_a_store_that_hangs_is_unavailable_and_no_refusal(store_process: StoreProcess) -> None:
    client = connect(store_process.url, timeout_s=0.2)
    store_of_sessions = sessions(client)
    record = (await store_of_sessions.create(login())).record
    store_process.freeze()
    for asking in (
        store_of_sessions.fetch(record.sid, 1),
        store_of_sessions.rotate(record.sid, Presented(1, 1)),
        store_of_sessions.list(record.sub),
        store_of_sessions.remove([record.sid]),
        store_of_sessions.note_use([Use(record.sid, 1.0, HOME, 1)]),
    ):
        with pytest.raises(StoreUnavailable):
            await asking
    store_process.thaw()
    await client.aclose()


async def test_a_login_succeeds_when_only_the_count_of_all_sessions_cannot_be_written(store: Store) -> None:
    await command(store, "SET", ALL, "not a sorted set")
    record = (await sessions(store).create(login())).record
    assert await sessions(store).fetch(record.sid) == record


async def test_a_store_that_forgot_its_scripts_is_told_them_again(store: Store) -> None:
    store_of_sessions = sessions(store)
    record = (await store_of_sessions.create(login())).record
    await store_of_sessions.note_use([Use(record.sid, record.created + 1, HOME, 1)])
    await command(store, "SCRIPT FLUSH")
    await store_of_sessions.note_use([Use(record.sid, record.created + 2, HOME, 1)] * 3)
    await command(store, "SCRIPT FLUSH")
    assert (await store_of_sessions.rotate(record.sid, Presented(1, 1))).outcome is Outcome.ROTATED
    assert (await look(store, record.sid)).uses == 4


async def test_L8_every_script_keeps_to_one_slot() -> None:
    """On a server in cluster mode, which refuses keys of several slots at once."""
    process = StoreProcess("--cluster-enabled", "yes").start()
    try:
        process.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(lambda: b"cluster_state:ok" in bytes(process.command("CLUSTER", "INFO")))  # type: ignore[arg-type]
        client = connect(process.url)
        store_of_sessions, wanted = sessions(client), login()
        records = [(await store_of_sessions.create(wanted)).record for _ in range(5)]
        sid = records[-1].sid
        await store_of_sessions.fetch(sid, 1)
        assert (await store_of_sessions.rotate(sid, Presented(1, 1))).outcome is Outcome.ROTATED
        assert await store_of_sessions.renew(sid, 2) is not None
        assert len(await store_of_sessions.set_groups(wanted.sub, ("new",))) == 5
        assert len((await store_of_sessions.list(wanted.sub)).records) == 5
        await store_of_sessions.note_use([Use(sid, time.time(), HOME, 1)])
        await store_of_sessions.everyone.purge(time.time() + 1)
        assert await store_of_sessions.everyone.remove_all() == 5
        await client.aclose()
    finally:
        process.close()
