"""What the gateways say about it all: the counters that a story can move, and the lines that they write.

The log is read as a person would with `tail -f`: from where it was left, whole lines only. Lines hold what strangers sent; they
are text, and stay text. Owns a position in the file and the last lines of it.
"""

import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.demo.talk import ask

WITHIN_S: Final = 3.0
PAUSE_S: Final = 0.05
MOST_LINES: Final = 300
LONGEST_LINE: Final = 4096
_PIECE: Final = 256 * 1024
_FAMILIES: Final = "revoked_use|refreshes|fingerprint_mismatches|logins|revocations"
_SAMPLE: Final = re.compile(rf"^(gateway_(?:{_FAMILIES})_total\{{[^}}\n]*\}}) (\S+)$", re.M)


def counters(*admins: str) -> Counter[str]:
    """The samples that are not 0, summed over these gateways. One that does not answer has counted nothing."""
    found: Counter[str] = Counter()
    for admin in admins:
        try:
            text = ask(admin, "/metrics").text
        except OSError:
            continue
        for name, value in _SAMPLE.findall(text):
            found[name] += int(float(value))
    return +found


def value_of(sample: str, counted: Mapping[str, int]) -> int:
    """The sum of the samples of this name that have these labels, whatever others they have: `a_total{kind="x"}`."""
    name, labels = _parts(sample)
    return sum(value for other, value in counted.items() if (parts := _parts(other))[0] == name and labels <= parts[1])


def _parts(sample: str) -> tuple[str, frozenset[str]]:
    name, _, labels = sample.rstrip("}").partition("{")
    return name, frozenset(labels.split(","))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log. `kind`: access, security, message, or text when it is no JSON; `fields` as they were written."""

    number: int
    kind: str
    fields: dict[str, str]


class Log:
    """Per reader. Numbers lines from 1; keeps the last MOST_LINES. `is_new`: what is written already is not read."""

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if is_new else 0
        self.count = 0
        self.lines: deque[Line] = deque(maxlen=MOST_LINES)

    def read(self) -> bool:
        """Take in what was written since the last time; whether there was anything."""
        before = self.count
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while (piece := file.read(_PIECE)) and (end := piece.rfind(b"\n") + 1):
                self._offset += end
                file.seek(self._offset)
                for raw in piece[:end].splitlines():
                    self.count += 1
                    self.lines.append(_line(self.count, raw.decode("utf-8", "replace")))
        return self.count > before

    def since(self, number: int) -> list[Line]:
        """The lines after this one, as far as they are kept."""
        return [line for line in self.lines if line.number > number]


def wait_until(holds: Callable[[], bool]) -> bool:
    """Ask again and again, for a moment: counters and lines come a little later than answers."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return found


def _line(number: int, text: str) -> Line:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return Line(number, "text", {"message": text[:LONGEST_LINE]})
    fields = {str(name): str(value)[:LONGEST_LINE] for name, value in said.items() if value is not None}
    if "route" in fields:
        return Line(number, "access", fields)
    return Line(number, "security" if fields.get("logger") == "gateway.security" else "message", fields)
