"""Whether a write survives the store's death: flushed to its disk before it was answered, or acknowledged by a replica
[B4].

`WAIT` speaks of the writes of the connection it is sent on, so it must be the very connection that wrote: a client
library that reconnects in silence would ask about a connection that wrote nothing, and be told yes. The connection's
number tells. Unknown is no.
"""

from typing import Final

from gateway.errors import StoreError
from gateway.store.client import Store, command

REPLICA_WAIT_MS: Final = 500


class Durability:
    """Of the writes made on one connection between the two calls."""

    __slots__ = ("_connection", "_is_flushed", "_number")

    def __init__(self, connection: Store) -> None:
        self._connection = connection
        self._is_flushed = False
        self._number = 0

    async def before_append(self) -> None:
        """Remember the connection, and how the store writes."""
        self._is_flushed = await self._flushes_always()
        if not self._is_flushed:
            self._number = await self._connection_number()

    async def after_append(self) -> bool:
        """Whether what was written since is durable."""
        if self._is_flushed:
            return True
        try:
            replicas = int(await command(self._connection, "WAIT", 1, REPLICA_WAIT_MS))
        except StoreError:
            return False
        return replicas >= 1 and self._number != 0 and await self._connection_number() == self._number

    async def _flushes_always(self) -> bool:
        try:
            settings = dict(await command(self._connection, "CONFIG GET", "append*"))
        except StoreError:
            return False
        found = {_text(name): _text(value) for name, value in settings.items()}
        return found.get("appendonly") == "yes" and found.get("appendfsync") == "always"

    async def _connection_number(self) -> int:
        try:
            return int(await command(self._connection, "CLIENT ID"))
        except StoreError:
            return 0


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
