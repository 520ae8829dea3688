"""The way to the accounts' database: how it is opened, and the one door where its errors become ours.

SQLite (a file: WAL, flushed at each commit, 0600, in a folder that is made 0700) or PostgreSQL. SQLAlchemy takes 0.3 s and
25 MiB to load, so it is loaded by the first statement, in a thread: a worker in which nobody logs in never pays. Every
statement commits by itself, since each of ours is one change; only the migration is a transaction.

Every wait ends: for a connection, for SQLite's lock, and each statement as a whole. No error repeats what was asked: the
parameters are people's addresses and hashes.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import AccountsUnavailable, ConfigurationError
from gateway.login.migrations import STEPS, Step, migrate

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

DEADLINE_S: Final = 3.0
_CONNECT_S: Final = 2.0
_CONNECTIONS: Final = 4
_LONGEST_TEXT: Final = 200
_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Database:
    """The pool of connections. Per process; opened and migrated by its first use."""

    def __init__(self, url: str, *, steps: tuple[Step, ...] = STEPS, deadline_s: float = DEADLINE_S) -> None:
        self._url = url
        self._steps = steps
        self._deadline_s = deadline_s
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises `AccountsUnavailable`, `AccountsUnfit`, `ConfigurationError`."""
        async with self._opening:
            if self._engine is not None:
                return
            engine = await asyncio.to_thread(_create_engine, self._url)
            try:
                async with _connected(engine, self._deadline_s) as connection:
                    await _prepare(connection)
                    await migrate(connection, self._steps)
            except BaseException:
                await engine.dispose()
                raise
            self._engine = engine

    async def rows(self, statement: str, parameters: Mapping[str, Any]) -> "list[Row[Any]]":
        """Run one statement; its rows, all of them, if it has any. Raises as `open` does."""
        if self._engine is None:
            await self.open()
        from sqlalchemy import text

        assert self._engine is not None
        async with _connected(self._engine, self._deadline_s) as connection:
            result = await connection.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    async def close(self) -> None:
        """Close every connection. A later statement opens anew."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()


async def refuse_unreachable(url: str, deadline_s: float) -> None:
    """Connect to a server and leave, writing nothing; a file is not looked at. Raises as `Database.open` does."""
    if url.startswith("sqlite"):
        return
    engine = await asyncio.to_thread(_create_engine, url)
    try:
        async with _connected(engine, deadline_s):
            pass
    finally:
        await engine.dispose()


def _create_engine(url: str) -> "AsyncEngine":
    """In a thread: nearly all of it is loading modules."""
    parsed = _load(url)
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    options: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "hide_parameters": True,
        "pool_size": _CONNECTIONS,
        "max_overflow": 0,
        "pool_timeout": _CONNECT_S,
    }
    if parsed.drivername.startswith("sqlite"):
        with _errors():
            _prepare_file(parsed.database)
        engine = create_async_engine(parsed, connect_args={"timeout": _CONNECT_S}, **options)
        event.listen(engine.sync_engine, "connect", _flush_at_each_commit)
        return engine
    # A server may have restarted since: ask before use, because a statement that failed is not repeated.
    return create_async_engine(parsed, connect_args={"timeout": _CONNECT_S}, pool_pre_ping=True, **options)


def _flush_at_each_commit(connection: Any, _: object) -> None:
    """An answered change of password survives a power cut; SQLite can be built with another default."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _load(url: str) -> "URL":
    """The modules, and the URL with its driver."""
    # Loading makes 70 000 objects that stay. A collection in the middle, or the next one, would look at all of them and hold
    # Python's lock for 25 ms.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import_module("sqlalchemy.ext.asyncio")
        parsed = _parse(url)
        parsed.get_dialect().import_dbapi()
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
    return parsed


def _parse(url: str) -> "URL":
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(["accounts.database: is no URL; write sqlite+aiosqlite:///var/accounts.db"]) from None
    if (driver := _DRIVERS.get(parsed.drivername)) is None:
        raise ConfigurationError(
            [f"accounts.database: {parsed.drivername}:// is not supported; use sqlite+aiosqlite:// or postgresql+asyncpg://"]
        )
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(["accounts.database: needs a file: one in memory is not shared by workers, and ends with them"])
    if driver.startswith("postgresql") and find_spec("asyncpg") is None:
        raise ConfigurationError(["accounts.database: PostgreSQL needs its driver: install the gateway's extra postgres"])
    return parsed.set(drivername=driver)


def _prepare_file(name: str | None) -> None:
    """Private before SQLite sees it; the files it puts beside take the same mode. A folder that exists is somebody's choice."""
    assert name is not None
    file = Path(name)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # NB: never opened here: to close it would drop the locks that this process's other connections have on it.
        with contextlib.suppress(PermissionError):  # another user's, who lets us use it
            file.chmod(0o600)


async def _prepare(connection: "AsyncConnection") -> None:
    """What the file of a SQLite database remembers for good. Readers never wait for the writer then."""
    if connection.dialect.name != "sqlite":
        return
    while (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() != "wal":
        # NB: changing it does not wait for a lock, whatever the timeout; another process may be doing the same.
        from sqlalchemy.exc import OperationalError

        with contextlib.suppress(OperationalError):
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _connected(engine: "AsyncEngine", deadline_s: float) -> "AsyncIterator[AsyncConnection]":
    with _errors():
        async with asyncio.timeout(deadline_s), engine.connect() as connection:
            yield connection


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """The door: what the drivers raise inside comes out as `AccountsUnavailable`."""
    try:
        yield
    except _foreign_errors() as error:  # looked up when something is raised: the drivers may not be loaded
        original = getattr(error, "orig", None) or error
        text = str(original).partition("\n")[0][:_LONGEST_TEXT]
        raise AccountsUnavailable(f"{type(original).__name__}: {text}".rstrip(": ")) from error


def _foreign_errors() -> tuple[type[Exception], ...]:
    named = (("sqlalchemy.exc", "SQLAlchemyError"), ("asyncpg", "PostgresError"), ("asyncpg", "InterfaceError"))
    loaded = tuple(getattr(sys.modules[module], name) for module, name in named if module in sys.modules)
    return (OSError, TimeoutError, *loaded)
