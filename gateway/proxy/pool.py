"""Which upstream connection a request takes: an idle one, a new one, or the next that is returned.

    take       an idle connection, the most recently used first (so the others grow old and close); None when there is none
    wait       a place in the queue: a new connection is opened while fewer than the limit are open, else the first
               returned one serves the first in the queue; a deadline ends the wait
    put_back   after an exchange that left the connection clean

The choice is synchronous; only opening a connection takes a task.
"""

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING

from gateway.config.schema import Upstream
from gateway.errors import UpstreamUnreachable
from gateway.proxy.steps import Wait
from gateway.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane


class Pool:
    """The connections of one worker to one upstream."""

    def __init__(self, name: str, config: Upstream, plane: "Plane") -> None:
        # per process
        self.name = name
        self.config = config
        self.authority = str(config.address).encode() if not config.address.is_unix else b"localhost"
        self.answers = plane.answers
        self._plane = plane
        self._tls = tls_context(config)
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._queue: deque[tuple[float, Wait[UpstreamConnection]]] = deque()

    def __repr__(self) -> str:
        counts = f"{len(self._idle)} idle of {len(self._open)}, {len(self._opening)} opening, {len(self._queue)} waiting"
        return f"<Pool {self.name}: {counts}>"

    def take(self) -> UpstreamConnection | None:
        """The idle connection that was used last, or None."""
        return self._idle.pop() if self._idle else None

    def wait(self) -> Wait[UpstreamConnection]:
        """A connection to come. Fails with UpstreamUnreachable at the queue's or the connect's deadline."""
        wait: Wait[UpstreamConnection] = Wait()
        self._queue.append((self._plane.tick_time + self.config.queue_timeout + self.config.connect_timeout, wait))
        self._open_for_the_queue()
        return wait

    def open_fresh(self) -> Wait[UpstreamConnection]:
        """A connection that nobody used before, for the one repetition after a stale one."""
        for connection in tuple(self._idle):
            connection.close()  # as old as the one that was stale
        return self.wait()

    def put_back(self, connection: UpstreamConnection) -> None:
        """The exchange is over and the connection is clean: to whoever waits, else to the idle ones."""
        if self._queue:
            # By the loop, not from here: a queue of exchanges that fail at once would nest without end.
            self._plane.loop.call_soon(self._hand_over, connection)
        else:
            connection.deadline = self._plane.tick_time + self.config.idle_timeout
            self._idle.append(connection)

    def opened(self, connection: UpstreamConnection) -> None:
        """The connection is made. Told by itself, before `lost` can be: what is lost first would count as open for ever."""
        self._plane.report.metrics.upstream_connections(+1)
        self._open.add(connection)

    def retire(self, connection: UpstreamConnection) -> None:
        """The connection is about to close: nobody may take it in the turn of the loop until `lost`."""
        if connection in self._idle:
            self._idle.remove(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is closed, whoever closed it."""
        self._plane.report.metrics.upstream_connections(-1)
        self._open.discard(connection)
        self.retire(connection)
        self._open_for_the_queue()

    def tick(self, now: float) -> None:
        """End what is overdue: waits in the queue, idle connections, answers that do not come."""
        queue, self._queue = self._queue, deque()
        for deadline, wait in queue:
            if wait.wake is None or deadline < now:  # its client left, or it is overdue
                wait.fail(UpstreamUnreachable("no connection became free in time"))
            else:
                self._queue.append((deadline, wait))
        for connection in tuple(self._open):
            if connection.deadline and connection.deadline < now:
                connection.on_deadline()

    async def close(self) -> None:
        """Close all connections; for the end of the worker."""
        for task in tuple(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in tuple(self._open):
            connection.close()

    def _open_for_the_queue(self) -> None:
        waiting = len(self._queue) - len(self._opening)
        free = self.config.max_connections - len(self._open) - len(self._opening)
        for _ in range(min(waiting, free)):
            task = self._plane.loop.create_task(self._open_one())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        """An attempt is over. When it failed, the next in the queue gets one of its own."""
        self._opening.discard(task)
        if not task.cancelled():
            self._open_for_the_queue()

    async def _open_one(self) -> None:
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                connection = await self._connect()
            if connection.is_closed:  # accepted, and closed at once: trying again and again would be a storm
                raise ConnectionResetError
        except (OSError, UnicodeError) as error:  # timeouts and TLS errors are OSErrors; UnicodeError: a host that no name can be
            self._note_up(False)
            self._plane.report.upstream_unreachable(self.name, error)
            if self._queue:
                self._queue.popleft()[1].fail(UpstreamUnreachable(type(error).__name__))
            return
        self._note_up(True)
        self._hand_over(connection)

    def _note_up(self, is_up: bool) -> None:
        plane = self._plane
        plane.report.metrics.upstream_up(self.name, is_up, plane.clock.boot())

    async def _connect(self) -> UpstreamConnection:
        plane, address, server_name = self._plane, self.config.address, None
        if self._tls is not None:
            server_name = self.config.tls.server_name or address.host

        def new() -> UpstreamConnection:
            return UpstreamConnection(self, plane)

        if address.is_unix:
            _, connection = await plane.loop.create_unix_connection(new, address.path)
        else:
            assert address.host is not None
            assert address.port is not None
            _, connection = await plane.loop.create_connection(
                new, address.host, address.port, ssl=self._tls, server_hostname=server_name
            )
        return connection

    def _hand_over(self, connection: UpstreamConnection) -> None:
        if connection.is_closed:
            return
        while self._queue:
            _, wait = self._queue.popleft()
            if wait.wake is not None and not wait.is_done:  # else its exchange has ended
                wait.set(connection)
                return
        self.put_back(connection)


def tls_context(config: Upstream) -> ssl.SSLContext | None:
    """How to verify the upstream: by default fully, against the system's authorities."""
    if not config.is_tls:
        return None
    context = ssl.create_default_context(cafile=str(config.tls.ca) if config.tls.ca else None)
    if not config.tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
