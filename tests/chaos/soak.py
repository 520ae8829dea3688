"""Mixed traffic for as long as it is told, and a look at every process: memory, descriptors, the store's streams must stay flat.

    make soak                      an hour
    make soak ARGS='--minutes 15'  less

People sign in, renew and sign out; tokens of an issuer are shown, revoked and shown again; WebSockets and event streams open,
echo and are cut; strangers send rubbish and leave in the middle. Everything is on loopback, at a pace of some dozen requests a
second, because what leaks leaks by number and not by speed. The first third warms up; what is judged is the line through the
rest, less what new tokens may take in a bounded memory of them. Exit code 1 when something grows.
"""

import argparse
import contextlib
import os
import random
import re
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from attacks.wire_gateway import within
from identity.browser import Browser
from issuing import OMITTED
from live.running_gateway import ISSUER, Child
from model.rough_gateway import SETTINGS, RoughGateway
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

EVERY_S = 5.0
TOKEN_BYTES = 3072
"""What a worker may keep of a token that it has verified: docs/design/memory-and-limits.md."""
EVENT_BYTES = 1024
"""What a revocation, a login or a refusal may leave in the store: an entry for an hour, an event for weeks, facts, a session."""
SLACK_BYTES_PER_HOUR = 8 << 20
DESCRIPTORS = 8
HERE = Path(__file__).resolve().parent


@dataclass
class Sample:
    """One look: seconds since the start, resident bytes and descriptors of each process, the store's own figures."""

    at_s: float
    memory: dict[str, int]
    descriptors: dict[str, int]
    store: dict[str, int]
    tokens: int
    events: int


