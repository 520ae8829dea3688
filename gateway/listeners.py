"""The sockets that clients connect to, held by the supervisor for as long as the gateway lives.

    listen: 127.0.0.1:8080          listen: unix:/run/g          from systemd
      socket 0 ──▶ worker 0           socket ──▶ worker 0          socket ──▶ worker 0
      socket 1 ──▶ worker 1                 └──▶ worker 1                └──▶ worker 1

TCP: one socket per worker, all on the same address (SO_REUSEPORT), so the kernel spreads new connections over them. They are
bound here and lent to the workers, who begin to listen: until one does, the address refuses connections, and from then on a
worker's end takes no queue with it: who waits in it is served by whoever is lent the socket next. A socket that was listened
on is never closed before its address is given up, for that would reset its queue. With fewer workers than before some accept
from two.

NB: none of them may ever block. Two workers that accept from one socket are both woken by one connection, and the one that comes
too late would wait in the kernel for the next, with its event loop.

Unix, and what systemd holds: the kernel spreads nothing there, so there is one socket that all workers accept from. A path left
behind by a dead gateway is removed; one that somebody answers on is not. A socket of systemd's is nobody's to remove.
"""

import os
import resource
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Final, Self

from gateway.config.address import Address
from gateway.errors import GatewayError

BACKLOG: Final = 4096
EXIT_CANNOT_LISTEN: Final = 71  # of a worker; EX_OSERR of sysexits.h
MOST_DESCRIPTORS: Final = 1 << 20  # of one process; the highest number of connections that can be configured

Inherited = Sequence[tuple[str, socket.socket]]


class CannotListen(GatewayError):
    """An address is in use, not ours, or not to be had. The text names it."""


class Listener:
    """One held address. `configured` is how it is written, `address` has port 0 resolved."""

    __slots__ = ("_inode", "_is_ours", "address", "configured", "is_shared", "sockets")

    def __init__(self, configured: Address, held: socket.socket, *, is_ours: bool = True) -> None:
        self.configured = configured
        self.sockets = [held]
        self._is_ours = is_ours
        self.is_shared = configured.is_unix or not is_ours
        self._inode = os.stat(configured.path).st_ino if configured.path is not None else 0
        port = 0 if configured.is_unix else held.getsockname()[1]
        self.address = configured if configured.is_unix else Address(host=configured.host, port=port)

    def grow(self, workers: int) -> None:
        """Have a socket for each of so many workers. Raises OSError."""
        while not self.is_shared and len(self.sockets) < workers:
            self.sockets.append(_bind(self.address))

    def lent_to(self, worker: int, workers: int) -> list[tuple[str, socket.socket]]:
        """What this one of so many workers accepts from: names for messages, and sockets."""
        places = [0] if self.is_shared else range(worker, len(self.sockets), workers)
        return [(f"{place} {self.address}", self.sockets[place]) for place in places]

    def close(self) -> None:
        """Let go of it; a unix path is removed only if it is still ours."""
        for held in self.sockets:
            held.close()
        path = self.configured.path
        if path is not None and self._is_ours:
            with suppress(OSError):
                if os.stat(path).st_ino == self._inode:
                    os.unlink(path)


