"""Attackers and a good client, each a process of its own, with one line of JSON at the end.

    python hostile_load.py WHAT PORT SECONDS [TOKEN [WORKER…]]

    good            one request after the other on eight connections in turn; answers, latency, and how much processor time a
                    worker takes before it refuses one: its work for whoever came before, however busy the machine is
    idle            as many connections as `IDLE`, one request each, then nothing
    slow_heads      as many connections as `SLOW`, a byte of a head on each in a second
    slow_bodies     the same with bodies
    heads           a hundred megabytes of one head, on twenty connections, again and again
    fields          heads of ten thousand fields
    segments        heads and chunks of one byte in a segment
    chunks          bodies of one-byte chunks that do not end
    pipelined       64 KiB of requests at once that are refused, again and again
    forged          good tokens whose signature is another one each time
    unknown_keys    tokens that name another key each time
    nonsense        bearer tokens of random bytes
    churn           connections that come and go, half of them by reset
    slow_readers    answers that nobody reads
    logins          passwords guessed for many names
    words           line breaks, escapes, markup and invented names wherever a log or a metric might take them

Bounded by its seconds. What the gateway refuses, breaks off or does not take is its right: nothing here fails.
"""

import base64
import contextlib
import itertools
import json
import os
import random
import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Final

IDLE: Final = 8000
SLOW: Final = 1000
AT_ONCE: Final = 20
PIECE: Final = 64 * 1024
IS_RESET: Final = struct.pack("ii", 1, 0)
HEAD: Final = b"GET /who HTTP/1.1\r\nHost: shop.example\r\n"
GOOD: Final = b"GET /well/who HTTP/1.1\r\nHost: shop.example\r\n"
ODD: Final = (b'"} 1\\n', b"\x1b[2J", b"<script>", "\u2028\u202e".encode(), b'{"a":1}', b"%0d%0a", b"\xff\xfe")
SLOW_HEAD: Final = b"GET /who HTTP/1.1\r\nHost: shop.example\r\nX: "
SLOW_BODY: Final = (
    b"POST /well/sum HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 1000000\r\n\r\n"
)
POST: Final = b"POST /public/x HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"


def connect(port: int) -> socket.socket:
    # Another address of this machine for each: the port numbers of one would be used up by the thousands that come and go.
    host = f"127.0.{random.randrange(1, 250)}.{random.randrange(1, 250)}"
    return socket.create_connection(("127.0.0.1", port), 5, (host, 0))


def good(port: int, seconds: float, token: str, workers: Sequence[int] = ()) -> dict[str, object]:
    """Requests with the token, and after each one without.

    `p50` to `max`: milliseconds until the application's answer. `work_…`: milliseconds of processor time of the client's worker
    until the refusal, which the gateway says by itself, in the turn of the loop that reads the request.
    """
    clients = [socket.create_connection(("127.0.0.1", port), 15) for _ in range(8)]
    request = GOOD + b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
    taken: list[float] = []
    work: list[float] = []
    refused: dict[str, int] = {}
    theirs = workers_of(clients, workers)
    deadline = time.monotonic() + seconds
    for client, worker in itertools.cycle(zip(clients, theirs, strict=True)):
        if time.monotonic() > deadline:
            break
        start = time.perf_counter()
        told = _ask_for(client, request)
        taken.append((time.perf_counter() - start) * 1000)
        if told != "200 ":
            refused[told] = refused.get(told, 0) + 1
        spent = processor_ns(worker)
        if (told := _ask_for(client, GOOD + b"\r\n")) != "401 no-token":
            refused[f"{told} without a token"] = refused.get(told, 0) + 1
            break
        work.append((processor_ns(worker) - spent) / 1e6)
        time.sleep(0.002)
    found = {"p50": at(taken, 0.5), "p99": at(taken, 0.99), "max": at(taken, 1.0)}
    return {"answers": len(taken), "refused": refused, **found, "work_p50": at(work, 0.5), "work_p99": at(work, 0.99)}


