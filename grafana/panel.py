"""What every panel of every board has: a question as its title, what good looks like, what to do when not, links.

A panel is the JSON that Grafana reads, made in one step. Where it stands is the board's affair: of `gridPos` only the width is
set here. The kinds of panels are in `kinds.py` and `charts.py`; this file owns what they share, the colours and the thresholds.

Red is what pages somebody, orange what waits for the morning (the alerts' severities `critical` and `warning`), yellow what
clients bring upon themselves. Nothing else is red: a series whose name is not known beforehand is drawn in a shade of
blue, because Grafana's own palette would make the fifth route look like an alarm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final

Json = dict[str, Any]

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
PURPLE: Final = "purple"
GREY: Final = "#808080"

DATA_SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOKS: Final = "https://gateway.example/docs/how-to/alerts/"
"""Where the runbooks are published: a reserved name, docs/how-to/alerts/README.md says how to put another in its place."""

Steps = tuple[tuple[float | None, str], ...]
"""Thresholds: from this value on, this colour. The first has no value."""

CALM: Final[Steps] = ((None, BLUE),)
ANY_IS_RED: Final[Steps] = ((None, GREEN), (0.01, RED))
ANY_IS_ORANGE: Final[Steps] = ((None, GREEN), (0.01, ORANGE))


def red_from(value: float, orange: float | None = None) -> Steps:
    """Large is bad."""
    return ((None, GREEN), *(((orange, ORANGE),) if orange is not None else ()), (value, RED))


def orange_from(value: float) -> Steps:
    """Large is a matter for the morning."""
    return ((None, GREEN), (value, ORANGE))


def red_below(value: float, orange: float | None = None) -> Steps:
    """Small is bad; `orange` ends where green begins."""
    return ((None, RED), *(((value, ORANGE), (orange, GREEN)) if orange is not None else ((value, GREEN),)))


@dataclass(frozen=True, slots=True)
class Query:
    """One expression. `is_instant`: one figure instead of a line."""

    expression: str
    legend: str = ""
    is_instant: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What a panel asks, what good looks like, what to do when it does not; the alerts that watch the same, by name.

    `board` is the uid of the board that says more; a click on the panel leads there.
    """

    title: str
    good: str
    otherwise: str
    alerts: Sequence[str] = ()
    board: str = ""

    @property
    def description(self) -> str:
        return f"**Good:** {self.good}\n\n**If not:** {self.otherwise}"

    @property
    def links(self) -> list[Json]:
        """Of each alert its runbook, and the alert itself in Grafana's list."""
        runbooks = [{"title": f"Runbook: {name}", "url": f"{RUNBOOKS}{name}", "targetBlank": True} for name in self.alerts]
        alerts = [{"title": f"Alert: {name}", "url": f"/alerting/list?search={name}"} for name in self.alerts]
        return [link for pair in zip(runbooks, alerts, strict=True) for link in pair]


def panel(kind: str, about: About, width: int, queries: Sequence[Query], options: Json, field_config: Json) -> Json:
    """A panel of any kind that asks the data source."""
    if about.board:
        more = {"title": "More on this", "url": f"/d/{about.board}?${{__url_time_range}}&${{__all_variables}}"}
        field_config["defaults"]["links"] = [more]
    return {
        "type": kind,
        "title": about.title,
        "description": about.description,
        "links": about.links,
        "datasource": DATA_SOURCE,
        "gridPos": {"w": width},
        "targets": [_target(place, query, kind) for place, query in enumerate(queries)],
        "options": options,
        "fieldConfig": field_config,
    }


def defaults(unit: str, steps: Steps, **further: Any) -> Json:
    """The fields' settings that all kinds have."""
    return {"unit": unit, "thresholds": thresholds(steps), "noValue": "no data"} | further


def fields(config: Json, overrides: Sequence[Json] = ()) -> Json:
    return {"defaults": config, "overrides": list(overrides)}


def thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def value_words(words: Mapping[float | str, tuple[str, str]]) -> list[Json]:
    """Words, with their colours, in place of values."""
    options = {str(value): {"text": text, "color": color} for value, (text, color) in words.items()}
    return [{"type": "value", "options": options}]


def without(what: str) -> list[Json]:
    """A ratio or a quantile of nothing is not a number, and neither good nor bad."""
    return [{"type": "special", "options": {"match": "nan", "result": {"text": f"no {what}", "color": GREY}}}]


def named(name: str, **properties: Any) -> Json:
    """Settings of one series or column, by its name; `custom__x` is `custom.x`."""
    told = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": told}


def fixed(color: str) -> Json:
    return {"mode": "fixed", "fixedColor": color}


def _target(place: int, query: Query, kind: str) -> Json:
    return {
        "refId": ascii_uppercase[place],
        "datasource": DATA_SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": query.is_instant,
        "range": not query.is_instant,
        "format": "table" if kind == "table" else "time_series",
    }
