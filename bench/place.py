"""Where a run happens: a temporary folder, two cores, an issuer, and a backend that answers 94 bytes of JSON.

Everything a system needs to be started is here or in a template of `peers/`; whoever started it ends it.
"""

import contextlib
import getpass
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.process import BenchError, Cores, Process, can_connect, free_port, pick_cores, started, wait_for
from bench.tokens import Issuer

PEERS: Final = Path(__file__).parent / "peers"
REPOSITORY: Final = Path(__file__).parent.parent
_PLACEHOLDER: Final = re.compile(r"@\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Place:
    """What a system is told when it is started."""

    folder: Path
    cores: Cores
    issuer: Issuer
    backend_port: int
    _names: dict[str, int] = field(default_factory=dict)

    def new_folder(self, name: str) -> Path:
        """A folder nobody has used: each start of a system is its first."""
        self._names[name] = self._names.get(name, 0) + 1
        folder = self.folder / f"{name}-{self._names[name]}"
        folder.mkdir(mode=0o700)
        return folder


@dataclass(frozen=True, slots=True)
class Running:
    """A system that answers: where, as which processes, and the credential that does what is to be measured."""

    port: int
    process: Process
    token: str | None
    expected_status: int = 200
    also: tuple[Process, ...] = ()
    lines: tuple[str, ...] = ()  # further header lines of each request

    @property
    def roots(self) -> tuple[int, ...]:
        return (self.process.pid, *(process.pid for process in self.also))


@contextlib.contextmanager
def prepared() -> Iterator[Place]:
    """A place with its backend running. The folder is removed at the end."""
    cores = pick_cores()
    os.sched_setaffinity(0, {cores.load})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        port = free_port()
        if find("nginx") is None:
            raise BenchError("the backend is nginx, which is not installed (Debian: nginx-light)")
        stack.enter_context(nginx(folder, "backend", "backend.conf", cores=(cores.load,), port=port))
        yield Place(folder, cores, Issuer(folder), port)


@contextlib.contextmanager
def nginx(folder: Path, name: str, template: str, *, cores: Collection[int], port: int, **values: object) -> Iterator[Process]:
    """An nginx with one worker, in the foreground. It keeps our user: the folder is for nobody else."""
    configuration = fill(template, folder / f"{name}.conf", folder=folder, name=name, port=port, user=getpass.getuser(), **values)
    command = [find("nginx") or "nginx", "-e", "stderr", "-p", folder, "-c", configuration]
    with started(command, cores=cores, output=folder / f"{name}.log") as process:
        wait_for(lambda: can_connect(port), process)
        yield process


def fill(template: str, target: Path, **values: object) -> Path:
    """Write a template of `peers/` with its `@{placeholders}` replaced; a placeholder without a value is an error."""
    text = (PEERS / template).read_text()
    target.write_text(_PLACEHOLDER.sub(lambda match: str(values[match[1]]), text))
    return target


def find(program: str) -> str | None:
    """A program's path: beside this Python first (a virtual environment's), then on PATH and where Debian keeps servers."""
    beside = Path(sys.executable).parent / program
    if beside.is_file():
        return str(beside)
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def clean_environment() -> Mapping[str, str]:
    """This environment without settings meant for a gateway of whoever runs the benchmark; what was compiled is kept."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTHONDONTWRITE"))}
