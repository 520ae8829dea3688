"""What is done to the systems. Each load is a module with `measure`: from a place and options to a report."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from bench.place import Place
from bench.report import Report

NAMES: Final = ("requests", "path", "idle", "bodies", "spread", "enforcement", "cut", "live", "tls", "splice", "start", "logins")


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


def load_named(name: str) -> LoadFunction:
    """Imported when it is asked for: some look into the gateway itself, and a peer can be measured without it."""
    measure: LoadFunction = importlib.import_module(f"bench.loads.{name}").measure
    return measure
