"""Reading the trail: newest first, or onwards from a moment, page by page, with the names that are still known.

    cursor    <milliseconds>-<number>, the id of an event: a position in both streams, because ids increase over both

Both streams are read in portions and merged by id. Of a stream that gave a whole portion nothing is known beyond its last
event, so that is where the merge stops. Filtering is done here and not in the store, where a script over thousands of
events would make a revocation wait; a page looks at a limited number of events, so it may be short, or empty, and still not
be the last one: that is told by `cursor`.

Order and bounds go by when an event was written; it happened a moment before, or minutes, if the store was away.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.audit.event import Action, Event, Outcome, decode
from gateway.audit.keys import NAMES, PEOPLE, PSEUDONYM_MARK, STRANGERS, TRAIL, digest_of
from gateway.errors import GatewayError
from gateway.store.client import Argument, Store, command

PORTION: Final = 250
MOST_LOOKED_AT: Final = 10_000
LARGEST_PAGE: Final = 1000
_BLOCK_S: Final = 0.5  # shorter than the client's deadline, which would cost the connection

_CURSOR: Final = re.compile(r"(\d{1,15})-(\d{1,15})\Z", re.ASCII)
_AFTER_ANY: Final = (1 << 53, 0)

_Id = tuple[int, int]


class CursorRefused(GatewayError):
    """The text is no cursor of ours."""

    source = "client"


@dataclass(frozen=True, slots=True)
class Query:
    """Which events: of one user (a name, or a pseudonym), of one action, written since and until a moment. None: whichever."""

    user: str | None = None
    action: Action | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it was read. `pseudonym` is empty if nobody is known; `is_erased`: it leads to no name any more."""

    id: str
    event: Event
    pseudonym: str = ""
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and where the next ones are; None: there are no more."""

    events: tuple[Recorded, ...] = field(default=())
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    at: _Id
    raw: bytes
    pseudonym: bytes


class Reader:
    """Reads from one store. Holds nothing but the client. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self, query: Query, cursor: str | None = None, limit: int = 100) -> Page:
        """The newest events first, or those before the cursor. Raises `CursorRefused`."""
        wanted = await self._wanted(query)
        if wanted is None:
            return Page()
        before = _AFTER_ANY if query.until is None else (_milliseconds(query.until) + 1, 0)
        if cursor is not None:
            before = min(before, _read_id(cursor))
        since = (0, 0) if query.since is None else (_milliseconds(query.since), 0)
        found: list[_Stored] = []
        looked_at, is_end = 0, False
        limit = _page_size(limit)
        while len(found) < limit and looked_at < MOST_LOOKED_AT and not is_end:
            portion, is_end = await self._before(before, since)
            for stored in portion:
                looked_at += 1
                before = stored.at
                if _is_wanted(stored, wanted, query.action):
                    found.append(stored)
                    if len(found) == limit:
                        is_end = is_end and stored is portion[-1]
                        break
        return Page(await self._named(found), None if is_end else _text(before))

    async def following(self, query: Query, cursor: str | None = None, limit: int = 100, wait_s: float = 0.0) -> Page:
        """Events after the cursor, oldest first; without one from `query.since` on, or from now on. Raises `CursorRefused`.

        Waits up to `wait_s` for the first one. The cursor is never None: more may always come.
        """
        after = await self._start(query) if cursor is None else _read_id(cursor)
        limit = _page_size(limit)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        found: list[_Stored] = []
        looked_at = 0
        while True:
            remaining = deadline - loop.time()
            portion = await self._after(after, min(remaining, _BLOCK_S) if not found else 0.0)
            wanted = await self._wanted(query)  # asked last: these may be the first events of a user nothing was known of
            for stored in portion:
                looked_at += 1
                after = stored.at
                if wanted is not None and _is_wanted(stored, wanted, query.action):
                    found.append(stored)
                    if len(found) == limit:
                        break
            is_idle = not portion and (found or remaining <= 0)
            if is_idle or len(found) == limit or looked_at >= MOST_LOOKED_AT:
                return Page(await self._named(found), _text(after))

    async def find(self, identifier: str) -> Recorded | None:
        """One event by its id; None: the trail does not hold it, or not any more. Raises `CursorRefused`."""
        at = _text(_read_id(identifier))
        for stream in (TRAIL, STRANGERS):
            if found := _parsed(await command(self._store, "XRANGE", stream, at, at)):
                return (await self._named(found))[0]
        return None

    async def position(self) -> str:
        """The cursor of the newest event: following from here tells only what is new."""
        return _text(await self._start(Query()))

    async def _start(self, query: Query) -> _Id:
        if query.since is not None:
            return (max(0, _milliseconds(query.since) - 1), 1 << 49)
        newest = [await command(self._store, "XREVRANGE", stream, "+", "-", "COUNT", 1) for stream in (TRAIL, STRANGERS)]
        return max((_read_id(entries[0][0].decode()) for entries in newest if entries), default=(0, 0))

    async def _wanted(self, query: Query) -> bytes | None:
        """The pseudonym to look for; empty: anybody's. None: nothing is known of this user, so there is nothing to find."""
        if query.user is None:
            return b""
        pseudonym = await command(self._store, "HGET", PEOPLE, digest_of(query.user))
        if pseudonym is None and query.user.startswith(PSEUDONYM_MARK):
            return query.user.encode("utf-8", "replace")
        return bytes(pseudonym) if pseudonym is not None else None

    async def _before(self, before: _Id, since: _Id) -> tuple[list[_Stored], bool]:
        """Events before an id, newest first, and whether they are all there are."""
        if before == (0, 0):
            return [], True  # the store refuses to look before its first id
        portions = [
            await command(self._store, "XREVRANGE", stream, f"({_text(before)}", _text(since), "COUNT", PORTION)
            for stream in (TRAIL, STRANGERS)
        ]
        parsed = [_parsed(entries) for entries in portions]
        full = [entries[-1].at for entries in parsed if len(entries) == PORTION]
        horizon = max(full, default=(0, 0))
        merged = sorted((stored for entries in parsed for stored in entries if stored.at >= horizon), key=_at, reverse=True)
        return merged, not full

    async def _after(self, after: _Id, block_s: float) -> list[_Stored]:
        """Events after an id, oldest first; waits a moment for the first."""
        position = _text(after)
        arguments: list[Argument] = ["XREAD", "COUNT", PORTION]
        if block_s > 0:
            arguments += ["BLOCK", max(1, int(block_s * 1000))]
        answer = await command(self._store, *arguments, "STREAMS", TRAIL, STRANGERS, position, position)
        parsed = [_parsed(entries) for _, entries in (answer or ())]
        horizon = min((entries[-1].at for entries in parsed if len(entries) == PORTION), default=_AFTER_ANY)
        return sorted((stored for entries in parsed for stored in entries if stored.at <= horizon), key=_at)

    async def _named(self, found: list[_Stored]) -> tuple[Recorded, ...]:
        pseudonyms = sorted({stored.pseudonym for stored in found if stored.pseudonym})
        names: dict[bytes, bytes | None] = {}
        if pseudonyms:
            names = dict(zip(pseudonyms, await command(self._store, "HMGET", NAMES, *pseudonyms), strict=True))
        return tuple(_recorded(stored, names.get(stored.pseudonym)) for stored in found)


