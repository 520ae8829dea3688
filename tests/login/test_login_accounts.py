"""Accounts, in a file of SQLite and on a real PostgreSQL: the same answers, the same races."""

import asyncio
import os
import sqlite3
import stat
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from logging_in import ALICE, at_once
from patience import PATIENCE_S
from postgres_process import PostgresProcess
from store_process import until_awaited

from gateway.clock import Clock
from gateway.errors import AccountsUnavailable, ConfigurationError
from gateway.login.accounts import AccountExists, Accounts, ordered_groups
from gateway.sessions.model import SUBJECT_BYTES
from gateway.tokens import base64url

HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$dGFndGFndGFndGFn"


class SetClock(Clock):
    """A clock that the test moves."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def wall(self) -> float:
        return self.now


async def test_T1_an_account_is_found_as_it_was_made_and_its_subject_is_random(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH, ["staff", "admin", "staff"])
    assert made.version == 1
    assert made.groups == ("admin", "staff")
    assert len(base64url.decode(made.sub.encode())) == SUBJECT_BYTES
    assert await accounts.find(ALICE) == made
    assert await accounts.find_by_sub(made.sub) == made
    assert await accounts.find("nobody@shop.example") is None
    assert await accounts.find_by_sub("nobody") is None


async def test_T1_a_name_that_is_used_again_is_another_subject(accounts: Accounts) -> None:
    first = await accounts.create(ALICE, HASH)
    assert await accounts.delete(ALICE) == first.sub
    assert await accounts.delete(ALICE) is None
    assert await accounts.find(ALICE) is None
    second = await accounts.create(ALICE, HASH)
    assert second.sub != first.sub
    assert await accounts.find_by_sub(first.sub) is None


async def test_L10_of_many_registrations_of_one_name_at_once_one_wins(accounts: Accounts) -> None:
    answers = await asyncio.gather(*(accounts.create(ALICE, f"{HASH}{n}") for n in range(12)), return_exceptions=True)
    [winner] = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert [type(answer) for answer in answers if answer is not winner] == [AccountExists] * 11
    assert await accounts.find(ALICE) == winner


def test_L10_of_two_processes_that_register_one_name_at_once_one_wins(database_url: str) -> None:
    act = """
try:
    return (await accounts.create("alice@shop.example", "h")).sub
except AccountExists:
    return "taken"
