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
from dataclasses import dataclass
from typing import Final

import uvloop

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.pressure import Memory, Use
from gateway.audit.trail import Trail
from gateway.boot import Boot, handed_over
from gateway.clock import Clock
from gateway.config.load import Loaded, load
from gateway.denials import Denials
from gateway.enforce.country import Countries
from gateway.enforce.known import Known
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.errors import CountriesUnavailable, GatewayError, StoreError
from gateway.keys.secrets import token_secrets
from gateway.keys.store import load as load_ring
from gateway.lifeline import end_with_parent
from gateway.portal.language import Language, language_of
from gateway.portal.pages import Pages
from gateway.portal.portal import Portal
from gateway.proxy.assertion import Assertions
from gateway.proxy.inside import InsidePool
from gateway.proxy.listener import Listener, bind_shared, server_tls
from gateway.proxy.live import end_all_revoked, end_if_revoked
from gateway.proxy.plane import Plane
from gateway.proxy.pool import Pool
from gateway.proxy.report import Record, Report
from gateway.reasons import Reason
from gateway.revocation.entry import Entry, Kind
from gateway.revocation.follower import Follower
from gateway.revocation.journal import Journal
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import RevocationLog
from gateway.revocation.renewal import Renewals
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.routes.compile import compile_routes
from gateway.routes.own import OWN_NAME, OWN_UPSTREAM, OwnEndpoints
from gateway.sessions.ending import Ending
from gateway.sessions.first_use import FirstUses
from gateway.sessions.keeper import SessionKeeper
from gateway.sessions.minting import Mint
from gateway.sessions.model import subject_of
from gateway.sessions.observer import RefreshObserver
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
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
from gateway.tokens.seal import derived
from gateway.wire.respond import Page

CSRF_PURPOSE: Final = b"gateway csrf"
COUNTRY_CHECK_S: Final = 60.0
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


