"""Mixed traffic for as long as it is told, and a look at every process: memory, descriptors and the store must stay flat.

    make soak                      an hour
    make soak ARGS='--minutes 15'  less; under a quarter of an hour it is not settled, and what grows is not told from what fills

People sign in, renew and sign out; tokens of an issuer are shown, revoked and shown again; WebSockets and event streams open,
echo and are cut; strangers send rubbish and leave in the middle. Everything is on loopback, at a pace of some dozen requests a
second, because what leaks leaks by number and not by speed. Whatever the store keeps for weeks is kept for minutes here, so
that an hour sees each kind of key come and go many times.

The first third warms up. What is judged is the median of the slopes between all pairs of looks in the rest (Theil and Sen): a
leak has that slope however it comes, while one step of an allocator, or one look at a bad moment, moves a line of least squares
and the mean of a third, and not this. Of a worker's slope as much is allowed as new tokens take in its bounded memory of them.
Keys and descriptors are counted, so there a step is growth too: the median of ten looks at the end is compared with that of ten
in the beginning. Exit code 1 when something grows.
"""

import argparse
import contextlib
import json
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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import redis
from attacks.wire_gateway import issuer, within
from identity.browser import Browser
from issuing import OMITTED
from live.running_gateway import ISSUER, Child
from model.rough_gateway import SETTINGS, RoughGateway
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

EVERY_S = 5.0
TOKEN_BYTES = 4096
"""What a worker may keep of a token that it has verified, its session's record and its part of half-full pages with it:
2.7 KiB and 0.4 KiB (docs/design/memory-and-limits.md); 3.4 KiB were seen."""
ENTRY_BYTES = 1024
"""What an entry of the log may take in the store, where it stays for an hour."""
SLACK_BYTES_PER_HOUR = 8 << 20
SLACK_MEMBERS = 30
"""By how many keys or members each kind in the store may have grown in the end: as many are born and freed in some seconds."""
DESCRIPTORS = 8
SHORT: dict[str, Any] = {
    "tokens": {"access_ttl": "60s", "refresh_ttl": "2m", "session_ttl": "3m"},
    "sessions": {"grace": "2s"},
    "audit": {"max_length": 1000},
    "purge": {"every": "1m"},
    "issuers": [issuer(user_prefix="idp|", max_lifetime="2m", session_lifetime="2m")],
}
"""Lifetimes of minutes."""
HERE = Path(__file__).resolve().parent


@dataclass
class Sample:
    """One look: seconds since the start, resident bytes and descriptors of each process, the store's own figures."""

    at_s: float
    memory: dict[str, int]
    descriptors: dict[str, int]
    store: dict[str, int]
    tokens: int


