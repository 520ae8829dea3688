"""What is behind a worker's data plane, put together: the log, the sessions, the trail, our own endpoints, and the plane on top.

`worker.py` starts, follows and ends; what knows whom is here. A data plane without processes (a test, a benchmark of the path
alone) is built of the same two functions, so there is one way to wire it.

Owns nothing but the stores' clients, which whoever built it closes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.audit.pressure import Memory
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.denials import Denials
from gateway.enforce.known import Known
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.portal.language import Language, language_of
from gateway.portal.pages import Pages
from gateway.portal.portal import Portal
from gateway.proxy.assertion import Assertions
from gateway.proxy.balancer import build_upstream
from gateway.proxy.inside import InsidePool
from gateway.proxy.plane import Plane
from gateway.proxy.report import Record, Report
from gateway.proxy.spans import TracedReport
from gateway.proxy.traced import Tracer
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.revocation.journal import Journal
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import RevocationLog
from gateway.revocation.once import claim_once
from gateway.revocation.renewal import Renewals
from gateway.revocation.view import View
from gateway.routes.compile import compile_routes
from gateway.routes.own import OWN_NAME, OWN_UPSTREAM, OwnEndpoints
from gateway.sessions.ending import Ending
from gateway.sessions.first_use import FirstUses
from gateway.sessions.keeper import SessionKeeper
from gateway.sessions.minting import Mint
from gateway.sessions.observer import RefreshObserver
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
from gateway.store.client import Store, connect
from gateway.telemetry.access import AccessLog
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics
from gateway.telemetry.trace_queue import SpanQueue
from gateway.tokens.seal import derived
from gateway.wire.respond import Page

CSRF_PURPOSE: Final = b"gateway csrf"
SAMPLING_PURPOSE: Final = b"gateway trace sampling"

logger: Final = logging.getLogger("gateway.worker")


@dataclass(frozen=True, slots=True)
class Inside:
    """Everything behind one data plane."""

    known: Known
    mint: Mint
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
    store: Store
    trail_store: Store

    async def close(self) -> None:
        """Write what waits to be written, and hang up."""
        await self.keeper.flush()
        await self.trail.close()
        await self.portal.close()
        await self.renewals.close()
        await self.store.aclose()
        await self.trail_store.aclose()


def build_inside(
    config: Config, secrets: Iterable[bytes], view: View, clock: Clock, metrics: WorkerMetrics, store_url: str, number: int
) -> Inside:
    """Put it together for worker `number`. Nothing is sent to the store yet."""
    loop = asyncio.get_running_loop()
    known = Known.of(config, view, [derived(secret, CSRF_PURPOSE) for secret in secrets])
    mint = Mint(config.own_issuer, config.tokens.audience, known.csrf.value_of)
    store, trail_store = connect(store_url), connect(store_url, max_connections=2)
    log = RevocationLog(store, clock, config.store.max_staleness, issuers=Lifetimes.of(config))
    journal = Journal(config.store.directory, number, lambda: log)
    sessions, first_uses = SessionStore(store, Rules.of(config)), FirstUses(store)
    ending = Ending(log, journal, view, sessions, clock, config.own_issuer, config.tokens.session_ttl, metrics.revocation)
    memory = Memory(trail_store, clock.boot)
    trail = Trail(
        trail_store,
        clock,
        max_length=config.audit.max_length,
        keep_s=config.audit.keep,
        memory=memory,
        on_lost=metrics.audit_lost,
    )
    observer = RefreshObserver(metrics, trail, clock)
    keeper = SessionKeeper(
        sessions, first_uses, known.sessions, mint, ending, clock, observer.refreshed, lambda: log.refuse_lost(view)
    )
    pages = Pages(
        config.public_url.partition("://")[2],
        templates=config.pages.templates,
        is_registration_open=config.accounts.registration == "open",
        has_login=config.has_accounts,
        csrf_cookie="__Host-csrf" if config.cookies.secure else "csrf",
        on_problem=logger.error,
    )
    denials = Denials(metrics, SecurityLog(loop.time), known.fingerprint, config.own_issuer, trail)
    portal = Portal(
        config=config,
        known=known,
        keeper=keeper,
        mint=mint,
        trail=trail,
        metrics=metrics,
        store=store,
        clock=clock,
        pages=pages,
        memory=memory,
        denials=denials,
    )
    return Inside(
        known=known,
        mint=mint,
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
        renewals=Renewals(log, loop),
        store=store,
        trail_store=trail_store,
    )


def build_tracer(config: Config, secrets: Iterable[bytes], metrics: WorkerMetrics) -> Tracer | None:
    """What decides about traces, or None when they go on as they came. OpenTelemetry is imported where spans are sent only."""
    tracing = config.tracing
    if tracing is None:
        return None
    secret = derived(next(iter(secrets)), SAMPLING_PURPOSE)
    if tracing.endpoint is None:
        return Tracer(tracing, secret)
    from gateway.telemetry.trace_otlp import OtlpReceiver

    return Tracer(tracing, secret, SpanQueue(OtlpReceiver(tracing).take, metrics.spans))


def build_plane(
    config: Config,
    inside: Inside,
    clock: Clock,
    metrics: WorkerMetrics,
    access: AccessLog,
    ask_for_keys: Callable[[str], None] = lambda issuer: None,
    tracer: Tracer | None = None,
) -> Plane:
    """The data plane in front of it. `ask_for_keys` is told of an issuer whose key set may be out of date."""
    known = inside.known
    routes = [OWN_NAME, *(route.name for route in config.routes)]
    if tracer is None:
        report = Report(metrics, access, inside.denials, known, routes)
    else:
        report = TracedReport(metrics, access, inside.denials, known, routes, tracer.spans, config)

    async def claim(token: Verified, route: str) -> bool:
        assert token.token_id is not None
        keep_until = token.usable_until + known.issuers[token.issuer].skew
        return await claim_once(inside.store, known.replica, token.issuer, token.token_id, route, keep_until)

    plane = Plane(
        loop=asyncio.get_running_loop(),
        config=config,
        clock=clock,
        routes=compile_routes(config.routes, OwnEndpoints(config.own_issuer, has_accounts=config.has_accounts)),
        known=known,
        report=report,
        claim_once=claim,
        refused=_Lessons(inside, ask_for_keys).learn,
        sessions=inside.keeper,
        make_page=lambda reason, status, language, request_id: Page(
            *inside.pages.refusal(Language(language), reason, request_id, status)
        ),
        language_of=lambda accepted: language_of(accepted).value,
        assertions=Assertions(config.identity.assertion, inside.mint) if config.identity.assertion else None,
        tracer=tracer,
    )
    plane.pools.update((name, build_upstream(name, upstream, plane)) for name, upstream in config.upstreams.items())
    plane.pools[OWN_UPSTREAM] = InsidePool(plane, inside.portal.application)
    return plane


class _Lessons:
    """What a refusal teaches: a key set may be out of date, a revoked session is still in use, a session is to end."""

    def __init__(self, inside: Inside, ask_for_keys: Callable[[str], None]) -> None:
        self._inside = inside
        self._ask_for_keys = ask_for_keys
        self._ends: set[asyncio.Task[None]] = set()

    def learn(self, verdict: Deny, record: Record) -> None:
        token = verdict.token
        if verdict.reason is Reason.UNKNOWN_KEY and verdict.issuer is not None:
            self._ask_for_keys(verdict.issuer)
        elif token is None or token.session is None:
            return
        elif verdict.kind is Kind.SESSION and token.own is None:
            self._inside.renewals.session_used(token.issuer, token.session)
        elif verdict.ends_session:
            end = self._inside.ending.end_for_fingerprint(token.issuer, token.session, verdict.reason.value)
            task = asyncio.get_running_loop().create_task(end)
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)
