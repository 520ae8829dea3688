"""The built-in accounts: who may log in, with which hash, in which groups, at which version.

    sub       random, never reused: what tokens and records say               aSubjectOf16Char
    email     normalised (address.py): what people, commands and X-User say   alice@example.com
    version   starts at 1, raised by each change of password, never lowered: tokens of an older one are refused

The database is the truth about versions [L6]. A store that was lost and declared anew refuses all that was issued before, so
it need not be told them again.

Whoever raises a version then tells the log, and leaves a note of that here (`told`). A version without such a note after a while
was raised by somebody who was killed in between: it is `untold`, and the office tells it.

Each method is one statement that reads, decides and writes at once, so two processes never have to agree on an order. Whoever
changes an account here tells the log and the sessions himself; this file knows neither. Every method raises
`AccountsUnavailable` when there is no answer: then what was asked may or may not have happened.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.clock import Clock
from gateway.errors import AccountsUnavailable, GatewayError
from gateway.login.database import DEADLINE_S, Database
from gateway.sessions.model import new_subject

if TYPE_CHECKING:
    from sqlalchemy import Row

FIRST_VERSION: Final = 1
MOST_PER_PAGE: Final = 1000
MOST_GROUPS: Final = 100
LONGEST_GROUP: Final = 255
"""Bytes: what a token may name, of any issuer (enforce/claims.py)."""
LARGEST_GROUPS: Final = 2048
"""Bytes of all of them, as JSON. They travel in the access cookie, and browsers silently drop one of more than 4096 bytes."""
_COLUMNS: Final = "sub, email, password, version, groups, created, changed"

logger: Final = logging.getLogger("gateway.accounts")


class AccountExists(GatewayError):
    """The name is taken."""

    source = "client"


@dataclass(frozen=True, slots=True)
class Account:
    """One account, as the database held it. Times are seconds since 1970; `changed` is when the version was last raised."""

    sub: str
    email: str
    password: str = field(repr=False)  # the hash
    version: int
    groups: tuple[str, ...]
    created: float
    changed: float


class Accounts:
    """The accounts of one database. Per process; nothing is loaded or opened before its first use."""

    def __init__(self, url: str, clock: Clock, *, deadline_s: float = DEADLINE_S) -> None:
        self._database = Database(url, deadline_s=deadline_s)
        self._clock = clock

    async def open(self) -> None:
        """Connect and migrate now; else the first use of any method does. Raises `AccountsUnfit` and `ConfigurationError` too."""
        await self._database.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def create(self, email: str, password: str, groups: Iterable[str] = ()) -> Account:
        """A new account with this hash. Raises `AccountExists`: of several at once for one name, one wins."""
        now = self._clock.wall()
        account = Account(new_subject(), email, password, FIRST_VERSION, ordered_groups(groups), now, now)
        rows = await self._database.rows(
            f"INSERT INTO accounts ({_COLUMNS}) VALUES (:sub, :email, :password, :version, :groups, :created, :changed)"  # noqa: S608
            " ON CONFLICT (email) DO NOTHING RETURNING sub",
            {
                "sub": account.sub,
                "email": email,
                "password": password,
                "version": account.version,
                "groups": json.dumps(account.groups),
                "created": now,
                "changed": now,
            },
        )
        if not rows:
            raise AccountExists("the name is taken")
        return account

    async def find(self, email: str) -> Account | None:
        """The account of a normalised address."""
        return _one(await self._database.rows(f"SELECT {_COLUMNS} FROM accounts WHERE email = :email", {"email": email}))  # noqa: S608

    async def find_by_sub(self, sub: str) -> Account | None:
        """The account of a token's subject."""
        return _one(await self._database.rows(f"SELECT {_COLUMNS} FROM accounts WHERE sub = :sub", {"sub": sub}))  # noqa: S608

    async def set_password(self, sub: str, password: str, *, replacing: str | None = None) -> int | None:
        """Keep a new hash and raise the version, which is answered.

        With `replacing`, only while that is the hash still: who proved that he knows the old password does not undo a change
        that was made meanwhile. None: it was not, or there is no such account.
        """
        rows = await self._database.rows(
            "UPDATE accounts SET password = :password, version = version + 1, changed = :now"
            " WHERE sub = :sub AND (:any = 1 OR password = :old) RETURNING version",
            {
                "sub": sub,
                "password": password,
                "any": int(replacing is None),
                "old": replacing or "",
                "now": self._clock.wall(),
            },
        )
        return int(rows[0].version) if rows else None

    async def keep_rehash(self, sub: str, old: str, new: str) -> bool:
        """The same password hashed at another cost; False when it is not the same any more. The version stays."""
        statement = "UPDATE accounts SET password = :new WHERE sub = :sub AND password = :old RETURNING sub"
        return bool(await self._database.rows(statement, {"sub": sub, "old": old, "new": new}))

    async def bump_version(self, email: str) -> tuple[str, int] | None:
        """Raise the version, so that every token of the account is old: its subject and the new version, or None."""
        rows = await self._database.rows(
            "UPDATE accounts SET version = version + 1, changed = :now WHERE email = :email RETURNING sub, version",
            {"email": email, "now": self._clock.wall()},
        )
        return (str(rows[0].sub), int(rows[0].version)) if rows else None

    async def tell(self, sub: str, version: int) -> None:
        """Note that the log knows this version. Never raises: without the note it is told again, which does no harm."""
        note = "UPDATE accounts SET told = :version WHERE sub = :sub AND told < :version RETURNING sub"
        try:
            await self._database.rows(note, {"sub": sub, "version": version})
        except AccountsUnavailable as error:
            logger.warning("that the log knows an account's version could not be noted: %s", error)

    async def untold(self, before: float, limit: int = 100) -> list[Account]:
        """Accounts whose version was raised before then, and of which the log was never told."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM accounts WHERE told < version AND changed < :before ORDER BY sub LIMIT :limit",  # noqa: S608
            {"before": before, "limit": limit},
        )
        return [_account(row) for row in rows]

    async def set_groups(self, email: str, groups: Iterable[str]) -> Account | None:
        """Other groups from now on; the account as it is then, or None. ValueError: as `ordered_groups`."""
        rows = await self._database.rows(
            f"UPDATE accounts SET groups = :groups WHERE email = :email RETURNING {_COLUMNS}",  # noqa: S608
            {"email": email, "groups": json.dumps(ordered_groups(groups))},
        )
        return _one(rows)

    async def delete(self, email: str) -> str | None:
        """Forget the account; the subject that it had, which nobody gets again, or None."""
        rows = await self._database.rows("DELETE FROM accounts WHERE email = :email RETURNING sub", {"email": email})
        return str(rows[0].sub) if rows else None

    async def page(self, after: str = "", limit: int = 100) -> list[Account]:
        """A page, ordered by address; the next one comes `after` its last address. Empty: that was all."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM accounts WHERE email > :after ORDER BY email LIMIT :limit",  # noqa: S608
            {"after": after, "limit": min(limit, MOST_PER_PAGE)},
        )
        return [_account(row) for row in rows]