@dataclass
class Soak:
    """The run. `counts` is what was asked and told."""

    gateway: RoughGateway
    websocket_path: str
    stop: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        began = time.monotonic()
        loads = [self._people, self._people, self._visitors, self._tunnels, self._streams, self._strangers]
        threads = [threading.Thread(target=self._go_on, args=(load, number)) for number, load in enumerate(loads)]
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() - began < seconds:
                self.samples.append(self._look(time.monotonic() - began))
                time.sleep(EVERY_S)
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(60)
        time.sleep(2)
        self.samples.append(self._look(time.monotonic() - began))

    def _go_on(self, load: Callable[[random.Random, int], None], number: int) -> None:
        choose = random.Random(number)
        turn = 0
        while not self.stop.is_set():
            turn += 1
            try:
                load(choose, turn * 10 + number)
            except (OSError, WebSocketException, AssertionError) as error:  # a busy machine; too many of them are judged
                self.counts[f"error {type(error).__name__}"] += 1
                self.stop.wait(1.0)
            except Exception as error:  # the root of a thread: told at the end, and the run has failed
                self.wrong.append(f"{load.__name__}: {type(error).__name__}: {error}")
                return

    # The loads: each is one visit.

    def _people(self, choose: random.Random, number: int) -> None:
        browser = Browser(self.gateway)
        browser.sign_in(f"soaker-{number % 10}-{choose.randrange(5)}@example.com")
        self.counts["logins"] += 1
        for _ in range(20):
            without = ("access",) if choose.random() < 0.1 else ()
            self._expect(browser.get("/who", without=without).told, "200")
            self.counts["renewals"] += bool(without)
            if self.stop.wait(0.15):
                return
        copy = browser.stolen()
        self._expect(browser.post("/auth/logout").told, "204")
        self._expect(copy.get("/who", is_kept=False).told.partition(" ")[0], "401")

    def _visitors(self, choose: random.Random, number: int) -> None:
        now = int(time.time())
        name = f"soak-{number}"
        token = self.gateway.gateway.token(sub=name, sid=name, jti=name, iat=now - 5, exp=now + 60, groups=OMITTED)
        self.counts["tokens"] += 1
        for _ in range(20):
            self._expect(self.gateway.show(token).told, "200")
            if self.stop.wait(0.1):
                return
        subject = choose.choice(
            [{"session": name}, {"token_id": name, "issuer": ISSUER}, {"user": f"idp|{name}", "issuer": ISSUER}]
        )
        status, receipt = self.gateway.admin("POST", "/v1/revocations", json=subject)
        self._expect(str(status), "201")
        self._expect(str(receipt.get("complete")), "True")
        self.counts["revocations"] += 1
        for _ in range(3):
            self._expect(self.gateway.show(token).told.partition(" ")[0], "401")

    def _tunnels(self, choose: random.Random, number: int) -> None:
        now = int(time.time())
        name = f"tunnel-{number}"
        token = self.gateway.gateway.token(sub=name, sid=name, jti=name, iat=now - 5, exp=now + 60, groups=OMITTED)
        self.counts["tokens"] += 1
        url = f"ws://127.0.0.1:{self.gateway.gateway.port}{self.websocket_path}"
        with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as client:
            client.recv(10)
            for _ in range(5):
                client.send("over and over")
                self._expect(str(client.recv(10)), "over and over")
                self.stop.wait(0.2)
            if choose.random() < 0.5:
                status, _ = self.gateway.admin("POST", "/v1/revocations", json={"session": name})
                self.counts["revocations"] += 1
                with contextlib.suppress(WebSocketException):
                    client.recv(10)
                self._expect(f"{status} {client.close_code}", "201 1008")
                self.counts["tunnels cut"] += 1

    def _streams(self, choose: random.Random, number: int) -> None:
        """Event streams: left by the client in the middle, or cut."""
        now = int(time.time())
        name = f"stream-{number}"
        token = self.gateway.gateway.token(sub=name, sid=name, jti=name, iat=now - 5, exp=now + 60, groups=OMITTED)
        self.counts["tokens"] += 1
        with socket.create_connection(("127.0.0.1", self.gateway.gateway.port), 10) as client:
            client.sendall(f"GET /ticks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            self._expect(client.recv(64)[9:12].decode(), "200")
            self.stop.wait(1.0)
            if choose.random() < 0.5:
                self.gateway.admin("POST", "/v1/revocations", json={"session": name})
                self.counts["revocations"] += 1
                with contextlib.suppress(ConnectionResetError):
                    while client.recv(65536):
                        pass
                self.counts["streams cut"] += 1

    def _strangers(self, choose: random.Random, number: int) -> None:
        rubbish = choose.choice(
            [
                b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + choose.randbytes(40).hex().encode() + b".e30.x\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\nX: " + choose.randbytes(20) + b"\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
                b"\x16\x03\x01" + choose.randbytes(60),
                b"GET /" + choose.randbytes(8).hex().encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                b"GET / HT",
            ]
        )
        with socket.create_connection(("127.0.0.1", self.gateway.gateway.port), 10) as client:
            client.sendall(rubbish)
            if choose.random() < 0.5:
                client.settimeout(0.2)
                with contextlib.suppress(OSError):
                    client.recv(4096)
        self.counts["strangers"] += 1
        self.stop.wait(0.05)

    def _expect(self, told: str, wanted: str) -> None:
        self.counts["answers"] += 1
        if told != wanted:
            self.counts[f"told {told} instead of {wanted}"] += 1

    # The looks.

    def _look(self, at_s: float) -> Sample:
        workers = self.gateway.processes(b"worker")
        stores = self.gateway.processes(b"unixsocket")
        named = {"supervisor": self.gateway.gateway.pid} | {f"worker {place}": pid for place, pid in enumerate(workers)}
        memory = {name: resident(pid) for name, pid in named.items()}
        descriptors = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in named.items()}
        events = sum(self.counts[name] for name in ("logins", "renewals", "revocations", "strangers"))
        return Sample(
            at_s, memory, descriptors, store_figures(stores[0]), self.counts["tokens"] + self.counts["renewals"], events
        )


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def store_figures(pid: int) -> dict[str, int]:
    """Memory in use, keys, and the length of every stream."""
    found_path = re.search(rb"unixsocket:(\S+)", Path(f"/proc/{pid}/cmdline").read_bytes())
    assert found_path is not None, "the store does not say where it listens"
    client = redis.Redis(unix_socket_path=found_path[1].rstrip(b"\0").decode())
    with contextlib.closing(client):
        info: Any = client.info("memory")
        found = {"memory": int(info["used_memory"]), "keys": int(client.dbsize())}  # type: ignore[arg-type]
        for key in client.scan_iter(_type="stream"):
            found[f"stream {key.decode()}"] = int(client.xlen(key))  # type: ignore[arg-type]
    return found


