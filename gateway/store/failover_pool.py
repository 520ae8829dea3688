"""Connections to a server whose address may change: a service's master, the node that has a slot.

    take a connection ──► is it still to where the server is now? ──no──► hang up
                                                                           │
    connect ◄── find: ask those who know ◄─────────────────────────────────┘

The address is asked for at every connect, so whoever lost a connection goes to where the server is by then, and nothing else
has to notice a failover. A server that says it is not the one any more (`READONLY`, `MOVED`…), or that may not write
(`NOREPLICAS`: a master that was cut off), costs its connection, which is enough to be led to the right one. An idle connection
to a server that was replaced without a word is found when it is taken.

Here is the connection and its pool; who knows the address is a `Place` (sentinel.py, cluster.py).
"""

import asyncio
from typing import Any, Final, Protocol

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import ResponseError

from gateway.store.tls import TLSConnection

Address = tuple[str, int]

WRONG_SERVER: Final = frozenset(("READONLY", "MOVED", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED"))
"""How an error answer begins that this server gives and the right one would not."""


class Place(Protocol):
    """Knows where the server is."""

    async def find(self) -> Address:
        """Ask. Raises the client library's `ConnectionError`; bounded in time."""

    async def is_still_at(self, address: Address) -> bool:
        """Whether that was true lately. Keeps the caller waiting for a moment at most."""

    async def refuse_wrong(self, connection: AbstractConnection) -> None:
        """Ask a server that was just reached whether it is the right one. Raises `ConnectionError`."""

    async def close(self) -> None: ...


class _Following(Connection):
    """A connection that learns its address when it connects."""

    def __init__(self, *, place: Place, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place = place

    @property
    def address(self) -> Address:
        """Where it is connected to."""
        return self.host, self.port

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            self.host, self.port = await self.place.find()
            await super()._connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.place.refuse_wrong(self)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if says_wrong_server(error):
                await self.disconnect(nowait=True)
            raise


class FailoverConnection(_Following):
    """In the clear."""


class FailoverTLSConnection(_Following, TLSConnection):
    """With TLS."""


class FailoverPool(BlockingConnectionPool):
    """Connections to one place. `options` are those of a pool of one server, without its address."""

    def __init__(self, place: Place, *, connection_class: type[AbstractConnection], **options: Any) -> None:
        moving = FailoverTLSConnection if issubclass(connection_class, TLSConnection) else FailoverConnection
        super().__init__(connection_class=moving, place=place, **options)
        self.place = place

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        assert isinstance(connection, _Following)
        if connection.is_connected and not await self.place.is_still_at(connection.address):
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    async def aclose(self) -> None:
        await super().aclose()
        await self.place.close()


def says_wrong_server(error: Exception) -> bool:
    """Whether the error answer means that another server is, or will be, the one to ask."""
    return (getattr(error, "status_code", None) or str(error).partition(" ")[0]) in WRONG_SERVER
