"""What the demo plays on: a temporary folder with a configuration, the application, and a real `gateway run`.

    gateway-demo-…/
      gateway.yaml   the configuration, with a generated admin token; the folder's mode is 0700
      keys.json      the issuer's key set
      alice-phone …  one file per token: a header line, for `curl -H @alice-phone`
      gateway.log    everything the gateway writes: access lines, messages, security lines
      accounts.db    alice@example.org and bob@example.org
      store/         the embedded store
      strict.yaml …  the stricter house, once somebody went there

Owns the folder and the child processes.
"""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, current_thread, main_thread
from typing import Final, Self

from gateway.demo import configuration, processes
from gateway.demo import issuer as idp
from gateway.demo.configuration import PEOPLE, WORKERS, Times
from gateway.demo.talk import ask
from gateway.errors import GatewayError

__all__ = ["HOLDERS", "WORKERS", "DemoFailed", "Stage"]

READY_WITHIN_S: Final = 30.0
_PAUSE_S: Final = 0.02
_LOOK_EVERY_S: Final = 0.25

# Who holds which token of the issuer: a file's name, the user, the session, the key that signed it.
HOLDERS: Final = (
    ("alice-phone", "alice", "phone", idp.GOOD_KEY),
    ("alice-laptop", "alice", "laptop", idp.GOOD_KEY),
    ("bob", "bob", "desktop", idp.GOOD_KEY),
    ("thief", "root", "cellar", idp.LEAKED_KEY),
)


class DemoFailed(GatewayError):
    """The demo cannot go on. `tail`: what the gateway said last."""

    def __init__(self, text: str, tail: str = "") -> None:
        super().__init__(f"{text}\n{tail}".rstrip())


@dataclass(slots=True)
class Stage:
    """Everything is running. Addresses are `host:port`; `tokens` are keyed by the names of HOLDERS, `passwords` by PEOPLE."""

    folder: Path
    listen: str
    admin: str
    legacy: str
    page: str  # where nobody listens yet
    admin_token: str
    times: Times
    issuer: idp.Issuer
    tokens: dict[str, str]
    passwords: dict[str, str]
    running: "list[subprocess.Popen[bytes]]"
    ready_after_s: float = 0.0
    admins: list[str] = field(default_factory=list)  # of all gateways that run
    _strict: str = ""
    _lock: Lock = field(default_factory=Lock)
    _orders: "SimpleQueue[Future[str]]" = field(default_factory=SimpleQueue)

    @classmethod
    @contextmanager
    def set_up(cls, times: Times, *, well_known_ports: bool) -> Iterator[Self]:
        """Start everything, hand it out when it is ready, end everything. Raises DemoFailed.

        `well_known_ports`: 8080, 9090 and 8081 when they are free and no other demo has them.
        """
        folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
        running: list[subprocess.Popen[bytes]] = []
        try:
            with processes.only_demo() as is_only:
                well_known = (8080, 9090, 8081) if well_known_ports and is_only else (0, 0, 0)
                listen, admin, page, legacy = processes.free_addresses(*well_known, 0)
                issuer, admin_token = idp.Issuer(), secrets.token_urlsafe(32)
                passwords = {person: new_password() for person in PEOPLE}
                tokens = {name: issuer.token(user, session, key) for name, user, session, key in HOLDERS}
                stage = cls(folder, listen, admin, legacy, page, admin_token, times, issuer, tokens, passwords, running)
                stage._furnish()
                stage._start()
                yield stage
        finally:
            for process in reversed(running):
                processes.end(process)
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def log(self) -> Path:
        """What the gateway writes."""
        return self.folder / "gateway.log"

    @property
    def config(self) -> Path:
        """What the gateway was told."""
        return self.folder / "gateway.yaml"

    def wait(self) -> None:
        """Until the gateway ends by itself. For the main thread, which does meanwhile what only it may do."""
        while self.running[1].poll() is None:
            with suppress(Empty):
                self._do(self._orders.get(timeout=_LOOK_EVERY_S))

    def log_tail(self) -> str:
        return processes.tail(self.log)

    def strict_house(self) -> str:
        """The address of the stricter gateway, which is started when it is asked for first. Raises DemoFailed.

        NB: processes are started by the main thread, because they end with the thread that started them (`lifeline`). Other
        threads order it, from the one that is in `wait`.
        """
        with self._lock:
            if not self._strict:
                order: Future[str] = Future()
                if current_thread() is main_thread():
                    self._do(order)
                else:
                    self._orders.put(order)
                self._strict = order.result(2 * READY_WITHIN_S)
            return self._strict

    def _do(self, order: "Future[str]") -> None:
        try:
            order.set_result(self._open_strict_house())
        except (DemoFailed, OSError) as error:
            order.set_exception(error)

    def _open_strict_house(self) -> str:
        listen, admin = processes.free_addresses(0, 0)
        told = configuration.strict(listen=listen, admin=admin, legacy=self.legacy, admin_token=self.admin_token)
        (self.folder / "strict.yaml").write_text(told)
        self._run("strict.yaml", admin)
        return listen

    def _furnish(self) -> None:
        """Write the configuration, the key set, and a file per token."""
        self.issuer.write_key_set(self.folder / "keys.json")
        addresses = {"listen": self.listen, "admin": self.admin, "legacy": self.legacy, "admin_token": self.admin_token}
        self.config.write_text(configuration.main(self.times, **addresses))
        for name, token in self.tokens.items():
            (self.folder / name).write_text(f"Authorization: Bearer {token}\n")

    def _start(self) -> None:
        started_at = time.monotonic()
        with self.log.open("ab") as log:
            self.running.append(processes.start(["-m", "gateway.demo.legacy", self.legacy.rpartition(":")[2]], log))
        self._run("gateway.yaml", self.admin)
        self.ready_after_s = time.monotonic() - started_at
        for person, password in self.passwords.items():
            self._register(person, password)

    def _run(self, configuration_file: str, admin: str) -> None:
        with self.log.open("ab") as log:
            self.running.append(processes.start(["-m", "gateway", "run", "-c", str(self.folder / configuration_file)], log))
        self._wait_until_ready(admin)
        self.admins.append(admin)

    def _wait_until_ready(self, admin: str) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not (processes.answers(admin, "/readyz") and processes.answers(self.legacy, "/about")):
            if any(process.poll() is not None for process in self.running):
                raise DemoFailed("a process of the demo ended at once; its last words:", self.log_tail())
            if time.monotonic() > deadline:
                raise DemoFailed(f"not ready after {READY_WITHIN_S:.0f} s; its last words:", self.log_tail())
            time.sleep(_PAUSE_S)

    def _register(self, person: str, password: str) -> None:
        try:
            answer = ask(self.listen, "/auth/register", method="POST", body={"email": person, "password": password})
        except OSError as error:
            raise DemoFailed(f"{person} could not be registered: {error}", self.log_tail()) from error
        if answer.status != 201:
            raise DemoFailed(f"{person} could not be registered: {answer}", self.log_tail())


def new_password() -> str:
    """One that nobody has had."""
    return f"demo-{secrets.token_hex(5)}"
