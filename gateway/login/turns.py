"""The login's way to the store: a few commands at a time, the others wait their turn, for a bounded time.

The store's client refuses a command when all its connections are taken. Without turns fifty logins at once would be refused for
want of a connection, or would take those that sessions and revocations need.
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


class Turns:
    """Per process. Its methods raise `StoreUnavailable`, also when the turn does not come in time or too many wait."""

    def __init__(self, store: Store, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING, deadline_s: float = DEADLINE_S):
        self._store = store
        self._turns = asyncio.Semaphore(at_once)
        self._room = at_once + most_waiting
        self._deadline_s = deadline_s

    async def command(self, *parts: Argument) -> Any:
        """One command; the answer is the store's, unread."""
        async with self._turn():
            return await command(self._store, *parts)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """One script; the answer is the store's, unread."""
        async with self._turn():
            return await run_script(self._store, script, keys, arguments)

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
