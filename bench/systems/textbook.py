"""The textbook gateway (`peers/textbook.py`): aiohttp on both sides, PyJWT and three Redis look-ups on every request."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Final

from bench.place import PEERS, Place, Running
from bench.process import can_connect, free_port, started, wait_for
from bench.systems import System, redis


@contextlib.contextmanager
def _running(place: Place) -> Iterator[Running]:
    port, folder = free_port(), place.new_folder("textbook")
    with redis.running(place) as (store_port, store):
        ports = [str(port), str(place.backend_port), str(store_port)]
        command = [sys.executable, PEERS / "textbook.py", *ports, place.issuer.key_set_path]
        with started(command, cores=(place.cores.system,), output=folder / "log") as process:
            wait_for(lambda: can_connect(port), process)
            yield Running(port, process, place.issuer.mint().text, also=(store,))


SYSTEMS: Final = (System("textbook", "aiohttp application + PyJWT + redis-py, textbook", redis.missing, _running),)
