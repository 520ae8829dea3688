"""A backend that keeps every byte it gets, so that "nothing arrived" is a statement about bytes.

It answers each complete request with 200 and the request's own target, and reads nothing into a message but a length or chunks,
as a simple application server does.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One complete request."""

    head: bytes
    body: bytes

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field, by lower-case name."""
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [value.strip() for field, _, value in lines if field.lower() == name]


class ByteBackend:
    """A server on 127.0.0.1. `taken()` empties what was recorded."""

    def __init__(self) -> None:
        self.port = 0
        self.received = b""
        self.requests: list[Arrived] = []
        self.transports: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "ByteBackend":
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        for transport in tuple(self.transports):
            transport.abort()

    def taken(self) -> tuple[bytes, list[Arrived]]:
        """Every byte and every complete request since the last call."""
        received, requests = self.received, self.requests
        self.received, self.requests = b"", []
        return received, requests


class _Connection(asyncio.Protocol):
    def __init__(self, backend: ByteBackend) -> None:
        self._backend = backend
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._backend.transports.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._backend.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._backend.received += data
        self._buffer += data
        while (request := self._next()) is not None:
            self._backend.requests.append(request)
            body = b"" if request.head.startswith(b"HEAD ") else request.target
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), body))

    def _next(self) -> Arrived | None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        head += b"\r\n"
        if _CHUNKED.search(head):
            body = self._chunks(rest)
            if body is None:
                return None
            return Arrived(head, body)
        match = _LENGTH.search(head)
        length = int(match[1]) if match else 0
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return Arrived(head, rest[:length])

    def _chunks(self, rest: bytes) -> bytes | None:
        body = b""
        while True:
            line, end, rest = rest.partition(b"\r\n")
            if not end or len(rest) < (size := int(line, 16)) + 2:
                return None
            if not size:
                self._buffer = rest[2:]
                return body
            body, rest = body + rest[:size], rest[size + 2 :]
