"""What is counted, where it lives in a block of cells, and the calls that count it.

`Layout` says where each number lives; the supervisor and its workers compute it from the same configuration.
`WorkerMetrics` is one process's writing side: it is built once, hands out one `RouteMetrics` per route, and every
method is a handful of additions. Label values come from the configuration or from the fixed lists below, never from a
client: what is not in a list is counted as `other`, so no client can make a series [O01].

Reading, summing and exposing is `exposition.py`. Nothing here knows prometheus_client.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final, Self

from gateway.config.schema import Config
from gateway.reasons import Reason
from gateway.telemetry.exemplars import EXEMPLAR_CELLS, write_exemplar
from gateway.telemetry.slots import Block

# The decision, as `RouteMetrics.finish` takes it.
ALLOW: Final = 0
DENY: Final = 1
ALLOW_STALE: Final = 2
DECISIONS: Final = ("allow", "deny", "allow_stale")

OWN_ROUTE: Final = "gateway"  # the route of the gateway's own endpoints
NONE: Final = "none"  # the route when no route matched; the reason when nothing was refused
OTHER: Final = "other"

REASONS: Final[tuple[str, ...]] = (NONE, *(reason.value for reason in Reason))
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
# 499 is nginx's word for a client that left before the answer; the rest is what applications really send.
# fmt: off
CODES: Final = (
    "101", "200", "201", "202", "204", "206", "301", "302", "303", "304", "307", "308",
    "400", "401", "403", "404", "405", "406", "408", "409", "410", "411", "412", "413", "414", "415", "416", "417",
    "421", "422", "423", "424", "425", "426", "428", "429", "431", "451", "499",
    "500", "501", "502", "503", "504", "505", "507", OTHER,
)
# fmt: on

# Upper bounds in seconds. Authelia starts at 0.5 ms for the same work; an overhead below 10 µs is not possible here.
DURATION_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# fmt: off
OVERHEAD_BOUNDS: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0,
)
# fmt: on
ENFORCEMENT_BOUNDS: Final = DURATION_BOUNDS
_WITH_EXEMPLARS: Final = {"duration": DURATION_BOUNDS, "upstream": DURATION_BOUNDS, "overhead": OVERHEAD_BOUNDS}
# The budget of a pause is 20 ms.
LOOP_LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STORE_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

STATES: Final = ("empty", "catching_up", "live", "stale", "lost")
SIDES: Final = ("client", "upstream")
USE_KINDS: Final = ("token", "session", "version", "key")
USE_AGES: Final = ("tail", "replay")
CUT_CAUSES: Final = ("token", "session", "user", "version", "block", "key", "expired", "stale", "drain", OTHER)
REVOCATION_KINDS: Final = ("token", "session", "user", "version", "block", "key", "lift", OTHER)
REVOCATION_SOURCES: Final = ("api", "logout", "login", "password", "reuse", "fingerprint", "keys", OTHER)
REFRESH_OUTCOMES: Final = ("rotated", "repeated", "late", "reused", "expired", "refused", "revoked", "unavailable")
SIGNALS: Final = ("device", "network", "country")
SIGNAL_ACTIONS: Final = ("alert", "deny", "end_session", "observe")
LOGIN_OUTCOMES: Final = ("success", "failed", "limited", "blocked", "unavailable")
FLOODS: Final = ("account", "network")
ADMITTED_KINDS: Final = ("token", "session", "version", "key", "block")
SIGNERS: Final = ("own", "other")
SIGNATURE_REASONS: Final = (Reason.BAD_SIGNATURE.value, Reason.UNKNOWN_KEY.value, Reason.RETIRED_KEY.value)
KEY_AGES: Final = ("rotated", "settled")
WEBHOOK_OUTCOMES: Final = ("delivered", "failed", "dropped")
ADDRESS_STATES: Final = ("up", "ejected", "down")
EJECTION_CAUSES: Final = ("unreachable", "answers", "check")
SPAN_OUTCOMES: Final = ("delivered", "failed", "dropped")
WITNESS_PROBLEMS: Final = ("write", "late", "unmarked", "damaged", "foreign")
KEY_PLACES: Final = 16
"""So many of our own signing keys are told apart in a process's counters; a ring holds a handful."""