def ordered_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """Each once, in one order. ValueError: empty, too long, too many, too much in all, or not printable."""
    ordered = tuple(sorted(set(groups)))
    if len(ordered) > MOST_GROUPS:
        raise ValueError(f"an account may have at most {MOST_GROUPS} groups")
    for group in ordered:
        if not group.isprintable() or group != group.strip() or not 0 < len(group.encode()) <= LONGEST_GROUP:
            raise ValueError(f"a group's name has 1 to {LONGEST_GROUP} bytes, all printable, and no space around it")
    if len(json.dumps(ordered, ensure_ascii=False).encode()) > LARGEST_GROUPS:
        raise ValueError(f"an account's groups may have {LARGEST_GROUPS} bytes in all: they travel in a cookie")
    return ordered


def _one(rows: "list[Row[Any]]") -> Account | None:
    return _account(rows[0]) if rows else None


def _account(row: "Row[Any]") -> Account:
    """A row that we did not write is no account: whoever may have edited it, nobody logs in by guessing what was meant."""
    try:
        groups = json.loads(row.groups)
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise ValueError("groups is not a list of names")
        return Account(
            str(row.sub),
            str(row.email),
            str(row.password),
            int(row.version),
            tuple(groups),
            float(row.created),
            float(row.changed),
        )
    except (ValueError, TypeError) as error:
        raise AccountsUnavailable(f"the row of an account cannot be read: {error}") from error
