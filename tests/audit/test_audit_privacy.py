"""The promise about people: no name in the streams, and one cut that makes the whole trail nameless."""

import pytest
from auditing import ALICE, NETWORK, NOON, StillClock, all_bytes, everything, login, trail_of

from gateway.audit.erase import erase
from gateway.audit.event import Action, Event, Outcome
from gateway.audit.keys import FORGOTTEN, NAMES, NOBODY_ANY_MORE, PEOPLE, SEEN, STRANGERS, TRAIL, digest_of
from gateway.audit.read import Query, Reader
from gateway.store.client import Store, command

BOB = "bob@example.com"
NOW = 4_000_000_000.0
"""Later than any erasure in these tests, which the store dates by its own clock."""


def erasure(user: str = ALICE, **changes: object) -> Event:
    return Event(NOON, Action.ERASED, Outcome.SUCCESS, user=user, source="api", **changes)  # type: ignore[arg-type]


async def erased(store: Store, user: str = ALICE) -> str | None:
    return await erase(store, erasure(user), keep_s=3600)


async def streams(store: Store) -> bytes:
    return repr([await command(store, "XRANGE", stream, "-", "+") for stream in (TRAIL, STRANGERS)]).encode()


async def test_no_name_stands_in_the_streams(store: Store):
    trail = trail_of(store)
    trail.record(login(text=f"{ALICE} again", session=f"{ALICE}-1", target=ALICE.upper()))
    trail.record(Event(NOON, Action.LOGIN_FAILED, Outcome.FAILURE, "wrong-credentials", ALICE, network=NETWORK, text=ALICE))
    trail.refused(NOON, "revoked-token", NETWORK, ALICE, "s", "app", "jti")
    await trail.close()
    found = await streams(store)
    assert found.count(b"'event'") == 3
    assert b"alice" not in found.lower()
    assert [one.event.user for one in await everything(store)] == [ALICE] * 3, "whoever reads is told"


async def test_a_user_has_one_pseudonym_and_another_user_another(store: Store):
    for trail in (trail_of(store), trail_of(store)):
        for user in (ALICE, BOB):
            trail.record(login(user=user))
        await trail.flush()
    pseudonyms = [one.pseudonym for one in await everything(store)]
    assert pseudonyms[0] == pseudonyms[2] != pseudonyms[1] == pseudonyms[3]
    assert all(len(pseudonym) == 17 and pseudonym.startswith("~") for pseudonym in pseudonyms)


async def test_a_pseudonym_says_nothing_about_the_name(store: Store):
    """The same name gets another one in another store: it is drawn, not computed."""
    drawn = set()
    for _ in range(3):
        await command(store, "FLUSHALL")
        trail = trail_of(store)
        trail.record(login())
        await trail.flush()
        drawn |= {one.pseudonym for one in await everything(store)}
    assert len(drawn) == 3


async def test_erasing_takes_the_name_out_of_everything_at_once(store: Store):
    trail = trail_of(store)
    for number in range(300):
        trail.record(login(number, text=f"{ALICE} once more", session=f"of {ALICE}"))
    trail.record(login(user=BOB))
    await trail.flush()
    assert b"alice" in await all_bytes(store)

    pseudonym = await erased(store)

    assert b"alice" not in await all_bytes(store)
    found = await everything(store)
    assert [one.event.user for one in found if not one.is_erased] == [BOB]
    of_alice = [one for one in found if one.is_erased]
    assert {one.pseudonym for one in of_alice} == {pseudonym}
    assert of_alice[0].event.text == f"{pseudonym} once more"
    assert of_alice[-1].event.action is Action.ERASED, "that it was done is told, under the pseudonym that remains"
    assert len(of_alice) == 301


async def test_erasing_again_or_somebody_unknown_is_harmless(store: Store):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    assert await erased(store) is not None
    assert await erased(store) is None
    assert await erased(store, "nobody@example.com") is None
    assert [str(one.event.action) for one in await everything(store)] == ["login", "erased", "erased", "erased"]


