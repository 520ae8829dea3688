"""A worker's dealings with the session store: fetched once, rotated once, however many requests ask at the same moment.

    fetch       a record into the memory of this worker; who asks while it is under way gets the same answer [S1]
    refresh     rotate by a refresh token and mint the successor; parallel requests of one client share one rotation [R3]
    open        a login: record, tokens, the sessions that are too many now
    flush       what was used since the last time, in one batch

Everything that reaches a request from here is judged again by the decision. Per process; owns what is under way, nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from gateway.clock import Clock
from gateway.errors import StoreError, StoreUnavailable
from gateway.reasons import Reason
from gateway.sessions.cache import Entry, SessionCache
from gateway.sessions.ending import Ending
from gateway.sessions.first_use import FirstUses, Seen
from gateway.sessions.minting import Mint, Minted
from gateway.sessions.model import Login, Record
from gateway.sessions.rotation import Outcome, Presented
from gateway.sessions.store import SessionStore
from gateway.sessions.stored import SessionCorrupt

FLUSH_EVERY_S: Final = 5.0
FIRST_USE_WITHIN_S: Final = 0.25
MOST_UNDER_WAY: Final = 1024
_ATTEMPTS: Final = 5

T = TypeVar("T")
_log = logging.getLogger(__name__)

# What a refresh token that gets nothing is told.
_REASONS: Final = {
    Outcome.REUSED: Reason.REFRESH_REUSED,
    Outcome.REFUSED: Reason.DEVICE_CHANGED,
    Outcome.EXPIRED: Reason.EXPIRED_TOKEN,
    Outcome.OUTDATED: Reason.OLD_VERSION,
    Outcome.ABSENT: Reason.UNKNOWN_SESSION,
    Outcome.DELIVERY: Reason.NO_TOKEN,
}


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The outcome of one refresh.

    `minted` and `entry` where it got tokens, else `reason`; None of all: it was barred, and the caller knows why.
    """

    outcome: Outcome
    record: Record | None
    minted: Minted | None = None
    entry: Entry | None = None
    reason: Reason | None = None


async def _nothing() -> None:
    return


