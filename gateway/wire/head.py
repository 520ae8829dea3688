"""Bytes to a request head: httptools reads the grammar, this file judges what the grammar leaves open.

httptools (llhttp) is strict about names, values and line ends and costs 1.5 µs for a head of eleven fields. It is lenient
where it matters to a proxy, so the following is judged here (each was tried against llhttp 9.3): more than one space in the
request line, HTTP/0.9, Transfer-Encoding on HTTP/1.0 and with any coding but `chunked`, doubled Host or Authorization,
absolute and asterisk targets, an upgrade that announces a body, trailing blanks in values.

One `HeadReader` serves a connection; it is fed exactly one head at a time, so a pipelined request is never parsed before the
one in front of it has been answered.
"""

import re
from typing import Any, Final

import httptools

from gateway.errors import BadRequest, TooLarge
from gateway.wire.cookies import ACCESS, REFRESH, CookieNames
from gateway.wire.fields import NOT_REMOVABLE, Role, RoleMemory
from gateway.wire.path import split_target
from gateway.wire.trace import read_traceparent, read_tracestate

# An attribute of an Enum costs 0.1 µs on Python 3.11, a global 0.02: these are asked for every field of every request.
_HOST_ROLE: Final = Role.HOST
_AUTHORIZATION_ROLE: Final = Role.AUTHORIZATION
_COOKIE_ROLE: Final = Role.COOKIE
_CONNECTION_ROLE: Final = Role.CONNECTION
_NOTED_AND_FORWARDED: Final = (Role.WEBSOCKET_KEY, Role.SERVICE_WORKER)

_COMMON_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_METHOD: Final = re.compile(rb"[A-Z][A-Z_-]{0,31}\Z")
_REFUSED_METHODS: Final = frozenset((b"TRACE", b"TRACK", b"CONNECT"))
_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_LENGTH: Final = re.compile(rb"(?:0|[1-9][0-9]{0,17})\Z")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?\Z")
LONGEST_KEPT_BLOCK: Final = 2048
_NO_UPGRADE: Final = (b"h2c", b"h2", b"http/", b"tls/")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~-]{1,64}\Z")


