"""A gateway that is treated badly: its processes are stopped and killed, and clients give up after a while.

Only processes of this gateway are signalled, by id: its workers and its store as the kernel lists them under the supervisor.
"""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from attacks.wire_gateway import Answer, Wire, issuer
from identity.browser import ACCOUNTS
from issuing import Signer, ec_signer
from live.running_gateway import eventually

ACCESS_TTL_S = 2.0
SETTINGS: dict[str, Any] = ACCOUNTS | {
    "tokens": {"access_ttl": f"{ACCESS_TTL_S:g}s"},
    "sessions": {"grace": "1s"},
    "store": {"url": "embedded", "directory": "store"},
    "issuers": [issuer(user_prefix="idp|")],
    "routes": [{"name": "app", "path": "/", "upstream": "app"}],
}
"""Access tokens live for two seconds, so every walk meets renewals that nobody asked for."""


class RoughGateway(Wire):
    """`patience_s`: how long a client waits for an answer; a stopped worker's never comes."""

    def __init__(self, folder: Path, keys: int) -> None:
        super().__init__(folder, **SETTINGS)
        self.patience_s = 6.0
        self.stopped: set[int] = set()
        self.missed = 0  # faults that met no process: it was being replaced already
        # The kernel ends a gateway with the thread that started it, and a walk's faults come from threads of their own.
        self._starter = ThreadPoolExecutor(1)
        self.spare_keys: list[Signer] = [ec_signer(f"key-of-{number}") for number in range(keys)]
        self.gateway.signers += self.spare_keys

    def send(self, raw: bytes) -> Answer:
        """One request. Status 0: the connection broke, or the client gave up, and then the body says so.

        So is an answer that took longer than the token lives which was renewed for it: on a starved machine it is told that it
        has expired, nothing is done, and its cookies stay.
        """
        began = time.monotonic()
        deadline = began + self.patience_s
        data = b""
        try:
            with socket.create_connection(("127.0.0.1", self.gateway.port), self.patience_s) as client:
                client.sendall(raw)
                while True:
                    client.settimeout(max(0.01, deadline - time.monotonic()))
                    if not (more := client.recv(1 << 16)):
                        break
                    data += more
        except TimeoutError:
            return Answer(0, b"", b"gave up")
        except OSError:
            return Answer(0, b"", b"")
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head, re.I)
        if not end or (length and len(body) < int(length[1])):
            return Answer(0, b"", b"")
        answer = Answer(int(head[9:12]), head, body)
        is_outlived = answer.reason == "expired-token" and time.monotonic() - began > ACCESS_TTL_S
        return Answer(0, b"", b"") if is_outlived and b"set-cookie" not in head.lower() else answer

    def admin(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """The admin API; status 0 when the supervisor did not answer."""
        try:
            answer = self.gateway.call(method, path, **options)
            return answer.status_code, answer.json()
        except (httpx.TransportError, ValueError):
            return 0, {}

    # What is done to it.

    def kill_worker(self, place: int) -> None:
        self._signal(self.processes(b"worker"), place, signal.SIGKILL)

    def stop_worker(self, place: int) -> None:
        """Until `wake`; after five seconds its supervisor kills it."""
        if stopped := self._signal(self.processes(b"worker"), place, signal.SIGSTOP):
            self.stopped.add(stopped)
            self.patience_s = 1.0

    def wake(self) -> None:
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped.clear()
        self.patience_s = 6.0

    def kill_store(self) -> None:
        self._signal(self.processes(b"unixsocket"), 0, signal.SIGKILL)

    def restart(self, number: int) -> None:
        """The whole gateway: killed, or ended as it should be."""
        self.wake()
        self.gateway.stop(number)
        self.start()

    def start(self) -> None:
        """Until it is ready. A machine on which everything else starts at the same time is given longer."""
        try:
            self._starter.submit(self.gateway.start).result()
        except AssertionError:
            self.gateway.url = eventually(self.gateway._announced)
            eventually(self.gateway.is_ready)

    def processes(self, mark: bytes) -> list[int]:
        """Children of the supervisor whose command line has this word. NB: the store rewrites its own."""
        pid = self.gateway.pid
        found = []
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with suppress(OSError):
                    if mark in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
        return sorted(found)

    def _signal(self, pids: list[int], place: int, number: int) -> int | None:
        if not pids:
            self.missed += 1
            return None
        pid = pids[place % len(pids)]
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid


@contextmanager
def rough_gateway(folder: Path, keys: int) -> Iterator[RoughGateway]:
    """A running one. When it has ended no output may hold a token [O04]."""
    running = RoughGateway(folder, keys)
    try:
        running.start()
        eventually(lambda: running.admin("GET", "/v1/keys")[1].get("keys"))
        yield running
    finally:
        running.wake()
        running.close()
    assert not running.gateway.leaks()
