"""An upstream's response head: read strictly, re-serialised from its parts, never copied through.

The backend may be broken or hostile towards the next user of the same connection, so an answer that could be read in two
ways is refused (502) and the connection is not used again. The reason phrase is ours, because the backend's may hold anything.
"""

import re
from http import HTTPStatus
from typing import Final

import httptools

from gateway.errors import UpstreamBroken
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import Role, classify_answer
from gateway.wire.framing import ChunkedDecoder, CloseDecoder, Decoder, LengthDecoder

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |\r\n)")
_LENGTH: Final = re.compile(rb"(?:0|[1-9][0-9]{0,17})\Z")

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
FIELDS_LIMIT: Final = 200

# Options of `Connection` that name no field (RFC 9110 §7.6.1).
_OPTIONS: Final = frozenset((b"", b"close", b"keep-alive", b"upgrade"))
# Fields for the client that no backend can mean to keep from it.
_NOT_REMOVABLE: Final = frozenset(
    (b"set-cookie", b"cache-control", b"content-type", b"content-encoding", b"content-security-policy", b"location", b"vary")
)


class AnswerHead:
    """One response head, judged for form. `lines` are the fields that travel on to the client, each `name: value`."""

    __slots__ = ("chunked", "content_length", "fields", "is_persistent", "lines", "minor", "sent", "status", "upgrade")

    def __init__(self, status: int, minor: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.minor = minor
        self.fields = fields
        self.lines: list[bytes] = []
        self.content_length: int | None = None
        self.chunked = False
        self.is_persistent = minor == 1
        self.upgrade: bytes | None = None
        self.sent: dict[tuple[bool, bool, bool, int, bool], bytes] = {}  # what `rewrite.to_client` made of it

    @property
    def status_line(self) -> bytes:
        return STATUS_LINES.get(self.status) or b"HTTP/1.1 %d \r\n" % self.status

    def has_body(self, method: bytes) -> bool:
        """Whether a body follows, whatever the fields say (RFC 9112 §6.3)."""
        return not (method == b"HEAD" or self.status in (204, 304) or self.status < 200)

    def decoder(self) -> Decoder:
        """The decoder of the body that follows."""
        if self.chunked:
            return ChunkedDecoder()
        return CloseDecoder() if self.content_length is None else LengthDecoder(self.content_length)

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field by its lower-case name."""
        return next((value for candidate, value in self.fields if candidate.lower() == name), None)


class AnswerMemory:
    """What the answer heads of one worker have in common: the roles of names, and the heads themselves.

    A backend repeats its heads byte for byte (`Date` changes once a second). The same bytes mean the same, so a head seen before
    is neither parsed nor judged nor written anew: 0.3 µs instead of 6. Bounded: a backend whose heads never repeat empties it.
    """

    __slots__ = ("cookies", "heads", "roles")

    heads_limit = 512
    longest_head = 2048

    def __init__(self, cookies: CookieNames | None) -> None:
        self.cookies = cookies  # which an application may not set; None: it is our own, and may say what the gateway says
        self.roles = AnswerRoles()
        self.heads: dict[bytes, AnswerHead] = {}

    def remember(self, raw: bytes, head: AnswerHead) -> None:
        if len(raw) <= self.longest_head:
            if len(self.heads) >= self.heads_limit:
                self.heads.clear()
            self.heads[raw] = head


class AnswerRoles(dict[bytes, Role]):
    """Roles of response fields by exact spelling. Bounded: a backend that invents names empties it, no more."""

    limit = 2048

    def __missing__(self, name: bytes) -> Role:
        role = classify_answer(name)
        if len(self) >= self.limit:
            self.clear()
        if len(name) <= 64:
            self[name] = role
        return role


class AnswerReader:
    """Reads the response heads of one upstream connection, one at a time."""

    __slots__ = ("_fields", "_memory")

    def __init__(self, memory: AnswerMemory) -> None:
        self._memory = memory
        self._fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self._fields.append((name, value))

    def read(self, raw: bytes) -> AnswerHead:
        """One head, from the status line to the empty line. Raises UpstreamBroken."""
        head = self._memory.heads.get(raw)
        if head is None:
            head = self._read(raw)
            self._memory.remember(raw, head)
        return head

    def _read(self, raw: bytes) -> AnswerHead:
        match = _STATUS_LINE.match(raw)
        if match is None:
            raise UpstreamBroken("the upstream's status line is malformed")
        fields: list[tuple[bytes, bytes]] = []
        self._fields = fields
        try:
            httptools.HttpResponseParser(self).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # a 101; whether it was asked for is the connection's business
        except httptools.HttpParserError as error:
            raise UpstreamBroken("the upstream's answer is malformed") from error
        if len(fields) > FIELDS_LIMIT:
            raise UpstreamBroken("the upstream's answer has too many fields")
        head = AnswerHead(int(match.group(2)), 1 if match.group(1) == b"1" else 0, fields)
        self._judge(head)
        return head

    def _judge(self, head: AnswerHead) -> None:
        roles, cookies, lines = self._memory.roles, self._memory.cookies, head.lines
        connection: list[bytes] = []
        for name, value in head.fields:
            role = roles[name]
            if not role:
                lines.append(name + b": " + value)
            elif role is Role.CONTENT_LENGTH:
                if head.content_length is not None or not _LENGTH.match(value.strip(b" \t")):
                    raise UpstreamBroken("the upstream's Content-Length is malformed or doubled")
                head.content_length = int(value)
            elif role is Role.TRANSFER_ENCODING:
                if value.strip(b" \t").lower() != b"chunked" or head.chunked or not head.minor:
                    raise UpstreamBroken("the upstream's transfer coding is not supported")
                head.chunked = True
            elif role is Role.CONNECTION:
                connection.append(value)
            elif role is Role.UPGRADE:
                head.upgrade = value.strip(b" \t")
            elif role is Role.COOKIE:
                if cookies is None or not cookies.is_ours(value.partition(b"=")[0]):
                    lines.append(name + b": " + value)
            elif role is Role.IDENTITY and cookies is None:
                lines.append(name + b": " + value)
        if head.chunked and head.content_length is not None:
            raise UpstreamBroken("the upstream's answer has both Content-Length and Transfer-Encoding")
        if connection:
            _connection(head, b",".join(connection))


def _connection(head: AnswerHead, value: bytes) -> None:
    options = {option.strip(b" \t").lower() for option in value.split(b",")}
    if b"close" in options:
        head.is_persistent = False
    elif b"keep-alive" in options:
        head.is_persistent = True
    named = options - _OPTIONS - _NOT_REMOVABLE
    if named:  # fields for this connection only (RFC 9110 §7.6.1); what the gateway adds comes later and stays
        head.lines[:] = [line for line in head.lines if line.partition(b":")[0].lower() not in named]
