"""What is done to the systems. Each load is a function from a place and options to a report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bench.place import Place
from bench.report import Report


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often. `only` names systems; empty means all."""

    rounds: int = 3
    seconds: float = 6.0
    connections: int = 32
    only: tuple[str, ...] = ()
    is_quick: bool = False

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only


LoadFunction: TypeAlias = Callable[[Place, Options], Report]


def all_loads() -> dict[str, LoadFunction]:
    """By the name they have on the command line."""
    from bench.loads import bodies, cut, enforcement, idle, path, requests, splice, spread, start, tls

    return {
        "requests": requests.measure,
        "idle": idle.measure,
        "bodies": bodies.measure,
        "spread": spread.measure,
        "enforcement": enforcement.measure,
        "cut": cut.measure,
        "tls": tls.measure,
        "splice": splice.measure,
        "path": path.measure,
        "start": start.measure,
    }
