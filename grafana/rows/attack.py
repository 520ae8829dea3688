"""Overview, second row: is anybody attacking, since when, and whom?

Figures over the time shown, the same signals as bands over time, and the way from here to the people: metrics name none.
"""

from collections.abc import Callable
from typing import Final

from grafana.board import Row
from grafana.charts import states
from grafana.kinds import text, trouble
from grafana.panel import ANY_IS_ORANGE, ANY_IS_RED, About, Query, named, red_from, thresholds
from grafana.query import grown, latest

REPLAYS: Final = ("gateway_revoked_use_total", 'age="replay"')
REUSE: Final = ("gateway_refreshes_total", 'outcome=~"reused|revoked"')
FLOODS: Final = ("gateway_login_floods_total",)
FORGED: Final = ("gateway_decisions_total", 'reason=~"bad-signature|unknown-key|retired-key"')
LOOPS: Final = ("gateway_expired_token_loops_total",)

_WHOM: Final = """\
Metrics hold no names. The audit trail does; it is read where the gateway runs:

| seen | ask |
|---|---|
| revoked token | `gateway audit --since 6h --action replay` |
| refresh token | `gateway audit --since 6h --action refresh-reuse` |
| login flood | `gateway audit --since 6h --action login-flood` |
| seen elsewhere | `gateway audit --since 6h --action fingerprint` |
| forged token | `gateway audit --since 6h --action signature-failure` |
| expired token | `gateway audit --since 6h --action expired-loop` |

End what a thief holds: `gateway sessions USER --end-all`, or `gateway revoke --user USER` for another issuer's user. The \
receipt says when every worker enforces it.
"""


def elsewhere(counted: Callable[..., str]) -> str:
    """Sessions seen from another client, as far as an alert is of it: a phone's network changes all day."""
    metric = "gateway_fingerprint_mismatches_total"
    acted_on = counted(metric, 'action=~"deny|end_session"')
    told = counted(metric, 'signal=~"device|country"', 'action="alert"')
    return f"{acted_on} + {told}"


ATTACK: Final = Row(
    "Is anybody attacking? Whom, and since when?",
    [
        trouble(
            About(
                "Revoked tokens replayed",
                "none. Requests already under way when the revocation came are not counted.",
                "somebody holds a token that should be gone, and is refused. Find out whose, and how it was lost.",
                ("GatewayRevokedTokenReplayed",),
                board="gateway-security",
            ),
            grown(*REPLAYS),
        ),
        trouble(
            About(
                "Refresh tokens replayed",
                "none. One was shown again after its successor, or after its session was revoked.",
                "a copy of it is in other hands. The session has been ended; end the user's others, and find out how.",
                ("GatewayRefreshTokenReused", "GatewayRefreshAfterRevocation"),
                board="gateway-security",
            ),
            grown(*REUSE),
            ANY_IS_ORANGE,
        ),
        trouble(
            About(
                "Login floods",
                "none. One is a hundred failed logins of one account, or from one network, within ten minutes.",
                "passwords are being guessed, and limits slow it down. Block the network at the edge.",
                ("GatewayLoginFlood",),
                board="gateway-security",
            ),
            grown(*FLOODS),
            ANY_IS_ORANGE,
        ),
        trouble(
            About(
                "Sessions seen elsewhere",
                "few. A session was used from another device or country than at its login, and the configured action was taken.",
                "a wave of them is a stolen cookie jar, or a fault in `trusted_proxies`.",
                ("GatewayFingerprintMismatch", "GatewayFingerprintSubdued"),
                board="gateway-security",
            ),
            elsewhere(grown),
            ANY_IS_ORANGE,
        ),
        trouble(
            About(
                "Forged tokens",
                "few: whoever is on the internet is shown some. No key in force has signed them.",
                "after a rotation: a provider's new key has not arrived, people are locked out. Otherwise somebody tries.",
                ("GatewaySignatureFailures",),
                board="gateway-security",
            ),
            grown(*FORGED),
            ANY_IS_ORANGE,
        ),
        trouble(
            About(
                "Expired tokens in a loop",
                "none. One is an expired token shown ten times within a minute.",
                "a client that never renews its token, or somebody who tries one that he found.",
                ("GatewayExpiredTokenLoop",),
                board="gateway-security",
            ),
            grown(*LOOPS),
            ANY_IS_ORANGE,
        ),
        states(
            About(
                "Since when",
                "green throughout. Red is what pages somebody, orange what waits for the morning.",
                "the left edge of a band is when it began: start there in the audit trail and in the deploys.",
                ("GatewayRevokedTokenReplayed",),
                board="gateway-security",
            ),
            [
                Query(latest(*REPLAYS), "Revoked tokens replayed"),
                Query(latest(*REUSE), "Refresh tokens replayed"),
                Query(latest(*FLOODS), "Login floods"),
                Query(elsewhere(latest), "Sessions seen elsewhere"),
                Query(latest(*FORGED), "Forged tokens"),
                Query(latest(*LOOPS), "Expired tokens in a loop"),
            ],
            width=15,
            steps=ANY_IS_RED,
            overrides=[
                named("Refresh tokens replayed", thresholds=thresholds(red_from(4.5, orange=0.01))),
                named("Login floods", thresholds=thresholds(red_from(9.5, orange=0.01))),
                *(
                    named(name, thresholds=thresholds(ANY_IS_ORANGE))
                    for name in ("Sessions seen elsewhere", "Forged tokens", "Expired tokens in a loop")
                ),
            ],
        ),
        text("Whom, and what now", _WHOM, width=9),
    ],
    heights=(3, 7),
)
