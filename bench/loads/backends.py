"""The further backends, started beside the load generator: large bodies (`peers/streams.py`) and WebSockets (`peers/echo.py`)."""

import contextlib
import sys
from collections.abc import Iterator

from bench.place import PEERS, Place
from bench.process import can_connect, free_port, started, wait_for


@contextlib.contextmanager
def backend(place: Place, script: str) -> Iterator[int]:
    """A script of `peers/` that takes its port as its argument: the port."""
    port, folder = free_port(), place.new_folder("backend")
    with started([sys.executable, PEERS / script, str(port)], cores=(place.cores.load,), output=folder / "log") as process:
        wait_for(lambda: can_connect(port), process)
        yield port
