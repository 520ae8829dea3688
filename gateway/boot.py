"""What a worker is told at birth: one JSON text in its environment, and nothing else.

The supervisor makes it, `gateway worker` reads it. It holds no secret, and it travels in the environment because a command line
can be read by every user of the machine. What has to be secret, and what must be the same for all workers of a configuration
whatever has become of the files since, is handed over in memory: the configuration as it was judged (with it the store's URL,
which may hold a password), certificate and key. Settings in the supervisor's own environment are not inherited.

A worker belongs to its supervisor and ends with it (`lifeline.py`): the workers of a killed supervisor would serve on,
unwatched, with nobody to remove them from the log's registry.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

ENVIRONMENT_NAME: Final = "GATEWAY_BOOT"


@dataclass(frozen=True, slots=True)
class Boot:
    """One worker's place among the others.

    `index` is its number among the `workers` of its configuration, and of its block of cells. `seat` is its own among all workers
    that live, those of a former configuration too: what it keeps on the disk is kept under it. `config_fd` holds what the
    supervisor judged, `tls_fds` certificate and key, or nothing. Sockets to accept from come over `control_fd`. `lock_fd` is any
    file that all processes have. `embedded_store` is the URL of the embedded store's socket; empty: there is none, and the
    configuration says where the store is. `incarnation` is fresh for every start, so a restarted worker is never taken for its
    predecessor [W1].
    """

    index: int
    workers: int
    seat: int
    cells_fd: int
    config_fd: int
    tls_fds: tuple[int, ...]
    lock_fd: int
    control_fd: int
    embedded_store: str
    incarnation: str
    supervisor_pid: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        fields["tls_fds"] = tuple(fields["tls_fds"])
        return cls(**fields)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment to start the worker with."""
        return {**without_settings(inherited), ENVIRONMENT_NAME: self.to_json()}

    def descriptors(self) -> Sequence[int]:
        """What the worker must inherit."""
        return [self.cells_fd, self.config_fd, *self.tls_fds, self.lock_fd, self.control_fd]

    def holding(self, descriptors: Sequence[int]) -> Self:
        """The same letter where the `descriptors()`, in their order, have other numbers."""
        cells, config, *tls, lock, control = descriptors
        return replace(self, cells_fd=cells, config_fd=config, tls_fds=tuple(tls), lock_fd=lock, control_fd=control)


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What a worker inherits: without `GATEWAY_…`, which are settings that the configuration holds, passwords among them."""
    return {name: value for name, value in environment.items() if not name.startswith("GATEWAY_")}


def hand_over(data: bytes, name: str = "gateway-configuration") -> int:
    """A descriptor of memory that has no name and is gone with the last process that holds it. Raises OSError."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as memory:
            memory.write(data)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def hand_over_all(texts: Iterable[bytes]) -> list[int]:
    """A descriptor of each of them; or OSError, and none."""
    descriptors = []
    with ExitStack() as made:
        for text in texts:
            descriptors.append(hand_over(text))
            made.callback(os.close, descriptors[-1])
        made.pop_all()
    return descriptors


def handed_over(descriptor: int) -> bytes:
    """What `hand_over` was given."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def path_of(descriptor: int) -> str:
    """The same as a file, for libraries that read nothing else."""
    return f"/proc/self/fd/{descriptor}"
