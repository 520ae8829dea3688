"""What the workers of one host tell each other about their witness file: who writes it, how far it is, and what it may lack.

    witness.lock      run 16 │ place                          whoever holds it writes the file
    witness.behind    a place for each seat of a run          place: log 8 │ epoch 8 │ sequence 8 │ crc 4 │ nothing 4

The lock is the kernel's, which gives it free when its holder dies, however it dies. What is *published* in it is how far the file
is on the disk. It is for living processes, so it needs no flush.

A *mark* says that its worker acknowledged the log up to there although the file was not known to have it. It is for the next
life, so it is flushed; its place was allocated beforehand, so that a full disk takes it too. As soon as the file has come so far
a mark means nothing any more. Nobody takes one away, so nobody can do so too early: a writer that hung and goes on, say.

Blocking, and for a thread. Owns both descriptors. Who waits for what, and for how long, is decided in witnessing.py.
"""

import fcntl
import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from gateway.private_files import create_private, flush_folder, open_private, write_all
from gateway.revocation.continuity import Position

RUN_LENGTH: Final = 16
SEATS: Final = 64  # two workers of one run that share a place would have to hang at the same moment
RUNS: Final = 16
_place: Final = Struct(">8sQQI4x")  # 32 bytes: none lies across two sectors, so one is written or not


class Reached(NamedTuple):
    """A place in a log. Later ones are greater, in the same log."""

    log: bytes
    epoch: int
    sequence: int

    @classmethod
    def of(cls, log: str, position: Position) -> "Reached":
        return cls(blake2b(log.encode(), digest_size=8).digest(), int(position.epoch), position.sequence)

    def covers(self, other: "Reached") -> bool:
        """Whether whoever has come here has been there; of another epoch nobody knows."""
        return self[:2] == other[:2] and self.sequence >= other.sequence


class WitnessLock:
    """Per process: two descriptors, opened when they are needed. Every method raises OSError."""

    def __init__(self, folder: Path, run: str, seat: int) -> None:
        self._lock_file, self._marks_file = folder / "witness.lock", folder / "witness.behind"
        self._run = run.encode().ljust(RUN_LENGTH)[:RUN_LENGTH]
        self._mark_at = (crc32(self._run) % RUNS * SEATS + seat % SEATS) * _place.size
        self._lock = self._marks = -1

    def take(self) -> bool:
        """Whether it is ours now."""
        self._open()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.pwrite(self._lock, self._run, 0)
        return True

    def holder(self) -> str:
        """The run of whoever has it, or had it last."""
        self._open()
        return os.pread(self._lock, RUN_LENGTH, 0).decode("ascii", "replace").strip()

    def publish(self, reached: Reached) -> None:
        """The file is on the disk up to there."""
        os.pwrite(self._lock, _packed(reached), RUN_LENGTH)

    def published(self) -> Reached | None:
        """How far the file is on the disk; None: nobody has said."""
        self._open()
        return _read(os.pread(self._lock, _place.size, RUN_LENGTH))

    def mark(self, reached: Reached) -> None:
        """This worker acknowledges up to there, whether or not the file has it. On the disk when this returns."""
        self._open()
        os.pwrite(self._marks, _packed(reached), self._mark_at)
        os.fdatasync(self._marks)

    def close(self) -> None:
        for descriptor in (self._lock, self._marks):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._marks = -1

    def _open(self) -> None:
        if self._lock < 0:
            self._lock_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open_private(self._lock_file, os.O_RDWR | os.O_CREAT)
            try:
                self._marks = _open_marks(self._marks_file)
            except OSError:
                os.close(lock)
                raise
            self._lock = lock


def lacks(folder: Path, log: str, position: Position) -> bool:
    """Whether somebody acknowledged more of the log than a file has that ends there. Raises OSError."""
    try:
        descriptor = open_private(folder / "witness.behind", os.O_RDONLY)
    except FileNotFoundError:
        return False
    with open(descriptor, "rb") as file:
        raw = file.read()
    here, empty = Reached.of(log, position), bytes(_place.size)
    for place in (raw[at : at + _place.size] for at in range(0, len(raw), _place.size)):
        mark = _read(place)
        if (mark.log == here.log and mark > here) if mark is not None else place != empty:
            return True
    return False


def _open_marks(file: Path) -> int:
    """Made once, whole: its places must be there when the disk is full. One that another worker just made is as good."""
    if not file.exists():
        beside = file.with_name(f"{file.name}.{os.getpid()}")
        descriptor = create_private(beside)
        try:
            write_all(descriptor, bytes(SEATS * RUNS * _place.size))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            os.link(beside, file)
        beside.unlink()
        flush_folder(file.parent)
    return open_private(file, os.O_RDWR)


def _packed(reached: Reached) -> bytes:
    log, epoch, sequence = reached
    return _place.pack(log, epoch, sequence, crc32(b"%s %d %d" % (log, epoch, sequence)))


def _read(raw: bytes) -> Reached | None:
    """None: nothing was written there, or half of it."""
    if len(raw) < _place.size:
        return None
    log, epoch, sequence, crc = _place.unpack(raw)
    return Reached(log, epoch, sequence) if crc == crc32(b"%s %d %d" % (log, epoch, sequence)) else None
