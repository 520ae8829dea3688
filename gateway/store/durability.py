"""Whether a write survives the store's death: flushed to its disk before it was answered, or acknowledged by a replica
[B4].

`WAIT` speaks of the writes of the connection it is sent on, so it must be the very connection that wrote: a client
library that reconnects in silence would ask about a connection that wrote nothing, and be told yes. Nor does what one server
says of its disk hold for the one that a reconnection leads to after a failover. So the connection tells when it is made anew.
Unknown is no. How the store writes is asked behind the write and not before it: nobody who waits for the write waits for that.
"""

from typing import Final

from redis.asyncio.connection import AbstractConnection

from gateway.errors import StoreError
from gateway.store.client import Store, command, store_errors

REPLICA_WAIT_MS: Final = 500


class Durability:
    """Of what one client of a single connection writes between the two calls."""

    __slots__ = ("__weakref__", "_attempts", "_client", "_connection", "_is_same")

    def __init__(self, client: Store) -> None:
        self._client = client
        self._connection: AbstractConnection | None = None
        self._is_same = False
        self._attempts = 0

    async def before_append(self) -> None:
        """From here on the connection must stay. Call it again before each further attempt. Raises StoreUnavailable."""
        self._attempts += 1
        if self._connection is None and self._client.connection is not None:
            self._connection = self._client.connection
            self._connection.register_connect_callback(self._note_reconnection)  # type: ignore[no-untyped-call]
        if self._connection is not None:
            with store_errors():
                await self._connection.connect()  # type: ignore[no-untyped-call]  # does nothing while it stands
        self._is_same = self._connection is not None

    async def after_append(self) -> bool:
        """Whether what was written since is durable. To be called once: the connection goes back to others.

        A connection that broke meanwhile is not made anew for it, which would keep a receipt waiting for a store that hangs.
        """
        try:
            is_durable = await self._flushes_always() or (self._is_connected() and await self._has_replica())
            return is_durable and self._is_same
        finally:
            if self._connection is not None:
                self._connection.deregister_connect_callback(self._note_reconnection)  # type: ignore[no-untyped-call]

    def _is_connected(self) -> bool:
        return self._connection is not None and self._connection.is_connected

    async def _has_replica(self) -> bool:
        """NB: what an attempt wrote whose answer was lost, another connection wrote: `WAIT` does not speak of that."""
        if self._attempts > 1:
            return False
        try:
            role = await command(self._client, "ROLE")
            if role[0] == b"master" and not role[2]:  # nobody to wait for
                return False
            return int(await command(self._client, "WAIT", 1, REPLICA_WAIT_MS)) >= 1
        except StoreError:
            return False

    def _note_reconnection(self, _: AbstractConnection) -> None:
        self._is_same = False

    async def _flushes_always(self) -> bool:
        try:
            settings = dict(await command(self._client, "CONFIG GET", "append*"))
        except StoreError:
            return False
        found = {_text(name): _text(value) for name, value in settings.items()}
        return found.get("appendonly") == "yes" and found.get("appendfsync") == "always"


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
