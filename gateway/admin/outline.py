"""`gateway status` for people: the status document as a table of workers, and one line for each other part.

    worker  pid   state    replica  position  lag     entries  clients  restarts
    0       4711  running  live     12        0.4 ms  3        1        0

Takes the document as it came from a running gateway, which may be of another version: what is missing is a dash, what is
unknown stays out. Nothing is left out of `--json`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "-"
_HEADINGS: Final = ("worker", "pid", "state", "replica", "position", "lag", "entries", "clients", "restarts")


def outline(document: Mapping[str, Any]) -> list[str]:
    """The lines."""
    lines = [f"{name}: {_word(document[name])}" for name in ("ready", "version", "config") if name in document]
    if isinstance(store := document.get("store"), Mapping):
        lines.append(f"store: {_store(store)}")
    lines += [f"issuer {_word(issuer.get('issuer'))}: {_issuer(issuer)}" for issuer in _objects(document, "issuers")]
    lines += [f"upstream {_word(one.get('name'))}: {_up(one)}" for one in _objects(document, "upstreams")]
    if workers := _objects(document, "workers"):
        lines += ["", *_table([_HEADINGS, *map(_row, workers)])]
    return lines


def _store(store: Mapping[str, Any]) -> str:
    said = [_word(store.get("url")), _up(store)]
    if store.get("head") is not None:
        said.append(f"position {_word(store['head'])}")
    if store.get("problem"):
        said.append(_word(store["problem"]))
    return ", ".join(said)


def _issuer(issuer: Mapping[str, Any]) -> str:
    keys = issuer.get("keys") or []
    if not any(keys):
        return "no keys"
    counts = sorted(set(keys))
    said = f"{counts[0]} {'key' if counts[0] == 1 else 'keys'}" if len(counts) == 1 else f"keys by worker {_listed(keys)}"
    return f"{said}, fetched {_date(issuer['fetched_at'])}" if issuer.get("fetched_at") else said


def _row(worker: Mapping[str, Any]) -> tuple[str, ...]:
    lag = worker.get("lag_ms")
    connections = worker.get("connections")
    clients = connections.get("client") if isinstance(connections, Mapping) else None
    return (
        _word(worker.get("index")),
        _word(worker.get("pid")),
        _word(worker.get("state")),
        _word(worker.get("replica")),
        _word(worker.get("position")),
        NOTHING if lag is None else f"{_word(lag)} ms",
        _word(worker.get("entries")),
        _word(clients),
        _word(worker.get("restarts")),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _objects(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    members = document.get(name)
    return [member for member in members if isinstance(member, Mapping)] if isinstance(members, list) else []


def _up(part: Mapping[str, Any]) -> str:
    return "up" if part.get("up") else "down"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(_word, values))


def _word(value: Any) -> str:
    """Text as it is; what a terminal would obey is escaped."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)