def per_hour(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    """The slope of the line through the figures (least squares), times an hour."""
    if len(samples) < 3:
        return 0.0
    line = statistics.linear_regression([sample.at_s for sample in samples], [figure(sample) for sample in samples])
    return line.slope * 3600


def judge(samples: list[Sample]) -> tuple[list[str], list[str]]:
    """A table of what was seen, and what grew."""
    settled = samples[len(samples) // 3 :]
    first, last = settled[0], settled[-1]
    tokens, events = per_hour(settled, lambda sample: sample.tokens), per_hour(settled, lambda sample: sample.events)
    rows, grew = [], []
    for name in first.memory:
        slope = per_hour(settled, lambda sample, name=name: sample.memory.get(name, 0))  # type: ignore[misc]
        bound = SLACK_BYTES_PER_HOUR + (tokens * TOKEN_BYTES if name.startswith("worker") else 0)
        fds = [sample.descriptors.get(name, 0) for sample in settled]
        rows.append(
            f"| {name} | {first.memory[name] / 2**20:.1f} MiB | {last.memory.get(name, 0) / 2**20:.1f} MiB "
            f"| {slope / 2**20:+.1f} MiB/h (at most {bound / 2**20:.0f}) | {fds[0]} to {fds[-1]}, most {max(fds)} |"
        )
        if slope > bound:
            grew.append(f"the memory of {name}")
        if statistics.median(fds[-10:]) > statistics.median(fds[:10]) + DESCRIPTORS:
            grew.append(f"the descriptors of {name}")
    slope = per_hour(settled, lambda sample: sample.store["memory"])
    bound = SLACK_BYTES_PER_HOUR + events * EVENT_BYTES
    rows.append(
        f"| store, `used_memory` | {first.store['memory'] / 2**20:.1f} MiB | {last.store['memory'] / 2**20:.1f} MiB "
        f"| {slope / 2**20:+.1f} MiB/h (at most {bound / 2**20:.0f}) | |"
    )
    if slope > bound:
        grew.append("the memory of the store")
    for name in sorted(last.store):
        if name != "memory":
            rows.append(f"| store, {name} | {first.store.get(name, 0)} | {last.store[name]} | | |")
    return rows, grew


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        application = Child(HERE.parent / "live" / "application.py")
        stack.callback(application.stop)
        gateway = RoughGateway(folder / "gateway", keys=0)
        stack.callback(gateway.close)
        settings = gateway.gateway._settings
        settings |= SETTINGS | {"tokens": {"access_ttl": "60s"}, "sessions": {"grace": "2s"}, "audit": {"max_length": 5000}}
        settings["upstreams"] = {
            "app": {"url": f"http://127.0.0.1:{application.says['http']}"},
            "socket": {"url": f"http://127.0.0.1:{application.says['websocket']}"},
        }
        settings["routes"] = [
            {"name": "echo", "path": "/echo", "upstream": "socket"},
            {"name": "app", "path": "/", "upstream": "app"},
        ]
        gateway.start()
        within(60, lambda: gateway.admin("GET", "/v1/keys")[1].get("keys"))
        soak = Soak(gateway, "/echo")
        soak.run(chosen.minutes * 60)
        rows, grew = judge(soak.samples)
        if any(sample.memory.keys() != soak.samples[0].memory.keys() for sample in soak.samples):
            grew.append("processes came and went")
    print(f"{chosen.minutes:g} minutes on {os.cpu_count()} processors, {soak.counts['answers']} answers judged")
    print(", ".join(f"{number} {name}" for name, number in sorted(soak.counts.items())))
    print("\n| what | after a third | at the end | slope | descriptors |\n|---|---|---|---|---|")
    print("\n".join(rows))
    surprises = [name for name in soak.counts if name.startswith(("told", "error"))]
    if sum(soak.counts[name] for name in surprises) * 100 > soak.counts["answers"]:
        soak.wrong.append("more than one answer of a hundred was not what it should be")
    soak.wrong += [f"there were no {name}" for name in ("logins", "renewals", "revocations") if not soak.counts[name]]
    print("\nflat" if not grew else f"\ngrew: {', '.join(grew)}")
    for problem in (*soak.wrong, *(f"{name}: {soak.counts[name]}" for name in surprises)):
        print(f"unexpected: {problem}")
    return 1 if grew or soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
