"""Asks an application how it is: one GET per address and pause, on a connection of its own, without a user.

Each worker asks for itself, at times of its own, and tells the address's pool. It decides nothing (`health`).
"""

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.config.schema import Upstream
from gateway.proxy.connector import Connector
from gateway.proxy.health import State
from gateway.proxy.pool import Pool

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane

LONGEST_LINE: Final = 4096


class Checker:
    """The checks of one upstream's addresses, when they are configured."""

    def __init__(self, config: Upstream, plane: "Plane", connector: Connector) -> None:
        self._config = config
        self._plane = plane
        self._connector = connector
        self._due_at: dict[Pool, float] = {}
        self._running: dict[Pool, asyncio.Task[None]] = {}

    def tick(self, now: float, pools: tuple[Pool, ...]) -> None:
        """Begin what is due. An address that is down is probed by its pool."""
        if self._config.health.path is None:
            return
        self._due_at = {pool: self._due_at.get(pool, 0.0) for pool in pools}
        for pool, due_at in self._due_at.items():
            if due_at <= now and pool not in self._running and pool.health.is_reachable:
                self._due_at[pool] = now + self._config.health.every * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
                task = self._running[pool] = self._plane.loop.create_task(self._check(pool))
                task.add_done_callback(partial(self._ended, pool))

    def _ended(self, pool: Pool, _: asyncio.Task[None]) -> None:
        self._running.pop(pool, None)

    async def close(self) -> None:
        """End the checks that are under way."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _check(self, pool: Pool) -> None:
        is_connected, is_well = False, False
        try:
            async with asyncio.timeout(self._config.health.timeout):
                reader, writer = await self._connect(pool)
                is_connected = True
                try:
                    is_well = await self._ask(pool, reader, writer)
                finally:
                    writer.transport.abort()
        except (OSError, UnicodeError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            if not is_connected:
                pool.connect_failed(error)
                return
        if pool.health.state is not State.PROBING:
            pool.checked(is_well=is_well)

    async def _connect(self, pool: Pool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = self._plane.loop
        reader = asyncio.StreamReader(LONGEST_LINE, loop)
        transport, protocol = await self._connector.connect(pool.place, lambda: asyncio.StreamReaderProtocol(reader, loop=loop))
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _ask(self, pool: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the answer's status is one of an application that is well. The rest of the answer is not read."""
        assert self._config.health.path is not None
        path = self._config.health.path.encode()
        writer.write(b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: gateway\r\nConnection: close\r\n\r\n" % (path, pool.authority))
        version, status, *_ = (await reader.readuntil(b"\n")).split()
        wanted = self._config.health.status or range(200, 400)
        return version.startswith(b"HTTP/1.") and int(status) in wanted
