"""The WebSocket backend: accepts every handshake and sends every small message back; to other requests it begins an event
stream that never goes on. `python echo.py PORT`.

Frames of up to 125 bytes, masked with zeros by our own client, so that the payload goes back as it came.
"""

import asyncio
import base64
import hashlib
import sys
from typing import Final

import uvloop

_ACCEPT_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASK_BYTES: Final = 4
_STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"


class Echo(asyncio.Protocol):
    """One connection: a handshake, then frames."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._buffer = b""
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            self._shake_hands()
        if self._is_open and (answer := self._unmasked()):
            self._transport.write(answer)

    def _shake_hands(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))}
        if b"sec-websocket-key" not in fields:
            self._transport.write(_STREAM)
            self._buffer = rest
            return
        accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + _ACCEPT_SUFFIX).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
            % accept
        )
        self._buffer, self._is_open = rest, True

    def _unmasked(self) -> bytes:
        """All complete frames, without their masks; a close frame goes back like any other."""
        answers = []
        while len(self._buffer) >= 2:
            length = self._buffer[1] & 0x7F
            end = 2 + _MASK_BYTES + length
            if len(self._buffer) < end:
                break
            answers.append(bytes((self._buffer[0], length)) + self._buffer[2 + _MASK_BYTES : end])
            self._buffer = self._buffer[end:]
        return b"".join(answers)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
