"""A Redis for the peers that ask one on every request. It runs on the core of the system under test and counts with it."""

import contextlib
from collections.abc import Iterator

from bench.place import Place, find
from bench.process import Process, can_connect, free_port, started, wait_for


def missing() -> str | None:
    return None if find("redis-server") else "redis-server is not installed (Debian: redis-server)"


@contextlib.contextmanager
def running(place: Place) -> Iterator[tuple[int, Process]]:
    """Its port and its process. Nothing is ever saved: the peer gets the fastest store there is."""
    port, folder = free_port(), place.new_folder("redis")
    command = [find("redis-server") or "", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with started(command, cores=(place.cores.system,), output=folder / "log") as process:
        wait_for(lambda: can_connect(port), process)
        yield port, process
