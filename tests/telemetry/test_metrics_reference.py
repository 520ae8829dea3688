"""docs/reference/metrics.md and the code name the same metrics, types and labels."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from gateway.telemetry.exposition import Exposition
from gateway.telemetry.metrics import (
    ADMITTED_KINDS,
    CUT_CAUSES,
    DECISIONS,
    FLOODS,
    KEY_AGES,
    LOGIN_OUTCOMES,
    METHODS,
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
    USE_AGES,
    USE_KINDS,
    WEBHOOK_OUTCOMES,
    Layout,
)
from gateway.telemetry.reading import SupervisorFacts
from gateway.telemetry.slots import Cells

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(gateway_\w+)` \| (\w+) \| (.*)\|$", re.M)
SECTION = re.compile(r"^\*\*`(gateway_\w+)`\*\* — .+?\n\n```promql\n(.+?)\n```", re.M | re.S)


def exposed() -> dict[str, Metric]:
    layout = Layout(["app"], ["shop"], ["https://idp.example"])
    cells = Cells.create(layout.block, 2)
    facts = SupervisorFacts(running=1, configured=1, restarts=0, is_store_up=True, key_ages=(("kid", 1.0),))
    families = list(Exposition(layout, cells, 2.0, lambda: facts, lambda: 0.0).collect())
    cells.close()
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def test_every_metric_is_in_the_page_and_the_page_names_no_other():
    assert {name: kind for name, kind, _ in ROW.findall(PAGE)} == {name: family.type for name, family in exposed().items()}


def test_the_labels_in_the_page_are_the_labels_in_a_scrape():
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in ROW.findall(PAGE)}
    found = {name: {label for sample in family.samples for label in sample.labels} - {"le"} for name, family in exposed().items()}
    assert told == found


def test_every_metric_has_a_meaning_and_a_query_that_uses_it():
    sections = dict(SECTION.findall(PAGE))
    assert set(sections) == set(exposed())
    assert [name for name, query in sections.items() if name not in query] == []


@pytest.mark.parametrize(
    "values",
    [
        DECISIONS,
        METHODS,
        STATES,
        SIDES,
        USE_KINDS,
        USE_AGES,
        CUT_CAUSES,
        REVOCATION_KINDS,
        REVOCATION_SOURCES,
        REFRESH_OUTCOMES,
        SIGNALS,
        SIGNAL_ACTIONS,
        LOGIN_OUTCOMES,
        FLOODS,
        ADMITTED_KINDS,
        SIGNERS,
        SIGNATURE_REASONS,
        KEY_AGES,
        WEBHOOK_OUTCOMES,
        SPAN_OUTCOMES,
    ],
)
def test_every_value_of_a_closed_label_is_in_the_page(values: tuple[str, ...]):
    assert [value for value in values if not re.search(rf"\b{value}\b", PAGE)] == []


def test_the_number_of_series_told_is_the_number_there_is():
    from gateway.telemetry.metrics import CODES

    assert f"{len(METHODS) * len(CODES)} series" in PAGE
