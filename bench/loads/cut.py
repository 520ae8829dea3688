"""How long does a live WebSocket outlive the revocation of its session?

Each WebSocket has its own session; they are revoked one after another while two workers also serve ordinary requests.
From before the call of the admin API until the client has read the close frame (or the end of the connection).
"""

import concurrent.futures
import contextlib
import statistics
import time
from typing import Final

from bench import wrk
from bench.budgets import at_most, taken_beside
from bench.client import Connection
from bench.loads import Options
from bench.loads.backends import backend
from bench.loads.enforcement import percentile
from bench.place import Place
from bench.process import BenchError, Bystanders, started
from bench.report import Report
from bench.systems import gateway
from bench.tokens import Token

_SOCKETS: Final = 200
_QUICK_SOCKETS: Final = 20
_PAUSE_MS: Final = 5
_BUDGET_MS: Final = 20.0
_POLICY_VIOLATION: Final = 1008
_CLOSE_FRAME: Final = 0x88
HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def measure(place: Place, options: Options) -> Report:
    """Median and p99, and how many were told 1008 before the end."""
    if (reason := gateway.missing()) is not None:
        raise BenchError(reason)
    bystanders = Bystanders()
    number = _QUICK_SOCKETS if options.is_quick else _SOCKETS
    with (
        backend(place, "echo.py") as port,
        gateway.ready(place, workers=2, other_port=port, is_pinned=False) as running,
        contextlib.ExitStack() as stack,
    ):
        tokens = [place.issuer.mint() for _ in range(number)]
        sockets = [stack.enter_context(opened(running.port, token.text)) for token in tokens]
        command = wrk.command(running.port, running.token.text, seconds=600, pause_ms=_PAUSE_MS)
        stack.enter_context(started(command, cores=(place.cores.load,), output=place.new_folder("wrk") / "log"))
        admin = stack.enter_context(Connection(running.admin_port))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        time.sleep(1.0)
        outcomes = [_one(admin, pool, socket, token) for socket, token in zip(sockets, tokens, strict=True)]
    times, codes = [time_ms for time_ms, _ in outcomes], [code for _, code in outcomes]
    p99 = percentile(times, 99)
    return Report(
        title=f"{number} live WebSockets whose sessions are revoked one by one, two workers",
        columns=("", "p50 ms", "p99 ms", "most ms", "told 1008"),
        rows=(
            ("closed", f"{statistics.median(times):.1f}", f"{p99:.1f}", f"{max(times):.1f}", f"{codes.count(_POLICY_VIOLATION)}"),
        ),
        verdicts=taken_beside(bystanders.percent(), (at_most("a live WebSocket is closed, p99", p99, _BUDGET_MS, "ms"),)),
        values={"closed_ms": times, "codes": codes},
    )


def opened(port: int, token: str | None) -> Connection:
    """A WebSocket, its handshake answered."""
    connection = Connection(port)
    connection.send_head("GET", "/other/socket", token, headers=HANDSHAKE)
    status, _ = connection.read_head()
    if status != 101:
        raise BenchError(f"a WebSocket handshake was answered {status}")
    return connection


def _one(admin: Connection, pool: concurrent.futures.Executor, socket: Connection, token: Token) -> tuple[float, int | None]:
    start = time.perf_counter()
    end = pool.submit(_end_of, socket)
    status, receipt = gateway.revoke(admin, {"session": token.session})
    if status != 201:
        raise BenchError(f"the revocation was answered {status}: {receipt}")
    closed_at, code = end.result()
    return (closed_at - start) * 1e3, code


def _end_of(connection: Connection) -> tuple[float, int | None]:
    """When the connection was closed, and the code it was told (RFC 6455, 5.5.1): None without a close frame."""
    data = connection.socket.recv(4096)
    at = time.perf_counter()
    is_told = len(data) >= 4 and data[0] == _CLOSE_FRAME
    return at, int.from_bytes(data[2:4], "big") if is_told else None