class SessionKeeper:
    """Per worker. `on_refresh` is told of every outcome, of each request that shared one.

    `refuse_lost` raises StoreError when the store is not the one we knew, so that "there is no such session" is believed of no
    other: a store that was emptied a moment ago signs nobody out.
    """

    def __init__(
        self,
        store: SessionStore,
        first_uses: FirstUses,
        cache: SessionCache,
        mint: Mint,
        ending: Ending,
        clock: Clock,
        on_refresh: Callable[[str, Presented, Refreshed | None], None],
        refuse_lost: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self.store = store
        self.ending = ending
        self._first_uses = first_uses
        self._cache = cache
        self._mint = mint
        self._clock = clock
        self._on_refresh = on_refresh
        self._refuse_lost = refuse_lost
        self._under_way: dict[object, asyncio.Task[Any]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._rotations: dict[str, tuple[Presented, asyncio.Task[Refreshed]]] = {}

    async def fetch(self, sid: str, generation: int) -> None:
        """The session's record into memory, and that a token of this generation was seen into the store. Raises StoreError."""
        await self._once((sid, generation), lambda: self._fetch(sid, generation))

    async def look(self, sid: str) -> Record | None:
        """The record as the store has it now, whatever is remembered here; None: there is none to be used. Raises StoreError."""
        return await self._corrupt_as_none(self.store.fetch(sid))

    async def fetch_first_use(self, seen: Seen) -> None:
        """How another issuer's session looked at its first use, which this may be [S3]. Raises StoreError.

        Its request can go on without, so it waits for a moment only.
        """
        try:
            async with asyncio.timeout(FIRST_USE_WITHIN_S):
                await self._once(seen.name, lambda: self._fetch_first_use(seen))
        except TimeoutError as error:
            raise StoreUnavailable("no answer in time") from error

    def look_again(self, sid: str) -> None:
        """Fetch the record in the background: it may have changed at another worker. What is under way is enough."""
        if (sid, 0) not in self._under_way:
            task = asyncio.get_running_loop().create_task(self._look_again(sid))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def refresh(self, sid: str, presented: Presented) -> Refreshed:
        """Rotate, or get what whoever was quicker got. Raises StoreError."""
        try:
            while (under_way := self._rotations.get(sid)) is not None:
                shared, task = under_way
                if shared == presented:
                    refreshed = await asyncio.shield(task)
                    outcome = Outcome.REPEATED if refreshed.minted is not None else refreshed.outcome
                    self._on_refresh(outcome.value, presented, refreshed)
                    return refreshed
                await asyncio.wait([task])
            refreshed = await self._rotate_once(sid, presented)
        except StoreError:
            self._on_refresh("unavailable", presented, None)
            raise
        self._on_refresh(refreshed.outcome.value, presented, refreshed)
        return refreshed

    async def open(self, login: Login) -> Minted:
        """A new session; the account's oldest end when there are too many. Raises StoreError: then there is none."""
        created = await self.store.create(login)
        minted = self._mint.mint(created.record)
        if created.surplus:
            try:
                await self.ending.end(created.surplus, reason="more sessions than one account may have", source="login")
            except StoreError as error:  # they are named again at the next login
                _log.warning("%d sessions too many could not be ended: %s", len(created.surplus), error)
        return minted

    async def renew(self, sid: str, version: int, network: str) -> Minted | None:
        """The session goes on under a new version of its account; None when it is over. Raises StoreError."""
        record = await self._corrupt_as_none(self.store.renew(sid, version, network))
        self._cache.evict(sid)
        return None if record is None else self._mint.mint(record)

    async def run(self) -> None:
        """Write uses now and then, for ever; to be cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what was used since the last time."""
        uses = self._cache.take_uses()
        try:
            await self.store.note_use(uses)
        except StoreError as error:
            _log.warning("%d uses of sessions are not on record: %s", len(uses), error)

    async def _once(self, name: object, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The one task of this name: who comes while it is under way waits for it."""
        task = self._under_way.get(name)
        if task is None:
            if len(self._under_way) >= MOST_UNDER_WAY:
                raise StoreUnavailable("too many sessions are asked for at once")
            task = self._under_way[name] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        result: T = await asyncio.shield(task)
        return result

    async def _look_again(self, sid: str) -> None:
        try:
            await self.fetch(sid, 0)
        except StoreError as error:
            _log.warning("a session could not be looked at again: %s", error)

    async def _fetch(self, sid: str, generation: int) -> None:
        for _ in range(_ATTEMPTS):
            marker = self._cache.begin(sid)
            record = await self._corrupt_as_none(self.store.fetch(sid, generation))
            if record is None:
                await self._refuse_lost()
            if self._cache.keep(marker, record, self._clock.boot()):
                return
        raise StoreUnavailable("the record changes faster than it can be read")

    async def _fetch_first_use(self, seen: Seen) -> None:
        marker = self._cache.begin(seen.name)
        self._cache.keep(marker, await self._first_uses.get(seen), self._clock.boot())

    async def _rotate_once(self, sid: str, presented: Presented) -> Refreshed:
        if len(self._rotations) >= MOST_UNDER_WAY:
            raise StoreUnavailable("too many sessions are renewed at once")
        task = asyncio.create_task(self._rotate(sid, presented))
        self._rotations[sid] = (presented, task)
        task.add_done_callback(lambda _: self._rotations.pop(sid, None))
        return await asyncio.shield(task)

    async def _rotate(self, sid: str, presented: Presented) -> Refreshed:
        marker = self._cache.begin(sid)
        try:
            rotation = await self.store.rotate(sid, presented)
        except SessionCorrupt as error:
            _log.error("session %s: %s", sid, error)
            return Refreshed(Outcome.ABSENT, None, reason=Reason.UNKNOWN_SESSION)
        outcome, record = rotation.outcome, rotation.record
        if outcome is Outcome.ABSENT:
            await self._refuse_lost()
        if outcome is Outcome.REUSED and record is not None:
            await self.ending.end([sid], reason="a refresh token was used again", source="reuse")
        if not outcome.has_tokens or record is None:
            return Refreshed(outcome, record, reason=_REASONS.get(outcome))
        now = self._clock.boot()
        self._cache.keep(marker, record, now)
        known = self._cache.find(sid, now)
        return Refreshed(outcome, record, self._mint.mint(record), known if isinstance(known, Entry) else Entry(record, now))

    async def _corrupt_as_none(self, asking: Coroutine[Any, Any, Record | None]) -> Record | None:
        try:
            return await asking
        except SessionCorrupt as error:
            _log.error("the record of a session cannot be used: %s", error)
            return None
