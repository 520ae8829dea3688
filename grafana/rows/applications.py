"""Upstreams, first rows: are they there, and are they quick?"""

from typing import Final

from grafana.board import Row
from grafana.charts import lines, states
from grafana.panel import GREEN, RED, About, Query, red_below
from grafana.query import LOST, latest, quantile, rate, series

# A bucket's bound: up to here, people take it for at once.
_PROMPT: Final = rate("gateway_upstream_duration_seconds_bucket", 'le="0.25"', by="route")
_UNANSWERED: Final = latest("gateway_decisions_total", f'reason=~"{LOST}"', by="route, reason")
_LEFT_OUT: Final = latest("gateway_upstream_ejections_total", by="upstream, cause")
_NOT_USED: Final = series("gateway_upstream_addresses", 'state=~"ejected|down"')
_BY_ROUTE: Final = "{{route}}"

THERE: Final = Row(
    "Are they there?",
    [
        states(
            About(
                "Upstreams",
                "`up`: the newest attempt to connect succeeded. One that was never tried counts as up.",
                "its routes answer 502. The gateway tries again every few seconds; nothing has to be done here.",
                ("GatewayUpstreamDown",),
            ),
            [Query(f"min by (instance, upstream) ({series('gateway_upstream_up')})", "{{upstream}} from {{instance}}")],
            steps=red_below(1),
            words={0: ("down", RED), 1: ("up", GREEN)},
        ),
        lines(
            About(
                "Requests that no upstream answered, by route",
                "none.",
                "`upstream-unreachable` (502): no connection. `upstream-timeout` (504): no answer within `read_timeout`, "
                "so the application is overloaded or stuck.",
                ("GatewayUpstreamDown",),
            ),
            [Query(f"{_UNANSWERED} > 0", "{{route}}: {{reason}}")],
            "short",
            is_counted=True,
        ),
    ],
    heights=(7,),
)

ADDRESSES: Final = Row(
    "Which of their addresses are used?",
    [
        lines(
            About(
                "Addresses that are not used",
                "none.",
                "`down`: nobody accepts connections there. `ejected`: answers failed in a row, or the health check does. The log "
                "says which address, once per change.",
                ("GatewayUpstreamDegraded",),
            ),
            [Query(f"max by (upstream, state) ({_NOT_USED})", "{{upstream}}: {{state}}")],
            "short",
            width=8,
        ),
        lines(
            About(
                "Addresses left out, by cause",
                "none, or a few while an application is being replaced.",
                "`unreachable`: connects. `answers`: cut off or late. `check`: its own word. Again and again: it is up and sick.",
                ("GatewayUpstreamDegraded",),
            ),
            [Query(_LEFT_OUT, "{{upstream}}: {{cause}}")],
            "short",
            width=8,
            is_counted=True,
        ),
        lines(
            About(
                "Requests that were tried again",
                "none, or a few while an application is being replaced.",
                "always: the application closes idle connections sooner than `idle_timeout`, or an address is dead.",
            ),
            [Query(latest("gateway_upstream_retries_total", by="upstream"), "{{upstream}}")],
            "short",
            width=8,
            is_counted=True,
        ),
    ],
    heights=(7,),
)

QUICK: Final = Row(
    "Are they quick?",
    [
        lines(
            About(
                "How long they take to answer",
                "the usual. Streams and WebSockets count with their whole life.",
                "p50 rises: all of it is slow. p99 alone: some requests are; beside this is on which route.",
                ("GatewayLatencyBudgetBurn",),
            ),
            [Query(quantile(part, "gateway_upstream_duration_seconds"), f"p{part * 100:g}") for part in (0.5, 0.95, 0.99)],
            "s",
            width=8,
        ),
        lines(
            About(
                "p95 by route",
                "the usual of each route; long ones are downloads and streams.",
                "the application's log at this time, for this route.",
                ("GatewayLatencyBudgetBurn",),
            ),
            [Query(quantile(0.95, "gateway_upstream_duration_seconds", by="route"), _BY_ROUTE)],
            "s",
            width=8,
        ),
        lines(
            About(
                "Answered within 250 ms, by route",
                "nearly all, on routes that serve pages.",
                "people notice. The same route in the panel before says how slow.",
            ),
            [Query(f"{_PROMPT} / {rate('gateway_upstream_duration_seconds_count', by='route')}", _BY_ROUTE)],
            "percentunit",
            width=8,
            largest=1,
        ),
    ],
)
