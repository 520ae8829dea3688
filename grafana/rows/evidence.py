"""Security, last row: is the evidence complete? What the audit trail lost, and what never reached the webhook."""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import trouble
from grafana.panel import ANY_IS_ORANGE, GREEN, ORANGE, About, Query
from grafana.query import grown, latest, series

EVIDENCE: Final = Row(
    "Is the evidence complete?",
    [
        trouble(
            About(
                "Audit events lost",
                "none.",
                "the trail has gaps, and says so itself (`events-lost`): the store was away too long, or its memory is short.",
                ("GatewayAuditEventsLost",),
            ),
            grown("gateway_audit_events_lost_total"),
            ANY_IS_ORANGE,
        ),
        lines(
            About(
                "Webhook events, by what came of them",
                "`delivered`.",
                "`failed`: the receiver did not take it, again and again. `dropped`: the queue was full.",
                ("GatewayWebhookEventsLost",),
            ),
            [Query(latest("gateway_webhook_events_total", by="outcome"), "{{outcome}}")],
            "short",
            colors={"delivered": GREEN, "failed": ORANGE, "dropped": "dark-orange"},
            is_counted=True,
            width=10,
        ),
        lines(
            About(
                "Webhook events that wait",
                "none, or soon none again.",
                "the receiver is slow or away; when the queue is full, events are dropped.",
                ("GatewayWebhookBacklog",),
            ),
            [Query(f"sum by (instance) ({series('gateway_webhook_queue_length')})", "{{instance}}")],
            "short",
            width=10,
        ),
    ],
    heights=(6,),
)