_METHOD_PLACES: Final = {name.encode(): place * len(CODES) for place, name in enumerate(METHODS) if name != OTHER}
_OTHER_METHOD: Final = (len(METHODS) - 1) * len(CODES)
_CODE_PLACES: Final = {int(code): place for place, code in enumerate(CODES) if code != OTHER}
_OTHER_CODE: Final = len(CODES) - 1
_REASON_PLACES: Final[dict[Reason | None, int]] = {
    None: 0,
    **{reason: place for place, reason in enumerate(Reason, start=1)},
}
_REASON_COUNT: Final = len(REASONS)


def histogram_cells(bounds: tuple[float, ...]) -> int:
    """A histogram is its sum, then one *non-cumulative* count per bucket, the last one being +Inf."""
    return 1 + len(bounds) + 1


class RouteLayout:
    """Where one route's counters live in a block. `exemplars`: of each of its histograms, when requests are traced."""

    __slots__ = ("decisions", "duration", "exemplars", "overhead", "requests", "upstream")

    def __init__(self, block: Block, name: str, *, has_exemplars: bool = False) -> None:
        self.requests = block.counters(f"requests {name}", len(METHODS) * len(CODES))
        self.decisions = block.counters(f"decisions {name}", len(DECISIONS) * len(REASONS))
        self.duration = block.counters(f"duration {name}", histogram_cells(DURATION_BOUNDS))
        self.upstream = block.counters(f"upstream {name}", histogram_cells(DURATION_BOUNDS))
        self.overhead = block.counters(f"overhead {name}", histogram_cells(OVERHEAD_BOUNDS))
        self.exemplars: dict[str, int] = {}
        if has_exemplars:
            for histogram, bounds in _WITH_EXEMPLARS.items():
                self.exemplars[histogram] = block.counters(
                    f"{histogram} exemplars {name}", EXEMPLAR_CELLS * (len(bounds) + 1), is_sum=False
                )


