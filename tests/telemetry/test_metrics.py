"""What is counted and what is told: cells on one side, a parsed page on the other."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.reasons import Reason
from gateway.telemetry.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from gateway.telemetry.metrics import (
    ALLOW,
    ALLOW_STALE,
    CODES,
    DENY,
    KEY_AGES,
    METHODS,
    OTHER,
    REASONS,
    SIGNATURE_REASONS,
    SIGNERS,
    Layout,
    RouteMetrics,
    WorkerMetrics,
    clear_gauges,
)
from gateway.telemetry.reading import SupervisorFacts, read_upstreams
from gateway.telemetry.slots import Cells


@dataclass
class Gateway:
    """A supervisor's exposition over two workers, with a clock that stands still until it is moved."""

    layout: Layout = field(default_factory=lambda: Layout(["app", "pay"], ["shop"], ["https://idp.example"]))
    now: float = 100.0
    workers: list[WorkerMetrics] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cells = Cells.create(self.layout.block, 3)
        self.workers = [self.start(index) for index in range(3)]
        facts = SupervisorFacts(running=2, configured=2, restarts=0, is_store_up=True)
        self.exposition = Exposition(self.layout, self.cells, 2.0, lambda: facts, lambda: self.now)

    def start(self, index: int) -> WorkerMetrics:
        return WorkerMetrics(self.layout, self.cells.block(index))

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        self.now += 1.0
        page, _ = self.exposition.page("")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parse_text(page.decode())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.cells.close()


def finish(metrics: RouteMetrics, method: bytes = b"GET", status: int = 200, **changes: object) -> None:
    given = {"decision": ALLOW, "reason": None, "duration_s": 0.003, "upstream_s": 0.002} | changes
    metrics.finish(method, status, **given)  # type: ignore[arg-type]


def test_one_request_counts_everywhere_it_should(gateway: Gateway):
    finish(gateway.workers[0].route("app"))
    assert gateway.value("gateway_requests_total", route="app", method="GET", code="200") == 1
    assert gateway.value("gateway_decisions_total", route="app", decision="allow", reason="none") == 1
    assert gateway.value("gateway_request_duration_seconds_count", route="app") == 1
    assert gateway.value("gateway_request_duration_seconds_sum", route="app") == pytest.approx(0.003)
    assert gateway.value("gateway_request_duration_seconds_bucket", route="app", le="0.0025") == 0
    assert gateway.value("gateway_request_duration_seconds_bucket", route="app", le="0.005") == 1
    assert gateway.value("gateway_upstream_duration_seconds_bucket", route="app", le="0.0025") == 1
    assert gateway.value("gateway_overhead_seconds_sum", route="app") == pytest.approx(0.001)
    assert gateway.value("gateway_requests_total", route="pay", method="GET", code="200") == 0


def test_a_refusal_has_its_reason_and_no_time_upstream(gateway: Gateway):
    route = gateway.workers[0].route("app")
    finish(route, status=401, decision=DENY, reason=Reason.REVOKED_TOKEN, duration_s=0.00002, upstream_s=-1.0)
    assert gateway.value("gateway_decisions_total", route="app", decision="deny", reason="revoked-token") == 1
    assert gateway.value("gateway_upstream_duration_seconds_count", route="app") == 0
    assert gateway.value("gateway_overhead_seconds_bucket", route="app", le="2.5e-05") == 1


def test_an_observation_on_a_bound_belongs_to_its_bucket(gateway: Gateway):
    finish(gateway.workers[0].route("app"), duration_s=0.005, upstream_s=-1.0)
    assert gateway.value("gateway_request_duration_seconds_bucket", route="app", le="0.0025") == 0
    assert gateway.value("gateway_request_duration_seconds_bucket", route="app", le="0.005") == 1


def test_a_very_long_request_is_in_the_last_bucket(gateway: Gateway):
    finish(gateway.workers[0].route("app"), duration_s=4000.0, upstream_s=3999.0)
    assert gateway.value("gateway_request_duration_seconds_bucket", route="app", le="10.0") == 0
    assert gateway.value("gateway_request_duration_seconds_bucket", route="app", le="+Inf") == 1