class RequestHead:
    """One request, judged for form. Names and values are the bytes of the wire.

    `lines` are the fields that travel on to the backend as they came, each `name: value`; everything else that a field
    may say to a proxy has an attribute of its own. Most are absent most of the time: their defaults live in the class.
    """

    host = b""
    authorization: bytes | None = None
    content_length: int | None = None
    chunked = False
    expects_continue = False
    upgrade: bytes | None = None
    websocket_key: bytes | None = None
    forwarded_for: bytes | None = None
    forwarded_proto: bytes | None = None
    forwarded_host: bytes | None = None
    request_id: bytes | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    via: bytes | None = None
    access_cookie: bytes | None = None  # ours, taken out of what travels on
    refresh_cookie: bytes | None = None
    csrf_cookie: bytes | None = None
    has_doubled_cookie = False  # one of ours came twice
    is_service_worker = False  # the browser asks for a script that will see every later request of its scope
    route: Any = None  # what `exchange` found for this method and path
    sent: tuple[object, bytes] | None = None  # for whom, and what `exchange.head_lines` made of it
    signs: Any = None  # what the fingerprint reads of it, see `enforce/signs.py`

    def __init__(self, method: bytes, path: bytes, query: bytes, minor: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.path = path  # canonical, see `path.py`
        self.query = query  # with its `?`, or empty
        self.minor = minor  # 1 of HTTP/1.1, 0 of HTTP/1.0
        self.is_persistent = minor == 1
        self.fields = fields
        self.lines: list[bytes] = []

    def at(self, path: bytes, query: bytes) -> "RequestHead":
        """The same head for another address. It shares the fields, which nobody changes once they are judged."""
        other = object.__new__(RequestHead)
        other.__dict__.update(self.__dict__)
        other.sent = None
        other.route = None
        other.path = path
        other.query = query
        return other

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field by its lower-case name. Walks all fields: not for the path of every request."""
        return next((value for candidate, value in self.fields if candidate.lower() == name), None)


class HeadReader:
    """Reads the request heads of one connection, one at a time.

    A client that keeps its connection mostly repeats its header block byte for byte and changes the address only. The same
    bytes mean the same, so the block of the last request is compared (20 ns) before it is parsed and judged (5 µs). A long one
    is not kept: it would stay, three times over, for as long as the connection idles.
    """

    __slots__ = ("_cookies", "_fields", "_last", "_last_block", "_last_raw", "_limit_fields", "_limit_uri", "_parser", "_roles")

    def __init__(self, roles: RoleMemory, limit_fields: int, limit_uri_bytes: int, cookies: CookieNames) -> None:
        self._roles = roles
        self._cookies = cookies
        self._limit_fields = limit_fields
        self._limit_uri = limit_uri_bytes
        self._fields: list[tuple[bytes, bytes]] = []
        self._parser: httptools.HttpRequestParser | None = None
        self._last: RequestHead | None = None
        self._last_block = b""
        self._last_raw = b""

    def rest(self) -> None:
        """The connection idles: what only makes the next request faster is given back (5 KiB of 8)."""
        self._parser = None
        self._last = None
        self._last_block = b""
        self._last_raw = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self._fields.append((name, value))

    def repeated(self, buffer: bytes) -> RequestHead | None:
        """The head of the last request when `buffer` is that very request again, and nothing else."""
        return self._last if buffer == self._last_raw else None

    def read(self, raw: bytes) -> RequestHead:
        """One head, from the first byte of the request line to the empty line. Raises BadRequest or TooLarge."""
        end = raw.find(b"\r\n")
        method, target, minor = self._request_line(raw[:end])
        path, query = split_target(target)
        block = raw[end:]
        last = self._last
        if block == self._last_block and last is not None and last.method == method and last.minor == minor:
            self._last_raw = raw
            self._last = last.at(path, query)
            return self._last
        fields: list[tuple[bytes, bytes]] = []
        self._fields = fields
        self._parse(raw)
        self._fields = []
        if len(fields) > self._limit_fields:
            raise TooLarge("the request has too many header fields", 431)
        head = RequestHead(method, path, query, minor, fields)
        self._judge(head)
        if len(block) <= LONGEST_KEPT_BLOCK:
            self._last, self._last_block, self._last_raw = head, block, raw
        else:
            self._last, self._last_block, self._last_raw = None, b"", b""
        return head

    def _request_line(self, line: bytes) -> tuple[bytes, bytes, int]:
        parts = line.split(b" ")
        if len(parts) != 3:
            raise BadRequest("the request line is malformed")
        method, target, version = parts
        minor = _VERSIONS.get(version)
        if minor is None:
            raise BadRequest("the HTTP version is not supported")
        if method not in _COMMON_METHODS:
            _refuse_method(method)
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
        roles, lines = self._roles, head.lines
        has_host = False
        connection: list[bytes] = []
        for name, value in head.fields:
            role = roles[name]
            if not role:
                lines.append(name + b": " + value)
            elif role is _HOST_ROLE:
                if has_host:
                    raise BadRequest("the request has two Host fields")
                has_host = True
                head.host = _host(value.rstrip(b" \t"))
            elif role is _AUTHORIZATION_ROLE:
                if head.authorization is not None:
                    raise BadRequest("the request has two Authorization fields")
                head.authorization = value.rstrip(b" \t")
            elif role is _COOKIE_ROLE:
                taken = self._cookies.take(value)
                if taken is None:
                    lines.append(name + b": " + value)
                else:
                    _note_cookies(head, taken.found)
                    if taken.rest:
                        lines.append(name + b": " + taken.rest)
            elif role is _CONNECTION_ROLE:
                connection.append(value)
            elif role > _HOST_ROLE:
                if role in _NOTED_AND_FORWARDED:
                    lines.append(name + b": " + value)
                _NOTE[role](head, value.rstrip(b" \t"))
        if head.chunked and head.content_length is not None:
            raise BadRequest("the request has both Content-Length and Transfer-Encoding")
        if not has_host and head.minor:
            raise BadRequest("the request has no Host field")
        if head.tracestate is not None:
            head.tracestate = read_tracestate(head.tracestate) if head.traceparent is not None else None
        if connection:
            _connection_options(head, b",".join(connection))
        else:
            head.upgrade = None
        if connection or head.chunked or head.content_length is not None or not head.minor:
            self._parser = None  # it expects a body, or nothing more; the next head needs a fresh one


def refuse_hopeless(buffer: bytes) -> None:
    """Refuse a head that is not complete but can never become valid, so that its sender need not wait for a deadline."""
    if not 0x41 <= buffer[0] <= 0x5A:
        raise BadRequest("this is not HTTP")
    # Counted, not searched for by an expression: this runs for every segment of a head that comes byte by byte (32 KiB: 45, not
    # 410 µs).
    ends = buffer.count(b"\r\n")
    if buffer.count(b"\n") != ends or buffer.count(b"\r") - buffer.endswith(b"\r") != ends or b"\0" in buffer:
        raise BadRequest("a line of the head does not end in CRLF")


def _note_cookies(head: RequestHead, found: tuple[tuple[int, bytes], ...]) -> None:
    for place, value in found:
        attribute = "access_cookie" if place == ACCESS else "refresh_cookie" if place == REFRESH else "csrf_cookie"
        if attribute in head.__dict__:
            head.has_doubled_cookie = True
        setattr(head, attribute, value or None)


def _refuse_method(method: bytes) -> None:
    if not _METHOD.match(method):
        raise BadRequest("the method is malformed")
    if method in _REFUSED_METHODS:
        raise BadRequest("this method is not allowed here", 405)


def _host(value: bytes) -> bytes:
    match = _HOST.match(value)
    if match is None or (match.group(1) and int(match.group(1)) > 65535) or b".." in value:
        raise BadRequest("the Host field is malformed")
    return value


# What a field says to a proxy, noted one function per role. Doubled claims about the way here are joined (RFC 9110 §5.3).


def _content_length(head: RequestHead, value: bytes) -> None:
    if head.content_length is not None or not _LENGTH.match(value):
        raise BadRequest("Content-Length is malformed or doubled")
    head.content_length = int(value)


def _transfer_encoding(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"chunked" or head.chunked:
        raise BadRequest("the transfer coding is not supported")
    if head.minor == 0:
        raise BadRequest("HTTP/1.0 has no transfer codings")
    head.chunked = True


def _expect(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"100-continue" or head.expects_continue:
        raise BadRequest("the expectation cannot be met")
    head.expects_continue = head.minor == 1


def _upgrade(head: RequestHead, value: bytes) -> None:
    head.upgrade = value if head.upgrade is None else b""


def _forwarded_for(head: RequestHead, value: bytes) -> None:
    head.forwarded_for = value if head.forwarded_for is None else head.forwarded_for + b", " + value


def _forwarded_proto(head: RequestHead, value: bytes) -> None:
    head.forwarded_proto = value


def _forwarded_host(head: RequestHead, value: bytes) -> None:
    head.forwarded_host = value if _HOST.match(value) else None


def _request_id(head: RequestHead, value: bytes) -> None:
    head.request_id = value if _REQUEST_ID.match(value) else None


def _traceparent(head: RequestHead, value: bytes) -> None:
    head.traceparent = None if "traceparent" in head.__dict__ else read_traceparent(value)


def _tracestate(head: RequestHead, value: bytes) -> None:
    head.tracestate = value if head.tracestate is None else head.tracestate + b"," + value


def _via(head: RequestHead, value: bytes) -> None:
    head.via = value if head.via is None else head.via + b", " + value


def _websocket_key(head: RequestHead, value: bytes) -> None:
    head.websocket_key = value if head.websocket_key is None else b""


def _service_worker(head: RequestHead, value: bytes) -> None:
    head.is_service_worker = True


_NOTE: Final = {
    Role.CONTENT_LENGTH: _content_length,
    Role.TRANSFER_ENCODING: _transfer_encoding,
    Role.UPGRADE: _upgrade,
    Role.EXPECT: _expect,
    Role.FORWARDED_FOR: _forwarded_for,
    Role.FORWARDED_PROTO: _forwarded_proto,
    Role.FORWARDED_HOST: _forwarded_host,
    Role.REQUEST_ID: _request_id,
    Role.TRACEPARENT: _traceparent,
    Role.TRACESTATE: _tracestate,
    Role.VIA: _via,
    Role.WEBSOCKET_KEY: _websocket_key,
    Role.SERVICE_WORKER: _service_worker,
}


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
