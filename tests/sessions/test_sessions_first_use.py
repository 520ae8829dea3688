"""First uses of other issuers' sessions [S3], on a real store."""

import asyncio
from dataclasses import replace

import pytest
from session_making import CAFE, HOME
from store_process import StoreProcess

from gateway.errors import StoreUnavailable
from gateway.sessions.first_use import PER_USER, FirstUses, Look, Seen
from gateway.sessions.model import FirstUse, subject_of
from gateway.store.client import Store, command, connect

IDP = "https://idp.example/realms/shop"
AT_HOME = Look(HOME, "Firefox|Linux|desktop", "", "CH", "Firefox on Linux")
AT_THE_CAFE = Look(CAFE, "Chrome|Android|mobile", "Chrome|Android|mobile", "FR", "Chrome on Android")


def seen(look: Look = AT_HOME, *, user: str = "bob", session: str = "s1", issuer: str = IDP, lifetime_s: float = 3600.0) -> Seen:
    return Seen(issuer, user, f"{issuer}\0sid\0{session}", lifetime_s, look)


def shown_by(first: FirstUse) -> Look:
    return Look(first.network, first.device, first.hints, first.country, first.agent)


async def keys_of(store: Store) -> list[str]:
    return sorted(key.decode() for key in await command(store, "KEYS", "*"))


async def writes_of(store: Store) -> int:
    return int((await command(store, "INFO", "persistence"))["rdb_changes_since_last_save"])


async def age(store: Store, seconds: float) -> None:
    """Everything on record happened so much earlier."""
    for key in await keys_of(store):
        for which, value in (await command(store, "HGETALL", key)).items():
            created, expires, text = value.split(b" ", 2)
            older = b"%.6f %.6f " % (float(created) - seconds, float(expires) - seconds)
            await command(store, "HSET", key, which, older + text)


async def test_S3_the_first_use_is_kept_and_later_ones_are_compared_with_it(store: Store) -> None:
    first = await FirstUses(store).get(seen(AT_HOME))
    assert shown_by(first) == AT_HOME
    assert first.expires == pytest.approx(first.created + 3600.0, abs=1e-5)
    assert await FirstUses(store).get(seen(AT_THE_CAFE)) == first


async def test_S3_workers_that_see_it_at_the_same_moment_go_by_one_record(store_url: str) -> None:
    workers = [connect(store_url) for _ in range(4)]
    looks = [replace(AT_HOME, network=f"192.0.{number}.0/24") for number in range(40)]
    asked = [FirstUses(workers[number % 4]).get(seen(look)) for number, look in enumerate(looks)]
    assert len(set(await asyncio.gather(*asked))) == 1
    for worker in workers:
        await worker.aclose()


async def test_S3_another_session_another_user_and_another_issuer_have_their_own(store: Store) -> None:
    uses = FirstUses(store)
    others = [seen(), seen(session="s2"), seen(user="eve"), seen(issuer="https://other.example")]
    firsts = [await uses.get(replace(one, look=replace(AT_HOME, country=str(number)))) for number, one in enumerate(others)]
    assert len({first.name for first in firsts}) == 4
    assert [first.country for first in firsts] == ["0", "1", "2", "3"]


async def test_L8_no_name_flows_into_another_or_chooses_a_slot(store: Store) -> None:
    uses = FirstUses(store)
    for issuer, user in (("a", "bc"), ("ab", "c"), ("{x}", "{y}"), ("", "abc"), ("a\ud800", "b")):
        first = await uses.get(seen(issuer=issuer, user=user))
        assert subject_of(first.name) is None, "it is never the name of a session of ours"
    keys = await keys_of(store)
    assert len(keys) == 5
    assert all(key.startswith("gateway:first:{") and key.endswith("}") and key.count("{") == 1 for key in keys)


