"""All sessions there are: for counting, for the purge, and for ending every one of them after a leak.

One sorted set, `gateway:sessions:all`, names every sid by the second at which its record may be over. It lies in another slot
than the records, so it is written after them and may lag. A rotation does not write it: when the purge comes to a sid whose time
is over, it looks at the record, and one that lives gets its new time. So each session is looked at once per idle lifetime, and
what a lost write left behind is put right.

It serves no request. A sid that is missing here (its login's last write was lost) is only not counted; its record expires by
itself.
"""

import math
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from redis.exceptions import RedisError

from gateway.sessions.keys import ALL, index_key, record_key
from gateway.sessions.model import Record, subject_of
from gateway.sessions.pipeline import refuse_errors, run_commands
from gateway.sessions.stored import MARGIN_S, SessionCorrupt, over_at, read_over_at
from gateway.store.client import Argument, Store, command

PAGE: Final = 500


class Everyone:
    """The index of all sessions. Per process; holds nothing but its client."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, record: Record) -> None:
        """Count a new session. Raises `StoreUnavailable`."""
        await command(self._store, "ZADD", ALL, over_at(record.refresh_expires, record.access_expires), record.sid)

    async def count(self) -> int:
        """How many sessions there are; those that ended by idleness count until the purge. Raises `StoreUnavailable`."""
        return int(await command(self._store, "ZCARD", ALL))

    async def pages(self, size: int = PAGE) -> AsyncIterator[tuple[str, ...]]:
        """Every sid that is there from beginning to end, in pages; removing them meanwhile is safe, and one may come twice.

        Raises `StoreUnavailable`.
        """
        cursor = 0
        while True:
            cursor, found = await command(self._store, "ZSCAN", ALL, cursor, "COUNT", size)
            yield _ours(member for member, _ in found)
            if not cursor:
                return

    async def remove(self, sids: Iterable[str]) -> None:
        """Remove the records of sessions that were ended, and every mention of them. Repeating it is safe; names that are none
        of ours are passed over. Raises `StoreUnavailable`: some may be left."""
        by_account: dict[str, list[str]] = {}
        for sid in sids:
            sub = subject_of(sid)
            if sub is not None:
                by_account.setdefault(sub, []).append(sid)
        commands: list[Sequence[Argument]] = []
        for sub, its in by_account.items():
            commands += [("UNLINK", *map(record_key, its)), ("ZREM", index_key(sub), *its), ("ZREM", ALL, *its)]
        for at in range(0, len(commands), PAGE):
            refuse_errors(await run_commands(self._store, commands[at : at + PAGE]))

    async def remove_all(self) -> int:
        """After a leak, when the keys are gone and their denial is enforced: the records of all sessions go. How many there were.

        A login meanwhile may be among them, and has to be repeated. Raises `StoreUnavailable`: some may be left.
        """
        removed: set[str] = set()
        async for sids in self.pages():
            await self.remove(sids)
            removed.update(sids)
        return len(removed)

    async def purge(self, now: float, limit: int = 20 * PAGE) -> tuple[str, ...]:
        """Drop the sessions whose records have expired from all indexes, looking at no more than about `limit`; which they were.

        `now` is wall time. It only says where to look: what has a record lives. Raises `StoreUnavailable`.
        """
        gone: list[str] = []
        for _ in range(0, limit, PAGE):
            due = await command(self._store, "ZRANGEBYSCORE", ALL, "-inf", now, "LIMIT", 0, PAGE)
            gone += await self._look_at(due, now)
            if len(due) < PAGE:
                break
        return tuple(gone)

    async def _look_at(self, due: Sequence[bytes], now: float) -> list[str]:
        sids = _ours(due)
        reads: list[Sequence[Argument]] = [("HMGET", record_key(sid), "refresh_expires", "access_expires") for sid in sids]
        times = [_over_at(answer) for answer in await run_commands(self._store, reads)]
        # One that should be over and is not yet gone (another clock) is looked at again a little later, so the purge goes on.
        later = math.ceil(now) + MARGIN_S
        living: list[Argument] = []
        for sid, over in zip(sids, times, strict=True):
            living += [] if over is None else [max(over, later), sid]
        if living:
            await command(self._store, "ZADD", ALL, "XX", *living)
        gone = [sid for sid, over in zip(sids, times, strict=True) if over is None]
        await self.remove(gone)
        strangers = set(due).difference(sid.encode() for sid in sids)
        if strangers:
            await command(self._store, "ZREM", ALL, *strangers)
        return gone


def _ours(members: Iterable[bytes]) -> tuple[str, ...]:
    names = [member.decode("utf-8", "replace") for member in members]
    return tuple([name for name in names if subject_of(name) is not None])


def _over_at(answer: Any) -> int | None:
    """When the record is over; None: there is none, or a damaged one, which is none. Raises `StoreUnavailable`."""
    if isinstance(answer, RedisError) and not str(answer).startswith("WRONGTYPE"):
        refuse_errors([answer])
    try:
        return read_over_at(answer)
    except SessionCorrupt:
        return None
