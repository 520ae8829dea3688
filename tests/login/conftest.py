"""Accounts on both databases; a server of PostgreSQL where its package is installed, else those tests skip by name."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from logging_in import CHEAP
from postgres_process import PostgresProcess, find_binaries

from gateway.clock import Clock
from gateway.login.accounts import Accounts
from gateway.login.known_devices import KnownDevices
from gateway.login.passwords import Passwords
from gateway.login.turns import Turns
from gateway.store.client import Store


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresProcess]:
    """One server per test process. Use `postgres`: it is empty then."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    process = PostgresProcess(binaries)
    try:
        yield process.start()
    finally:
        process.close()


@pytest.fixture
def postgres(shared_postgres: PostgresProcess) -> PostgresProcess:
    shared_postgres.empty()
    return shared_postgres


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/var/accounts.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("postgres").url)


@pytest.fixture
async def accounts(database_url: str, clock: Clock) -> AsyncIterator[Accounts]:
    """Of each kind of database."""
    accounts = Accounts(database_url, clock)
    yield accounts
    await accounts.close()


@pytest.fixture
async def few(sqlite_url: str, clock: Clock) -> AsyncIterator[Accounts]:
    """Accounts where the kind of database does not matter."""
    accounts = Accounts(sqlite_url, clock)
    yield accounts
    await accounts.close()


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """With hashes that take no time."""
    passwords = Passwords(CHEAP)
    yield passwords
    passwords.close()


@pytest.fixture
def turns(store: Store) -> Turns:
    return Turns(store)


@pytest.fixture
def devices(turns: Turns, clock: Clock) -> KnownDevices:
    return KnownDevices(turns, clock)
