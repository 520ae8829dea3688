"""Failed logins by the hundred: counted for all workers in the store, told once each hundred, named only where an account is."""

import asyncio
import threading
from dataclasses import dataclass, field, replace

import pytest
from logging_in import ALICE, GOOD
from store_process import until

from gateway.clock import Clock
from gateway.errors import AccountsUnavailable
from gateway.login.accounts import Accounts
from gateway.login.authenticate import Attempt, Authenticated, Rates, authenticate
from gateway.login.known_devices import KnownDevices, Place
from gateway.login.limits import (
    FLOOD_FAILURES,
    FLOOD_WINDOW_S,
    Counter,
    Limited,
    Rate,
    Watch,
    give_back,
    take,
    take_watched,
)
from gateway.login.passwords import Passwords
from gateway.login.turns import Turns
from gateway.store.client import Store, command

HOME = Place("203.0.113.0/24", "Firefox|Linux|desktop")
STRANGER = Place("198.51.100.0/24", "Other||")
PLENTY = Rate(1000, 60)
ONE = Counter("account", ("a",), PLENTY)
WATCH = Watch("account", ("a",), 0)


async def fail(turns: Turns, times: int = 1, counter: Counter = ONE, watch: Watch = WATCH) -> int:
    """So many attempts that take a place and keep it; how often they were told to be a hundred."""
    answers = [await take_watched(turns, [counter], [watch]) for _ in range(times)]
    return sum(len(reached) for _, reached in answers)


async def pass_minutes(store: Store, minutes: int, watch: Watch = WATCH) -> None:
    """As if all that was counted had happened so long ago."""
    kept = await command(store, "HGETALL", watch.key)
    await command(store, "DEL", watch.key)
    for minute, failures in kept.items():
        await command(store, "HSET", watch.key, int(minute) - minutes, failures)


async def test_the_hundredth_failure_is_told_and_then_each_hundred_more(turns: Turns) -> None:
    assert await fail(turns, FLOOD_FAILURES - 1) == 0
    assert await fail(turns) == 1
    assert await fail(turns, FLOOD_FAILURES - 1) == 0
    assert await fail(turns) == 1


