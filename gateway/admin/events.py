"""`GET /v1/audit`: the trail in pages, or as it grows.

    newest first                     the next page is before `cursor`; null: that was all
    with `follow`, oldest first      from `since`, or after `cursor`, or from now on; waits up to `wait` seconds for the first one

As one JSON document, or as lines (by `Accept`, or `format=lines`; `format=ocsf` for a SIEM), whose cursor is in a header then.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from gateway.admin.answers import Problem, bytes_answer, json_answer
from gateway.admin.call import Call, read_limit, read_moment, refuse_errors
from gateway.admin.desk import MOST_FOLLOWERS, Desk
from gateway.audit.event import Action
from gateway.audit.ocsf import ocsf_line
from gateway.audit.outline import document, json_line
from gateway.audit.read import LARGEST_PAGE, CursorRefused, Page, Query

USUAL_PAGE: Final = 100
LONGEST_WAIT_S: Final = 30.0
CURSOR_FIELD: Final = "X-Gateway-Cursor"
LINES: Final = "application/x-ndjson"
_LINE_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/json-lines")
_FORMATS: Final = ("json", "lines", "ocsf")


async def read_audit(desk: Desk, call: Call) -> web.StreamResponse:
    """A page. Raises Problem, StoreError."""
    parameters = call.parameters("user", "action", "since", "until", "limit", "cursor", "wait", "format", flags=("follow",))
    query = _query(parameters, desk.office.clock.wall())
    limit, wait_s = read_limit(parameters, USUAL_PAGE, LARGEST_PAGE), _wait(parameters)
    told_as = _format(parameters, call.request.headers.get("Accept", ""))
    await desk.office.trail.flush()  # so that who acted here reads of it
    try:
        page = await _page(desk, parameters, query, limit, wait_s)
    except CursorRefused as error:
        raise Problem(422, "The request is not valid", errors={"cursor": str(error)}) from None
    documents = [document(recorded) for recorded in page.events]
    if told_as == "json":
        return json_answer({"events": documents, "cursor": page.cursor})
    return _lines(documents, page.cursor, ocsf_line if told_as == "ocsf" else json_line)


async def _page(desk: Desk, parameters: Mapping[str, str], query: Query, limit: int, wait_s: float) -> Page:
    cursor = parameters.get("cursor")
    if "follow" not in parameters:
        return await desk.office.reader.newest(query, cursor, limit)
    if wait_s and desk.followers.locked():
        raise Problem(503, "Too many follow the audit trail", f"At most {MOST_FOLLOWERS} wait at once.", {"Retry-After": "2"})
    async with desk.followers:
        return await desk.office.reader.following(query, cursor, limit, wait_s)


def _query(parameters: Mapping[str, str], now: float) -> Query:
    name = parameters.get("action")
    if name is not None and name not in list(Action):
        refuse_errors({"action": "is not an action; there are " + ", ".join(Action)})
    since, until = read_moment(parameters, "since", now), read_moment(parameters, "until", now)
    return Query(parameters.get("user"), Action(name) if name is not None else None, since, until)


def _wait(parameters: Mapping[str, str]) -> float:
    text = parameters.get("wait", "0")
    if not text.isdecimal() or not text.isascii() or not int(text[:9]) <= LONGEST_WAIT_S:
        refuse_errors({"wait": f"must be a whole number of seconds, at most {LONGEST_WAIT_S:.0f}"})
    return float(text)


def _format(parameters: Mapping[str, str], accept: str) -> str:
    chosen = parameters.get("format")
    if chosen is None:
        return "lines" if any(name in accept.lower() for name in _LINE_TYPES) else "json"
    if chosen not in _FORMATS:
        refuse_errors({"format": "must be one of " + ", ".join(_FORMATS)})
    return chosen


def _lines(documents: Iterable[dict[str, Any]], cursor: str | None, line: Callable[[dict[str, Any]], bytes]) -> web.Response:
    headers = {} if cursor is None else {CURSOR_FIELD: cursor}
    return bytes_answer(b"".join(map(line, documents)), LINES, headers=headers)
