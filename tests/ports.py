"""Ports for servers that have to be told one.

Below the range from which the kernel hands out ports by itself: a port of that range, free when it was looked at, may be given to
anybody before its server is up. Every test process draws from numbers of its own.
"""

import os
import socket
from contextlib import suppress
from itertools import count
from secrets import randbelow

_LOWEST, _ALL = 12_000, 9_000  # a node of a cluster also listens 10000 ports higher, below that range too
_PROCESSES = 8
_OWN = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _PROCESSES
_numbers = count(randbelow(_ALL // _PROCESSES))


def free_port() -> int:
    """One that nobody listens on, and that no other test of this process was given lately."""
    for number in _numbers:
        port = _LOWEST + number * _PROCESSES % _ALL + _OWN
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable: the numbers never end")


def free_ports(how_many: int) -> list[int]:
    """So many, all different."""
    return [free_port() for _ in range(how_many)]
