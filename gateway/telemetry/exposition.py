"""`/metrics`: the cells of all workers, summed and told in Prometheus' text format or in OpenMetrics.

Owns nothing but the last page it rendered. A page is kept for 0.2 s, so ten scrapers a second cost five renderings
[O08] and a count is still seen within 0.3 s. prometheus_client does the format; which numbers exist is `metrics.py`.

Counters with closed labels start at 0 (a series that appears with its first event hides that event from `increase()`).
`gateway_requests_total` would need 376 series a route for that: it starts with the codes that the gateway itself
answers, and the others appear when they happen.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, product
from operator import add
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as MetricExemplar

from gateway import __version__
from gateway.telemetry.exemplars import EXEMPLAR_CELLS, newest_exemplar
from gateway.telemetry.metrics import (
    ADMITTED_KINDS,
    CODES,
    CUT_CAUSES,
    DECISIONS,
    DURATION_BOUNDS,
    EJECTION_CAUSES,
    ENFORCEMENT_BOUNDS,
    FLOODS,
    KEY_AGES,
    KEY_PLACES,
    LOGIN_OUTCOMES,
    LOOP_LAG_BOUNDS,
    METHODS,
    NONE,
    OVERHEAD_BOUNDS,
    REASONS,
    REFRESH_OUTCOMES,
    REVOCATION_KINDS,
    REVOCATION_SOURCES,
    SIDES,
    SIGNAL_ACTIONS,
    SIGNALS,
    SIGNATURE_REASONS,
    SIGNERS,
    SPAN_OUTCOMES,
    STATES,
    STORE_BOUNDS,
    USE_AGES,
    USE_KINDS,
    WEBHOOK_OUTCOMES,
    WITNESS_PROBLEMS,
    Layout,
    RouteLayout,
    histogram_cells,
    key_number,
)
from gateway.telemetry.reading import ProcessReading, SupervisorFacts, read_worker, upstream_addresses, upstreams_up
from gateway.telemetry.slots import Cells

TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PAGE_LIFETIME_S: Final = 0.2
_STARTING_METHODS: Final = ("GET", "POST")
_STARTING_CODES: Final = ("200", "401", "403", "404", "502", "503", "504")


class Exposition(Collector):
    """Sums and renders. `facts` is asked at each rendering; `boot` is the boot clock.

    Block `n` of `cells` is worker n's; what follows the workers' is the supervisor's own, and what is carried on.
    """

    def __init__(
        self,
        layout: Layout,
        cells: Cells,
        max_staleness_s: float,
        facts: Callable[[], SupervisorFacts],
        boot: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._cells = cells
        self._max_staleness_s = max_staleness_s
        self._facts = facts
        self._boot = boot
        self._pages: dict[str, tuple[float, bytes]] = {}

    def page(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type: OpenMetrics for a scraper that names it, else the text format."""
        content_type = OPENMETRICS_TYPE if "application/openmetrics-text" in accept else TEXT_TYPE
        now = self._boot()
        rendered_at, body = self._pages.get(content_type, (-PAGE_LIFETIME_S, b""))
        if now - rendered_at >= PAGE_LIFETIME_S:
            render = generate_openmetrics if content_type == OPENMETRICS_TYPE else generate_latest
            body = render(self)
            self._pages[content_type] = (now, body)
        return body, content_type

    def collect(self) -> Iterator[Metric]:
        blocks, facts = list(self._cells.every_block()), self._facts()
        totals, workers = _sum(blocks), blocks[: facts.configured]
        yield from self._requests(totals, workers)
        yield from self._revocations(totals)
        yield from self._workers(workers)
        yield from self._processes(facts, totals)
        yield from self._connections(workers, totals)
        yield from self._store_and_log(totals)

    def move(self, layout: Layout, cells: Cells) -> None:
        """From here on tell what is counted in other cells, those of a new configuration."""
        self._layout, self._cells = layout, cells

    def _requests(self, totals: Sequence[float], workers: list["memoryview[float]"]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "gateway_requests",
            "Requests answered, by the route they matched.",
            labels=("route", "method", "code"),
        )
        decisions = CounterMetricFamily(
            "gateway_decisions",
            "What was decided about requests, and why they were refused.",
            labels=("route", "decision", "reason"),
        )
        duration = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "Time from the complete head of a request to the end of its answer.",
            labels=("route",),
        )
        upstream = HistogramMetricFamily(
            "gateway_upstream_duration_seconds",
            "The part of a request's duration spent with the upstream.",
            labels=("route",),
        )
        overhead = HistogramMetricFamily(
            "gateway_overhead_seconds",
            "The part of a request's duration spent in the gateway itself.",
            labels=("route",),
        )
        for name, route in self._layout.routes.items():
            _add_requests(requests, name, route, totals)
            _add_decisions(decisions, name, route, totals)
            exemplars = {histogram: (at, workers) for histogram, at in route.exemplars.items()}
            _add_histogram(duration, (name,), totals, route.duration, DURATION_BOUNDS, exemplars.get("duration"))
            _add_histogram(upstream, (name,), totals, route.upstream, DURATION_BOUNDS, exemplars.get("upstream"))
            _add_histogram(overhead, (name,), totals, route.overhead, OVERHEAD_BOUNDS, exemplars.get("overhead"))
        yield from (requests, decisions, duration, upstream, overhead)

    def _revocations(self, totals: Sequence[float]) -> Iterator[Metric]:
        layout = self._layout
        use = CounterMetricFamily(
            "gateway_revoked_use",
            "Requests that showed something revoked: in its tail, or replayed.",
            labels=("kind", "age"),
        )
        _add_table(use, totals, layout.revoked_use, USE_KINDS, USE_AGES)
        yield use
        admitted = CounterMetricFamily(
            "gateway_admitted_although_revoked",
            "Tokens let in while revocation could not be checked, that had been revoked, as it turned out.",
            labels=("kind",),
        )
        _add_row(admitted, totals, layout.admitted_revoked, ADMITTED_KINDS)
        yield admitted
        yield CounterMetricFamily(
            "gateway_expired_token_loops",
            "Expired tokens that were shown again and again, once a minute each.",
            value=totals[layout.expired_loops],
        )
        failures = CounterMetricFamily(
            "gateway_signature_failures",
            "Tokens that no key in force has signed, by whom they name and whether his keys changed lately.",
            labels=("signer", "reason", "keys"),
        )
        for at, names in enumerate(product(SIGNERS, SIGNATURE_REASONS, KEY_AGES), layout.signature_failures):
            failures.add_metric(names, totals[at])
        yield failures
        revocations = CounterMetricFamily(
            "gateway_revocations",
            "Revocations accepted, and revocations undone (lift).",
            labels=("kind", "source"),
        )
        _add_table(revocations, totals, layout.revocations, REVOCATION_KINDS, REVOCATION_SOURCES)
        yield revocations
        yield from self._sessions(totals)
        enforcement = HistogramMetricFamily(
            "gateway_revocation_enforcement_seconds",
            "Time from the append of a revocation until a worker enforced it.",
        )
        _add_histogram(enforcement, (), totals, layout.enforcement, ENFORCEMENT_BOUNDS)
        yield enforcement

    def _sessions(self, totals: Sequence[float]) -> Iterator[Metric]:
        layout, facts = self._layout, self._facts()
        refreshes = CounterMetricFamily(
            "gateway_refreshes", "Refresh tokens shown, by what came of them; parallel requests count each.", labels=("outcome",)
        )
        _add_row(refreshes, totals, layout.refreshes, REFRESH_OUTCOMES)
        mismatches = CounterMetricFamily(
            "gateway_fingerprint_mismatches",
            "Sessions seen from another device, network or country, by what was done about it.",
            labels=("signal", "action"),
        )
        _add_table(mismatches, totals, layout.mismatches, SIGNALS, SIGNAL_ACTIONS)
        logins = CounterMetricFamily("gateway_logins", "Attempts to sign in, by what came of them.", labels=("outcome",))
        _add_row(logins, totals, layout.logins, LOGIN_OUTCOMES)
        floods = CounterMetricFamily(
            "gateway_login_floods",
            "Hundreds of failed logins within ten minutes, for one account or from one network.",
            labels=("by",),
        )
        _add_row(floods, totals, layout.login_floods, FLOODS)
        sessions = GaugeMetricFamily("gateway_sessions", "Sessions of this gateway's own accounts.", value=facts.sessions)
        subdued = GaugeMetricFamily(
            "gateway_fingerprint_subdued_workers",
            "Workers whose action for this signal has fallen to alert, because too many sessions differ at once.",
            labels=("signal",),
        )
        for signal, at in layout.subdued.items():
            subdued.add_metric((signal,), totals[at])
        yield from (refreshes, mismatches, subdued, logins, floods, sessions)
        yield from self._keys(facts)
        yield CounterMetricFamily(
            "gateway_store_recoveries",
            "Times that the store had lost its log and workers wrote back what they knew.",
            value=totals[layout.store_recoveries],
        )
        witness = CounterMetricFamily(
            "gateway_witness_problems", "Times that a host's witness file could not be written or read.", labels=("problem",)
        )
        _add_row(witness, totals, layout.witness_problems, WITNESS_PROBLEMS)
        yield witness
        yield CounterMetricFamily(
            "gateway_audit_events_lost", "Events that the audit trail will never hold.", value=totals[layout.audit_lost]
        )

    def _keys(self, facts: SupervisorFacts) -> Iterator[Metric]:
        """Of the keys in the ring: others are history."""
        uses = CounterMetricFamily("gateway_tokens_by_key", "Tokens verified with a signing key of ours.", labels=("kid",))
        age = GaugeMetricFamily("gateway_key_age_seconds", "Age of a signing key of ours.", labels=("kid",))
        counted: dict[float, float] = {}
        for cells in self._cells.every_block():
            for at in range(self._layout.key_uses, self._layout.key_uses + 2 * KEY_PLACES, 2):
                counted[cells[at]] = counted.get(cells[at], 0.0) + cells[at + 1]
        for key_id, age_s in facts.key_ages:
            uses.add_metric((key_id,), counted.get(key_number(key_id), 0.0))
            age.add_metric((key_id,), age_s)
        yield from (uses, age)

    def _workers(self, blocks: list["memoryview[float]"]) -> Iterator[Metric]:
        lag = GaugeMetricFamily(
            "gateway_replica_lag_seconds",
            "Age of a worker's newest proof that its replica is current.",
            labels=("worker",),
        )
        entries = GaugeMetricFamily("gateway_replica_entries", "Facts a worker's replica holds.", labels=("worker",))
        state = GaugeMetricFamily(
            "gateway_replica_state",
            "1 for the state a worker's replica is in, 0 for the others.",
            labels=("worker", "state"),
        )
        keys = GaugeMetricFamily(
            "gateway_issuer_keys",
            "Keys held of an issuer, by the worker that holds the fewest.",
            labels=("issuer",),
        )
        boot_now = self._boot()
        readings = [read_worker(self._layout, cells, boot_now, self._max_staleness_s) for cells in blocks]
        for worker, reading in enumerate(readings):
            lag.add_metric((str(worker),), reading.lag_s)
            entries.add_metric((str(worker),), reading.entries)
            for name in STATES:
                state.add_metric((str(worker), name), float(name == reading.state))
        for place, issuer in enumerate(self._layout.issuers):
            keys.add_metric((issuer,), min(reading.keys[place].keys for reading in readings))
        yield from (lag, entries, state, keys)
        facts = self._facts()
        yield GaugeMetricFamily("gateway_workers", "Workers that run.", value=facts.running)
        yield GaugeMetricFamily("gateway_workers_configured", "Workers that should run.", value=facts.configured)
        yield CounterMetricFamily("gateway_worker_restarts", "Workers replaced: dead or stuck.", value=facts.restarts)
        yield GaugeMetricFamily(
            "gateway_store_up", "Whether the store answered the supervisor last time.", value=float(facts.is_store_up)
        )

    def _processes(self, facts: SupervisorFacts, totals: Sequence[float]) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "gateway_workers_draining",
            "Workers whose place another one has taken, and that finish what they began.",
            value=facts.draining,
        )
        yield CounterMetricFamily(
            "gateway_workers_over_memory", "Times that a worker took more than limits.worker_memory.", value=facts.over_memory
        )
        memory = GaugeMetricFamily(
            "gateway_worker_resident_memory_bytes", "Memory that a worker holds (its resident set).", labels=("worker",)
        )
        cpu = CounterMetricFamily(
            "gateway_worker_cpu_seconds", "Processor time that the workers with this number have taken.", labels=("worker",)
        )
        for worker, process in enumerate(facts.processes or (ProcessReading(),) * facts.configured):
            memory.add_metric((str(worker),), process.resident_bytes)
            cpu.add_metric((str(worker),), process.cpu_s)
        lag = HistogramMetricFamily(
            "gateway_event_loop_lag_seconds", "How late the workers' event loops came to a timer that was due every 20 ms."
        )
        _add_histogram(lag, (), totals, self._layout.loop_lag, LOOP_LAG_BOUNDS)
        yield from (memory, cpu, lag)
        reloads = CounterMetricFamily(
            "gateway_config_reloads", "Times that the configuration was to be read again, by what came of it.", labels=("result",)
        )
        reloads.add_metric(("success",), facts.reloads.successes)
        reloads.add_metric(("failure",), facts.reloads.failures)
        yield reloads
        yield GaugeMetricFamily(
            "gateway_config_last_reload_successful",
            "0 while the file on disk was refused, and the configuration before it is in force.",
            value=float(facts.reloads.is_last_good),
        )
        yield GaugeMetricFamily(
            "gateway_config_last_reload_success_timestamp_seconds",
            "Since when the configuration in force is.",
            value=facts.reloads.succeeded_at,
        )

    def _connections(self, blocks: list["memoryview[float]"], totals: Sequence[float]) -> Iterator[Metric]:
        connections = GaugeMetricFamily("gateway_connections", "Open connections, to clients and to upstreams.", labels=("side",))
        for side in SIDES:
            connections.add_metric((side,), totals[self._layout.connections[side]])
        cuts = CounterMetricFamily(
            "gateway_connections_cut",
            "Live connections that the gateway ended, by what ended them.",
            labels=("cause",),
        )
        for place, cause in enumerate(CUT_CAUSES):
            cuts.add_metric((cause,), totals[self._layout.cuts + place])
        up = GaugeMetricFamily(
            "gateway_upstream_up",
            "Whether the newest attempt to reach an upstream succeeded.",
            labels=("upstream",),
        )
        for name, is_up in upstreams_up(self._layout, blocks).items():
            up.add_metric((name,), float(is_up))
        yield from self._addresses(blocks, totals)
        certificate = GaugeMetricFamily(
            "gateway_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in force expires; of several, because workers loaded the file at different times, the first.",
        )
        expiries = [cells[self._layout.certificate] for cells in blocks if cells[self._layout.certificate]]
        if expiries:
            certificate.add_metric((), min(expiries))
        yield from (connections, cuts, up, certificate)

    def _addresses(self, blocks: list["memoryview[float]"], totals: Sequence[float]) -> Iterator[Metric]:
        addresses = GaugeMetricFamily(
            "gateway_upstream_addresses",
            "Addresses of an upstream by state: the fewest that any worker sees up, the most that any sees ejected or down.",
            labels=("upstream", "state"),
        )
        for name, counts in upstream_addresses(self._layout, blocks).items():
            for state, count in counts.items():
                addresses.add_metric((name, state), count)
        ejections = CounterMetricFamily(
            "gateway_upstream_ejections",
            "Times that a worker stopped using an address, by what made it.",
            labels=("upstream", "cause"),
        )
        for name, at in self._layout.upstream_ejections.items():
            for place, cause in enumerate(EJECTION_CAUSES):
                ejections.add_metric((name, cause), totals[at + place])
        retries = CounterMetricFamily(
            "gateway_upstream_retries",
            "Requests that were tried again: at another address, or after a stale connection.",
            labels=("upstream",),
        )
        for name, at in self._layout.upstream_retries.items():
            retries.add_metric((name,), totals[at])
        yield from (addresses, ejections, retries)

    def _store_and_log(self, totals: Sequence[float]) -> Iterator[Metric]:
        store = HistogramMetricFamily("gateway_store_command_seconds", "Time the store took to answer, or to fail.")
        _add_histogram(store, (), totals, self._layout.store_command, STORE_BOUNDS)
        yield store
        yield CounterMetricFamily(
            "gateway_log_lines_dropped",
            "Log lines thrown away because nobody read them in time.",
            value=totals[self._layout.log_dropped],
        )
        events = CounterMetricFamily(
            "gateway_webhook_events", "Events that were to be sent, by what came of them.", labels=("outcome",)
        )
        _add_row(events, totals, self._layout.webhook_events, WEBHOOK_OUTCOMES)
        yield events
        yield CounterMetricFamily(
            "gateway_webhook_retries", "Times that an event was sent again.", value=totals[self._layout.webhook_retries]
        )
        yield GaugeMetricFamily(
            "gateway_webhook_queue_length", "Events that wait to be sent.", value=totals[self._layout.webhook_waiting]
        )
        spans = CounterMetricFamily("gateway_trace_spans", "Spans to be sent, by what came of them.", labels=("outcome",))
        _add_row(spans, totals, self._layout.spans, SPAN_OUTCOMES)
        yield spans
        build = GaugeMetricFamily("gateway_build_info", "The version that runs; always 1.", labels=("version", "python"))
        build.add_metric((__version__, platform.python_version()), 1.0)
        yield build


