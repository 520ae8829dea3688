"""Upstreams, last row: what do they answer, on which route?"""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import ranking
from grafana.panel import About, Query, red_from
from grafana.query import AVAILABILITY, FAILED, grown, rate, series, top

_LEFT: Final = rate("gateway_requests_total", 'code="499"', by="route")
_BY_ROUTE: Final = "{{route}}"
_FAILING: Final = f"{rate('gateway_requests_total', FAILED, by='route')} / {rate('gateway_requests_total', by='route')}"

ANSWERS: Final = Row(
    "What do they answer?",
    [
        lines(
            About("Requests, by route", "the usual curves.", "a route that fell to nothing: its clients, or its upstream."),
            [Query(f"{rate('gateway_requests_total', by='route')} > 0", _BY_ROUTE)],
            "reqps",
            width=8,
        ),
        lines(
            About(
                "Share of 5xx, by route",
                f"below {1 - AVAILABILITY:.1%}.",
                "`Whose errors` on the Overview says whether the application answered, or nobody did.",
                ("GatewayAvailabilityBudgetBurn",),
                board="gateway-overview",
            ),
            [Query(_FAILING, _BY_ROUTE)],
            "percentunit",
            width=8,
            limit=red_from(0.05, orange=1 - AVAILABILITY),
            largest=1,
        ),
        ranking(
            About(
                "Answers, by code",
                "200, 304, redirects.",
                "499: clients left before their answer, because it took too long.",
            ),
            Query(top(grown("gateway_requests_total", by="code"), 12), "{{code}}", is_instant=True),
            "short",
            width=8,
        ),
        lines(
            About(
                "Clients that left before the answer (499), by route",
                "few.",
                "people do not wait: the route is slow.",
            ),
            [Query(_LEFT, _BY_ROUTE)],
            "reqps",
        ),
        lines(
            About(
                "Connections",
                "to upstreams no more than from clients; idle ones are kept and used again.",
                "to upstreams at `max_connections`, while requests wait: the application is slow, or the limit is too low.",
                board="gateway-capacity",
            ),
            [Query(f"sum by (side) ({series('gateway_connections')})", "{{side}}")],
            "short",
            colors={"client": "blue", "upstream": "purple"},
        ),
    ],
)
