"""Bytes to a request head: httptools reads the grammar, this file judges what the grammar leaves open.

httptools (llhttp) is strict about names, values and line ends and costs 1.5 µs for a head of eleven fields. It is lenient
where it matters to a proxy, so the following is judged here (each was tried against llhttp 9.3): more than one space in the
request line, HTTP/0.9, Transfer-Encoding on HTTP/1.0 and with any coding but `chunked`, doubled Host or Authorization,
absolute and asterisk targets, an upgrade that announces a body, trailing blanks in values.

One `HeadReader` serves a connection; it is fed exactly one head at a time, so a pipelined request is never parsed before the
one in front of it has been answered.
"""

import re
from typing import Final

import httptools

from gateway.errors import BadRequest, TooLarge
from gateway.wire.fields import NOT_REMOVABLE, Role, RoleMemory
from gateway.wire.path import split_target

_METHOD: Final = re.compile(rb"[A-Z][A-Z_-]{0,31}\Z")
_REFUSED_METHODS: Final = frozenset((b"TRACE", b"TRACK", b"CONNECT"))
_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_LENGTH: Final = re.compile(rb"(?:0|[1-9][0-9]{0,17})\Z")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?\Z")
_BARE: Final = re.compile(rb"\r(?=[^\n])|(?<!\r)\n|\x00")
_NO_UPGRADE: Final = (b"h2c", b"h2", b"http/", b"tls/")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~-]{1,64}\Z")
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


