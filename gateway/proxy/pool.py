"""Which upstream connection a request takes, of one address: an idle one, a new one, or the next that is returned.

    take       an idle connection, the most recently used first (so the others grow old and close); None when there is none
    wait       a place in the queue: a new connection is opened while fewer than the limit are open, else the first
               returned one serves the first in the queue; a deadline ends the wait
    put_back   after an exchange that left the connection clean

The choice is synchronous; only opening a connection takes a task. An address that is known to be down makes nobody wait: one
attempt at a time finds out when it is back (`health`). Which address a request goes to is decided above, in `balancer`.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gateway.config.schema import Upstream
from gateway.errors import UpstreamUnreachable
from gateway.proxy.connector import Connects, Place
from gateway.proxy.health import Health, State
from gateway.proxy.steps import Wait
from gateway.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in the queue."""

    wait: Wait[UpstreamConnection]
    deadline: float
    tries: int  # further addresses that may be tried

    @property
    def is_wanted(self) -> bool:
        """Its exchange is still there, and has nothing yet."""
        return self.wait.wake is not None and not self.wait.is_done


class Whole(Protocol):
    """The upstream that a pool is one address of: what a pool tells it, and asks it."""

    def noticed(self, pool: "Pool") -> None:
        """An attempt to connect there is over, or the address is in another state."""

    def may_eject(self, pool: "Pool") -> bool:
        """Whether the address may be left out for bad answers."""

    def elsewhere(self, failed: "Pool", waiting: Waiting) -> bool:
        """Find another address for a request that this one cannot serve; False: there is none."""


