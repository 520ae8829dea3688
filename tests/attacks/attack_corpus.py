"""The corpus: requests with the outcome each must have, from files and from tables.

A `Case` is one request as bytes. `tests/corpus/requests/` holds those that a person wrote down (its README has the format),
`attack_families.py` those that differ in one place only. Nothing here sends anything.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "corpus" / "requests"

_SECTION = re.compile(r"--- (refused ([0-9]{3})|accepted|unfinished): (.+)")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|([rnt\\]))")
_CONTROLS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass(frozen=True, slots=True)
class Case:
    """One request. `status` is the refusal's, 0 when it is accepted, -1 when it is never finished."""

    case: str  # of the catalogue: F01
    name: str
    raw: bytes
    status: int = 400

    def __str__(self) -> str:
        return f"{self.case} {self.name}"

    @property
    def is_refused(self) -> bool:
        return self.status > 0

    @property
    def is_accepted(self) -> bool:
        return self.status == 0


@lru_cache
def from_files() -> tuple[Case, ...]:
    """All requests of the corpus folder, in order."""
    return tuple(case for path in sorted(FOLDER.glob("*.http")) for case in read_file(path))


def read_file(path: Path) -> list[Case]:
    number = path.name[:3]
    cases: list[Case] = []
    lines = path.read_text("utf-8").split("\n")
    starts = [position for position, line in enumerate(lines) if line.startswith("---")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _SECTION.fullmatch(lines[start])
        assert match is not None, f"{path.name}: {lines[start]}"
        status = int(match[2]) if match[2] else 0 if match[1] == "accepted" else -1
        cases.append(Case(number, match[3], unescape("".join(lines[start + 1 : end])), status))
    return cases


def unescape(text: str) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        return bytes((int(match[1], 16),)) if match[1] else _CONTROLS[match[2]]

    return _ESCAPE.sub(one, text.encode("ascii"))
