"""The schema is brought up to date from every version, by many processes at once, or not at all."""

import pytest
from logging_in import ALICE, at_once

from gateway.clock import Clock
from gateway.errors import AccountsUnavailable, AccountsUnfit
from gateway.login.accounts import Accounts
from gateway.login.database import Database
from gateway.login.migrations import STEPS, Step

LATER: tuple[Step, ...] = (*STEPS, ("ALTER TABLE accounts ADD COLUMN nickname TEXT", "UPDATE accounts SET nickname = 'x'"))
OPEN = """
await accounts.open()
return len(await accounts.page())
"""


async def test_a_new_database_knows_its_version(database_url: str) -> None:
    database = Database(database_url)
    assert [row.version for row in await database.rows("SELECT version FROM schema_version", {})] == [len(STEPS)]
    await database.close()


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
async def test_from_every_version_it_becomes_what_a_new_one_is(database_url: str, clock: Clock, done: int) -> None:
    old = Database(database_url, steps=STEPS[:done])
    await old.open()
    if done > 0:
        columns = "sub, email, password, version, groups, created, changed"
        await old.rows(f"INSERT INTO accounts ({columns}) VALUES ('s', 'old@shop.example', 'h', 7, '[\"a\"]', 1.5, 2.5)", {})
    await old.close()
    accounts = Accounts(database_url, clock)
    if done > 0:
        kept = await accounts.find("old@shop.example")
        assert kept is not None
        assert (kept.sub, kept.version, kept.groups, kept.created, kept.changed) == ("s", 7, ("a",), 1.5, 2.5)
    made = await accounts.create(ALICE, "h")
    assert await accounts.bump_version(ALICE) == (made.sub, 2)
    await accounts.close()
    new = Database(database_url)
    assert await new.rows("SELECT version FROM schema_version", {}) == [(len(STEPS),)]
    await new.close()


@pytest.mark.parametrize("done", range(len(STEPS)))
def test_of_processes_that_start_at_once_one_migrates_and_all_are_served(database_url: str, done: int) -> None:
    if done:
        step = f"""
await accounts.close()
accounts._database = database.Database(sys.argv[1], steps=database.STEPS[:{done}])
await accounts.open()
return "old"
"""
        assert at_once(1, database_url, step) == ["old"]
    assert at_once(4, database_url, OPEN) == ["0"] * 4


async def test_a_later_step_keeps_what_is_there(database_url: str, clock: Clock) -> None:
    accounts = Accounts(database_url, clock)
    made = await accounts.create(ALICE, "h")
    later = Database(database_url, steps=LATER)
    assert [tuple(row) for row in await later.rows("SELECT sub, nickname FROM accounts", {})] == [(made.sub, "x")]
    await later.close()
    await accounts.close()


async def test_a_step_that_fails_leaves_nothing_behind_and_can_be_repeated(database_url: str) -> None:
    failing = Database(database_url, steps=(*STEPS, ("CREATE TABLE half (a INTEGER)", "CREATE TABLE broken (")))
    with pytest.raises(AccountsUnavailable):
        await failing.open()
    fresh = Database(database_url)
    await fresh.open()
    with pytest.raises(AccountsUnavailable):
        await fresh.rows("SELECT * FROM half", {})
    assert [row.version for row in await fresh.rows("SELECT version FROM schema_version", {})] == [len(STEPS)]
    await fresh.close()


async def test_a_database_of_a_newer_gateway_is_not_touched(database_url: str) -> None:
    newer = Database(database_url, steps=LATER)
    await newer.open()
    older = Database(database_url)
    with pytest.raises(AccountsUnfit, match="newer gateway"):
        await older.open()
    assert [row.version for row in await newer.rows("SELECT version FROM schema_version", {})] == [len(LATER)]
    await newer.close()