def _ask_for(client: socket.socket, request: bytes) -> str:
    """Status and reason of the answer; empty: there was none."""
    data = b""
    try:
        client.sendall(request)
        while b"\r\n\r\n" not in data or not _is_whole(data):
            more = client.recv(1 << 16)
            if not more:
                return ""
            data += more
    except OSError as error:
        return type(error).__name__
    reason = data.lower().partition(b"x-gateway-reason: ")[2].partition(b"\r")[0]
    return f"{data[9:12].decode()} {reason.decode()}"


def at(figures: list[float], part: float) -> float:
    return round(sorted(figures)[min(int(part * len(figures)), len(figures) - 1)], 2) if figures else inf


def workers_of(clients: Sequence[socket.socket], workers: Sequence[int]) -> list[int]:
    """Which of these processes serves each connection: it has the socket whose other end is ours."""
    for client in clients:
        _ask_for(client, GOOD + b"\r\n")  # so that it was accepted
    owners = {name: pid for pid in workers for name in _open_files(pid)}
    ends = {f"{client.getpeername()[1]:04X} {client.getsockname()[1]:04X}": None for client in clients}
    inodes = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (pair := f"{fields[1][-4:]} {fields[2][-4:]}") in ends:
            inodes[pair] = fields[9]
    return [owners[f"socket:[{inodes[pair]}]"] for pair in ends]


def _open_files(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            yield os.readlink(entry)


def processor_ns(pid: int) -> int:
    """Time on a processor since it began, of its first thread: the one with the event loop."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def _is_whole(data: bytes) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
    return len(body) >= length


def idle(port: int, seconds: float, token: str) -> dict[str, float]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 200,) * 2)
    request = HEAD + b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
    held = []
    for _ in range(IDLE):
        client = connect(port)
        client.sendall(request)
        client.recv(1 << 16)
        held.append(client)
    print("held", flush=True)
    time.sleep(seconds)
    open_still = sum(_is_open(client) for client in held)
    return {"held": open_still}


def _is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def drip(port: int, seconds: float, begin: bytes, token: bytes) -> int:
    """`SLOW` connections that go on a byte at a time, each once in a second; how many are open at the end."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (SLOW + 200,) * 2)
    held: list[socket.socket] = []
    deadline = time.monotonic() + seconds
    for _ in range(SLOW):
        client = connect(port)
        client.sendall(begin.replace(b"TOKEN", token))
        held.append(client)
    print("held", flush=True)
    while time.monotonic() < deadline:
        for client in held:
            with contextlib.suppress(OSError):
                client.send(b"x")
            time.sleep(1 / SLOW)
    return sum(_is_open(client) for client in held)


def flood(port: int, seconds: float, begin: Callable[[], bytes], pieces: Callable[[], bytes], limit: int, *, reads: bool) -> int:
    """`AT_ONCE` connections that begin, send pieces up to `limit` bytes, and come again when they are closed; bytes sent."""
    waiting = selectors.DefaultSelector()
    deadline = time.monotonic() + seconds
    total = 0
    left: dict[socket.socket, int] = {}
    while time.monotonic() < deadline:
        while len(left) < AT_ONCE:
            try:
                client = connect(port)
                client.sendall(begin())
            except OSError:
                continue
            client.setblocking(False)
            waiting.register(client, selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0))
            left[client] = limit
        for key, events in waiting.select(0.1):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            try:
                if events & selectors.EVENT_READ and not client.recv(1 << 18):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    sent = client.send(pieces())
                    total += sent
                    left[client] -= sent
            except BlockingIOError:
                continue
            except OSError:
                left[client] = 0
            if left[client] <= 0:
                waiting.unregister(client)
                del left[client]
                client.close()
    return total


def _ask(token: bytes) -> bytes:
    return HEAD + b"Authorization: Bearer " + token + b"\r\n\r\n"


def _forged(good: bytes) -> bytes:
    signed, _, signature = good.rpartition(b".")
    return signed + b"." + base64.urlsafe_b64encode(os.urandom(256)).rstrip(b"=")[: len(signature)]


