"""Who waits for whom: a login takes turns with others, for a bounded time.

At the store: a few commands at a time. Its client refuses a command when all its connections are taken; without turns fifty
logins at once would be refused for want of a connection, or would take those that sessions and revocations need.

Behind the same counter: one attempt at a time. A place is taken before the password is judged, so twenty tabs that log in at
once with the right one would else be refused for failures that nobody made. It costs nothing, since one thread hashes for
all. Where the line is long nobody joins it: the counter alone decides, as it would for a script, which is what makes long lines.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.store.client import Argument, Store, command
from gateway.store.scripts import Script, run_script

AT_ONCE: Final = 8
MOST_WAITING: Final = 512
DEADLINE_S: Final = 2.0
MOST_IN_LINE: Final = 128
LINE_DEADLINE_S: Final = 10.0


class _Line:
    """Those who wait for the same counter, and the one who does not."""

    __slots__ = ("lock", "people")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.people = 0


class Turns:
    """Per process. Its methods raise `StoreUnavailable`, also when the turn does not come in time or too many wait."""

    def __init__(self, store: Store, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING, deadline_s: float = DEADLINE_S):
        self._store = store
        self._turns = asyncio.Semaphore(at_once)
        self._room = at_once + most_waiting
        self._deadline_s = deadline_s
        self._lines: dict[str, _Line] = {}

    async def command(self, *parts: Argument) -> Any:
        """One command; the answer is the store's, unread."""
        async with self._turn():
            return await command(self._store, *parts)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """One script; the answer is the store's, unread."""
        async with self._turn():
            return await run_script(self._store, script, keys, arguments)

    @asynccontextmanager
    async def in_line(self, counter: str) -> AsyncIterator[None]:
        """After those of this process who came before for the same counter; at once where the line is long, or stands still."""
        line = self._lines.setdefault(counter, _Line())
        if line.people >= MOST_IN_LINE:
            yield
            return
        line.people += 1
        try:
            is_first = await _acquired(line.lock)
            try:
                yield
            finally:
                if is_first:
                    line.lock.release()
        finally:
            line.people -= 1
            if line.people == 0:
                del self._lines[counter]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._room <= 0:
            raise StoreUnavailable("too many wait for the store")
        self._room -= 1
        try:
            async with asyncio.timeout(self._deadline_s), self._turns:
                yield
        except TimeoutError as error:
            raise StoreUnavailable("no answer in time") from error
        finally:
            self._room += 1


async def _acquired(lock: asyncio.Lock) -> bool:
    try:
        async with asyncio.timeout(LINE_DEADLINE_S):
            return await lock.acquire()
    except TimeoutError:
        return False
