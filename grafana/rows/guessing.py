"""Security, further rows: are passwords guessed, and what is refused, where?"""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import figure, ranking
from grafana.panel import CALM, GREEN, ORANGE, PURPLE, YELLOW, About, Query
from grafana.query import DENIED, grown, latest, series, top

_LOGINS: Final = {"success": GREEN, "failed": YELLOW, "limited": "dark-orange", "blocked": PURPLE, "unavailable": "dark-purple"}
# Tokens that nobody was ever given, or not for this gateway.
_FORGED: Final = 'reason=~"malformed-token|bad-signature|unknown-key|retired-key|wrong-issuer|wrong-audience|lifetime-too-long"'
# Refusals that neither a browser of this site nor a client that works as it should brings about.
_ODD: Final = 'reason=~"csrf|bad-request|too-large|forbidden|replayed-token|blocked-user"'

GUESSING: Final = Row(
    "Are passwords guessed?",
    [
        lines(
            About(
                "Attempts to sign in, by outcome",
                "mostly `success`; some `failed`, as people are.",
                "`limited` answers with 429: somebody is guessing. `unavailable`: the store or the accounts gave no answer.",
                ("GatewayLoginFlood",),
            ),
            [Query(latest("gateway_logins_total", by="outcome"), "{{outcome}}")],
            "short",
            colors=_LOGINS,
            is_counted=True,
        ),
        lines(
            About(
                "Login floods",
                "none. A hundred failures of one account, or from one network, within ten minutes.",
                "`account`: one person is the target. `network`: one place guesses at many persons; block it at the edge.",
                ("GatewayLoginFlood",),
            ),
            [Query(latest("gateway_login_floods_total", by="by"), "{{by}}")],
            "short",
            colors={"account": ORANGE, "network": "dark-orange"},
            is_counted=True,
            width=8,
        ),
        figure(
            About("Sessions", "the usual number of this hour.", "a fall is a wave of revocations, a rise a wave of logins.", ()),
            f"max({series('gateway_sessions')})",
            "short",
            CALM,
        ),
    ],
)

REFUSED: Final = Row(
    "What is refused, and where?",
    [
        ranking(
            About(
                "Top reasons",
                "`no-token` and `expired-token` lead.",
                "`docs/reference/refusals.md` says of every reason when it is told and what to do.",
            ),
            Query(top(grown("gateway_decisions_total", DENIED, by="reason")), "{{reason}}", is_instant=True),
            "short",
            width=8,
        ),
        ranking(
            About(
                "Top routes",
                "routes in proportion to their traffic. `none`: no route matched, which is what scanners ask for.",
                "a single route is a client of it, or somebody's aim.",
            ),
            Query(top(grown("gateway_decisions_total", DENIED, by="route")), "{{route}}", is_instant=True),
            "short",
            width=8,
        ),
        lines(
            About(
                "Forged and foreign tokens, by reason",
                "few.",
                "`unknown-key` after a rotation: the provider's new key has not arrived. Others: somebody is trying.",
                ("GatewaySignatureFailures",),
            ),
            [Query(f"{latest('gateway_decisions_total', _FORGED, by='reason')} > 0", "{{reason}}")],
            "short",
            is_counted=True,
            width=8,
        ),
        lines(
            About(
                "Signatures that do not verify, by issuer and age of his keys",
                "none, or a few `settled`: forged, cut off, or of another environment.",
                "`rotated`: his keys changed within a day. A new key has not arrived, or an old one went too early, and people "
                "are locked out; or somebody holds an old token.",
                ("GatewaySignatureFailures",),
            ),
            [Query(latest("gateway_signature_failures_total", by="signer, keys"), "{{signer}}: {{keys}}")],
            "short",
            is_counted=True,
        ),
        lines(
            About(
                "Requests that browsers and people should not send",
                "few: `csrf` is another site's page, `bad-request` a malformed request, `forbidden` a missing group.",
                "`csrf` after a deploy: a page that lost its token. `bad-request` in numbers: somebody probes.",
            ),
            [Query(f"{latest('gateway_decisions_total', _ODD, by='reason')} > 0", "{{reason}}")],
            "short",
            is_counted=True,
        ),
    ],
)
