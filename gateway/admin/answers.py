"""Every answer of the admin port: JSON, problem+json (RFC 9457) or text, always with the same strict headers."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

# Nothing here is meant for a browser to run, frame, guess the type of, store, or hand to another site.
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Problem(Exception):
    """A request that is not served, as problem+json. `headers` go with it, `members` into the document."""

    def __init__(
        self, status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(title)
        self.status = status
        self.headers = headers or {}
        self.document = {"type": "about:blank", "title": title, "status": status}
        if detail:
            self.document["detail"] = detail
        self.document.update(members)

    def answer(self) -> web.Response:
        return bytes_answer(
            orjson.dumps(self.document, option=orjson.OPT_APPEND_NEWLINE),
            "application/problem+json",
            self.status,
            self.headers,
        )


def json_answer(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return bytes_answer(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE), "application/json", status)


def text_answer(text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> web.Response:
    return bytes_answer(text.encode(), content_type, status)


def bytes_answer(body: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers={**SECURITY_HEADERS, "Content-Type": content_type, **(headers or {})})
