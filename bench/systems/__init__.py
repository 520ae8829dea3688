"""The systems under test, in the order of the table. Each says what it needs, and how it is started."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from bench.place import Place, Running

Start: TypeAlias = Callable[[Place], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class System:
    """One row of the table. `missing` names what is not installed, or says None."""

    name: str
    title: str
    missing: Callable[[], str | None]
    start: Start


def all_systems() -> tuple[System, ...]:
    """Peers first, then this gateway."""
    from bench.systems import envoy, gateway, nginx, textbook

    return (*nginx.SYSTEMS, *envoy.SYSTEMS, *textbook.SYSTEMS, *gateway.SYSTEMS)
