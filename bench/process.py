"""Processes: started on a core, watched, and ended by id, whatever happens to the benchmark.

Owns nothing beyond the `with` block that started a process. CPU time and memory are read from `/proc` for a whole
process tree, because a gateway's work is also that of its supervisor and its store.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG: Final = 1
_C_LIBRARY: Final = ctypes.CDLL(None)
_GRACE_S: Final = 5.0


class BenchError(Exception):
    """A system did not start, or did not do what is measured: its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which processor runs the system under test, and which the load generator and the backend."""

    system: int
    load: int
    usable: tuple[int, ...]

    @property
    def are_apart(self) -> bool:
        return self.system != self.load


def pick_cores() -> Cores:
    """The first two processors this process may use; on a machine with one, both are the same."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1] if len(usable) > 1 else usable[0], tuple(usable))


def free_port() -> int:
    """A TCP port nobody listens on. NB: somebody else may take it before we do; then the start fails and says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Process:
    """One started program, with the file its output goes to."""

    popen: subprocess.Popen[bytes]
    program: str
    output: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def last_words(self, limit_bytes: int = 2000) -> str:
        return self.output.read_bytes()[-limit_bytes:].decode(errors="replace")


@contextlib.contextmanager
def started(
    command: Sequence[object],
    *,
    cores: Collection[int],
    output: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run a program on these cores while the block lasts; its descendants end with it."""

    def pin() -> None:
        os.sched_setaffinity(0, cores)
        _C_LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    with output.open("wb") as sink:
        popen = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            preexec_fn=pin,
        )
    process = Process(popen, str(command[0]), output)
    try:
        yield process
    finally:
        _end(process)


def _end(process: Process) -> None:
    """SIGTERM, then SIGKILL; a descendant that outlives its root is killed too, if it is still the same process."""
    family = {pid: _start_time(pid) for pid in tree(process.pid)}
    process.popen.terminate()
    try:
        process.popen.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.popen.kill()
        process.popen.wait()
    for pid, start_time in family.items():
        if pid != process.pid and start_time is not None and _start_time(pid) == start_time:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], process: Process, *, within_s: float = 20.0, what: str = "answer") -> None:
    """Poll until the condition holds. BenchError when the process ends first, or the time is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        if not process.is_running():
            raise BenchError(f"{process.program} ended before its first {what}:\n{process.last_words()}")
        if time.monotonic() > deadline:
            raise BenchError(f"{process.program}: no {what} within {within_s:.0f} s:\n{process.last_words()}")
        time.sleep(0.02)


def can_connect(port: int) -> bool:
    """Is somebody listening there?"""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


# Fields of /proc/PID/stat after the name in parentheses, counted from its state as 0 (proc(5)).
_PARENT, _USER_TICKS, _SYSTEM_TICKS, _CHILDREN_USER, _CHILDREN_SYSTEM, _START = 1, 11, 12, 13, 14, 19


def _stat(pid: int) -> list[bytes] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _start_time(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[_START])


def tree(*roots: int) -> list[int]:
    """The processes and all their descendants, as they are now."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            children.setdefault(int(fields[_PARENT]), []).append(int(entry))
    found, left = [], list(roots)
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes, with that of children they have buried."""
    ticks = 0
    for pid in pids:
        if (fields := _stat(pid)) is not None:
            ticks += sum(int(fields[i]) for i in (_USER_TICKS, _SYSTEM_TICKS, _CHILDREN_USER, _CHILDREN_SYSTEM))
    return ticks / _TICKS_PER_SECOND


def machine_cpu_seconds() -> float:
    """Time all processors of this machine were not idle, time stolen by its host included (proc(5), /proc/stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = fields
    return (user + nice + system + interrupts + soft_interrupts + stolen) / _TICKS_PER_SECOND


class Bystanders:
    """How much of the machine others use from now on: programs we did not start, and the machine's host."""

    __slots__ = ("_since", "_then")

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._then = self._others_seconds()

    def percent(self) -> float:
        """Of one core, so far."""
        return max(0.0, self._others_seconds() - self._then) / (time.perf_counter() - self._since) * 100

    @staticmethod
    def _others_seconds() -> float:
        return machine_cpu_seconds() - cpu_seconds(tree(os.getpid()))


def resident_bytes(pids: Sequence[int], field: str = "VmRSS") -> int:
    """Memory of these processes: `VmRSS` now, `VmHWM` the most it ever was since `forget_peaks`."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1]) * 1024
    return total


def forget_peaks(pids: Sequence[int]) -> None:
    """Start a new measurement of `VmHWM` (proc(5), clear_refs)."""
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def owner_of(server_port: int, client_port: int, pids: Sequence[int]) -> int | None:
    """Which of these processes holds the accepted end of a loopback connection: says which worker serves a client."""
    return owners_of(server_port, pids).get(client_port)


def owners_of(server_port: int, pids: Sequence[int]) -> dict[int, int]:
    """For each client port connected to `server_port` over IPv4, the process that holds the accepted end."""
    client_of: dict[str, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == server_port:
            client_of[f"socket:[{fields[9]}]"] = int(fields[2].partition(":")[2], 16)
    owners: dict[int, int] = {}
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for descriptor in os.listdir(folder):
                with contextlib.suppress(FileNotFoundError):
                    client_port = client_of.get(os.readlink(f"{folder}/{descriptor}"))
                    if client_port:
                        owners[client_port] = pid
    return owners