class Layout:
    """Where every number of a block lives: a pure function of the names in the configuration."""

    __slots__ = (
        "admitted_revoked",
        "audit_lost",
        "block",
        "certificate",
        "clock_offset",
        "connections",
        "cuts",
        "enforcement",
        "entries",
        "expired_loops",
        "heartbeat",
        "issuers",
        "key_uses",
        "listening",
        "log_dropped",
        "log_epoch",
        "log_sequence",
        "login_floods",
        "logins",
        "loop_lag",
        "mismatches",
        "position",
        "proven_at",
        "refreshes",
        "revocations",
        "revoked_use",
        "routes",
        "signature_failures",
        "spans",
        "state",
        "store_command",
        "store_recoveries",
        "subdued",
        "upstream_addresses",
        "upstream_ejections",
        "upstream_retries",
        "upstream_servers",
        "upstreams",
        "webhook_events",
        "webhook_retries",
        "webhook_waiting",
        "witness_problems",
    )

    def __init__(
        self,
        routes: Iterable[str],
        upstreams: Iterable[str] | Mapping[str, Iterable[str]],
        issuers: Iterable[str],
        *,
        has_exemplars: bool = False,
    ) -> None:
        """`upstreams`: their names, or the addresses of each as they are configured."""
        block = self.block = Block()
        self.heartbeat = block.gauge("heartbeat")  # boot clock
        self.listening = block.gauge("listening")  # 1 while connections are accepted
        self.state = block.gauge("state")  # place in STATES
        self.proven_at = block.gauge("proven at")  # boot clock; 0 never
        self.entries = block.gauge("entries")
        self.position = block.gauge("position")  # sequence applied
        # The newest entry of the log that was ever applied live: of this worker, in the supervisor's block of any.
        self.log_epoch = block.gauge("log epoch")
        self.log_sequence = block.gauge("log sequence")
        self.clock_offset = block.gauge("clock offset")
        self.certificate = block.gauge("certificate")  # until when it is good, wall clock; 0: there is none
        self.webhook_waiting = block.gauge("webhook waiting")
        self.subdued = {signal: block.gauge(f"subdued {signal}") for signal in SIGNALS}
        self.connections = {side: block.gauge(f"connections {side}") for side in SIDES}
        # Of each upstream: whether the last attempt to connect failed, and when it was (boot clock; 0 never).
        self.upstreams = {
            name: (block.gauge(f"failed {name}"), block.gauge(f"tried {name}")) for name in dict.fromkeys(upstreams)
        }
        # Of each address of an upstream, as it is configured: how many are in each of ADDRESS_STATES (of a host name several).
        configured = upstreams if isinstance(upstreams, Mapping) else dict.fromkeys(self.upstreams, ())
        self.upstream_servers = {
            name: {server: tuple(block.gauge(f"{state} {server} {name}") for state in ADDRESS_STATES) for server in servers}
            for name, servers in configured.items()
        }
        # Of each upstream: how many of its addresses are in each of ADDRESS_STATES, as this worker sees it.
        self.upstream_addresses = {
            name: tuple(block.gauge(f"{state} addresses {name}") for state in ADDRESS_STATES) for name in self.upstreams
        }
        # Of each issuer: how many keys are held, and since when (wall clock; 0 never).
        self.issuers = {name: (block.gauge(f"keys {name}"), block.gauge(f"fetched {name}")) for name in dict.fromkeys(issuers)}
        self.revoked_use = block.counters("revoked use", len(USE_KINDS) * len(USE_AGES))
        self.admitted_revoked = block.counters("admitted revoked", len(ADMITTED_KINDS))
        self.expired_loops = block.counters("expired loops")
        self.cuts = block.counters("cuts", len(CUT_CAUSES))
        self.revocations = block.counters("revocations", len(REVOCATION_KINDS) * len(REVOCATION_SOURCES))
        self.refreshes = block.counters("refreshes", len(REFRESH_OUTCOMES))
        self.mismatches = block.counters("mismatches", len(SIGNALS) * len(SIGNAL_ACTIONS))
        self.logins = block.counters("logins", len(LOGIN_OUTCOMES))
        self.login_floods = block.counters("login floods", len(FLOODS))
        self.signature_failures = block.counters("signature failures", len(SIGNERS) * len(SIGNATURE_REASONS) * len(KEY_AGES))
        self.webhook_events = block.counters("webhook events", len(WEBHOOK_OUTCOMES))
        self.webhook_retries = block.counters("webhook retries")
        self.spans = block.counters("spans", len(SPAN_OUTCOMES))
        # Of each signing key: its number (`key_number`; 0: the place is free), and the tokens verified with it.
        self.key_uses = block.counters("key uses", 2 * KEY_PLACES, is_sum=False)
        self.upstream_ejections = {name: block.counters(f"ejections {name}", len(EJECTION_CAUSES)) for name in self.upstreams}
        self.upstream_retries = {name: block.counters(f"retries {name}") for name in self.upstreams}
        self.audit_lost = block.counters("audit lost")
        self.store_recoveries = block.counters("store recoveries")
        self.witness_problems = block.counters("witness problems", len(WITNESS_PROBLEMS))
        self.log_dropped = block.counters("log dropped")
        self.enforcement = block.counters("enforcement", histogram_cells(ENFORCEMENT_BOUNDS))
        self.loop_lag = block.counters("loop lag", histogram_cells(LOOP_LAG_BOUNDS))
        self.store_command = block.counters("store command", histogram_cells(STORE_BOUNDS))
        names = dict.fromkeys((*routes, NONE))
        self.routes = {name: RouteLayout(block, name, has_exemplars=has_exemplars) for name in names}
        block.close()

    @classmethod
    def of(cls, config: Config) -> Self:
        """The layout that this configuration asks for."""
        return cls(
            (OWN_ROUTE, *(route.name for route in config.routes)),
            {name: map(str, upstream.addresses) for name, upstream in config.upstreams.items()},
            (issuer.issuer for issuer in config.issuers),
            has_exemplars=config.tracing is not None,
        )


