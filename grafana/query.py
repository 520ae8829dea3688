"""PromQL, as the boards write it: every selector has `$job` and `$instance`, every counter a range.

    rate("gateway_requests_total", 'code=~"5.."', by="route")
    sum by (route) (rate(gateway_requests_total{job=~"$job", instance=~"$instance", code=~"5.."}[$__rate_interval]))

Two ranges: `$__rate_interval` for a line over time (Grafana makes it at least four scrapes long), `$__range` for one figure
about everything the board shows. Of a ratio or a quantile over `$__range`, `increase` is asked and not `rate`: the quotient
is the same, and `rate` over anything but `$__rate_interval` is what linters warn about.

What counts as failed, slow and valid is what `grafana/alerts/slo.yaml` records, so that board and alert tell the same figure;
what goes further back than a day is asked of what is recorded there. Knows nothing of panels.
"""

from typing import Final

AVAILABILITY: Final = 0.999
QUICK: Final = 0.99
QUICK_S: Final = 2.5
"""The objectives of thirty days: so many requests without a 5xx, so many within so many seconds."""

FAILED: Final = 'code=~"5.."'
DENIED: Final = 'decision="deny"'
LOST: Final = "upstream-unreachable|upstream-timeout"
VALID: Final = f'reason=~"none|store-unavailable|{LOST}"'
"""A refusal for the token's or the client's fault is no error, and does not count at all."""

SELECTED: Final = 'job=~"$job", instance=~"$instance"'
RATE: Final = "$__rate_interval"
SHOWN: Final = "$__range"


def series(metric: str, *matchers: str) -> str:
    """A metric of the gateways that are selected."""
    return f"{metric}{{{', '.join((SELECTED, *matchers))}}}"


def total(expression: str, by: str = "") -> str:
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Per second, now."""
    return total(f"rate({series(metric, *matchers)}[{RATE}])", by)


def grown(metric: str, *matchers: str, by: str = "", over: str = SHOWN) -> str:
    """How many there were."""
    return total(f"increase({series(metric, *matchers)}[{over}])", by)


def latest(metric: str, *matchers: str, by: str = "") -> str:
    """How many there were lately, for bars over time: an event is one, not 0.07 per second."""
    return grown(metric, *matchers, by=by, over=RATE)


def top(expression: str, most: int = 10) -> str:
    """The largest of what there is, in order."""
    return f"sort_desc(topk({most}, {expression} > 0))"


def quantile(share: float, metric: str, *, by: str = "", over: str = RATE) -> str:
    labels = f"le, {by}" if by else "le"
    grow = "rate" if over == RATE else "increase"
    return f"histogram_quantile({share:g}, sum by ({labels}) ({grow}({series(f'{metric}_bucket')}[{over}])))"


def failing(over: str) -> str:
    """The share of the valid requests that were answered with a 5xx."""
    return f"{grown('gateway_requests_total', FAILED, over=over)} / {_valid(over)}"


def slow(over: str) -> str:
    """The share of the valid requests that took longer than the objective. A WebSocket lasts as long as it likes."""
    every = grown("gateway_request_duration_seconds_count", over=over)
    prompt = grown("gateway_request_duration_seconds_bucket", f'le="{QUICK_S}"', over=over)
    sockets = grown("gateway_requests_total", 'code="101"', over=over)
    return f"clamp_min({every} - {prompt} - ({sockets} or vector(0)), 0) / {_valid(over)}"


def recorded(name: str) -> str:
    """What the rules of `slo.yaml` record, of the jobs selected: it has no instance."""
    return f'job:gateway_requests_{name}{{job=~"$job"}}'


def budget_left(of: str, budget: float) -> str:
    """What is left of thirty days' error budget: 1 all, 0 none, below it is overspent. `of`: `failed` or `slow`."""
    spent, valid = (f"sum(sum_over_time({recorded(f'{name}:increase5m')}[30d]))" for name in (of, "valid"))
    return f"1 - {spent} / {valid} / {budget:g}"


def _valid(over: str) -> str:
    return grown("gateway_decisions_total", VALID, over=over)
