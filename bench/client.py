"""One HTTP/1.1 connection over a blocking socket: for probes, and for what a load generator cannot do.

It trusts the other side: content-length answers only, because all backends here send them. Large bodies never become
Python objects: the kernel sends them from a file and throws away what arrives (MSG_TRUNC, tcp(7)).
"""

import json
import os
import socket
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from bench.process import BenchError

_PIECE_BYTES: Final = 1 << 20
_TIMEOUT_S: Final = 120.0


class Connection:
    """A keep-alive connection to a port of this machine."""

    __slots__ = ("_buffer", "_scratch", "_socket")

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket)
        self._buffer = b""
        self._scratch: bytearray | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def local_port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def socket(self) -> socket.socket:
        return self._socket

    def request(
        self,
        path: str = "/",
        token: str | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one exchange."""
        self.send_head(method, path, token, length=len(body) if body else None, headers=headers)
        if body:
            self._socket.sendall(body)
        return self.read()

    def request_json(self, method: str, path: str, token: str, body: object) -> tuple[int, Any]:
        """One call of a JSON API."""
        encoded = json.dumps(body).encode()
        status, answer = self.request(path, token, method=method, body=encoded, headers={"Content-Type": "application/json"})
        return status, json.loads(answer) if answer else None

    def send_head(
        self, method: str, path: str, token: str | None, *, length: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def read(self) -> tuple[int, bytes]:
        """Status and body of the answer to what was sent."""
        status, length = self.read_head()
        return status, self._read(length)

    def read_head(self) -> tuple[int, int]:
        """Status and content length; what follows the head stays in the buffer."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        return int(lines[0].split()[1]), int(fields.get(b"content-length", b"0"))

    def _read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _receive(self) -> None:
        piece = self._socket.recv(65536)
        if not piece:
            raise BenchError("the connection was closed before the answer was complete")
        self._buffer += piece

    def discard(self, length: int) -> int:
        """Throw away up to `length` bytes of a body in one call; how many there were. Zero: the other side is done."""
        if self._buffer:
            taken = min(length, len(self._buffer))
            self._buffer = self._buffer[taken:]
            return taken
        if self._scratch is None:
            self._scratch = bytearray(_PIECE_BYTES)
        return self._socket.recv_into(self._scratch, min(length, _PIECE_BYTES), socket.MSG_TRUNC)

    def discard_all(self, length: int) -> None:
        """Throw away exactly `length` bytes of a body."""
        while length:
            taken = self.discard(length)
            if not taken:
                raise BenchError(f"the body ended {length} bytes early")
            length -= taken

    def send_file(self, descriptor: int, file_bytes: int, length: int) -> None:
        """Send `length` bytes, the file over and over, without copying them through this process."""
        self._socket.setblocking(True)
        while length:
            offset, left = 0, min(file_bytes, length)
            while left:
                sent = os.sendfile(self._socket.fileno(), descriptor, offset, left)
                offset, left, length = offset + sent, left - sent, length - sent
        self._socket.settimeout(_TIMEOUT_S)
