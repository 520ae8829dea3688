"""The boards keep the rules of Grafana's dashboard-linter, which is no Python package: they are written anew, by their names."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_reading import ASKING, BOARDS, every_expression, every_panel, every_query, filled_in, selectors

# Of Grafana's identifiers of units, those in use.
UNITS = {"short", "percentunit", "s", "reqps", "ops", "dateTimeFromNow"}
# Alerts and what is recorded for them are about a whole job: with an instance selected they would vanish from the board.
WITHOUT_INSTANCE = re.compile(r"ALERTS(_FOR_STATE)?|job:\w+:\w+")

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
each_panel = pytest.mark.parametrize(
    "panel", [panel for _, panel in every_panel()], ids=[f"{n}: {p['title']}" for n, p in every_panel()]
)
each_expression = pytest.mark.parametrize(
    "expression", [text for _, text in every_expression()], ids=[w for w, _ in every_expression()]
)


def variable(board: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [variable for variable in board["templating"]["list"] if variable["name"] == name]
    return found


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


@each_panel
def test_panel_datasource_rule(panel: dict[str, Any]):
    asked = [panel, *panel["targets"]] if panel["type"] in ASKING else []
    assert all(one["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for one in asked)


@each_panel
def test_panel_title_description_rule(panel: dict[str, Any]):
    assert panel["title"]
    assert panel["description"]


@each_panel
def test_panel_units_rule(panel: dict[str, Any]):
    assert panel["type"] not in ASKING or panel["fieldConfig"]["defaults"]["unit"] in UNITS


@each_panel
def test_panel_no_targets_rule(panel: dict[str, Any]):
    assert panel["type"] in (*ASKING, "text")
    assert (panel["type"] in ASKING) == bool(panel.get("targets"))


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


@each_expression
def test_target_job_and_instance_rules(expression: str):
    for selector in selectors(expression):
        expected = [("job", "=~", "$job")]
        expected += [] if WITHOUT_INSTANCE.fullmatch(selector.metric) else [("instance", "=~", "$instance")]
        assert [matcher for matcher in selector.matchers if matcher[0] in ("job", "instance")] == expected


@each_expression
def test_target_counter_agg_rule(expression: str):
    """A counter's value says nothing, its growth does."""
    counters = [selector for selector in selectors(expression) if selector.metric.endswith("_total")]
    assert len(counters) == len(re.findall(r"\b(?:rate|increase)\(\w+_total\{[^}]*\}\[", expression))
