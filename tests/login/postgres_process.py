"""A real PostgreSQL server for tests, from Debian's package `postgresql`: own folder, unix socket, no TCP port.

The server refuses to run as root, so root lends it to another user. Waiting is done on the server itself.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from patience import PATIENCE_S

SUPERUSER = "gateway"


def find_binaries() -> Path | None:
    """The newest version's folder of programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgresProcess:
    """One private server. Synchronous on purpose: it is used from session fixtures."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
        self._data = self.directory / "data"
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{SUPERUSER}@/postgres?host={self.directory}"

    def start(self) -> "PostgresProcess":
        if not self._data.exists():
            # Sorted as people of some language do, which is what most servers are set to, and not byte by byte.
            language = ("--no-locale", "--locale-provider=icu", "--icu-locale=en")
            self._run("initdb", "-D", self._data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync", *language)
        options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={self.directory}", "-c", "fsync=off")
        self._process = subprocess.Popen(
            [str(self._binaries / "postgres"), "-D", str(self._data), *options, "-c", "shared_buffers=16MB"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            start_new_session=True,
            **self._user,
        )
        self._wait_until_it_answers()
        return self

    def empty(self) -> None:
        """As if it had just been made."""
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def sql(self, statement: str) -> str:
        """Run it; the rows as text, a line each."""
        return self._run("psql", "-h", self.directory, "-U", SUPERUSER, "-d", "postgres", "-qtAc", statement)

    def freeze(self) -> None:
        """It and its children: connections stay, nothing is answered."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """At once; every connection breaks."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, children)):
            os.kill(pid, number)

    def _run(self, program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [str(self._binaries / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.directory,
            **self._user,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _wait_until_it_answers(self) -> None:
        deadline = monotonic() + PATIENCE_S
        while True:
            try:
                self.sql("SELECT 1")
                return
            except AssertionError:
                assert self._process is not None
                if monotonic() > deadline or self._process.poll() is not None:
                    raise
                sleep(0.02)
