"""Overview, below the answers: what the alerts say, which versions run, and where errors and delays come from."""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import figure, table
from grafana.panel import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    RUNBOOKS,
    YELLOW,
    About,
    Query,
    named,
    orange_from,
    red_below,
    red_from,
    value_words,
)
from grafana.query import AVAILABILITY, DENIED, FAILED, LOST, latest, quantile, rate, recorded, series
from grafana.rows.health import FIRING

_UNUSUAL: Final = 'reason!~"no-token|expired-token"'
_OURS: Final = rate("gateway_decisions_total", f'reason=~"store-unavailable|{LOST}"')
DAY_S: Final = 86400
OVERHEAD_S: Final = 0.025  # of GatewayOverheadHigh
_SEVERITIES: Final = {"critical": RED, "warning": ORANGE, "info": BLUE}
_CLASSES: Final = {"5xx": RED, "4xx": YELLOW, "3xx": BLUE, "2xx": GREEN, "1xx": PURPLE}

_ALERTS: Final = table(
    About(
        "Firing alerts",
        "empty. The Prometheus that evaluates the rules of `grafana/alerts` fills it.",
        "a click on an alert's name opens its runbook.",
    ),
    Query(
        f"max by (alertname, severity) (ALERTS_FOR_STATE{{{FIRING}}}) * 1000"
        f' and on (alertname) ALERTS{{{FIRING}, alertstate="firing"}}',
        is_instant=True,
    ),
    {"alertname": "Alert", "severity": "Severity", "Value": "Since"},
    "dateTimeFromNow",
    overrides=[
        named("Alert", links=[{"title": "Runbook", "url": f"{RUNBOOKS}${{__value.raw}}", "targetBlank": True}]),
        named(
            "Severity",
            mappings=value_words({word: (word, color) for word, color in _SEVERITIES.items()}),
            custom__cellOptions={"type": "color-background"},
        ),
    ],
)
_VERSIONS: Final = table(
    About(
        "Versions that run",
        "one. Two during a deploy, whose mark is in every chart.",
        "a deploy that did not finish. Gateways on one store must not stay mixed.",
    ),
    Query(f"count by (version, python) ({series('gateway_build_info')})", is_instant=True),
    {"version": "Version", "python": "Python", "Value": "Gateways"},
    "short",
    width=8,
)
_CERTIFICATE: Final = figure(
    About(
        "Certificate expires in",
        "more than two weeks. Without figure: TLS ends in front of the gateway.",
        "renew the files of `tls`: the gateway notices within two seconds.",
        ("GatewayCertificateExpiry",),
    ),
    f"min({series('gateway_tls_certificate_expiry_timestamp_seconds')}) - time()",
    "s",
    red_below(3 * DAY_S, orange=14 * DAY_S),
    decimals=None,
    absent="no TLS here",
)
_BURN: Final = lines(
    About(
        "Error budget burn",
        "below 1: then the budget outlasts its thirty days.",
        "at 14.4 it lasts two days, at 6 five days, and somebody is paged; the windows are those of the alert.",
        ("GatewayAvailabilityBudgetBurn",),
        board="gateway-upstreams",
    ),
    [
        Query(f"{recorded(f'failed:ratio{window}')} / {1 - AVAILABILITY:g}", f"{{{{job}}}} over {window}")
        for window in ("5m", "1h", "6h", "3d")
    ],
    "short",
    limit=red_from(14.4, orange=6),
)
_WHOSE: Final = lines(
    About(
        "Whose errors",
        "none. These are the answers with a 5xx, by who could not answer.",
        "store: bring it back. Upstream: look at the application's process. Its own: at its log.",
        ("GatewayAvailabilityBudgetBurn", "GatewayStoreDown", "GatewayUpstreamDown"),
        board="gateway-upstreams",
    ),
    [
        Query(rate("gateway_decisions_total", 'reason="store-unavailable"'), "the store: 503"),
        Query(rate("gateway_decisions_total", f'reason=~"{LOST}"'), "the upstream: 502, 504"),
        Query(f"clamp_min({rate('gateway_requests_total', FAILED)} - {_OURS}, 0)", "the application's own"),
    ],
    "reqps",
    colors={"the store: 503": RED, "the upstream: 502, 504": ORANGE, "the application's own": PURPLE},
    is_stacked=True,
)
_TRAFFIC: Final = lines(
    About(
        "Requests, by the class of their answer",
        "the usual curve of this hour.",
        "a fall of all is a fault in front of the gateway; a rise of 4xx is told by “Why requests are refused”.",
        ("GatewayAvailabilityBudgetBurn",),
        board="gateway-upstreams",
    ),
    [Query(rate("gateway_requests_total", f'code=~"{name[0]}.."'), name) for name in _CLASSES],
    "reqps",
    colors=_CLASSES,
    is_stacked=True,
)
_REFUSALS: Final = lines(
    About(
        "Why requests are refused, but for missing and expired tokens",
        "few. Whoever has not signed in, or not for a while, is not among them: that is most of all refusals.",
        "`docs/reference/refusals.md` says of every reason when it is told and what to do.",
        board="gateway-security",
    ),
    [Query(f"{latest('gateway_decisions_total', DENIED, _UNUSUAL, by='reason')} > 0", "{{reason}}")],
    "short",
    is_counted=True,
)
_OVERHEAD: Final = lines(
    About(
        "What the gateway itself costs",
        "p99 below 25 ms; most requests take some 0.1 ms.",
        "too few workers, a busy machine, or a slow store: sessions are fetched and tokens rotated inside this time.",
        ("GatewayOverheadHigh",),
        board="gateway-capacity",
    ),
    [Query(quantile(share, "gateway_overhead_seconds"), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
    "s",
    limit=orange_from(OVERHEAD_S),
)
_DURATION: Final = lines(
    About(
        "How long requests take",
        "the usual: nearly all of it is the application's time. A download or a WebSocket counts with its whole life.",
        "the application is slow: the Upstreams board says on which route.",
        ("GatewayLatencyBudgetBurn",),
        board="gateway-upstreams",
    ),
    [Query(quantile(share, "gateway_request_duration_seconds"), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
    "s",
)

WHY: Final = Row(
    f"Why? Objective: {AVAILABILITY:.1%} of requests without a 5xx over thirty days",
    [_ALERTS, _VERSIONS, _CERTIFICATE, _BURN, _WHOSE, _TRAFFIC, _REFUSALS, _OVERHEAD, _DURATION],
    heights=(6, 8),
)
