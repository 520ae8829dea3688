"""What the gateway itself says: refusals as RFC 9457 problems for programs, as a page for people.

Nothing of the request is repeated in an answer, so nothing of an attacker's can be reflected. Every refusal carries
`X-Gateway-Reason` and `Cache-Control: no-store`.
"""

from functools import lru_cache
from typing import Final

import orjson

from gateway.reasons import REFUSALS, Reason
from gateway.wire.answer import STATUS_LINES
from gateway.wire.head import RequestHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
PROBLEM_TYPE: Final = "urn:gateway:refusal:"
RETRY_AFTER_S: Final = 2
_ID_PLACE: Final = b"\x7f"  # in no text of ours, no request id, and the same in JSON and HTML

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; display: grid; min-height: 90vh; place-content: center; margin: 0 1.5rem; }}
main {{ max-width: 34rem; border-left: .3rem solid #b3541e; padding-left: 1.5rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 .5rem; }}
p {{ margin: .5rem 0; }}
small {{ opacity: .75; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{advice}</p>
<p><small>{status} · {reason} · {request_id}</small></p>
</main>
</body>
</html>
"""

_ADVICE: Final = {
    400: "Your browser sent something that this site cannot read.",
    401: "Please sign in again, then come back to this page.",
    403: "If you believe that this is a mistake, tell the people who run this site the number below.",
    404: "Please check the address.",
    502: "The application behind this site is not running at the moment. Please try again in a minute.",
    503: "Nothing is wrong with your sign-in. Please try again in a moment.",
    504: "The application behind this site is slow at the moment. Please try again in a minute.",
}


def wants_page(head: RequestHead) -> bool:
    """Whether a person looks at the answer: a navigation by fetch metadata, or `text/html` from a client that sends none."""
    if head.is_for_a_person is None:
        mode = head.field(b"sec-fetch-mode")
        head.is_for_a_person = mode == b"navigate" if mode is not None else b"text/html" in (head.field(b"accept") or b"")
    return head.is_for_a_person


def refusal(
    reason: Reason, *, status: int | None, request_id: bytes, detail: str, page: bool, is_head: bool, close: bool
) -> bytes:
    """The whole answer to a refused request, head and body. `status` overrides the reason's own (405, 413, 414)."""
    length = len(request_id)
    prepared = _prepared(reason, status, length, detail, page, is_head, close)
    return prepared.replace(_ID_PLACE * length, request_id)


@lru_cache(maxsize=512)
def _prepared(reason: Reason, status: int | None, id_length: int, detail: str, page: bool, is_head: bool, close: bool) -> bytes:
    """The answer with a place for the request id: there are few, they are asked for often, and making one costs 6 µs."""
    told = REFUSALS[reason]
    code = told.status if status is None else status
    request_id = _ID_PLACE * id_length
    if page:
        kind, body = b"text/html; charset=utf-8", _page(reason, code, told.title, request_id)
    else:
        kind, body = b"application/problem+json", _problem(reason, code, told.title, detail, request_id)
    lines = [
        STATUS_LINES[code],
        b"Content-Type: ",
        kind,
        b"\r\nContent-Length: %d\r\nCache-Control: no-store\r\nX-Gateway-Reason: " % len(body),
        reason.value.encode(),
        b"\r\nX-Request-Id: ",
        request_id,
        b"\r\n",
    ]
    if page:
        lines.append(b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n")
    if code == 401 or (code == 403 and told.bearer_error):
        lines.append(_challenge(told.bearer_error, told.title))
    elif code == 405:
        lines.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
    elif code == 503:
        lines.append(b"Retry-After: %d\r\n" % RETRY_AFTER_S)
    if close:
        lines.append(b"Connection: close\r\n")
    lines.append(b"\r\n")
    if not is_head:
        lines.append(body)
    return b"".join(lines)


def _challenge(error: str | None, title: str) -> bytes:
    """RFC 6750 §3: a request that showed no token is told no error."""
    if error is None:
        return b'WWW-Authenticate: Bearer realm="gateway"\r\n'
    return f'WWW-Authenticate: Bearer realm="gateway", error="{error}", error_description="{title}"\r\n'.encode()


def _problem(reason: Reason, status: int, title: str, detail: str, request_id: bytes) -> bytes:
    problem = {
        "type": PROBLEM_TYPE + reason.value,
        "title": title,
        "status": status,
        "reason": reason.value,
        "request_id": request_id.decode("ascii"),
    }
    if detail:
        problem["detail"] = detail
    return orjson.dumps(problem, option=orjson.OPT_APPEND_NEWLINE)


def _page(reason: Reason, status: int, title: str, request_id: bytes) -> bytes:
    return _PAGE.format(
        title=title,
        advice=_ADVICE.get(status, _ADVICE[400]),
        status=status,
        reason=reason.value,
        request_id=request_id.decode("ascii"),
    ).encode()
