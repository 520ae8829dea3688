"""Where clients come in, and the sweeper that ends what takes too long.

A timer per connection and phase would cost 1 µs per request; instead every connection carries one deadline, and one loop
looks at all of them four times a second (8 000 connections: 0.6 ms). Deadlines are therefore up to a quarter of a second late.
"""

import asyncio
import logging
import socket
import ssl
from time import perf_counter
from typing import Final

from gateway.config.schema import Tls
from gateway.proxy.client import ClientConnection
from gateway.proxy.handshake import Handshakes, TLSServer
from gateway.proxy.live import end_all_revoked
from gateway.proxy.plane import Plane
from gateway.proxy.suspects import TURN_S, end_all_revoked_by_turns, wait_until_written

TICK_S: Final = 0.25
TICKS_PER_JUDGEMENT: Final = 2  # of all live exchanges: what no single fact announces [W4]
BACKLOG: Final = 4096
DRAIN_TICK_S: Final = 0.05
PATIENCE_S: Final = 1.0  # with a connection that is idle when the worker stops: by then most have asked, and were told to close

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
        self._handshakes = Handshakes(plane, tls) if tls is not None else None
        self._servers: dict[str, asyncio.Server | TLSServer] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listeners: list[socket.socket]) -> None:
        """Accept on all of them."""
        for number, listener in enumerate(listeners):
            await self.accept(str(number), listener)

    async def accept(self, name: str, listener: socket.socket) -> None:
        """Accept on this socket too. Unix sockets speak plain HTTP: whoever can open them is on this machine.

        Raises OSError when it cannot be listened on: what was bound but not listened on yet, somebody else may have taken.
        """
        plane = self._plane
        listener.listen(BACKLOG)  # here, because uvloop keeps quiet about a listen that the kernel refuses
        if self._handshakes is not None and listener.family != socket.AF_UNIX:
            self._servers[name] = TLSServer(listener, self._handshakes, plane.loop)
            return
        self._servers[name] = await plane.loop.create_server(lambda: ClientConnection(plane), sock=listener, backlog=BACKLOG)

    def release(self, name: str) -> None:
        """Accept there no more. Whoever waits in its queue is for others."""
        server = self._servers.pop(name, None)
        if server is not None:
            server.close()

    def start_sweeping(self) -> None:
        """Deadlines count from here on, whether or not anything listens yet."""
        self._sweeper = self._plane.loop.create_task(self._sweep())

    async def drain(self, told_to_end: asyncio.Event | None = None, told_to_hurry: asyncio.Event | None = None) -> None:
        """Stop accepting, let exchanges end, for at most `timeouts.drain`; then close what is left.

        Nobody is cut off in between: an answer whose head comes from now on says `Connection: close`, and a connection without
        a request has a moment more to send one, lest it cross our end of the connection. Tunnels go on until `told_to_end`,
        which without such an event is at once. `told_to_hurry`: nothing is waited for.
        """
        plane = self._plane
        plane.is_draining = True
        for name in tuple(self._servers):
            self.release(name)
        began = plane.loop.time()
        deadline = began + plane.timeouts.drain
        patience_s = min(PATIENCE_S, plane.timeouts.drain / 2)
        # Some have been accepted and are not known yet: a turn of the loop away, or in the middle of a TLS handshake.
        at_least_until = began + (patience_s if self._handshakes is not None else min(patience_s, DRAIN_TICK_S))
        idle_since: dict[ClientConnection, float] = {}
        while (now := plane.loop.time()) < deadline and (plane.clients or now < at_least_until):
            if told_to_hurry is not None and told_to_hurry.is_set():
                break
            if told_to_end is None or told_to_end.is_set():
                await self._cut_tunnels()
            idle_since = {client: idle_since.get(client, now) for client in plane.clients if client.is_idle}
            for client in [client for client, since in idle_since.items() if now - since >= patience_s]:
                client.transport.close()
            await asyncio.sleep(DRAIN_TICK_S)
        await self._cut_tunnels()
        await wait_until_written(plane)
        await asyncio.sleep(DRAIN_TICK_S if plane.clients else 0)  # for the last frame to get out
        if self._handshakes is not None:
            await self._handshakes.end()
        for client in tuple(plane.clients):
            client.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    async def _cut_tunnels(self) -> None:
        """Some in each turn of the loop: the others have exchanges to finish."""
        until = perf_counter() + TURN_S
        for client in tuple(self._plane.clients):
            client.cut_tunnel("drain")
            if perf_counter() >= until:
                await asyncio.sleep(0)
                until = perf_counter() + TURN_S

    async def _sweep(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_S)
            tick += 1
            try:
                self.sweep(judge_live=False)
                if tick % TICKS_PER_JUDGEMENT == 0:
                    await end_all_revoked_by_turns(self._plane)
                    self._rest()
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
            self._rest()

    def _rest(self) -> None:
        for client in self._plane.clients:
            client.rest(self._plane.tick_time)
