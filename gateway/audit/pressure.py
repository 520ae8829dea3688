"""What the gateway stops writing when the store runs out of memory, and in which order [B1].

    from    stops
    80 %    audit events
    85 %    first-use records of foreign tokens
    90 %    registrations

Revocations are not in the table: they never stop. What is full is judged by the store's own limit, and by the machine's
memory where the store has none.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.store.client import Store, store_errors

ASK_EVERY_S: Final = 2.0


class Use(StrEnum):
    """What memory is used for, as far as it can be done without."""

    AUDIT = "audit"
    FIRST_USE = "first-use"
    REGISTRATION = "registration"


STOPS_AT: Final = ((Use.AUDIT, 0.80), (Use.FIRST_USE, 0.85), (Use.REGISTRATION, 0.90))
EVERYTHING: Final = frozenset(Use)


def allowed(used: int, maximum: int) -> frozenset[Use]:
    """What may still be written. Bytes; a maximum of 0 is unknown, and then everything may."""
    if maximum <= 0:
        return EVERYTHING
    return frozenset(use for use, share in STOPS_AT if used < share * maximum)


class Memory:
    """Per process: what the store said last. Until it has said anything, everything is allowed.

    `seconds` is any clock that does not go back. No answer changes nothing: what is away takes no writes anyway.
    """

    __slots__ = ("_allowed", "_next_at", "_seconds", "_store")

    def __init__(self, store: Store, seconds: Callable[[], float]) -> None:
        self._store = store
        self._seconds = seconds
        self._allowed = EVERYTHING
        self._next_at = 0.0

    def allows(self, use: Use) -> bool:
        return use in self._allowed

    async def refresh(self) -> None:
        """Ask the store, unless it was asked lately. Never raises; call it as often as you like."""
        now = self._seconds()
        if now < self._next_at:
            return
        self._next_at = now + ASK_EVERY_S
        try:
            with store_errors():
                answer = await self._store.info("memory")
        except StoreUnavailable:
            return
        self._allowed = allowed(*use_of(answer))


def use_of(answer: Mapping[str, object]) -> tuple[int, int]:
    """Bytes used, and how many there are, from what `INFO memory` says; 0: it does not."""
    maximum = _bytes(answer.get("maxmemory")) or _bytes(answer.get("total_system_memory"))
    return _bytes(answer.get("used_memory")), maximum


def _bytes(value: object) -> int:
    return value if isinstance(value, int) else 0
