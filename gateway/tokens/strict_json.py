"""JSON with one meaning only, for everything whose author may be an attacker: token parts, key sets, login bodies.

It owns nothing. What two parsers could read differently is refused, not interpreted: duplicate names (RFC 7515
section 4; the usual parser takes the last, others the first), NaN and Infinity, numbers beyond a double, integers
beyond 64 bits, a byte order mark, encodings other than UTF-8, lone surrogates, and nesting nobody needs. It does not
know what the members mean.

Two readers share the work. orjson knows the grammar, but silently keeps the last of two equal names and turns a huge
integer into a float. A document that orjson writes back byte for byte cannot have held either: that is the fast
path (compact JSON as nearly every issuer writes it; 1.2 µs for a token's claims). Everything else is read again by the
standard library, whose hooks see each pair and each number (3.8 µs).
"""

import json
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 16
_MAX_INTEGER_TEXT: Final = 20  # digits of 2**64, or of -2**63 with its sign
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1


class NotStrictJSON(ValueError):
    """Not JSON, or JSON with more than one reading. The text is ours and fixed: it never repeats the document."""


def loads_object(raw: bytes) -> dict[str, Any]:
    """The object that `raw` spells. Raises `NotStrictJSON` for anything else; never another exception."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise NotStrictJSON("not JSON") from None
    if type(value) is not dict:
        raise NotStrictJSON("not a JSON object")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:  # fewer brackets cannot nest deeper
        _refuse_deep(value)
    return value if orjson.dumps(value) == raw else _loads_slowly(raw)


def _loads_slowly(raw: bytes) -> dict[str, Any]:
    try:
        value: dict[str, Any] = _DECODER.decode(raw.decode())
    except RecursionError:  # orjson stops at 1024 levels, the standard library may run out of stack before
        raise NotStrictJSON("nested too deep") from None
    except NotStrictJSON:
        raise
    except ValueError:
        raise NotStrictJSON("not JSON") from None
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJSON("a name occurs twice in one object")
    return members


def _bounded_integer(text: str) -> int:
    # The length first: Python itself gives up, with its own exception, beyond 4300 digits.
    if len(text) > _MAX_INTEGER_TEXT or not _SMALLEST <= (number := int(text)) <= _LARGEST:
        raise NotStrictJSON("an integer beyond 64 bits")
    return number


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique_names, parse_int=_bounded_integer)


def _refuse_deep(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise NotStrictJSON("nested too deep")
