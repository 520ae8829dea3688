"""The boards and the program speak of the same things: metrics, labels and their values, alerts and runbooks."""

import re
from typing import Any

import pytest
import yaml
from board_reading import BOARDS, FOLDER, every_expression, every_query, metric_names, panels, selectors
from prometheus_client.metrics_core import Metric

from gateway.telemetry.exposition import Exposition
from gateway.telemetry.metrics import CODES, METHODS, Layout
from gateway.telemetry.reading import SupervisorFacts
from gateway.telemetry.slots import Cells

ROOT = FOLDER.parents[1]
RULES: list[dict[str, Any]] = [
    rule
    for path in sorted((ROOT / "grafana" / "alerts").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"] for rule in RULES if "alert" in rule}
RUNBOOKS = "https://gateway.example/docs/how-to/alerts/"
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
# Prometheus has these of every target and of every alert.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS", "ALERTS_FOR_STATE"}
OF_ALERTS = {"alertname", "alertstate", "severity"}


def families() -> dict[str, Metric]:
    """What a scrape holds, by the names of its series."""
    layout = Layout(["app"], ["shop"], ["https://idp.example"])
    cells = Cells.create(layout.block, 2)
    facts = SupervisorFacts(running=1, configured=1, restarts=0, is_store_up=True, key_ages=(("kid", 1.0),))
    collected = list(Exposition(layout, cells, 2.0, lambda: facts, lambda: 0.0).collect())
    cells.close()
    return {f"{family.name}{suffix}": family for family in collected for suffix in SUFFIXES[family.type]}


FAMILIES = families()


def values(metric: str, label: str) -> set[str]:
    """All that a label of a closed list can be."""
    listed = {"code": CODES, "method": METHODS}
    return set(listed.get(label) or {sample.labels[label] for sample in FAMILIES[metric].samples if label in sample.labels})


def grouped_by(expression: str) -> set[str]:
    return {name for names in re.findall(r"\bby \(([^)]*)\)", expression) for name in names.split(", ")}


def test_every_metric_exists():
    known = set(FAMILIES) | {rule["record"] for rule in RULES if "record" in rule} | OF_PROMETHEUS
    for where, expression in every_expression():
        assert set(metric_names(expression)) <= known, where
        assert len(metric_names(expression)) == len(list(selectors(expression))), f"a metric without a selector: {where}"


def test_every_label_and_every_value_exists():
    for where, expression in every_expression():
        for selector in selectors(expression):
            for label, operator, value in selector.matchers:
                if label not in OF_ALERTS | {"job", "instance"}:
                    known = values(selector.metric, label)
                    for word in value.split("|") if "~" in operator else [value]:
                        assert any(re.fullmatch(word, one) for one in known), f"{where}: {label}={word} of {sorted(known)}"


def test_what_is_grouped_by_a_label_has_it():
    for where, expression in every_expression():
        samples = [sample for name in metric_names(expression) if name in FAMILIES for sample in FAMILIES[name].samples]
        labels = {label for sample in samples for label in sample.labels} | (OF_ALERTS if "ALERTS" in expression else set())
        assert grouped_by(expression) <= labels | {"job", "instance"}, where


def test_every_label_of_a_legend_is_a_label_of_the_result():
    for query in every_query():
        told = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
        kept = grouped_by(query.expression) if " by (" in query.expression else {"job", "instance"}
        assert told <= kept, query.where


def test_every_metric_is_on_some_board():
    """What nobody looks at need not be counted; a histogram's sum is the one thing that its quantiles make superfluous."""
    shown = {name for _, expression in every_expression() for name in metric_names(expression)}
    families = {FAMILIES[name].name for name in shown if name in FAMILIES}
    assert {family.name for family in FAMILIES.values()} - families == set()


def test_every_alert_that_a_panel_names_is_one_and_has_a_runbook():
    named = {
        link["title"].partition(": ")[2]
        for board in BOARDS.values()
        for panel in panels(board)
        for link in panel.get("links", [])
    }
    assert named <= ALERTS
    assert [name for name in named if not (ROOT / "docs" / "how-to" / "alerts" / f"{name}.md").exists()] == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"])
def test_whoever_follows_an_alert_to_its_board_finds_a_panel_about_it(rule: dict[str, Any]):
    board = BOARDS[rule["annotations"]["dashboard_url"].removeprefix("/d/")]
    links = [link for panel in panels(board) for link in panel.get("links", [])]
    assert {"title": f"Runbook: {rule['alert']}", "url": f"{RUNBOOKS}{rule['alert']}", "targetBlank": True} in links
    assert {"title": f"Alert: {rule['alert']}", "url": f"/alerting/list?search={rule['alert']}"} in links
