"""The embedded store: a real Valkey as a child process, for people who have none [B4].

    DIRECTORY/                0700
      lock                    locked through a descriptor the server inherits: held while either of us lives
      state                   "first start" until the store's first use was declared, then "declared" [L5]
      data/                   the append-only file, flushed before every answer
      store.sock              or a private short folder when that path is longer than the 107 bytes a socket's may have

No TCP port, no snapshots, no eviction. The server is killed when the process that started it ends, however it ends;
every answer it gave is on the disk by then.

First use. An empty store may be a new one or a wiped one, and only the folder knows: `is_first_start` is true when the
folder held neither data nor `state`. `state` says so before the server runs, so a crash before the declaration changes
nothing, and `mark_declared()` ends it once and for all: data that vanishes later is a loss, never a first start. The
owner declares (`RevocationLog.declare`); this file knows nothing of the log.

The owner watches `wait()` and calls `start()` again: same socket, same data. A folder that was wiped in between is not
a first start.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.lifeline import end_with_parent
from gateway.private_files import write_private
from gateway.store.binary import find_server
from gateway.store.client import command, connect

LONGEST_SOCKET_PATH: Final = 107
_START_DEADLINE_S: Final = 30.0
_LOCK_DEADLINE_S: Final = 5.0
_END_WITHIN_S: Final = 5.0
_PAUSE_S: Final = 0.02
_FIRST_START: Final = "first start\n"
_DECLARED: Final = "declared\n"


class EmbeddedServer:
    """The child process and its folder. Per process."""

    __slots__ = ("_directory", "_lock", "_private", "_process", "_socket")

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._lock: int | None = None
        self._private: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self._directory} process={self.process_id}>"

    @property
    def process_id(self) -> int | None:
        """Of the running server."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """Where it answers, once started."""
        assert self._socket is not None
        return f"unix://{self._socket}"

    @property
    def is_first_start(self) -> bool:
        """Whether the store's first use is still to be declared."""
        return _read(self._directory / "state") == _FIRST_START

    def mark_declared(self) -> None:
        """From now on an empty store in this folder is a lost one."""
        write_private(self._directory / "state", _DECLARED.encode())

    async def start(self) -> str:
        """Start the server, or again after it ended, and wait until it answers. Its URL.

        Raises `ConfigurationError` (no binary, a folder that cannot be used, another gateway in it) and `StoreUnavailable`.
        """
        is_again = self._socket is not None
        try:
            if self.process_id is None:
                binary = find_server()
                self._prepare_directory()
                if self._lock is None:
                    await self._take_lock()
                    self._note_first_start()
                self._socket = self._choose_socket()
                self._socket.unlink(missing_ok=True)
                self._process = self._launch(binary)
            await self._wait_until_it_answers()
        except BaseException:
            # Whoever was told the socket's path goes on looking there, so folder and lock stay for the next attempt.
            await (self._end() if is_again else self.stop())
            raise
        return self.url

    async def wait(self) -> int:
        """Until the server ends. Its return code; negative: the signal."""
        assert self._process is not None
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - no signal handler, no thread for one child
            await asyncio.sleep(_PAUSE_S)
        return code

    async def stop(self) -> None:
        """End the server and give the folder free."""
        await self._end()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            self._socket = None
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _end(self) -> None:
        if self._process is not None:
            self._end_process(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.wait(), _END_WITHIN_S)
            except TimeoutError:
                self._end_process(signal.SIGKILL)
                await self.wait()
            self._process = None

    def _prepare_directory(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            (self._directory / "data").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError([f"store.directory: {self._directory}: {error.strerror}"]) from error

    async def _take_lock(self) -> None:
        """Our dead predecessor's server may hold it for a moment more."""
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = asyncio.get_running_loop().time() + _LOCK_DEADLINE_S
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if asyncio.get_running_loop().time() > deadline:
                        raise ConfigurationError(
                            [
                                f"store.directory: {self._directory} is used by another gateway;"
                                " give each its own, or share a store's URL"
                            ]
                        ) from None
                    await asyncio.sleep(_PAUSE_S)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _note_first_start(self) -> None:
        if not (self._directory / "state").exists() and not any((self._directory / "data").iterdir()):
            write_private(self._directory / "state", _FIRST_START.encode())

    def _choose_socket(self) -> Path:
        if self._socket is not None:
            return self._socket
        wanted = self._directory / "store.sock"
        if len(os.fsencode(wanted)) <= LONGEST_SOCKET_PATH:
            return wanted
        self._private = Path(tempfile.mkdtemp(prefix="gateway-"))
        return self._private / "store.sock"

    def _launch(self, binary: str) -> subprocess.Popen[bytes]:
        assert self._socket is not None
        assert self._lock is not None
        log = os.open(self._directory / "store.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603 - our own binary with our own arguments
                [binary, *_arguments(self._directory / "data", self._socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._lock,),
                start_new_session=True,
                preexec_fn=end_with_parent(os.getpid()),
            )
        except OSError as error:
            raise StoreUnavailable(f"the embedded store does not start: {error}") from error
        finally:
            os.close(log)

    async def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        client = connect(self.url)
        deadline = asyncio.get_running_loop().time() + _START_DEADLINE_S
        try:
            while True:
                if (code := self._process.poll()) is not None:
                    raise StoreUnavailable(f"the embedded store ended with {code}; see {self._directory / 'store.log'}")
                try:
                    await command(client, "PING")
                    return
                except StoreUnavailable:
                    if asyncio.get_running_loop().time() > deadline:
                        raise
                    await asyncio.sleep(_PAUSE_S)
        finally:
            await client.aclose()

    def _end_process(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)


def _arguments(data: Path, socket: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(data),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "yes",
        "maxmemory-policy": "noeviction",
        "loglevel": "notice",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
