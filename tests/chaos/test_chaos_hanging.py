"""An application that accepts and never answers, with every client that may wait for it, and more, at the default limits: two
workers serve another application's users as before.

make chaos ARGS='-s -k hanging'      prints the latency beside it and alone
"""

import select
import socket
import time
from pathlib import Path
from statistics import quantiles

from attacks.process_figures import resident_mib
from attacks.wire_gateway import ROUTES, Wire
from live.running_gateway import eventually

WORKERS = 2
MAY_WAIT = WORKERS * (256 + 1024)  # max_connections and max_waiting of one address
BEYOND = 600
ASKED = 400
MOST_MS = 250  # one in a hundred answers may take longer: the machine is busy with the others, and with this test
ASKS = b"GET /hung/ HTTP/1.1\r\nHost: a\r\n\r\n"


def latencies_ms(running: Wire) -> list[float]:
    """Of so many requests to the other application, each on a new connection."""
    token, found = running.gateway.token(sub="good"), []
    for _ in range(ASKED):
        began = time.monotonic()
        assert running.show(token).told == "200"
        found.append((time.monotonic() - began) * 1000)
    return found


def told(clients: list[socket.socket]) -> list[bytes]:
    """The beginnings of the answers that are here."""
    poll = select.poll()
    by_descriptor = {client.fileno(): client for client in clients}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor].recv(12, socket.MSG_PEEK) for descriptor, _ in poll.poll(0)]


def test_an_application_that_hangs_takes_nothing_from_another_one(tmp_path: Path) -> None:
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as hung:  # the kernel accepts; nobody ever reads
        routes = [{"name": "hung", "path": "/hung/", "access": "public", "upstream": "hung"}, *ROUTES]
        running = Wire(tmp_path / "gateway", routes=routes)
        patience = {"read_timeout": "5m", "queue_timeout": "5m"}
        running.gateway._settings["upstreams"]["hung"] = {"url": f"http://127.0.0.1:{hung.getsockname()[1]}"} | patience
        try:
            running.gateway.start()
            alone = latencies_ms(running)
            memory = [resident_mib(pid) for pid in running.gateway.workers()]
            for _ in range(MAY_WAIT + BEYOND):
                clients.append(socket.create_connection(("127.0.0.1", running.gateway.port)))
                clients[-1].sendall(ASKS)
            eventually(lambda: len(told(clients)) >= BEYOND)  # more, where the kernel spreads unevenly
            beside = latencies_ms(running)
            grown = [resident_mib(pid) - before for pid, before in zip(running.gateway.workers(), memory, strict=True)]
            answers = told(clients)
            parts = {name: quantiles(times, n=100) for name, times in (("alone", alone), ("beside", beside))}
            waiting = len(clients) - len(answers)
            print(f"\n{waiting} wait, {len(answers)} were refused; workers grew by {grown[0]:.0f}, {grown[1]:.0f} MiB")
            for name, part in parts.items():
                print(f"{name}: p50 {part[49]:.1f} ms, p99 {part[98]:.1f} ms")
            assert set(answers) == {b"HTTP/1.1 502"}
            assert waiting <= MAY_WAIT
            assert parts["beside"][98] < MOST_MS
        finally:
            for client in clients:
                client.close()
            running.close()