class Listeners:
    """All addresses of `listen`, in its order."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    @classmethod
    def open(cls, addresses: Sequence[Address], workers: int = 1, inherited: Inherited = ()) -> Self:
        """Hold every address. Raises CannotListen, holding none, when one of them cannot be had.

        `inherited` are listening sockets that this process was started with; each must be one of the addresses.
        """
        given = _matched(addresses, inherited)
        return cls(()).followed_by(addresses, workers, given)

    def followed_by(self, addresses: Sequence[Address], workers: int, given: Iterable[Listener] = ()) -> Self:
        """Hold these addresses for so many workers: those held here already, and new ones.

        Closes nothing of what is held here. Raises CannotListen, or what else went wrong, having opened nothing.
        """
        held = {listener.configured: listener for listener in (*self._listeners, *given)}
        found: list[Listener] = []
        with ExitStack() as opened:
            for address in addresses:
                try:
                    if address not in held:
                        is_ours = address.port in {other.address.port for other in held.values()}
                        held[address] = _open(address, is_ours=is_ours)
                        opened.callback(held[address].close)
                    held[address].grow(workers)
                    found.append(held[address])
                except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver can be asked for
                    raise CannotListen(f"cannot listen on {address}: {getattr(error, 'strerror', '') or error}") from error
            opened.pop_all()
        return type(self)(found)

    def lent_to(self, worker: int, workers: int) -> dict[str, socket.socket]:
        """What this one of so many workers accepts from."""
        return dict(lent for listener in self._listeners for lent in listener.lent_to(worker, workers))

    @property
    def addresses(self) -> tuple[str, ...]:
        """As configured, with port 0 resolved."""
        return tuple(str(listener.address) for listener in self._listeners)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The first socket of each."""
        return tuple(listener.sockets[0].fileno() for listener in self._listeners)

    def close(self, *, but: "Listeners | None" = None) -> None:
        """Let go of every address that those others do not hold too."""
        kept = but._listeners if but is not None else ()
        for listener in self._listeners:
            if listener not in kept:
                listener.close()


def allow_descriptors() -> None:
    """As many as this process may have at all. The supervisor asks, and each worker.

    Many a system begins with 1024 and allows a thousand times that: an application that hangs would use them up by itself, since
    so many clients may wait for it, and then nobody else is accepted either.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MOST_DESCRIPTORS)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _matched(addresses: Sequence[Address], inherited: Inherited) -> list[Listener]:
    """Each inherited socket as the address of `listen` that it is bound to. Raises CannotListen when it is none of them."""
    found = []
    for name, held in inherited:
        if held.type != socket.SOCK_STREAM or not held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise CannotListen(f"the inherited socket '{name}' is not one that listens for streams (ListenStream=, Accept=no)")
        configured = next((address for address in addresses if _is_bound_to(held, address)), None)
        if configured is None:
            listed = ", ".join(map(str, addresses))
            raise CannotListen(f"the inherited socket '{name}' is on {_where(held)}, and `listen` is {listed}: make them agree")
        held.setblocking(False)
        found.append(Listener(configured, held, is_ours=False))
    return found


def _is_bound_to(held: socket.socket, address: Address) -> bool:
    bound = held.getsockname()
    if held.family == socket.AF_UNIX:
        return address.path is not None and os.path.realpath(address.path) == os.path.realpath(bound)
    if address.is_unix:
        return False
    family, _, _, _, where = _resolve(address)
    return family == held.family and tuple(where[:2]) == tuple(bound[:2])


def _where(held: socket.socket) -> str:
    bound = held.getsockname()
    return f"unix:{bound}" if held.family == socket.AF_UNIX else str(Address(host=bound[0], port=bound[1]))


def _open(address: Address, *, is_ours: bool) -> Listener:
    """`is_ours`: we hold this port under another host, so that it is taken proves nothing."""
    if address.is_unix:
        return Listener(address, _bind_unix(str(address.path)))
    if address.port and not is_ours:
        _refuse_if_taken(address)
    return Listener(address, _bind(address))


def _resolve(address: Address) -> tuple[int, int, int, str, tuple[object, ...]]:
    return socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def _bind(address: Address) -> socket.socket:
    family, _, _, _, where = _resolve(address)
    holder = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(where)
    except OSError:
        holder.close()
        raise
    return holder


def _refuse_if_taken(address: Address) -> None:
    """Bind once without SO_REUSEPORT: with it, a second gateway of the same user would silently get half the connections."""
    family, _, _, _, where = _resolve(address)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
        probe.listen(1)


def _bind_unix(path: str) -> socket.socket:
    _remove_if_dead(path)
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        holder.bind(path)
        holder.listen(BACKLOG)
    except OSError:
        holder.close()
        raise
    return holder


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
