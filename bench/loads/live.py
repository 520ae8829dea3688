"""How long do 5 000 live connections outlive their revocation, on two workers? WebSockets, and event streams among them.

    one by one    each has a session of its own; one is revoked after another
    one user      hundreds of connections are one user's, and one revocation ends them all
    one key       everything that is left ends with the key that signed it

From before the call of the admin API, the store's disk included, until the client sees its end. Beside each a probe asks each
worker for something ordinary, over and over: the longest it waited bounds the longest pause of the event loop.
"""

import concurrent.futures
import contextlib
import itertools
import select
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from bench.budgets import at_most, taken_beside
from bench.client import Connection
from bench.loads import Options
from bench.loads.backends import backend
from bench.loads.cut import HANDSHAKE
from bench.loads.enforcement import percentile
from bench.place import Place
from bench.process import BenchError, Bystanders, resident_bytes
from bench.report import Report
from bench.systems import gateway
from bench.systems.gateway import Gateway
from bench.tokens import ISSUER, KEY_ID, Token

_WORKERS: Final = 2
_OPEN: Final = 5000
_QUICK_OPEN: Final = 400
_ONE_BY_ONE: Final = 200
_OF_ONE_USER: Final = 500
_STREAM_EVERY: Final = 5
_BUDGET_MS: Final = 20.0
_LIMIT_S: Final = 30.0
_QUIET_S: Final = 4.0


def measure(place: Place, options: Options) -> Report:
    """Median, p99 and most of each way, and the longest answer of a probe."""
    if (reason := gateway.missing()) is not None:
        raise BenchError(reason)
    number = _QUICK_OPEN if options.is_quick else _OPEN
    one_by_one, of_one_user = (number // 10, number // 4) if options.is_quick else (_ONE_BY_ONE, _OF_ONE_USER)
    bystanders = Bystanders()
    with (
        backend(place, "echo.py") as port,
        gateway.ready(place, workers=_WORKERS, other_port=port, is_pinned=False) as running,
        contextlib.ExitStack() as stack,
    ):
        before_bytes = resident_bytes(running.processes())
        tokens = [place.issuer.mint("many" if place_ < of_one_user else f"user-{place_}") for place_ in range(number)]
        opened = [stack.enter_context(_opened(running, token, place_)) for place_, token in enumerate(tokens)]
        each_kib = (resident_bytes(running.processes()) - before_bytes) / number / 1024
        admin = stack.enter_context(Connection(running.admin_port))
        with _probing(running) as quiet:
            time.sleep(_QUIET_S)
        with _probing(running) as busy:
            alone = [
                _cut_by(admin, {"session": token.session}, [connection])[0]
                for token, connection in itertools.islice(zip(tokens[::-1], opened[::-1], strict=True), one_by_one)
            ]
            together = _cut_by(admin, {"user": "idp|many", "issuer": ISSUER}, opened[:of_one_user])
        with _probing(running) as beside_thousands:  # its token has the same key: it is refused from then on, which is an answer
            everybody = _cut_by(admin, {"key": KEY_ID, "issuer": ISSUER}, opened[of_one_user : number - one_by_one])
    ways = {
        f"one session after another, {len(alone)}": alone,
        f"all {of_one_user} of one user": together,
        f"all {len(everybody)} of one key": everybody,
        "an ordinary request, nothing revoked": quiet,
        "an ordinary request beside the first two": busy,
        "an ordinary request beside the third": beside_thousands,
    }
    p99 = {name: percentile(times, 99) for name, times in ways.items()}
    first, second, *_, last = ways
    return Report(
        title=f"{number} live connections over {_WORKERS} workers, {each_kib:.1f} KiB each; 1 in {_STREAM_EVERY} streams events",
        columns=("", "p50 ms", "p99 ms", "most ms"),
        rows=tuple(
            (name, f"{statistics.median(times):.1f}", f"{p99[name]:.1f}", f"{max(times):.1f}") for name, times in ways.items()
        ),
        verdicts=taken_beside(
            bystanders.percent(),
            (
                at_most("one of them is closed, p99", p99[first], _BUDGET_MS, "ms"),
                at_most("each of one user's is closed, p99", p99[second], _BUDGET_MS, "ms"),
                at_most("a request beside the end of thousands, p99", p99[last], _BUDGET_MS, "ms"),
            ),
        ),
        values=dict(ways) | {"each_kib": each_kib},
    )


def _opened(running: Gateway, token: Token, number: int) -> Connection:
    """A WebSocket, or an event stream whose first event is here."""
    connection = Connection(running.port)
    is_stream = number % _STREAM_EVERY == 0
    connection.send_head("GET", "/other/live", token.text, headers=None if is_stream else HANDSHAKE)
    status, _ = connection.read_head()
    if status != (200 if is_stream else 101):
        raise BenchError(f"a live connection was answered {status}")
    return connection


def _cut_by(admin: Connection, what: dict[str, str], doomed: Sequence[Connection]) -> list[float]:
    """Revoke, and how long after the call each connection was told its end, in ms."""
    watch = select.epoll()
    for connection in doomed:
        connection.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.socket.recv(65536)  # the first event of a stream
        watch.register(connection.socket, select.EPOLLIN | select.EPOLLET)
    with watch, concurrent.futures.ThreadPoolExecutor(1) as pool:
        start = time.perf_counter()
        answer = pool.submit(gateway.revoke, admin, what)
        ended: dict[int, float] = {}
        while len(ended) < len(doomed):
            for descriptor, _ in watch.poll(1.0):
                ended.setdefault(descriptor, (time.perf_counter() - start) * 1e3)
            if time.perf_counter() - start > _LIMIT_S:
                raise BenchError(f"{len(doomed) - len(ended)} of {len(doomed)} were not cut within {_LIMIT_S:.0f} s")
        status, receipt = answer.result()
    if status != 201:
        raise BenchError(f"the revocation was answered {status}: {receipt}")
    return list(ended.values())


@contextlib.contextmanager
def _probing(running: Gateway) -> Iterator[list[float]]:
    """How long ordinary requests to each worker took meanwhile, in ms."""
    times: list[float] = []
    stop = threading.Event()

    def ask(probe: Connection) -> None:
        while not stop.wait(0.001):
            start = time.perf_counter()
            probe.request("/", running.token.text)
            times.append((time.perf_counter() - start) * 1e3)

    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(probe) for probe in running.connection_to_each_worker(_WORKERS)]
        threads = [threading.Thread(target=ask, args=(probe,)) for probe in probes]
        for thread in threads:
            thread.start()
        try:
            yield times
        finally:
            stop.set()
            for thread in threads:
                thread.join()
