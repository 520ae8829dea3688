"""The reading side of a worker's gauges: what the supervisor, `/readyz`, `/v1/status` and `/metrics` know of a worker.

A worker writes plain numbers when something changes; how old they are is judged here, by the reader's clock. So a
worker that hangs cannot go on calling itself fresh: its proof ages in the reader's eyes whether it runs or not [L3].
"""

from dataclasses import dataclass, field

from gateway.clock import LARGEST_STORE_OFFSET_S
from gateway.telemetry.metrics import ADDRESS_STATES, STATES, Layout


@dataclass(frozen=True, slots=True)
class KeysReading:
    """What a worker holds of one issuer. `fetched_at` is wall clock, 0 when it never had any."""

    issuer: str
    keys: int
    fetched_at: float


@dataclass(frozen=True, slots=True)
class WorkerReading:
    """One worker at one moment. `lag_s` is the age of its newest proof of freshness, infinite when it has none."""

    heartbeat_at: float
    is_listening: bool
    state: str
    lag_s: float
    entries: int
    position: int
    clock_offset_s: float
    client_connections: int
    upstream_connections: int
    keys: tuple[KeysReading, ...]

    @property
    def is_ready(self) -> bool:
        """It accepts connections and would refuse what is revoked."""
        return self.is_listening and self.state == "live" and abs(self.clock_offset_s) <= LARGEST_STORE_OFFSET_S


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """What a worker takes of the machine: memory now, processor time of all that had its number."""

    resident_bytes: int = 0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reloads:
    """How the configuration came to be what it is. `succeeded_at`: wall clock, the start counts as a success."""

    successes: int = 0
    failures: int = 0
    is_last_good: bool = True
    succeeded_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SupervisorFacts:
    """What only the supervisor knows."""

    running: int
    configured: int
    restarts: int
    is_store_up: bool
    sessions: int = 0
    key_ages: tuple[tuple[str, float], ...] = ()  # of our signing keys: the kid, and seconds since it was made
    draining: int = 0
    over_memory: int = 0
    reloads: Reloads = Reloads()
    processes: tuple[ProcessReading, ...] = ()  # of each worker, by its number


@dataclass(frozen=True, slots=True)
class UpstreamReading:
    """One upstream: whether it answered last, and its addresses by state, as the worker sees them that sees the worst.

    `servers`: the same of each address as it is configured; a host name may mean several.
    """

    is_up: bool
    addresses: dict[str, int]
    servers: dict[str, dict[str, int]] = field(default_factory=dict)


def log_seen(layout: Layout, cells: "memoryview[float]") -> tuple[int, int]:
    """The epoch and the sequence that the log is known to have reached; (0, 0): nothing is known."""
    return int(cells[layout.log_epoch]), int(cells[layout.log_sequence])


def read_worker(layout: Layout, cells: "memoryview[float]", boot_now: float, max_staleness_s: float) -> WorkerReading:
    """Read one worker's block. A `live` replica whose proof is older than `max_staleness_s` is told as `stale`."""
    proven_at = cells[layout.proven_at]
    lag_s = boot_now - proven_at if proven_at else float("inf")
    state = STATES[int(cells[layout.state])]
    return WorkerReading(
        heartbeat_at=cells[layout.heartbeat],
        is_listening=cells[layout.listening] == 1.0,
        state="stale" if state == "live" and lag_s > max_staleness_s else state,
        lag_s=lag_s,
        entries=int(cells[layout.entries]),
        position=int(cells[layout.position]),
        clock_offset_s=cells[layout.clock_offset],
        client_connections=int(cells[layout.connections["client"]]),
        upstream_connections=int(cells[layout.connections["upstream"]]),
        keys=tuple(KeysReading(name, int(cells[keys]), cells[fetched]) for name, (keys, fetched) in layout.issuers.items()),
    )


def upstreams_up(layout: Layout, workers: "list[memoryview[float]]") -> dict[str, bool]:
    """Whether each upstream answered the newest attempt of any worker. One that was never tried counts as up."""
    return {
        name: not max((cells[tried], cells[failed]) for cells in workers)[1] if workers else True
        for name, (failed, tried) in layout.upstreams.items()
    }


def upstream_addresses(layout: Layout, workers: "list[memoryview[float]]") -> dict[str, dict[str, int]]:
    """How many addresses of each upstream are in which state. Workers judge for themselves: the worst that any sees is told."""
    return {
        name: _worst([[int(cells[at]) for at in places] for cells in workers])
        for name, places in layout.upstream_addresses.items()
    }


def read_upstreams(layout: Layout, workers: "list[memoryview[float]]") -> dict[str, UpstreamReading]:
    """What is known of each upstream."""
    addresses = upstream_addresses(layout, workers)
    servers = {
        name: {server: _worst([[int(cells[at]) for at in places] for cells in workers]) for server, places in of.items()}
        for name, of in layout.upstream_servers.items()
    }
    return {name: UpstreamReading(is_up, addresses[name], servers[name]) for name, is_up in upstreams_up(layout, workers).items()}


def _worst(seen: list[list[int]]) -> dict[str, int]:
    """The fewest that are up, the most that are not. A worker that has not begun knows of no address."""
    told = [counts for counts in seen if any(counts)]
    judge = {state: min if state == "up" else max for state in ADDRESS_STATES}
    return {state: judge[state]((counts[place] for counts in told), default=0) for place, state in enumerate(ADDRESS_STATES)}