def test_every_reason_and_decision_has_its_own_counter(gateway: Gateway):
    for decision in (ALLOW, DENY, ALLOW_STALE):
        for reason in (None, *Reason):
            finish(gateway.workers[0].route("app"), decision=decision, reason=reason)
    counts = [
        value
        for (name, labels), value in gateway.samples().items()
        if name == "gateway_decisions_total" and ("route", "app") in labels
    ]
    assert len(counts) == 3 * len(REASONS)
    assert set(counts) == {1}


def test_every_known_status_has_its_own_counter(gateway: Gateway):
    for status in range(100, 600):
        finish(gateway.workers[0].route("app"), status=status)
    counts = {
        dict(labels)["code"]: value
        for (name, labels), value in gateway.samples().items()
        if name == "gateway_requests_total" and ("route", "app") in labels and ("method", "GET") in labels
    }
    assert set(counts) == set(CODES)
    assert counts.pop(OTHER) == 500 - (len(CODES) - 1)
    assert set(counts.values()) == {1}


def test_O01_clients_cannot_make_series(gateway: Gateway):
    route = gateway.workers[0].route("")
    for number in range(20_000):
        finish(route, method=b"M%d" % number, status=1000 + number)
    made = [labels for name, labels in gateway.samples() if name == "gateway_requests_total" and ("route", "none") in labels]
    assert made == [(("code", "other"), ("method", "other"), ("route", "none"))]
    assert gateway.value("gateway_requests_total", route="none", method="other", code="other") == 20_000
    assert len(METHODS) * len(CODES) < 400


def test_the_workers_are_summed_and_a_restart_loses_nothing(gateway: Gateway):
    for metrics in gateway.workers[:2]:
        finish(metrics.route("app"))
        metrics.client_connections(+3)
    assert gateway.value("gateway_requests_total", route="app", method="GET", code="200") == 2
    assert gateway.value("gateway_connections", side="client") == 6
    finish(gateway.start(1).route("app"))
    assert gateway.value("gateway_requests_total", route="app", method="GET", code="200") == 3
    assert gateway.value("gateway_connections", side="client") == 3


def test_L3_a_worker_that_hangs_is_stale_in_the_readers_eyes(gateway: Gateway):
    gateway.workers[0].replica("live", proven_at=gateway.now, entries=7, position=12, clock_offset_s=0.0)
    assert gateway.value("gateway_replica_state", worker="0", state="live") == 1
    gateway.now += 3.0
    assert gateway.value("gateway_replica_state", worker="0", state="live") == 0
    assert gateway.value("gateway_replica_state", worker="0", state="stale") == 1
    assert gateway.value("gateway_replica_entries", worker="0") == 7
    assert gateway.value("gateway_replica_lag_seconds", worker="1") == float("inf")


def test_the_newest_attempt_of_any_worker_decides_whether_an_upstream_is_up(gateway: Gateway):
    assert gateway.value("gateway_upstream_up", upstream="shop") == 1
    gateway.workers[0].upstream_up("shop", False, boot_now=5.0)
    assert gateway.value("gateway_upstream_up", upstream="shop") == 0
    gateway.workers[1].upstream_up("shop", True, boot_now=6.0)
    assert gateway.value("gateway_upstream_up", upstream="shop") == 1


