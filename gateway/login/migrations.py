"""The schema of the accounts' database, as the steps that lead to it.

A step is SQL that SQLite and PostgreSQL both take. Steps are only ever appended: a database of any age is brought up to date by
those it has not seen. All of them run in one transaction under a lock, so of several processes that start at once one does it
and the others find it done; a step that fails leaves nothing behind.

    accounts         one row per account; `email` is normalised (address.py); `groups` is a JSON list
                     `version` starts at 1 and never decreases; `changed` is when it was last raised
                     `told` is the version that the revocation log knows: lower while a raised one is on its way there
    schema_version   one row: how many steps have run
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from gateway.errors import AccountsUnfit

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Step = tuple[str, ...]

# {binary}: names are compared byte by byte. PostgreSQL's default follows the system's language, and an index breaks when that
# is updated; SQLite knows no other comparison.
STEPS: Final[tuple[Step, ...]] = (
    (
        """CREATE TABLE accounts (
            sub VARCHAR(32) {binary} NOT NULL PRIMARY KEY,
            email VARCHAR(254) {binary} NOT NULL UNIQUE,
            password VARCHAR(512) NOT NULL,
            version BIGINT NOT NULL,
            groups TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL,
            changed DOUBLE PRECISION NOT NULL
        )""",
    ),
    (
        "ALTER TABLE accounts ADD COLUMN told BIGINT NOT NULL DEFAULT 1",
        "UPDATE accounts SET told = version",
        "CREATE INDEX accounts_untold ON accounts (sub) WHERE told < version",
    ),
)

_LOCK: Final = 0x6761746577617931  # "gateway1", among the advisory locks of the database
_BINARY: Final = {"sqlite": "", "postgresql": 'COLLATE "C"'}


async def migrate(connection: "AsyncConnection", steps: Sequence[Step] = STEPS) -> None:
    """Bring the schema up to date; on a connection in autocommit. Raises `AccountsUnfit`, and what the driver raises."""
    async with _alone(connection):
        done = await _steps_done(connection)
        if done > len(steps):
            raise AccountsUnfit(
                f"the accounts' database was made by a newer gateway (schema {done}; this one knows {len(steps)})"
            )
        for step in steps[done:]:
            for statement in step:
                await connection.exec_driver_sql(statement.format(binary=_BINARY[connection.dialect.name]))
        if done < len(steps):
            await connection.exec_driver_sql(f"UPDATE schema_version SET version = {len(steps):d}")  # noqa: S608 - a number of ours


@asynccontextmanager
async def _alone(connection: "AsyncConnection") -> AsyncIterator[None]:
    """A transaction that no other process's migration runs beside."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        await connection.exec_driver_sql("BEGIN")
    try:
        if connection.dialect.name == "postgresql":
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK:d})")
        yield
    except BaseException:
        await connection.exec_driver_sql("ROLLBACK")
        raise
    await connection.exec_driver_sql("COMMIT")


async def _steps_done(connection: "AsyncConnection") -> int:
    await connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    found = (await connection.exec_driver_sql("SELECT version FROM schema_version")).scalars().all()
    if not found:
        await connection.exec_driver_sql("INSERT INTO schema_version (version) VALUES (0)")
    return int(found[0]) if found else 0