class RequestHead:
    """One request, judged for form. Names and values are the bytes of the wire.

    `lines` are the fields that travel on to the backend as they came, each `name: value`; everything else that a field
    may say to a proxy has an attribute of its own.
    """

    __slots__ = (
        "authorization",
        "chunked",
        "content_length",
        "expects_continue",
        "fields",
        "forwarded_for",
        "forwarded_host",
        "forwarded_proto",
        "host",
        "is_persistent",
        "lines",
        "method",
        "minor",
        "path",
        "query",
        "request_id",
        "traceparent",
        "upgrade",
        "via",
        "websocket_key",
    )

    def __init__(self, method: bytes, path: bytes, query: bytes, minor: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.path = path  # canonical, see `path.py`
        self.query = query  # with its `?`, or empty
        self.minor = minor  # 1 of HTTP/1.1, 0 of HTTP/1.0
        self.fields = fields
        self.lines: list[bytes] = []
        self.host = b""
        self.authorization: bytes | None = None
        self.content_length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.is_persistent = minor == 1
        self.upgrade: bytes | None = None
        self.websocket_key: bytes | None = None
        self.forwarded_for: bytes | None = None
        self.forwarded_proto: bytes | None = None
        self.forwarded_host: bytes | None = None
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None
        self.via: bytes | None = None

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field by its lower-case name. Walks all fields: not for the path of every request."""
        return next((value for candidate, value in self.fields if candidate.lower() == name), None)


class HeadReader:
    """Reads the request heads of one connection, one at a time."""

    __slots__ = ("_fields", "_limit_fields", "_limit_uri", "_parser", "_roles")

    def __init__(self, roles: RoleMemory, limit_fields: int, limit_uri_bytes: int) -> None:
        self._roles = roles
        self._limit_fields = limit_fields
        self._limit_uri = limit_uri_bytes
        self._fields: list[tuple[bytes, bytes]] = []
        self._parser: httptools.HttpRequestParser | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self._fields.append((name, value))

    def read(self, raw: bytes) -> RequestHead:
        """One head, from the first byte of the request line to the empty line. Raises BadRequest or TooLarge."""
        method, target, minor = self._request_line(raw)
        path, query = split_target(target)
        fields: list[tuple[bytes, bytes]] = []
        self._fields = fields
        self._parse(raw)
        if len(fields) > self._limit_fields:
            raise TooLarge("the request has too many header fields", 431)
        head = RequestHead(method, path, query, minor, fields)
        self._judge(head)
        return head

    def _request_line(self, raw: bytes) -> tuple[bytes, bytes, int]:
        line = raw[: raw.find(b"\r\n")]
        parts = line.split(b" ")
        if len(parts) != 3:
            raise BadRequest("the request line is malformed")
        method, target, version = parts
        minor = _VERSIONS.get(version)
        if minor is None:
            raise BadRequest("the HTTP version is not supported")
        if not _METHOD.match(method):
            raise BadRequest("the method is malformed")
        if method in _REFUSED_METHODS:
            raise BadRequest("this method is not allowed here", 405)
        if len(target) > self._limit_uri:
            raise TooLarge("the request target is too long", 414)
        return method, target, minor

    def _parse(self, raw: bytes) -> None:
        parser = self._parser or httptools.HttpRequestParser(self)
        self._parser = None
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError as error:
            raise BadRequest("the request head is malformed") from error
        self._parser = parser

    def _judge(self, head: RequestHead) -> None:
        roles = self._roles
        lines = head.lines
        special: list[tuple[Role, bytes]] = []
        for name, value in head.fields:
            role = roles[name]
            if not role:
                lines.append(name + b": " + value)
            elif role >= Role.HOST:
                if role is Role.COOKIE or role is Role.WEBSOCKET_KEY:
                    lines.append(name + b": " + value)
                special.append((role, value))
        seen_host = False
        connection: list[bytes] = []
        for role, raw_value in special:
            value = raw_value.rstrip(b" \t")
            if role is Role.HOST:
                if seen_host:
                    raise BadRequest("the request has two Host fields")
                seen_host = True
                head.host = _host(value)
            elif role is Role.AUTHORIZATION:
                if head.authorization is not None:
                    raise BadRequest("the request has two Authorization fields")
                head.authorization = value
            elif role is Role.CONTENT_LENGTH:
                head.content_length = _length(value, head.content_length)
                self._parser = None
            elif role is Role.TRANSFER_ENCODING:
                _refuse_other_codings(value, head)
                head.chunked = True
                self._parser = None
            elif role is Role.CONNECTION:
                connection.append(value)
            elif role is Role.EXPECT:
                if value.lower() != b"100-continue" or head.expects_continue:
                    raise BadRequest("the expectation cannot be met")
                head.expects_continue = head.minor == 1
            else:
                _note(head, role, value)
        if head.chunked and head.content_length is not None:
            raise BadRequest("the request has both Content-Length and Transfer-Encoding")
        if not seen_host and head.minor:
            raise BadRequest("the request has no Host field")
        if connection:
            self._parser = None
            _connection_options(head, b",".join(connection))
        elif head.upgrade is not None:
            head.upgrade = None
        if head.minor == 0:
            self._parser = None


def refuse_hopeless(buffer: bytes) -> None:
    """Refuse a head that is not complete but can never become valid, so that its sender need not wait for a deadline."""
    if not 0x41 <= buffer[0] <= 0x5A:
        raise BadRequest("this is not HTTP")
    if _BARE.search(buffer):
        raise BadRequest("a line of the head does not end in CRLF")


def _host(value: bytes) -> bytes:
    match = _HOST.match(value)
    if match is None or (match.group(1) and int(match.group(1)) > 65535) or b".." in value:
        raise BadRequest("the Host field is malformed")
    return value


def _length(value: bytes, earlier: int | None) -> int:
    if earlier is not None or not _LENGTH.match(value):
        raise BadRequest("Content-Length is malformed or doubled")
    return int(value)


def _refuse_other_codings(value: bytes, head: RequestHead) -> None:
    if value.lower() != b"chunked" or head.chunked:
        raise BadRequest("the transfer coding is not supported")
    if head.minor == 0:
        raise BadRequest("HTTP/1.0 has no transfer codings")


def _note(head: RequestHead, role: Role, value: bytes) -> None:
    """Fields that only inform. Doubled claims about the way here are joined, as RFC 9110 §5.3 has it."""
    if role is Role.UPGRADE:
        head.upgrade = value if head.upgrade is None else b""
    elif role is Role.FORWARDED_FOR:
        head.forwarded_for = value if head.forwarded_for is None else head.forwarded_for + b", " + value
    elif role is Role.FORWARDED_PROTO:
        head.forwarded_proto = value
    elif role is Role.FORWARDED_HOST:
        head.forwarded_host = value
    elif role is Role.REQUEST_ID:
        head.request_id = value if _REQUEST_ID.match(value) else None
    elif role is Role.TRACEPARENT:
        head.traceparent = value if _TRACEPARENT.match(value) else None
    elif role is Role.VIA:
        head.via = value if head.via is None else head.via + b", " + value
    elif role is Role.WEBSOCKET_KEY:
        head.websocket_key = value if head.websocket_key is None else b""


def _connection_options(head: RequestHead, value: bytes) -> None:
    """`Connection`: persistence, a wanted upgrade, and names of fields that are for us only (RFC 9110 §7.6.1)."""
    options = {option.strip(b" \t").lower() for option in value.split(b",")}
    if b"close" in options:
        head.is_persistent = False
    elif b"keep-alive" in options:
        head.is_persistent = True
    _judge_upgrade(head, wanted=b"upgrade" in options)
    named = options - {b"", b"close", b"keep-alive", b"upgrade"}
    if named & {b"host", b"content-length", b"transfer-encoding"}:
        raise BadRequest("Connection names a field that frames the request")
    named -= NOT_REMOVABLE
    if named:
        head.lines[:] = [line for line in head.lines if line.partition(b":")[0].lower() not in named]


def _judge_upgrade(head: RequestHead, *, wanted: bool) -> None:
    """An upgrade is one token, asked for by `Connection`, by GET on HTTP/1.1, without a body; h2c is not ours to give."""
    upgrade = head.upgrade
    if upgrade is None:
        return
    if not wanted or head.minor == 0 or upgrade.lower().startswith(_NO_UPGRADE):
        head.upgrade = None
        return
    if head.has_body:
        raise BadRequest("an upgrade must not have a body")
    if upgrade.lower() == b"websocket" and (head.method != b"GET" or not head.websocket_key):
        raise BadRequest("the WebSocket handshake is malformed")
    if not upgrade or b"," in upgrade or head.method != b"GET":
        head.upgrade = None
