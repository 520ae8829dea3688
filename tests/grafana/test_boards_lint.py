"""The boards keep the rules of Grafana's dashboard-linter, which is no Python package: they are written anew, by their names."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_reading import ASKING, BOARDS, every_expression, every_query, filled_in, panels, selectors

# Of Grafana's identifiers of units, those in use.
UNITS = {"short", "percentunit", "s", "reqps", "ops", "bytes", "dateTimeFromNow"}
# Alerts and what is recorded for them are about a whole job: with an instance selected they would vanish from the board.
WITHOUT_INSTANCE = re.compile(r"ALERTS(_FOR_STATE)?|job:\w+:\w+")

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())


def variable(board: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [variable for variable in board["templating"]["list"] if variable["name"] == name]
    return found


def asking(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in panels(board) if panel["type"] in ASKING]


@each_board
def test_template_datasource_rule(board: dict[str, Any]):
    source = variable(board, "datasource")
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")


@each_board
@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_job_and_instance_rules(board: dict[str, Any], name: str):
    found = variable(board, name)
    assert found["type"] == "query"
    assert found["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert found["label"] == name.capitalize()
    assert found["multi"] is found["includeAll"] is True
    assert found["allValue"] == ".+"


@each_board
@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_label_promql_rule(board: dict[str, Any], name: str):
    assert re.fullmatch(rf"label_values\(\w+(\{{[^}}]+\}})?, {name}\)", variable(board, name)["query"]["query"])


@each_board
@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_on_time_change_reload_rule(board: dict[str, Any], name: str):
    assert variable(board, name)["refresh"] == 2


@each_board
def test_uneditable_dashboard_rule(board: dict[str, Any]):
    assert board["editable"] is False


@each_board
def test_panel_datasource_rule(board: dict[str, Any]):
    for panel in asking(board):
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


@each_board
def test_panel_title_description_rule(board: dict[str, Any]):
    assert [panel for panel in panels(board) if not panel["title"] or not panel["description"]] == []


@each_board
def test_panel_units_rule(board: dict[str, Any]):
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in asking(board)} <= UNITS


@each_board
def test_panel_no_targets_rule(board: dict[str, Any]):
    for panel in panels(board):
        assert panel["type"] in (*ASKING, "text"), panel["title"]
        assert (panel["type"] in ASKING) == bool(panel.get("targets")), panel["title"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_target_promql_rule(tmp_path: Path):
    """All expressions as recording rules, because that is how `promtool` parses one that it is not to run."""
    rules = [{"record": f"expression_{at}", "expr": filled_in(text)} for at, (_, text) in enumerate(every_expression())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    check = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    assert f"{len(rules)} rules found" in check.stdout


def test_target_rate_interval_rule():
    for query in every_query():
        ranges = re.findall(r"\b(?:i?rate)\([^\[\]]*\[([^\]]+)\]", query.expression)
        assert set(ranges) <= {"$__rate_interval"}, query.where


def test_target_job_and_instance_rules():
    for where, expression in every_expression():
        for selector in selectors(expression):
            expected = [("job", "=~", "$job")]
            expected += [] if WITHOUT_INSTANCE.fullmatch(selector.metric) else [("instance", "=~", "$instance")]
            assert [matcher for matcher in selector.matchers if matcher[0] in ("job", "instance")] == expected, where


def test_target_counter_agg_rule():
    """A counter's value says nothing, its growth does."""
    for where, expression in every_expression():
        counters = [selector for selector in selectors(expression) if selector.metric.endswith("_total")]
        assert len(counters) == len(re.findall(r"\b(?:rate|increase)\(\w+_total\{[^}]*\}\[", expression)), where