@dataclass
class Soak:
    """The run. `counts` is what was asked and told."""

    gateway: RoughGateway
    websocket_path: str
    looks: Path | None = None
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
        for _ in range(150):
            without = ("access",) if choose.random() < 0.02 else ()
            self._expect(browser.get("/who", without=without).told, "200")
            self.counts["renewals"] += bool(without)
            if self.stop.wait(0.15):
                return
        copy = browser.stolen()
        self._expect(browser.post("/auth/logout").told, "204")
        self._expect(copy.get("/who", is_kept=False).told.partition(" ")[0], "401")

    def _visitors(self, choose: random.Random, number: int) -> None:
        user, name = f"soak-{number % 400}", f"soak-{number}"
        token = self._token(user, name)
        for _ in range(60):
            self._expect(self.gateway.show(token).told, "200")
            if self.stop.wait(0.1):
                return
        subject = choose.choice(
            [{"session": name}, {"token_id": name, "issuer": ISSUER}, {"user": f"idp|{user}", "issuer": ISSUER}]
        )
        status, receipt = self.gateway.admin("POST", "/v1/revocations", json=subject)
        self._expect(str(status), "201")
        self._expect(str(receipt.get("complete")), "True")
        self.counts["revocations"] += 1
        for _ in range(3):
            self._expect(self.gateway.show(token).told.partition(" ")[0], "401")

    def _tunnels(self, choose: random.Random, number: int) -> None:
        user, name = f"tunnel-{number % 400}", f"tunnel-{number}"
        token = self._token(user, name)
        for _ in range(choose.randrange(1, 10)):
            with self._tunnel(token):
                pass
        with self._tunnel(token) as client:
            status, _ = self.gateway.admin("POST", "/v1/revocations", json={"session": name})
            self.counts["revocations"] += 1
            with contextlib.suppress(WebSocketException):
                client.recv(10)
            self._expect(f"{status} {client.close_code}", "201 1008")
            self.counts["tunnels cut"] += 1

    @contextlib.contextmanager
    def _tunnel(self, token: str) -> Iterator[ClientConnection]:
        """An open WebSocket after some messages."""
        url = f"ws://127.0.0.1:{self.gateway.gateway.port}{self.websocket_path}"
        with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as client:
            self.counts["tunnels"] += 1
            client.recv(10)
            for _ in range(5):
                client.send("over and over")
                self._expect(str(client.recv(10)), "over and over")
                self.stop.wait(0.2)
            yield client

    def _streams(self, choose: random.Random, number: int) -> None:
        """Event streams: left by the client in the middle, and at last cut."""
        user, name = f"stream-{number % 400}", f"stream-{number}"
        token = self._token(user, name)
        for _ in range(choose.randrange(1, 10)):
            self._stream(token).close()
        with self._stream(token) as client:
            self.gateway.admin("POST", "/v1/revocations", json={"session": name})
            self.counts["revocations"] += 1
            with contextlib.suppress(ConnectionResetError):
                while client.recv(65536):
                    pass
            self.counts["streams cut"] += 1

    def _stream(self, token: str) -> socket.socket:
        """An event stream after a second of it."""
        client = socket.create_connection(("127.0.0.1", self.gateway.gateway.port), 10)
        client.sendall(f"GET /ticks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        self._expect(client.recv(64)[9:12].decode(), "200")
        self.counts["streams"] += 1
        self.stop.wait(1.0)
        return client

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

    def _token(self, user: str, name: str) -> str:
        """Forty users by turns: who was revoked is not asked for again in the same second. Each token has names of its own."""
        now = int(time.time())
        self.counts["tokens"] += 1
        return self.gateway.gateway.token(sub=user, sid=name, jti=name, iat=now - 5, exp=now + 60, groups=OMITTED)

    # The looks.

    def _look(self, at_s: float) -> Sample:
        workers = self.gateway.processes(b"worker")
        stores = self.gateway.processes(b"unixsocket")
        named = {"supervisor": self.gateway.gateway.pid} | {f"worker {place}": pid for place, pid in enumerate(workers)}
        memory = {name: resident(pid) for name, pid in named.items()}
        descriptors = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in named.items()}
        tokens = self.counts["tokens"] + 2 * (self.counts["logins"] + self.counts["renewals"])  # an access and a refresh token
        sample = Sample(at_s, memory, descriptors, store_figures(stores[0]), tokens)
        if self.looks is not None:
            with self.looks.open("a") as file:
                print(json.dumps(asdict(sample) | {"counts": self.counts}), file=file)
        return sample


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def store_figures(pid: int) -> dict[str, int]:
    """Memory in use, how many keys there are of each kind, and how many members each collection has that is there once."""
    found_path = re.search(rb"unixsocket:(\S+)", Path(f"/proc/{pid}/cmdline").read_bytes())
    assert found_path is not None, "the store does not say where it listens"
    client = redis.Redis(unix_socket_path=found_path[1].rstrip(b"\0").decode())
    with contextlib.closing(client):
        info: Any = client.info("memory")
        found = Counter({"memory": int(info["used_memory"])})
        for key in client.scan_iter(count=1000):
            kind, is_one_of_many = kind_of(key.decode())
            found[kind] += 1 if is_one_of_many else members(client, key)
    return dict(found)


