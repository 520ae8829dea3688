"""The request head for the backend: what travels on, what the gateway adds, what stays here.

    to an application       the identity, and the token only where the route asks for it; nothing that authenticates to the
                            gateway: its cookies never, a token of its own nowhere, not on public routes either
    to our own endpoints    what they read and nothing else, and who was recognised, in fields that no client can send

All but the ids is the same when a connection repeats a request with the same token, and is kept with the head.
"""

from typing import TYPE_CHECKING, Final

import orjson

from gateway.enforce.shown import FIELDS
from gateway.enforce.verdict import Allow
from gateway.enforce.verified import Verified
from gateway.errors import BadRequest
from gateway.proxy.report import Record
from gateway.routes.route import Route
from gateway.tokens import base64url
from gateway.wire.cookies import CookieNames
from gateway.wire.head import RequestHead
from gateway.wire.rewrite import forwarded_lines, to_upstream
from gateway.wire.trace import new_traceparent, trace_lines

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane

_LONGEST_TOKEN: Final = 8 * 1024
_READ_BY_OURS: Final = frozenset((*FIELDS, b"accept-language", b"content-type", b"content-encoding"))
_ONE_ONLY: Final = frozenset((b"content-type", b"content-encoding", b"user-agent"))
_MOST_OF_ONE: Final = 2  # the second says that there is more than one, and so that none is believed
_SEPARATORS: Final = bytes.maketrans(b',;="', b"    ")


def head_lines(head: RequestHead, record: Record, client: "ClientConnection", authority: bytes, plane: "Plane") -> bytes:
    """The whole head for the upstream of the record's route."""
    verdict, route = record.verdict, record.route
    assert type(verdict) is Allow and route is not None
    token = verdict.token
    sent = head.sent
    if sent is None or sent[0] is not token:
        if route.is_own:
            added = own_lines(head, token, record.address, plane.cookie_names)
            sent = head.sent = (token, to_upstream(head, authority, tuple(added), fields_for_ours(head), may_upgrade=False))
            return sent[1] + last_lines(head, record)
        added = [forwarded_lines(head, client.peer_bytes, plane.scheme, is_trusted=client.is_trusted)]
        added += application_lines(head, route, token, plane.known.own_issuer)
        if plane.assertions is not None and token is not None:
            # It expires, so it is no part of what is kept; it is kept by itself.
            lines = to_upstream(head, authority, (*added, plane.assertions.line(token, route, plane)))
            return lines + last_lines(head, record)
        sent = head.sent = (token, to_upstream(head, authority, tuple(added)))
    return sent[1] + last_lines(head, record)


def last_lines(head: RequestHead, record: Record) -> bytes:
    """What no two requests have in common."""
    return trace_lines(record.request_id, record.traceparent or new_traceparent(record.trace_id), head.tracestate)


def application_lines(head: RequestHead, route: Route, token: Verified | None, own_issuer: str) -> list[bytes]:
    """Identity, and the credential where it is the application's business."""
    lines = [] if token is None else [token.identity]
    bearer_token = None  # what the token was judged by, when it came in the field
    authorization = head.authorization
    if authorization is not None:
        if token is None or token.is_from_cookie:
            is_its_business = not is_of_ours(authorization, own_issuer)
        else:
            bearer_token = authorization[7:]
            is_its_business = route.forward_authorization and token.own is None
        if is_its_business and route.forward_token != "authorization":
            lines.append(b"Authorization: %b\r\n" % authorization)
    if token is not None and route.forward_token is not None:
        name = b"X-Access-Token: " if route.forward_token == "x-access-token" else b"Authorization: Bearer "
        lines.append(name + (bearer_token or token.shown_as) + b"\r\n")
    return lines


def fields_for_ours(head: RequestHead) -> list[bytes]:
    """The fields that our own endpoints read, as they came.

    They are served by a library with limits and rules of its own, which refuses in its own words what we would let pass: a field
    twice, one longer than 8 KiB. It gets nothing that it could refuse, so what it would repeat of a request is never asked for.
    Raises BadRequest for a doubled field that must have one meaning.
    """
    lines: list[bytes] = []
    seen: dict[bytes, int] = {}
    for name, value in head.fields:
        lowered = name.lower()
        if lowered not in _READ_BY_OURS:
            continue
        count = seen[lowered] = seen.get(lowered, 0) + 1
        if count > 1 and lowered in _ONE_ONLY:
            raise BadRequest("a field that can have one value only comes twice")
        if count <= _MOST_OF_ONE:
            lines.append(name + b": " + value)
    return lines


def own_lines(head: RequestHead, token: Verified | None, address: str, names: CookieNames) -> list[bytes]:
    """What our own endpoints need to know: the cookies and the credential as they came, and who was recognised."""
    pairs = (
        (names.access, head.access_cookie),
        (names.refresh, head.refresh_cookie),
        (names.csrf, head.csrf_cookie),
    )
    cookies = b"; ".join(name + b"=" + value for name, value in pairs if value is not None and not head.has_doubled_cookie)
    lines = [b"X-Gateway-Client: %b\r\n" % address.encode()]
    if cookies:
        lines.append(b"X-Gateway-Cookies: %b\r\n" % cookies)
    if head.authorization is not None:
        lines.append(b"Authorization: %b\r\n" % head.authorization)
    if token is not None:
        lines.append(b"X-Gateway-Session: %b\r\n" % (token.session or "").encode())
    return lines


def is_of_ours(authorization: bytes, own_issuer: str) -> bool:
    """Whether a credential that nobody judged holds a token of this gateway, under whatever scheme: its `iss` says so,
    whoever signed it."""
    words = authorization.translate(_SEPARATORS).split()
    return any(_issuer_of(word) == own_issuer for word in words if len(word) <= _LONGEST_TOKEN and word.count(b".") == 2)


def _issuer_of(token: bytes) -> object:
    try:
        claims = orjson.loads(base64url.decode(token.split(b".")[1]))
    except ValueError:
        return None
    return claims.get("iss") if isinstance(claims, dict) else None
