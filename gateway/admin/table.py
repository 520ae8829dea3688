"""Tables and single values for people at a terminal. What a terminal would obey is escaped; what is missing is a dash."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "-"


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The lines; columns are as wide as their widest cell."""
    cells = [list(headings), *([word(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def word(value: Any) -> str:
    """Text as it is; what a terminal would obey is escaped."""
    if value is None or value == "":
        return NOTHING
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def date(seconds: Any) -> str:
    """A moment, UTC, to the second; a dash for what is none."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError, OverflowError, OSError):
        return NOTHING


def objects(document: Any, name: str) -> list[dict[str, Any]]:
    """The members of a list in a document from a gateway that may be of another version."""
    members = document.get(name)
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []
