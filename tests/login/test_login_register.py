"""One registration, judged."""

import asyncio
from dataclasses import dataclass

import pytest
from logging_in import ALICE, GOOD, at_once

from gateway.clock import Clock
from gateway.errors import AccountsUnavailable
from gateway.login.accounts import Account, Accounts
from gateway.login.limits import Limited, Rate
from gateway.login.passwords import Passwords
from gateway.login.refused import Refused
from gateway.login.register import NameTaken, register
from gateway.login.turns import Turns
from gateway.store.client import Store, command


@dataclass
class Desk:
    """Where people register."""

    turns: Turns
    accounts: Accounts
    passwords: Passwords

    async def register(self, email: str = ALICE, password: str = GOOD, network: str = "203.0.113.0/24") -> object:
        return await register(
            email,
            password,
            network,
            store=self.turns,
            accounts=self.accounts,
            passwords=self.passwords,
            services=("gateway.corp",),
            rate=Rate(3, 60_000),
        )


@pytest.fixture
def desk(turns: Turns, few: Accounts, passwords: Passwords) -> Desk:
    return Desk(turns, few, passwords)


async def test_a_new_account_has_the_normalised_address_and_no_groups(desk: Desk) -> None:
    made = await desk.register(" Alice@SHOP.example")
    assert isinstance(made, Account)
    assert (made.email, made.groups, made.version) == (ALICE, (), 1)
    assert (await desk.passwords.verify(GOOD, made.password)).is_right


@pytest.mark.parametrize("email", [ALICE, "ALICE@shop.example", "ａlice@shop.example", " alice@shop.example "])
async def test_L07_a_name_is_taken_in_every_spelling(desk: Desk, email: str) -> None:
    made = await desk.register()
    assert await desk.register(email, "another password") == NameTaken()
    assert await desk.accounts.find(ALICE) == made


async def test_L03_a_name_that_is_taken_costs_the_hash_that_a_free_one_costs(desk: Desk) -> None:
    await desk.register()
    assert desk.passwords.statistics().hashed == 1
    await desk.register()
    assert desk.passwords.statistics().hashed == 2


async def test_L10_of_registrations_at_once_one_wins(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.register(network=f"10.0.{n}.0/24") for n in range(8)))
    assert sum(isinstance(answer, Account) for answer in answers) == 1
    assert sum(isinstance(answer, NameTaken) for answer in answers) == 7


def test_L10_of_four_processes_that_register_one_name_at_once_one_wins(database_url: str, store_url: str) -> None:
    act = f"""
from gateway.login.passwords import Passwords
from gateway.login.register import register
from gateway.login.turns import Turns
from gateway.store.client import connect
store, passwords = connect("{store_url}"), Passwords()
answer = await register(
    "Alice@shop.example", "{GOOD}", "", store=Turns(store), accounts=accounts, passwords=passwords
)
await store.aclose()
passwords.close()
return type(answer).__name__
"""
    assert sorted(at_once(4, database_url, act)) == ["Account", "NameTaken", "NameTaken", "NameTaken"]


@pytest.mark.parametrize(
    ("email", "password", "refused"),
    [
        ("a@b@c", GOOD, Refused.ADDRESS_WITHOUT_AT),
        (ALICE, "short", Refused.PASSWORD_TOO_SHORT),
        (ALICE, "alice2024", Refused.PASSWORD_LIKE_ADDRESS),
        (ALICE, "gateway.corp", Refused.PASSWORD_LIKE_SERVICE),
        (ALICE, "x" * 10**6, Refused.PASSWORD_TOO_LONG),
    ],
)
async def test_what_is_refused_for_its_form_uses_up_nothing(
    desk: Desk, store: Store, email: str, password: str, refused: Refused
) -> None:
    assert await desk.register(email, password) is refused
    assert desk.passwords.statistics().hashed == 0
    assert await command(store, "DBSIZE") == 0
    assert await desk.accounts.page() == []


async def test_B1_registrations_are_limited_per_network_taken_names_too(desk: Desk) -> None:
    for name in ("a", "b", "a"):
        assert isinstance(await desk.register(f"{name}@shop.example"), Account | NameTaken)
    assert isinstance(await desk.register("c@shop.example"), Limited)
    assert isinstance(await desk.register("c@shop.example", network="198.51.100.0/24"), Account)


async def test_a_database_that_is_away_uses_up_nothing(desk: Desk, store: Store, clock: Clock) -> None:
    away = Desk(desk.turns, Accounts(f"sqlite+aiosqlite:///{__file__}/accounts.db", clock), desk.passwords)
    with pytest.raises(AccountsUnavailable):
        await away.register()
    assert await command(store, "DBSIZE") == 0
