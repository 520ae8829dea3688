"""What all connections of a worker share: built once, passed by argument, never a global.

It owns no connection. `tick_time` is loop time as of the last tick of the sweeper (four times a second): deadlines of
connections are set from it, which saves a clock call per event and is precise enough for timeouts of seconds.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.enforce.known import Known
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.proxy.admission import Admission
from gateway.proxy.assertion import Assertions
from gateway.proxy.lane import SlowLane
from gateway.proxy.live import LiveExchanges
from gateway.proxy.report import Record, Report
from gateway.proxy.traced import Tracer
from gateway.proxy.uploads import Uploads
from gateway.routes.match import RouteTable
from gateway.sessions.keeper import SessionKeeper
from gateway.wire.answer import AnswerMemory
from gateway.wire.cookies import CookieNames, CookieWriter
from gateway.wire.fields import RoleMemory
from gateway.wire.forwarded import TrustedProxies
from gateway.wire.respond import PageMaker, Refusals

if TYPE_CHECKING:
    from gateway.proxy.balancer import Balancer
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.pool import Pool


class Plane:
    """The data plane of one worker."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        clock: Clock,
        routes: RouteTable,
        known: Known,
        report: Report,
        claim_once: Callable[[Verified, str], Coroutine[Any, Any, bool]],
        refused: Callable[[Deny, Record], None],
        sessions: SessionKeeper,
        make_page: PageMaker,
        language_of: Callable[[bytes | None], str],
        assertions: Assertions | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        # per process, never changed
        self.loop = loop
        self.clock = clock
        self.limits = config.limits
        self.timeouts = config.timeouts
        self.scheme = b"https" if config.tls else b"http"
        self.routes = routes
        self.known = known
        self.report = report
        self.claim_once = claim_once
        self.refused = refused
        self.sessions = sessions
        self.refusals = Refusals(make_page)
        self.language_of = language_of
        self.assertions = assertions
        self.tracer = tracer
        self.login_url = f"{config.public_url}/auth/login" if config.has_accounts else ""
        self.grace_s = config.sessions.grace
        self.cookie_names = CookieNames.of(is_secure=config.cookies.secure)
        self.cookie_writer = CookieWriter(self.cookie_names, config.cookies.secure, config.cookies.same_site)
        self.trusted = TrustedProxies(map(str, config.trusted_proxies))
        self.request_roles = RoleMemory()
        self.answers = AnswerMemory(self.cookie_names)
        self.pools: dict[str, Pool | Balancer] = {}  # filled by the worker: a pool is built from the plane

        # per process, changing
        self.tick_time = loop.time()
        self.is_draining = False
        self.clients: set[ClientConnection] = set()
        self.admission = Admission(config.limits)
        self.live = LiveExchanges()
        self.uploads = {name: Uploads(upstream, loop) for name, upstream in config.upstreams.items()}
        self.lane = SlowLane(loop)

    @property
    def is_stale(self) -> bool:
        """Whether the replica's proof is too old, to the moment: asked for each piece of what outlasts its decision.

        The sweeper comes too late for that. A worker that was suspended goes on with the bytes that came meanwhile, before any
        timer, and a receipt may have told by then that it has stopped [W2, W4].
        """
        return self.clock.boot() - self.known.replica.proven_at > self.known.max_staleness_s
