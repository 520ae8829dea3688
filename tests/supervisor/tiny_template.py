"""A template of workers that import nothing: each says on a socket pair who it is and whose child, and ends when told how."""

import os
import signal
import sys

from gateway.boot import Boot
from gateway.template import ENVIRONMENT_NAME, serve


def become(boot: Boot) -> int:
    os.write(boot.control_fd, f"{os.getpid()} {os.getppid()} {os.getpgid(0)} {boot.index}".encode())
    order = os.read(boot.control_fd, 64).decode()
    if order == "sleep":
        signal.pause()
    return int(order)


if __name__ == "__main__":
    sys.exit(serve(os.environ[ENVIRONMENT_NAME], become))
