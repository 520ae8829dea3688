"""The committed boards, as Grafana would read them: panels, queries with their variables filled in, selectors.

Owns the small part of PromQL's grammar that the boards use; whether an expression is one at all, `promtool` says.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
ASKING = {"stat", "timeseries", "state-timeline", "bargauge", "table"}
"""The kinds of panels that ask the data source."""

_SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_NAME = re.compile(r"\b(?:job:)?gateway_[\w:]+|\bALERTS\w*|\bup\b|\bscrape_\w+")


@dataclass(frozen=True)
class Asked:
    """One query of one panel; `where` names both."""

    board: str
    title: str
    expression: str
    legend: str
    is_instant: bool

    @property
    def where(self) -> str:
        return f"{self.board} / {self.title}"


@dataclass(frozen=True)
class Selector:
    """A metric with its matchers: label, operator, value."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All but the rows, which are headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def every_panel() -> list[tuple[str, dict[str, Any]]]:
    return [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]


def every_query() -> list[Asked]:
    return [
        Asked(name, panel["title"], target["expr"], target["legendFormat"], target["instant"])
        for name, panel in every_panel()
        for target in panel.get("targets", [])
    ]


def every_expression() -> list[tuple[str, str]]:
    """The annotations' too, each with the place where it stands."""
    asked = [(query.where, query.expression) for query in every_query()]
    marks = [
        (f"{name} / {mark['name']}", mark["expr"]) for name, board in BOARDS.items() for mark in board["annotations"]["list"]
    ]
    return asked + marks


def filled_in(expression: str, rate_interval: str = "5m", shown: str = "6h") -> str:
    """With the variables in it, as Grafana puts them, everything selected."""
    filled = expression.replace("$__rate_interval", rate_interval).replace("$__range", shown)
    filled = filled.replace("$job", ".+").replace("$instance", ".+")
    assert "$" not in filled, filled
    return filled


def selectors(expression: str) -> Iterator[Selector]:
    for metric, matchers in _SELECTOR.findall(expression):
        yield Selector(metric, tuple(_MATCHER.findall(matchers)))


def metric_names(expression: str) -> list[str]:
    """Every name of a series, whether it has a selector or not."""
    return _NAME.findall(re.sub(r'"[^"]*"', '""', expression))