def kind_of(key: str) -> tuple[str, bool]:
    """`log facts` of `gateway:{log}:facts`, `limit account` of `gateway:{limit}:account:<digest>`; whether there may be many."""
    words = [word.strip("{}") for word in key.split(":")[1:]]
    if words[0] in ("session", "sessions", "first") and words[1] != "all":
        return words[0], True
    return " ".join(words[:2]), len(words) > 2


def members(client: redis.Redis, key: bytes) -> int:
    counts: dict[bytes, Callable[[bytes], Any]] = {b"zset": client.zcard, b"hash": client.hlen, b"stream": client.xlen}
    kind: Any = client.type(key)
    return int(counts[kind](key)) if kind in counts else 1


def per_hour(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    """The median of the slopes between all pairs of looks, times an hour."""
    points = [(sample.at_s, figure(sample)) for sample in samples]
    slopes = [(later - early) / (end - start) for (start, early), (end, later) in combinations(points, 2)]
    return statistics.median(slopes) * 3600 if slopes else 0.0


def judge(samples: list[Sample]) -> tuple[list[str], list[str]]:
    """A table of what was seen, and what grew."""
    settled = samples[len(samples) // 3 :]
    judged = [judge_process(settled, name) for name in settled[0].memory]
    judged += [judge_memory_of_the_store(settled)]
    kinds = sorted({kind for sample in settled for kind in sample.store} - {"memory"})
    judged += [judge_kind(settled, kind) for kind in kinds]
    return [row for row, _ in judged], [problem for _, problems in judged for problem in problems]


def judge_process(settled: list[Sample], name: str) -> tuple[str, list[str]]:
    tokens = per_hour(settled, lambda sample: sample.tokens) if name.startswith("worker") else 0
    bound = SLACK_BYTES_PER_HOUR + tokens * TOKEN_BYTES
    slope = per_hour(settled, lambda sample: sample.memory.get(name, 0))
    descriptors = [sample.descriptors.get(name, 0) for sample in settled]
    few, many = statistics.median(descriptors[:10]), statistics.median(descriptors[-10:])
    first, last = settled[0].memory[name], settled[-1].memory.get(name, 0)
    row = (
        f"| {name} | {mib(first)} | {mib(last)} | {slope / 2**20:+.1f} MiB/h (at most {bound / 2**20:.0f}) "
        f"| {few:g} to {many:g}, most {max(descriptors)} |"
    )
    grew = [f"the memory of {name}"] if slope > bound else []
    return row, grew + ([f"the descriptors of {name}"] if many > few + DESCRIPTORS else [])


def judge_memory_of_the_store(settled: list[Sample]) -> tuple[str, list[str]]:
    slope = per_hour(settled, lambda sample: sample.store["memory"])
    bound = SLACK_BYTES_PER_HOUR + per_hour(settled, lambda sample: sample.store["log entries"]) * ENTRY_BYTES
    first, last = mib(settled[0].store["memory"]), mib(settled[-1].store["memory"])
    row = f"| store, `used_memory` | {first} | {last} | {slope / 2**20:+.1f} MiB/h (at most {bound / 2**20:.0f}) | |"
    return row, ["the memory of the store"] if slope > bound else []


def judge_kind(settled: list[Sample], kind: str) -> tuple[str, list[str]]:
    """Keys of one kind, or the members of the only one. Entries of the log are kept for an hour, so there they may grow."""
    counts = [sample.store.get(kind, 0) for sample in settled]
    few, many = statistics.median(counts[:10]), statistics.median(counts[-10:])
    row = f"| store, {kind} | {few:g} | {many:g} | most {max(counts)} | |"
    return row, [f"{kind} in the store"] if kind != "log entries" and many > few + SLACK_MEMBERS else []


def mib(figure: int) -> str:
    return f"{figure / 2**20:.1f} MiB"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--looks", type=Path, help="a file for every look as it is taken: a line of JSON each")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        application = Child(HERE.parent / "live" / "application.py")
        stack.callback(application.stop)
        gateway = RoughGateway(folder / "gateway", keys=0)
        stack.callback(gateway.close)
        settings = gateway.gateway._settings
        settings |= SETTINGS | SHORT
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
        soak = Soak(gateway, "/echo", chosen.looks)
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
