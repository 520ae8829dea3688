"""Keeping the witness file (witness.py): one worker of a host writes it, all of them read it before they believe a store [L5].

    DIRECTORY/
      witness        0600, put in its place in one step and flushed; then appended to, a batch at a time, flushed each time
      witness.lock   held by the worker that writes, for as long as it lives; inside: the run of its gateway

A worker that is live takes the lock if nobody has it, and writes the file anew from its view. From then on it appends what the
log brings *before* it acknowledges it. So what a complete receipt speaks of is in the file, unless the disk is late (nothing
waits for it longer than `WITHIN_S`, and after that not at all until it has caught up), this worker hangs, or it is writing the
file anew: then others acknowledge, and the file does not say so. When more was appended than there are
facts, the file is written anew beside the old one. Whoever takes the lock next does the same, so nothing depends on the old
file being readable.

When it cannot be written (a full disk), it vouches for nothing any more: that is noted in place, which needs no space; a disk
that does not take that either leaves it as it was, and that is told. It is tried again every few seconds, whole. After a flush
that failed a file is never appended to: what such a disk holds is unknown.

Disk and thread are this file's; loops over facts run on the event loop, in pieces of a few milliseconds. Decides nothing.
"""

import asyncio
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from gateway.clock import Clock
from gateway.revocation.continuity import Position
from gateway.revocation.entry import NEWS, Entry
from gateway.revocation.view import View
from gateway.revocation.witness import (
    FRAME_BYTES,
    FRAMES_AT,
    HEAD_BYTES,
    RUN_LENGTH,
    Head,
    Proof,
    Testimony,
    pack_fact,
    pack_head,
    pack_members,
    pack_position,
    pack_proof,
    read_head,
    read_proof,
    read_testimony,
)

