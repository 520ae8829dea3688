"""The line between the supervisor and one worker: a socket pair, over which listening sockets are lent.

    worker      ── prepared ────────────────▶ supervisor     replica live, key sets read: it could serve now
    supervisor  ── accept NAME + a socket ──▶ worker         accept from it, beside whoever else does
    supervisor  ── release NAME ────────────▶ worker         not any more; what waits in its queue is for others
    supervisor  ── listen ──────────────────▶ worker         these were yours: you are listening
    supervisor  ── retire ──────────────────▶ worker         another one has your place: finish what you have, tunnels too
    supervisor  ── (the line ends) ─────────▶ worker         nobody knows of you: end

One message is one packet (SOCK_SEQPACKET), so neither side parses. Neither side waits: what a worker that hangs does not read
is sent again at the supervisor's next turn, and the line's end is a dead worker, told by the kernel at once.

Owns one end of the pair. Who gets which socket is decided in `generation.py`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

LONGEST: Final = 512
END: Final = "end"

logger: Final = logging.getLogger("gateway.worker")


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end, and the worker's, which is to be inherited."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Line:
    """The supervisor's end. `on_news` is called when the worker has said something, or is gone."""

    __slots__ = ("_end", "_on_news", "is_prepared")

    def __init__(self, end: socket.socket, on_news: Callable[[], None]) -> None:
        self._end = end
        self._on_news = on_news
        self.is_prepared = False
        asyncio.get_running_loop().add_reader(end.fileno(), self._read)

    def send(self, words: str, lent: socket.socket | None = None) -> bool:
        """Whether it is on its way: a worker that does not read, or has died, gets nothing."""
        try:
            socket.send_fds(self._end, [words.encode()], [] if lent is None else [lent.fileno()])
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._end.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._end.fileno())
            self._end.close()

    def _read(self) -> None:
        try:
            said = self._end.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self.is_prepared = True
        else:
            self.close()
        self._on_news()


class WorkerLine:
    """The worker's end. `orders` is what it was told, in order: words, and the socket that came with them."""

    def __init__(self, descriptor: int) -> None:
        self._end = socket.socket(fileno=descriptor)
        self.orders: asyncio.Queue[tuple[str, socket.socket | None]] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def say_prepared(self) -> None:
        """Everything is here to serve with."""
        with suppress(OSError):  # the supervisor is gone, and so will be this process
            self._end.send(b"prepared")

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._end.fileno())
        self._end.close()

    def _read(self) -> None:
        try:
            said, descriptors, _, _ = socket.recv_fds(self._end, LONGEST, 1)
        except BlockingIOError:
            return
        except OSError as error:
            logger.error("what the supervisor says cannot be read: %s", error)
            said, descriptors = b"", []
        if not said:
            asyncio.get_running_loop().remove_reader(self._end.fileno())
            self.orders.put_nowait((END, None))
            return
        lent = socket.socket(fileno=descriptors[0]) if descriptors else None
        self.orders.put_nowait((said.decode(), lent))
