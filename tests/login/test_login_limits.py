"""Counters of failures on a real store: exact, all or none, bounded, and gone when they are empty."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_process import StoreProcess

from gateway.clock import Clock
from gateway.errors import StoreUnavailable
from gateway.login import turns as turns_module
from gateway.login.known_devices import KEPT_S, MOST_PER_ACCOUNT, KnownDevices, Place
from gateway.login.limits import Counter, Limited, Rate, digest, give_back, take
from gateway.login.turns import MOST_IN_LINE, Turns
from gateway.store.client import Store, command, connect

HOUR = Rate(4, 3600)
HOME = Place("203.0.113.0/24", "Firefox|Linux|desktop")


def counter(name: str, rate: Rate = HOUR, kind: str = "account") -> Counter:
    return Counter(kind, (name,), rate)


async def age(store: Store, counter: Counter, seconds: float) -> None:
    """As if everything had happened so many seconds ago."""
    kept = await command(store, "GET", counter.key)
    if kept is not None:
        await command(store, "SET", counter.key, int(kept) - int(seconds * 1_000_000), "KEEPTTL")


async def test_so_many_at_once_and_then_one_each_interval(turns: Turns, store: Store) -> None:
    one = counter("a")
    assert [await take(turns, [one]) for _ in range(4)] == [None] * 4
    limited = await take(turns, [one])
    assert isinstance(limited, Limited)
    assert limited.counter == "account"
    assert 895 < limited.retry_after_s <= 900
    await age(store, one, limited.retry_after_s)
    assert await take(turns, [one]) is None
    assert await take(turns, [one]) is not None
    await age(store, one, 1800)
    assert [await take(turns, [one]) is None for _ in range(3)] == [True, True, False]
    await age(store, one, 100_000)  # a long silence is no credit
    assert [await take(turns, [one]) is None for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize("rate", [Rate(7, 60), Rate(3, 1), Rate(1, 60), Rate(50, 60), Rate(11, 3600)])
async def test_the_count_is_exact_where_the_interval_is_no_whole_number(turns: Turns, rate: Rate) -> None:
    slow = replace(rate, period_s=rate.period_s * 1000)  # so that none comes free while we count
    answers = [await take(turns, [counter("a", slow)]) for _ in range(rate.count + 1)]
    assert [answer is None for answer in answers] == [True] * rate.count + [False]


async def test_many_at_once_are_counted_before_the_first_is_judged(turns: Turns) -> None:
    answers = await asyncio.gather(*(take(turns, [counter("a")]) for _ in range(200)))
    assert answers.count(None) == 4


async def test_all_or_none_a_full_counter_uses_up_nothing_of_the_others(turns: Turns) -> None:
    full, other = counter("a"), counter("n", Rate(5, 3600), "network")
    for _ in range(4):
        await take(turns, [full])
    for _ in range(20):
        assert (await take(turns, [other, full]) or Limited("", 0)).counter == "account"
    assert [await take(turns, [other]) is None for _ in range(6)] == [True] * 5 + [False]


async def test_of_several_full_counters_the_one_that_takes_longest_is_told(turns: Turns) -> None:
    short, long = counter("a", Rate(1, 600)), counter("n", Rate(1, 6000), "network")
    await take(turns, [short, long])
    for order in ([short, long], [long, short]):
        limited = await take(turns, order)
        assert limited is not None
        assert limited.counter == "network"
        assert limited.retry_after_s > 5990


async def test_what_is_given_back_was_never_taken(turns: Turns, store: Store) -> None:
    one, two = counter("a"), counter("n", kind="network")
    for _ in range(50):
        assert await take(turns, [one, two]) is None
        await give_back(turns, [one, two])
    assert await command(store, "DBSIZE") == 0


async def test_giving_back_more_than_was_taken_gives_no_credit(turns: Turns) -> None:
    one = counter("a")
    for _ in range(10):
        await give_back(turns, [one])
    assert [await take(turns, [one]) is None for _ in range(5)] == [True] * 4 + [False]


@given(steps=st.lists(st.one_of(st.sampled_from(["take", "give back"]), st.integers(1, 2000)), max_size=30))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_script_counts_as_a_leaky_bucket_does(store_url: str, steps: list[str | int]) -> None:
    async def play() -> None:
        store, one, level = connect(store_url), counter("a"), 0.0
        turns = Turns(store)
        await command(store, "DEL", one.key)
        for step in steps:
            if isinstance(step, int):
                await age(store, one, step)
                level = max(0.0, level - step / 900)
            elif step == "take":
                allowed = await take(turns, [one]) is None
                if abs(level - 3) > 0.01:  # the test itself takes time: at the very edge either is right
                    assert allowed == (level < 3)
                level += 1 if allowed else 0
            else:
                await give_back(turns, [one])
                level = max(0.0, level - 1)
        await store.aclose()

    asyncio.run(play())


async def test_a_clock_of_the_store_that_was_set_back_locks_out_for_one_period_at_most(turns: Turns, store: Store) -> None:
    one = counter("a")
    await take(turns, [one])
    await age(store, one, -1_000_000)
    limited = await take(turns, [one])
    assert limited is not None
    assert limited.retry_after_s <= 3600 / 4


async def test_what_is_no_number_counts_as_empty(turns: Turns, store: Store) -> None:
    one = counter("a")
    await command(store, "SET", one.key, "x")
    assert await take(turns, [one]) is None


async def test_L11_ten_thousand_names_from_one_network_leave_no_more_keys_than_the_network_may_fail(
    turns: Turns, store: Store
) -> None:
    network = counter("203.0.113.0/24", Rate(50, 60), "network")
    for batch in range(20):
        names = [counter(f"{batch}-{number}-{'x' * 1000}", Rate(10, 60)) for number in range(500)]
        await asyncio.gather(*(take(turns, [name, network]) for name in names))
    keys = await command(store, "KEYS", "*")
    assert len(keys) <= 55  # 50 and the network itself, and what came free in the seconds that this takes
    for key in keys:
        assert len(key) < 64
        assert key.startswith(b"gateway:{limit}:")
        assert 0 < await command(store, "PTTL", key) <= 60_000


def test_L8_names_reach_a_key_only_as_digests_and_do_not_flow_into_each_other() -> None:
    names = [("a", "bc"), ("ab", "c"), ("abc",), ("", "abc"), ("{x}",), ("\ud800",), ("x" * 10**6,)]
    assert len({digest(*parts) for parts in names}) == len(names)
    assert all(len(digest(*parts)) == 24 and "{" not in digest(*parts) for parts in names)


async def test_L12_without_the_store_nothing_is_allowed(store_process: StoreProcess) -> None:
    store = connect(store_process.url, timeout_s=0.2)
    turns = Turns(store)
    store_process.freeze()
    with pytest.raises(StoreUnavailable):
        await take(turns, [counter("a")])
    store_process.thaw()
    await store.aclose()


async def test_B2_a_device_is_known_to_the_account_it_logged_in_to_and_only_from_there(devices: KnownDevices) -> None:
    await devices.remember("a@b.c", HOME)
    assert await devices.is_known("a@b.c", HOME)
    assert not await devices.is_known("other@b.c", HOME)
    assert not await devices.is_known("a@b.c", replace(HOME, network="198.51.100.0/24"))
    assert not await devices.is_known("a@b.c", replace(HOME, device="Chrome|Windows|desktop"))


async def test_B2_devices_are_bounded_and_the_one_not_used_longest_leaves(store: Store) -> None:
    clock = MovingClock()
    devices = KnownDevices(Turns(store), clock)
    places = [replace(HOME, network=f"10.0.{number}.0/24") for number in range(MOST_PER_ACCOUNT + 5)]
    for place in places:
        clock.now += 1
        await devices.remember("a@b.c", places[0])
        await devices.remember("a@b.c", place)
    known = [await devices.is_known("a@b.c", place) for place in places]
    assert known == [True] + [False] * 5 + [True] * (MOST_PER_ACCOUNT - 1)


async def test_B2_devices_are_forgotten_after_ninety_days_even_while_others_are_used(store: Store) -> None:
    clock = MovingClock()
    devices = KnownDevices(Turns(store), clock)
    office = replace(HOME, network="198.51.100.0/24")
    await devices.remember("a@b.c", HOME)
    clock.now += KEPT_S - 1
    await devices.remember("a@b.c", office)
    assert await devices.is_known("a@b.c", HOME)
    clock.now += 2
    assert not await devices.is_known("a@b.c", HOME)
    await devices.remember("a@b.c", office)
    [key] = await command(store, "KEYS", "*")
    assert await command(store, "ZCARD", key) == 1
    assert 0 < await command(store, "TTL", key) <= KEPT_S


async def test_B2_an_erased_account_leaves_no_devices_and_a_new_password_keeps_the_one_that_chose_it(
    store: Store, devices: KnownDevices
) -> None:
    office = replace(HOME, network="198.51.100.0/24")
    await devices.remember("a@b.c", HOME)
    await devices.remember("a@b.c", office)
    await devices.forget("a@b.c", but=HOME)
    assert await devices.is_known("a@b.c", HOME)
    assert not await devices.is_known("a@b.c", office)
    await devices.forget("a@b.c")
    assert await command(store, "DBSIZE") == 0


async def test_L05_more_at_once_than_the_store_has_connections_wait_their_turn(store: Store) -> None:
    turns = Turns(store)
    assert await asyncio.gather(*(turns.command("PING") for _ in range(300))) == [True] * 300


async def test_L05_beyond_that_they_are_turned_away_and_nobody_waits_for_long(store_process: StoreProcess) -> None:
    store = connect(store_process.url, timeout_s=5)
    turns = Turns(store, at_once=2, most_waiting=3, deadline_s=0.1)
    store_process.freeze()
    answers = await asyncio.gather(*(turns.command("PING") for _ in range(9)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no answer in time"] * 5 + ["too many wait for the store"] * 4
    store_process.thaw()
    assert await turns.command("PING")
    await store.aclose()


async def test_those_behind_one_counter_go_one_after_another_and_leave_nothing_when_they_leave(turns: Turns) -> None:
    inside: list[str] = []
    most = 0

    async def go(counter: str) -> None:
        nonlocal most
        async with turns.in_line(counter):
            inside.append(counter)
            most = max(most, inside.count("a"))
            try:
                await turns.command("PING")
            finally:
                inside.remove(counter)

    tasks = [asyncio.create_task(go(name)) for name in "aabaabbaac"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 1
    assert turns._lines == {}


async def test_where_the_line_is_long_or_stands_still_nobody_waits(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "LINE_DEADLINE_S", 0.01)
    end = asyncio.Event()

    async def stay() -> None:
        async with turns.in_line("a"):
            await end.wait()

    staying = [asyncio.create_task(stay()) for _ in range(MOST_IN_LINE)]
    await asyncio.sleep(0)
    async with turns.in_line("a"):
        assert turns._lines["a"].people == MOST_IN_LINE
    end.set()
    await asyncio.gather(*staying)
    async with turns.in_line("a"):  # the lock is whole, though most gave up waiting for it
        assert turns._lines["a"].lock.locked()
    assert turns._lines == {}


class MovingClock(Clock):
    """A clock that the test moves. It starts at the store's own present, which a key's expiry goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.now = super().wall()

    def wall(self) -> float:
        return self.now
