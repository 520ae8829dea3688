"""Whose turn it is: one at a time, and whoever lost it writes nothing any more."""

from dataclasses import replace

import pytest
from store_process import StoreProcess

from gateway.errors import StoreUnavailable
from gateway.store.client import Store, command, connect
from gateway.webhook.place import Place, Places

URL = "https://siem.example/hooks"


def places(store: Store, url: str = URL) -> Places:
    return Places(store, url, lease_s=30.0, keep_s=3600.0)


async def keys(store: Store) -> list[bytes]:
    return sorted(await command(store, "KEYS", "*"))


async def lapse(store: Store) -> None:
    """The lease has run out: its holder has not been heard of for so long."""
    await command(store, "DEL", *(key for key in await keys(store) if b":lease:" in key))


async def test_the_first_turn_begins_with_nothing_but_a_name(store: Store) -> None:
    place = await places(store).claim()
    assert place is not None
    assert len(place.name) == 12
    assert place == Place(place.name, None, (), ())


async def test_one_at_a_time(store: Store) -> None:
    one, other = places(store), places(store)
    assert await one.claim() is not None
    assert await other.claim() is None
    assert await one.claim() is not None, "his own is his"


async def test_the_next_goes_on_where_the_last_one_stopped(store: Store) -> None:
    one, other = places(store), places(store)
    place = await one.claim()
    assert place is not None
    reached = replace(place, cursor="5-1", named=("3-0", "4-0"), strangers=("4-1",))
    assert await one.keep(reached)
    assert await other.claim() is None
    assert await one.keep(reached, is_last=True)
    assert await other.claim() == reached


async def test_who_lost_the_lease_writes_nothing_any_more(store: Store) -> None:
    one, other = places(store), places(store)
    place = await one.claim()
    assert place is not None
    await lapse(store)
    assert not await one.keep(replace(place, cursor="9-9")), "nobody has it, but somebody may have had"
    taken = await other.claim()
    assert taken is not None
    assert taken.cursor is None
    assert not await one.keep(replace(place, cursor="9-9"))
    assert not await one.keep(place, is_last=True)
    assert await one.claim() is None, "and has not given away what is another's"


async def test_each_receiver_has_a_place_of_its_own(store: Store) -> None:
    one, other = places(store), places(store, "https://siem.example/other")
    first, second = await one.claim(), await other.claim()
    assert first is not None
    assert second is not None
    assert first.name != second.name


async def test_nothing_is_kept_for_ever_and_no_url_stands_in_a_key(store: Store) -> None:
    await places(store, "https://siem.example/a-secret-in-the-path").claim()
    for key in await keys(store):
        assert key.startswith(b"gateway:{webhook}:")
        assert b"siem" not in key
        assert 0 < await command(store, "TTL", key) <= 3600


async def test_a_store_that_is_away_is_told(store_process: StoreProcess) -> None:
    store = connect(store_process.url)
    store_process.kill()
    with pytest.raises(StoreUnavailable):
        await places(store).claim()
    with pytest.raises(StoreUnavailable):
        await places(store).keep(Place("n", "0-0"))
    await store.aclose()