async def test_B1_one_user_has_a_bounded_number_and_the_oldest_goes(store: Store) -> None:
    uses = FirstUses(store, per_user=3)
    firsts = [await uses.get(seen(session=str(number))) for number in range(5)]
    assert await command(store, "HLEN", (await keys_of(store))[0]) == 3
    for number in (2, 3, 4):
        assert await uses.get(seen(AT_THE_CAFE, session=str(number))) == firsts[number]
    assert shown_by(await uses.get(seen(AT_THE_CAFE, session="0"))) == AT_THE_CAFE, "made anew"
    assert PER_USER > 0


async def test_S3_it_lives_as_long_as_the_issuers_sessions_and_then_is_made_anew(store: Store) -> None:
    uses = FirstUses(store)
    await uses.get(seen(AT_HOME))
    (key,) = await keys_of(store)
    assert 3590 <= await command(store, "TTL", key) <= 3601
    await age(store, 3599.0)
    assert shown_by(await uses.get(seen(AT_THE_CAFE))) == AT_HOME
    await age(store, 1.5)
    assert shown_by(await uses.get(seen(AT_THE_CAFE))) == AT_THE_CAFE


async def test_what_has_expired_leaves_when_something_new_comes(store: Store) -> None:
    uses = FirstUses(store)
    await uses.get(seen(session="old", lifetime_s=60.0))
    await age(store, 61.0)
    await uses.get(seen(session="new"))
    assert await command(store, "HLEN", (await keys_of(store))[0]) == 1


async def test_a_short_lived_one_does_not_shorten_the_life_of_the_others(store: Store) -> None:
    uses = FirstUses(store)
    await uses.get(seen(session="long", lifetime_s=7200.0))
    await uses.get(seen(session="short", lifetime_s=60.0))
    assert await command(store, "TTL", (await keys_of(store))[0]) > 7000


async def test_B1_nothing_is_written_while_memory_is_short_and_what_is_on_record_still_counts(store: Store) -> None:
    uses = FirstUses(store)
    known = await uses.get(seen(session="known"))
    uses.may_record = False
    before = await writes_of(store)
    assert await uses.get(seen(AT_THE_CAFE, session="known")) == known
    unrecorded = await uses.get(seen(AT_THE_CAFE, session="new"))
    assert shown_by(unrecorded) == AT_THE_CAFE and unrecorded.created == 0.0
    assert await writes_of(store) == before
    uses.may_record = True
    assert shown_by(await uses.get(seen(AT_HOME, session="new"))) == AT_HOME


DAMAGES = ["", "nonsense", "1 2", "1 x []", "inf nan []", "1 9999999999 {}", '1 9999999999 ["a"]', "1 9999999999 [1,2,3,4,5]"]


@pytest.mark.parametrize("damage", [*DAMAGES, b"1 9999999999 \xff"])
async def test_S37_a_damaged_first_use_is_made_anew(store: Store, damage: str | bytes) -> None:
    uses = FirstUses(store)
    await uses.get(seen(AT_HOME))
    (key,) = await keys_of(store)
    (which,) = await command(store, "HKEYS", key)
    await command(store, "HSET", key, which, damage)
    anew = await uses.get(seen(AT_THE_CAFE))
    assert shown_by(anew) == AT_THE_CAFE
    assert await uses.get(seen(AT_HOME)) == anew


async def test_S37_another_type_under_its_name_is_made_anew(store: Store) -> None:
    uses = FirstUses(store)
    await uses.get(seen(AT_HOME))
    (key,) = await keys_of(store)
    await command(store, "SET", key, "x")
    assert shown_by(await uses.get(seen(AT_THE_CAFE))) == AT_THE_CAFE


async def test_an_erased_user_leaves_nothing(store: Store) -> None:
    uses = FirstUses(store)
    for session in ("1", "2"):
        await uses.get(seen(session=session))
    await uses.get(seen(user="eve"))
    await uses.forget(IDP, "bob")
    assert len(await keys_of(store)) == 1


async def test_without_an_answer_nothing_is_known(store_process: StoreProcess) -> None:
    client = connect(store_process.url, timeout_s=0.2)
    store_process.freeze()
    with pytest.raises(StoreUnavailable):
        await FirstUses(client).get(seen())
    store_process.thaw()
    await client.aclose()
