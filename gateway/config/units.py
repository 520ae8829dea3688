"""Quantities as operators write them: durations (`30s`, `1h30m`, `7d`), sizes (`8KiB`), counts, ratios and truth values.

Owns the spelling and its inverse; knows nothing of keys or files. A duration is a float of seconds, a size an int of bytes.

A bare number is no duration: `timeout: 30` means seconds to one reader and milliseconds to the next, so the unit is
asked for. Counts and truth values are taken from text too, because what comes out of `${NAME}` or the environment is always
text; but only `true` and `false` are truth values (`no` is a word, as YAML 1.2 has it).
"""

import re
from typing import Any, Final

_SECONDS: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_DURATION_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|[smhdw])")
_SIZE: Final = re.compile(r"([0-9]{1,12})(GiB|MiB|KiB|B)?")
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_RATIO: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,18})?")

DURATION_PATTERN: Final = r"^(0|(\d+(\.\d+)?(ms|[smhdw]))+)$"
SIZE_PATTERN: Final = r"^\d+(GiB|MiB|KiB|B)?$"


def parse_duration(value: Any) -> float:
    """Seconds of `30s`, `500ms`, `1h30m`, `7d`; `0` needs no unit. Raises ValueError."""
    if value == "0" or (isinstance(value, int | float) and not isinstance(value, bool) and value == 0):
        return 0.0
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError("must be a duration with its unit, such as 500ms, 30s, 5m, 1h or 7d")
    parts = _DURATION_PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("must be a duration with its unit, such as 500ms, 30s, 5m, 1h or 7d")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """The shortest spelling with one unit: 5400.0 is `90m`."""
    for unit, length in _SECONDS.items():
        count = round(seconds / length, 6)
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"


def parse_size(value: Any) -> int:
    """Bytes of `8KiB`, `1MiB`, `512`. Decimal units (`KB`) are refused: they mean two things. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a size such as 512B, 8KiB, 1MiB or 2GiB")
    return int(found[1]) * _BYTES[found[2] or "B"]


def format_size(size: int) -> str:
    """The shortest exact spelling: 8192 is `8KiB`."""
    for unit, length in _BYTES.items():
        if size >= length and size % length == 0:
            return f"{size // length}{unit}"
    return "0B"


def parse_count(value: Any) -> int:
    """A whole number, also from text. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _COUNT.fullmatch(value):
        return int(value)
    raise ValueError("must be a whole number")


def parse_ratio(value: Any) -> float:
    """A part of all, from 0 (none) to 1 (all), also from text. Raises ValueError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _RATIO.fullmatch(value)):
        raise ValueError("must be a number from 0 to 1, such as 0.05")
    found = float(value)
    if not 0.0 <= found <= 1.0:
        raise ValueError("must be from 0 (none) to 1 (all)")
    return found


def parse_truth(value: Any) -> bool:
    """`true` or `false`, also from text; nothing else (`yes`, `on` and `1` are not truth values). Raises ValueError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ValueError("must be true or false")
