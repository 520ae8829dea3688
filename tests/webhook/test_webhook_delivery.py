"""From the trail to the receiver: at least once, once if nobody dies, and never a name too many."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from audit.auditing import ALICE
from patience import PATIENCE_S
from store_process import StoreProcess, until, until_awaited
from webhook.receiving import CLOSE, HANG, OLDER, SECRET, Receiver
from webhook.telling import QUICK, Telling, Told, has_begun, telling

from gateway.audit.erase import erase
from gateway.audit.event import Action, Event
from gateway.audit.keys import TRAIL
from gateway.audit.outline import document
from gateway.audit.read import Query, Reader
from gateway.store.client import Store, command, connect
from gateway.webhook.line import MOST_NAMED, MOST_OF_STRANGERS, Pauses

OTHER_GATEWAY = Path(__file__).with_name("other_gateway.py")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def told(store: Store) -> Told:
    return Told(store)


async def test_an_event_is_told_as_the_api_tells_it_and_signed(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    async with telling(store, store_url, receiver, secret=[SECRET, OLDER]) as gateway:
        await told.happens(told.replay(request_id="0" * 32))
        await until(lambda: len(receiver.taken) == 1)
        await until(lambda: gateway.counted("delivered") == 1)
    (message,) = receiver.messages
    (recorded,) = (await Reader(store).newest(Query())).events
    assert message.document == {
        "type": "replay",
        "timestamp": "2025-01-01T12:00:01.000Z",
        "data": document(recorded),
    }
    assert message.event["user"] == ALICE
    assert message.id.endswith("-" + recorded.id)
    assert abs(time.time() - int(message.headers["webhook-timestamp"])) < 60
    assert message.is_signed_with(SECRET)
    assert message.is_signed_with(OLDER)
    assert (gateway.retries, gateway.waiting) == (0, 0)


async def test_only_what_was_chosen_and_only_from_now_on(store: Store, store_url: str, receiver: Receiver, told: Told) -> None:
    await told.happens(told.replay())
    async with telling(store, store_url, receiver):
        await told.happens(Event(1.0, Action.LOGIN, user=ALICE), told.replay(session="wanted"))
        await until(lambda: receiver.taken != [])
    assert [message.event["session"] for message in receiver.messages] == ["wanted"]


async def test_events_come_in_their_order(store: Store, store_url: str, receiver: Receiver, told: Told) -> None:
    async with telling(store, store_url, receiver):
        await told.happens(*(told.replay() for _ in range(100)))
        await until(lambda: len(receiver.taken) == 100)
    assert [message.event["session"] for message in receiver.taken] == [f"s{number}" for number in range(1, 101)]
    assert len({message.id for message in receiver.taken}) == 100


@pytest.mark.parametrize("how", ["500 Broken", "503 Busy", "429 Slow\r\nRetry-After: 0", "302 Found", "404 No", HANG, CLOSE])
async def test_whatever_the_receiver_does_it_is_tried_again_under_the_same_id(
    store: Store, store_url: str, receiver: Receiver, told: Told, how: str
) -> None:
    receiver.answer = lambda message: how if len(receiver.messages) < 3 else "204 No Content"
    async with telling(store, store_url, receiver) as gateway:
        await told.happens(told.replay())
        await until(lambda: gateway.counted("delivered") == 1)
        assert gateway.retries == 2
        assert gateway.counted("failed") == gateway.counted("dropped") == 0
    assert len({message.id for message in receiver.messages}) == 1
    assert len({message.body for message in receiver.messages}) == 1
    assert all(message.is_signed_with(SECRET) for message in receiver.messages)


async def test_a_receiver_that_does_not_listen_yet(store: Store, store_url: str, told: Told) -> None:
    async with Receiver() as first:
        port, url = first.port, first.url
    gateway = Telling(store_url, url)
    gateway.webhook.start()
    await has_begun(store)
    await told.happens(told.replay())
    await until(lambda: gateway.retries >= 2)
    async with Receiver(listens_at=port) as later:
        await until(lambda: later.told() == ["replay"])
        await gateway.close()


async def test_a_pause_that_the_receiver_asks_for_is_kept(store: Store, store_url: str, receiver: Receiver, told: Told) -> None:
    receiver.answer = lambda message: "429 Slow\r\nRetry-After: 1" if len(receiver.messages) == 1 else "200 OK"
    async with telling(store, store_url, receiver):
        await told.happens(told.replay())
        await until(lambda: receiver.taken != [])
    first, second = receiver.messages
    assert second.at - first.at >= 1.0


async def test_one_that_the_receiver_cannot_stomach_does_not_hold_up_the_others(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    receiver.answer = lambda message: "500 Broken" if message.event["session"] == "s1" else "200 OK"
    async with telling(store, store_url, receiver) as gateway:
        await told.happens(*(told.replay() for _ in range(20)))
        await until(lambda: gateway.counted("delivered") == 19)
        assert gateway.waiting == 1


@pytest.mark.parametrize(("how", "give_up_s"), [("410 Gone", 86400.0), ("500 Broken", 0.0)])
async def test_what_is_too_old_or_not_wanted_any_more_is_given_up(
    store: Store, store_url: str, receiver: Receiver, told: Told, how: str, give_up_s: float
) -> None:
    receiver.answer = lambda message: how
    async with telling(store, store_url, receiver, replace(QUICK, give_up_s=give_up_s)) as gateway:
        await told.happens(told.replay(), told.replay())
        await until(lambda: gateway.counted("failed") == 2)
        await until(lambda: gateway.waiting == 0)
    assert len(receiver.messages) == 2


async def test_what_has_left_the_trail_is_dropped(store: Store, store_url: str, receiver: Receiver, told: Told) -> None:
    receiver.answer = lambda message: "503 Busy"
    async with telling(store, store_url, receiver) as gateway:
        await told.happens(told.replay())
        await until(lambda: len(receiver.messages) >= 1)
        await command(store, "DEL", TRAIL)
        await until(lambda: gateway.counted("dropped") == 1)
        assert gateway.waiting == 0


async def test_a_name_that_was_erased_meanwhile_is_not_told(store: Store, store_url: str, receiver: Receiver, told: Told) -> None:
    receiver.answer = lambda message: "503 Busy" if message.event["user"] == ALICE else "200 OK"
    async with telling(store, store_url, receiver):
        await told.happens(told.replay(session=f"of {ALICE}"))
        await until(lambda: receiver.messages != [])
        pseudonym = await erase(store, Event(1.0, Action.ERASED, user=ALICE), keep_s=3600)
        await until(lambda: receiver.taken != [])
    (message,) = receiver.taken
    assert message.event["user"] is None
    assert message.event["pseudonym"] == pseudonym
    assert ALICE.encode() not in message.body


async def test_B1_strangers_displace_only_each_other(store: Store, store_url: str, receiver: Receiver, told: Told) -> None:
    receiver.answer = lambda message: "503 Busy"
    async with telling(store, store_url, receiver) as gateway:
        await told.happens(*(told.of_strangers() for _ in range(MOST_OF_STRANGERS + 30)))
        await until(lambda: gateway.counted("dropped") == 30)
        await told.happens(told.replay())
        await until(lambda: gateway.waiting == MOST_OF_STRANGERS + 1)
        receiver.answer = lambda message: "200 OK"
        await until(lambda: gateway.counted("delivered") == MOST_OF_STRANGERS + 1)
    assert receiver.told().count("replay") == 1


async def test_what_needed_a_credential_waits_in_the_trail_and_is_not_dropped(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    receiver.answer = lambda message: "503 Busy"
    async with telling(store, store_url, receiver) as gateway:
        events = [told.replay() for _ in range(MOST_NAMED + 50)]
        await told.happens(*events)
        await until(lambda: gateway.waiting == MOST_NAMED)
        receiver.answer = lambda message: "200 OK"
        await until(lambda: gateway.counted("delivered") == len(events))
        assert gateway.counted("dropped") == 0
    assert len({message.id for message in receiver.taken}) == len(receiver.taken) == len(events)


async def test_an_orderly_end_lets_the_attempt_under_way_end_and_the_next_goes_on(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    async with telling(store, store_url, receiver):
        await told.happens(*(told.replay() for _ in range(40)))
        await until(lambda: len(receiver.messages) >= 5)
    assert receiver.messages == receiver.taken
    assert await store.keys("gateway:{webhook}:lease:*") == []
    await told.happens(told.replay())  # while nobody runs
    async with telling(store, store_url, receiver):
        await until(lambda: len(receiver.taken) == 41)
    assert len({message.id for message in receiver.messages}) == len(receiver.messages) == 41, "none of them twice"


async def test_an_end_does_not_wait_for_a_receiver_that_hangs(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    receiver.answer = lambda message: HANG
    patient = replace(QUICK, deadline_s=600.0, lease_s=1200.0)
    async with telling(store, store_url, receiver, patient) as gateway:
        await told.happens(told.replay())
        await until(lambda: receiver.messages != [])
        async with asyncio.timeout(PATIENCE_S):
            await gateway.webhook.close()
    receiver.answer = lambda message: "200 OK"
    async with telling(store, store_url, receiver):
        await until(lambda: receiver.taken != [])
    assert len({message.id for message in receiver.messages}) == 1


async def test_two_gateways_on_one_store_tell_each_event_once(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    async with telling(store, store_url, receiver) as one, telling(store, store_url, receiver) as other:
        for _ in range(10):
            await told.happens(*(told.replay() for _ in range(10)))
        await until(lambda: len(receiver.taken) == 100)
        assert sorted((one.counted("delivered"), other.counted("delivered"))) == [0, 100]
        await one.webhook.close()
        await told.happens(told.replay())
        await until(lambda: len(receiver.taken) == 101)
    assert len({message.id for message in receiver.messages}) == len(receiver.messages) == 101


async def test_who_lost_the_lease_sends_nothing_until_he_has_it_again(
    store: Store, store_url: str, receiver: Receiver, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async with telling(store, store_url, receiver) as gateway:
        await told.happens(told.replay())
        await until(lambda: gateway.counted("delivered") == 1)
        await until_awaited(lambda: has_written_down(store, receiver.taken[0].event["id"]))
        (lease,) = await store.keys("gateway:{webhook}:lease:*")
        await command(store, "SET", lease, "another")
        await until(lambda: "another gateway tells localhost" in caplog.text)
        await told.happens(told.replay())
        asked = await scripts_run(store)
        await until_awaited(lambda: has_run(store, asked + 10))
        assert len(receiver.messages) == 1
        await command(store, "DEL", lease)
        await until(lambda: gateway.counted("delivered") == 2)
    assert [message.event["session"] for message in receiver.messages] == ["s1", "s2"]


async def has_written_down(store: Store, identifier: str) -> bool:
    """That it was told: the place is behind it, and it waits no longer."""
    (place,) = await store.keys("gateway:{webhook}:place:*")
    return await command(store, "HMGET", place, "cursor", "named") == [identifier.encode(), b""]


async def scripts_run(store: Store) -> int:
    return int((await command(store, "INFO", "commandstats"))["cmdstat_evalsha"]["calls"])


async def has_run(store: Store, scripts: int) -> bool:
    return await scripts_run(store) >= scripts


async def test_when_a_gateway_is_killed_another_tells_the_rest_and_nothing_is_lost(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command_line = [sys.executable, str(OTHER_GATEWAY), store_url, receiver.url]
    first = subprocess.Popen(command_line, env=environment)
    try:
        await has_begun(store)
        other = Telling(store_url, receiver.url)
        other.webhook.start()
        receiver.answer = lambda message: "200 OK" if len(receiver.messages) <= 5 else "503 Busy"
        await told.happens(*(told.replay() for _ in range(20)))
        await until(lambda: len(receiver.messages) >= 7)
    finally:
        first.kill()
        first.wait()
    assert other.counted("delivered") == 0
    receiver.answer = lambda message: "200 OK"
    await told.happens(told.replay())
    await until(lambda: {message.event["session"] for message in receiver.taken} == {f"s{n}" for n in range(1, 22)})
    await other.close()
    taken = [message.id for message in receiver.taken]
    assert len(set(taken)) == 21
    assert len(taken) <= 21 + 5, "what the dead one had told and not written down, under the same ids"


async def test_two_receivers_are_told_each_of_everything(store: Store, store_url: str, told: Told) -> None:
    async with Receiver() as first, Receiver() as second, telling(store, store_url, first):
        other = Telling(store_url, second.url)
        other.webhook.start()

        async def both() -> bool:
            return len(await store.keys("gateway:{webhook}:place:*")) == 2

        await until_awaited(both)
        await until_awaited(lambda: _has_cursors(store))
        await told.happens(told.replay())
        await until(lambda: len(first.taken) == len(second.taken) == 1)
        await other.close()
    assert first.taken[0].event == second.taken[0].event
    assert first.taken[0].id != second.taken[0].id


async def _has_cursors(store: Store) -> bool:
    return all([await store.hget(place, "cursor") for place in await store.keys("gateway:{webhook}:place:*")])  # type: ignore[misc]


async def test_a_store_that_is_away_and_comes_back(store_process: StoreProcess, receiver: Receiver) -> None:
    store = connect(store_process.url)
    told = Told(store)
    async with telling(store, store_process.url, receiver) as gateway:
        await told.happens(told.replay())
        await until(lambda: gateway.counted("delivered") == 1)
        store_process.restart()
        await store.connection_pool.disconnect()
        await told.happens(told.replay())
        await until(lambda: gateway.counted("delivered") == 2)
    await store.aclose()
    assert len({message.id for message in receiver.messages}) == len(receiver.messages) == 2


async def test_a_place_that_cannot_be_read_is_told_and_what_is_new_goes_on(
    store: Store, store_url: str, receiver: Receiver, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async with telling(store, store_url, receiver):
        pass
    (place,) = await store.keys("gateway:{webhook}:place:*")
    await command(store, "HSET", place, "cursor", "nonsense")
    await told.happens(told.replay())
    async with telling(store, store_url, receiver):
        await until(lambda: "cannot be read" in caplog.text)
        await until_awaited(lambda: _cursor_is_sound(store, place))
        await told.happens(told.replay(session="new"))
        await until(lambda: receiver.taken != [])
    assert [message.event["session"] for message in receiver.taken] == ["new"]


async def _cursor_is_sound(store: Store, place: bytes) -> bool:
    return await store.hget(place, "cursor") not in (b"nonsense", b"")  # type: ignore[misc]


async def test_that_the_receiver_takes_nothing_is_said_once_and_without_its_address(
    store: Store, store_url: str, receiver: Receiver, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.webhook")
    receiver.answer = lambda message: "503 Busy" if len(receiver.messages) < 6 else "200 OK"
    async with telling(store, store_url, receiver) as gateway:
        await told.happens(told.replay())
        await until(lambda: gateway.counted("delivered") == 1)
    said = [record.getMessage() for record in caplog.records if record.name == "gateway.webhook"]
    assert said == [
        "localhost does not take security events, they wait: it answered 503",
        "localhost takes security events again",
    ]


async def test_a_receiver_that_is_away_is_not_asked_for_every_event(
    store: Store, store_url: str, receiver: Receiver, told: Told
) -> None:
    receiver.answer = lambda message: "503 Busy"
    slow = replace(QUICK, pauses=Pauses(away_s=(60.0, 1.0, 60.0)))
    async with telling(store, store_url, receiver, slow) as gateway:
        await told.happens(*(told.replay() for _ in range(100)))
        await until(lambda: gateway.waiting == 100)
        await until(lambda: receiver.messages != [])
    assert len(receiver.messages) == 1