class Pool:
    """The connections of one worker to one address of an upstream."""

    def __init__(self, name: str, config: Upstream, plane: "Plane", place: Place, connector: Connects, whole: Whole) -> None:
        # per process
        self.name = name
        self.config = config
        self.place: Final = place
        self.authority = self.place.authority
        self.answers = plane.answers
        self.health = Health(config.ejection)
        self.is_failing = False  # the last attempt to connect
        self.is_leaving = False  # the address is no more: nothing is kept, nothing new begins
        self._whole = whole
        self._connector = connector
        self._plane = plane
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._queue: deque[Waiting] = deque()

    def __repr__(self) -> str:
        counts = f"{len(self._idle)} idle of {len(self._open)}, {len(self._opening)} opening, {len(self._queue)} waiting"
        return f"<Pool {self.name}: {counts}>"

    def take(self) -> UpstreamConnection | None:
        """The idle connection that was used last, or None."""
        return self._idle.pop() if self._idle else None

    @property
    def load(self) -> int:
        """Requests that are under way, or wait to be."""
        return len(self._open) - len(self._idle) + len(self._queue)

    @property
    def is_empty(self) -> bool:
        return not self._open and not self._opening and not self._queue

    def wait(self) -> Wait[UpstreamConnection]:
        """A connection to come. Fails with UpstreamUnreachable: at the queue's or the connect's deadline, or at once."""
        wait: Wait[UpstreamConnection] = Wait()
        deadline = self._plane.tick_time + self.config.queue_timeout + self.config.connect_timeout
        if not self.enqueue(Waiting(wait, deadline, self.config.retries)):
            wait.fail(UpstreamUnreachable("it is known to be down, or too many wait"))
        return wait

    def enqueue(self, waiting: Waiting) -> bool:
        """A place in the queue, or False. Who comes here although a connection is idle was meant for another address before."""
        if self._idle and self.health.is_reachable:
            self._queue.append(waiting)
            self._plane.loop.call_soon(self._hand_over, self._idle.pop())  # when the exchange waits for it
            return True
        self._forget_who_left()
        free = max(0, self.config.max_connections - len(self._open) - len(self._opening))
        if not self.health.is_reachable or len(self._queue) >= len(self._opening) + free + self.config.max_waiting:
            return False
        self._queue.append(waiting)
        self._open_for_the_queue()
        return True

    def open_fresh(self, stale: UpstreamConnection) -> Wait[UpstreamConnection]:
        """A connection that nobody used before, for the one repetition after a stale one."""
        self.close_idle()  # as old as the one that was stale
        self._plane.report.metrics.upstream_retry(self.name)
        return self.wait()

    def close_idle(self) -> None:
        """Close what nobody uses."""
        for connection in tuple(self._idle):
            connection.close()

    def leave(self) -> None:
        """The address is no more: whoever uses it goes on, whoever waits for it goes elsewhere."""
        self.is_leaving = True
        self.close_idle()
        self._empty_the_queue("its address is gone")

    def put_back(self, connection: UpstreamConnection) -> None:
        """The exchange is over and the connection is clean: to whoever waits, else to the idle ones."""
        if self.is_leaving:
            connection.close()
        elif self._queue:
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
        self._forget_who_left()
        self._open_for_the_queue()

    def tick(self, now: float) -> None:
        """End what is overdue: waits in the queue, idle connections, answers that do not come."""
        queue, self._queue = self._queue, deque()
        for waiting in queue:
            if waiting.wait.wake is None or waiting.deadline < now:  # its client left, or it is overdue
                waiting.wait.fail(UpstreamUnreachable("no connection became free in time"))
            else:
                self._queue.append(waiting)
        if self.health.tick(now):
            self._changed()
        if self.health.wants_probe(now) and not self.is_leaving:
            self._start_opening()
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

    def _forget_who_left(self) -> None:
        """At the front of the queue; who left further back is noticed at the next tick, or when he has come to the front."""
        while self._queue and not self._queue[0].is_wanted:
            self._queue.popleft()

    def _open_for_the_queue(self) -> None:
        waiting = len(self._queue) - len(self._opening)
        free = self.config.max_connections - len(self._open) - len(self._opening)
        for _ in range(min(waiting, free)):
            self._start_opening()

    def _start_opening(self) -> None:
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
                _, connection = await self._connector.connect(self.place, lambda: UpstreamConnection(self, self._plane))
            if connection.is_closed:  # accepted, and closed at once: trying again and again would be a storm
                raise ConnectionResetError
        except (OSError, UnicodeError) as error:  # timeouts and TLS errors are OSErrors; UnicodeError: a host that no name can be
            self.connect_failed(error)
            if self._queue:
                self._give_up(self._queue.popleft(), type(error).__name__)
            return
        self.is_failing = False
        if self.health.connected(self._plane.loop.time()):
            self._changed()
        else:
            self._whole.noticed(self)
        self._hand_over(connection)

    def connect_failed(self, error: BaseException) -> None:
        """An attempt of the pool's failed, or of a check: it may be the one too many."""
        self.is_failing = True
        if self.health.connect_failed(self._plane.loop.time()):
            self._changed("unreachable")
            self._plane.report.upstream_unreachable(self.name, self.place.address, error)
            self._empty_the_queue("nobody answers there")
        else:
            self._whole.noticed(self)

    def answer_failed(self) -> None:
        """An exchange got no answer, or one that was cut off. With one address it stays in use: a request could do that."""
        if self.health.answer_failed(self._plane.loop.time(), may_eject=self._whole.may_eject(self)):
            self._changed("answers")

    def checked(self, *, is_well: bool) -> None:
        """What the application said of itself."""
        if self.health.checked(is_well=is_well):
            self._changed(None if is_well else "check")

    def _give_up(self, waiting: Waiting, why: str) -> None:
        if not (waiting.is_wanted and waiting.tries and self._whole.elsewhere(self, waiting)):
            waiting.wait.fail(UpstreamUnreachable(why))

    def _empty_the_queue(self, why: str) -> None:
        queue, self._queue = self._queue, deque()
        for waiting in queue:
            self._plane.loop.call_soon(self._give_up, waiting, why)  # by the loop: as in `put_back`

    def _changed(self, cause: str | None = None) -> None:
        """The address is in another state: told once per change. `cause`: why it is not used any more."""
        report = self._plane.report
        if cause is not None:
            report.metrics.upstream_ejected(self.name, cause)
        report.upstream_changed(self.name, self.place.address, self.health.state.value)
        self._whole.noticed(self)

    def _hand_over(self, connection: UpstreamConnection) -> None:
        if connection.is_closed:
            return
        while self._queue:
            waiting = self._queue.popleft()
            if waiting.is_wanted:
                waiting.wait.set(connection)
                return
        self.put_back(connection)


class Alone:
    """An upstream of one address: nothing is to be chosen, and the address is never left out for its answers."""

    def __init__(self, plane: "Plane") -> None:
        self._plane = plane

    def noticed(self, pool: Pool) -> None:
        metrics = self._plane.report.metrics
        metrics.upstream_addresses(pool.name, states_of([pool]))
        metrics.upstream_up(pool.name, not pool.is_failing, self._plane.clock.boot())

    def may_eject(self, pool: Pool) -> bool:
        return False

    def elsewhere(self, failed: Pool, waiting: Waiting) -> bool:
        return False


def states_of(pools: Iterable[Pool]) -> dict[str, dict[str, int]]:
    """How many addresses are in which state, by what is configured. As metrics tell it: one that is being probed is down."""
    seen: dict[str, dict[str, int]] = {}
    for pool in pools:
        counts = seen.setdefault(str(pool.place.named), {"up": 0, "ejected": 0, "down": 0})
        state = pool.health.state
        counts[State.DOWN.value if state is State.PROBING else state.value] += 1
    return seen
