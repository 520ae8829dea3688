"""One worker, put together: the only file that knows everyone.

    follower ──entries──> view ──┐
    key set sources ──> issuers ─┴─> known ──> plane <── pools, routes, report
                                                 │
                                              listener ──> clients

Started by the supervisor with its place in `Boot`; ends on SIGTERM after its last exchange. A worker listens as soon as its
replica is live. When the store does not answer it listens all the same after a second: it refuses by name what needs the
store, and serves what does not.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

import uvloop

from gateway.boot import Boot, handed_over
from gateway.clock import Clock
from gateway.config.load import Loaded, load
from gateway.enforce.known import Known
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.errors import GatewayError, StoreError
from gateway.lifeline import end_with_parent
from gateway.proxy.listener import Listener, bind_shared, server_tls
from gateway.proxy.live import end_all_revoked, end_if_revoked
from gateway.proxy.plane import Plane
from gateway.proxy.pool import Pool
from gateway.proxy.report import Report
from gateway.reasons import Reason
from gateway.revocation.entry import Entry, Kind
from gateway.revocation.follower import Follower
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import RevocationLog
from gateway.revocation.renewal import Renewals
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.routes.compile import compile_routes
from gateway.store.client import Store, connect
from gateway.store.once import claim_once
from gateway.telemetry.access import AccessLog
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import SecurityLog, configure
from gateway.telemetry.metrics import Layout, WorkerMetrics
from gateway.telemetry.reading import log_seen
from gateway.telemetry.slots import Cells
from gateway.tokens.jwk import KeySet
from gateway.tokens.jwks import KeySetSource

HEARTBEAT_S: Final = 0.25
LISTEN_ANYWAY_AFTER_S: Final = 1.0
KEYS_WITHIN_S: Final = 3.0  # to ask each issuer once: a worker without keys would call good tokens unknown

logger: Final = logging.getLogger("gateway.worker")


def main(boot: Boot) -> int:
    """Run one worker until SIGTERM; the exit code."""
    end_with_parent(boot.supervisor_pid)()
    try:
        loaded = load(boot.config_path, text=handed_over(boot.config_fd))
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
        self._clock = Clock()
        layout = Layout.of(config)
        cells = Cells.attach(boot.cells_fd, layout.block, boot.workers + 1)
        self._metrics = WorkerMetrics(layout, cells.block(boot.index))
        self._log_seen = log_seen(layout, cells.block(boot.workers))  # the supervisor's block
        self._errors = LineWriter(sys.stderr.fileno(), self._metrics.log_dropped, boot.cells_fd)
        self._lines = LineWriter(sys.stdout.fileno(), self._metrics.log_dropped, boot.cells_fd)
        configure(config.log.level, config.log.format, f"worker {boot.index}", self._errors)
        self._view = View(config.store.max_entries)
        self._known = Known.of(config, self._view)
        self._sources: dict[str, KeySetSource] = {}
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        store = connect(self._boot.store_url)
        log = RevocationLog(store, self._clock, self._config.store.max_staleness, issuers=Lifetimes.of(self._config))
        renewals = Renewals(log, loop)
        plane = self._build_plane(loop, store, renewals)
        follower = Follower(
            self._boot.store_url,
            self._view,
            self._clock,
            incarnation=self._boot.incarnation,
            max_staleness=self._config.store.max_staleness,
            on_entry=lambda entry: self._entry_applied(entry, plane),
            log_seen=self._log_seen,
            on_snapshot=lambda: end_all_revoked(plane),
            on_command=self._metrics.store_command,
            on_enforced=self._metrics.enforced,
            largest_skew_s=max((issuer.skew for issuer in self._config.issuers), default=0.0),
            label=f"worker {self._boot.index} pid {os.getpid()}",
        )
        listener = Listener(plane, server_tls(self._config.tls) if self._config.tls else None)
        listener.start_sweeping()
        following = loop.create_task(follower.run())
        beating = loop.create_task(self._beat(follower))
        keys = [loop.create_task(source.start()) for source in self._sources.values()]
        try:
            await self._wait_until_live()
            if keys:
                await asyncio.wait(keys, timeout=KEYS_WITHIN_S)
            if not self._stop.is_set():
                await listener.start(self._listeners())
                self._metrics.listening(True)
                gc.freeze()  # what exists now stays; collections need not look at it again
            await self._stop.wait()
            self._metrics.listening(False)
            follower.drain()
            await listener.drain()
        finally:
            with contextlib.suppress(StoreError):  # then the supervisor strikes us from the register, or 60 s of silence do
                await follower.leave()
            for task in (following, *keys):
                task.cancel()
            await asyncio.gather(following, *keys, return_exceptions=True)
            for pool in plane.pools.values():
                await pool.close()
            for source in self._sources.values():
                await source.close()
            await renewals.close()
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await store.aclose()
            self._lines.close()
            self._errors.close()
        return 0

    def _build_plane(self, loop: asyncio.AbstractEventLoop, store: Store, renewals: Renewals) -> Plane:
        config = self._config

        async def claim(token: Verified, route: str) -> bool:
            assert token.token_id is not None
            issuer = self._known.issuers[token.issuer]
            keep_until = token.usable_until + issuer.skew
            return await claim_once(store, token.issuer, token.token_id, route, keep_until)

        def refused(verdict: Deny) -> None:
            """What a refusal teaches: a key set may be out of date, a revoked session is still in use."""
            if verdict.reason is Reason.UNKNOWN_KEY and verdict.issuer is not None:
                self._sources[verdict.issuer].unknown_kid()
            elif verdict.kind is Kind.SESSION and verdict.token is not None and verdict.token.session is not None:
                renewals.session_used(verdict.token.issuer, verdict.token.session)

        report = Report(
            self._metrics,
            AccessLog(self._lines, is_text=config.log.format == "text"),
            SecurityLog(loop.time),
            [route.name for route in config.routes],
        )
        plane = Plane(
            loop=loop,
            config=config,
            clock=self._clock,
            routes=compile_routes(config.routes),
            known=self._known,
            report=report,
            claim_once=claim,
            refused=refused,
        )
        plane.pools.update((name, Pool(name, upstream, plane)) for name, upstream in config.upstreams.items())
        for issuer in config.issuers:
            self._sources[issuer.issuer] = KeySetSource(issuer, self._directory, self._adopter(issuer.issuer, plane))
        return plane

    def _adopter(self, name: str, plane: Plane) -> Callable[[KeySet], None]:
        """What happens when an issuer's key set changes: nothing that was verified before counts as verified any more."""

        def adopt(keys: KeySet) -> None:
            self._known.issuers[name].adopt(keys)
            self._known.tokens.clear()
            end_all_revoked(plane)
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

    def _listeners(self) -> list[socket.socket]:
        """The addresses of this gateway, bound: TCP by ourselves, unix sockets as inherited."""
        found = []
        for address, descriptor in zip(self._boot.addresses, self._boot.listen_fds, strict=True):
            if descriptor >= 0:
                found.append(socket.socket(fileno=descriptor))
            else:
                host, _, port = address.rpartition(":")
                found.append(bind_shared(host.strip("[]"), int(port)))
        return found

    def _entry_applied(self, entry: Entry, plane: Plane) -> None:
        on_entry(entry, plane)
        self._metrics.log_seen(int(self._view.epoch), entry.sequence)

    async def _beat(self, follower: Follower) -> None:
        """Tell the supervisor, from the event loop, that it turns, and how the replica stands."""
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
            await asyncio.sleep(HEARTBEAT_S)


def on_entry(entry: Entry, plane: Plane) -> None:
    """A fact came in: end the live exchanges it speaks of, before it is acknowledged [W1]."""
    for live in plane.live.under(entry.key):
        end_if_revoked(live, plane)
