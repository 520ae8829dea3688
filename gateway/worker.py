"""One worker, from its start to its end: the only file that knows everyone.

    follower ──entries──> view ──┐
    key set sources ──> issuers ─┴─> known ──> plane <── pools, routes, report        (put together in inside.py)
                                                 │
                                              listener ──> clients

Started by the supervisor with its place in `Boot`; ends on SIGTERM, or when it is told to retire, after its last exchange. A
worker says that it is prepared as soon as its replica is live, and accepts from the sockets that it is lent then. When the store
does not answer it is prepared all the same after a second: it refuses by name what needs the store, and serves what does not.
"""

import asyncio
import contextlib
import gc
import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any, Final

import uvloop

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.pressure import Use
from gateway.boot import Boot, handed_over, path_of
from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.config.schema import Tls
from gateway.config.store_url import without_password
from gateway.enforce.country import Countries
from gateway.errors import CountriesUnavailable, GatewayError, StoreError
from gateway.inside import Inside, build_inside, build_plane, build_tracer
from gateway.keys.secrets import token_secrets
from gateway.keys.store import load as load_ring
from gateway.keys.store import restore as restore_ring
from gateway.lifeline import end_with_parent
from gateway.listeners import EXIT_CANNOT_LISTEN, CannotListen, allow_descriptors
from gateway.proxy.listener import Listener, server_tls
from gateway.proxy.plane import Plane
from gateway.proxy.suspects import suspect, wait_until_judged
from gateway.revocation.entry import Entry, Kind
from gateway.revocation.follower import Follower
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.revocation.witness import address_of
from gateway.revocation.witnessing import Witness
from gateway.sessions.model import subject_of
from gateway.telemetry.access import AccessLog
from gateway.telemetry.certificate import expiry_of
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import configure
from gateway.telemetry.metrics import Layout, WorkerMetrics
from gateway.telemetry.reading import log_seen
from gateway.telemetry.slots import Cells
from gateway.tokens.jwk import KeySet
from gateway.tokens.jwks import KeySetSource
from gateway.tokens.seal import derived
from gateway.worker_line import END, WorkerLine

COUNTRY_CHECK_S: Final = 60.0
WITNESS_PURPOSE: Final = b"gateway witness"
HEARTBEAT_S: Final = 0.25
LOOK_AT_LAG_EVERY_S: Final = 0.02  # costs 0.05 % of a core
LISTEN_ANYWAY_AFTER_S: Final = 1.0
KEYS_WITHIN_S: Final = 3.0  # to ask each issuer once: a worker without keys would call good tokens unknown

logger: Final = logging.getLogger("gateway.worker")


def main(boot: Boot) -> int:
    """Run one worker until SIGTERM; the exit code."""
    end_with_parent(boot.supervisor_pid)()
    allow_descriptors()
    try:
        loaded = pickle.loads(handed_over(boot.config_fd))  # noqa: S301 - memory of the supervisor's own, as it judged it
        return uvloop.run(Worker(boot, loaded).run())
    except GatewayError as error:
        print(f"worker {boot.index}: {error}", file=sys.stderr)
        return 1


