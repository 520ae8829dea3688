"""What the gateway itself says: refusals as RFC 9457 problems for programs, as a page for people, as the way to the login.

Nothing of the request is repeated in an answer, so nothing of an attacker's can be reflected. Every refusal carries
`X-Gateway-Reason` and `Cache-Control: no-store`.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

import orjson

from gateway.reasons import REFUSALS, Reason
from gateway.wire.answer import STATUS_LINES

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
PROBLEM_TYPE: Final = "urn:gateway:refusal:"
RETRY_AFTER_S: Final = 2
_ID_PLACE: Final = b"\x7f"  # in no text of ours, no request id, and the same in JSON and HTML


class Page(NamedTuple):
    """A page for a person: its body, with the given request id in it, and the header fields that belong to it."""

    body: bytes
    headers: Mapping[str, str]


PageMaker = Callable[[Reason, int, str, str], Page]
"""Makes the page of a reason, with this status, in this language, with this request id."""


class Form(NamedTuple):
    """Everything an answer depends on but the request id. `status` overrides the reason's own (405, 413, 414).

    `language` is that of a person who looks at it; empty: a program does.
    """

    reason: Reason
    status: int | None = None
    detail: str = ""
    language: str = ""
    is_head: bool = False
    close: bool = False


class Refusals:
    """Answers to refused requests.

    There are few, they are asked for often, and making one costs 6 µs: so they are kept, each with a place for the request id.
    Bounded, though every part of a form is ours.
    """

    limit = 1024

    __slots__ = ("_make_page", "_prepared")

    def __init__(self, make_page: PageMaker) -> None:
        self._make_page = make_page
        self._prepared: dict[tuple[Form, int], bytes] = {}

    def answer(self, form: Form, request_id: bytes, cookies: bytes = b"") -> bytes:
        """The whole answer, head and body; `cookies` are lines to set among its fields."""
        length = len(request_id)
        prepared = self._prepared.get((form, length))
        if prepared is None:
            if len(self._prepared) >= self.limit:
                self._prepared.clear()
            prepared = self._prepared[form, length] = self._prepare(form, _ID_PLACE * length)
        answer = prepared.replace(_ID_PLACE * length, request_id)
        if cookies:
            end = answer.index(b"\r\n") + 2
            answer = answer[:end] + cookies + answer[end:]
        return answer

    def _prepare(self, form: Form, request_id: bytes) -> bytes:
        told = REFUSALS[form.reason]
        code = told.status if form.status is None else form.status
        page_lines = b""
        if form.language:
            page = self._make_page(form.reason, code, form.language, request_id.decode("ascii"))
            body = page.body
            page_lines = "".join(f"{name}: {value}\r\n" for name, value in page.headers.items()).encode("ascii")
        else:
            body = _problem(form.reason, code, told.title, form.detail, request_id)
            page_lines = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"
        lines = [
            STATUS_LINES[code],
            page_lines,
            b"Content-Length: %d\r\nX-Gateway-Reason: " % len(body),
            form.reason.value.encode(),
            b"\r\nX-Request-Id: ",
            request_id,
            b"\r\n",
        ]
        if code == 401 or (code == 403 and told.bearer_error):
            lines.append(challenge(told.bearer_error, told.title))
        elif code == 405:
            lines.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
        elif code == 503:
            lines.append(b"Retry-After: %d\r\n" % RETRY_AFTER_S)
        if form.close:
            lines.append(b"Connection: close\r\n")
        lines.append(b"\r\n")
        if not form.is_head:
            lines.append(body)
        return b"".join(lines)


def to_login(
    login_url: str, path: bytes, query: bytes, reason: Reason, request_id: bytes, *, cookies: bytes, close: bool
) -> bytes:
    """303 to the login page, which leads back to this path. Built from the configured address, never from `Host` [C3]."""
    back = quote(path + query, safe="") + ("&said=expired" if reason is Reason.EXPIRED_TOKEN else "")
    return b"".join(
        (
            STATUS_LINES[303],
            cookies,
            f"Location: {login_url}?return_to={back}\r\n".encode("ascii"),
            b"Content-Length: 0\r\nCache-Control: no-store\r\nX-Gateway-Reason: ",
            reason.value.encode(),
            b"\r\nX-Request-Id: ",
            request_id,
            b"\r\nConnection: close\r\n\r\n" if close else b"\r\n\r\n",
        )
    )


def challenge(error: str | None, title: str) -> bytes:
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
