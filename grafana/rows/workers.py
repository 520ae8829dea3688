"""Capacity: are there enough workers, what do they carry, and what does that take?"""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import figure, trouble
from grafana.panel import ANY_IS_ORANGE, ANY_IS_RED, CALM, GREEN, PURPLE, About, Query, orange_from
from grafana.query import grown, quantile, rate, series
from grafana.rows.replica import WORKER
from grafana.rows.why import OVERHEAD_S

_SCRAPED: Final = f"and on (job, instance) {series('gateway_build_info')}"

ENOUGH: Final = Row(
    "Are there enough workers?",
    [
        figure(
            About(
                "Workers that run",
                "as many as are configured.",
                "the supervisor starts them again by itself, ever more slowly; its log says why they end.",
                ("GatewayWorkersMissing",),
            ),
            f"sum({series('gateway_workers')})",
            "short",
            CALM,
            width=3,
        ),
        trouble(
            About(
                "Workers missing",
                "none.",
                "`gateway status`, then the log: a worker that cannot start says why.",
                ("GatewayWorkersMissing",),
            ),
            f"sum({series('gateway_workers_configured')}) - sum({series('gateway_workers')})",
            ANY_IS_ORANGE,
            width=3,
        ),
        trouble(
            About(
                "Workers replaced",
                "none.",
                "they died or hung. The log of the supervisor says which signal, the kernel's whether memory ran out.",
                ("GatewayWorkersRestarting",),
            ),
            grown("gateway_worker_restarts_total"),
            ANY_IS_ORANGE,
            width=3,
        ),
        figure(
            About("Requests per worker", "below some thousands; `bench/` measures yours.", "more workers, up to one a core."),
            f"{rate('gateway_requests_total')} / sum({series('gateway_workers')})",
            "reqps",
            CALM,
            width=3,
            decimals=1,
        ),
        lines(
            About(
                "Workers, running and configured",
                "one line.",
                "two lines: workers are missing. Marks show when they were replaced.",
                ("GatewayWorkersMissing", "GatewayWorkersRestarting"),
            ),
            [
                Query(f"sum({series('gateway_workers_configured')})", "configured"),
                Query(f"sum({series('gateway_workers')})", "running"),
            ],
            "short",
            colors={"configured": PURPLE, "running": GREEN},
            decimals=0,
        ),
    ],
    heights=(6,),
)

CARRIED: Final = Row(
    "What do they carry?",
    [
        lines(
            About(
                "Requests per worker, by gateway",
                "even, and well below what one core can do.",
                "more workers, up to one a core, then more gateways.",
            ),
            [
                Query(
                    f"{rate('gateway_requests_total', by='instance')} / sum by (instance) ({series('gateway_workers')})",
                    "{{instance}}",
                )
            ],
            "reqps",
            width=8,
        ),
        lines(
            About(
                "The gateway's own time, p99 by gateway",
                "below the line, the objective.",
                "a worker's loop is busy: fewer requests each, or a faster store.",
                ("GatewayOverheadHigh",),
            ),
            [Query(quantile(0.99, "gateway_overhead_seconds", by="instance"), "{{instance}}")],
            "s",
            limit=orange_from(OVERHEAD_S),
            width=8,
        ),
        lines(
            About(
                "Open connections",
                "below `limits.connections` on the clients' side.",
                "clients that connect and send nothing, or connections that nobody closes.",
            ),
            [Query(f"sum by (instance, side) ({series('gateway_connections')})", "{{instance}} {{side}}")],
            "short",
            width=8,
        ),
        lines(
            About(
                "Facts held, by worker",
                "the same in all workers of gateways on one store.",
                "one that holds fewer has not caught up: see its state on the Revocation board.",
                board="gateway-revocation",
            ),
            [Query(f"max by (instance, worker) ({series('gateway_replica_entries')})", WORKER)],
            "short",
            width=6,
        ),
        lines(
            About(
                "Age of the newest proof, by worker",
                "below a second: the worker's loop turns.",
                "one worker above the others hangs, or is starved of processor time.",
                ("GatewayReplicaLagging",),
                board="gateway-revocation",
            ),
            [Query(f"max by (instance, worker) ({series('gateway_replica_lag_seconds')})", WORKER)],
            "s",
            width=6,
        ),
        lines(
            About(
                "Pauses of the event loop",
                "p99 below the line, the budget.",
                "a worker that does not get the processor, or too much work at once: everybody waits for as long.",
            ),
            [Query(quantile(part, "gateway_event_loop_lag_seconds"), f"p{part * 100:g}") for part in (0.5, 0.99, 1)],
            "s",
            limit=orange_from(0.02),
            width=6,
        ),
        lines(
            About(
                "What a scrape costs",
                "some 20 ms. Rises with the number of routes: about 200 series each.",
                "a supervisor that answers slowly competes for the processor with the workers.",
            ),
            [Query(f"{series('scrape_duration_seconds')} {_SCRAPED}", "{{instance}}")],
            "s",
            width=6,
        ),
    ],
)

TAKEN: Final = Row(
    "What does that take, and which configuration is it?",
    [
        lines(
            About(
                "Memory, by worker",
                "level after the first hour.",
                "one that grows for days leaks: `limits.worker_memory` replaces it before the machine runs out.",
            ),
            [Query(f"max by (instance, worker) ({series('gateway_worker_resident_memory_bytes')})", WORKER)],
            "bytes",
            width=9,
        ),
        lines(
            About(
                "Processor time, by worker",
                "below 0.7 of a core each.",
                "at 1 a worker is full: more workers, up to one a core. Uneven: few clients with many requests each.",
            ),
            [Query(rate("gateway_worker_cpu_seconds_total", by="instance, worker"), WORKER)],
            "percentunit",
            largest=1.0,
            width=9,
        ),
        figure(
            About(
                "Configuration in force since",
                "since the last change that was meant to be.",
                "a change that is not here was refused, or its file was never written.",
            ),
            f"1000 * max({series('gateway_config_last_reload_success_timestamp_seconds')})",
            "dateTimeFromNow",
            CALM,
            width=3,
            decimals=None,
        ),
        trouble(
            About(
                "Changes refused",
                "none: the file on disk is the configuration in force.",
                "the log says file, line and column. Until it is mended every restart fails.",
                ("GatewayConfigReloadFailed",),
            ),
            f"sum(1 - {series('gateway_config_last_reload_successful')})",
            ANY_IS_RED,
            width=3,
        ),
        figure(
            About(
                "Reloads",
                "as many as there were changes and renewals.",
                "many more: something writes the files over and over.",
            ),
            grown("gateway_config_reloads_total"),
            "short",
            CALM,
            width=8,
        ),
        figure(
            About(
                "Workers that finish",
                "none, but for `timeouts.drain` after a reload.",
                "long downloads and WebSockets hold them; each still takes its memory.",
            ),
            f"sum({series('gateway_workers_draining')})",
            "short",
            CALM,
            width=8,
        ),
        trouble(
            About(
                "Workers too large",
                "none.",
                "they were replaced without a failed request; what fills them is still to be found.",
            ),
            grown("gateway_workers_over_memory_total"),
            ANY_IS_ORANGE,
            width=8,
        ),
    ],
    heights=(7, 4),
)