def _of_unknown_key(good: bytes) -> bytes:
    _, claims, signature = good.split(b".")
    header = json.dumps({"alg": "RS256", "typ": "JWT", "kid": os.urandom(8).hex()}).encode()
    return base64.urlsafe_b64encode(header).rstrip(b"=") + b"." + claims + b"." + signature


def _many(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """Twenty requests ahead, as a flooder would: fewer system calls for it, more for us to do."""
    return lambda: b"".join(_ask(make()) for _ in range(20))


def churn(port: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), connect(port) as client:
            client.sendall(random.choice((b"", b"GET /publ", HEAD, POST + b"5\r\nab")))
            if count % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, IS_RESET)
        count += 1
    return count


def _login() -> bytes:
    body = b'{"email": "user-%d@example.com", "password": "guess %d"}' % (random.randrange(10**6), random.randrange(10**9))
    return (
        b"POST /auth/login HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )


def _words() -> bytes:
    """What must stay one word of a line, and no label: an unknown method, path, agent, token, referrer, request's name."""
    odd = random.choice(ODD) + os.urandom(4).hex().encode()
    fields = b"User-Agent: %s\r\nAuthorization: Bearer %s\r\nReferer: %s\r\nX-Request-Id: %s\r\n" % (odd, odd, odd, odd)
    path = base64.urlsafe_b64encode(odd)
    return b"%s /public/%s HTTP/1.1\r\nHost: shop.example\r\n%s\r\n" % (os.urandom(4).hex().upper().encode(), path, fields)


def _one_byte_of(data: bytes) -> Callable[[], bytes]:
    endless: Iterator[int] = itertools.cycle(data)
    return lambda: bytes((next(endless),))


def main() -> None:
    what, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    token = sys.argv[4] if len(sys.argv) > 4 else ""
    workers = [int(pid) for pid in sys.argv[5:]]
    shown = token.encode()
    begin_head = lambda: b"GET /public/ HTTP/1.1\r\nHost: a\r\nX: "  # noqa: E731
    nothing = lambda: b""  # noqa: E731
    floods: dict[str, Callable[[], int]] = {
        "heads": lambda: flood(port, seconds, begin_head, lambda: b"x" * PIECE, 100 << 20, reads=False),
        "fields": lambda: flood(port, seconds, begin_head, lambda: b"y\r\nA: b" * 9000, 1 << 20, reads=False),
        "segments": lambda: flood(port, seconds, begin_head, _one_byte_of(b"z"), 30_000, reads=True),
        "chunks": lambda: flood(port, seconds, lambda: POST, lambda: b"1\r\nx\r\n" * 10_000, 100 << 20, reads=True),
        "pipelined": lambda: flood(port, seconds, nothing, lambda: _ask(b"a.b.c") * 600, 1 << 30, reads=True),
        "forged": lambda: flood(port, seconds, nothing, _many(lambda: _forged(shown)), 1 << 30, reads=True),
        "unknown_keys": lambda: flood(port, seconds, nothing, _many(lambda: _of_unknown_key(shown)), 1 << 30, reads=True),
        "nonsense": lambda: flood(port, seconds, nothing, _many(lambda: os.urandom(30).hex().encode()), 1 << 30, reads=True),
        "slow_readers": lambda: flood(port, seconds, nothing, lambda: _ask(shown) * 20, 1 << 30, reads=False),
        "logins": lambda: flood(port, seconds, nothing, _login, 1 << 20, reads=True),
        "words": lambda: flood(port, seconds, nothing, lambda: b"".join(_words() for _ in range(20)), 1 << 20, reads=True),
        "churn": lambda: churn(port, seconds),
        "slow_heads": lambda: drip(port, seconds, SLOW_HEAD, shown),
        "slow_bodies": lambda: drip(port, seconds, SLOW_BODY, shown),
    }
    if what in floods:
        print(json.dumps({"sent": floods[what]()}))
    elif what == "idle":
        print(json.dumps(idle(port, seconds, token)))
    else:
        print(json.dumps(good(port, seconds, token, workers)))


if __name__ == "__main__":
    main()
