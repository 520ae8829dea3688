"""Applications to put behind the gateway: raw sockets that record what arrived, byte for byte, and answer what a test says.

`RecordingBackend` is a real TCP server. It keeps every head and body that reaches it per connection, in order, so a test can
assert on what the *application* saw and not on what the gateway believes it sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from patience import PATIENCE_S


@dataclass
class Received:
    """One request, as it arrived."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    connection: int = 0
    raw_head: bytes = field(default=b"", repr=False)

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    def values(self, name: str) -> list[bytes]:
        """All values of a field, by name without case."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def folded(self, name: str) -> list[bytes]:
        """All values of the fields that CGI or WSGI would present under this name."""
        wanted = name.lower().replace("-", "_").encode()
        return [
            value
            for key, value in self.fields
            if b"".join(bytes([c]) if chr(c).isalnum() else b"_" for c in key.lower()) == wanted
        ]


Answer = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


def plain(status: str = "200 OK", body: bytes = b'{"ok":true}', *lines: str) -> Answer:
    """Always the same answer, keep-alive."""
    extra = "".join(f"{line}\r\n" for line in lines)
    raw = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        return True

    return answer


def raw(data: bytes, *, close: bool = True) -> Answer:
    """Exactly these bytes."""

    async def answer(request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return not close

    return answer


class RecordingBackend:
    """A server on 127.0.0.1 that records what it gets. `answer` may be replaced at any time."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or plain()
        self.requests: list[Received] = []
        self.connections = 0
        self.open_connections = 0
        self.broken: list[bytes] = []
        self.server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()

    @property
    def port(self) -> int:
        assert self.server is not None
        return int(self.server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> "RecordingBackend":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.server is not None
        self.server.close()
        self.close_connections()

    def close_connections(self) -> None:
        """Close every open connection at once, as a restarting application does."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Until `condition` holds; it is looked at whenever something arrives or ends."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(condition)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        self._writers.add(writer)
        await self._tell()
        try:
            while (request := await self._read(reader, number)) is not None:
                self.requests.append(request)
                await self._tell()
                if not await self.answer(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open_connections -= 1
            self._writers.discard(writer)
            writer.close()
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Received | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.broken.append(error.partial)
            return None
        line, *rest = head[:-4].split(b"\r\n")
        fields = [(name, value.strip()) for name, _, value in (part.partition(b":") for part in rest)]
        request = Received(line, fields, connection=number, raw_head=head)
        try:
            request.body = await self._body(request, reader)
        except asyncio.IncompleteReadError as error:
            self.broken.append(head + error.partial)
            return None
        return request

    async def _body(self, request: Received, reader: asyncio.StreamReader) -> bytes:
        length = request.values("content-length")
        if length:
            return await reader.readexactly(int(length[0]))
        if not request.values("transfer-encoding"):
            return b""
        body = b""
        while True:
            size = int((await reader.readuntil(b"\r\n")).strip(), 16)
            piece = await reader.readexactly(size + 2)
            if not size:
                return body
            body += piece[:-2]
