"""Exemplars: for each bucket of a histogram the newest request that fell into it and was traced, in shared memory.

    bucket   trace id, three parts of 43, 43 and 42 bits │ seconds │ when, wall clock │ check

Six cells a bucket, one writer, no lock. A reader that meets a writer in the middle, or what a killed worker left half written,
finds cells that do not belong together: the check is a sum over the other five, whatever order the processor stored them in.
Such an exemplar is left out of one page. Of several workers the newest counts.

Owns no memory: cells are handed in. Which requests are traced is decided elsewhere.
"""

from collections.abc import Iterable
from struct import pack
from typing import Final, NamedTuple
from zlib import crc32

EXEMPLAR_CELLS: Final = 6
_PART: Final = (1 << 43) - 1


class Exemplar(NamedTuple):
    """One request: how long it took, when it ended (wall clock), and the trace that tells why."""

    when: float
    seconds: float
    trace_id: str


def write_exemplar(cells: "memoryview[float]", at: int, trace_id: bytes, seconds: float, when: float) -> None:
    """Put it in the place of the one before. `trace_id`: 32 hexadecimal digits."""
    number = int(trace_id, 16)
    parts = (float(number >> 86), float(number >> 43 & _PART), float(number & _PART), seconds, when)
    for place, part in enumerate(parts, at):
        cells[place] = part
    cells[at + 5] = _check(parts)


def read_exemplar(cells: "memoryview[float]", at: int) -> Exemplar | None:
    """What is there, or None when nothing is, or not all of it."""
    parts = tuple(cells[at : at + 5])
    if cells[at + 5] != _check(parts):
        return None
    number = int(parts[0]) << 86 | int(parts[1]) << 43 | int(parts[2])
    return Exemplar(parts[4], parts[3], f"{number:032x}")


def newest_exemplar(blocks: Iterable["memoryview[float]"], at: int) -> Exemplar | None:
    """The newest of several writers'."""
    return max(filter(None, (read_exemplar(cells, at) for cells in blocks)), default=None)


def _check(parts: tuple[float, ...]) -> float:
    """Never 0, which is what an empty bucket holds."""
    return crc32(pack("5d", *parts)) + 1.0
