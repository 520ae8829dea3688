"""Where clients come in, and the sweeper that ends what takes too long.

A timer per connection and phase would cost 1 µs per request; instead every connection carries one deadline, and one loop
looks at all of them four times a second (8 000 connections: 0.6 ms). Deadlines are therefore up to a quarter of a second late.
"""

import asyncio
import logging
import socket
import ssl
from typing import Final

from gateway.config.schema import Tls
from gateway.proxy.client import ClientConnection
from gateway.proxy.live import end_all_revoked
from gateway.proxy.plane import Plane

TICK_S: Final = 0.25
TICKS_PER_JUDGEMENT: Final = 2  # of all live exchanges: what no single fact announces [W4]
BACKLOG: Final = 4096

logger: Final = logging.getLogger("gateway.proxy")


def bind_shared(host: str, port: int) -> socket.socket:
    """A TCP socket that other workers listen on too (SO_REUSEPORT): the kernel spreads the connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def server_tls(config: Tls) -> ssl.SSLContext:
    """TLS towards clients: 1.2 and 1.3, HTTP/1.1 only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate, config.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Listener:
    """Accepts connections for one plane, and sweeps them."""

    def __init__(self, plane: Plane, tls: ssl.SSLContext | None) -> None:
        self._plane = plane
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listeners: list[socket.socket]) -> None:
        """Accept on `listeners`. Unix sockets speak plain HTTP: whoever can open them is on this machine."""
        plane = self._plane
        for listener in listeners:
            is_tcp = listener.family != socket.AF_UNIX
            tls = self._tls if is_tcp else None
            server = await plane.loop.create_server(
                lambda: ClientConnection(plane),
                sock=listener,
                ssl=tls,
                backlog=BACKLOG,
                ssl_handshake_timeout=plane.timeouts.tls_handshake if tls else None,
            )
            self._servers.append(server)

    def start_sweeping(self) -> None:
        """Deadlines count from here on, whether or not anything listens yet."""
        self._sweeper = self._plane.loop.create_task(self._sweep())

    async def drain(self) -> None:
        """Stop accepting, let exchanges end, for at most `timeouts.drain`; then close what is left."""
        plane = self._plane
        plane.is_draining = True
        for server in self._servers:
            server.close()
        for client in tuple(plane.clients):
            client.drain()
        deadline = plane.loop.time() + plane.timeouts.drain
        while plane.clients and plane.loop.time() < deadline:  # noqa: ASYNC110 - many connections, and it happens once
            await asyncio.sleep(0.02)
        for client in tuple(plane.clients):
            client.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    async def _sweep(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_S)
            tick += 1
            try:
                self.sweep(judge_live=tick % TICKS_PER_JUDGEMENT == 0)
            except Exception:  # the task's root: without it no deadline would come any more, and no live exchange be judged
                logger.exception("a sweep failed")

    def sweep(self, *, judge_live: bool) -> None:
        """One look at every deadline."""
        plane = self._plane
        now = plane.tick_time = plane.loop.time()
        for client in [client for client in plane.clients if client.deadline and client.deadline < now]:
            client.on_deadline()
        for pool in plane.pools.values():
            pool.tick(now)
        if judge_live:
            end_all_revoked(plane)
            for client in plane.clients:
                client.rest(now)
