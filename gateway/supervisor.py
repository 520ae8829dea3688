"""The first process: it holds the addresses and the store, keeps the workers alive, and answers on the admin port.

    supervisor ──── admin port · /metrics · /readyz · revocations
      ├── store        (embedded only)
      ├── worker 0     block 0 of the shared cells: heartbeat, gauges, counters
      └── worker 1     block 1

It never touches a client's request: when it hangs, requests are served on, and when it dies, everything dies with it
(the kernel sees to that, `lifeline.py`), so there is never a gateway that nobody watches.

Owns the listeners, the cells and the child processes. What a worker does is in `worker.py`, the life of one process in
`child.py`, the store in `storekeeper.py`, readiness in `admin/health.py`. This file is the loop, the start, the end.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import uvloop

from gateway.admin.health import Readiness, StoreStatus, WorkerStatus
from gateway.boot import Boot, hand_over
from gateway.child import Child
from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.listeners import Listeners
from gateway.storekeeper import Storekeeper
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import SecurityLog, configure
from gateway.telemetry.metrics import Layout, WorkerMetrics, clear_gauges
from gateway.telemetry.reading import SupervisorFacts, log_seen, read_worker, upstreams_up
from gateway.telemetry.slots import Cells

if TYPE_CHECKING:
    from gateway.admin.listener import AdminListener
    from gateway.admin.office import Office
    from gateway.webhook.webhook import Webhook

TICK_S: Final = 0.1
BEYOND_DRAIN_S: Final = 2.0
FAREWELL_S: Final = 2.0
BLIND_AFTER_S: Final = 2.0
WORKER_COMMAND: Final = (sys.executable, "-m", "gateway", "worker")

logger: Final = logging.getLogger("gateway.supervisor")


def run(loaded: Loaded, workers: int | None = None, announce: Callable[[str], None] | None = None) -> int:
    """Serve until told to stop; the exit code. `announce` gets one line when every worker accepts connections.

    Raises ConfigurationError or another GatewayError when it cannot start.
    """
    supervisor = Supervisor(loaded, workers, announce=announce or logger.info)
    lines = LineWriter(sys.stderr.fileno(), supervisor.metrics.log_dropped, supervisor.cells.fd)
    configure(loaded.config.log.level, loaded.config.log.format, "supervisor", lines)
    try:
        return uvloop.run(supervisor.run())
    finally:
        lines.close()
        supervisor.close()


class Supervisor:
    """Per process: everything below. `command` starts a worker, which finds its `Boot` in the environment.

    `cells` outlive `run()`: log lines are written under a lock on them until the very end.
    """

    def __init__(
        self,
        loaded: Loaded,
        workers: int | None = None,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        announce: Callable[[str], None] = logger.info,
    ) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._count = workers or self._config.worker_count
        self._command = command
        self._announce = announce
        self._clock = Clock()
        self._layout = Layout.of(self._config)
        self.cells = Cells.create(self._layout.block, self._count + 1)
        self._config_fd = hand_over(loaded.text)
        self.metrics = WorkerMetrics(self._layout, self.cells.block(self._count))
        self._readiness = Readiness()
        self._is_announced = False
        self._told_to_stop = asyncio.Event()
        self._told_to_hurry = asyncio.Event()
        self._children: list[Child] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners = Listeners(())
        self._store: Storekeeper | None = None
        self._admin: AdminListener | None = None
        self._office: Office | None = None
        self._webhook: Webhook | None = None

    def close(self) -> None:
        """Give back what was to be inherited. After `run`."""
        self.cells.close()
        os.close(self._config_fd)

    async def run(self) -> int:
        """Start, supervise until told to stop, stop. Raises CannotListen, or a StoreError of the embedded store."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, _refuse_reload)
        try:
            await self._start()
            await self._supervise()
        finally:
            await self._end()
        return 1 if self._told_to_hurry.is_set() else 0

    def stop(self) -> None:
        """The first time: finish what is in flight, for at most `timeouts.drain`. The second time: at once."""
        (self._told_to_hurry if self._told_to_stop.is_set() else self._told_to_stop).set()

    async def _start(self) -> None:
        self._listeners = Listeners.open(self._config.listen)
        self._store = await Storekeeper.open(self._config, self._clock, self.metrics.store_command)
        for index in range(self._count):
            self._children.append(self._child(index, self._store.url))
            self._children[index].start(self._clock.boot())
        self._do(self._store.watch())
        await self._open_admin(self._store)

    async def _supervise(self) -> None:
        """The loop. What was silent while this process did not run itself is not held against anybody."""
        judged_from = looked_at = self._clock.boot()
        while not self._told_to_stop.is_set():
            now = self._clock.boot()
            judged_from = now if now - looked_at > BLIND_AFTER_S else judged_from
            looked_at = now
            for child in self._children:
                child.watch(now, judged_from)
            self._notice()
            self._remember_the_log()
            await _wait(self._told_to_stop, TICK_S)

    def _notice(self) -> None:
        """What follows from the workers' state: readiness, and the one line that says we listen."""
        workers = self.workers()
        was_ready = self._readiness.is_ready
        if self._readiness.judge([worker.is_ready for worker in workers]) != was_ready:
            if was_ready:
                logger.warning("Not ready any more")
            else:
                logger.info("Ready")
        if not self._is_announced and all(worker.reading.is_listening for worker in workers):
            self._is_announced = True
            counted = f"{self._count} {'worker' if self._count == 1 else 'workers'}"
            self._announce(f"Listening on {', '.join(self.addresses)} with {counted}; admin on {self.admin_address}")

    def _remember_the_log(self) -> None:
        """How far the log came, for workers that start later: they must not believe a store that was rolled back [L5]."""
        blocks = (self.cells.block(index) for index in range(self._count + 1))
        self.metrics.log_seen(*max(log_seen(self._layout, block) for block in blocks))

    async def _end(self) -> None:
        """SIGTERM, wait for the drain, SIGKILL; then leave the log, close the admin port, stop the store."""
        self._told_to_stop.set()
        await self._end_workers()
        if self._store is not None:
            await self._say_goodbye(self._store)
        if self._webhook is not None:
            await self._webhook.close()
        if self._office is not None:
            await self._office.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._admin is not None:
            await self._admin.close()
        if self._store is not None:
            await self._store.close()
        self._listeners.close()

    async def _end_workers(self) -> None:
        deadline = time.monotonic() + self._config.timeouts.drain + BEYOND_DRAIN_S
        for child in self._children:
            child.signal(signal.SIGTERM)
        while self._reap_all() and time.monotonic() < deadline and not self._told_to_hurry.is_set():
            await _wait(self._told_to_hurry, TICK_S / 2)
        for child in self._children:
            if child.is_running:
                logger.warning("Worker %d (process %d) did not finish in time and is killed", child.index, child.pid)
                child.signal(signal.SIGKILL)
        while self._reap_all():  # noqa: ASYNC110 - what was killed is gone within milliseconds
            await asyncio.sleep(TICK_S / 10)

    def _reap_all(self) -> bool:
        """Bury who has ended; whether somebody is left."""
        now = self._clock.boot()
        for child in self._children:
            child.reap(now)
        return any(child.is_running for child in self._children)

    async def _say_goodbye(self, store: Storekeeper) -> None:
        """The removals of the last workers may be under way still; an orderly end waits a moment for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*(store.remove(child.incarnation) for child in self._children if child.started_at))

    def _child(self, index: int, store_url: str) -> Child:
        boot = Boot(
            config_path=str(self._loaded.path),
            index=index,
            workers=self._count,
            cells_fd=self.cells.fd,
            config_fd=self._config_fd,
            store_url=store_url,
            addresses=self._listeners.addresses,
            listen_fds=self._listeners.descriptors,
            incarnation="",
            supervisor_pid=os.getpid(),
        )
        cells = self.cells.block(index)
        return Child(boot, self._command, lambda: cells[self._layout.heartbeat], self._bury)

    def _bury(self, index: int, incarnation: str) -> None:
        """A worker is gone, waited for by the kernel's own word: its connections are closed, its membership is over [W2]."""
        clear_gauges(self._layout, self.cells.block(index))
        if self._store is not None and not self._told_to_stop.is_set():
            self._do(self._store.remove(incarnation))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the loop; ended with it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_admin(self, store: Storekeeper) -> None:
        """Imported only now: the workers are on their way meanwhile, and the gateway is ready 0.3 s earlier for it."""
        from gateway.admin.office import Office

        self._office = office = Office(self._config, store.client, store.log, self._clock, self.metrics)
        for work in office.tasks():
            self._do(work)
        from gateway.admin.app import Admin
        from gateway.admin.history import History
        from gateway.admin.listener import AdminListener
        from gateway.telemetry.exposition import Exposition

        config = self._config
        max_staleness = config.store.max_staleness
        exposition = Exposition(self._layout, self.cells, max_staleness, self._facts, self._clock.boot)
        security = SecurityLog(self._clock.boot)
        history = History(self._layout, self.cells, self._clock.wall)
        self._do(history.run())
        admin = Admin(config, str(self._loaded.path), self, office, exposition, self.metrics, security, history)
        listener = AdminListener(admin.answer)
        await listener.start(config.admin.listen)
        self._admin = listener
        if config.webhook is not None:
            from gateway.webhook.webhook import Webhook

            self._webhook = Webhook(config.webhook, store.client, self._clock, self.metrics, keep_s=config.audit.keep)
            self._webhook.start()

    def _facts(self) -> SupervisorFacts:
        return SupervisorFacts(
            running=sum(child.is_running for child in self._children),
            configured=self._count,
            restarts=sum(child.restarts for child in self._children),
            is_store_up=self.store.is_up,
            sessions=self._office.sessions_count if self._office is not None else 0,
            key_ages=self._office.key_ages() if self._office is not None else (),
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where clients connect, port 0 resolved."""
        scheme = "https" if self._config.tls else "http"
        return tuple(address if address.startswith("unix:") else f"{scheme}://{address}" for address in self._listeners.addresses)

    @property
    def admin_address(self) -> str:
        if self._admin is None:
            return ""
        return str(self._admin.address) if self._admin.address.is_unix else f"http://{self._admin.address}"

    @property
    def is_ready(self) -> bool:
        """Judged at each turn of the loop, and again for whoever asks."""
        return self._readiness.judge([worker.is_ready for worker in self.workers()])

    @property
    def is_stopping(self) -> bool:
        return self._told_to_stop.is_set()

    @property
    def store(self) -> StoreStatus:
        if self._store is None:
            return StoreStatus("", False, "not opened yet")
        return self._store.status

    def workers(self) -> list[WorkerStatus]:
        """Every configured worker as it is now."""
        now = self._clock.boot()
        return [
            WorkerStatus(
                index=child.index,
                pid=child.pid,
                state=child.state,
                incarnation=child.incarnation,
                restarts=child.restarts,
                reading=read_worker(self._layout, self.cells.block(child.index), now, self._config.store.max_staleness),
            )
            for child in self._children
        ]

    def upstreams(self) -> dict[str, bool]:
        return upstreams_up(self._layout, [self.cells.block(child.index) for child in self._children])


def _refuse_reload() -> None:
    logger.warning("SIGHUP: the configuration is not reloaded while running; restart to apply a change")


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until the event, or for `timeout_s`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
