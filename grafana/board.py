"""A board: rows of panels, laid out, with the variables, links and annotations that every board has.

Owns the layout (24 columns; panels stand side by side until a line is full) and what is the same on all boards. What is on
them is in `overview.py`, `security.py`, `revocation.py`, `upstreams.py`, `capacity.py`.

Classic JSON of schema version 39: Grafana 10.3 and later read it as it is, older ones with a warning at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana.panel import DATA_SOURCE, Json
from grafana.query import series

COLUMNS: Final = 24
SCHEMA_VERSION: Final = 39


@dataclass(frozen=True, slots=True)
class Row:
    """A question and the panels that answer it; `heights` of its lines, the last one of all further ones."""

    title: str
    panels: Sequence[Json]
    heights: Sequence[int] = (8,)


@dataclass(frozen=True, slots=True)
class Board:
    """`description` is the question that the whole board answers."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]

    def as_json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["gateway"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "time": {"from": "now-6h", "to": "now"},
            "refresh": "30s",
            "timezone": "browser",
            "links": [_LINK_TO_THE_OTHERS],
            "annotations": {"list": [_DEPLOYS, _STARTS, _REPLACEMENTS]},
            "templating": {"list": [_SOURCE, _variable("job"), _variable("instance", 'job=~"$job"')]},
            "panels": lay_out(self.rows),
        }


def lay_out(rows: Sequence[Row]) -> list[Json]:
    """Every panel with its place and number: a line is full when the next panel does not fit into it."""
    placed: list[Json] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        placed.append({"type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": place})
        top += 1
        left, heights = 0, list(row.heights)
        for made in row.panels:
            width = made["gridPos"]["w"]
            if left + width > COLUMNS:
                top += heights[0]
                left, heights = 0, heights[1:] or heights
            placed.append(made | {"gridPos": {"x": left, "y": top, "w": width, "h": heights[0]}})
            left += width
        top += heights[0]
    return [{"id": number} | made for number, made in enumerate(placed, start=1)]


def _variable(name: str, *matchers: str) -> Json:
    """Which jobs, and which of their instances. Everything by default, and more than one at a time."""
    query = (
        f"label_values(gateway_build_info{{{', '.join(matchers)}}}, {name})"
        if matchers
        else f"label_values(gateway_build_info, {name})"
    )
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


def _annotation(name: str, color: str, expression: str, title: str) -> Json:
    """NB: its ranges are written out, because Grafana computes `$__rate_interval` wrongly in annotations."""
    return {
        "name": name,
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": color,
        "expr": expression,
        "step": "60s",
        "titleFormat": title,
        "textFormat": "{{instance}}",
        "useValueForTime": False,
    }


_LINK_TO_THE_OTHERS: Final[Json] = {
    "type": "dashboards",
    "title": "Gateway boards",
    "tags": ["gateway"],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
}
_SOURCE: Final[Json] = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "multi": False,
    "includeAll": False,
    "refresh": 1,
}
_BUILD: Final = series("gateway_build_info")
_DEPLOYS: Final = _annotation(
    "Deploys",
    "blue",
    f"{_BUILD} unless on (job, instance, version) ({_BUILD} offset 5m)",
    "Version {{version}}",
)
# The supervisor asks the store twice a second, so that this counter falls back only when the gateway itself begins anew.
_STARTS: Final = _annotation(
    "Restarts of a gateway",
    "purple",
    f"resets({series('gateway_store_command_seconds_count')}[5m]) > 0",
    "Gateway restarted",
)
_REPLACEMENTS: Final = _annotation(
    "Workers replaced",
    "orange",
    f"increase({series('gateway_worker_restarts_total')}[5m]) > 0",
    "A worker was replaced",
)
