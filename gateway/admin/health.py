"""How the gateway is: the rule for *ready*, and the texts of `/livez` and `/readyz`.

Ready: every configured worker is live; it stays so while one is. The first half keeps traffic away until nobody would
let a revoked token in; the second keeps one restarting worker from taking the whole gateway out of rotation.

Says nothing secret: these two are answered to anybody who reaches the admin port.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.revocation.state import WHY_LOST, State
from gateway.telemetry.reading import UpstreamReading, WorkerReading


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker at one moment. `state` is `waiting`, `starting` or `running`; `reading` holds what it says itself."""

    index: int
    pid: int | None
    state: str
    incarnation: str
    restarts: int
    reading: WorkerReading

    @property
    def is_ready(self) -> bool:
        return self.state == "running" and self.reading.is_ready


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The store as the supervisor's own connection sees it. `url` has no password; `problem` is empty when all is well."""

    url: str
    is_up: bool
    problem: str


class Overview(Protocol):
    """What the admin port may ask of the supervisor."""

    @property
    def is_ready(self) -> bool: ...

    @property
    def is_stopping(self) -> bool: ...

    @property
    def store(self) -> StoreStatus: ...

    def workers(self) -> Sequence[WorkerStatus]: ...

    def upstreams(self) -> dict[str, UpstreamReading]: ...


class Readiness:
    """Remembers whether all workers have been live since none was."""

    __slots__ = ("is_ready",)

    def __init__(self) -> None:
        self.is_ready = False

    def judge(self, workers: Sequence[bool]) -> bool:
        """Take the workers' readiness; must be told of every change, so it is called at each turn of the supervisor."""
        self.is_ready = any(workers) and (self.is_ready or all(workers))  # nobody is not everybody
        return self.is_ready


def readiness_page(overview: Overview, is_verbose: bool) -> tuple[int, str]:
    """Status and text of `/readyz`."""
    is_ready = overview.is_ready and not overview.is_stopping
    lines = _details(overview) if is_verbose else []
    lines.append("ready" if is_ready else "stopping" if overview.is_stopping else "not ready")
    return (200 if is_ready else 503), "".join(f"{line}\n" for line in lines)


def _details(overview: Overview) -> list[str]:
    lines = [f"{_mark(overview.store.is_up)} store: {'up' if overview.store.is_up else 'not to be used; why: gateway status'}"]
    for worker in overview.workers():
        state = worker.reading.state if worker.state == "running" else worker.state
        lines.append(f"{_mark(worker.is_ready)} worker {worker.index}: {state}{f' ({WHY_LOST})' if state == State.LOST else ''}")
    return lines


def _mark(is_well: bool) -> str:
    return "[+]" if is_well else "[-]"
