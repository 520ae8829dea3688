"""One configuration and the workers that serve it: a generation. A new configuration is a new generation beside the old one.

    start ──▶ workers prepare ──▶ lend: sockets are handed out, they listen ──▶ retire: no sockets more, what runs ends ──▶ over

Every worker accepts from sockets of its own. One that has died, is not there yet, or has not been heard of for a second has its
sockets lent to a neighbour too, who serves whoever waits in their queues; it gets them back as soon as it serves again.

Owns the children, the cells they count in, and what they inherit. The sockets are the supervisor's and outlive it.
"""

import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from gateway.admin.health import WorkerStatus
from gateway.boot import Boot, hand_over_all
from gateway.child import Child
from gateway.config.load import Loaded
from gateway.listeners import Listeners
from gateway.telemetry.metrics import Layout, clear_gauges
from gateway.telemetry.reading import UpstreamReading, log_seen, read_upstreams, read_worker
from gateway.telemetry.slots import Cells
from gateway.template import Process

BEYOND_DRAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all generations of a supervisor have in common. `on_end` is told of each worker whose life is over."""

    launch: Callable[[Boot], Process]
    embedded_store: str
    lock_fd: int
    on_end: Callable[[str], None]
    on_news: Callable[[], None]


class Generation:
    """Per generation: everything. Blocks of its cells: the `count` workers', the supervisor's, and one for `FormerCounts`."""

    def __init__(self, loaded: Loaded, count: int, listeners: Listeners, pem: tuple[bytes, ...] = ()) -> None:
        """`pem` is the certificate with its chain, and the key; or nothing. Raises OSError, with nothing left behind."""
        self.loaded = loaded
        self.config = loaded.config
        self.count = count
        self.listeners = listeners
        self.layout = Layout.of(loaded.config)
        with ExitStack() as inherited:
            self.cells = Cells.create(self.layout.block, count + 2)
            inherited.callback(self.cells.close)
            self._config_fd, *self._tls_fds = hand_over_all([pickle.dumps(loaded), *pem])
            for descriptor in (self._config_fd, *self._tls_fds):
                inherited.callback(os.close, descriptor)
            self._inherited = inherited.pop_all()
        self.children: list[Child] = []
        self.started_at = 0.0
        self._deadline = float("inf")

    def start(self, now: float, around: Surroundings, seats: Iterable[int], seen: tuple[int, int]) -> None:
        """Begin every worker's first life. `seen`: how far the log came, so that a rolled back store is not believed [L5]."""
        self.started_at = now
        supervisors = self.cells.block(self.count)
        supervisors[self.layout.log_epoch], supervisors[self.layout.log_sequence] = map(float, seen)
        for index, seat in zip(range(self.count), seats, strict=False):
            self.children.append(self._child(index, seat, around))
            self.children[index].start(now)

    def watch(self, now: float, judged_from: float) -> None:
        """Bury, kill and start workers. One that is retired may take `timeouts.drain`, and a little more."""
        for child in self.children:
            child.watch(now, judged_from)
            if now > self._deadline:
                child.signal(signal.SIGKILL)

    def lend(self, now: float) -> None:
        """See to it that every socket is accepted from."""
        serving = [child for child in self.children if child.can_serve(now)]
        wanted: list[dict[str, socket.socket]] = [self.listeners.lent_to(child.index, self.count) for child in self.children]
        for place, child in enumerate(each for each in self.children if each not in serving):
            if serving:
                wanted[serving[place % len(serving)].index].update(self.listeners.lent_to(child.index, self.count))
        for child, sockets in zip(self.children, wanted, strict=True):
            child.lend(sockets)

    def retire(self, now: float) -> None:
        """Other workers have their places: let them finish."""
        self._deadline = now + self.config.timeouts.drain + BEYOND_DRAIN_S
        for child in self.children:
            child.retire()

    @property
    def is_over(self) -> bool:
        return not any(child.is_running for child in self.children)

    def has_lost_one(self, now: float) -> bool:
        """Whether one of its workers has ended already, before anybody watches them."""
        for child in self.children:
            child.reap(now)
        return not all(child.is_running for child in self.children)

    def is_prepared(self) -> bool:
        return all(child.is_prepared for child in self.children)

    def workers(self, now: float) -> list[WorkerStatus]:
        """Every one as it is now."""
        staleness = self.config.store.max_staleness
        return [
            WorkerStatus(
                index=child.index,
                pid=child.pid,
                state=child.state,
                incarnation=child.incarnation,
                restarts=child.restarts,
                reading=read_worker(self.layout, self.cells.block(child.index), now, staleness),
            )
            for child in self.children
        ]

    def upstreams(self) -> dict[str, UpstreamReading]:
        return read_upstreams(self.layout, [self.cells.block(child.index) for child in self.children])

    def log_seen(self) -> tuple[int, int]:
        """How far the log came, by those of it who know most."""
        return max(log_seen(self.layout, self.cells.block(index)) for index in range(self.count + 1))

    def close(self) -> None:
        """Give back what was to be inherited."""
        self._inherited.close()

    def _child(self, index: int, seat: int, around: Surroundings) -> Child:
        boot = Boot(
            index=index,
            workers=self.count,
            seat=seat,
            cells_fd=self.cells.fd,
            config_fd=self._config_fd,
            tls_fds=tuple(self._tls_fds),
            lock_fd=around.lock_fd,
            control_fd=-1,
            embedded_store=around.embedded_store,
            incarnation="",
            supervisor_pid=os.getpid(),
        )
        cells = self.cells.block(index)

        def bury(child: Child) -> None:
            clear_gauges(self.layout, cells)
            around.on_end(child.incarnation)

        return Child(boot, around.launch, lambda: cells[self.layout.heartbeat], bury, around.on_news)