"""
    answers = at_once(2, database_url, act)
    assert sorted(answer == "taken" for answer in answers) == [False, True]


async def test_a_change_of_password_raises_the_version_by_one(database_url: str) -> None:
    clock = SetClock(1000.5)
    accounts = Accounts(database_url, clock)
    made = await accounts.create(ALICE, HASH)
    clock.now = 2000.25
    assert await accounts.set_password(made.sub, "new") == 2
    assert await accounts.find(ALICE) == replace(made, password="new", version=2, changed=2000.25)
    assert await accounts.set_password("nobody", "new") is None
    await accounts.close()


async def test_of_two_changes_of_password_that_knew_the_same_old_one_one_wins(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH)
    answers = await asyncio.gather(
        accounts.set_password(made.sub, "first", replacing=HASH), accounts.set_password(made.sub, "second", replacing=HASH)
    )
    assert sorted(answers, key=str) == [2, None]


async def test_a_raised_version_is_untold_until_somebody_notes_that_the_log_knows_it(database_url: str) -> None:
    clock = SetClock(1000.0)
    accounts = Accounts(database_url, clock)
    alice, bob = await accounts.create(ALICE, HASH), await accounts.create("bob@shop.example", HASH)
    for now in (2000.0, 3000.0):
        clock.now = now
        await accounts.bump_version(ALICE)
    await accounts.set_password(bob.sub, "new")
    assert await accounts.untold(3000.0) == []
    assert {(found.sub, found.version) for found in await accounts.untold(3001.0)} == {(alice.sub, 3), (bob.sub, 2)}
    await accounts.tell(alice.sub, 2)  # of an older one: the newer one is not known yet
    await accounts.tell(bob.sub, 2)
    assert [(found.sub, found.version) for found in await accounts.untold(3001.0)] == [(alice.sub, 3)]
    await accounts.tell(alice.sub, 3)
    assert await accounts.untold(3001.0) == []
    await accounts.close()


async def test_versions_raised_at_once_are_all_counted(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH)
    raised = await asyncio.gather(*(accounts.bump_version(ALICE) for _ in range(12)))
    assert sorted(raised, key=str) == sorted(((made.sub, version) for version in range(2, 14)), key=str)
    assert await accounts.bump_version("nobody@shop.example") is None


async def test_a_rehash_keeps_the_version_and_never_undoes_a_change_of_password(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH)
    assert await accounts.keep_rehash(made.sub, HASH, "rehashed")
    assert await accounts.find(ALICE) == replace(made, password="rehashed")
    await accounts.set_password(made.sub, "new")
    assert not await accounts.keep_rehash(made.sub, "rehashed", "again")
    assert (await accounts.find(ALICE) or made).password == "new"


async def test_groups_change_and_nothing_else(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH, ["a"])
    assert await accounts.set_groups(ALICE, ["ü, with a comma", "b", "b"]) == replace(made, groups=("b", "ü, with a comma"))
    assert await accounts.set_groups(ALICE, []) == replace(made, groups=())
    assert await accounts.set_groups("nobody@shop.example", ["a"]) is None


@pytest.mark.parametrize("groups", [[""], [" a"], ["a\n"], ["a\0"], ["x" * 256], ["é" * 128], [str(n) for n in range(101)]])
def test_a_group_is_printable_text_of_bounded_length(groups: list[str]) -> None:
    with pytest.raises(ValueError, match="group"):
        ordered_groups(groups)


async def test_pages_hold_every_account_once_whatever_the_language_of_the_database(accounts: Accounts) -> None:
    names = [f"{name}@shop.example" for name in ("a", "a-b", "a.b", "a_b", "ab", "b", "é".encode("idna").decode())]
    for name in names:
        await accounts.create(name, HASH)
    seen: list[str] = []
    while page := await accounts.page(seen[-1] if seen else "", 2):
        assert len(page) <= 2
        seen += [account.email for account in page]
    assert seen == sorted(names)


async def test_an_account_does_not_show_its_hash(few: Accounts) -> None:
    assert HASH not in repr(await few.create(ALICE, HASH))


async def test_names_are_parameters_and_never_sql(accounts: Accounts) -> None:
    name = "x'; DROP TABLE accounts; --@shop.example"
    await accounts.create(name, HASH)
    assert (await accounts.page())[0].email == name


@pytest.mark.parametrize("column", ["groups = '{'", "groups = '[1]'", "groups = '\"a\"'", "version = 'x'"])
async def test_a_row_that_was_tampered_with_is_no_account(few: Accounts, sqlite_url: str, column: str) -> None:
    await few.create(ALICE, HASH)
    with closing(sqlite3.connect(sqlite_url.partition(":///")[2])) as connection, connection:
        connection.execute(f"UPDATE accounts SET {column}")
    with pytest.raises(AccountsUnavailable, match="cannot be read"):
        await few.find(ALICE)


async def test_sqlite_file_and_folder_are_private_and_flushed_from_the_first_moment(few: Accounts, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await few.create(ALICE, HASH)
        assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
        for file in (tmp_path / "var").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        os.umask(before)
    assert [row[0] for row in await few._database.rows("PRAGMA journal_mode", {})] == ["wal"]
    assert [row[0] for row in await few._database.rows("PRAGMA synchronous", {})] == [2]


async def test_a_folder_that_was_there_keeps_its_mode_and_a_file_that_was_open_to_all_does_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "accounts.db").touch(0o644)
    accounts = Accounts(f"sqlite+aiosqlite:///{tmp_path}/accounts.db", Clock())
    await accounts.open()
    await accounts.close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "accounts.db").stat().st_mode) == 0o600


async def test_what_was_answered_is_there_after_everything_is_closed(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH)
    await accounts.close()
    assert await accounts.find(ALICE) == made


@contextmanager
def write_lock(url: str) -> Iterator[None]:
    with closing(sqlite3.connect(url.partition(":///")[2], isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_sqlite_reads_while_another_process_writes_and_a_write_waits_for_a_bounded_time(
    few: Accounts, sqlite_url: str
) -> None:
    made = await few.create(ALICE, HASH)
    accounts = Accounts(sqlite_url, Clock(), deadline_s=0.1)
    await accounts.open()
    with write_lock(sqlite_url):
        assert await accounts.find(ALICE) == made
        with pytest.raises(AccountsUnavailable):
            await accounts.bump_version(ALICE)
    assert await few.bump_version(ALICE) is not None
    await accounts.close()


async def test_a_new_file_that_another_process_is_just_writing_is_waited_for(few: Accounts, tmp_path: Path, clock: Clock) -> None:
    await few.open()  # everything is loaded
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection, connection:
        connection.execute("CREATE TABLE theirs (a)")
    url = f"sqlite+aiosqlite:///{tmp_path}/new.db"
    accounts = Accounts(url, clock)
    with write_lock(url):  # to switch to WAL under it fails at once, whatever the timeout
        opening = asyncio.create_task(accounts.open())
        done, _ = await asyncio.wait({opening}, timeout=0.2)
        assert not done
    await opening
    await accounts.close()


async def test_errors_of_the_database_are_ours_and_repeat_nothing_that_was_asked(few: Accounts, sqlite_url: str) -> None:
    await few.open()
    await few._database.rows("DROP TABLE accounts", {})
    with pytest.raises(AccountsUnavailable, match="OperationalError: no such table") as raised:
        await few.create(ALICE, HASH)
    printed = "".join(traceback.format_exception(raised.value))
    assert ALICE not in printed
    assert HASH not in printed


async def test_a_file_that_is_no_database_and_a_folder_that_cannot_be_made(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("not a database, and longer than the header of one would be" * 10)
    for name in ("file", "file/accounts.db"):
        accounts = Accounts(f"sqlite+aiosqlite:///{tmp_path}/{name}", clock)
        with pytest.raises(AccountsUnavailable):
            await accounts.find(ALICE)
        await accounts.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite+aiosqlite://", "needs a file"),
        ("sqlite+aiosqlite:///:memory:", "needs a file"),
        ("mysql://root@localhost/accounts", "mysql:// is not supported"),
        ("postgresql+psycopg2://localhost/accounts", "is not supported"),
        ("not a url", "is no URL"),
    ],
)
async def test_a_database_that_cannot_serve_is_the_operators_to_change(url: str, says: str, clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await Accounts(url, clock).open()


@pytest.mark.parametrize("short", ["sqlite", "postgresql"])
async def test_a_url_without_its_driver_is_understood(short: str, request: pytest.FixtureRequest, clock: Clock) -> None:
    url = str(request.getfixturevalue("sqlite_url") if short == "sqlite" else request.getfixturevalue("postgres").url)
    accounts = Accounts(short + url[url.index("://") :], clock)
    assert await accounts.page() == []
    await accounts.close()


async def test_postgresql_without_its_driver_says_what_to_install(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match="extra postgres"):
        await Accounts("postgresql+asyncpg://localhost/accounts", clock).open()


async def test_postgresql_that_is_away_then_back_is_used_again(postgres: PostgresProcess, clock: Clock) -> None:
    accounts = Accounts(postgres.url, clock)
    made = await accounts.create(ALICE, HASH)
    postgres.stop()
    try:
        with pytest.raises(AccountsUnavailable):
            await accounts.find(ALICE)
    finally:
        postgres.start()
    assert await accounts.find(ALICE) == made
    await accounts.close()


async def test_postgresql_that_restarted_between_two_logins_is_not_noticed(postgres: PostgresProcess, clock: Clock) -> None:
    accounts = Accounts(postgres.url, clock)
    made = await accounts.create(ALICE, HASH)
    postgres.stop()
    postgres.start()
    assert await accounts.find(ALICE) == made
    await accounts.close()


async def test_postgresql_that_accepts_and_hangs_is_not_waited_for_for_long(postgres: PostgresProcess, clock: Clock) -> None:
    patient, accounts, fresh = Accounts(postgres.url, clock), *(Accounts(postgres.url, clock, deadline_s=0.2) for _ in range(2))
    made = await patient.create(ALICE, HASH)

    async def is_found() -> bool:
        try:
            return await accounts.find(ALICE) == made
        except AccountsUnavailable:  # a busy machine may take as long
            return False

    await until_awaited(is_found)
    postgres.freeze()
    try:
        async with asyncio.timeout(PATIENCE_S):
            for hasty in (accounts, fresh):
                with pytest.raises(AccountsUnavailable):
                    await hasty.find(ALICE)
    finally:
        postgres.thaw()
    await until_awaited(is_found)
    for every in (patient, accounts, fresh):
        await every.close()


async def test_whoever_leaves_in_the_middle_leaves_no_connection_behind(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH)
    for _ in range(12):  # three times as many as there are connections
        leaving = asyncio.create_task(accounts.find(ALICE))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    assert await accounts.find(ALICE) == made


async def test_many_at_once_share_few_connections(accounts: Accounts) -> None:
    made = await accounts.create(ALICE, HASH)
    assert await asyncio.gather(*(accounts.find(ALICE) for _ in range(100))) == [made] * 100
