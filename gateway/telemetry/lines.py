"""Lines to a descriptor that may be slow: writing one never waits, whatever the reader does.

    writer ──append──▶ bytearray, at most 4 MiB ──64 KiB at a time──▶ thread ──write(2)──▶ pipe, file, terminal
                          full: dropped, counted

A reader that stopped (a paused terminal, a stuck log shipper) fills the pipe, then the buffer, and then lines are
dropped and counted; the event loop never sees it. A thread does the writing because the usual alternative, O_NONBLOCK,
is a property of the open file and not of the descriptor: it would be switched on for the operator's shell too.

Workers share stdout. A write longer than PIPE_BUF (4096) may be torn by another process's, so the thread holds a record
lock on a file that all of them have, for as long as it writes whole lines.

Lists of lines instead of one bytearray were tried: holding on to 3000 small objects makes the allocator ask the kernel
for memory and give it back in turns, 2 µs a line.
"""

import fcntl
import os
import select
import threading
from collections.abc import Callable
from typing import Final

LIMIT_BYTES: Final = 4 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
GATHER_S: Final = 0.05
_LONGEST_LINE_BYTES: Final = CHUNK_BYTES


class LineWriter:
    """Per process: the buffer, the thread that empties it.

    `write` is for one thread at a time (the event loop, or a logging handler under its lock). `on_drop` is told how many
    lines were lost, from either thread. `lock_fd` is any file that all processes writing to the same `fd` share.
    """

    __slots__ = (
        "_buffer",
        "_fd",
        "_gather",
        "_is_awake",
        "_is_closing",
        "_lock_fd",
        "_on_drop",
        "_thread",
        "_wake",
    )

    def __init__(self, fd: int, on_drop: Callable[[int], None], lock_fd: int | None = None) -> None:
        self._fd = fd
        self._lock_fd = lock_fd
        self._on_drop = on_drop
        self._buffer = bytearray()
        self._is_awake = False
        self._is_closing = False
        self._wake = threading.Event()
        self._gather = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take one line, its newline included, or drop it when there is no room."""
        buffer = self._buffer
        if len(buffer) + len(line) > LIMIT_BYTES or len(line) > _LONGEST_LINE_BYTES:
            self._on_drop(1)
            return
        buffer += line
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is left, for at most `timeout_s`; a reader that stopped does not hold up the end."""
        self._is_closing = True
        self._gather.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait()
            self._gather.wait(GATHER_S)
            # In this order: a line that comes from now on either is in the buffer already or wakes us again.
            self._wake.clear()
            self._is_awake = False
            self._empty()
        self._empty()

    def _empty(self) -> None:
        """Write whole lines until none are left. Each step on the buffer is one operation under the interpreter's lock."""
        buffer = self._buffer
        while end := buffer.rfind(b"\n", 0, CHUNK_BYTES) + 1:
            chunk = bytes(buffer[:end])
            del buffer[:end]
            try:
                self._write_locked(chunk)
            except OSError:  # nobody reads any more, the disk is full: the lines are lost, the gateway is not
                self._on_drop(chunk.count(b"\n"))

    def _write_locked(self, chunk: bytes) -> None:
        if self._lock_fd is None:
            _write_all(self._fd, chunk)
            return
        # One byte per descriptor number: stdout and stderr do not wait for each other.
        fcntl.lockf(self._lock_fd, fcntl.LOCK_EX, 1, self._fd)
        try:
            _write_all(self._fd, chunk)
        finally:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_UN, 1, self._fd)


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody else made the file non-blocking
            select.select((), (fd,), ())
