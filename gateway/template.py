"""A process that has imported what a worker needs, and is forked when one is wanted: imported once, there in milliseconds.

    supervisor ── letter, descriptors ──▶ template ── forks ──▶ go-between ── forks ──▶ worker
        ▲                                                          │                     │
        └───────────────────────── its id ────────────────────────┘                     │
        └──── and, when the go-between has ended, the worker is its child ───────────────┘

The kernel gives an orphan to the nearest ancestor that asked for orphans, so a worker is the supervisor's own child, like one
that it started as a program: it sees it end, and the worker ends with it (`lifeline.py`). Workers share what nobody writes.

The template imports, waits and forks, and nothing else: no thread, no event loop, no socket but the one to the supervisor.
Without it (another system than Linux, its death, its silence) workers are started as programs of their own.
"""

import ctypes
import gc
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, Self

from gateway.boot import Boot, without_settings
from gateway.lifeline import end_with_parent

ENVIRONMENT_NAME: Final = "GATEWAY_TEMPLATE"
COMMAND: Final = (sys.executable, "-m", "gateway", "worker")
ANSWERS_WITHIN_S: Final = 3.0
IMPORTED_WITHIN_S: Final = 30.0
_IMPORTED: Final = b"imported"
_LONGEST_LETTER: Final = 1 << 16
_MOST_DESCRIPTORS: Final = 64
_PR_SET_CHILD_SUBREAPER: Final = 36


class Process(Protocol):
    """What a supervisor does with a worker, however it was started: as `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""

    def send_signal(self, number: int) -> None:
        """To this very process, and to none when it has been seen to end."""


class Forked:
    """A worker that a template forked: our child, so its id is nobody else's before its end was seen here."""

    __slots__ = ("_code", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def send_signal(self, number: int) -> None:
        """To this very process, and to none when it has been seen to end."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Template:
    """The supervisor's side: one process, and the line to it. Start it before anything else, so that both import at once."""

    __slots__ = ("_is_imported", "_line", "_process")

    def __init__(self, process: "subprocess.Popen[bytes]", line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._is_imported = False

    @classmethod
    def start(cls, command: Sequence[str] = COMMAND) -> Self | None:
        """None where there can be none. From the main thread, which lives as long as this process."""
        if not sys.platform.startswith("linux") or _take_in_orphans() != 0:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            letter = json.dumps({"line": theirs.fileno(), "supervisor_pid": os.getpid()})
            process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env={**without_settings(os.environ), ENVIRONMENT_NAME: letter},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
        return cls(process, ours)

    def wait(self) -> None:
        """Until it has imported everything. Raises OSError when it did not."""
        if not self._is_imported:
            self._line.settimeout(IMPORTED_WITHIN_S)
            if self._line.recv(len(_IMPORTED)) != _IMPORTED:
                raise ConnectionResetError("the template of workers has ended")
            self._is_imported = True

    def fork(self, boot: Boot) -> Forked:
        """A worker with this letter, after `wait`. Raises OSError when nobody knows whether there is one.

        Then close the line that the letter names: a worker whose line has ended ends. The template is of no use any more.
        """
        self._line.settimeout(ANSWERS_WITHIN_S)
        socket.send_fds(self._line, [boot.to_json().encode()], list(boot.descriptors()))
        answer = json.loads(self._line.recv(_LONGEST_LETTER) or b'{"error": "the template of workers has ended"}')
        if "error" in answer:
            raise ConnectionResetError(answer["error"])
        return Forked(answer["pid"])

    def close(self) -> None:
        """End it. Workers that were forked live on."""
        self._line.close()
        self._process.kill()
        self._process.wait()


def serve(letter: str, become: Callable[[Boot], int]) -> int:
    """The template's life, once everything is imported; the exit code. In a worker that it forked: what `become` returns."""
    said = json.loads(letter)
    end_with_parent(said["supervisor_pid"])()
    line = socket.socket(fileno=said["line"])
    line.set_inheritable(False)
    gc.collect()
    gc.enable()
    gc.freeze()  # what is there now is there for good: a collection in a worker would copy every page of it
    line.send(_IMPORTED)
    while True:
        text, descriptors, _, _ = socket.recv_fds(line, _LONGEST_LETTER, _MOST_DESCRIPTORS)
        if not text:
            return 0
        if (answer := _fork()) is None:
            line.close()
            end_with_parent(said["supervisor_pid"])()  # the kernel does not pass that on to a fork
            boot = Boot.from_json(text.decode()).holding(descriptors)
            return 0 if _has_ended(boot.control_fd) else become(boot)
        line.send(json.dumps(answer).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _fork() -> dict[str, int | str] | None:
    """In the template: what to tell the supervisor, whose child the worker is by then. In the worker: None."""
    try:
        outcome, told = os.pipe()
        go_between = os.fork()
    except OSError as error:
        return {"error": f"no worker can be forked: {error.strerror}"}
    if not go_between:
        os.close(outcome)
        _leave_behind(told)
        return None
    os.close(told)
    os.waitpid(go_between, 0)  # from here on the worker is the supervisor's
    with open(outcome, "rb") as reader:
        pid = reader.read()
    return {"pid": int(pid)} if pid else {"error": "no worker can be forked: its go-between ended"}


def _leave_behind(told: int) -> None:
    """In the go-between: fork the worker, tell its id, end. Returns in the worker, once it is the supervisor's child."""
    go_between = os.getpid()
    try:
        if worker := os.fork():
            os.write(told, str(worker).encode())
    except BaseException:
        os._exit(1)
    if worker:
        os._exit(0)
    os.close(told)
    os.setpgid(0, 0)  # Ctrl-C reaches the supervisor alone
    while os.getppid() == go_between:
        time.sleep(0.0002)


def _has_ended(line: int) -> bool:
    """Whether the other end is closed: the supervisor has waited too long for this worker, and started another one."""
    look = select.poll()
    look.register(line, 0)
    return bool(look.poll(0))


def _take_in_orphans() -> int:
    """Ask the kernel for the orphans among our descendants. 0: it will."""
    return int(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
