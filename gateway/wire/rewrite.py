"""The heads that go on: a request as the backend gets it, an answer as the client gets it. Built from parts, never copied.

GET /path?query HTTP/1.1
Host: as the client sent it
…  fields that are nobody's business but the backend's, in their order and spelling
Content-Length | Transfer-Encoding, from our own framing
X-User …, X-Forwarded-…, Via, X-Request-Id, traceparent, tracestate: the gateway's word, the only one that arrives
"""

from random import getrandbits

from gateway.wire.answer import AnswerHead
from gateway.wire.head import RequestHead

VIA = b"gateway"
NOT_STORED = b"Cache-Control: no-store\r\nVary: Cookie, Authorization\r\n"
_FOR_CACHES = frozenset((b"cache-control", b"surrogate-control", b"edge-control", b"x-accel-expires"))
_SHARED = (b"public", b"s-maxage", b"private=")


def new_request_id() -> bytes:
    """32 hexadecimal digits; an identifier, not a secret. Also of a trace that begins here."""
    return getrandbits(128).to_bytes(16, "big").hex().encode()


def trace_of(head: RequestHead, request_id: bytes) -> tuple[bytes, bytes | None]:
    """The trace id, and the `traceparent` that is continued. A trace that begins here has the request's id, if that is ours."""
    if head.traceparent is not None:
        return head.traceparent[3:35], head.traceparent
    return request_id if head.request_id is None else new_request_id(), None


def forwarded_lines(head: RequestHead, peer: bytes, scheme: bytes, *, is_trusted: bool) -> bytes:
    """X-Forwarded-For, -Proto and -Host, and Via. What a peer that is not trusted claims is not repeated."""
    chain, proto, host = peer, scheme, head.host
    if is_trusted:
        if head.forwarded_for:
            chain = head.forwarded_for + b", " + peer
        if head.forwarded_proto in (b"http", b"https"):
            proto = head.forwarded_proto
        host = head.forwarded_host or host
    via = b"1.%d %b" % (head.minor, VIA)
    if head.via:
        via = head.via + b", " + via
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nVia: %b\r\n" % (chain, proto, host, via)


def to_upstream(
    head: RequestHead, authority: bytes, added: tuple[bytes, ...], lines: list[bytes] | None = None, *, may_upgrade: bool = True
) -> bytes:
    """The request head for the backend up to its last lines (`trace.trace_lines`). `added` are blocks of lines that end in CRLF,
    `lines` the fields to send in place of those that the client means for the backend."""
    parts = [head.method, b" ", head.path, head.query, b" HTTP/1.1\r\nHost: ", head.host or authority, b"\r\n"]
    lines = head.lines if lines is None else lines
    if lines:
        parts.append(b"\r\n".join(lines))
        parts.append(b"\r\n")
    if head.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif head.content_length is not None:
        parts.append(b"Content-Length: %d\r\n" % head.content_length)
    elif head.upgrade is not None and may_upgrade:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
    parts.extend(added)
    return b"".join(parts)


def to_client(
    answer: AnswerHead,
    *,
    has_body: bool,
    is_chunked: bool,
    is_persistent: bool,
    minor: int,
    is_private: bool = False,
    cookies: bytes = b"",
) -> bytes:
    """The answer's head for the client. `is_chunked` and `is_persistent` are ours to decide, not the backend's.

    `is_private`: it answers a request that carried a token, so no shared cache may keep it [C2]. `cookies` are lines that set
    ours: such an answer is nobody else's, whatever the backend says of it.
    """
    if cookies:
        return _to_client(answer, has_body, is_chunked, is_persistent, minor, is_private, cookies)
    form = (has_body, is_chunked, is_persistent, minor, is_private)
    head = answer.sent.get(form)
    if head is None:
        head = answer.sent[form] = _to_client(answer, *form)
    return head


def _to_client(
    answer: AnswerHead,
    has_body: bool,
    is_chunked: bool,
    is_persistent: bool,
    minor: int,
    is_private: bool,
    cookies: bytes = b"",
) -> bytes:
    parts = [answer.status_line]
    lines = answer.lines
    if cookies:
        lines = [line for line in lines if not _is_for_caches(line)]
        parts.append(NOT_STORED)
        parts.append(cookies)
    elif is_private:
        lines = not_for_shared_caches(lines)
    if lines:
        parts.append(b"\r\n".join(lines))
        parts.append(b"\r\n")
    if is_chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif answer.content_length is not None and (has_body or answer.status not in (204, 101)):
        parts.append(b"Content-Length: %d\r\n" % answer.content_length)
    if not is_persistent:
        parts.append(b"Connection: close\r\n")
    elif not minor:
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def not_for_shared_caches(lines: list[bytes]) -> list[bytes]:
    """The lines with `Cache-Control: private` in place of whatever lets a shared cache keep the answer (RFC 9111 §5.2.2).

    Fields for one kind of cache go: where they are understood they count for more than Cache-Control (RFC 9213 §2.2).
    """
    kept = [line for line in lines if not _is_for_caches(line)]
    fields = b",".join(line[14:] for line in lines if line[:14].lower() == b"cache-control:")
    directives = [directive.strip(b" \t") for directive in fields.split(b",")]
    told = [directive for directive in directives if directive and not directive.lower().startswith(_SHARED)]
    if not any(directive.lower() in (b"private", b"no-store") for directive in told):
        told.insert(0, b"private")
    return [*kept, b"Cache-Control: " + b", ".join(told)]


def _is_for_caches(line: bytes) -> bool:
    name = line.partition(b":")[0].lower()
    return name in _FOR_CACHES or name.endswith(b"cdn-cache-control")


def switching_protocols(answer: AnswerHead, cookies: bytes = b"") -> bytes:
    """The 101 for the client. A browser takes cookies from a handshake like from any answer."""
    lines = cookies + b"".join(line + b"\r\n" for line in answer.lines)
    return b"%bConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n" % (answer.status_line, answer.upgrade or b"", lines)
