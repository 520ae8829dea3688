"""Where the token is: `Authorization: Bearer <token>`, in one reading (RFC 6750 §2.1).

    (nothing)                       no token
    Bearer abc.def.ghi              the token; the scheme in any letter case, one space
    Basic dXNlcjpwYXNz              no token: another scheme is the application's business
    Bearer, Bearer a b, Bearer a,b  malformed

Tokens in a query, a body or a WebSocket subprotocol are not looked for (RFC 9700 §4.3.2).
"""

import re
from typing import Final

# RFC 6750's b64token; what is not even that never reaches a parser.
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/=-]+\Z")
_SCHEME_END: Final = 7


class MalformedCredential(Exception):
    """The header claims a bearer token but does not hold one."""


def bearer(authorization: bytes | None) -> bytes | None:
    """The token's bytes, None when there is none. Raises MalformedCredential."""
    if authorization is None:
        return None
    if authorization[:_SCHEME_END] != b"Bearer " and authorization[:_SCHEME_END].lower() != b"bearer ":
        if authorization.partition(b" ")[0].lower() == b"bearer" or authorization[:7].lower() == b"bearer\t":
            raise MalformedCredential
        return None
    token = authorization[_SCHEME_END:]
    if not _TOKEN.match(token):
        raise MalformedCredential
    return token