@dataclass(frozen=True, slots=True)
class Inside:
    """What is behind the data plane: the log, the sessions, the trail, our own endpoints."""

    log: RevocationLog
    journal: Journal
    keeper: SessionKeeper
    ending: Ending
    trail: Trail
    portal: Portal
    pages: Pages
    denials: Denials
    first_uses: FirstUses
    memory: Memory
    renewals: Renewals
    stores: tuple[Store, ...]


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
        self._secrets = token_secrets(config.tokens.secrets, config.store.directory)
        self._view = View(config.store.max_entries)
        csrf_keys = [derived(secret, CSRF_PURPOSE) for secret in self._secrets]
        self._known = Known.of(config, self._view, csrf_keys)
        self._mint = Mint(config.own_issuer, config.tokens.audience, self._known.csrf.value_of)
        self._sources: dict[str, KeySetSource] = {}
        self._subdued: frozenset[str] = frozenset()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        inside = self._build_inside()
        plane = self._build_plane(loop, inside)
        follower = self._build_follower(plane, inside)
        listener = Listener(plane, server_tls(self._config.tls) if self._config.tls else None)
        listener.start_sweeping()
        following = loop.create_task(follower.run())
        beside = [
            loop.create_task(work)
            for work in (self._beat(follower, inside), inside.journal.run(), inside.keeper.run(), inside.trail.run())
        ]
        keys = [loop.create_task(source.start()) for source in self._sources.values()]
        loading = loop.create_task(asyncio.to_thread(self._load))
        try:
            await self._wait_until_live()
            if keys:
                await asyncio.wait(keys, timeout=KEYS_WITHIN_S)
            await loading
            if not self._stop.is_set():
                await listener.start(self._listeners())
                self._metrics.listening(True)
                gc.freeze()  # what exists now stays; collections need not look at it again
                beside.append(loop.create_task(self._keep_country_database()))
                beside.append(loop.create_task(inside.portal.warm_up()))
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
            await inside.keeper.flush()
            await inside.trail.close()
            await inside.portal.close()
            for pool in plane.pools.values():
                await pool.close()
            for source in self._sources.values():
                await source.close()
            await inside.renewals.close()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            for store in inside.stores:
                await store.aclose()
            self._lines.close()
            self._errors.close()
        return 0

    def _build_inside(self) -> "Inside":
        """What the data plane and our own endpoints rest on: the log, the sessions, the trail."""
        config, clock = self._config, self._clock
        store, trail_store = connect(self._boot.store_url), connect(self._boot.store_url, max_connections=2)
        log = RevocationLog(store, clock, config.store.max_staleness, issuers=Lifetimes.of(config))
        journal = Journal(config.store.directory, self._boot.index, log)
        sessions, first_uses = SessionStore(store, Rules.of(config)), FirstUses(store)
        ending = Ending(
            log, journal, self._view, sessions, clock, config.own_issuer, config.tokens.session_ttl, self._metrics.revocation
        )
        memory = Memory(trail_store, clock.boot)
        trail = Trail(
            trail_store,
            clock,
            max_length=config.audit.max_length,
            keep_s=config.audit.keep,
            memory=memory,
            on_lost=self._metrics.audit_lost,
        )
        security = SecurityLog(asyncio.get_running_loop().time)
        observer = RefreshObserver(self._metrics, trail, clock)
        keeper = SessionKeeper(sessions, first_uses, self._known.sessions, self._mint, ending, clock, observer.refreshed)
        pages = Pages(
            self._config.public_url.partition("://")[2],
            templates=config.pages.templates,
            is_registration_open=config.accounts.registration == "open",
            has_login=config.has_accounts,
            csrf_cookie="__Host-csrf" if config.cookies.secure else "csrf",
            on_problem=logger.error,
        )
        denials = Denials(self._metrics, security, self._known.fingerprint, trail)
        portal = Portal(
            config=config,
            known=self._known,
            keeper=keeper,
            mint=self._mint,
            trail=trail,
            metrics=self._metrics,
            store=store,
            clock=clock,
            pages=pages,
            memory=memory,
            denials=denials,
        )
        return Inside(
            log=log,
            journal=journal,
            keeper=keeper,
            ending=ending,
            trail=trail,
            portal=portal,
            pages=pages,
            denials=denials,
            first_uses=first_uses,
            memory=memory,
            renewals=Renewals(log, asyncio.get_running_loop()),
            stores=(store, trail_store),
        )

    def _build_plane(self, loop: asyncio.AbstractEventLoop, inside: "Inside") -> Plane:
        config = self._config
        store = inside.stores[0]
        ends: set[asyncio.Task[None]] = set()

        async def claim(token: Verified, route: str) -> bool:
            assert token.token_id is not None
            issuer = self._known.issuers[token.issuer]
            keep_until = token.usable_until + issuer.skew
            return await claim_once(store, token.issuer, token.token_id, route, keep_until)

        def refused(verdict: Deny, record: Record) -> None:
            """What a refusal teaches: a key set may be out of date, a revoked session is still in use, a session is to end."""
            token = verdict.token
            if verdict.reason is Reason.UNKNOWN_KEY and verdict.issuer in self._sources:
                self._sources[verdict.issuer].unknown_kid()
            elif verdict.kind is Kind.SESSION and token is not None and token.session is not None and token.own is None:
                inside.renewals.session_used(token.issuer, token.session)
            elif verdict.ends_session and token is not None and token.session is not None:
                task = loop.create_task(inside.ending.end_for_fingerprint(token.issuer, token.session, verdict.reason.value))
                ends.add(task)
                task.add_done_callback(ends.discard)

        report = Report(
            self._metrics,
            AccessLog(self._lines, is_text=config.log.format == "text"),
            inside.denials,
            self._known,
            [OWN_NAME, *(route.name for route in config.routes)],
        )
        plane = Plane(
            loop=loop,
            config=config,
            clock=self._clock,
            routes=compile_routes(config.routes, OwnEndpoints(config.own_issuer, has_accounts=config.has_accounts)),
            known=self._known,
            report=report,
            claim_once=claim,
            refused=refused,
            sessions=inside.keeper,
            make_page=lambda reason, status, language, request_id: Page(
                *inside.pages.refusal(Language(language), reason, request_id, status)
            ),
            language_of=lambda accepted: language_of(accepted).value,
            assertions=Assertions(config.identity.assertion, self._mint) if config.identity.assertion else None,
        )
        plane.pools.update((name, Pool(name, upstream, plane)) for name, upstream in config.upstreams.items())
        plane.pools[OWN_UPSTREAM] = InsidePool(plane, inside.portal.application)
        for issuer in config.issuers:
            self._sources[issuer.issuer] = KeySetSource(issuer, self._directory, self._adopter(issuer.issuer, plane))
        return plane

    def _build_follower(self, plane: Plane, inside: "Inside") -> Follower:
        sessions = self._known.sessions

        def entry_applied(entry: Entry) -> None:
            on_entry(entry, plane)
            self._forget_record(entry)
            if entry.kind is Kind.SESSION and entry.source == "logout" and entry.device:
                inside.denials.departed(entry.name, entry.device)
            self._metrics.log_seen(int(self._view.epoch), entry.sequence)

        def snapshot_read() -> None:
            sessions.clear()
            end_all_revoked(plane)

        async def read_ring() -> None:
            self._mint.ring = ring = await load_ring(inside.stores[0], self._secrets)
            self._known.adopt_own(ring.key_set())
            if plane.assertions is not None:
                plane.assertions.forget()
            end_all_revoked(plane)

        return Follower(
            self._boot.store_url,
            self._view,
            self._clock,
            incarnation=self._boot.incarnation,
            max_staleness=self._config.store.max_staleness,
            on_entry=entry_applied,
            log_seen=self._log_seen,
            on_snapshot=snapshot_read,
            on_ring=read_ring,
            on_command=self._metrics.store_command,
            on_enforced=self._metrics.enforced,
            largest_skew_s=max((issuer.skew for issuer in self._config.issuers), default=0.0),
            label=f"worker {self._boot.index} pid {os.getpid()}",
        )

    def _forget_record(self, entry: Entry) -> None:
        """The log says that a session, or an account, is not what it was: its records are read again [S1]."""
        if entry.issuer not in ("", self._config.own_issuer):
            return
        if entry.kind is Kind.SESSION or (entry.kind is Kind.TOUCH and subject_of(entry.name) is not None):
            self._known.sessions.evict(entry.name)
        elif entry.kind in (Kind.TOUCH, Kind.VERSION):
            self._known.sessions.evict_user(entry.name)

    def _load(self) -> None:
        """What takes long to load and is wanted at the first request, in a thread."""
        fingerprint = self._config.fingerprint
        reader = self._known.fingerprint.reader
        reader.devices.load()
        if fingerprint.country.database is not None:
            try:
                reader.countries = Countries.open(fingerprint.country.database)
            except CountriesUnavailable as error:
                logger.error("the country of an address is not known: %s", error)

    async def _keep_country_database(self) -> None:
        """Read it again when the operator has put a new one in its place."""
        countries = self._known.fingerprint.reader.countries
        while countries is not None:
            await asyncio.sleep(COUNTRY_CHECK_S)
            try:
                await asyncio.to_thread(countries.refresh)
            except CountriesUnavailable as error:
                logger.warning("the database of countries stays as it was: %s", error)

    def _adopter(self, name: str, plane: Plane) -> Callable[[KeySet], None]:
        """What happens when an issuer's key set changes: nothing that was verified before counts as verified any more."""

        def adopt(keys: KeySet) -> None:
            self._known.issuers[name].adopt(keys)
            self._known.tokens.clear()
            end_all_revoked(plane)
            self._metrics.keys(name, len(keys.keys), self._clock.wall())

        return adopt

    def _tell_subdued(self, inside: Inside) -> None:
        """Say once that a fingerprint's action has fallen to `alert`, and once that it has not any more [S2]."""
        now = self._clock.wall()
        subdued = self._known.fingerprint.subdued(now)
        self._metrics.subdued(subdued)
        for changed in subdued - self._subdued:
            logger.error(
                "too many sessions changed their %s at once: that is only told for now; is trusted_proxies right?", changed
            )
            inside.trail.record(Event(now, Action.FINGERPRINT_CALMED, Outcome.OBSERVED, reason=f"{changed}-changed"))
        for changed in self._subdued - subdued:
            logger.warning("sessions change their %s as often as usual again", changed)
        self._subdued = subdued

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

    async def _beat(self, follower: Follower, inside: Inside) -> None:
        """Tell the supervisor, from the event loop, that it turns, and how the replica stands."""
        while True:
            boot = self._clock.boot()
            verified, self._known.verified_by_key = self._known.verified_by_key, {}
            for key_id, tokens in verified.items():
                self._metrics.key_used(key_id, tokens)
            self._tell_subdued(inside)
            inside.first_uses.may_record = inside.memory.allows(Use.FIRST_USE)  # [B1]
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
