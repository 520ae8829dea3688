"""What the workers take of the machine: resident memory and processor time, read from /proc by the supervisor.

Nobody else could tell of a worker that hangs. Processor time is kept by the worker's number, and goes on when another process
has it: what a process had used at the last look before its end is its share. Owns these sums.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.child import Child
from gateway.telemetry.reading import ProcessReading

EVERY_S: Final = 1.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Meter:
    """Per supervisor."""

    __slots__ = ("_alive", "_ended_s", "_look_at", "_resident")

    def __init__(self) -> None:
        self._alive: dict[int, tuple[int, float]] = {}  # by process: the worker's number, and its processor time
        self._ended_s: dict[int, float] = {}
        self._resident: dict[int, int] = {}
        self._look_at = 0.0

    def look(self, now: float, present: Iterable[Child], past: Iterable[Child]) -> None:
        """Once a second, however often it is called."""
        if now < self._look_at:
            return
        self._look_at = now + EVERY_S
        self._resident = {child.index: resident_bytes(child.pid) for child in present if child.pid is not None}
        alive = {
            child.pid: (child.index, max(cpu_s(child.pid), self._alive.get(child.pid, (0, 0.0))[1]))
            for child in (*present, *past)
            if child.pid is not None
        }
        for process, (index, used) in self._alive.items():
            if process not in alive:
                self._ended_s[index] = self._ended_s.get(index, 0.0) + used
        self._alive = alive

    def readings(self, count: int) -> tuple[ProcessReading, ...]:
        """Of each worker, by its number."""
        used = dict(self._ended_s)
        for index, alive_s in self._alive.values():
            used[index] = used.get(index, 0.0) + alive_s
        return tuple(ProcessReading(self._resident.get(index, 0), used.get(index, 0.0)) for index in range(count))

    def largest(self) -> tuple[int, int]:
        """The worker that holds most, and how many bytes."""
        return max(((index, held) for index, held in self._resident.items()), key=lambda pair: pair[1], default=(0, 0))


def resident_bytes(process: int) -> int:
    """0: it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def cpu_s(process: int) -> float:
    """User and system time; 0: it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