def test_the_small_counters(gateway: Gateway):
    worker, supervisor = gateway.workers[0], gateway.workers[2]
    worker.revoked_use("session", "replay")
    worker.connection_cut("token")
    worker.connection_cut("a cause from the future")
    worker.upstream_connections(+2)
    worker.log_dropped(4)
    worker.enforced(0.004)
    worker.store_command(0.0002)
    worker.loop_lag(0.03)
    worker.keys("https://idp.example", 2, 1.0)
    worker.login_flood("network")
    worker.signature_failure("own", "retired-key", "rotated")
    worker.signature_failure("other", "bad-signature", "settled")
    supervisor.webhook_event("dropped")
    supervisor.webhook_retry()
    supervisor.webhook_waiting(7)
    supervisor.revocation("user", "api")
    assert gateway.value("gateway_revoked_use_total", kind="session", age="replay") == 1
    assert gateway.value("gateway_revoked_use_total", kind="key", age="tail") == 0
    assert gateway.value("gateway_webhook_events_total", outcome="dropped") == 1
    assert gateway.value("gateway_webhook_events_total", outcome="delivered") == 0
    assert gateway.value("gateway_webhook_retries_total") == 1
    assert gateway.value("gateway_webhook_queue_length") == 7
    assert gateway.value("gateway_login_floods_total", by="network") == 1
    assert gateway.value("gateway_login_floods_total", by="account") == 0
    failures = {("own", "retired-key", "rotated"), ("other", "bad-signature", "settled")}
    for signer, reason, keys in product(SIGNERS, SIGNATURE_REASONS, KEY_AGES):
        counted = gateway.value("gateway_signature_failures_total", signer=signer, reason=reason, keys=keys)
        assert counted == ((signer, reason, keys) in failures)
    assert gateway.value("gateway_connections_cut_total", cause="token") == 1
    assert gateway.value("gateway_connections_cut_total", cause="other") == 1
    assert gateway.value("gateway_connections", side="upstream") == 2
    assert gateway.value("gateway_log_lines_dropped_total") == 4
    assert gateway.value("gateway_revocation_enforcement_seconds_bucket", le="0.005") == 1
    assert gateway.value("gateway_store_command_seconds_bucket", le="0.00025") == 1
    assert gateway.value("gateway_event_loop_lag_seconds_bucket", le="0.02") == 0
    assert gateway.value("gateway_event_loop_lag_seconds_bucket", le="0.05") == 1
    assert gateway.value("gateway_revocations_total", kind="user", source="api") == 1
    assert gateway.value("gateway_issuer_keys", issuer="https://idp.example") == 0
    assert gateway.value("gateway_store_up") == 1


def test_the_certificate_that_expires_first_is_told_and_none_where_there_is_none(gateway: Gateway):
    name = "gateway_tls_certificate_expiry_timestamp_seconds"
    assert f"\n{name} " not in gateway.exposition.page("")[0].decode()
    gateway.workers[0].certificate(2_000_000_000.0)
    assert gateway.value(name) == 2_000_000_000
    gateway.workers[1].certificate(1_900_000_000.0)
    assert gateway.value(name) == 1_900_000_000
    clear_gauges(gateway.layout, gateway.cells.block(1))  # its worker is gone
    assert gateway.value(name) == 2_000_000_000


def test_O08_scrapers_share_a_page_and_a_count_shows_within_300_ms(gateway: Gateway):
    before, _ = gateway.exposition.page("")
    finish(gateway.workers[0].route("app"))
    gateway.now += 0.19
    assert gateway.exposition.page("")[0] is before
    gateway.now += 0.05
    assert gateway.exposition.page("")[0] != before


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT_TYPE),
        ("*/*", TEXT_TYPE),
        ("text/plain;version=not-a-number", TEXT_TYPE),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS_TYPE),
        ("application/openmetrics-text;version=\xff", OPENMETRICS_TYPE),
    ],
)
def test_the_format_follows_accept(gateway: Gateway, accept: str, expected: str):
    finish(gateway.workers[0].route("app"))
    page, content_type = gateway.exposition.page(accept)
    assert content_type == expected
    parse = parse_openmetrics if expected == OPENMETRICS_TYPE else parse_text
    families = {family.name for family in parse(page.decode())}
    assert "gateway_requests" in families or "gateway_requests_total" in families


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_finds_nothing(gateway: Gateway):
    for number, reason in enumerate((None, *Reason)):
        finish(gateway.workers[number % 2].route("app"), decision=DENY if reason else ALLOW, reason=reason)
    page, _ = gateway.exposition.page("")
    check = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_of_each_address_the_worst_that_a_worker_sees_is_told():
    layout = Layout([], {"shop": ["a:80", "name:80"]}, [])
    cells = Cells.create(layout.block, 3)
    first, second, _ = (WorkerMetrics(layout, cells.block(index)) for index in range(3))
    first.upstream_addresses("shop", {"a:80": {"up": 1, "ejected": 0, "down": 0}, "name:80": {"up": 3, "ejected": 0, "down": 0}})
    second.upstream_addresses("shop", {"a:80": {"up": 0, "ejected": 0, "down": 1}, "name:80": {"up": 2, "ejected": 1, "down": 0}})
    shop = read_upstreams(layout, [cells.block(index) for index in range(3)])["shop"]
    assert shop.addresses == {"up": 2, "ejected": 1, "down": 1}
    assert shop.servers == {"a:80": {"up": 0, "ejected": 0, "down": 1}, "name:80": {"up": 2, "ejected": 1, "down": 0}}
    cells.close()
