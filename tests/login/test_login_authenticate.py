"""One login, judged on a real store and a real database: the order, the counters, and what strangers can do to a victim."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from logging_in import ALICE, CHEAP, GOOD
from store_process import StoreProcess, until

from gateway.clock import Clock
from gateway.errors import AccountsUnavailable, StoreUnavailable
from gateway.login.accounts import Account, Accounts
from gateway.login.authenticate import Attempt, Authenticated, Rates, WrongCredentials, authenticate
from gateway.login.known_devices import KnownDevices, Place
from gateway.login.limits import Limited, Rate
from gateway.login.passwords import Cost, LoginBusy, Passwords
from gateway.login.turns import Turns
from gateway.store.client import Store, command, connect

HOME = Place("203.0.113.0/24", "Firefox|Linux|desktop")
STRANGER = Place("198.51.100.0/24", "Other||")
SLOW = Rates(Rate(10, 60_000), Rate(50, 60_000), Rate(10, 60_000))  # so that nothing comes free while a test runs


@dataclass
class Login:
    """Everything a login needs, and the login itself."""

    turns: Turns
    accounts: Accounts
    passwords: Passwords
    devices: KnownDevices

    async def attempt(self, email: str = ALICE, password: str = GOOD, place: Place = HOME) -> object:
        return await authenticate(
            Attempt(email, password, place),
            store=self.turns,
            accounts=self.accounts,
            passwords=self.passwords,
            devices=self.devices,
            rates=SLOW,
        )

    async def add(self, email: str = ALICE, password: str = GOOD) -> Account:
        hashed = await self.passwords.choose(password, email)
        assert isinstance(hashed, str)
        return await self.accounts.create(email, hashed)

    @property
    def verified(self) -> int:
        return self.passwords.statistics().verified


@pytest.fixture
async def login(turns: Turns, few: Accounts, passwords: Passwords, devices: KnownDevices) -> Login:
    login = Login(turns, few, passwords, devices)
    await login.add()
    return login


async def test_the_right_password_is_the_account_in_every_spelling_of_its_address(login: Login) -> None:
    account = await login.accounts.find(ALICE)
    first = await login.attempt()
    assert first == Authenticated(account, is_new_device=True)
    assert await login.attempt(" Alice@SHOP.example ") == Authenticated(account, is_new_device=False)
    assert await login.attempt(place=STRANGER) == Authenticated(account, is_new_device=True)


async def test_on_postgresql_too(turns: Turns, accounts: Accounts, passwords: Passwords, devices: KnownDevices) -> None:
    login = Login(turns, accounts, passwords, devices)
    account = await login.add()
    assert await login.attempt() == Authenticated(account, is_new_device=True)
    assert await login.attempt(password="wrong one") == WrongCredentials(account)


IMPOSSIBLE = ["x" * 1_000_000, "a" + "\u0301" * 100_000, "\0", "\ud800", ""]


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (ALICE, "wrong one"),
        ("nobody@shop.example", GOOD),
        ("nobody", GOOD),
        ("a@b@c", GOOD),
        ("\ud800@shop.example", GOOD),
        ("x" * 1_000_000, GOOD),
        *((ALICE, password) for password in IMPOSSIBLE),
        *(("nobody@shop.example", password) for password in IMPOSSIBLE),
    ],
)
async def test_L01_L04_whatever_is_wrong_costs_one_verification_and_is_answered_the_same(
    login: Login, email: str, password: str
) -> None:
    before = login.verified
    answer = await login.attempt(email, password)
    assert isinstance(answer, WrongCredentials)
    assert login.verified == before + 1


async def test_L01_the_way_to_the_store_is_the_same_for_names_that_exist_and_names_that_do_not(
    login: Login, store: Store
) -> None:
    async def commands(email: str) -> int:
        before = (await command(store, "INFO", "stats"))["total_commands_processed"]
        await login.attempt(email, "wrong one")
        return int((await command(store, "INFO", "stats"))["total_commands_processed"]) - int(before)

    await commands(ALICE)
    assert len({await commands(ALICE), await commands("nobody@shop.example"), await commands("nobody")}) == 1


async def test_the_audit_learns_who_was_meant_only_if_he_exists(login: Login) -> None:
    assert await login.attempt(password="wrong one") == WrongCredentials(await login.accounts.find(ALICE))
    assert await login.attempt("nobody@shop.example") == WrongCredentials(None)


@pytest.mark.parametrize("email", [ALICE, "nobody@shop.example", "nobody"])
async def test_L06_the_eleventh_failure_is_limited_and_looks_nothing_up(login: Login, email: str) -> None:
    for number in range(10):
        assert isinstance(await login.attempt(email, "wrong one", Place(f"10.{number}.0.0/24", "")), WrongCredentials)
    before = login.verified
    limited = await login.attempt(email, GOOD, Place("10.99.0.0/24", ""))
    assert isinstance(limited, Limited)
    assert limited.counter == "account"
    assert login.verified == before


async def test_L06_spellings_of_one_name_share_its_counter(login: Login) -> None:
    spellings = [ALICE, "ALICE@shop.example", " alice@shop.example", "alice@SHOP.example", "ａlice@shop.example"]
    for number in range(10):
        await login.attempt(spellings[number % 5], "wrong one", STRANGER)
    assert isinstance(await login.attempt(ALICE, GOOD, STRANGER), Limited)


async def test_L06_one_network_that_tries_many_names_is_limited_and_others_are_not(login: Login) -> None:
    for number in range(50):
        await login.attempt(f"{number}@shop.example", "wrong one", STRANGER)
    limited = await login.attempt("next@shop.example", "wrong one", STRANGER)
    assert isinstance(limited, Limited)
    assert limited.counter == "network"
    assert isinstance(await login.attempt(place=replace(STRANGER, network="192.0.2.0/24")), Authenticated)


async def test_right_passwords_are_never_limited(login: Login, store: Store) -> None:
    for _ in range(60):
        assert isinstance(await login.attempt(), Authenticated)
    assert await command(store, "KEYS", "gateway:{limit}:[and]*") == []


@pytest.mark.parametrize("is_known", [False, True])
async def test_right_passwords_are_not_limited_either_when_many_come_at_once(login: Login, is_known: bool) -> None:
    if is_known:
        await login.attempt()
    answers = await asyncio.gather(*(login.attempt() for _ in range(50)))
    assert all(isinstance(answer, Authenticated) for answer in answers)


async def test_failures_before_a_right_password_stay_counted(login: Login) -> None:
    for _ in range(9):
        await login.attempt(password="wrong one", place=STRANGER)
    assert isinstance(await login.attempt(place=replace(STRANGER, device="another")), Authenticated)
    assert isinstance(await login.attempt(password="wrong one", place=STRANGER), WrongCredentials)
    assert isinstance(await login.attempt(place=STRANGER), Limited)


async def test_B2_a_stranger_cannot_lock_out_the_device_that_logged_in_before(login: Login) -> None:
    assert isinstance(await login.attempt(), Authenticated)
    for number in range(40):
        await login.attempt(password="wrong one", place=replace(STRANGER, network=f"10.0.{number}.0/24"))
    assert isinstance(await login.attempt(place=STRANGER), Limited)
    assert isinstance(await login.attempt(place=HOME), Authenticated)


async def test_B2_nor_by_failing_for_many_names_from_the_victims_own_network(login: Login) -> None:
    assert isinstance(await login.attempt(), Authenticated)
    neighbour = replace(HOME, device="Other||")
    for number in range(60):
        await login.attempt(f"{number}@shop.example", "wrong one", neighbour)
    assert isinstance(await login.attempt(place=neighbour), Limited)
    assert isinstance(await login.attempt(place=HOME), Authenticated)


async def test_B2_a_known_device_has_ten_failures_of_its_own_and_uses_up_nobody_elses(login: Login) -> None:
    await login.attempt()
    for _ in range(10):
        assert isinstance(await login.attempt(password="wrong one"), WrongCredentials)
    limited = await login.attempt()
    assert isinstance(limited, Limited)
    assert limited.counter == "device"
    for _ in range(10):  # the account's own counter is as full as before
        assert isinstance(await login.attempt(password="wrong one", place=STRANGER), WrongCredentials)


async def test_B2_failing_does_not_make_a_device_known(login: Login) -> None:
    await login.attempt(password="wrong one", place=STRANGER)
    assert not await login.devices.is_known(ALICE, STRANGER)


async def test_L06_many_guesses_at_once_are_no_more_than_many_one_after_another(login: Login) -> None:
    answers = await asyncio.gather(*(login.attempt(password=f"wrong {n}", place=STRANGER) for n in range(100)))
    assert sum(isinstance(answer, WrongCredentials) for answer in answers) == 10
    assert sum(isinstance(answer, Limited) for answer in answers) == 90


@contextmanager
def held(passwords: Passwords) -> Iterator[None]:
    """While the hashing thread is busy with something that ends when the test says so."""
    end = threading.Event()
    passwords._thread.submit(end.wait)
    try:
        yield
    finally:
        end.set()


async def test_L05_who_is_turned_away_for_want_of_room_did_not_fail(login: Login) -> None:
    narrow = replace(login, passwords=Passwords(CHEAP, most_waiting=1, kept_for_known=0))
    with held(narrow.passwords):
        names = [ALICE, *(f"{number}@shop.example" for number in range(8))]
        attempts = [asyncio.create_task(narrow.attempt(name, "wrong one", STRANGER)) for name in names]
        await until(lambda: narrow.passwords.statistics().turned_away == 8)
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(answer, LoginBusy) for answer in answers) == 8
    for number in range(49):  # one of the network's fifty was judged
        assert isinstance(await login.attempt(f"{number}@corp.example", "wrong one", STRANGER), WrongCredentials)
    assert isinstance(await login.attempt(place=STRANGER), Limited)
    narrow.passwords.close()


async def test_B2_the_owner_does_not_wait_in_the_line_of_strangers_who_try_his_name(login: Login) -> None:
    await login.attempt()
    with held(login.passwords):
        flood = [asyncio.create_task(login.attempt(password="wrong one", place=STRANGER)) for _ in range(200)]
        await until(lambda: login.passwords.statistics().waiting == 10)  # one of the line, nine who found it long
        owner = asyncio.create_task(login.attempt())
        await until(lambda: login.passwords.statistics().waiting == 11)
    assert isinstance(await owner, Authenticated)
    answers = await asyncio.gather(*flood)
    assert sum(isinstance(answer, Limited) for answer in answers) == 190
    assert sum(isinstance(answer, WrongCredentials) for answer in answers) == 10
    assert login.turns._lines == {}


async def test_B2_L05_a_flood_of_strangers_leaves_the_known_device_its_place_at_the_hash(login: Login) -> None:
    await login.attempt()
    narrow = replace(login, passwords=Passwords(CHEAP, most_waiting=2, kept_for_known=1))
    with held(narrow.passwords):
        flood = [asyncio.create_task(narrow.attempt(f"{n}@shop.example", "wrong one", STRANGER)) for n in range(9)]
        await until(lambda: narrow.passwords.statistics().turned_away == 8)
        owner = asyncio.create_task(narrow.attempt())
        await until(lambda: narrow.passwords.statistics().waiting == 2)
    assert isinstance(await owner, Authenticated)
    await asyncio.gather(*flood, return_exceptions=True)
    narrow.passwords.close()


async def test_whoever_hangs_up_before_the_answer_has_failed(login: Login) -> None:
    for _ in range(10):
        with held(login.passwords):
            hanging_up = asyncio.create_task(login.attempt(password="wrong one", place=STRANGER))
            await until(lambda: login.passwords.statistics().waiting == 1)
            hanging_up.cancel()
            await asyncio.gather(hanging_up, return_exceptions=True)
    assert isinstance(await login.attempt(place=STRANGER), Limited)


async def test_a_database_that_is_away_is_nobodys_failure(login: Login, store: Store, clock: Clock) -> None:
    away = replace(login, accounts=Accounts(f"sqlite+aiosqlite:///{__file__}/accounts.db", clock))
    for _ in range(20):
        with pytest.raises(AccountsUnavailable):
            await away.attempt()
    assert await command(store, "DBSIZE") == 0


async def test_L12_without_the_store_no_password_is_looked_at(
    store_process: StoreProcess, few: Accounts, passwords: Passwords, clock: Clock
) -> None:
    store = connect(store_process.url, timeout_s=0.2)
    login = Login(Turns(store), few, passwords, KnownDevices(Turns(store), clock))
    await login.add()
    store_process.freeze()
    with pytest.raises(StoreUnavailable) as raised:
        await login.attempt()
    store_process.thaw()
    assert login.verified == 0
    assert GOOD not in str(raised.value) and ALICE not in str(raised.value)
    await store.aclose()


async def test_a_hash_of_another_cost_is_renewed_by_a_right_login_and_the_version_stays(login: Login) -> None:
    dearer = replace(login, passwords=Passwords(Cost(memory_kib=16, passes=1)))
    before = await login.accounts.find(ALICE)
    answer = await dearer.attempt()
    after = await login.accounts.find(ALICE)
    assert before is not None and after is not None
    assert answer == Authenticated(after, is_new_device=True)
    assert after.password != before.password
    assert after.version == before.version
    assert isinstance(await dearer.attempt(), Authenticated)
    assert dearer.passwords.statistics().hashed == 1
    dearer.passwords.close()


async def test_a_login_holds_the_version_that_its_password_belonged_to(login: Login) -> None:
    """Whoever proved the old password while it was changed gets a session of the old version, which is refused."""
    proved = await login.attempt()
    assert isinstance(proved, Authenticated)
    await login.accounts.set_password(proved.account.sub, "other")
    assert proved.account.version == 1
    assert await login.accounts.set_password(proved.account.sub, "mine", replacing=proved.account.password) is None


def test_an_attempt_does_not_show_its_password() -> None:
    assert GOOD not in repr(Attempt(ALICE, GOOD, HOME))


@pytest.fixture
async def many(turns: Turns, few: Accounts, devices: KnownDevices) -> AsyncIterator[Login]:
    passwords = Passwords(CHEAP)
    login = Login(turns, few, passwords, devices)
    for number in range(40):
        await login.add(f"{number}@shop.example", GOOD)
    yield login
    passwords.close()


async def test_L02_forty_people_at_once_each_get_their_own_answer(many: Login) -> None:
    def person(number: int) -> Awaitable[object]:
        password = GOOD if number % 2 else "wrong one"
        return many.attempt(f"{number}@shop.example", password, replace(HOME, network=f"10.0.{number}.0/24"))

    answers = await asyncio.gather(*(person(number) for number in range(40)))
    for number, answer in enumerate(answers):
        assert isinstance(answer, Authenticated if number % 2 else WrongCredentials)
        assert answer.account is not None
        assert answer.account.email == f"{number}@shop.example"
