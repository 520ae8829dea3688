"""Revocation, first row: did it arrive everywhere, worker by worker?"""

from typing import Final

from grafana.board import Row
from grafana.charts import lines, states
from grafana.kinds import trouble
from grafana.panel import ANY_IS_ORANGE, BLUE, GREEN, GREY, RED, About, Query, red_from
from grafana.query import grown, latest, quantile, series
from grafana.rows.arrival import MISSING

WORKER: Final = "{{instance}} worker {{worker}}"
MAX_STALENESS_S: Final = 2.0
"""`store.max_staleness` as it comes."""
_STATES: Final = {"empty": GREY, "catching_up": BLUE, "live": GREEN, "stale": RED, "lost": "dark-red"}


def _numbered() -> str:
    """The state of each worker as its place in the list: of the series of one worker, exactly one is 1."""
    told = [f"{series('gateway_replica_state', _is(name))} * {place}" for place, name in enumerate(_STATES)]
    return f"max by (instance, worker) ({' or '.join(told)})"


def _is(state: str) -> str:
    return f'state="{state}"'


REPLICA: Final = Row(
    "Did my revocation arrive everywhere?",
    [
        lines(
            About(
                "Age of the newest proof, by worker",
                "below a second. Whatever was revoked before the proof is enforced by this worker.",
                "one worker: it hangs. All: the store does not answer. Beyond the line (`store.max_staleness`) they refuse.",
                ("GatewayReplicaLagging",),
            ),
            [Query(f"max by (instance, worker) ({series('gateway_replica_lag_seconds')})", WORKER)],
            "s",
            limit=red_from(MAX_STALENESS_S, orange=1),
        ),
        states(
            About(
                "State, by worker",
                "`live`. `empty` and `catching_up` while it starts.",
                "`stale`: no proof for too long; ends by itself when the store answers. `lost`: the store is another one, or an "
                "older one; the workers write back what they know within seconds. Longer: somebody else's store, or no worker "
                "has a history.",
                ("GatewayReplicaNotLive",),
            ),
            [Query(_numbered(), WORKER)],
            words={place: (name, color) for place, (name, color) in enumerate(_STATES.items())},
        ),
        lines(
            About(
                "From revocation to enforcement",
                "p99 below 50 ms. Measured by every worker, from the append in the log until it refuses.",
                "the store is slow, or the workers are busy. What is lost meanwhile is time, not a revocation.",
                ("GatewayRevocationEnforcementSlow",),
            ),
            [Query(quantile(part, "gateway_revocation_enforcement_seconds"), f"p{part * 100:g}") for part in (0.5, 0.99, 1)],
            "s",
            limit=red_from(MAX_STALENESS_S, orange=1),
            width=8,
        ),
        lines(
            About(
                "Entries enforced, by all workers",
                "workers × entries of the log: every worker enforces every revocation, and every change of keys.",
                "a revocation without its bars here: ask `gateway status` for the workers' positions.",
            ),
            [Query(latest("gateway_revocation_enforcement_seconds_count"), "enforced")],
            "short",
            is_counted=True,
            width=4,
        ),
        trouble(
            About(
                "Workers that do not enforce",
                "none. These are not `live`, and refuse meanwhile.",
                "the bands above name them.",
                ("GatewayReplicaNotLive",),
            ),
            MISSING,
            width=3,
        ),
        trouble(
            About(
                "Store written back",
                "none. The store had lost its data, and the workers wrote back what they knew.",
                "find out what emptied it, or took it back: the next time nobody may be there to write back.",
                ("GatewayStoreRecovered",),
            ),
            grown("gateway_store_recoveries_total"),
            ANY_IS_ORANGE,
            width=3,
        ),
        trouble(
            About(
                "Witness file in trouble",
                "none. Times that a host could not write, or not read, what it remembers of the log.",
                "make room on the disk of `store.directory`: if everything died now, only the store would remember.",
                ("GatewayWitnessNotWritten",),
            ),
            grown("gateway_witness_problems_total"),
            ANY_IS_ORANGE,
            width=3,
        ),
        trouble(
            About(
                "Allowed without proof",
                "none. Let through by a route's `on_outage` on a replica that was not fresh.",
                "a token revoked meanwhile may have been among them.",
                ("GatewayDegradedAdmissions",),
            ),
            grown("gateway_decisions_total", 'decision="allow_stale"'),
            ANY_IS_ORANGE,
            width=3,
        ),
    ],
)
