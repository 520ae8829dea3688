"""The kinds of panels that show what is now: a figure, a ranking, a table, a text.

Owns how each looks. What they ask is the boards' affair, what they share is in `panel.py`.
"""

from collections.abc import Mapping, Sequence

from grafana.panel import (
    ANY_IS_RED,
    CALM,
    GREEN,
    About,
    Json,
    Query,
    Steps,
    defaults,
    fields,
    panel,
    value_words,
    without,
)


def figure(
    about: About,
    expression: str,
    unit: str,
    steps: Steps,
    *,
    width: int = 4,
    mappings: Sequence[Json] = (),
    decimals: int | None = 0,
    absent: str = "no data",
) -> Json:
    """One number, large, its background in the colour of its threshold; `absent` where there is none."""
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
        "wideLayout": True,
    }
    config = defaults(unit, steps, color={"mode": "thresholds"}, mappings=list(mappings), decimals=decimals, noValue=absent)
    return panel("stat", about, width, [Query(expression, is_instant=True)], options, fields(config))


def trouble(about: About, expression: str, steps: Steps = ANY_IS_RED, *, width: int = 4) -> Json:
    """How many of something that there should be none of."""
    return figure(about, expression, "short", steps, width=width, mappings=value_words({0: ("none", GREEN)}))


def share(about: About, expression: str, steps: Steps, *, width: int = 4, decimals: int = 0) -> Json:
    """A share of requests: without requests it says so, and is neither good nor bad."""
    return figure(about, expression, "percentunit", steps, width=width, mappings=without("traffic"), decimals=decimals)


def ranking(about: About, query: Query, unit: str, steps: Steps = CALM, *, width: int = 12, largest: float | None = None) -> Json:
    """Horizontal bars, one per series; the order is the query's."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
        "namePlacement": "left",
        "minVizHeight": 14,
        "sizing": "auto",
    }
    config = defaults(unit, steps, color={"mode": "thresholds"}, mappings=[], min=0, decimals=0)
    config |= {"max": largest} if largest is not None else {}
    return panel("bargauge", about, width, [query], options, fields(config))


def table(
    about: About,
    query: Query,
    columns: Mapping[str, str],
    unit: str,
    *,
    width: int = 12,
    overrides: Sequence[Json] = (),
    descending: str = "",
) -> Json:
    """The query's labels, and `Value`, by their new names and in this order. The query has no label that is not named here."""
    organize = {
        "excludeByName": {name: True for name in ("Time", "Value") if name not in columns},
        "indexByName": {name: place for place, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    made = panel(
        "table", about, width, [query], {"showHeader": True, "cellHeight": "sm"}, fields(defaults(unit, CALM), overrides)
    )
    made["transformations"] = [{"id": "organize", "options": organize}]
    if descending:
        sort = [{"field": descending, "desc": True}]
        made["transformations"].append({"id": "sortBy", "options": {"fields": {}, "sort": sort}})
    return made


def text(title: str, content: str, *, width: int = 8) -> Json:
    """Words for whoever has just been woken."""
    return {
        "type": "text",
        "title": title,
        "description": "What the boards cannot tell: metrics hold no names of people, on purpose. The audit trail does.",
        "gridPos": {"w": width},
        "options": {"mode": "markdown", "content": content},
    }
