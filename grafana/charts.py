"""The kinds of panels that show something over time: lines, events as bars, and bands of states.

Owns how they look. What they ask is the boards' affair, what they share is in `panel.py`.
"""

from collections.abc import Mapping, Sequence

from grafana.panel import ANY_IS_RED, BLUE, CALM, About, Json, Query, Steps, defaults, fields, fixed, named, panel, value_words


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
    """Lines over time. `limit` is drawn as dashed lines; names in `colors` have that colour.

    `is_counted`: events, as bars, one a minute or wider. A query's range is longer than its step by a scrape, so bars overlap a
    little, and the legend adds nothing up: how many there were is told by figures.
    """
    custom = {
        "drawStyle": "bars" if is_counted else "line",
        # A stacked line that adds nothing would run along the top in its own colour: five hundreds that never were.
        "lineWidth": 0 if is_stacked else 1,
        "fillOpacity": 80 if is_counted else 60 if is_stacked else 8,
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
    calcs, mode = ([], "list") if is_counted else (["lastNotNull", "max"], "table")
    options = {
        "legend": {"calcs": calcs, "displayMode": mode, "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    made = panel("timeseries", about, width, queries, options, fields(config, overrides))
    return made | ({"interval": "1m"} if is_counted else {})


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
    return panel("state-timeline", about, width, queries, options, fields(config, overrides))
