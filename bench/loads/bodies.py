"""A 4 GiB body, down and up: at which rate, and how much memory does the system take while it passes?

Beside nginx with its default buffers (it writes what a slow side does not take to files, and an upload entirely before
it forwards a byte) and with buffering off, which is what the gateway does. Growth is the peak of resident memory since
the transfer began, over all processes; also with a client, and a backend, that read slowly.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Final

from bench.budgets import Verdict, at_least, at_most, taken_beside
from bench.client import Connection
from bench.loads import Options
from bench.loads.backends import backend
from bench.place import Place, Running
from bench.process import BenchError, Bystanders, forget_peaks, resident_bytes, tree
from bench.report import Report
from bench.systems import gateway, nginx

_BODY_BYTES: Final = 4 << 30
_QUICK_BODY_BYTES: Final = 512 << 20
_FILE_BYTES: Final = 64 << 20
_SLOW_PIECE_BYTES: Final = 64 << 10
_SLOW_PAUSE_S: Final = 0.02
_SLOW_SECONDS: Final = 5.0
_MEMORY_BUDGET_MIB: Final = 16.0
_DEFAULT_BUFFERS: Final = "nginx, default buffers"
_OURS: Final = "this gateway"


@dataclass(slots=True)
class Transfers:
    """What one system did: rates per round, the largest growth of memory."""

    download_gb_s: list[float] = field(default_factory=list)
    upload_gb_s: list[float] = field(default_factory=list)
    growth_mib: float = 0.0
    slow_growth_mib: float = 0.0


def measure(place: Place, options: Options) -> Report:
    """Rates and memory, in interleaved rounds."""
    length = _QUICK_BODY_BYTES if options.is_quick else _BODY_BYTES
    bystanders = Bystanders()
    found = {name: Transfers() for name in _systems(place, 0)}
    with backend(place, "streams.py") as backend_port:
        for _ in range(options.rounds):
            for name, start in _systems(place, backend_port).items():
                with start as running:
                    _transfer(running, length, found[name])
                    if not found[name].slow_growth_mib:
                        found[name].slow_growth_mib = max(_slow_download(running, length), _slow_upload(running, length))
    return Report(
        title=f"A body of {length >> 20} MiB; {options.rounds} rounds, medians",
        columns=("system", "down GB/s", "up GB/s", "memory + MiB", "memory + MiB, slow side"),
        rows=tuple(_row(name, transfers) for name, transfers in found.items()),
        verdicts=(*_memory_verdicts(found), *taken_beside(bystanders.percent(), _rate_verdicts(found))),
        values={"body_bytes": length, "systems": {name: asdict(transfers) for name, transfers in found.items()}},
    )


def _systems(place: Place, backend_port: int) -> dict[str, AbstractContextManager[Running]]:
    """Fresh starts, by title. Those that are not installed are left out."""
    starts: dict[str, tuple[Callable[[], str | None], AbstractContextManager[Running]]] = {
        _DEFAULT_BUFFERS: (nginx.missing, nginx.plain(place, backend_port=backend_port)),
        "nginx, buffering off": (
            nginx.missing,
            nginx.plain(place, backend_port=backend_port, location="proxy_buffering off; proxy_request_buffering off;"),
        ),
        _OURS: (gateway.missing, _gateway(place, backend_port)),
    }
    return {title: start for title, (missing, start) in starts.items() if missing() is None}


@contextlib.contextmanager
def _gateway(place: Place, backend_port: int) -> Iterator[Running]:
    with gateway.ready(place, other_port=backend_port) as ready:
        yield Running(ready.port, ready.process, ready.token.text)


def _transfer(running: Running, length: int, transfers: Transfers) -> None:
    """Once down and once up over one connection, with the peak of memory meanwhile."""
    with Connection(running.port) as connection, _source() as descriptor:
        _download(connection, running, 1 << 20)
        growth = _watched(running)
        transfers.download_gb_s.append(length / _timed(lambda: _download(connection, running, length)) / 1e9)
        transfers.upload_gb_s.append(length / _timed(lambda: _upload(connection, running, descriptor, length)) / 1e9)
        transfers.growth_mib = max(transfers.growth_mib, growth())


def _download(connection: Connection, running: Running, length: int) -> None:
    connection.send_head("GET", f"/other/{length}", running.token)
    status, announced = connection.read_head()
    if (status, announced) != (200, length):
        raise BenchError(f"answered {status} with {announced} bytes instead of {length}")
    connection.discard_all(length)


def _upload(connection: Connection, running: Running, descriptor: int, length: int) -> None:
    connection.send_head("PUT", "/other/swallow", running.token, length=length)
    connection.send_file(descriptor, _FILE_BYTES, length)
    status, _ = connection.read_head()
    if status != 200:
        raise BenchError(f"an upload was answered {status}")


def _slow_download(running: Running, length: int) -> float:
    """Growth while a client takes 64 KiB every 20 ms."""
    growth = _watched(running)
    with Connection(running.port, receive_buffer_bytes=_SLOW_PIECE_BYTES) as connection:
        connection.send_head("GET", f"/other/{length}", running.token)
        connection.read_head()
        end = time.monotonic() + _SLOW_SECONDS
        while time.monotonic() < end:
            connection.discard(_SLOW_PIECE_BYTES)
            time.sleep(_SLOW_PAUSE_S)
        return growth()


def _slow_upload(running: Running, length: int) -> float:
    """Growth while a client sends as fast as it may to a backend that takes 64 KiB every 20 ms."""
    growth = _watched(running)
    piece = bytes(_SLOW_PIECE_BYTES)
    with Connection(running.port) as connection:
        connection.send_head("PUT", "/other/slow", running.token, length=length)
        connection.socket.settimeout(0.1)
        end = time.monotonic() + _SLOW_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                connection.socket.send(piece)
        return growth()


def _watched(running: Running) -> Callable[[], float]:
    """From now on: how far, in MiB, the peak of memory is above what it is now."""
    processes = tree(*running.roots)
    before = resident_bytes(processes)
    forget_peaks(processes)
    return lambda: (resident_bytes(processes, "VmHWM") - before) / (1 << 20)


def _timed(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


@contextlib.contextmanager
def _source() -> Iterator[int]:
    descriptor = os.memfd_create("source")
    os.truncate(descriptor, _FILE_BYTES)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _row(name: str, transfers: Transfers) -> tuple[str, ...]:
    return (
        name,
        f"{statistics.median(transfers.download_gb_s):.2f}",
        f"{statistics.median(transfers.upload_gb_s):.2f}",
        f"{transfers.growth_mib:.1f}",
        f"{transfers.slow_growth_mib:.1f}",
    )


def _memory_verdicts(found: dict[str, Transfers]) -> list[Verdict]:
    if _OURS not in found:
        return []
    return [
        at_most("memory while a body passes", found[_OURS].growth_mib, _MEMORY_BUDGET_MIB, "MiB"),
        at_most("the same with a slow side", found[_OURS].slow_growth_mib, _MEMORY_BUDGET_MIB, "MiB"),
    ]


def _rate_verdicts(found: dict[str, Transfers]) -> list[Verdict]:
    if _OURS not in found or _DEFAULT_BUFFERS not in found:
        return []
    verdicts = []
    for what in ("download_gb_s", "upload_gb_s"):
        ratio = statistics.median(getattr(found[_OURS], what)) / statistics.median(getattr(found[_DEFAULT_BUFFERS], what))
        verdicts.append(at_least(f"{what.partition('_')[0]} ÷ nginx with default buffers", ratio, 1.0))
    return verdicts
