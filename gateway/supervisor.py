"""The first process: it holds the addresses and the store, keeps the workers alive, and answers on the admin port.

    supervisor ──── admin port · /metrics · /readyz · revocations
      ├── store        (embedded only)
      ├── worker 0     block 0 of the shared cells: heartbeat, gauges, counters
      └── worker 1     block 1

It never touches a client's request: when it hangs, requests are served on, and when it dies, everything dies with it
(the kernel sees to that, `lifeline.py`), so there is never a gateway that nobody watches.

A new configuration (SIGHUP, or its files have changed) is judged first, then served by new workers, and only when all of these
are live do the old ones finish what they have. Whatever fails before that leaves everything as it was.

Owns the listeners, the present generation of workers and the past ones. What a generation is is in `generation.py`, what a worker
does in `worker.py`, the life of one process in `child.py`, the store in `storekeeper.py`, readiness in `admin/health.py`, the
operator's side in `operating.py`. This file is the loop, the start, the succession, the end.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from itertools import count as counting
from typing import TYPE_CHECKING, Any, Final

import uvloop

from gateway.admin.health import Readiness, StoreStatus, WorkerStatus
from gateway.boot import hand_over
from gateway.child import Child
from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.config.schema import Log
from gateway.errors import ConfigurationError, GatewayError
from gateway.generation import BEYOND_DRAIN_S, Generation, Surroundings
from gateway.listeners import Listeners
from gateway.metering import Meter
from gateway.reading_again import read_again, read_pem
from gateway.revocation.journal import Journal, leftovers
from gateway.revocation.log import RevocationLog
from gateway.storekeeper import Storekeeper
from gateway.systemd import Notifier, inherited_sockets
from gateway.telemetry.carried import Carried
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import SecurityLog, configure
from gateway.telemetry.metrics import WorkerMetrics
from gateway.telemetry.reading import Reloads, SupervisorFacts, UpstreamReading
from gateway.watched import Watched, files_of

if TYPE_CHECKING:
    from gateway.admin.history import History
    from gateway.admin.listener import AdminListener
    from gateway.operating import Operating
    from gateway.telemetry.exposition import Exposition

TICK_S: Final = 0.1
LOOK_EVERY_S: Final = 1.0
FAREWELL_S: Final = 2.0
BLIND_AFTER_S: Final = 2.0
PREPARED_WITHIN_S: Final = 30.0
LISTENING_WITHIN_S: Final = 5.0
MOST_PAST: Final = 4  # generations that still finish; with one more, the oldest is told to end
OLD_ENOUGH_S: Final = 60.0  # a worker that takes too much memory: sooner it would be replaced over and over
OWN_SEAT: Final = 1_000_000  # where the supervisor's journal is
WORKER_COMMAND: Final = (sys.executable, "-m", "gateway", "worker")

logger: Final = logging.getLogger("gateway.supervisor")


class CannotSucceed(GatewayError):
    """The workers of a new configuration did not come to serve. Those of the present one serve on."""


def run(loaded: Loaded, workers: int | None = None, announce: Callable[[str], None] | None = None) -> int:
    """Serve until told to stop; the exit code. `announce` gets one line when every worker accepts connections.

    Raises ConfigurationError or another GatewayError when it cannot start.
    """
    supervisor = Supervisor(loaded, workers, announce=announce or logger.info)
    lines = LineWriter(sys.stderr.fileno(), supervisor.metrics.log_dropped, supervisor.lock_fd)
    supervisor.set_log = lambda log: configure(log.level, log.format, "supervisor", lines)
    supervisor.set_log(loaded.config.log)
    try:
        return uvloop.run(supervisor.run())
    finally:
        lines.close()
        supervisor.close()


class Supervisor:
    """Per process: everything below. `command` starts a worker, which finds its `Boot` in the environment.

    `lock_fd` and the cells outlive `run()`: log lines are written under a lock, and counted, until the very end. `set_log` is
    told how a new configuration wants the log.
    """

    def __init__(
        self,
        loaded: Loaded,
        workers: int | None = None,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        announce: Callable[[str], None] = logger.info,
    ) -> None:
        self._workers_asked_for = workers
        self._command = command
        self._announce = announce
        self._clock = Clock()
        self.lock_fd = hand_over(b"", "gateway-lock")
        self.set_log: Callable[[Log], None] = lambda log: None
        self._present = Generation(loaded, self._count(loaded), Listeners(()), read_pem(loaded))
        self._past: list[Generation] = []
        self._coming: Generation | None = None
        self._succession = asyncio.Lock()
        self.metrics = WorkerMetrics(self._present.layout, self._present.cells.block(self._present.count))
        self._carried = Carried()
        self._meter = Meter()
        self._readiness = Readiness()
        self._reloads = Reloads(succeeded_at=self._clock.wall())
        self._restarts_before = 0
        self._over_memory = 0
        self._is_announced = False
        self._told_to_stop = asyncio.Event()
        self._told_to_hurry = asyncio.Event()
        self._told_to_reload = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._notifier = Notifier()
        self._store: Storekeeper | None = None
        self._journal: Journal | None = None
        self._admin: AdminListener | None = None
        self._operating: Operating | None = None
        self._exposition: Exposition | None = None
        self._history: History | None = None

    def close(self) -> None:
        """Give back what was to be inherited. After `run`."""
        for generation in (*self._past, self._present):
            generation.close()
        self._notifier.close()
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
        self._told_to_reload.set()

    # The start.

    async def _start(self) -> None:
        config = self._present.config
        self._present.listeners = Listeners.open(config.listen, self._present.count, inherited_sockets())
        self._store = await Storekeeper.open(config, self._clock, self.metrics.store_command)
        self._present.start(self._clock.boot(), self._around(self._store), self._seats(), (0, 0))
        self._do(self._store.watch())
        self._journal = Journal(config.store.directory, OWN_SEAT, self._store.log)
        self._take_up_orphans()
        self._do(self._journal.run())
        await self._open_admin(self._store)
        self._do(self._follow_files())

    async def _open_admin(self, store: Storekeeper) -> None:
        """Imported only now: the workers are on their way meanwhile, and the gateway is ready 0.3 s earlier for it."""
        from gateway.admin.history import History
        from gateway.admin.listener import AdminListener
        from gateway.telemetry.exposition import Exposition

        present, staleness = self._present, self._present.config.store.max_staleness
        self._exposition = Exposition(present.layout, present.cells, staleness, self._facts, self._clock.boot)
        self._history = History(present.layout, present.cells, self._clock.wall)
        self._do(self._history.run())
        self._operating = operating = self._operate(present.loaded, store, store.log)
        operating.start()
        listener = AdminListener(self._answer)
        await listener.start(present.config.admin.listen)
        self._admin = listener

    def _operate(self, loaded: Loaded, store: Storekeeper, log: RevocationLog) -> "Operating":
        from gateway.operating import Operating

        assert self._exposition is not None and self._history is not None
        security = SecurityLog(self._clock.boot)
        exposition, history, clock = self._exposition, self._history, self._clock
        return Operating(loaded, store.client, log, clock, self.metrics, self, exposition, security, history)

    def _answer(self, request: Any) -> Coroutine[Any, Any, Any]:
        assert self._operating is not None
        return self._operating.answer(request)

    def _take_up_orphans(self) -> None:
        """What workers had promised that are no more, nor have one in their seat, is appended by the supervisor [R5]."""
        assert self._journal is not None
        taken = {OWN_SEAT, *(child.seat for child in self._children())}
        folder = self._present.config.store.directory
        self._journal.load(also=[seat for seat in leftovers(folder, 0) if seat not in taken])

    # The loop.

    async def _supervise(self) -> None:
        """The loop. What was silent while this process did not run itself is not held against anybody."""
        judged_from = looked_at = self._clock.boot()
        while not self._told_to_stop.is_set():
            self._news.clear()
            now = self._clock.boot()
            judged_from = now if now - looked_at > BLIND_AFTER_S else judged_from
            looked_at = now
            for generation in (*self._past, self._present):
                generation.watch(now, judged_from)
            self._present.lend(now)
            self._let_go()
            self._notice()
            self.metrics.log_seen(*self._log_seen())
            self._measure(now)
            self._notifier.beat(now)
            await _wait(self._news, TICK_S)

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

    def _log_seen(self) -> tuple[int, int]:
        """How far the log came, for workers that start later: they must not believe a store that was rolled back [L5]."""
        return max(generation.log_seen() for generation in (*self._past, self._present))

    def _let_go(self) -> None:
        """Tell on what past workers count; forget a generation when its last one has ended."""
        for generation in [generation for generation in self._past if generation.is_over]:
            self._past.remove(generation)
            self._carried.settle(generation.cells)
            generation.close()
            self._take_up_orphans()
            logger.info("The workers of the configuration before have finished")
        self._tell_on()

    def _tell_on(self) -> None:
        self._carried.write(self._present.layout, self._present.cells.block(self._present.count + 1))

    def _measure(self, now: float) -> None:
        """Memory and processor time; whoever holds too much of the one is replaced as if the configuration were a new one."""
        past = [child for generation in self._past for child in generation.children]
        self._meter.look(now, self._present.children, past)
        limit = self._present.config.limits.worker_memory
        index, held = self._meter.largest()
        if limit is None or held <= limit or now - self._present.started_at < OLD_ENOUGH_S or self._told_to_reload.is_set():
            return
        self._over_memory += 1
        self._present.started_at = now
        logger.error("Worker %d takes %d MiB, more than limits.worker_memory: all workers are replaced", index, held >> 20)
        self._do(self._renew())

    # The succession.

    async def _follow_files(self) -> None:
        """Reload when told to, and when the files of the configuration have changed and hold still."""
        watched = await asyncio.to_thread(self._watch)
        while True:
            await _wait(self._told_to_reload, LOOK_EVERY_S)
            if not self._told_to_reload.is_set() and not await asyncio.to_thread(watched.has_changed):
                continue
            if self._told_to_stop.is_set():
                return
            self._told_to_reload.clear()
            await asyncio.to_thread(watched.is_other)  # from here on what they hold is known, good or not
            if await self._reload():
                was, watched = watched, await asyncio.to_thread(self._watch)
                if await asyncio.to_thread(was.is_other):  # meanwhile, so nobody can say which of it was read
                    self.reload()

    def _watch(self) -> Watched:
        loaded = self._present.loaded
        return Watched(files_of(loaded.config, loaded.path, loaded.files))

    async def _reload(self) -> bool:
        """Whether there is a new configuration now. A bad one changes nothing, and is told line by line."""
        if self._is_announced:
            self._notifier.say_reloading()
        reloads = self._reloads
        try:
            loaded, pem = await asyncio.to_thread(read_again, self._present.loaded)
            await self._succeed(loaded, pem)
        except (GatewayError, OSError) as error:  # OSError: no descriptor is left, say; the next attempt may have one
            for line in error.problems if isinstance(error, ConfigurationError) else [str(error)]:
                logger.error("The configuration stays as it was: %s", line)
            self._reloads = Reloads(reloads.successes, reloads.failures + 1, False, reloads.succeeded_at)
            self._say_ready("; the new configuration was refused")
            return False
        for warning in loaded.warnings:
            logger.warning("%s", warning)
        self._reloads = Reloads(reloads.successes + 1, reloads.failures, True, self._clock.wall())
        logger.info("The configuration was read again: %s on %s", self._counted(), ", ".join(self.addresses))
        self._say_ready()
        return True

    async def _renew(self) -> None:
        """New workers of the configuration that is present when its turn comes: a reload may be under way."""
        try:
            async with self._succession:
                loaded = self._present.loaded
                await self._replace(loaded, await asyncio.to_thread(read_pem, loaded))
        except (GatewayError, OSError) as error:
            logger.error("The workers stay as they were: %s", error)

    async def _succeed(self, loaded: Loaded, pem: tuple[bytes, ...]) -> None:
        """When its turn has come, as `_replace`."""
        async with self._succession:
            await self._replace(loaded, pem)

    async def _replace(self, loaded: Loaded, pem: tuple[bytes, ...]) -> None:
        """Put the workers of this configuration in the place of the present ones; one at a time, under `_succession`.

        Raises GatewayError or OSError, with nothing changed.
        """
        assert self._store is not None
        store, before = self._store, self._present
        listeners = before.listeners.followed_by(loaded.config.listen, self._count(loaded))
        try:
            log = store.log_for(loaded.config)
            operating = self._operate(loaded, store, log)
            after = await self._prepare(Generation(loaded, self._count(loaded), listeners, pem))
        except BaseException:
            listeners.close(but=before.listeners)
            raise
        await self._take_over(after)
        was, self._operating, store.log = self._operating, operating, log
        operating.start()
        self.set_log(loaded.config.log)
        before.listeners.close(but=listeners)
        self._retire(before)
        if was is not None:
            self._do(was.close())

    async def _prepare(self, after: Generation) -> Generation:
        """Its workers, when all of them could serve. Raises CannotSucceed.

        They must be live, unless nobody here ever was: during an outage the present ones know what is revoked, and serve routes
        that may go on with that; new ones would know nothing.
        """
        assert self._store is not None
        self._coming = after
        deadline = time.monotonic() + PREPARED_WITHIN_S
        try:
            after.start(self._clock.boot(), self._around(self._store), self._seats(), self._log_seen())
            while not (after.is_prepared() and (self._are_live(after) or not self._knows_something())):
                if after.has_lost_one(self._clock.boot()):
                    raise CannotSucceed("a new worker ended as soon as it was started; its own message says why")
                if time.monotonic() > deadline or self._told_to_stop.is_set():
                    raise CannotSucceed(f"the new workers were not ready to serve within {PREPARED_WITHIN_S:.0f} s")
                await _wait(self._told_to_stop, TICK_S / 4)
        except BaseException:
            self._coming = None
            self._retire(after)
            raise
        return after

    def _knows_something(self) -> bool:
        return any(worker.reading.lag_s != float("inf") for worker in self.workers())

    def _are_live(self, generation: Generation) -> bool:
        return all(worker.reading.state == "live" for worker in generation.workers(self._clock.boot()))

    async def _take_over(self, after: Generation) -> None:
        """Let the new workers listen beside the old ones; then they are the present ones."""
        assert self._exposition is not None and self._history is not None
        deadline = time.monotonic() + LISTENING_WITHIN_S
        while time.monotonic() < deadline and not self._told_to_stop.is_set():
            now = self._clock.boot()
            after.lend(now)
            if all(worker.reading.is_listening for worker in after.workers(now)):
                break
            await _wait(self._told_to_stop, TICK_S / 10)
        before, self._present, self._coming = self._present, after, None
        self._restarts_before += sum(child.restarts for child in before.children)
        self._carried.retire(before.layout, before.cells)
        self.metrics.move(after.layout, after.cells.block(after.count))
        self._tell_on()
        self._exposition.move(after.layout, after.cells)
        self._history.move(after.layout, after.cells)

    def _retire(self, generation: Generation) -> None:
        """Let it finish. One that never served is told on too: what it has counted of the store has happened."""
        if generation.cells not in self._carried:
            self._carried.retire(generation.layout, generation.cells)
        self._past.append(generation)
        generation.retire(self._clock.boot())
        for oldest in self._past[:-MOST_PAST]:
            logger.warning("The workers of %d configurations still finish: the oldest are told to end", len(self._past))
            for child in oldest.children:
                child.end()

    # The end.

    async def _end(self) -> None:
        """SIGTERM, wait for the drain, SIGKILL; then leave the log, close the admin port, stop the store."""
        self._told_to_stop.set()
        self._notifier.say("STOPPING=1", status="Finishing what is in flight")
        self._present.listeners.close()
        await self._end_workers()
        if self._store is not None:
            await self._say_goodbye(self._store)
        if self._operating is not None:
            await self._operating.close(FAREWELL_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._admin is not None:
            await self._admin.close()
        if self._store is not None:
            await self._store.close()

    async def _end_workers(self) -> None:
        deadline = time.monotonic() + self._present.config.timeouts.drain + BEYOND_DRAIN_S
        for child in self._children():
            child.end()
        while self._reap_all() and time.monotonic() < deadline and not self._told_to_hurry.is_set():
            self._notifier.beat(self._clock.boot())
            await _wait(self._told_to_hurry, TICK_S / 2)
        for child in self._children():
            if child.is_running:
                logger.warning("Worker %d (process %d) did not finish in time and is killed", child.index, child.pid)
                child.signal(signal.SIGKILL)
        while self._reap_all():  # noqa: ASYNC110 - what was killed is gone within milliseconds
            await asyncio.sleep(TICK_S / 10)

    def _reap_all(self) -> bool:
        """Bury who has ended; whether somebody is left."""
        now = self._clock.boot()
        for child in self._children():
            child.reap(now)
        return any(child.is_running for child in self._children())

    async def _say_goodbye(self, store: Storekeeper) -> None:
        """The removals of the last workers may be under way still; an orderly end waits a moment for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*(store.remove(child.incarnation) for child in self._children() if child.started_at))

    # What the rest is made of.

    def _count(self, loaded: Loaded) -> int:
        return self._workers_asked_for or loaded.config.worker_count

    def _children(self) -> list[Child]:
        coming = [self._coming] if self._coming is not None else []
        return [child for generation in (*self._past, self._present, *coming) for child in generation.children]

    def _seats(self) -> Iterator[int]:
        """Those that no living worker has."""
        taken = {child.seat for child in self._children()}
        return (seat for seat in counting() if seat not in taken)

    def _around(self, store: Storekeeper) -> Surroundings:
        return Surroundings(self._command, store.embedded_url, self.lock_fd, self._bury, self._news.set)

    def _bury(self, incarnation: str) -> None:
        """A worker is gone, waited for by the kernel's own word: its connections are closed, its membership is over [W2]."""
        if self._store is not None and not self._told_to_stop.is_set():
            self._do(self._store.remove(incarnation))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the loop; ended with it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _facts(self) -> SupervisorFacts:
        office = self._operating.office if self._operating is not None else None
        return SupervisorFacts(
            running=sum(child.is_running for child in self._present.children),
            configured=self._present.count,
            restarts=self._restarts_before + sum(child.restarts for child in self._present.children),
            is_store_up=self.store.is_up,
            sessions=office.sessions_count if office is not None else 0,
            key_ages=office.key_ages() if office is not None else (),
            draining=sum(child.is_running for generation in self._past for child in generation.children),
            over_memory=self._over_memory,
            reloads=self._reloads,
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