WITHIN_S: Final = 0.25
AGAIN_AFTER_S: Final = 5.0
QUIET_S: Final = 60.0
PROOF_EVERY_S: Final = 5.0
SPARE_FRAMES: Final = 8192
MOST_WAITING: Final = 65_536
TAIL_BYTES: Final = 2048 * FRAME_BYTES
_PIECE_BYTES: Final = 1024 * FRAME_BYTES

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a live worker stands: the log's name, its position there, when that was proven by the store's clock, and the members
    of other hosts with their staleness in ms."""

    log: str
    position: Position
    proven_at: float
    members: tuple[tuple[str, int], ...]


class Witness:
    """Per process: the lock, the file when it is this worker that writes it, and what waits to be written.

    `keys` make and know the marks of our files, the first one makes them. `run` is the gateway's, the beginning of all its
    workers' incarnations. `on_problem` is told one of `WITNESS_PROBLEMS` each time.
    """

    def __init__(
        self,
        folder: Path,
        keys: Sequence[bytes],
        address: str,
        incarnation: str,
        clock: Clock,
        on_problem: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._file = folder / "witness"
        self._keys = tuple(keys)
        self.address = address
        self.run = incarnation[:RUN_LENGTH]
        self._clock = clock
        self._on_problem = on_problem
        self._thread = ThreadPoolExecutor(1, "witness")
        self._task: asyncio.Task[None] | None = None
        self._lock = -1
        self._is_ours = False
        self._descriptor = -1
        self._again_at = 0.0
        self._quiet_until = 0.0
        self._is_told = self._is_late = self._is_awaited = False
        # per file
        self._standing: Standing | None = None
        self._proof = Proof()
        self._waiting: list[bytes] = []
        self._is_proof_due = False
        self._is_rewrite_due = True
        self._appended = 0

    def __repr__(self) -> str:
        return f"<Witness {self._file} ours={self._is_ours} at {self._standing}>"

    async def read(self, *, whole: bool) -> Testimony | None:
        """What the file says, or, if not `whole`, its end: the position. None: there is no file, or no use in it."""
        try:
            testimony = await self._in_thread(lambda: _read(self._file, self._keys, whole=whole))
            if whole and testimony.damaged:
                self._tell("damaged", f"{testimony.damaged} frames of {self._file} are damaged: it vouches for nothing")
            return testimony
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell("damaged", f"the witness file cannot be read: {error}")
        except _Unusable as unusable:
            self._tell(unusable.problem, f"{self._file} {unusable}: it is left out")
        return None

    def has_ended(self, run: str) -> bool:
        """Whether there was such a run and its workers are gone: the lock is free, or one of our own run has it."""
        return run not in ("", self.run) and (self._take_lock() or self._holder() == self.run)

    def keep(self, view: View, standing: Standing, entries: Sequence[Entry], *, is_proof: bool) -> None:
        """This live worker stands there, after it has applied these entries. Begins to write, if it is this worker that does."""
        if self._clock.boot() < self._again_at or not self._take_lock():
            return
        self._note(view, standing, entries, is_proof=is_proof)
        if self._is_rewrite_due or self._waiting or self._is_proof_due:
            self._is_awaited = self._is_awaited or bool(entries) or self._is_rewrite_due
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._write(view))

    async def settled(self) -> None:
        """What was to be kept is on the disk when this returns, unless the disk is late or full. Before anybody is told of it."""
        if self._is_awaited and self._task is not None and not self._is_late:
            await asyncio.wait({self._task}, timeout=WITHIN_S)
            if not self._task.done():
                self._is_late = True
                self._on_problem("late")
                if self._clock.boot() >= self._quiet_until:
                    self._quiet_until = self._clock.boot() + QUIET_S
                    _log.error("the witness file is late by more than %s s: nothing waits for it meanwhile", WITHIN_S)
        self._is_awaited = False

    async def close(self) -> None:
        """Write what waits, for a moment, and give the file free. What the disk still has in its hands is closed behind it."""
        self._again_at = float("inf")
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=WITHIN_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for descriptor in (self._descriptor, self._lock):
            self._close_behind(descriptor)
        self._descriptor = self._lock = -1
        self._thread.shutdown(wait=False)

    def _close_behind(self, descriptor: int) -> None:
        """Not before the thread is done with it."""
        if descriptor >= 0:
            self._thread.submit(os.close, descriptor)

    # What is to be written.

    def _note(self, view: View, standing: Standing, entries: Sequence[Entry], *, is_proof: bool) -> None:
        before, self._standing = self._standing, standing
        if before is None or not _follows(before, standing, entries):
            self._is_rewrite_due = True
        if not self._is_rewrite_due:
            for entry in entries:
                if entry.kind not in NEWS and (fact := view.fact(entry.key)) is not None:
                    self._waiting.append(pack_fact(fact))
            if before is not None and before.members != standing.members:
                self._waiting.append(pack_members(standing.members))
            if self._waiting or entries:
                self._waiting.append(pack_position(standing.position))
            if len(self._waiting) > MOST_WAITING:  # a disk that hangs
                self._waiting, self._is_rewrite_due = [], True
        proof = self._prove(view, standing)
        is_other = replace(proof, proven_at=self._proof.proven_at) != self._proof
        if is_other or (is_proof and proof.proven_at - self._proof.proven_at > PROOF_EVERY_S):
            self._proof, self._is_proof_due = proof, True

    def _prove(self, view: View, standing: Standing) -> Proof:
        return Proof(standing.proven_at, int(view.complete_since), int(view.uses_since), view.folded_until, is_whole=True)

    # Writing.

    async def _write(self, view: View) -> None:
        """All that is due; one at a time."""
        try:
            while True:
                if self._is_rewrite_due or self._appended > len(view) + SPARE_FRAMES:
                    if not await self._rewrite(view):
                        return
                elif self._waiting or self._is_proof_due:
                    await self._append()
                else:
                    break
            if self._is_told:
                _log.warning("the witness file is written again")
            self._is_told = self._is_late = False
        except (OSError, ValueError) as error:
            await self._give_up(error)

    async def _append(self) -> None:
        frames, self._waiting = self._waiting, []
        proof, self._is_proof_due = pack_proof(self._proof) if self._is_proof_due else b"", False
        self._appended += len(frames)
        descriptor = self._descriptor

        def write() -> None:
            if proof:
                os.pwrite(descriptor, proof, HEAD_BYTES)
            if frames:
                _write_all(descriptor, b"".join(frames))
                os.fdatasync(descriptor)

        await self._in_thread(write)

    async def _rewrite(self, view: View) -> bool:
        """The whole file anew, beside the old one. False: the epoch ended meanwhile."""
        assert self._standing is not None
        standing, epoch = self._standing, view.epoch
        self._waiting, self._is_rewrite_due, self._is_proof_due = [], False, False
        beside = self._file.with_suffix(".new")
        descriptor = await self._in_thread(lambda: _create(beside))
        is_kept = False
        try:
            head = Head(standing.log, standing.position.epoch, self.address, self.run)
            piece = [pack_head(head, self._keys[0]), pack_proof(Proof())]
            end = [pack_members(standing.members), pack_position(standing.position), pack_position(standing.position)]
            size = 0
            for frames in chain((list(map(pack_fact, facts)) for facts in view.followed()), (end,)):
                piece += frames
                size += len(frames) * FRAME_BYTES
                if size >= _PIECE_BYTES:
                    piece, size = await self._write_piece(descriptor, piece), 0
                if view.epoch != epoch:
                    self._is_rewrite_due = True
                    return False
            self._proof = self._prove(view, self._standing)
            await self._write_piece(descriptor, piece)
            await self._in_thread(lambda: _put_in_place(descriptor, beside, self._file, pack_proof(self._proof)))
            is_kept = True
        finally:
            if is_kept:
                descriptor, self._descriptor = self._descriptor, descriptor
                self._appended = 0
            else:
                self._is_rewrite_due = True
                with suppress(OSError):
                    beside.unlink()
            self._close_behind(descriptor)
        return True

    async def _write_piece(self, descriptor: int, piece: list[bytes]) -> list[bytes]:
        await self._in_thread(lambda: _write_all(descriptor, b"".join(piece)))
        return []

    async def _give_up(self, error: Exception) -> None:
        """For a while. Until it is written again the old one vouches for nothing, and its facts are what they were."""
        self._on_problem("write")
        if not self._is_told:
            _log.error("the witness file cannot be written: %s", error)
        is_told, self._is_told = self._is_told, True
        self._is_rewrite_due = True
        self._waiting = []
        self._again_at = self._clock.boot() + AGAIN_AFTER_S
        try:
            await self._in_thread(lambda: _disown(self._file))
        except FileNotFoundError:
            return
        except OSError as unnoted:
            if not is_told:
                _log.error("nor can that be noted in it, so after a loss of the store it would be believed whole: %s", unnoted)

    # The lock.

    def _take_lock(self) -> bool:
        """Whether it is this worker that writes."""
        if self._is_ours:
            return True
        try:
            if self._lock < 0:
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._lock, self.run.encode().ljust(RUN_LENGTH), 0)
        except BlockingIOError:
            return False
        except OSError as error:
            self._again_at = self._clock.boot() + AGAIN_AFTER_S
            self._on_problem("write")
            if not self._is_told:
                _log.error("the witness file cannot be written: %s", error)
            self._is_told = True
            return False
        self._is_ours = True
        return True

    def _holder(self) -> str:
        """The run of whoever has the lock."""
        return os.pread(self._lock, RUN_LENGTH, 0).decode("ascii", "replace").strip() if self._lock >= 0 else ""

    def _tell(self, problem: str, text: str) -> None:
        self._on_problem(problem)
        _log.error("%s", text)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class _Unusable(Exception):
    """A file that says nothing we may believe."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(text)
        self.problem = problem


