"""The alerts, end to end: causes at real gateways, a real Prometheus with the shipped rules, a real Alertmanager with the shipped
routes, and what arrives at a pager. One stack for the whole file, a hundred times as quick as recommended.

    .venv/bin/pytest -n0 -s tests/grafana/test_alerts_live.py       prints how long each took

What is not here is shown by promtool alone (grafana/alerts/tests): its cause takes days, or cannot be brought about from outside.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alerting_stack import Message, skip_without_programs
from live.running_gateway import eventually
from troubles import Cause, Troubles

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = "https://gateway.example/docs/how-to/alerts/"
TOLD: list[Cause] = [
    ("GatewayCertificateExpiry", "branch"),
    ("GatewayDegradedAdmissions", "shop"),
    ("GatewayDown", "branch"),
    ("GatewayExpiredTokenLoop", "shop"),
    ("GatewayFingerprintMismatch", "shop"),
    ("GatewayIssuerWithoutKeys", "branch"),
    ("GatewayLatencyBudgetBurn", "shop"),
    ("GatewayLoginFlood", "shop"),
    ("GatewayRefreshAfterRevocation", "shop"),
    ("GatewayRefreshTokenReused", "shop"),
    ("GatewayRevocationEnforcementSlow", "shop"),
    ("GatewayRevokedTokenReplayed", "shop"),
    ("GatewaySignatureFailures", "shop"),
    ("GatewayStoreDown", "shop"),
    ("GatewayUpstreamDown", "shop"),
    ("GatewayWebhookBacklog", "shop"),
    ("GatewayWebhookEventsLost", "branch"),
    ("GatewayWorkersMissing", "shop"),
    ("GatewayWorkersRestarting", "shop"),
]
HELD_BACK: list[Cause] = [
    ("GatewayAvailabilityBudgetBurn", "shop"),
    ("GatewayInstanceDown", "branch"),
    ("GatewayReplicaLagging", "shop"),
    ("GatewayReplicaNotLive", "shop"),
]
"""They fire, and are not told beside their cause."""


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubles]:
    skip_without_programs()
    troubles = Troubles(tmp_path_factory.mktemp("troubles"))
    try:
        troubles.begin()
        troubles.happen()
        yield troubles
        print_table(troubles)
    finally:
        troubles.close()


def pages(troubles: Troubles, name: str, job: str, status: str = "firing") -> list[Message]:
    """What the pager was told since the cause was there."""
    since = troubles.caused[name, job]
    return [message for message in troubles.watch.pager.told(name, status, job=job) if message.at >= since]


def test_the_replay_of_a_revoked_token_is_a_page_with_everything_that_is_needed_at_night(troubles: Troubles):
    (page,) = eventually(lambda: of_kind("token", pages(troubles, "GatewayRevokedTokenReplayed", "shop")))
    assert page.receiver == "page"
    assert page.labels == {
        "alertname": "GatewayRevokedTokenReplayed",
        "severity": "critical",
        "job": "shop",
        "kind": "token",
    }
    assert page.annotations["summary"] == "A revoked token is being replayed."
    assert "at shop showed what was revoked (kind token)" in page.annotations["description"]
    assert page.annotations["runbook_url"] == f"{RUNBOOKS}GatewayRevokedTokenReplayed"
    assert page.annotations["dashboard_url"] == "/d/gateway-security"


def test_each_kind_of_replay_is_a_page_of_its_own(troubles: Troubles):
    kinds = {"token", "session", "key"}
    eventually(lambda: {page.labels["kind"] for page in pages(troubles, "GatewayRevokedTokenReplayed", "shop")} == kinds)


def test_the_page_of_a_replay_ends_by_itself(troubles: Troubles):
    name = "GatewayRevokedTokenReplayed"
    eventually(lambda: of_kind("token", pages(troubles, name, "shop", "resolved")))
    eventually(lambda: not troubles.watch.fires(name))  # of any kind


@pytest.mark.parametrize(("name", "job"), TOLD)
def test_what_happened_is_told_to_whom_it_concerns(troubles: Troubles, name: str, job: str):
    message, *_ = eventually(lambda: pages(troubles, name, job))
    assert message.receiver == {"critical": "page", "warning": "ticket"}[message.labels["severity"]]
    assert message.annotations["runbook_url"] == f"{RUNBOOKS}{name}"


@pytest.mark.parametrize(("name", "job"), HELD_BACK)
def test_what_follows_from_a_cause_that_was_told_is_held_back(troubles: Troubles, name: str, job: str):
    assert name in troubles.inhibited
    assert troubles.watch.fired_at(name, job, troubles.caused[name, job]) < float("inf")


def test_a_phone_that_changed_its_network_is_on_the_boards_and_wakes_nobody(troubles: Troubles):
    fired = 'max_over_time(ALERTS{alertname="GatewayFingerprintMismatch", severity="info"}[1h])'
    assert troubles.watch.ask("query", query=fired)["result"]
    assert not troubles.watch.pager.told("GatewayFingerprintMismatch", severity="info")


def test_every_message_reads_as_it_should(troubles: Troubles):
    assert len(troubles.watch.pager.messages) >= len(TOLD)
    for message in troubles.watch.pager.messages:
        for text in message.annotations.values():
            assert not any(sign in text for sign in ("<", "{{", "%!", "  ")), text
            assert " of ." not in text and " at  " not in text, text


def of_kind(kind: str, messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.labels["kind"] == kind]


def print_table(troubles: Troubles) -> None:
    """Seconds from each cause until its alert fires, and until its message arrives."""
    print(f"\n{'':34} {'fires':>8} {'arrives':>8}")
    for (name, job), at in sorted(troubles.caused.items()):
        arrived = min((message.at - at for message in pages(troubles, name, job)), default=float("inf"))
        told = "held back" if (name, job) in HELD_BACK else f"{arrived:.2f} s"
        print(f"{name:34} {troubles.watch.fired_at(name, job, at) - at:6.2f} s {told:>9}")
