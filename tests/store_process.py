"""A real store process for tests: started, frozen, killed, wiped, rolled back.

The server is the embedded store's binary on a unix socket in a folder of its own, with the embedded store's settings unless told
otherwise. Waiting is done on the server itself (a ping), never by guessing a time.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic, sleep

import redis
from patience import PATIENCE_S

from gateway.lifeline import end_with_parent
from gateway.store.binary import find_server


class StoreProcess:
    """One private server. Synchronous on purpose: it is used from session fixtures too."""

    def __init__(self, *options: str, flush: str = "always") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gateway-test-"))
        self.socket = self.directory / "s"
        self._data = self.directory / "data"
        self._data.mkdir()
        self._flush = flush
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> "StoreProcess":
        self.socket.unlink(missing_ok=True)
        persistence = ["--appendonly", "yes", "--appendfsync", self._flush] if self._flush else ["--appendonly", "no"]
        command = [find_server(), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._data), "--save", ""]
        self._process = subprocess.Popen(
            [*command, *persistence, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent(os.getpid()),
        )
        self._wait_until_it_answers()
        return self

    def freeze(self) -> None:
        """It accepts and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def restart(self) -> None:
        """Killed and started again on what it had written."""
        self.kill()
        self.start()

    def flush(self) -> None:
        """Everything is gone; the server is the same."""
        self.command("FLUSHALL")

    def command(self, *parts: str | bytes | int | float) -> object:
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return client.execute_command(*parts)

    def keep_copy(self) -> Path:
        """A copy of its data as of now, for `roll_back`."""
        copy = self.directory / f"copy-{os.urandom(4).hex()}"
        shutil.copytree(self._data, copy)
        return copy

    def roll_back(self, copy: Path) -> None:
        """Killed, and started again on an older copy of its data."""
        self.kill()
        shutil.rmtree(self._data)
        shutil.copytree(copy, self._data)
        self.start()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait_until_it_answers(self) -> None:
        deadline = monotonic() + PATIENCE_S
        while True:
            try:
                self.command("PING")
                return
            except redis.exceptions.ConnectionError:
                if monotonic() > deadline:
                    raise
                sleep(0.005)


async def until(condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
    """Give the event loop turns until something holds; fails by deadline, never by being early."""
    import asyncio

    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while not condition():
        assert loop.time() < deadline, f"did not happen within {deadline_s} s"
        await asyncio.sleep(0.002)


async def until_awaited(condition: Callable[[], Awaitable[bool]], deadline_s: float = PATIENCE_S) -> None:
    """The same for a question that has to be asked elsewhere."""
    import asyncio

    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while not await condition():
        assert loop.time() < deadline, f"did not happen within {deadline_s} s"
        await asyncio.sleep(0.005)