def _read(path: Path, keys: Sequence[bytes], *, whole: bool) -> Testimony:
    """Raises OSError, _Unusable."""
    with open(_open(path, os.O_RDONLY), "rb") as file:
        first = file.read(FRAMES_AT)
        head = read_head(first, keys)
        if head is None:
            raise _Unusable("foreign", "is damaged, or another gateway's")
        if not whole:
            frames = (os.fstat(file.fileno()).st_size - FRAMES_AT) // FRAME_BYTES
            file.seek(FRAMES_AT + max(0, frames * FRAME_BYTES - TAIL_BYTES))
        testimony = read_testimony(head, read_proof(first[HEAD_BYTES:]), file.read())
    if testimony is not None:
        return testimony
    if not whole:
        return _read(path, keys, whole=True)
    raise _Unusable("damaged", "shows no position")


def _follows(before: Standing, now: Standing, entries: Iterable[Entry]) -> bool:
    """Whether nothing lies between the two but these entries."""
    sequence = before.position.sequence
    for entry in entries:
        if entry.sequence != sequence + 1:
            return False
        sequence = entry.sequence
    is_same = (before.log, before.position.epoch) == (now.log, now.position.epoch)
    return is_same and sequence == now.position.sequence


def _create(file: Path) -> int:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    return _open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def _open(file: Path, flags: int) -> int:
    """A file of its own, and nothing that somebody laid there to have us write elsewhere, or wait. Raises OSError."""
    descriptor = os.open(file, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(file))
    return descriptor


def _put_in_place(descriptor: int, beside: Path, file: Path, proof: bytes) -> None:
    os.pwrite(descriptor, proof, HEAD_BYTES)
    os.fdatasync(descriptor)
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(descriptor: int, data: bytes) -> None:
    """A full disk may take a part of it; the next attempt says why."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _disown(file: Path) -> None:
    """Say in place that something is missing: that needs no space."""
    descriptor = _open(file, os.O_RDWR)
    try:
        proof = read_proof(os.pread(descriptor, FRAME_BYTES, HEAD_BYTES))
        os.pwrite(descriptor, pack_proof(replace(proof, is_whole=False)), HEAD_BYTES)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
