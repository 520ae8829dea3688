"""One spelling of an address: what is matched is what is forwarded.

Proxies are bypassed where the proxy reads `/public/..%2fadmin` one way and the application another. Here a path is put
into one canonical form, the routes are matched on that form, and the same bytes are sent on. A path that has no single
reading is refused. The whole treatment:

    %XX of an unreserved character   decoded (`%61` is `a`, RFC 3986 §6.2.2.2); other escapes stay, in upper case
    `//`                             one `/`, as nginx does
    `.` and `..` as a segment        refused, encoded or not: a client resolves them before it sends (RFC 3986 §5.2.4)
    `%2F`, `%5C`, `\\`, `#`           refused: half of all applications read them as a separator
    `%00` to `%1F`, `%7F`            refused
    bytes that are not UTF-8         refused (overlong forms of `.` and `/` among them)
    `;` and `%3B`                    allowed; the routes match with and without parameters and must agree (`routes/match`)
    letter case                      kept; routes are case-sensitive

The query is not part of any decision and is forwarded byte for byte.
"""

import re
from typing import Final

from gateway.errors import BadRequest

# Everything printable in ASCII but space, `"`, `#`, `<`, `>` and `\`: RFC 3986 is stricter, browsers are not.
_PATH: Final = bytes(c for c in range(0x21, 0x7F) if c not in b'"#<>\\?')
_PLAIN: Final = bytes(c for c in _PATH if c not in b"%;")
_QUERY: Final = bytes(c for c in range(0x21, 0x7F) if c != ord("#"))
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_SLASHES: Final = re.compile(rb"/{2,}")
_PARAMETERS: Final = re.compile(rb"(?:;|%3B)[^/]*")
_DOT_SEGMENT: Final = re.compile(rb"/\.{0,2}(?:;|%3B)[^/]*(?:/|$)|/\.{1,2}(?:/|$)")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """A request target in origin form as (canonical path, query with its `?`, or b""). Raises BadRequest.

    >>> split_target(b"/a//%62?x=%zz")
    (b'/a/b', b'?x=%zz')
    """
    if target[:1] != b"/":
        raise BadRequest("the request target must be a path that begins with a slash")
    path, mark, query = target.partition(b"?")
    if query.translate(None, _QUERY):
        raise BadRequest("the query holds a character that must be percent-encoded")
    if path.translate(None, _PLAIN) or b"//" in path or b"/." in path:  # few paths: the others are canonical already
        if path.translate(None, _PATH):
            raise BadRequest("the path holds a character that must be percent-encoded")
        path = canonical(path)
    return path, mark + query


def canonical(path: bytes) -> bytes:
    """The one spelling of a path whose characters were already checked. Raises BadRequest when there is no single reading."""
    if b"%" in path:
        path = _ESCAPE.sub(_one_escape, path)
        _refuse_what_is_not_utf8(path)
    if b"//" in path:
        path = _SLASHES.sub(b"/", path)
    if (b"/." in path or b"/;" in path or b"/%3B" in path) and _DOT_SEGMENT.search(path):
        raise BadRequest("the path holds a dot segment")
    return path


def without_parameters(path: bytes) -> bytes:
    """The path as a servlet container reads it: `/a;x=1/b` is `/a/b`. Some decode first, so `%3B` is a `;` here."""
    return _PARAMETERS.sub(b"", path)


def _one_escape(match: re.Match[bytes]) -> bytes:
    digits = match.group(1)
    if digits is None:
        raise BadRequest("the path holds a percent sign without two hexadecimal digits")
    byte = int(digits, 16)
    if byte in _UNRESERVED:
        return bytes((byte,))
    if byte < 0x20 or byte == 0x7F:
        raise BadRequest("the path holds an encoded control character")
    if byte in b"/\\":
        raise BadRequest("the path holds an encoded slash or backslash")
    return b"%" + digits.upper()


def _refuse_what_is_not_utf8(path: bytes) -> None:
    decoded = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes((int(match.group(1), 16),)), path)
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest("the path is not UTF-8") from error
