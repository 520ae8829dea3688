"""Clients that want to use the gateway up: slow ones, silent ones, ones that come and go by the thousand. On two real workers.

What is measured is what a leak would show: descriptors of the processes, the gauges of open connections, processor time while
nothing can be accepted. Limits and deadlines are set low, so that a test meets them within a second.
"""

import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from attacks.process_figures import descriptors, processor_s, resident_mib
from live.running_gateway import eventually
from wire_gateway import PATIENCE_S, Wire, wire

pytestmark = pytest.mark.xdist_group("live2")

PER_CLIENT = 40
DESCRIPTORS = 256
STORE_CONNECTIONS = 32
"""A worker keeps at most so many to the store, and opens them when that many one-time tokens are claimed at once."""
IS_RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    settings = {"limits": {"per_client": PER_CLIENT}, "timeouts": {"head": "1s", "body": "1s", "write": "1s", "keep_alive": "5s"}}
    with wire(tmp_path_factory.mktemp("flooded"), **settings) as running:
        yield running


def connect(running: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.gateway.port), PATIENCE_S)


def is_open(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    if not readable:
        return True
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except ConnectionResetError:
        return False


def clients(running: Wire) -> float:
    return running.gateway.metrics()['gateway_connections{side="client"}']


def ended_within(client: socket.socket, seconds: float, drip: bytes = b"") -> bool:
    """Whether the gateway ends the connection in time, though a byte is sent now and then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_open(client):
            return True
        if drip:
            try:
                client.sendall(drip)
            except OSError:
                return True
        select.select([client], [], [], 0.05)
    return False


@pytest.mark.parametrize(
    "sent", [b"", b"GET /pub", b"GET /public/ HTTP/1.1\r\nHost: a\r\nX: "], ids=["silent", "begun", "dripped"]
)
def test_D01_a_head_that_does_not_come_or_drips_ends_the_connection(attacked: Wire, sent: bytes):
    with connect(attacked) as client:
        client.sendall(sent)
        assert ended_within(client, PATIENCE_S, drip=b"y" if sent.endswith(b"X: ") else b"")


def test_D02_a_body_that_does_not_come_ends_the_exchange(attacked: Wire):
    with connect(attacked) as client:
        client.sendall(b"POST /public/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nab")
        assert ended_within(client, PATIENCE_S)
    eventually(lambda: clients(attacked) == 0)
    assert not attacked.reached("/public/slow")


def test_D03_a_client_that_does_not_read_is_let_go(attacked: Wire):
    backend = attacked.background.backend
    usual = backend.answer

    async def pour(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while True:
            writer.write(bytes(1 << 20))
            await writer.drain()

    backend.answer = pour
    memory = [resident_mib(pid) for pid in attacked.gateway.workers()]
    slow = [connect(attacked) for _ in range(10)]
    try:
        for client in slow:
            client.sendall(b"GET /public/large HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: len(attacked.reached("/public/large")) == 10)
        assert max(resident_mib(pid) for pid in attacked.gateway.workers()) < max(memory) + 64
        eventually(lambda: clients(attacked) == 0)
    finally:
        backend.answer = usual
        for client in slow:
            client.close()


def test_D05_one_address_has_so_many_connections_and_others_are_turned_away_at_once(attacked: Wire):
    eventually(lambda: clients(attacked) == 0)
    opened = [connect(attacked) for _ in range(5 * PER_CLIENT)]
    eventually(lambda: sum(map(is_open, opened)) <= 2 * PER_CLIENT)
    assert clients(attacked) <= 2 * PER_CLIENT
    for client in opened:
        client.close()
    token = attacked.gateway.token()
    eventually(lambda: attacked.everywhere(token) == {"200"})


def test_D09_R06_connections_that_come_and_go_leave_nothing_behind(attacked: Wire):
    gateway, background = attacked.gateway, attacked.background
    token = gateway.token().encode()
    eventually(lambda: clients(attacked) == 0)
    pieces = [
        b"",
        b"GET /publ",
        b"GET /public/churn HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /public/churn HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /once/churn HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + b"\r\n\r\n",
        b"GET /churn HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
        + token
        + b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
    ]

    def churn(number: int) -> None:
        client = connect(attacked)
        try:
            client.sendall(pieces[number % len(pieces)])
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, IS_RESET)
            elif number % 3:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was turned away already
        client.close()

    def is_nobody_connected() -> bool:
        """Asked again and again, because the last exchanges may give their connections back after the first time."""
        background.loop.call_soon_threadsafe(background.backend.close_connections)
        return gateway.metrics()['gateway_connections{side="upstream"}'] == 0

    def rounds(count: int) -> list[int]:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(churn, range(count)))
        eventually(lambda: clients(attacked) == 0)
        eventually(is_nobody_connected)
        return [descriptors(pid) for pid in gateway.workers()]

    before = rounds(200)
    after = rounds(3000)
    assert all(later <= earlier + STORE_CONNECTIONS for earlier, later in zip(before, after, strict=True)), (before, after)
    assert attacked.everywhere(gateway.token()) == {"200"}
    assert not [line for line in gateway.messages() if "exception" in line]


def test_D05_R26_at_the_limit_of_descriptors_who_is_in_is_served_nobody_spins_and_all_recovers(attacked: Wire, tmp_path_factory):
    with wire(tmp_path_factory.mktemp("limited")) as limited:
        gateway = limited.gateway
        token = gateway.token()
        assert limited.everywhere(token) == {"200"}
        workers = gateway.workers()
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        opened = [connect(limited) for _ in range(3 * DESCRIPTORS)]
        eventually(lambda: sum(map(is_open, opened)) < 2 * DESCRIPTORS)
        assert {descriptors(pid) for pid in workers} <= set(range(DESCRIPTORS - 20, DESCRIPTORS + 1))
        spent = [processor_s(pid) for pid in workers]
        started = time.monotonic()
        served = 0
        for client in filter(is_open, opened[:60]):
            client.sendall(b"GET /public/full HTTP/1.1\r\nHost: a\r\n\r\n")
            served += client.recv(12) == b"HTTP/1.1 200"
        assert served >= 50
        gateway.revoke(user="at-the-limit")
        eventually(lambda: time.monotonic() > started + 1)
        assert all(processor_s(pid) - before < 0.7 for pid, before in zip(workers, spent, strict=True))
        for client in opened:
            client.close()
        eventually(lambda: limited.everywhere(token) == {"200"})
        assert gateway.workers() == workers
