"""Attackers and a good client, each a process of its own, with one line of JSON at the end.

    python hostile_load.py WHAT PORT SECONDS [TOKEN]

    good            one request after the other on eight connections in turn; answers and latency
    idle            as many connections as `IDLE`, one request each, then nothing
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
from collections.abc import Callable, Iterator
from math import inf
from typing import Final

IDLE: Final = 8000
AT_ONCE: Final = 20
PIECE: Final = 64 * 1024
IS_RESET: Final = struct.pack("ii", 1, 0)
HEAD: Final = b"GET /who HTTP/1.1\r\nHost: shop.example\r\n"
POST: Final = b"POST /public/x HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"


def connect(port: int) -> socket.socket:
    # Another address of this machine for each: the port numbers of one would be used up by the thousands that come and go.
    host = f"127.0.{random.randrange(1, 250)}.{random.randrange(1, 250)}"
    return socket.create_connection(("127.0.0.1", port), 5, (host, 0))


def good(port: int, seconds: float, token: str) -> dict[str, object]:
    """Latencies in milliseconds."""
    clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(8)]
    request = HEAD + b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
    taken: list[float] = []
    refused: dict[str, int] = {}
    deadline = time.monotonic() + seconds
    for client in itertools.cycle(clients):
        start = time.perf_counter()
        if time.monotonic() > deadline:
            break
        client.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data or not _is_whole(data):
            more = client.recv(1 << 16)
            if not more:
                break
            data += more
        taken.append((time.perf_counter() - start) * 1000)
        if not data.startswith(b"HTTP/1.1 200"):
            reason = data.lower().partition(b"x-gateway-reason: ")[2].partition(b"\r")[0]
            why = f"{data[9:12].decode()} {reason.decode()}"
            refused[why] = refused.get(why, 0) + 1
        if not data:
            break
        time.sleep(0.002)
    taken.sort()
    if not taken:
        return {"answers": 0, "refused": refused, "p50": inf, "p99": inf, "max": inf}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    found = {name: round(taken[min(int(part * len(taken)), len(taken) - 1)], 2) for name, part in at.items()}
    return {"answers": len(taken), "refused": refused, **found}


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


def _one_byte_of(data: bytes) -> Callable[[], bytes]:
    endless: Iterator[int] = itertools.cycle(data)
    return lambda: bytes((next(endless),))


def main() -> None:
    what, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    token = sys.argv[4] if len(sys.argv) > 4 else ""
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
        "churn": lambda: churn(port, seconds),
    }
    if what in floods:
        print(json.dumps({"sent": floods[what]()}))
    else:
        print(json.dumps({"good": good, "idle": idle}[what](port, seconds, token)))


if __name__ == "__main__":
    main()
