"""Answers of our own endpoints: JSON, problem+json (RFC 9457), pages and redirects, with the cookies that go with them.

Nothing of a request is repeated in them, all of them are `no-store` but the key set, and a refusal says its word in
`X-Gateway-Reason`, by which the data plane counts and logs it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict

from gateway.portal.asking import Asking, Refusal
from gateway.reasons import REFUSALS
from gateway.wire.respond import PROBLEM_TYPE, challenge

_PLAIN: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def json_answer(document: Mapping[str, Any], status: int = 200, cookies: bytes = b"") -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return _answer(status, body, {**_PLAIN, "Content-Type": "application/json"}, cookies)


def nothing(cookies: bytes = b"", status: int = 204, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    return _answer(status, b"", {**_PLAIN, **headers}, cookies)


def page(body: bytes, headers: Mapping[str, str], status: int = 200, cookies: bytes = b"") -> web.Response:
    return _answer(status, body, headers, cookies)


def redirect(location: str, cookies: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    """303: what was posted is not posted again. `location` is built from the configured address [C3]."""
    return _answer(303, b"", {**_PLAIN, **headers, "Location": location}, cookies)


def problem(refusal: Refusal, asking: Asking, cookies: bytes = b"") -> web.Response:
    """A refusal for programs."""
    reason = refusal.reason
    document: dict[str, Any] = {
        "type": PROBLEM_TYPE + reason.value if reason is not None else "about:blank",
        "title": refusal.title,
        "status": refusal.status,
        "request_id": asking.request_id,
    }
    if reason is not None:
        document["reason"] = reason.value
    if refusal.detail:
        document["detail"] = refusal.detail
    if refusal.errors:
        document["errors"] = refusal.errors
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return _answer(
        refusal.status, body, {**_PLAIN, "Content-Type": "application/problem+json", **refusal_headers(refusal)}, cookies
    )


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    """The fields that any answer to this refusal has."""
    headers = {}
    if refusal.reason is not None:
        headers["X-Gateway-Reason"] = refusal.reason.value
    if refusal.status == 401:
        told = None if refusal.reason is None else REFUSALS[refusal.reason].bearer_error
        line = challenge(told, refusal.title).decode("ascii", "replace")
        headers["WWW-Authenticate"] = line.partition(": ")[2].strip()
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, int(refusal.retry_after_s + 0.999)))
    return headers


def _answer(status: int, body: bytes, headers: Mapping[str, str], cookies: bytes) -> web.Response:
    fields: CIMultiDict[str] = CIMultiDict(headers)
    for line in cookies.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(": ")
        if value:
            fields.add(name, value)
    return web.Response(status=status, body=body or None, headers=fields)
