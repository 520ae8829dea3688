"""TLS towards clients, from the moment a connection is accepted: it counts at once, and not when its handshake is over.

asyncio's own server says nothing of a connection before TLS is spoken on it. Who connects and stays silent would be counted
nowhere for as long as a handshake may take, and a thousand connections of one address would take memory and descriptors from
everybody. So this accepts by itself, and asks whether one more is allowed (`admission`). A handshake begins when the client has
begun to speak, so that a silent one costs a socket and no TLS; and one in each turn of the loop (`lane`): five hundred clients
that began at the same moment held it for 450 ms, and do for 25. This costs 100 µs of processor time for each connection.

Clients take turns: one that begins thousands waits behind itself, and another one's next is its next. Who has left is not served.

Owns the handshakes under way. What they lead to is a `ClientConnection` like any other; without TLS nothing here is used.
"""

import asyncio
import logging
import select
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from gateway.proxy.admission import client_of
from gateway.proxy.client import ClientConnection

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane

ACCEPTS_PER_TURN: Final = 64  # of one listener: who is connected already must not wait for all who would like to be
LEAST_S: Final = 0.05  # for the rest of a handshake whose client took nearly all the time to begin
_HAS_LEFT: Final = getattr(select, "POLLRDHUP", 0)  # and what is told unasked: POLLHUP, POLLERR
PAUSE_S: Final = 0.25  # when nothing can be accepted for want of descriptors: who is to come waits in the kernel's queue

logger: Final = logging.getLogger("gateway.proxy")


class Handshakes:
    """All that are under way, of all listeners of a worker."""

    def __init__(self, plane: "Plane", tls: ssl.SSLContext) -> None:
        self._plane = plane
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by client, whose turn is next first

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, accepted: socket.socket, peername: Any) -> None:
        """Count the connection; close it when it is one too many."""
        client = ClientConnection(self._plane)
        if not client.admit(peername):
            client.dismiss()
            accepted.close()
            return
        task = self._plane.loop.create_task(self._shake_hands(accepted, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """End those that are under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _shake_hands(self, accepted: socket.socket, client: ClientConnection) -> None:
        loop = self._plane.loop
        deadline = loop.time() + self._plane.timeouts.tls_handshake
        try:
            async with asyncio.timeout_at(deadline):
                await self._until_it_speaks(accepted)
                await self._turn(client_of(client.peer))
                _refuse_if_left(accepted)
            left_s = max(LEAST_S, deadline - loop.time())
            await loop.connect_accepted_socket(lambda: client, accepted, ssl=self._tls, ssl_handshake_timeout=left_s)
        except OSError:  # TLS errors and timeouts are: a scanner, somebody silent, a client that does not trust our certificate
            self._give_up(accepted, client)
        except BaseException:
            self._give_up(accepted, client)
            raise

    async def _until_it_speaks(self, accepted: socket.socket) -> None:
        """Or has left: then the handshake finds that out."""
        loop, spoken = self._plane.loop, self._plane.loop.create_future()
        loop.add_reader(accepted, _resolve, spoken)
        try:
            await spoken
        finally:
            loop.remove_reader(accepted)

    async def _turn(self, name: str) -> None:
        turn = self._plane.loop.create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        self._plane.lane.add(self._next)
        await turn

    def _next(self) -> None:
        """One handshake may begin: the oldest of the client that has not had one for longest."""
        name = next(iter(self._waiting))
        turns = self._waiting.pop(name)
        _resolve(turns.popleft())
        if turns:
            self._waiting[name] = turns  # behind all others

    def _give_up(self, accepted: socket.socket, client: ClientConnection) -> None:
        client.dismiss()
        accepted.close()  # or, when a transport has it, when that is closed


def _resolve(waited: "asyncio.Future[None]") -> None:
    if not waited.done():
        waited.set_result(None)


def _refuse_if_left(accepted: socket.socket) -> None:
    """A handshake with nobody would cost what one with somebody does. Raises ConnectionResetError."""
    look = select.poll()
    look.register(accepted, _HAS_LEFT)
    if look.poll(0):
        raise ConnectionResetError("the client has left")


class TLSServer:
    """Accepts from one listening socket, which it closes at its end."""

    def __init__(self, listener: socket.socket, handshakes: Handshakes, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._handshakes = handshakes
        self._loop = loop
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept no more. Handshakes that have begun go on."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, peername = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another worker was faster, or the client has left
            except OSError as error:
                logger.warning("no connection can be accepted: %s", error.strerror)
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(PAUSE_S, self._go_on)
                return
            accepted.setblocking(False)
            self._handshakes.begin(accepted, peername)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)
