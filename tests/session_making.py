"""Sessions for tests: a store of them, a login, raw looks at a record, and a way to let time pass for one session."""

from gateway.sessions.keys import record_key
from gateway.sessions.model import Login, Record, new_subject
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
from gateway.sessions.stored import FIELDS, read_record
from gateway.store.client import Store, command

DAY_S = 86_400.0
RULES = Rules(grace_s=30.0, access_ttl_s=300.0, refresh_ttl_s=7 * DAY_S, session_ttl_s=30 * DAY_S, per_user=3)
HOME, CAFE, TRAIN = "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"
TIMES = ("created", "ends", "rotated_at", "access_expires", "refresh_expires", "first_used")


def login(sub: str | None = None, *, delivery: str = "cookie", version: int = 1, network: str = HOME) -> Login:
    """A login of an account; of a new one when none is named."""
    return Login(
        *(sub or new_subject(), "alice@example.org", version, ("staff", "büro"), delivery, network),
        *("Firefox|Linux|desktop", "", "CH", "Firefox on Linux"),
    )


def sessions(store: Store, rules: Rules = RULES) -> SessionStore:
    return SessionStore(store, rules)


async def raw_record(store: Store, sid: str) -> list[bytes | None]:
    """The fields as they are, read past every script."""
    fields: list[bytes | None] = await command(store, "HMGET", record_key(sid), *FIELDS)
    return fields


async def look(store: Store, sid: str) -> Record:
    """The record, also of a session that has ended."""
    return read_record(sid, await raw_record(store, sid))


async def let_pass(store: Store, sid: str, seconds: float) -> None:
    """Everything about this session happened so much earlier. Its key stays where it is."""
    values = await command(store, "HMGET", record_key(sid), *TIMES)
    shifted = [f"{float(value) - seconds:.6f}" if float(value) else value for value in values]  # zero: it never happened
    await command(store, "HSET", record_key(sid), *[part for pair in zip(TIMES, shifted, strict=True) for part in pair])


async def edit(store: Store, session: str, **fields: str | bytes | int) -> None:
    """What somebody with access to the store might write into a record."""
    await command(store, "HSET", record_key(session), *[part for pair in fields.items() for part in pair])
