"""What the demo plays on: a temporary folder with a configuration, the application, and a real `gateway run`.

    gateway-demo-…/
      gateway.yaml   the configuration, with a generated admin token; the folder's mode is 0700
      keys.json      the issuer's key set
      alice-phone …  one file per token: a header line, for `curl -H @alice-phone`
      gateway.log    everything the gateway writes: access lines, messages, security lines
      store/         the embedded store

Owns the folder and two child processes. They get process groups of their own, so that Ctrl-C reaches the demo alone and it
ends them in order, by process id; the kernel ends them should the demo be killed.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from gateway.demo import issuer as idp
from gateway.demo.talk import ask
from gateway.errors import GatewayError
from gateway.lifeline import end_with_parent

READY_WITHIN_S: Final = 20.0
END_WITHIN_S: Final = 8.0
WORKERS: Final = 2
_PAUSE_S: Final = 0.02
_TAIL_LINES: Final = 12

# Who holds which token: a file's name, the user, the session, the key that signed it.
HOLDERS: Final = (
    ("alice-phone", "alice", "phone", idp.GOOD_KEY),
    ("alice-laptop", "alice", "laptop", idp.GOOD_KEY),
    ("bob", "bob", "desktop", idp.GOOD_KEY),
    ("thief", "root", "cellar", idp.LEAKED_KEY),
)

_CONFIGURATION: Final = """\
# Written by `gateway demo`; gone with it.
listen: {listen}
public_url: http://{listen}
workers: {workers}
admin: {{listen: '{admin}', token: {admin_token}}}
store: {{url: embedded, directory: store}}
timeouts: {{drain: 1s}}
issuers:
  - issuer: {issuer}
    audience: {audience}
    jwks: keys.json
    algorithms: [RS256]
    max_lifetime: {lifetime_s}s
upstreams:
  legacy: {{url: 'http://{legacy}'}}
routes:
  - {{name: about, path: /about, access: public, upstream: legacy}}
  - {{name: app, path: /, access: required, upstream: legacy}}
"""


class DemoFailed(GatewayError):
    """The demo cannot go on. `tail`: what the gateway said last."""

    def __init__(self, text: str, tail: str = "") -> None:
        super().__init__(f"{text}\n{tail}".rstrip())


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything is running. Addresses are `host:port`; `tokens` are keyed by the names of HOLDERS."""

    folder: Path
    listen: str
    admin: str
    legacy: str
    admin_token: str
    issuer: idp.Issuer
    tokens: dict[str, str]
    gateway: "subprocess.Popen[bytes]"
    ready_after_s: float

    @classmethod
    @contextmanager
    def set_up(cls, *, well_known_ports: bool) -> Iterator[Self]:
        """Start everything, hand it out when it is ready, end everything. Raises DemoFailed.

        `well_known_ports`: 8080 and 9090 when they are free and no other demo has them.
        """
        folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
        running: list[subprocess.Popen[bytes]] = []
        try:
            with _only_demo() as is_only:
                well_known = (8080, 9090) if well_known_ports and is_only else (0, 0)
                listen, admin, legacy = _free_addresses(*well_known, 0)
                issuer, admin_token = idp.Issuer(), secrets.token_urlsafe(32)
                tokens = _furnish(folder, issuer, listen=listen, admin=admin, legacy=legacy, admin_token=admin_token)
                started_at = time.monotonic()
                with (folder / "gateway.log").open("ab") as log:
                    running.append(_start(["-m", "gateway.demo.legacy", legacy.rpartition(":")[2]], log))
                    running.append(_start(["-m", "gateway", "run", "-c", str(folder / "gateway.yaml")], log))
                _wait_until_ready(admin, legacy, running, folder)
                ready_after_s = time.monotonic() - started_at
                yield cls(folder, listen, admin, legacy, admin_token, issuer, tokens, running[-1], ready_after_s)
        finally:
            for process in reversed(running):
                _end(process)
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def log(self) -> Path:
        """What the gateway writes."""
        return self.folder / "gateway.log"

    def wait(self) -> None:
        """Until the gateway ends by itself."""
        self.gateway.wait()

    def log_tail(self) -> str:
        return _tail(self.log)


@contextmanager
def _only_demo() -> Iterator[bool]:
    """Whether no other demo of this user runs, claimed until the end.

    A port that is free now may be another demo's in a second. The name lives in Linux's abstract namespace and leaves no
    file behind; elsewhere nobody is the only one.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        is_only = True
        try:
            claim.bind(f"\0gateway-demo-{os.getuid()}")
        except (OSError, ValueError):
            is_only = False
        yield is_only


def _furnish(folder: Path, issuer: idp.Issuer, **addresses: str) -> dict[str, str]:
    """Write the configuration, the key set, and a file per token; the tokens."""
    issuer.write_key_set(folder / "keys.json")
    of_issuer = {"issuer": idp.NAME, "audience": idp.AUDIENCE, "lifetime_s": idp.LIFETIME_S}
    (folder / "gateway.yaml").write_text(_CONFIGURATION.format(workers=WORKERS, **of_issuer, **addresses))
    tokens = {name: issuer.token(user, session, key) for name, user, session, key in HOLDERS}
    for name, token in tokens.items():
        (folder / name).write_text(f"Authorization: Bearer {token}\n")
    return tokens


def _free_addresses(*wanted: int) -> list[str]:
    """Loopback addresses nobody listens on, the wanted ports where they are free. All are held until all are known."""
    held: list[socket.socket] = []
    try:
        for port in wanted:
            try:
                held.append(socket.create_server(("127.0.0.1", port)))
            except OSError:
                held.append(socket.create_server(("127.0.0.1", 0)))
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in held]
    finally:
        for listener in held:
            listener.close()


def _start(arguments: Sequence[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """A Python with a process group of its own, whose output goes to the log. Settings in our environment are not the demo's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        process_group=0,
        preexec_fn=end_with_parent(os.getpid(), signal.SIGTERM),
    )


def _wait_until_ready(admin: str, legacy: str, running: "Sequence[subprocess.Popen[bytes]]", folder: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not (_answers(admin, "/readyz") and _answers(legacy, "/about")):
        if any(process.poll() is not None for process in running):
            raise DemoFailed("a process of the demo ended at once; its last words:", _tail(folder / "gateway.log"))
        if time.monotonic() > deadline:
            raise DemoFailed(f"not ready after {READY_WITHIN_S:.0f} s; its last words:", _tail(folder / "gateway.log"))
        time.sleep(_PAUSE_S)


def _answers(address: str, path: str) -> bool:
    with suppress(OSError):
        return ask(address, path).status == 200
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
