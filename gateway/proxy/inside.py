"""Our own endpoints as one more upstream: an aiohttp application in this process, reached over a pair of sockets.

    client ── data plane ──socketpair── aiohttp

So there is one data plane and one set of header rules, nobody but the data plane can speak to the application, and what it says
about refusals and cookies is believed: its answers are read with a memory of their own.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.config.schema import Upstream
from gateway.proxy.connector import P, Place
from gateway.proxy.pool import Alone, Pool
from gateway.routes.own import OWN_UPSTREAM
from gateway.wire.answer import AnswerMemory

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.proxy.plane import Plane

MOST_CONNECTIONS: Final = 128
# The first one waits for the application to be loaded, and an answer for a queue of password hashes.
_SETTINGS: Final = {"connect_timeout": "20s", "read_timeout": "30s", "queue_timeout": "10s", "idle_timeout": "30s"}


class InsidePool(Pool):
    """Connections to the application that `application` brings, once: a factory of its server protocol."""

    def __init__(self, plane: "Plane", application: "Callable[[], Awaitable[Callable[[], asyncio.Protocol]]]") -> None:
        config = Upstream.model_validate({"url": "unix:/inside", "max_connections": MOST_CONNECTIONS} | _SETTINGS)
        place = Place(config.addresses[0], config.addresses[0])
        super().__init__(OWN_UPSTREAM, config, plane, place, _Pairs(plane.loop, application), _Uncounted(plane))
        self.answers = AnswerMemory(None)

    def connect_failed(self, error: BaseException) -> None:
        """It is this process: each request tries anew."""
        self._plane.report.upstream_unreachable(self.name, self.place.address, error)


class _Pairs:
    """A connection is a pair of sockets, of which the application has the other end."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, application: "Callable[[], Awaitable[Callable[[], asyncio.Protocol]]]"
    ) -> None:
        self._loop = loop
        self._application = application

    async def connect(self, place: Place, make: "Callable[[], P]") -> "tuple[asyncio.Transport, P]":
        serve = await self._application()
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            theirs.setblocking(False)
            await self._loop.create_connection(serve, sock=theirs)
            return await self._loop.create_connection(make, sock=ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise


class _Uncounted(Alone):
    """No upstream of the configuration, and no metric."""

    def noticed(self, pool: Pool) -> None:
        pass
