"""Revocation, last row: the store beneath. When it is away, nothing is read as “not revoked”."""

from typing import Final

from grafana.board import Row
from grafana.charts import lines, states
from grafana.panel import RED, About, Query, orange_from, red_below
from grafana.query import latest, quantile, rate, series

STORE: Final = Row(
    "The store",
    [
        states(
            About(
                "Store, by gateway",
                "`up`. Each gateway asks it twice a second.",
                "routes do what their `on_outage` says. Within 2 s of its answer everything goes on by itself. Do not empty it: "
                "an empty store is taken for one that has lost its data.",
                ("GatewayStoreDown",),
            ),
            [Query(f"min by (instance) ({series('gateway_store_up')})", "{{instance}}")],
            steps=red_below(1),
            words={0: ("away", RED), 1: ("up", "green")},
        ),
        lines(
            About(
                "How long the store takes to answer",
                "p99 below 10 ms. Failed commands count with the time they took to fail.",
                "its disk (every write is flushed), its machine, or the way there.",
            ),
            [Query(quantile(part, "gateway_store_command_seconds"), f"p{part * 100:g}") for part in (0.5, 0.95, 0.99)],
            "s",
            limit=orange_from(0.05),
        ),
        lines(
            About(
                "Commands",
                "ten a second and worker, and a few for each login, renewal and revocation.",
                "none: nobody reaches it.",
            ),
            [Query(rate("gateway_store_command_seconds_count"), "commands")],
            "ops",
        ),
        lines(
            About(
                "Refused because nothing could be proven",
                "none. These are answered with 503 and `Retry-After`; the cookies stay.",
                "bring the store back; nobody has to sign in again.",
                ("GatewayStoreDown",),
            ),
            [
                Query(latest("gateway_decisions_total", 'reason="store-unavailable"'), "requests"),
                Query(latest("gateway_refreshes_total", 'outcome="unavailable"'), "renewals"),
                Query(latest("gateway_logins_total", 'outcome="unavailable"'), "logins"),
            ],
            "short",
            colors={"requests": RED, "renewals": "dark-red", "logins": "light-red"},
            is_counted=True,
        ),
    ],
    heights=(5, 8),
)