class RouteMetrics:
    """One route's counters in this process. `finish` is on the path of every request: 0.7 µs, three histograms included.

    Measured by `python -m bench.telemetry`. It is plain on purpose: a loop over the histograms cost 0.4 µs more.
    """

    __slots__ = ("_cells", "_decisions", "_duration", "_exemplars", "_overhead", "_requests", "_upstream")

    def __init__(self, layout: RouteLayout, cells: "memoryview[float]") -> None:
        self._cells = cells
        self._requests = layout.requests
        self._decisions = layout.decisions
        self._duration = layout.duration
        self._upstream = layout.upstream
        self._overhead = layout.overhead
        self._exemplars = layout.exemplars

    def finish(
        self, method: bytes, status: int, decision: int, reason: Reason | None, duration_s: float, upstream_s: float
    ) -> None:
        """Count one request. `upstream_s` is negative when no upstream was asked; the rest of the time is ours."""
        cells = self._cells
        cells[self._requests + _METHOD_PLACES.get(method, _OTHER_METHOD) + _CODE_PLACES.get(status, _OTHER_CODE)] += 1.0
        cells[self._decisions + decision * _REASON_COUNT + _REASON_PLACES[reason]] += 1.0
        at = self._duration
        cells[at] += duration_s
        cells[at + 1 + bisect_left(DURATION_BOUNDS, duration_s)] += 1.0
        if upstream_s >= 0.0:
            at = self._upstream
            cells[at] += upstream_s
            cells[at + 1 + bisect_left(DURATION_BOUNDS, upstream_s)] += 1.0
            duration_s -= upstream_s
        at = self._overhead
        cells[at] += duration_s
        cells[at + 1 + bisect_left(OVERHEAD_BOUNDS, duration_s)] += 1.0

    def exemplify(self, trace_id: bytes, duration_s: float, upstream_s: float, now: float) -> None:
        """After `finish`, of a request that is traced: it stands for the buckets that it fell into. `now` is wall clock."""
        overhead_s = duration_s
        if upstream_s >= 0.0:
            overhead_s -= upstream_s
            self._exemplify("upstream", DURATION_BOUNDS, trace_id, upstream_s, now)
        self._exemplify("duration", DURATION_BOUNDS, trace_id, duration_s, now)
        self._exemplify("overhead", OVERHEAD_BOUNDS, trace_id, overhead_s, now)

    def _exemplify(self, histogram: str, bounds: tuple[float, ...], trace_id: bytes, seconds: float, now: float) -> None:
        at = self._exemplars[histogram] + EXEMPLAR_CELLS * bisect_left(bounds, seconds)
        write_exemplar(self._cells, at, trace_id, seconds, now)


