"""Overview, third row: did my revocation arrive everywhere?

A worker proves several times a second that its replica of the log is complete up to now. So the oldest proof answers the
question: whatever was revoked before it is enforced by every worker. A worker without a proof refuses by itself.
"""

from typing import Final

from grafana.board import Row
from grafana.kinds import figure, trouble
from grafana.panel import ANY_IS_ORANGE, CALM, About, red_from, without
from grafana.query import SHOWN, grown, quantile, series

LIVE: Final = series("gateway_replica_state", 'state="live"')
MISSING: Final = f"sum({series('gateway_workers_configured')}) - sum({LIVE})"
STALEST: Final = f"max({series('gateway_replica_lag_seconds')})"

ARRIVAL: Final = Row(
    "Did my revocation arrive everywhere?",
    [
        figure(
            About(
                "Yes, if it is older than",
                "below a second. It is the age of the oldest proof among all workers that their replica is complete.",
                "the worker is cut off from the store, or hangs; beyond `store.max_staleness` it refuses instead of guessing.",
                ("GatewayReplicaLagging",),
                board="gateway-revocation",
            ),
            STALEST,
            "s",
            red_from(2, orange=1),
            width=6,
            decimals=1,
        ),
        trouble(
            About(
                "Workers that do not enforce",
                "none. These are not `live`: they start, or have lost the store or the log, and refuse meanwhile.",
                "the Revocation board shows which worker, and in which state since when.",
                ("GatewayReplicaNotLive",),
                board="gateway-revocation",
            ),
            MISSING,
            width=5,
        ),
        figure(
            About(
                "From revocation to enforcement, p99",
                "below 50 ms, worker by worker.",
                "look at the store's answer times and at the workers' load.",
                ("GatewayRevocationEnforcementSlow",),
                board="gateway-revocation",
            ),
            quantile(0.99, "gateway_revocation_enforcement_seconds", over=SHOWN),
            "s",
            red_from(2, orange=1),
            width=5,
            mappings=without("revocations"),
            decimals=None,
        ),
        figure(
            About(
                "Revocations",
                "what you expect of people who sign out; the board Revocation tells them by kind and by source.",
                "many by `reuse` or `fingerprint` are sessions that the gateway ended by itself: look at the row above.",
                board="gateway-revocation",
            ),
            grown("gateway_revocations_total", 'kind!="lift"'),
            "short",
            CALM,
        ),
        trouble(
            About(
                "Allowed without proof",
                "none. These were let through by a route's `on_outage` while the worker's replica was not fresh.",
                "a token revoked meanwhile may have been among them: look for its user in the audit trail.",
                ("GatewayDegradedAdmissions",),
                board="gateway-revocation",
            ),
            grown("gateway_decisions_total", 'decision="allow_stale"'),
            ANY_IS_ORANGE,
        ),
    ],
    heights=(4,),
)
