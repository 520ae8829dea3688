"""Revocation, second row: what was revoked, by whom, and what it ended."""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import figure
from grafana.panel import CALM, ORANGE, PURPLE, RED, About, Query, orange_from
from grafana.query import DENIED, grown, latest, series
from grafana.rows.replica import WORKER
from grafana.rows.stolen import REVOKED

# Four fifths of store.max_entries as it comes; beyond the whole of it a user's entries are folded into one.
LARGE: Final = 4_000_000

REVOKED_NOW: Final = Row(
    "What was revoked, and what did it end?",
    [
        lines(
            About(
                "Revocations, by kind",
                "mostly `session`: people sign out. `lift` is one that was undone.",
                "`user`, `version`, `block`, `key` in numbers: somebody, or a script, cleans up. `gateway audit` says who.",
            ),
            [Query(f"{latest('gateway_revocations_total', by='kind')} > 0", "{{kind}}")],
            "short",
            is_counted=True,
            width=8,
        ),
        lines(
            About(
                "Revocations, by source",
                "`logout`, `login`, `password`: people. `api`: you. `keys`: the schedule.",
                "`reuse` and `fingerprint`: the gateway ended a session by itself, because it was in other hands.",
                ("GatewayRefreshTokenReused", "GatewayFingerprintMismatch"),
            ),
            [Query(f"{latest('gateway_revocations_total', by='source')} > 0", "{{source}}")],
            "short",
            colors={"reuse": RED, "fingerprint": ORANGE},
            is_counted=True,
            width=8,
        ),
        lines(
            About(
                "Refusals of what was revoked, by reason",
                "a few behind every revocation.",
                "steady numbers: a client that does not give up, or a replay; the board Security tells them apart.",
                ("GatewayRevokedTokenReplayed",),
                board="gateway-security",
            ),
            [Query(f"{latest('gateway_decisions_total', DENIED, REVOKED, by='reason')} > 0", "{{reason}}")],
            "short",
            is_counted=True,
            width=8,
        ),
        lines(
            About(
                "Live connections cut, by cause",
                "after a revocation, as many as its user had open; `expired` when a client did not renew.",
                "`stale`: a worker lost the log and ended what it could not judge. `drain`: a worker was told to stop.",
            ),
            [Query(f"{latest('gateway_connections_cut_total', by='cause')} > 0", "{{cause}}")],
            "short",
            colors={"stale": ORANGE, "drain": PURPLE},
            is_counted=True,
            width=8,
        ),
        lines(
            About(
                "Size of the replica, by worker",
                "the number of revocations of one token's lifetime, the same in all workers.",
                "beyond `store.max_entries` a user's entries fold into one, which refuses too much rather than too little. "
                "Shorter tokens need fewer entries.",
            ),
            [Query(f"max by (instance, worker) ({series('gateway_replica_entries')})", WORKER)],
            "short",
            width=8,
        ),
        figure(
            About(
                "Largest replica",
                f"below {LARGE:,}: four fifths of `store.max_entries` as it comes.",
                "raise `store.max_entries` (a million takes 32 MiB a worker), or let tokens live shorter.",
            ),
            f"max({series('gateway_replica_entries')})",
            "short",
            orange_from(LARGE),
        ),
        figure(
            About("Revocations undone", "few.", "somebody revokes in error; `gateway audit --action undo` says who."),
            grown("gateway_revocations_total", 'kind="lift"'),
            "short",
            CALM,
        ),
    ],
)
