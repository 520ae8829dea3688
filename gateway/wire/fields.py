"""What a header field of a request is to a proxy: one role per name, whatever its spelling.

A backend does not see header names as they were sent: CGI, WSGI and PHP turn `X-User`, `X_User` and `X.User` into the same
`HTTP_X_USER`, so a client that may send any of them may choose who it is (CVE-2025-64484 and its many siblings). Every
name is therefore folded to lower-case letters, digits and single dashes before it is judged:

    X-User   X_User   x.user   X__USER   X-User_      ->   x-user      ->  IDENTITY: never forwarded
    Transfer_Encoding                                 ->   an alias of a field that frames messages: refused

The fold costs a microsecond, so the role of each spelling is remembered, up to a bound.
"""

import re
from enum import IntEnum
from typing import Final

from gateway.errors import BadRequest


class Role(IntEnum):
    """How the proxy treats a request field. FORWARD is 0: the common case is one truth test."""

    FORWARD = 0
    HOP = 1  # meant for this connection only (RFC 9110 §7.6.1)
    IDENTITY = 2  # an identity header of any preset: only the gateway may say who the user is
    FORWARDED = 3  # a claim about the way here that only a trusted proxy may make, and that we write ourselves
    OVERRIDE = 4  # would make the backend see another method or path than the one that was judged
    HOST = 5
    CONTENT_LENGTH = 6
    TRANSFER_ENCODING = 7
    CONNECTION = 8
    UPGRADE = 9
    EXPECT = 10
    AUTHORIZATION = 11
    FORWARDED_FOR = 12
    FORWARDED_PROTO = 13
    FORWARDED_HOST = 14
    REQUEST_ID = 15
    TRACEPARENT = 16
    VIA = 17
    WEBSOCKET_KEY = 18
    COOKIE = 19
    SERVICE_WORKER = 20
    TRACESTATE = 21


IDENTITY_PRESETS: Final[dict[str, tuple[str, ...]]] = {
    "x-user": ("X-User", "X-User-Groups", "X-Session-Id"),
    "remote-user": ("Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email"),
    "x-forwarded-user": (
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Access-Token",
    ),
    "x-auth-request": (
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-Request-Preferred-Username",
        "X-Auth-Request-Access-Token",
    ),
    "x-webauth": ("X-WEBAUTH-USER", "X-WEBAUTH-EMAIL", "X-WEBAUTH-FULLNAME", "X-WEBAUTH-ROLE", "X-WEBAUTH-GROUPS"),
}

# Names that no preset writes but that applications trust in the same way.
_TRUSTED_ELSEWHERE: Final = (
    "x-user-id",
    "x-user-name",
    "x-user-email",
    "x-user-roles",
    "x-user-role",
    "x-username",
    "x-email",
    "x-groups",
    "x-roles",
    "x-role",
    "x-session",
    "x-access-token",
)
_IDENTITY_PREFIXES: Final = (
    b"remote-",
    b"x-remote-",
    b"x-auth-",
    b"x-authenticated-",
    b"x-webauth-",
    b"x-gateway-",
    b"x-forwarded-",
)

_BY_NAME: Final[dict[bytes, Role]] = {
    **dict.fromkeys((b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"http2-settings"), Role.HOP),
    **{name.lower().encode(): Role.IDENTITY for names in IDENTITY_PRESETS.values() for name in names},
    **{name.encode(): Role.IDENTITY for name in _TRUSTED_ELSEWHERE},
    **dict.fromkeys(
        (
            b"forwarded",
            b"x-real-ip",
            b"true-client-ip",
            b"cf-connecting-ip",
            b"fastly-client-ip",
            b"x-client-ip",
            b"x-cluster-client-ip",
            b"x-original-forwarded-for",
            b"x-originating-ip",
            b"client-ip",
        ),
        Role.FORWARDED,
    ),
    **dict.fromkeys(
        (
            b"x-http-method-override",
            b"x-http-method",
            b"x-method-override",
            b"x-original-url",
            b"x-original-uri",
            b"x-original-method",
            b"x-rewrite-url",
            b"x-envoy-original-path",
        ),
        Role.OVERRIDE,
    ),
    b"host": Role.HOST,
    b"content-length": Role.CONTENT_LENGTH,
    b"transfer-encoding": Role.TRANSFER_ENCODING,
    b"connection": Role.CONNECTION,
    b"upgrade": Role.UPGRADE,
    b"expect": Role.EXPECT,
    b"authorization": Role.AUTHORIZATION,
    b"x-forwarded-for": Role.FORWARDED_FOR,
    b"x-forwarded-proto": Role.FORWARDED_PROTO,
    b"x-forwarded-host": Role.FORWARDED_HOST,
    b"x-request-id": Role.REQUEST_ID,
    b"traceparent": Role.TRACEPARENT,
    b"tracestate": Role.TRACESTATE,
    b"via": Role.VIA,
    b"sec-websocket-key": Role.WEBSOCKET_KEY,
    b"cookie": Role.COOKIE,
    b"service-worker": Role.SERVICE_WORKER,
}

