"""Overview, first row: is it healthy? The objectives first, then what breaks them."""

from typing import Final

from grafana.board import Row
from grafana.kinds import share, trouble
from grafana.panel import ANY_IS_ORANGE, About, red_below
from grafana.query import AVAILABILITY, QUICK, QUICK_S, SHOWN, budget_left, failing, series, slow

# NB: without `$instance`. An alert about a whole job has no instance, and is the last one that may be hidden.
FIRING: Final = 'alertname=~"Gateway.+", job=~"$job"'
# With every job selected, `up` alone would be about everything that is scraped.
_AWAY: Final = f"{series('up')} == 0 and on (job, instance) last_over_time({series('gateway_build_info')}[{SHOWN}])"

HEALTH: Final = Row(
    "Is it healthy?",
    [
        trouble(
            About(
                "Gateways silent",
                "none. So many were there in the time shown, and cannot be scraped now.",
                "no other panel counts them any more. Look at the process and its machine.",
                ("GatewayDown", "GatewayInstanceDown"),
            ),
            f"count({_AWAY}) or vector(0)",
            width=3,
        ),
        trouble(
            About("Alerts firing", "none.", "the table “Firing alerts” below names them, each with its runbook."),
            f'count(count by (alertname) (ALERTS{{{FIRING}, alertstate="firing", severity!="info"}})) or vector(0)',
            ANY_IS_ORANGE,
            width=3,
        ),
        share(
            About(
                "Availability",
                f"at least {AVAILABILITY:.1%}. Counted are answers with a 5xx; refusals for the client's fault do not count.",
                "“Whose errors” below tells a lost store from a lost upstream from the application's own errors.",
                ("GatewayAvailabilityBudgetBurn",),
                board="gateway-upstreams",
            ),
            f"1 - {failing(SHOWN)}",
            red_below(AVAILABILITY),
            decimals=2,
        ),
        share(
            About(
                f"Answered within {QUICK_S:g} s",
                f"at least {QUICK:.0%} of the requests in the time shown, by gateway and application together.",
                "“How long requests take” below, then the Upstreams board: nearly always it is the application.",
                ("GatewayLatencyBudgetBurn",),
                board="gateway-upstreams",
            ),
            f"1 - {slow(SHOWN)}",
            red_below(QUICK),
            decimals=2,
        ),
        share(
            About(
                "Error budget left, 30 days",
                f"above 25 %. The budget is {1 - AVAILABILITY:.1%} of the requests of thirty days; below 0 it is overspent. "
                "It is counted by the rules of `grafana/alerts/slo.yaml`.",
                "no risky change until it has recovered. What spent it is on the Upstreams board.",
                ("GatewayAvailabilityBudgetBurn",),
                board="gateway-upstreams",
            ),
            budget_left("failed", 1 - AVAILABILITY),
            red_below(0, orange=0.25),
        ),
        trouble(
            About(
                "Without store",
                "none: every gateway reaches its store.",
                "for two seconds requests go on, then each route does what its `on_outage` says. Bring the store back; "
                "do not empty it.",
                ("GatewayStoreDown",),
                board="gateway-revocation",
            ),
            f"count({series('gateway_store_up')} == 0) or vector(0)",
            width=3,
        ),
        trouble(
            About(
                "Upstreams lost",
                "none. Counted are those to which the newest attempt to connect failed.",
                "their routes answer 502. Look at the application; the gateway comes back to it by itself.",
                ("GatewayUpstreamDown",),
                board="gateway-upstreams",
            ),
            f"count(min by (upstream) ({series('gateway_upstream_up')}) == 0) or vector(0)",
            width=3,
        ),
    ],
    heights=(4,),
)