class Worker:
    """Everything one worker is made of."""

    def __init__(self, boot: Boot, loaded: Loaded) -> None:
        config = loaded.config
        self._boot = boot
        self._config = config
        self._directory = loaded.directory
        self._store_url = boot.embedded_store or config.store.url
        self._clock = Clock()
        layout = Layout.of(config)
        cells = Cells.attach(boot.cells_fd, layout.block, boot.workers + 2)
        self._metrics = WorkerMetrics(layout, cells.block(boot.index))
        self._log_seen = log_seen(layout, cells.block(boot.workers))  # the supervisor's block
        self._errors = LineWriter(sys.stderr.fileno(), self._metrics.log_dropped, boot.lock_fd)
        self._lines = LineWriter(sys.stdout.fileno(), self._metrics.log_dropped, boot.lock_fd)
        configure(config.log.level, config.log.format, f"worker {boot.index}", self._errors)
        self._secrets = token_secrets(config.tokens.secrets, config.store.directory)
        self._view = View(config.store.max_entries)
        self._sources: dict[str, KeySetSource] = {}
        self._subdued: frozenset[str] = frozenset()
        self._stop = asyncio.Event()
        self._told_to_end = asyncio.Event()  # tunnels too: nobody takes our place
        self._told_to_hurry = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._end)
        config, boot = self._config, self._boot
        line = WorkerLine(boot.control_fd)
        inside = build_inside(config, self._secrets, self._view, self._clock, self._metrics, self._store_url, boot.seat)
        access = AccessLog(self._lines, is_text=config.log.format == "text")
        tracer = build_tracer(config, self._secrets, self._metrics)
        plane = build_plane(config, inside, self._clock, self._metrics, access, self._ask_for_keys, tracer)
        for issuer in config.issuers:
            self._sources[issuer.issuer] = KeySetSource(issuer, self._directory, self._adopter(issuer.issuer, plane, inside))
        for fact in inside.journal.load():  # promised before this process began: enforced here at once, and appended [R5]
            inside.ending.enforce_here(fact)
        follower = self._build_follower(plane, inside)
        tls = self._tls()
        listener = Listener(plane, server_tls(tls) if tls else None)
        if tls is not None:
            self._metrics.certificate(expiry_of(tls.certificate))
        listener.start_sweeping()
        following = self._beside(follower.run())
        beside = [
            self._beside(work)
            for work in (self._beat(follower, inside), inside.journal.run(), inside.keeper.run(), inside.trail.run())
        ]
        keys = [loop.create_task(source.start()) for source in self._sources.values()]
        loading = loop.create_task(asyncio.to_thread(self._load, inside))
        try:
            await self._wait_until_live()
            if keys:
                await asyncio.wait(keys, timeout=KEYS_WITHIN_S)
            await loading
            if not self._stop.is_set():
                beside.append(self._beside(self._obey(line, listener)))
                line.say_prepared()
                gc.freeze()  # what exists now stays; collections need not look at it again
                beside.append(self._beside(self._keep_country_database(inside)))
                beside.append(self._beside(inside.portal.warm_up()))
                beside.append(self._beside(self._measure_lag()))
            await self._stop.wait()
            self._metrics.listening(False)
            follower.drain()
            await listener.drain(self._told_to_end, self._told_to_hurry)
        finally:
            line.close()
            with contextlib.suppress(StoreError):  # then the supervisor strikes us from the register, or 60 s of silence do
                await follower.leave()
            for task in (following, *keys, *beside):
                task.cancel()
            await asyncio.gather(following, *keys, *beside, return_exceptions=True)
            for pool in plane.pools.values():
                await pool.close()
            for source in self._sources.values():
                await source.close()
            await inside.close()
            if tracer is not None:
                await asyncio.to_thread(tracer.close)
            self._lines.close()
            self._errors.close()
        return self._exit_code

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it beside the requests for as long as the worker lives. One that loses a part of itself makes room for another."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                is_told = isinstance(error, GatewayError)
                logger.critical("Worker %d ends: %s", self._boot.index, error, exc_info=None if is_told else error)
                self._exit_code = EXIT_CANNOT_LISTEN if isinstance(error, CannotListen) else 1
                self._stop.set()

        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(ended)
        return task

    def _build_follower(self, plane: Plane, inside: Inside) -> Follower:
        known = inside.known

        def entry_applied(entry: Entry) -> None:
            on_entry(entry, plane)
            self._forget_record(entry, inside)
            inside.denials.learn(entry)
            self._metrics.log_seen(int(self._view.epoch), entry.sequence)

        def snapshot_read() -> None:
            known.sessions.clear()
            suspect(plane.live, plane)

        async def read_ring() -> None:
            inside.mint.ring = ring = await load_ring(inside.store, self._secrets)
            known.adopt_own(ring.key_set())
            if len(ring.keys) > 1:
                inside.denials.keys_changed(known.own_issuer, max(key.since for key in ring.keys))
            if plane.assertions is not None:
                plane.assertions.forget()
            suspect(plane.live, plane)

        async def write_ring_back() -> None:
            if await restore_ring(inside.store, self._secrets, inside.mint.ring):
                logger.warning("wrote the signing keys back to the store that had lost them")

        return Follower(
            self._store_url,
            self._view,
            self._clock,
            incarnation=self._boot.incarnation,
            max_staleness=self._config.store.max_staleness,
            on_entry=entry_applied,
            on_foreseen=lambda entry: on_entry(entry, plane),
            enforce=lambda: wait_until_judged(plane),
            log_seen=self._log_seen,
            on_snapshot=snapshot_read,
            on_ring=read_ring,
            on_command=self._metrics.store_command,
            on_enforced=self._metrics.enforced,
            on_recovery=self._metrics.store_recovered,
            on_write_back=write_ring_back,
            is_durable=self._config.store.url == "embedded",
            largest_skew_s=max((issuer.skew for issuer in self._config.issuers), default=0.0),
            label=f"worker {self._boot.index} pid {os.getpid()}",
            witness=self._build_witness(),
        )

    def _build_witness(self) -> Witness:
        """This host's memory of the log, for the day on which all its workers and the store die at once [L5]."""
        store, keys = self._config.store, [derived(secret, WITNESS_PURPOSE) for secret in self._secrets]
        address = address_of(without_password(store.url))
        told, boot = self._metrics.witness_problem, self._boot
        return Witness(store.directory, keys, address, boot.incarnation, self._clock, told, seat=boot.seat)

    def _forget_record(self, entry: Entry, inside: Inside) -> None:
        """The log says that a session, or an account, is not what it was: its records are read again [S1]."""
        if entry.issuer not in ("", self._config.own_issuer):
            return
        if entry.kind is Kind.SESSION or (entry.kind is Kind.TOUCH and subject_of(entry.name) is not None):
            inside.known.sessions.evict(entry.name)
        elif entry.kind in (Kind.TOUCH, Kind.VERSION):
            inside.known.sessions.evict_user(entry.name)

    def _load(self, inside: Inside) -> None:
        """What takes long to load and is wanted at the first request, in a thread."""
        database = self._config.fingerprint.country.database
        reader = inside.known.fingerprint.reader
        reader.devices.load()
        if database is not None:
            try:
                reader.countries = Countries.open(database)
            except CountriesUnavailable as error:
                logger.error("the country of an address is not known: %s", error)

    async def _keep_country_database(self, inside: Inside) -> None:
        """Read it again when the operator has put a new one in its place."""
        countries = inside.known.fingerprint.reader.countries
        while countries is not None:
            await asyncio.sleep(COUNTRY_CHECK_S)
            try:
                await asyncio.to_thread(countries.refresh)
            except CountriesUnavailable as error:
                logger.warning("the database of countries stays as it was: %s", error)

    def _ask_for_keys(self, issuer: str) -> None:
        if issuer in self._sources:
            self._sources[issuer].unknown_kid()

    def _adopter(self, name: str, plane: Plane, inside: Inside) -> Callable[[KeySet], None]:
        """What happens when an issuer's key set changes: nothing that was verified before counts as verified any more."""

        def adopt(keys: KeySet) -> None:
            if plane.known.issuers[name].keys is not None:
                inside.denials.keys_changed(name, self._clock.wall())
            plane.known.issuers[name].adopt(keys)
            plane.known.tokens.clear()
            suspect(plane.live, plane)
            self._metrics.keys(name, len(keys.keys), self._clock.wall())

        return adopt

    async def _wait_until_live(self) -> None:
        """Until the replica is live, for a moment; a store that is away must not look like a gateway that is."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LISTEN_ANYWAY_AFTER_S
        while self._view.state is not State.LIVE and loop.time() < deadline and not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.005)
        if self._view.state is not State.LIVE:
            logger.warning("the store does not answer or is not ours: routes that need it answer 503 until it does")

    def _end(self) -> None:
        """SIGTERM. The first time tunnels are cut, and other exchanges may end; the second time nothing is waited for."""
        if self._told_to_end.is_set():
            self._told_to_hurry.set()
        self._told_to_end.set()
        self._stop.set()

    async def _obey(self, line: WorkerLine, listener: Listener) -> None:
        """Do what the supervisor says, in its order; to be cancelled."""
        while True:
            said, lent = await line.orders.get()
            word, _, name = said.partition(" ")
            if lent is not None:
                try:
                    await listener.accept(name, lent)
                except OSError as error:
                    raise CannotListen(f"cannot listen on {name.partition(' ')[2]}: {error.strerror or error}") from error
            elif word == "release":
                listener.release(name)
            elif word == "listen":
                self._metrics.listening(True)
            elif word == "retire":
                self._stop.set()
            elif word == END:
                self._end()

    def _tls(self) -> Tls | None:
        """Where certificate and key are: as the supervisor read them, whatever the files hold by now."""
        if self._config.tls is None:
            return None
        certificate, key = self._boot.tls_fds
        return self._config.tls.model_copy(update={"certificate": Path(path_of(certificate)), "key": Path(path_of(key))})

    async def _measure_lag(self) -> None:
        """How late the event loop comes, from which a pause is known: each of more than 20 ms meets a look."""
        while True:
            due = monotonic() + LOOK_AT_LAG_EVERY_S
            await asyncio.sleep(LOOK_AT_LAG_EVERY_S)
            self._metrics.loop_lag(max(0.0, monotonic() - due))

    async def _beat(self, follower: Follower, inside: Inside) -> None:
        """Tell the supervisor, from the event loop, that it turns, and how the replica stands; a few things that may be late."""
        while True:
            boot = self._clock.boot()
            self._metrics.heartbeat(boot)
            state = self._view.state.value
            if self._view.state is State.LIVE and not (
                self._view.is_fresh(boot, self._config.store.max_staleness) and follower.is_clock_right
            ):
                state = "stale"  # also when the clocks disagree: then nobody can judge a token [T6]
            self._metrics.replica(
                state, self._view.proven_at, len(self._view), follower.statistics.position, self._clock.store_offset_s
            )
            if state == State.LIVE.value:
                self._metrics.log_seen(int(self._view.epoch), follower.statistics.position)
                inside.denials.look_again(inside.known, self._clock.wall())
            verified, inside.known.verified_by_key = inside.known.verified_by_key, {}
            for key_id, tokens in verified.items():
                self._metrics.key_used(key_id, tokens)
            inside.first_uses.may_record = inside.memory.allows(Use.FIRST_USE)  # [B1]
            self._tell_subdued(inside)
            await asyncio.sleep(HEARTBEAT_S)

    def _tell_subdued(self, inside: Inside) -> None:
        """Say once that a fingerprint's action has fallen to `alert`, and once that it has not any more [S2]."""
        now = self._clock.wall()
        subdued = inside.known.fingerprint.subdued(now)
        self._metrics.subdued(subdued)
        for changed in subdued - self._subdued:
            logger.error(
                "too many sessions changed their %s at once: that is only told for now; is trusted_proxies right?", changed
            )
            inside.trail.record(Event(now, Action.FINGERPRINT_CALMED, Outcome.OBSERVED, reason=f"{changed}-changed"))
        for changed in self._subdued - subdued:
            logger.warning("sessions change their %s as often as usual again", changed)
        self._subdued = subdued


def on_entry(entry: Entry, plane: Plane) -> None:
    """A fact came in: the live exchanges that it speaks of are judged before another byte of theirs passes."""
    suspect(plane.live.under(entry.key), plane)