def _recorded(stored: _Stored, name: bytes | None) -> Recorded:
    pseudonym = stored.pseudonym.decode("utf-8", "replace")
    event = decode(stored.raw, name.decode("utf-8", "replace") if name is not None else pseudonym)
    if event is None:
        event = Event(stored.at[0] / 1000, "unreadable", Outcome.OBSERVED)
    return Recorded(_text(stored.at), event, pseudonym, is_erased=bool(pseudonym) and name is None)


def _is_wanted(stored: _Stored, pseudonym: bytes, action: Action | None) -> bool:
    if pseudonym and stored.pseudonym != pseudonym:
        return False
    return action is None or b'"a":"%b"' % action.value.encode() in stored.raw


def _parsed(entries: Iterable[Any]) -> list[_Stored]:
    """As the client library hands entries over: an id, and its fields by name."""
    return [
        _Stored(_read_id(identifier.decode()), fields.get(b"event", b""), fields.get(b"user", b""))
        for identifier, fields in entries
    ]


def _at(stored: _Stored) -> _Id:
    return stored.at


def _read_id(text: str) -> _Id:
    match = _CURSOR.match(text)
    if match is None:
        raise CursorRefused("a cursor looks like 1735732800123-0, and comes from an earlier answer")
    return int(match[1]), int(match[2])


def _text(identifier: _Id) -> str:
    return f"{identifier[0]}-{identifier[1]}"


def _milliseconds(seconds: float) -> int:
    return max(0, int(seconds * 1000))


def _page_size(limit: int) -> int:
    return min(max(1, limit), LARGEST_PAGE)