class WorkerMetrics:
    """The writing side of one process: its block, by meaning. Clears the gauges its predecessor left behind."""

    __slots__ = ("_cells", "_client", "_dropped", "_layout", "_routes", "_upstream")

    def __init__(self, layout: Layout, cells: "memoryview[float]") -> None:
        self._layout = layout
        self._cells = cells
        self._client = layout.connections["client"]
        self._upstream = layout.connections["upstream"]
        self._routes = {name: RouteMetrics(route, cells) for name, route in layout.routes.items()}
        self._dropped = (cells, layout.log_dropped)
        clear_gauges(layout, cells)

    def move(self, layout: Layout, cells: "memoryview[float]") -> None:
        """Count in other cells from here on, those of a new configuration. Gauges go along; what was counted stays behind.

        For the supervisor, whose other threads tell of nothing but dropped lines.
        """
        was, before = self._layout, self._cells
        places = layout.block.gauges()
        self._layout, self._cells = layout, cells
        self._client = layout.connections["client"]
        self._upstream = layout.connections["upstream"]
        self._routes = {name: RouteMetrics(route, cells) for name, route in layout.routes.items()}
        self._dropped = (cells, layout.log_dropped)
        for name, at in was.block.gauges().items():
            if name in places:
                cells[places[name]] = before[at]
        clear_gauges(was, before)

    def route(self, name: str) -> RouteMetrics:
        """The counters of a configured route; of `""` those of requests that no route matched."""
        return self._routes[name or NONE]

    def heartbeat(self, boot_now: float) -> None:
        """The event loop turns. Must be called from it, at least once a second."""
        self._cells[self._layout.heartbeat] = boot_now

    def listening(self, is_listening: bool) -> None:
        """Connections are accepted, or (when draining) not any more."""
        self._cells[self._layout.listening] = float(is_listening)

    def replica(self, state: str, proven_at: float, entries: int, position: int, clock_offset_s: float) -> None:
        """How the replica stands. `proven_at` is on the boot clock; its age is computed by whoever reads it [L3]."""
        layout, cells = self._layout, self._cells
        cells[layout.state] = float(STATES.index(state))
        cells[layout.proven_at] = proven_at
        cells[layout.entries] = float(entries)
        cells[layout.position] = float(position)
        cells[layout.clock_offset] = clock_offset_s

    def log_seen(self, epoch: int, sequence: int) -> None:
        """The log reaches at least so far. An epoch is below 2^53, so a cell holds it exactly."""
        self._cells[self._layout.log_epoch] = float(epoch)
        self._cells[self._layout.log_sequence] = float(sequence)

    def certificate(self, expires_at: float) -> None:
        """Clients are shown a certificate that is good until then (wall clock)."""
        self._cells[self._layout.certificate] = expires_at

    def keys(self, issuer: str, count: int, fetched_at: float) -> None:
        """How many keys of an issuer are held, and since when (wall clock)."""
        keys, fetched = self._layout.issuers[issuer]
        self._cells[keys] = float(count)
        self._cells[fetched] = fetched_at

    def client_connections(self, change: int) -> None:
        self._cells[self._client] += change

    def upstream_connections(self, change: int) -> None:
        self._cells[self._upstream] += change

    def upstream_up(self, name: str, is_up: bool, boot_now: float) -> None:
        """An attempt to reach an upstream succeeded or failed. The newest attempt of all workers is what is told."""
        failed, tried = self._layout.upstreams[name]
        self._cells[failed] = float(not is_up)
        self._cells[tried] = boot_now

    def upstream_addresses(self, name: str, seen: Mapping[str, Mapping[str, int]]) -> None:
        """Of each address as it is configured: how many are in each of ADDRESS_STATES. Of a host name there may be several."""
        cells, servers = self._cells, self._layout.upstream_servers[name]
        for server, counts in seen.items():
            for state, at in zip(ADDRESS_STATES, servers.get(server, ()), strict=False):
                cells[at] = float(counts[state])
        for state, at in zip(ADDRESS_STATES, self._layout.upstream_addresses[name], strict=True):
            cells[at] = float(sum(counts[state] for counts in seen.values()))

    def upstream_ejected(self, name: str, cause: str) -> None:
        """An address is not used any more: `cause` of EJECTION_CAUSES."""
        self._cells[self._layout.upstream_ejections[name] + EJECTION_CAUSES.index(cause)] += 1.0

    def upstream_retry(self, name: str) -> None:
        """A request was tried again: at another address, or after a connection that had gone stale."""
        if name in self._layout.upstream_retries:  # our own endpoints are no upstream of the configuration
            self._cells[self._layout.upstream_retries[name]] += 1.0

    def revoked_use(self, kind: str, age: str) -> None:
        """Somebody used what was revoked: `kind` of USE_KINDS, `age` of USE_AGES."""
        place = USE_KINDS.index(kind) * len(USE_AGES) + USE_AGES.index(age)
        self._cells[self._layout.revoked_use + place] += 1.0

    def admitted_revoked(self, kind: str) -> None:
        """Somebody was let in during an outage whose token had been revoked, as it turned out: `kind` of ADMITTED_KINDS."""
        self._cells[self._layout.admitted_revoked + ADMITTED_KINDS.index(kind)] += 1.0

    def expired_loop(self) -> None:
        """A token that has expired is shown again and again."""
        self._cells[self._layout.expired_loops] += 1.0

    def connection_cut(self, cause: str) -> None:
        """A live connection was ended by us: `cause` of CUT_CAUSES."""
        self._cells[self._layout.cuts + _place(CUT_CAUSES, cause)] += 1.0

    def revocation(self, kind: str, source: str) -> None:
        """Something was revoked, or (`lift`) a revocation undone."""
        place = _place(REVOCATION_KINDS, kind) * len(REVOCATION_SOURCES) + _place(REVOCATION_SOURCES, source)
        self._cells[self._layout.revocations + place] += 1.0

    def refresh(self, outcome: str) -> None:
        """A refresh token was shown: `outcome` of REFRESH_OUTCOMES."""
        self._cells[self._layout.refreshes + REFRESH_OUTCOMES.index(outcome)] += 1.0

    def mismatch(self, signal: str, action: str) -> None:
        """A session was seen from another client: `signal` of SIGNALS, `action` of SIGNAL_ACTIONS."""
        place = SIGNALS.index(signal) * len(SIGNAL_ACTIONS) + SIGNAL_ACTIONS.index(action)
        self._cells[self._layout.mismatches + place] += 1.0

    def subdued(self, signals: frozenset[str]) -> None:
        """The signals whose actions have fallen to `alert` at the moment."""
        for signal, at in self._layout.subdued.items():
            self._cells[at] = float(signal in signals)

    def login(self, outcome: str) -> None:
        """Somebody tried to sign in: `outcome` of LOGIN_OUTCOMES."""
        self._cells[self._layout.logins + LOGIN_OUTCOMES.index(outcome)] += 1.0

    def login_flood(self, by: str) -> None:
        """Failed logins came to another hundred: `by` of FLOODS."""
        self._cells[self._layout.login_floods + FLOODS.index(by)] += 1.0

    def signature_failure(self, signer: str, reason: str, keys: str) -> None:
        """A token that nobody we trust has signed: `signer` of SIGNERS is whom it names, `keys` of KEY_AGES."""
        place = SIGNERS.index(signer) * len(SIGNATURE_REASONS) + SIGNATURE_REASONS.index(reason)
        self._cells[self._layout.signature_failures + place * len(KEY_AGES) + KEY_AGES.index(keys)] += 1.0

    def webhook_event(self, outcome: str) -> None:
        """An event waits no longer for the webhook's receiver: `outcome` of WEBHOOK_OUTCOMES."""
        self._cells[self._layout.webhook_events + WEBHOOK_OUTCOMES.index(outcome)] += 1.0

    def webhook_retry(self) -> None:
        """An event was sent again."""
        self._cells[self._layout.webhook_retries] += 1.0

    def spans(self, outcome: str, count: int) -> None:
        """So many spans were sent, or will never be: `outcome` of SPAN_OUTCOMES. Each is told by one thread only."""
        self._cells[self._layout.spans + SPAN_OUTCOMES.index(outcome)] += count

    def webhook_waiting(self, events: int) -> None:
        """So many events wait for the webhook's receiver."""
        self._cells[self._layout.webhook_waiting] = float(events)

    def key_used(self, key_id: str, tokens: int) -> None:
        """So many tokens were verified with a key of ours. When every place is taken the key is not counted."""
        number = key_number(key_id)
        for at in range(self._layout.key_uses, self._layout.key_uses + 2 * KEY_PLACES, 2):
            if self._cells[at] in (0.0, number):
                self._cells[at] = number
                self._cells[at + 1] += tokens
                return

    def store_recovered(self) -> None:
        """The store had lost its log, and this worker has begun a new epoch of it."""
        self._cells[self._layout.store_recoveries] += 1.0

    def witness_problem(self, problem: str) -> None:
        """The host's witness file could not be written, or read; one of WITNESS_PROBLEMS."""
        self._cells[self._layout.witness_problems + WITNESS_PROBLEMS.index(problem)] += 1.0

    def audit_lost(self, events: int) -> None:
        """Events that the audit trail will never hold."""
        self._cells[self._layout.audit_lost] += events

    def enforced(self, seconds: float) -> None:
        """A revocation took this long from its append until this worker enforced it."""
        self._observe(self._layout.enforcement, ENFORCEMENT_BOUNDS, seconds)

    def loop_lag(self, seconds: float) -> None:
        """The event loop came so much too late to a timer: something else had it."""
        self._observe(self._layout.loop_lag, LOOP_LAG_BOUNDS, seconds)

    def store_command(self, seconds: float) -> None:
        """The store took this long to answer, or to fail."""
        self._observe(self._layout.store_command, STORE_BOUNDS, seconds)

    def log_dropped(self, lines: int) -> None:
        cells, at = self._dropped  # in one step: the thread that writes the lines calls this too
        cells[at] += lines

    def _observe(self, at: int, bounds: tuple[float, ...], seconds: float) -> None:
        self._cells[at] += seconds
        self._cells[at + 1 + bisect_left(bounds, seconds)] += 1.0


def clear_gauges(layout: Layout, cells: "memoryview[float]") -> None:
    """Set a block's gauges to zero: a new worker starts without connections, and a dead one has none."""
    for at in range(layout.block.gauge_cells):
        cells[at] = 0.0


def key_number(key_id: str) -> float:
    """A key's name as a cell can hold it: 48 bits of a digest, exact in a double, never 0."""
    return float(int.from_bytes(blake2b(key_id.encode(), digest_size=6).digest(), "big") or 1)


def _place(names: tuple[str, ...], name: str) -> int:
    """The place of a name in a list that ends with `other`."""
    return names.index(name) if name in names else len(names) - 1
