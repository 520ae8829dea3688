"""The first process: it holds the addresses and the store, keeps the workers alive, and answers on the admin port.

    supervisor ──── admin port · /metrics · /readyz · revocations
      ├── store        (embedded only)
      ├── worker 0     block 0 of the shared cells: heartbeat, gauges, counters
      └── worker 1     block 1

It never touches a client's request: when it hangs, requests are served on, and when it dies, everything dies with it
(the kernel sees to that, `lifeline.py`), so there is never a gateway that nobody watches.

A new configuration (SIGHUP, or its files have changed) is judged first, then served by new workers, and only when all of these
are live do the old ones finish what they have. Whatever fails before that leaves everything as it was.

Owns the addresses, the tasks beside the loop, and what there is once per gateway. When there is a new configuration is decided in
`reloading.py`, how workers take the place of others in `succession.py`, what a generation of them is in `generation.py`, the life
of one process in `child.py`, what a worker does in `worker.py`, the store in `storekeeper.py`, readiness in `admin/health.py`,
the operator's side in `control_plane.py`. This file is the start, the loop, a new configuration put in force, the end: in one
place, because their order is what it decides.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import uvloop

from gateway.admin.health import Readiness, StoreStatus, WorkerStatus
from gateway.boot import hand_over
from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.config.schema import Log
from gateway.generation import Generation, Surroundings
from gateway.launcher import Launcher
from gateway.listeners import EXIT_CANNOT_LISTEN, CannotListen, Listeners, allow_descriptors
from gateway.process_usage import Meter
from gateway.reloading import Reloading
from gateway.revocation.journal import Journal, leftovers
from gateway.revocation.log import RevocationLog
from gateway.storekeeper import Storekeeper
from gateway.succession import Succession
from gateway.systemd import Notifier, inherited_sockets
from gateway.tasks import Tasks, ended
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import SecurityLog, configure
from gateway.telemetry.metrics import WorkerMetrics
from gateway.telemetry.reading import SupervisorFacts, UpstreamReading
from gateway.template import Template

if TYPE_CHECKING:
    from gateway.admin.history import History
    from gateway.admin.listener import AdminListener
    from gateway.control_plane import ControlPlane
    from gateway.telemetry.exposition import Exposition

TICK_S: Final = 0.1
FAREWELL_S: Final = 2.0
BLIND_AFTER_S: Final = 2.0
OLD_ENOUGH_S: Final = 60.0  # a worker that takes too much memory: sooner it would be replaced over and over
OWN_SEAT: Final = 1_000_000  # where the supervisor's journal is

logger: Final = logging.getLogger("gateway.supervisor")


def run(loaded: Loaded, workers: int | None = None, template: Template | None = None) -> int:
    """Serve until told to stop; the exit code. Workers are forked from the `template`, or else are programs of their own.

    Raises ConfigurationError or another GatewayError when it cannot start.
    """
    allow_descriptors()
    supervisor = Supervisor(loaded, workers, launcher=Launcher(template=template))
    lines = LineWriter(sys.stderr.fileno(), supervisor.metrics.log_dropped, supervisor.lock_fd)
    supervisor.set_log = lambda log: configure(log.level, log.format, "supervisor", lines)
    supervisor.set_log(loaded.config.log)
    try:
        return uvloop.run(supervisor.run())
    finally:
        lines.close()
        supervisor.close()


class Supervisor:
    """Per process: everything below. `launcher` starts workers.

    `lock_fd` and the cells outlive `run()`: log lines are written under a lock, and counted, until the very end. `set_log` is
    told how a new configuration wants the log.
    """

    def __init__(
        self,
        loaded: Loaded,
        workers: int | None = None,
        *,
        launcher: Launcher | None = None,
        announce: Callable[[str], None] = logger.info,
    ) -> None:
        self._workers_asked_for = workers
        self._launcher = launcher or Launcher()
        self._announce = announce
        self._clock = Clock()
        self.lock_fd = hand_over(b"", "gateway-lock")
        self.set_log: Callable[[Log], None] = lambda log: None
        self._told_to_stop = asyncio.Event()
        self._told_to_hurry = asyncio.Event()
        self._news = asyncio.Event()
        self._orphans = asyncio.Event()
        self._reloading = Reloading(loaded, self._put_in_force, self._clock.wall, self._reload_begins, self._reload_ended)
        first = Generation(loaded, self._count(loaded), Listeners(()), self._reloading.pem)
        self._succession = Succession(first, self._clock.boot, self._told_to_stop)
        self.metrics = WorkerMetrics(first.layout, first.cells.block(first.count))
        self._meter = Meter()
        self._readiness = Readiness()
        self._over_memory = 0
        self._is_announced = False
        self._tasks = Tasks()
        self._following: asyncio.Task[None] | None = None
        self._notifier = Notifier()
        self._store: Storekeeper | None = None
        self._journal: Journal | None = None
        self._admin: AdminListener | None = None
        self._control_plane: ControlPlane | None = None
        self._exposition: Exposition | None = None
        self._history: History | None = None

    def close(self) -> None:
        """Give back what was to be inherited. After `run`."""
        self._succession.close()
        self._notifier.close()
        self._launcher.close()
        os.close(self.lock_fd)

    async def run(self) -> int:
        """Start, supervise until told to stop, stop. Raises CannotListen, or a StoreError of the embedded store."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            await self._start()
            await self._supervise()
        finally:
            await self._end()
        return 1 if self._told_to_hurry.is_set() else 0

    def stop(self) -> None:
        """The first time: finish what is in flight, for at most `timeouts.drain`. The second time: at once."""
        (self._told_to_hurry if self._told_to_stop.is_set() else self._told_to_stop).set()
        self._news.set()

    def reload(self) -> None:
        """Read the configuration again, changed or not, and put new workers in the place of the old ones."""
        self._reloading.ask()

    # The start.

    async def _start(self) -> None:
        config = self._present.config
        self._present.listeners = Listeners.open(config.listen, self._present.count, inherited_sockets())
        self._store = await Storekeeper.open(config, self._clock, self.metrics.store_command)
        await asyncio.to_thread(self._launcher.prepare)
        self._succession.begin(self._around(self._store))
        self._tasks.keep(self._store.watch)
        store = self._store
        self._journal = Journal(config.store.directory, OWN_SEAT, lambda: store.log)
        self._tasks.keep(self._take_up_orphans)
        self._tasks.keep(self._journal.run)
        await self._open_admin(self._store)
        self._following = self._tasks.keep(self._reloading.follow)

    async def _open_admin(self, store: Storekeeper) -> None:
        """Imported only now: the workers are on their way meanwhile, and the gateway is ready 0.3 s earlier for it."""
        from gateway.admin.history import History
        from gateway.admin.listener import AdminListener
        from gateway.telemetry.exposition import Exposition

        present, staleness = self._present, self._present.config.store.max_staleness
        self._exposition = Exposition(present.layout, present.cells, staleness, self._facts, self._clock.boot)
        self._history = History(present.layout, present.cells, self._clock.wall)
        self._tasks.keep(self._history.run)
        self._control_plane = operating = self._build_control_plane(present.loaded, store, store.log)
        operating.start()
        listener = AdminListener(self._answer)
        await listener.start(present.config.admin.listen)
        self._admin = listener

    def _build_control_plane(self, loaded: Loaded, store: Storekeeper, log: RevocationLog) -> "ControlPlane":
        from gateway.control_plane import ControlPlane

        assert self._exposition is not None and self._history is not None
        security = SecurityLog(self._clock.boot)
        exposition, history, clock = self._exposition, self._history, self._clock
        return ControlPlane(loaded, store.client, log, clock, self.metrics, self, exposition, security, history)

    def _answer(self, request: Any) -> Coroutine[Any, Any, Any]:
        assert self._control_plane is not None
        return self._control_plane.answer(request)

    async def _take_up_orphans(self) -> None:
        """What workers had promised that are no more, nor have one in their seat, is appended by the supervisor [R5].

        Beside the loop, which goes on when it fails: a full disk must not end the gateway.
        """
        assert self._journal is not None
        while True:
            self._orphans.clear()
            taken = {OWN_SEAT, *(child.seat for child in self._succession.children())}
            folder = self._present.config.store.directory
            self._journal.load(also=[seat for seat in leftovers(folder, 0) if seat not in taken])
            await self._orphans.wait()

    # The loop.

    async def _supervise(self) -> None:
        """The loop. What was silent while this process did not run itself is not held against anybody. Raises CannotListen."""
        judged_from = looked_at = self._clock.boot()
        while not self._told_to_stop.is_set():
            self._news.clear()
            now = self._clock.boot()
            judged_from = now if now - looked_at > BLIND_AFTER_S else judged_from
            looked_at = now
            if self._succession.watch(now, judged_from):
                self._orphans.set()
            self._refuse_taken_addresses()
            self._notice()
            self.metrics.log_seen(*self._succession.log_seen())
            self._measure(now)
            self._notifier.beat(now)
            await _wait(self._news, TICK_S)

    def _refuse_taken_addresses(self) -> None:
        """What somebody else took between our bind and a worker's listen ends the start, as if he had been there before it.

        Later nobody can: once a worker listens the socket does, and it is held here.
        """
        if not self._is_announced and any(child.ended_with == EXIT_CANNOT_LISTEN for child in self._present.children):
            where = " or ".join(self.addresses)
            raise CannotListen(f"cannot listen on {where}: a worker says why; another program may have taken it meanwhile")

    def _notice(self) -> None:
        """What follows from the workers' state: readiness, and the one line that says we listen."""
        workers = self.workers()
        was_ready = self._readiness.is_ready
        if self._readiness.judge([worker.is_ready for worker in workers]) != was_ready:
            if was_ready:
                logger.warning("Not ready any more")
            else:
                logger.info("Ready")
            self._notifier.say(status=self._status())
        if not self._is_announced and all(worker.reading.is_listening for worker in workers):
            self._is_announced = True
            self._announce(f"Listening on {', '.join(self.addresses)} with {self._counted()}; admin on {self.admin_address}")
            self._say_ready()

    def _say_ready(self, further: str = "") -> None:
        """To systemd: the start, or a reload, is over. A store that is away does not hold up the start of a machine."""
        if self._is_announced:
            self._notifier.say("READY=1", status=self._status() + further)

    def _counted(self) -> str:
        count = self._present.count
        return f"{count} {'worker' if count == 1 else 'workers'}"

    def _status(self) -> str:
        return f"{'Ready' if self._readiness.is_ready else 'Not ready'}: {self._counted()} on {', '.join(self.addresses)}"

    def _measure(self, now: float) -> None:
        """Memory and processor time; whoever holds too much of the one is replaced as if the configuration were a new one."""
        self._meter.look(now, self._present.children, self._succession.past_children())
        limit = self._present.config.limits.worker_memory
        index, held = self._meter.largest()
        if limit is None or held <= limit or now - self._present.started_at < OLD_ENOUGH_S or self._reloading.is_asked:
            return
        self._over_memory += 1
        self._present.started_at = now
        logger.error("Worker %d takes %d MiB, more than limits.worker_memory: all workers are replaced", index, held >> 20)
        self._reloading.renew()

    # A new configuration.

    async def _put_in_force(self, loaded: Loaded, pem: tuple[bytes, ...]) -> None:
        """Have new workers serve it, and the operator's side go by it. Raises GatewayError or OSError, with nothing changed."""
        assert self._store is not None
        store, before = self._store, self._present
        async with AsyncExitStack() as undo:
            listeners = before.listeners.followed_by(loaded.config.listen, self._count(loaded))
            undo.callback(listeners.close, but=before.listeners)
            log = store.log_for(loaded.config)
            operating = self._build_control_plane(loaded, store, log)
            undo.push_async_callback(operating.close, 0.0)
            after = Generation(loaded, self._count(loaded), listeners, pem)
            await self._succession.succeed(after, self._around(store))
            undo.pop_all()  # from here on nothing is undone, and nothing is waited for
        before.listeners.close(but=listeners)
        self._move(after)
        was, self._control_plane, store.log = self._control_plane, operating, log
        operating.start()
        self.set_log(loaded.config.log)
        if was is not None:
            self._tasks.do("closing what the configuration before had", was.close())

    def _move(self, after: Generation) -> None:
        """Count, and tell, in the cells of another generation."""
        assert self._exposition is not None and self._history is not None
        self.metrics.move(after.layout, after.cells.block(after.count))
        self._exposition.move(after.layout, after.cells)
        self._history.move(after.layout, after.cells)

    def _reload_begins(self) -> None:
        if self._is_announced:
            self._notifier.say_reloading()

    def _reload_ended(self, is_good: bool) -> None:
        if is_good:
            logger.info("The configuration was read again: %s on %s", self._counted(), ", ".join(self.addresses))
        self._say_ready("" if is_good else "; the new configuration was refused")

    # The end.

    async def _end(self) -> None:
        """SIGTERM, wait for the drain, SIGKILL; then leave the log, close the admin port, stop the store."""
        self._told_to_stop.set()
        logger.info("Stopping: nothing new is accepted, and what is in flight is finished")
        self._notifier.say("STOPPING=1", status="Finishing what is in flight")
        beating = asyncio.create_task(self._beat())  # the loop does not any more, and each step may take seconds
        if self._following is not None:
            await ended(self._following)  # first: nobody begins to serve while all the others are told to end
        self._present.listeners.close()
        await self._succession.end(self._told_to_hurry)
        if self._store is not None:
            await self._say_goodbye(self._store)
        if self._control_plane is not None:
            await self._control_plane.close(FAREWELL_S)
        await self._tasks.end()
        if self._admin is not None:
            await self._admin.close()
        if self._store is not None:
            await self._store.close()
        await ended(beating)
        logger.info("Stopped")

    async def _beat(self) -> None:
        while True:
            self._notifier.beat(self._clock.boot())
            await asyncio.sleep(TICK_S)

    async def _say_goodbye(self, store: Storekeeper) -> None:
        """The removals of the last workers may be under way still; an orderly end waits a moment for them."""
        lives = [child.incarnation for child in self._succession.children() if child.started_at]
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*map(store.remove, lives))

    # What the rest is made of.

    @property
    def _present(self) -> Generation:
        return self._succession.present

    def _count(self, loaded: Loaded) -> int:
        return self._workers_asked_for or loaded.config.worker_count

    def _around(self, store: Storekeeper) -> Surroundings:
        return Surroundings(self._launcher, store.embedded_url, self.lock_fd, self._bury, self._news.set)

    def _bury(self, incarnation: str) -> None:
        """A worker is gone, waited for by the kernel's own word: its connections are closed, its membership is over [W2]."""
        if self._store is not None and not self._told_to_stop.is_set():
            self._tasks.do("removing a worker from the log", self._store.remove(incarnation))

    def _facts(self) -> SupervisorFacts:
        office = self._control_plane.office if self._control_plane is not None else None
        return SupervisorFacts(
            running=sum(child.is_running for child in self._present.children),
            configured=self._present.count,
            restarts=self._succession.restarts,
            is_store_up=self.store.is_up,
            sessions=office.sessions_count if office is not None else 0,
            key_ages=office.key_ages() if office is not None else (),
            draining=sum(child.is_running for child in self._succession.past_children()),
            over_memory=self._over_memory,
            reloads=self._reloading.reloads,
            processes=self._meter.readings(self._present.count),
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where clients connect, port 0 resolved."""
        scheme = "https" if self._present.config.tls else "http"
        addresses = self._present.listeners.addresses
        return tuple(address if address.startswith("unix:") else f"{scheme}://{address}" for address in addresses)

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
        return self._present.workers(self._clock.boot())

    def upstreams(self) -> dict[str, UpstreamReading]:
        return self._present.upstreams()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until the event, or for `timeout_s`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
