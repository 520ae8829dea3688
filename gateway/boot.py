"""What a worker is told at birth: one JSON text in its environment, and nothing else.

The supervisor makes it, `gateway worker` reads it. It holds no secret that the configuration does not hold too, and it
travels in the environment because a command line can be read by every user of the machine.

A worker belongs to its supervisor and ends with it (`lifeline.py`): the workers of a killed supervisor would serve on,
unwatched, with nobody to remove them from the log's registry.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Self

ENVIRONMENT_NAME: Final = "GATEWAY_BOOT"


@dataclass(frozen=True, slots=True)
class Boot:
    """One worker's place among the others.

    `config_fd` holds the text that the supervisor read at `config_path`: a worker that is started later must not serve
    another configuration than its neighbours. `addresses` and `listen_fds` have the order of `listen` in the configuration.
    A TCP address is bound by the worker itself with SO_REUSEPORT, port 0 already resolved, and its descriptor is -1; a unix
    socket arrives bound and listening in `listen_fds`. `incarnation` is fresh for every start, so a restarted worker is
    never taken for its predecessor [W1].
    """

    config_path: str
    index: int
    workers: int
    cells_fd: int
    config_fd: int
    store_url: str
    addresses: tuple[str, ...]
    listen_fds: tuple[int, ...]
    incarnation: str
    supervisor_pid: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        for name in ("addresses", "listen_fds"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment to start the worker with."""
        return {**inherited, ENVIRONMENT_NAME: self.to_json()}

    def descriptors(self) -> Sequence[int]:
        """What the worker must inherit."""
        return [self.cells_fd, self.config_fd, *(descriptor for descriptor in self.listen_fds if descriptor >= 0)]


def hand_over(text: str) -> int:
    """A descriptor for `Boot.config_fd`: memory that has no name and is gone with the last process that holds it."""
    descriptor = os.memfd_create("gateway-configuration", os.MFD_CLOEXEC)
    os.write(descriptor, text.encode())
    return descriptor


def handed_over(descriptor: int) -> str:
    """What `hand_over` was given."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()