# An alias of one of these is not a header that happens to look alike: it is an attempt. The request is refused.
_REFUSED_AS_ALIAS: Final = frozenset(
    {
        Role.HOST,
        Role.CONTENT_LENGTH,
        Role.TRANSFER_ENCODING,
        Role.CONNECTION,
        Role.UPGRADE,
        Role.EXPECT,
        Role.AUTHORIZATION,
        Role.COOKIE,
    }
)

# `Connection: cookie` must not take an end-to-end field away, least of all one that the decision rests on.
NOT_REMOVABLE: Final = frozenset(
    {
        b"authorization",
        b"cookie",
        b"expect",
        b"via",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"origin",
        b"referer",
        b"accept",
    }
)

_NOT_ALPHANUMERIC: Final = re.compile(rb"[^a-z0-9]+")


def fold(name: bytes) -> bytes:
    """The form in which a backend may see a field name: lower case, every run of other characters one dash.

    >>> fold(b"X__USER_")
    b'x-user'
    """
    return _NOT_ALPHANUMERIC.sub(b"-", name.lower()).strip(b"-")


def classify(name: bytes) -> Role:
    """The role of a request field by its name. Raises BadRequest for an alias of a field that frames or authenticates."""
    folded = fold(name)
    role = _BY_NAME.get(folded)
    if role is None:
        return Role.IDENTITY if folded.startswith(_IDENTITY_PREFIXES) else Role.FORWARD
    if folded != name.lower():
        if role in _REFUSED_AS_ALIAS:
            raise BadRequest("a header name imitates one that frames or authenticates the request")
        if role in (Role.VIA, Role.WEBSOCKET_KEY, Role.SERVICE_WORKER):
            return Role.FORWARD
        return Role.FORWARDED if role >= Role.FORWARDED_FOR else role
    return role


class RoleMemory(dict[bytes, Role]):
    """Roles by exact spelling, so that folding is paid once. Bounded: a client that invents names empties it, no more."""

    limit = 2048

    def __missing__(self, name: bytes) -> Role:
        role = classify(name)
        if len(self) >= self.limit:
            self.clear()
        if len(name) <= 64:
            self[name] = role
        return role


_ANSWER_BY_NAME: Final[dict[bytes, Role]] = {
    **dict.fromkeys(
        (b"keep-alive", b"proxy-connection", b"te", b"trailer", b"proxy-authenticate", b"service-worker-allowed"), Role.HOP
    ),
    b"connection": Role.CONNECTION,
    b"content-length": Role.CONTENT_LENGTH,
    b"transfer-encoding": Role.TRANSFER_ENCODING,
    b"upgrade": Role.UPGRADE,
    b"set-cookie": Role.COOKIE,
}


def classify_answer(name: bytes) -> Role:
    """The role of a response field: what names a user or speaks for the gateway does not leave it."""
    role = _ANSWER_BY_NAME.get(name.lower())
    if role is not None:
        return role
    folded = fold(name)
    is_ours = _BY_NAME.get(folded) is Role.IDENTITY or folded.startswith(_IDENTITY_PREFIXES)
    return Role.IDENTITY if is_ours else Role.FORWARD