async def test_workers_count_together(turns: Turns, store: Store) -> None:
    other = Turns(store)
    halves = await asyncio.gather(*(fail(worker, FLOOD_FAILURES // 2) for worker in (turns, other)))
    assert sum(halves) == 1


async def test_only_the_last_ten_minutes_count(turns: Turns, store: Store) -> None:
    await fail(turns, FLOOD_FAILURES - 1)
    await pass_minutes(store, FLOOD_WINDOW_S // 60 - 1)
    assert await fail(turns) == 1
    await fail(turns, FLOOD_FAILURES - 1)
    await pass_minutes(store, FLOOD_WINDOW_S // 60 + 1)
    assert await fail(turns) == 0
    assert await command(store, "HLEN", WATCH.key) == 1, "what is too old is forgotten"


async def test_a_clock_of_the_store_that_was_set_back_counts_anew(turns: Turns, store: Store) -> None:
    await fail(turns, FLOOD_FAILURES - 1)
    await pass_minutes(store, -5)
    assert await fail(turns) == 0


async def test_who_gives_his_place_back_has_not_failed(turns: Turns, store: Store) -> None:
    await fail(turns, FLOOD_FAILURES - 1)
    limited, reached = await take_watched(turns, [ONE], [WATCH])
    assert (limited, reached) == (None, (WATCH,))
    await give_back(turns, [ONE], [WATCH], reached)
    assert await fail(turns) == 1, "it was the next one who made up the hundred"
    for _ in range(3 * FLOOD_FAILURES):
        _, reached = await take_watched(turns, [ONE], [WATCH])
        assert not reached
        await give_back(turns, [ONE], [WATCH], reached)
    assert await command(store, "EXISTS", WATCH.key) == 0


async def test_giving_back_more_than_was_taken_gives_no_credit(turns: Turns) -> None:
    for _ in range(5):
        await give_back(turns, [ONE], [WATCH])
    assert await fail(turns, FLOOD_FAILURES) == 1


async def test_an_attempt_that_is_limited_has_failed_for_the_counter_that_is_full(turns: Turns) -> None:
    full, other = Counter("account", ("a",), Rate(1, 3600)), Counter("network", ("n",), PLENTY)
    watches = [Watch("account", ("a",), 0), Watch("network", ("n",), 1)]
    told = [await take_watched(turns, [full, other], watches) for _ in range(FLOOD_FAILURES)]
    assert [limited is None for limited, _ in told] == [True] + [False] * (FLOOD_FAILURES - 1)
    assert [reached for _, reached in told if reached] == [(watches[0],)]
    assert await fail(turns, FLOOD_FAILURES - 2, other, replace(watches[1], counter=0)) == 0
    assert await fail(turns, 1, other, replace(watches[1], counter=0)) == 1, "one attempt had taken a place of the network's"


async def test_L11_names_that_are_refused_for_their_network_leave_no_keys(turns: Turns, store: Store) -> None:
    network = Counter("network", ("n",), Rate(5, 3600))
    for number in range(150):
        name = Counter("account", (f"{number}",), PLENTY)
        await take_watched(turns, [name, network], [Watch("account", name.names, 0), Watch("network", ("n",), 1)])
    keys = await command(store, "KEYS", "gateway:{limit}:failed-*")
    assert len(keys) == 5 + 1
    for key in keys:
        assert len(key) < 64
        assert FLOOD_WINDOW_S < await command(store, "TTL", key) <= FLOOD_WINDOW_S + 60


async def test_limits_without_watches_are_what_they_were(turns: Turns, store: Store) -> None:
    assert await take(turns, [ONE]) is None
    assert await command(store, "KEYS", "gateway:{limit}:failed-*") == []


@dataclass
class Flooded:
    """Logins of which floods are told."""

    turns: Turns
    accounts: Accounts
    passwords: Passwords
    devices: KnownDevices
    rates: Rates = field(default_factory=lambda: Rates(PLENTY, PLENTY, PLENTY))
    told: list[tuple[str, str | None]] = field(default_factory=list)

    async def attempt(self, email: str = ALICE, password: str = "wrong one", place: Place = STRANGER) -> object:
        return await authenticate(
            Attempt(email, password, place),
            store=self.turns,
            accounts=self.accounts,
            passwords=self.passwords,
            devices=self.devices,
            rates=self.rates,
            on_flood=lambda by, account: self.told.append((by, account.email if account else None)),
        )

    async def fail(self, times: int, *, email: str = ALICE, is_spread: bool = True, place: Place = STRANGER) -> None:
        for number in range(times):
            await self.attempt(email, place=replace(place, network=f"10.0.{number}.0/24") if is_spread else place)


@pytest.fixture
async def flooded(turns: Turns, few: Accounts, passwords: Passwords, devices: KnownDevices) -> Flooded:
    hashed = await passwords.choose(GOOD, ALICE)
    assert isinstance(hashed, str)
    await few.create(ALICE, hashed)
    return Flooded(turns, few, passwords, devices)


async def test_an_account_that_is_tried_from_everywhere_is_told_by_its_name(flooded: Flooded) -> None:
    await flooded.fail(FLOOD_FAILURES - 1)
    assert flooded.told == []
    await flooded.fail(1)
    assert flooded.told == [("account", ALICE)]


async def test_a_name_that_no_account_has_is_told_without_it(flooded: Flooded) -> None:
    await flooded.fail(FLOOD_FAILURES, email="my-password-typed-as-a-name@shop.example")
    await flooded.fail(FLOOD_FAILURES, email="no address at all")
    assert flooded.told == [("account", None)] * 2


async def test_a_network_that_tries_many_names_is_told_and_names_nobody(flooded: Flooded) -> None:
    for number in range(FLOOD_FAILURES - 1):
        await flooded.attempt(f"{number}@shop.example")
    await flooded.attempt(ALICE)
    assert flooded.told == [("network", None)]


async def test_what_the_limits_refuse_is_counted_and_finds_out_whose_account_it_is(flooded: Flooded) -> None:
    flooded.rates = Rates(Rate(10, 60_000), PLENTY, PLENTY)
    await flooded.fail(FLOOD_FAILURES)
    assert flooded.told == [("account", ALICE)]
    assert isinstance(await flooded.attempt(), Limited)
    assert flooded.passwords.statistics().verified == 10


async def test_a_database_that_is_away_leaves_the_name_out(flooded: Flooded, clock: Clock) -> None:
    flooded.rates = Rates(Rate(10, 60_000), PLENTY, PLENTY)
    await flooded.fail(FLOOD_FAILURES - 1)
    flooded.accounts = Accounts(f"sqlite+aiosqlite:///{__file__}/accounts.db", clock)
    assert isinstance(await flooded.attempt(), Limited)
    assert flooded.told == [("account", None)]


async def test_a_known_device_that_fails_is_counted_with_the_others(flooded: Flooded) -> None:
    await flooded.attempt(password=GOOD, place=HOME)
    await flooded.fail(FLOOD_FAILURES - 1)
    await flooded.attempt(place=HOME)
    assert flooded.told == [("account", ALICE)]


async def test_right_passwords_are_no_flood(flooded: Flooded, store: Store) -> None:
    for _ in range(FLOOD_FAILURES + 1):
        assert isinstance(await flooded.attempt(password=GOOD), Authenticated)
    assert flooded.told == []
    assert await command(store, "KEYS", "gateway:{limit}:failed-*") == []


async def test_a_right_password_as_the_hundredth_tells_nothing_and_the_next_wrong_one_does(flooded: Flooded) -> None:
    await flooded.fail(FLOOD_FAILURES - 1)
    assert isinstance(await flooded.attempt(password=GOOD), Authenticated)
    assert flooded.told == []
    await flooded.fail(1)
    assert flooded.told == [("account", ALICE)]


async def test_our_own_failure_is_nobodys(flooded: Flooded, store: Store, clock: Clock) -> None:
    flooded.accounts = Accounts(f"sqlite+aiosqlite:///{__file__}/accounts.db", clock)
    for _ in range(FLOOD_FAILURES + 1):
        with pytest.raises(AccountsUnavailable):
            await flooded.attempt()
    assert flooded.told == []
    assert await command(store, "DBSIZE") == 0


async def test_who_hangs_up_as_the_hundredth_is_told_too(flooded: Flooded) -> None:
    await flooded.fail(FLOOD_FAILURES - 1)
    end = threading.Event()
    flooded.passwords._thread.submit(end.wait)  # the hashing thread has something else to do
    try:
        hanging_up = asyncio.create_task(flooded.attempt())
        await until(lambda: flooded.passwords.statistics().waiting == 1)
        hanging_up.cancel()
        await asyncio.gather(hanging_up, return_exceptions=True)
    finally:
        end.set()
    assert flooded.told == [("account", ALICE)]


async def test_watching_costs_no_way_to_the_store(flooded: Flooded, store: Store) -> None:
    """Neither the right nor the wrong password: what is asked is asked in the step that there was."""

    async def ways(password: str) -> int:
        before = (await command(store, "INFO", "commandstats"))["cmdstat_evalsha"]["calls"]
        await flooded.attempt(password=password)
        return int((await command(store, "INFO", "commandstats"))["cmdstat_evalsha"]["calls"]) - int(before)

    await ways(GOOD)
    assert (await ways(GOOD), await ways("wrong one")) == (3, 1)  # take, give back, remember; take
