"""Security, first rows: is a revoked token in use, and is a session used by somebody else?

NB: the metric knows the kind of what was revoked, and not the route. Where it was tried is told by the refusals.
"""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import ranking, trouble
from grafana.panel import GREEN, ORANGE, PURPLE, RED, YELLOW, About, Query
from grafana.query import DENIED, grown, latest, series, top

REVOKED: Final = 'reason=~"revoked-token|revoked-session|old-version|retired-key|blocked-user"'
_KINDS: Final = {"token": RED, "session": "dark-red", "version": "light-red", "key": "semi-dark-red"}
_OUTCOMES: Final = {"reused": RED, "revoked": "dark-red", "refused": YELLOW, "unavailable": PURPLE, "rotated": GREEN}
_ACTIONS: Final = "{{signal}}: {{action}}"

STOLEN: Final = Row(
    "Is a revoked token in use?",
    [
        lines(
            About(
                "Replays, by what was revoked",
                "none. Somebody uses what was revoked more than 10 s ago, from another device than the one that signed out.",
                "it is refused. `gateway audit --action replay` says whose it is and from where it comes.",
                ("GatewayRevokedTokenReplayed",),
            ),
            [Query(latest("gateway_revoked_use_total", 'age="replay"', by="kind"), "{{kind}}")],
            "short",
            colors=_KINDS,
            is_counted=True,
        ),
        lines(
            About(
                "In-flight tails, by what was revoked",
                "a few behind every revocation: requests that were under way, and the device that has just signed out.",
                "a client that goes on for long does not understand 401; its route is beside this.",
            ),
            [Query(latest("gateway_revoked_use_total", 'age="tail"', by="kind"), "{{kind}}")],
            "short",
            is_counted=True,
            width=6,
        ),
        ranking(
            About(
                "Where revoked tokens are tried",
                "few on any route, tails included.",
                "the route of a replay is what the thief is after.",
                ("GatewayRevokedTokenReplayed",),
            ),
            Query(top(grown("gateway_decisions_total", DENIED, REVOKED, by="route")), "{{route}}", is_instant=True),
            "short",
            width=6,
        ),
        lines(
            About(
                "Refresh tokens shown, by outcome",
                "`rotated`, with some `repeated` by parallel requests.",
                "`reused` and `revoked` are a copy in other hands. `late` in numbers is a network that loses answers.",
                ("GatewayRefreshTokenReused", "GatewayRefreshAfterRevocation"),
            ),
            [Query(latest("gateway_refreshes_total", by="outcome"), "{{outcome}}")],
            "short",
            colors=_OUTCOMES,
            is_counted=True,
        ),
        trouble(
            About(
                "Let in although revoked",
                "none. Routes with `on_outage: stale` or `allow` let somebody in, and it turned out that he had been revoked.",
                "`gateway audit --action admitted-although-revoked` says who, where and how often: look at what he did.",
                ("GatewayAdmittedAlthoughRevoked",),
            ),
            grown("gateway_admitted_although_revoked_total"),
        ),
        lines(
            About(
                "Expired tokens in a loop",
                "none.",
                "a client that never renews its token, or somebody who tries one that he found. The log line has the route.",
                ("GatewayExpiredTokenLoop",),
            ),
            [Query(latest("gateway_expired_token_loops_total"), "loops")],
            "short",
            colors={"loops": ORANGE},
            is_counted=True,
            width=8,
        ),
    ],
)

ELSEWHERE: Final = Row(
    "Is a session used by somebody else?",
    [
        lines(
            About(
                "Sessions seen from another client, by sign and action",
                "some `network: alert` of people on the move. `device` and `country` are rare.",
                "one user: ask him. Many at once: look at `trusted_proxies` and at what stands in front of the gateway.",
                ("GatewayFingerprintMismatch",),
            ),
            [Query(f"{latest('gateway_fingerprint_mismatches_total', by='signal, action')} > 0", _ACTIONS)],
            "short",
            colors={
                "device: end_session": RED,
                "country: end_session": "dark-red",
                "device: deny": ORANGE,
                "country: deny": ORANGE,
            },
            is_counted=True,
        ),
        ranking(
            About(
                "The same, in figures",
                "`network: alert` leads, if anything does.",
                "`end_session` ended sessions: was it right? `gateway audit --action fingerprint` has both clients.",
            ),
            Query(top(grown("gateway_fingerprint_mismatches_total", by="signal, action")), _ACTIONS, is_instant=True),
            "short",
            width=8,
        ),
        trouble(
            About(
                "Workers that only alert now",
                "none. In these so many sessions changed at once that the action for network or country has fallen to `alert`.",
                "a fault of ours, probably: `trusted_proxies` is wrong, or the address no longer reaches the gateway.",
                ("GatewayFingerprintSubdued",),
            ),
            f"sum({series('gateway_fingerprint_subdued_workers')})",
        ),
    ],
)
