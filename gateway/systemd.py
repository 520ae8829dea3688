"""What systemd and this process tell each other: sd_notify(3) in one datagram, and the sockets of sd_listen_fds(3).

Without systemd (no NOTIFY_SOCKET, no LISTEN_FDS) nothing is said and nothing is inherited. Owns one datagram socket, never blocks
and never fails: whoever cannot be told is not told.
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Final

FIRST_INHERITED: Final = 3
_OF_NOTIFY: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_OF_SOCKETS: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Notifier:
    """Per process. `watchdog_s`: so often `beat` says that the supervisor's loop turns, half of what systemd waits; 0: never."""

    __slots__ = ("_beat_at", "_socket", "_to", "watchdog_s")

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Take it from the environment, and out of it: a worker has nothing to tell systemd."""
        to, usec, pid = (environ.pop(name, "") for name in _OF_NOTIFY)
        self._to = "\0" + to[1:] if to.startswith("@") else to
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if to else None
        is_asked = usec.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog_s = int(usec) / 2e6 if is_asked else 0.0
        self._beat_at = 0.0

    def say(self, *states: str, status: str = "") -> None:
        """READY=1, STOPPING=1 and the like. `status` is what `systemctl status` shows."""
        lines = [*states, *([f"STATUS={status}"] if status else [])]
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._to)

    def say_reloading(self) -> None:
        """READY=1 has to follow. The time tells systemd that this reload began after it asked for one (Type=notify-reload)."""
        self.say("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", status="Reloading")

    def beat(self, now: float) -> None:
        """Called at every turn of the loop. `now` is any clock that goes on."""
        if self.watchdog_s and now >= self._beat_at:
            self._beat_at = now + self.watchdog_s
            self.say("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[tuple[str, socket.socket]]:
    """The listening sockets that systemd holds for this process, with their names; taken out of the environment, for children."""
    told: Mapping[str, str] = {name: environ.pop(name, "") for name in _OF_SOCKETS}
    if told["LISTEN_PID"] != str(os.getpid()) or not told["LISTEN_FDS"].isdecimal():
        return []
    count = int(told["LISTEN_FDS"])
    names = [*told["LISTEN_FDNAMES"].split(":"), *([""] * count)][:count]
    found = []
    for descriptor, name in enumerate(names, FIRST_INHERITED):
        os.set_inheritable(descriptor, False)
        found.append((name or "unknown", socket.socket(fileno=descriptor)))
    return found
