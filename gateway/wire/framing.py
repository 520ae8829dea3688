"""Where a body ends, and nothing else (RFC 9112 §6 and §7).

A body is read by one of three decoders with the same two members: `feed(data) -> (pieces, rest)` and `is_done`. `pieces`
is what to pass on; `rest` is what follows the body, and is empty until it is done. Chunked bodies are decoded and framed
anew: chunk extensions and trailers end here, so nothing in them can reach a backend as something else.
"""

import re
from typing import Final, Protocol

from gateway.errors import BadRequest, TooLarge

# 15 hexadecimal digits are an exabyte; more are only ever an attempt at an overflow.
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\Z")
_TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\Z")

_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"

CHUNK_LINE_LIMIT: Final = 256
CHUNK_EXTENSIONS_LIMIT: Final = 16 * 1024  # of one body together
TRAILERS_LIMIT: Final = 8 * 1024
MOST_CHUNKS: Final = 1 << 30
MANY, SMALL = 8, 512


class Decoder(Protocol):
    """One body, as it arrives."""

    is_done: bool

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The pieces of the body in `data`, and what follows the body."""
        ...


class LengthDecoder:
    """A body whose length was announced, in bytes."""

    __slots__ = ("is_done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.is_done = length == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            return [data], b""
        body, rest = data[: self.remaining], data[self.remaining :]
        self.remaining = 0
        self.is_done = True
        return [body] if body else [], rest


class CloseDecoder:
    """A body that ends when the connection does: an HTTP/1.0 answer, or one without a length."""

    __slots__ = ("is_done",)

    def __init__(self) -> None:
        self.is_done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        return [data], b""


class ChunkedDecoder:
    """A chunked body. Raises BadRequest at the first byte that RFC 9112 §7.1 does not allow; bare LF is not allowed.

    size [; extension] CRLF  data CRLF  …  0 CRLF  [trailer CRLF …]  CRLF
    ^ SIZE                   ^ DATA ^ DATA_END     ^ TRAILER
    """

    __slots__ = ("_buffer", "_extensions", "_read", "_remaining", "_trailers", "has_more", "is_done", "most")

    def __init__(self) -> None:
        self.is_done = False
        self.has_more = False  # `most` pieces were taken; `feed(b"")` takes the next ones
        self.most = MOST_CHUNKS  # in one call
        self._buffer = b""  # an incomplete line, never more than CHUNK_LINE_LIMIT or TRAILERS_LIMIT; or what there is more of
        self._remaining = 0  # of the chunk at hand
        self._extensions = 0
        self._trailers = 0
        self._read = self._size

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        pieces: list[bytes] = []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        position = 0
        self.has_more = False
        while not self.is_done:
            if len(pieces) >= self.most:
                self.has_more = True
                self._buffer = data[position:]
                return pieces, b""
            ahead = self._read(data, position, pieces)
            if ahead < 0:
                self._buffer = data[position:]
                return pieces, b""
            position = ahead
        return pieces, data[position:]

    # Each reader takes what it can from `data` at `position` and answers the new position, or -1 when it needs more.

    def _size(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        ahead = _plain_chunks(data, position, pieces, self.most)
        if ahead != position:
            return ahead
        line, ahead = _line(data, position, CHUNK_LINE_LIMIT)
        if line is None:
            return -1
        match = _CHUNK_SIZE.match(line)
        if match is None:
            raise BadRequest("a chunk size is malformed")
        self._extensions += len(line) - match.end(1)
        if self._extensions > CHUNK_EXTENSIONS_LIMIT:
            raise TooLarge("chunk extensions are too large", 413)
        self._remaining = int(match.group(1), 16)
        self._read = self._data if self._remaining else self._trailer
        return ahead

    def _data(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        piece = data[position : position + self._remaining] if position or len(data) > self._remaining else data
        if not piece:
            return -1
        pieces.append(piece)
        self._remaining -= len(piece)
        if not self._remaining:
            self._read = self._data_end
        return position + len(piece)

    def _data_end(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = data[position : position + 2]
        if end == b"\r\n":
            self._read = self._size
            return position + 2
        if end in (b"", b"\r"):
            return -1
        raise BadRequest("a chunk is longer than its size")

    def _trailer(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        line, ahead = _line(data, position, TRAILERS_LIMIT)
        if line is None:
            return -1
        self._trailers += len(line) + 2
        if self._trailers > TRAILERS_LIMIT:
            raise TooLarge("the trailer section is too large", 431)
        if not line:
            self.is_done = True
        elif not _TRAILER_LINE.match(line):
            raise BadRequest("a trailer is malformed")
        return ahead


def _plain_chunks(data: bytes, position: int, pieces: list[bytes], most: int) -> int:
    """Take the chunks at `position` that are complete and have no extension; where the first other one begins.

    This is what a client of one-byte chunks spends our time on: 256 KB of them take 20 ms here, and 91 in the readers above.
    """
    while len(pieces) < most:
        end = data.find(b"\r\n", position, position + 17)
        digits = data[position:end]
        if end <= position or digits.translate(None, _HEX_DIGITS):  # NB: int() alone would take 0x5, +5 and 5_0
            return position
        size = int(digits, 16)
        begin, end = end + 2, end + 2 + size
        if not size or data[end : end + 2] != b"\r\n":
            return position
        pieces.append(data[begin:end])
        position = end + 2
    return position


def _line(data: bytes, position: int, limit: int) -> tuple[bytes | None, int]:
    """The line at `position` without its CRLF and where the next begins; (None, -1) when it is not complete."""
    end = data.find(b"\n", position, position + limit)
    if end < 0:
        waiting = len(data) - position
        if waiting >= limit:
            raise TooLarge("a line in the chunked body is too long", 413)
        if b"\r" in data[position : position + waiting - 1]:
            raise BadRequest("a line in the chunked body has a bare CR")
        return None, -1
    if end == position or data[end - 1] != 13:
        raise BadRequest("a line in the chunked body ends in a bare LF")
    return data[position : end - 1], end + 1


def chunk(pieces: list[bytes]) -> list[bytes]:
    """The pieces as one chunk: what a chunked body is passed on as. Many small ones become one: each costs a transport 1 µs."""
    size = sum(map(len, pieces))
    if len(pieces) > MANY and size < SMALL * len(pieces):
        pieces = [b"".join(pieces)]
    return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []


LAST_CHUNK: Final = b"0\r\n\r\n"
