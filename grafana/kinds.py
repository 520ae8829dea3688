"""The kinds of panels that the boards are made of: a figure, lines over time, states over time, a ranking, a table, a text.

Owns how each looks. What they ask is the boards' affair, what they share is in `panel.py`.
"""

from collections.abc import Mapping, Sequence

from grafana.panel import (
    ANY_IS_RED,
    BLUE,
    CALM,
    GREEN,
    About,
    Json,
    Query,
    Steps,
    defaults,
    fixed,
    named,
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
    legend: str = "",
) -> Json:
    """One number, large, its background in the colour of its threshold. With `legend` one for each series."""
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value_and_name" if legend else "value",
        "wideLayout": True,
    }
    config = defaults(unit, steps, color={"mode": "thresholds"}, mappings=list(mappings), decimals=decimals)
    return panel("stat", about, width, [Query(expression, legend, is_instant=True)], options, _fields(config))


def trouble(about: About, expression: str, steps: Steps = ANY_IS_RED, *, width: int = 4) -> Json:
    """How many of something that there should be none of."""
    return figure(about, expression, "short", steps, width=width, mappings=value_words({0: ("none", GREEN)}))


def share(about: About, expression: str, steps: Steps, *, width: int = 4, decimals: int = 0) -> Json:
    """A share of requests: without requests it says so, and is neither good nor bad."""
    return figure(about, expression, "percentunit", steps, width=width, mappings=without("traffic"), decimals=decimals)


def lines(
    about: About,
    queries: Sequence[Query],
    unit: str,
    *,
    width: int = 12,
    colors: Mapping[str, str] | None = None,
    limit: Steps = (),
    is_stacked: bool = False,
    is_counted: bool = False,
    largest: float | None = None,
    decimals: int | None = None,
) -> Json:
    """Lines over time. `limit` is drawn as dashed lines; `is_counted`: events, as bars; names in `colors` have that colour."""
    custom = {
        "drawStyle": "bars" if is_counted else "line",
        "lineWidth": 1,
        "fillOpacity": 80 if is_counted else 25 if is_stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if is_stacked or is_counted else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limit else "off"},
        "axisSoftMin": 0,
    }
    shades = {"mode": "shades", "fixedColor": BLUE}
    config = defaults(unit, limit or CALM, color=shades, custom=custom, min=0, mappings=[])
    config |= {"max": largest} if largest is not None else {}
    config |= {"decimals": decimals} if decimals is not None else {}
    overrides = [named(name, color=fixed(color)) for name, color in (colors or {}).items()]
    legend_figures = ["sum", "max"] if is_counted else ["lastNotNull", "max"]
    options = {
        "legend": {"calcs": legend_figures, "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", about, width, queries, options, _fields(config, overrides))


def states(
    about: About,
    queries: Sequence[Query],
    *,
    width: int = 12,
    steps: Steps = ANY_IS_RED,
    words: Mapping[float | str, tuple[str, str]] | None = None,
    overrides: Sequence[Json] = (),
) -> Json:
    """One band per series: when it was in which state. Without `words` only the colours of the thresholds are told."""
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": words is not None},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto" if words else "never",
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    config = defaults("short", steps, color={"mode": "thresholds"}, mappings=value_words(words) if words else [], decimals=0)
    config["custom"] = {"fillOpacity": 85, "lineWidth": 0}
    return panel("state-timeline", about, width, queries, options, _fields(config, overrides))


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
    return panel("bargauge", about, width, [query], options, _fields(config))


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
        "table", about, width, [query], {"showHeader": True, "cellHeight": "sm"}, _fields(defaults(unit, CALM), overrides)
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


def _fields(config: Json, overrides: Sequence[Json] = ()) -> Json:
    return {"defaults": config, "overrides": list(overrides)}