async def test_events_that_a_process_still_held_bring_no_name_back(store: Store):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    trail.record(login(1))
    trail.refused(NOON, "revoked-token", NETWORK, ALICE, "s", "app")
    pseudonym = await erased(store)
    await trail.close()
    assert b"alice" not in await all_bytes(store)
    found = await everything(store)
    assert [one.pseudonym for one in found] == [pseudonym, pseudonym, NOBODY_ANY_MORE, NOBODY_ANY_MORE]
    assert [one.is_erased for one in found] == [True] * 4
    assert ALICE not in repr(found)


async def test_a_token_from_before_that_is_still_shown_brings_no_name_back(store: Store):
    trail = trail_of(store)
    await erased(store)
    trail.refused(NOW, "old-version", NETWORK, ALICE, "s", "app")
    await trail.flush()
    assert b"alice" not in await all_bytes(store)


@pytest.mark.parametrize("action", [Action.REGISTERED, Action.LOGIN])
async def test_who_comes_back_is_somebody_new(store: Store, action: Action):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    pseudonym = await erased(store)
    trail.record(Event(NOW, action, user=ALICE))
    trail.record(Event(NOW, Action.LOGOUT, user=ALICE))
    await trail.flush()
    found = await everything(store)
    assert [one.event.user for one in found[2:]] == [ALICE, ALICE]
    assert found[2].pseudonym == found[3].pseudonym != pseudonym
    assert found[0].is_erased
    assert await command(store, "ZCARD", FORGOTTEN) == 0, "not for one event: for good"


async def test_what_was_erased_is_not_found_by_name_but_by_the_pseudonym(store: Store):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    pseudonym = await erased(store)
    assert await everything(store, Query(user=ALICE)) == []
    assert len(await everything(store, Query(user=pseudonym))) == 2


async def test_a_name_that_looks_like_a_pseudonym_reads_nobody_elses_events(store: Store):
    trail = trail_of(store)
    trail.record(login())
    await trail.flush()
    (one,) = await everything(store)
    trail.record(login(user=one.pseudonym))
    await trail.flush()
    (impostor,) = await everything(store, Query(user=one.pseudonym))
    assert impostor.pseudonym != one.pseudonym


async def test_erasures_are_remembered_as_digests_and_not_for_ever(store: Store):
    await erase(store, erasure(), keep_s=3600, forgotten_s=600)
    assert [member.decode() for member in await command(store, "ZRANGE", FORGOTTEN, 0, -1)] == [digest_of(ALICE)]
    assert 0 < await command(store, "TTL", FORGOTTEN) <= 600


async def test_an_erasure_does_not_shorten_the_memory_of_another(store: Store):
    await erase(store, erasure(), keep_s=3600, forgotten_s=6000)
    await erase(store, erasure(BOB), keep_s=3600, forgotten_s=60)
    assert await command(store, "TTL", FORGOTTEN) > 5000


async def test_the_erasure_itself_expires_with_the_trail(store: Store):
    await erased(store)
    assert 0 < await command(store, "TTL", TRAIL) <= 3600


@pytest.mark.parametrize("name", ["a", "~erased", "x" * 5000, "é" * 300, "\ud800", "a\x01b", "{log}", "\n", "\u202e"])
async def test_every_name_is_written_found_and_erased(store: Store, name: str):
    trail = trail_of(store, StillClock())
    trail.record(login(user=name, text=""))
    await trail.flush()
    assert len(await everything(store, Query(user=name))) == 1
    assert await erased(store, name) is not None
    assert await command(store, "HLEN", NAMES) == await command(store, "HLEN", PEOPLE) == 0
    assert await command(store, "ZCARD", SEEN) == 0


async def test_two_long_names_that_begin_alike_are_two(store: Store):
    trail = trail_of(store)
    for end in "ab":
        trail.record(login(user="x" * 1000 + end))
    await trail.flush()
    assert len({one.pseudonym for one in await everything(store)}) == 2


async def test_a_reader_needs_no_name_to_page(store: Store):
    await command(store, "XADD", TRAIL, "5-5", "event", b"\xffbroken", "user", "~unknown")
    page = await Reader(store).newest(Query())
    assert [(str(one.event.action), one.event.user) for one in page.events] == [("unreadable", "")]
