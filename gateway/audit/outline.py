"""The trail for people and for programs: a document per event, and a line per event with columns that align.

    2025-01-01T12:00:00.123Z  login         success  -                  alice@example.com  192.0.2.0/24  session=…
    2025-01-01T12:00:07.000Z  refusal  x12  denied   expired-token      -                  198.51.100.0/24

Lines are made from documents, as they come from a running gateway, which may be of another version: what is missing is a
dash, what is unknown stays out. Every line is printable ASCII, and every value one word or quoted: no name can end a line,
colour a terminal, turn text around, or pass itself off as another field or as the pseudonym of somebody erased.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.audit.event import Event
from gateway.audit.keys import PSEUDONYM_MARK
from gateway.audit.read import Recorded
from gateway.telemetry.access import word

NOTHING: Final = "-"
WIDEST: Final = 40
_WIDTHS: Final = (24, 14, 8, 18, 24, 18)
_REST: Final = ("session", "token_id", "device", "route", "target", "source", "request_id", "since", "text")
_SHORT: Final = {"token_id": "jti", "source": "by", "request_id": "request"}


def document(recorded: Recorded) -> dict[str, Any]:
    """The event as JSON: what is empty stays out, but who, what, when and how often are always there.

    `user` is the name, or null: of nobody, or of somebody erased, who is `pseudonym` then.
    """
    event = recorded.event
    told: dict[str, Any] = {
        "id": recorded.id,
        "time": timestamp(event.time),
        "action": str(event.action),
        "outcome": str(event.outcome),
        "user": event.user if event.user and not recorded.is_erased else None,
        "count": event.count,
    }
    if recorded.pseudonym:
        told["pseudonym"] = recorded.pseudonym
    if event.count != 1:
        told["since"] = timestamp(event.since)
    told |= {name: value for name in _TOLD if (value := getattr(event, name))}
    return told


class Outline:
    """Lines of one listing. Columns are as wide as their widest cell so far, so lines that come one by one align too."""

    __slots__ = ("_widths",)

    def __init__(self) -> None:
        self._widths = list(_WIDTHS)

    def lines(self, documents: Iterable[Mapping[str, Any]]) -> list[str]:
        """One line for each."""
        rows = [(_cells(told), _rest(told)) for told in documents]
        for cells, _ in rows:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        return [self._line(cells, rest) for cells, rest in rows]

    def _line(self, cells: tuple[str, ...], rest: str) -> str:
        columns = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        return "  ".join((*columns, rest)).rstrip()


def json_line(told: Mapping[str, Any]) -> bytes:
    """A document on one line, its newline included, in printable ASCII."""
    return json.dumps(told, separators=(",", ":")).replace("\x7f", "\\u007f").encode() + b"\n"


def timestamp(seconds: float) -> str:
    """UTC, to the millisecond, as in the access log. A time no calendar has is told as the calendar's beginning."""
    try:
        told = datetime.fromtimestamp(round(seconds, 3), UTC)
    except (ValueError, OverflowError, OSError):
        told = datetime.fromtimestamp(0, UTC)
    return told.strftime("%Y-%m-%dT%H:%M:%S.") + f"{told.microsecond // 1000:03d}Z"


_TOLD: Final = tuple(name for name in Event.__slots__ if name not in ("time", "action", "outcome", "user", "count", "since"))


def _cells(told: Mapping[str, Any]) -> tuple[str, ...]:
    count = told.get("count", 1)
    action = _cell(told.get("action"))
    return (
        _cell(told.get("time")),
        action if count == 1 else f"{action} x{_cell(count)}",
        _cell(told.get("outcome")),
        _cell(told.get("reason")),
        _who(told),
        _cell(told.get("network")),
    )


def _who(told: Mapping[str, Any]) -> str:
    """A pseudonym stands as it is; a name that looks like one is quoted."""
    user, pseudonym = told.get("user"), told.get("pseudonym")
    if user is None and pseudonym is not None:
        return _cell(pseudonym)
    shown = _cell(user)
    return f'"{shown}"' if shown.startswith(PSEUDONYM_MARK) else shown


def _rest(told: Mapping[str, Any]) -> str:
    return " ".join(f"{_SHORT.get(name, name)}={word(told[name])}" for name in _REST if told.get(name) not in (None, ""))


def _cell(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    text = word(value)
    if len(text) <= WIDEST:
        return text
    end = '..."' if text.startswith('"') else "..."
    return text[: WIDEST - len(end)] + end
