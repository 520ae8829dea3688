"""Capacity, last row: is anything dropped? Lines, events, spans: no request waits for whoever should take them."""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.panel import GREEN, ORANGE, PURPLE, YELLOW, About, Query
from grafana.query import latest, series

DROPPED: Final = Row(
    "Is anything dropped?",
    [
        lines(
            About(
                "Log lines dropped",
                "none. Requests never wait for whoever reads the log.",
                "the reader of stdout and stderr is too slow, or its disk is full.",
                ("GatewayLogLinesDropped",),
            ),
            [Query(latest("gateway_log_lines_dropped_total"), "lines")],
            "short",
            colors={"lines": ORANGE},
            is_counted=True,
            width=4,
        ),
        lines(
            About(
                "Audit events lost",
                "none.",
                "the store was away too long, or its memory is short.",
                ("GatewayAuditEventsLost",),
            ),
            [Query(latest("gateway_audit_events_lost_total"), "events")],
            "short",
            colors={"events": ORANGE},
            is_counted=True,
            width=4,
        ),
        lines(
            About(
                "Webhook queue",
                "empty, or soon again.",
                "the receiver is slow or away; when the queue is full, events are dropped.",
                ("GatewayWebhookBacklog",),
            ),
            [Query(f"sum by (instance) ({series('gateway_webhook_queue_length')})", "{{instance}}")],
            "short",
            width=5,
        ),
        lines(
            About(
                "Webhook, events and retries",
                "`delivered`, without retries.",
                "`retried`: the receiver fails now and then. `failed` and `dropped`: nobody was told of these events.",
                ("GatewayWebhookEventsLost",),
            ),
            [
                Query(latest("gateway_webhook_events_total", by="outcome"), "{{outcome}}"),
                Query(latest("gateway_webhook_retries_total"), "retried"),
            ],
            "short",
            colors={"delivered": GREEN, "retried": PURPLE, "failed": ORANGE, "dropped": "dark-orange"},
            is_counted=True,
            width=5,
        ),
        lines(
            About(
                "Trace spans, by what came of them",
                "`delivered`; nothing where `tracing` is not configured.",
                "`failed`: the collector did not take them. `dropped`: more came than could wait. Traces have gaps.",
            ),
            [Query(latest("gateway_trace_spans_total", by="outcome"), "{{outcome}}")],
            "short",
            colors={"delivered": GREEN, "failed": YELLOW, "dropped": YELLOW},
            is_counted=True,
            width=6,
        ),
    ],
)
