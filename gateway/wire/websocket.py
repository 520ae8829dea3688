"""WebSocket, as far as a tunnel needs it: the handshake's answer, and where a frame ends (RFC 6455 §4, §5.2).

The tunnel relays bytes and does not look into messages. To end a session properly it must say close code 1008, and that
can only be put between two frames of the backend's, so the frames of that direction are counted:

     byte 0       byte 1          0, 2 or 8 bytes     0 or 4     payload
    FIN opcode   MASK length7     extended length     masking    …
"""

import base64
import hashlib
from typing import Final

from gateway.errors import UpstreamBroken
from gateway.wire.answer import AnswerHead
from gateway.wire.head import RequestHead

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

POLICY_VIOLATION: Final = 1008
GOING_AWAY: Final = 1001


def accept(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that proves that the backend understood the handshake.

    >>> accept(b"dGhlIHNhbXBsZSBub25jZQ==")
    b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def refuse_wrong_handshake(head: RequestHead, answer: AnswerHead) -> None:
    """The backend must have switched to what was asked, and have understood it (RFC 6455 §4.1). Raises UpstreamBroken."""
    if head.upgrade is None or answer.upgrade is None or answer.upgrade.lower() != head.upgrade.lower():
        raise UpstreamBroken("the upstream switched to another protocol")
    if head.upgrade.lower() != b"websocket":
        return
    accepted = answer.field(b"sec-websocket-accept") or b""
    if accepted.strip(b" \t") != accept(head.websocket_key or b""):
        raise UpstreamBroken("the upstream's Sec-WebSocket-Accept is wrong")
    for name in (b"sec-websocket-protocol", b"sec-websocket-extensions"):
        if not _listed(answer.fields, name) <= _listed(head.fields, name):
            raise UpstreamBroken("the upstream chose what the client did not offer")


def _listed(fields: list[tuple[bytes, bytes]], name: bytes) -> set[bytes]:
    """The members of a list field, in one field or several, without their parameters."""
    values = b",".join(value for candidate, value in fields if candidate.lower() == name)
    return {member.partition(b";")[0].strip(b" \t") for member in values.split(b",")} - {b""}


def close_frame(code: int, reason: bytes) -> bytes:
    """An unmasked close frame, as a server sends it. `reason` is at most 123 bytes of UTF-8."""
    payload = code.to_bytes(2, "big") + reason
    return bytes((0x88, len(payload))) + payload


class FrameCounter:
    """Tells whether the bytes so far end where a frame ends."""

    __slots__ = ("_header", "_skip")

    def __init__(self) -> None:
        self._skip = 0  # bytes of payload still to come
        self._header = b""  # of a frame whose length is not known yet, at most 14 bytes

    @property
    def is_between_frames(self) -> bool:
        return not self._skip and not self._header

    def feed(self, data: bytes) -> None:
        """Count `data`. Never fails: what is not a frame merely never ends."""
        if self._header:
            data = self._header + data
            self._header = b""
        position, size = self._skip, len(data)
        while position < size:
            if position + 2 > size:
                break
            length = data[position + 1]
            header = 6 if length & 0x80 else 2
            length &= 0x7F
            if length == 126:
                header += 2
                if position + 4 > size:
                    break
                length = int.from_bytes(data[position + 2 : position + 4], "big")
            elif length == 127:
                header += 8
                if position + 10 > size:
                    break
                length = int.from_bytes(data[position + 2 : position + 10], "big")
            position += header + length
        if position < size:
            self._header, self._skip = data[position:], 0
        else:
            self._skip = position - size
