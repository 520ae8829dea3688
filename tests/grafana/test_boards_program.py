"""The boards and the program speak of the same things: metrics, labels and their values; alerts, runbooks, files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_reading import BOARDS, FOLDER, every_expression, every_query, metric_names, panels, selectors
from prometheus_client.metrics_core import Metric

from gateway.audit.event import Action
from gateway.cli import main
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


@pytest.mark.parametrize(("where", "expression"), every_expression())
def test_every_metric_exists(where: str, expression: str):
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    assert set(metric_names(expression)) <= set(FAMILIES) | recorded | OF_PROMETHEUS
    assert len(metric_names(expression)) == len(list(selectors(expression))), "a metric without a selector"


@pytest.mark.parametrize(("where", "expression"), every_expression())
def test_every_label_and_every_value_exists(where: str, expression: str):
    for selector in selectors(expression):
        for label, operator, value in selector.matchers:
            if label in OF_ALERTS | {"job", "instance"}:
                continue
            for word in value.split("|") if "~" in operator else [value]:
                known = values(selector.metric, label)
                assert any(re.fullmatch(word, one) for one in known), f"{label}={word} is not one of {sorted(known)}"


@pytest.mark.parametrize(("where", "expression"), every_expression())
def test_what_is_grouped_by_a_label_has_it(where: str, expression: str):
    samples = [sample for name in metric_names(expression) if name in FAMILIES for sample in FAMILIES[name].samples]
    labels = {label for sample in samples for label in sample.labels} | (OF_ALERTS if "ALERTS" in expression else set())
    assert grouped_by(expression) <= labels | {"job", "instance"}


@pytest.mark.parametrize("query", every_query(), ids=lambda query: f"{query.where}: {query.legend}")
def test_every_label_of_a_legend_is_a_label_of_the_result(query: Any):
    told = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert told <= grouped_by(query.expression) | ({"job", "instance"} if " by (" not in query.expression else set())


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


@pytest.mark.parametrize(("name", "board"), BOARDS.items())
def test_a_board_is_found_by_its_file_its_uid_and_the_other_boards(name: str, board: dict[str, Any]):
    assert board["uid"] == name
    assert board["tags"] == ["gateway"]
    assert [link["tags"] for link in board["links"]] == [["gateway"]]
    more = re.findall(r'"/d/([\w-]+)\?', str(board["panels"]).replace("'", '"'))
    assert set(more) <= set(BOARDS) - {name}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_no_panel_covers_another_or_leaves_the_grid(board: dict[str, Any]):
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_line_of_a_row_is_filled(board: dict[str, Any]):
    """A gap at the end of a line is a panel that was taken away and not replaced."""
    for y in range(max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])):
        places = [
            panel["gridPos"]
            for panel in board["panels"]
            if panel["gridPos"]["y"] <= y < panel["gridPos"]["y"] + panel["gridPos"]["h"]
        ]
        assert sum(place["w"] for place in places) == 24, y


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_panel_says_what_good_looks_like_and_what_to_do_when_it_does_not(board: dict[str, Any]):
    for panel in panels(board):
        if panel["type"] != "text":
            assert re.fullmatch(r"\*\*Good:\*\* .+\.\n\n\*\*If not:\*\* .+\.", panel["description"]), panel["title"]


def test_a_panel_that_can_turn_red_has_a_runbook():
    """The table of alerts has one in each of its lines."""
    for board in BOARDS.values():
        for panel in panels(board):
            is_red = bool(re.search(r"\b(?:\w+-)*red\b", str(panel.get("fieldConfig"))))
            assert not is_red or panel["links"] or panel["title"] == "Firing alerts", panel["title"]


def test_a_series_that_nobody_named_beforehand_is_never_red():
    """Grafana's own palette has red in it; a shade of blue has not."""
    for board in BOARDS.values():
        for panel in panels(board):
            if panel["type"] == "timeseries":
                assert panel["fieldConfig"]["defaults"]["color"] == {"mode": "shades", "fixedColor": "blue"}


def test_the_commands_that_a_board_names_exist():
    told = json.dumps(
        [[panel.get("description"), panel["options"].get("content")] for board in BOARDS.values() for panel in panels(board)]
    )
    assert set(re.findall(r"`gateway (\w+)", told)) <= set(main.commands)
    assert set(re.findall(r"--action ([\w-]+)", told)) <= {action.value for action in Action}
    assert [path for path in re.findall(r"`((?:docs|grafana)/[\w/.-]+)`", told) if not (ROOT / path).exists()] == []


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    monkeypatch.syspath_prepend(str(ROOT))
    from grafana.build import files

    return files()


def test_the_committed_boards_are_what_is_generated(files: dict[Path, str]):
    for path, text in files.items():
        assert path.read_text() == text, f"{path.name} is out of date: make boards"
    assert set(FOLDER.iterdir()) == set(files)


def test_grafana_is_told_where_the_boards_are():
    """The folder of the provider is where docs/how-to/grafana.md and the compose file put them."""
    provisioning = ROOT / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "gateway.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] in (ROOT / "docs" / "how-to" / "grafana.md").read_text()
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    assert source["jsonData"]["timeInterval"]