def _sum(blocks: Iterable["memoryview[float]"]) -> list[float]:
    """Add all blocks, cell by cell. Sums of gauges that cannot be added (a state…) are simply never looked at."""
    first, *others = (list(block) for block in blocks)
    for other in others:
        first = list(map(add, first, other))
    return first


def _add_requests(family: CounterMetricFamily, name: str, route: RouteLayout, totals: Sequence[float]) -> None:
    at = route.requests
    for method in METHODS:
        for code in CODES:
            value = totals[at]
            at += 1
            if value or (name != NONE and method in _STARTING_METHODS and code in _STARTING_CODES):
                family.add_metric((name, method, code), value)


def _add_decisions(family: CounterMetricFamily, name: str, route: RouteLayout, totals: Sequence[float]) -> None:
    """Every refusal and both kinds of permission start at 0; an allowed request with a reason failed later."""
    at = route.decisions
    for decision in DECISIONS:
        for reason in REASONS:
            value = totals[at]
            at += 1
            if value or (decision == "deny") == (reason != NONE):
                family.add_metric((name, decision, reason), value)


def _add_row(family: CounterMetricFamily, totals: Sequence[float], at: int, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        family.add_metric((name,), totals[at + place])


def _add_table(
    family: CounterMetricFamily, totals: Sequence[float], at: int, rows: Sequence[str], columns: Sequence[str]
) -> None:
    for row in rows:
        for column in columns:
            family.add_metric((row, column), totals[at])
            at += 1


def _add_histogram(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    totals: Sequence[float],
    at: int,
    bounds: tuple[float, ...],
    exemplars: tuple[int, list["memoryview[float]"]] | None = None,
) -> None:
    """Counts are kept per bucket and are made cumulative only here, where nobody waits.

    `exemplars`: where those of the first bucket are, and in whose blocks. Only OpenMetrics shows them.
    """
    counts = accumulate(totals[at + 1 : at + histogram_cells(bounds)])
    names = (*map(str, bounds), "+Inf")
    buckets: list[Any] = list(zip(names, counts, strict=True))
    if exemplars is not None:
        buckets = [(*bucket, exemplar) for bucket, exemplar in zip(buckets, _exemplars(len(names), *exemplars), strict=True)]
    family.add_metric(labels, buckets=buckets, sum_value=totals[at])


def _exemplars(buckets: int, at: int, workers: list["memoryview[float]"]) -> Iterator[MetricExemplar | None]:
    for place in range(at, at + buckets * EXEMPLAR_CELLS, EXEMPLAR_CELLS):
        found = newest_exemplar(workers, place)
        yield None if found is None else MetricExemplar({"trace_id": found.trace_id}, found.seconds, found.when)
