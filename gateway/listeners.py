"""The sockets that clients connect to, held by the supervisor for as long as the gateway lives.

TCP: every worker binds the address itself with SO_REUSEPORT, so the kernel spreads new connections over them. The
supervisor only *holds* the address: bound, never listening. So port 0 is resolved once for all, the port does not
get lost between two workers, and a socket that does not listen gets no connections.

Unix: the kernel spreads nothing there, so there is one listening socket that all workers inherit and accept from. A
path left behind by a dead gateway is removed; one that somebody answers on is not.
"""

import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from gateway.config.address import Address
from gateway.errors import GatewayError

BACKLOG: Final = 4096


class CannotListen(GatewayError):
    """An address is in use, not ours, or not to be had. The text names it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One held address. `inherited` is the descriptor workers accept from, -1 when each binds `address` itself."""

    socket: socket.socket
    address: Address
    inherited: int
    inode: int


class Listeners:
    """All addresses of `listen`, in its order."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    @classmethod
    def open(cls, addresses: Sequence[Address]) -> Self:
        """Hold every address. Raises CannotListen, holding none, when one of them cannot be had."""
        held: list[Listener] = []
        try:
            for address in addresses:
                held.append(_hold_unix(address) if address.is_unix else _hold_tcp(address))
        except OSError as error:
            cls(held).close()
            raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error
        return cls(held)

    @property
    def addresses(self) -> tuple[str, ...]:
        """As configured, with port 0 resolved."""
        return tuple(str(listener.address) for listener in self._listeners)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(listener.inherited for listener in self._listeners)

    def close(self) -> None:
        """Let go of every address; a unix path is removed only if it is still ours."""
        for listener in self._listeners:
            listener.socket.close()
            path = listener.address.path
            if path is not None:
                with suppress(OSError):
                    if os.stat(path).st_ino == listener.inode:
                        os.unlink(path)


def _hold_tcp(address: Address) -> Listener:
    family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    if address.port:
        _refuse_if_taken(family, where)
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(where)
    except OSError:
        holder.close()
        raise
    return Listener(holder, Address(host=address.host, port=holder.getsockname()[1]), -1, 0)


def _refuse_if_taken(family: int, where: tuple[object, ...]) -> None:
    """Bind once without SO_REUSEPORT: with it, a second gateway of the same user would silently get half the connections."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
        probe.listen(1)


def _hold_unix(address: Address) -> Listener:
    path = str(address.path)
    _remove_if_dead(path)
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(path)
        holder.listen(BACKLOG)
    except OSError:
        holder.close()
        raise
    return Listener(holder, address, holder.fileno(), os.stat(path).st_ino)


def _remove_if_dead(path: str) -> None:
    """Remove a socket nobody answers on. Anything else that is in the way stays, and bind will say so."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a gateway whose queue is full is not dead
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            except BlockingIOError:
                return
