"""1 GiB up and 1 GiB down through a worker: the bytes are the same, and its memory does not notice."""

import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patience import PATIENCE_S
from running_gateway import RunningGateway

SIZE = 1 << 30
PIECE = bytes(range(256)) * 4096  # 1 MiB
MOST_GROWTH = 16 << 20


def test_a_gibibyte_down(gateway: RunningGateway):
    token = gateway.token()
    with memory_stays(gateway), connection(gateway, f"GET /bytes?n={SIZE}", token) as client:
        head, body = read_head(client)
        assert head.startswith(b"HTTP/1.1 200")
        assert read_sum(client, body) == pattern_sum(SIZE)


def test_a_gibibyte_up(gateway: RunningGateway):
    token = gateway.token()
    with memory_stays(gateway), connection(gateway, "PUT /sum", token, f"Content-Length: {SIZE}") as client:
        for _ in range(SIZE // len(PIECE)):
            client.sendall(PIECE)
        head, body = read_head(client)
        assert head.startswith(b"HTTP/1.1 200")
        assert json.loads(body) == {"bytes": SIZE, "sum": pattern_sum(SIZE)}


def test_a_slow_reader_costs_no_memory_either(gateway: RunningGateway):
    """The client takes one MiB and then nothing: what the application has to say stays with the application."""
    token = gateway.token()
    with memory_stays(gateway), connection(gateway, f"GET /bytes?n={SIZE}", token) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        for _ in range(16):
            assert client.recv(1 << 16)
        for _ in range(20):  # other requests go on meanwhile
            assert gateway.told("/who", token) == "200"


def read_sum(client: socket.socket, begun: bytes) -> int:
    """Adler-32 of a body whose first bytes were read with the head."""
    total, left = zlib.adler32(begun), SIZE - len(begun)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    while left:
        size = client.recv_into(buffer, min(left, len(buffer)))
        assert size, f"{left} bytes are missing"
        total = zlib.adler32(view[:size], total)
        left -= size
    return total


def read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def pattern_sum(size: int) -> int:
    total = 1
    for _ in range(size // len(PIECE)):
        total = zlib.adler32(PIECE, total)
    return total


@contextmanager
def connection(gateway: RunningGateway, line: str, token: str, *fields: str) -> Iterator[socket.socket]:
    """A request on a socket of its own, its head sent."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as client:
        lines = [f"{line} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", *fields, "", ""]
        client.sendall("\r\n".join(lines).encode())
        yield client


@contextmanager
def memory_stays(gateway: RunningGateway) -> Iterator[None]:
    """No worker's largest resident size grows by more than MOST_GROWTH meanwhile."""
    workers = gateway.workers()
    for pid in workers:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark begins anew
    before = [resident(pid, "VmRSS") for pid in workers]
    yield
    assert gateway.workers() == workers
    for pid, size in zip(workers, before, strict=True):
        assert resident(pid, "VmHWM") - size <= MOST_GROWTH


def resident(pid: int, name: str) -> int:
    """A line of /proc/PID/status, in bytes."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
