"""Keeping the witness file (witness.py): one worker of a host writes it, all of them read it before they believe a store [L5].

    DIRECTORY/
      witness           0600, put in its place in one step and flushed; then appended to, a batch at a time, flushed each time
      witness.lock      held by the worker that writes; inside, how far the file is on the disk
      witness.behind    what was acknowledged although the file was not known to have it        (both: witness_lock.py)

A live worker takes the lock if nobody has it, and writes the file anew from its view. From then on it appends what the log brings
*before* it acknowledges it. Every other worker waits, before it acknowledges, until that is published. So what a complete
receipt speaks of is in the file, or it is marked that it may not be: nobody waits longer than `WITHIN_S` for a writer that
hangs, writes the file anew, or has a bad disk. A file that ends before a mark vouches for nothing; as soon as it has come so far
it does again.

When more was appended than there are facts, the file is written anew beside the old one. Whoever takes the lock next does the
same, so nothing depends on the old file being readable. What cannot be written is tried again every few seconds, whole: after a
flush that failed a file is never appended to, for what such a disk holds is unknown.

Disk and threads are this file's; loops over facts run on the event loop, in pieces of a few milliseconds. Decides nothing.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.clock import Clock
from gateway.private_files import create_private, open_private, put_in_place, write_all
from gateway.revocation.continuity import Position
from gateway.revocation.entry import NEWS, Entry
from gateway.revocation.view import View
from gateway.revocation.witness import (
    FRAME_BYTES,
    FRAMES_AT,
    HEAD_BYTES,
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
from gateway.revocation.witness_lock import RUN_LENGTH, Reached, WitnessLock, lacks

WITHIN_S: Final = 0.25
AGAIN_AFTER_S: Final = 5.0
QUIET_S: Final = 60.0
PROOF_EVERY_S: Final = 5.0
SPARE_FRAMES: Final = 8192
MOST_WAITING: Final = 65_536
TAIL_BYTES: Final = 2048 * FRAME_BYTES
_LOOK_EVERY_S: Final = 0.001  # the writer's flush takes one to four milliseconds
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
        *,
        seat: int = 0,
    ) -> None:
        self._file = folder / "witness"
        self._keys = tuple(keys)
        self.address = address
        self.run = incarnation[:RUN_LENGTH]
        self._clock = clock
        self._on_problem = on_problem
        self._thread = ThreadPoolExecutor(1, "witness")
        self._lock = WitnessLock(folder, self.run, seat)
        self._lock_thread = ThreadPoolExecutor(1, "witness-lock")  # its own: the other one may hang in a flush
        self._stuck: asyncio.Future[Any] | None = None  # what that one has not answered in time
        self._task: asyncio.Task[None] | None = None
        self._is_ours = False
        self._descriptor = -1
        self._try_at = 0.0  # to take the lock, when there is nothing new: its holder may have died
        self._again_at = 0.0
        self._quiet_until = 0.0
        self._is_told = self._is_late = self._is_closed = False
        # per file
        self._standing: Standing | None = None
        self._proof = Proof()
        self._waiting: list[bytes] = []
        self._unkept: Reached | None = None  # what comes before the next acknowledgement
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

    async def has_ended(self, run: str) -> bool:
        """Whether there was such a run and its workers are gone: the lock is free, or one of our own run has it."""
        if run in ("", self.run):
            return False
        try:
            return await self._take_lock() or await self._ask(self._lock.holder) == self.run
        except (OSError, TimeoutError) as error:
            self._fail(error)
            return False

    def keep(self, view: View, standing: Standing, entries: Sequence[Entry], *, is_proof: bool) -> None:
        """This live worker stands there, after it has applied these entries. Begins to write, if it is this worker that does."""
        now, before = self._clock.boot(), self._standing
        self._note(view, standing, entries, is_proof=is_proof)
        if before is None or (before.log, before.position) != (standing.log, standing.position):
            self._unkept = Reached.of(standing.log, standing.position)
        is_mine = self._is_ours or bool(entries) or now >= self._try_at
        is_due = self._waiting or self._is_proof_due or (self._is_rewrite_due and is_mine)
        if is_due and now >= self._again_at and (self._task is None or self._task.done()):
            self._try_at = now + PROOF_EVERY_S
            self._task = asyncio.create_task(self._write(view))

    async def settled(self) -> None:
        """What was to be kept is on the disk, or it is marked that it may not be. Before anybody is told that it was applied."""
        wanted, self._unkept = self._unkept, None
        if wanted is None or self._is_closed:
            return
        try:
            if await self._is_kept(wanted):
                self._is_late = False
                return
            if not self._is_late and not self._is_told:
                self._on_problem("late")
            self._is_late = True
            await self._ask(lambda: self._lock.mark(wanted))
        except (OSError, TimeoutError) as error:
            self._is_late = True
            self._on_problem("unmarked")
            if self._clock.boot() >= self._quiet_until:
                self._quiet_until = self._clock.boot() + QUIET_S
                why = str(error) or "the disk hangs"
                _log.error("the witness file may lack what is acknowledged, and that cannot be noted: %s", why)

    async def close(self) -> None:
        """Write what waits, for a moment, and give the file free. What the disk still has in its hands is closed behind it."""
        if self._is_closed:
            return
        self._is_closed, self._again_at = True, float("inf")
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=WITHIN_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close_behind(self._descriptor)
        self._descriptor = -1
        self._lock_thread.submit(self._lock.close)
        for thread in (self._thread, self._lock_thread):
            thread.shutdown(wait=False)

    def _close_behind(self, descriptor: int) -> None:
        """Not before the thread is done with it."""
        if descriptor >= 0:
            self._thread.submit(os.close, descriptor)

    async def _is_kept(self, wanted: Reached) -> bool:
        """Wait until the file has it, for a moment; not again while the file is late."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN_S
        while True:
            published = await self._ask(self._lock.published)
            if published is not None and published.covers(wanted):
                return True
            left_s = deadline - loop.time()
            is_failing = self._is_ours and self._clock.boot() < self._again_at
            if self._is_late or is_failing or left_s <= 0:
                return False
            if self._task is not None and not self._task.done():
                await asyncio.wait({self._task}, timeout=left_s)
            else:
                await asyncio.sleep(_LOOK_EVERY_S)

    # What is to be written.

    def _note(self, view: View, standing: Standing, entries: Sequence[Entry], *, is_proof: bool) -> None:
        before, self._standing = self._standing, standing
        if not self._is_ours:
            return
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
        """All that is due; one at a time. By whoever has the lock."""
        try:
            if not await self._take_lock():
                return
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
            self._is_told = False
        except (OSError, ValueError) as error:
            self._fail(error)

    async def _append(self) -> None:
        frames, self._waiting = self._waiting, []
        proof, self._is_proof_due = pack_proof(self._proof) if self._is_proof_due else b"", False
        self._appended += len(frames)
        descriptor = self._descriptor
        assert self._standing is not None
        reached = Reached.of(self._standing.log, self._standing.position)

        def write() -> None:
            if proof:
                os.pwrite(descriptor, proof, HEAD_BYTES)
            if frames:
                write_all(descriptor, b"".join(frames))
                os.fdatasync(descriptor)
                self._lock.publish(reached)

        await self._in_thread(write)

    async def _rewrite(self, view: View) -> bool:
        """The whole file anew, beside the old one. False: the epoch ended meanwhile."""
        assert self._standing is not None
        standing, epoch = self._standing, view.epoch
        self._waiting, self._is_rewrite_due, self._is_proof_due = [], False, False
        beside = self._file.with_suffix(".new")
        descriptor = await self._in_thread(lambda: create_private(beside))
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
            await self._in_thread(lambda: self._lock.publish(Reached.of(standing.log, standing.position)))
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
        await self._in_thread(lambda: write_all(descriptor, b"".join(piece)))
        return []

    def _fail(self, error: Exception) -> None:
        """For a while. The file's facts are what they were; what is acknowledged meanwhile is marked."""
        self._on_problem("write")
        if not self._is_told:
            _log.error("the witness file cannot be written: %s", str(error) or "the disk hangs")
        self._is_told = self._is_rewrite_due = True
        self._waiting = []
        self._again_at = self._clock.boot() + AGAIN_AFTER_S

    async def _take_lock(self) -> bool:
        """Whether it is this worker that writes. Raises OSError, TimeoutError."""
        if not self._is_ours and await self._ask(self._lock.take):
            self._is_ours = True
        return self._is_ours

    async def _ask(self, work: Callable[[], T]) -> T:
        """In the lock's thread, for a moment. Raises TimeoutError, and at once while a disk has not answered the last time."""
        if self._is_closed or (self._stuck is not None and not self._stuck.done()):
            raise TimeoutError
        asked = asyncio.get_running_loop().run_in_executor(self._lock_thread, work)
        done, _ = await asyncio.wait({asked}, timeout=WITHIN_S)
        if not done:
            self._stuck = asked
            raise TimeoutError
        return asked.result()

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
    with open(open_private(path, os.O_RDONLY), "rb") as file:
        first = file.read(FRAMES_AT)
        head = read_head(first, keys)
        if head is None:
            raise _Unusable("foreign", "is damaged, or another gateway's")
        if not whole:
            frames = (os.fstat(file.fileno()).st_size - FRAMES_AT) // FRAME_BYTES
            file.seek(FRAMES_AT + max(0, frames * FRAME_BYTES - TAIL_BYTES))
        testimony = read_testimony(head, read_proof(first[HEAD_BYTES:]), file.read())
    if testimony is not None:
        is_behind = whole and lacks(path.parent, head.log, testimony.position)
        return replace(testimony, proof=replace(testimony.proof, is_whole=False)) if is_behind else testimony
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


def _put_in_place(descriptor: int, beside: Path, file: Path, proof: bytes) -> None:
    os.pwrite(descriptor, proof, HEAD_BYTES)
    os.fdatasync(descriptor)
    put_in_place(beside, file)
