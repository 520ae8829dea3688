"""A kept connection: all that is sent on it meets the same worker, with what that worker remembers.

with Kept(shop) as line:
    line.ask(alice.raw("GET", "/who"))
    line.ask(alice.raw("GET", "/who", without=("access",)))
"""

import re
import socket
from types import TracebackType
from typing import Self

from attacks.wire_gateway import PATIENCE_S, Answer, Wire
from browser import Reply


class Kept:
    """One connection to a gateway, and so one of its workers."""

    def __init__(self, wire: Wire) -> None:
        self._socket = socket.create_connection(("127.0.0.1", wire.gateway.port), PATIENCE_S)
        self._socket.settimeout(PATIENCE_S)
        self._data = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, raw: bytes) -> Reply:
        """One request, and its answer."""
        self.send(raw)
        return self.answer(is_head=raw.startswith(b"HEAD "))

    def send(self, *raws: bytes) -> None:
        """Requests, behind each other; none of them closes the connection."""
        self._socket.sendall(b"".join(raw.replace(b"Connection: close\r\n", b"") for raw in raws))

    def answer(self, *, is_head: bool = False) -> Reply:
        """The next answer; the status 0 is the end of the connection."""
        while b"\r\n\r\n" not in self._data:
            if not self._receive():
                return Reply(Answer(0, b"", self._data))
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head, re.I)
        wanted = 0 if is_head or length is None else int(length[1])
        while len(self._data) < wanted and self._receive():
            pass
        body, self._data = self._data[:wanted], self._data[wanted:]
        return Reply(Answer(int(head[9:12]), head, body))

    def _receive(self) -> bool:
        try:
            more = self._socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self._data += more
        return bool(more)
