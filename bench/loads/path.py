"""The Python of one request, without sockets: the real data plane between two transports that swallow what they are given.

What remains is what tuning can change: reading heads, the decision, rewriting, metrics, the access line. It holds
still where whole-system figures move with the machine. The rest of a request's CPU is the kernel's and the event loop's.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import report as reports
from bench.loads import Options
from bench.place import Place
from bench.process import BenchError
from bench.systems import gateway
from bench.tokens import ISSUER, LIFETIME_S, Token
from gateway.clock import Clock
from gateway.config.load import load
from gateway.denials import Denials
from gateway.enforce.known import Known
from gateway.enforce.verified import Verified
from gateway.proxy.client import ClientConnection
from gateway.proxy.plane import Plane
from gateway.proxy.pool import Pool
from gateway.proxy.report import Report
from gateway.proxy.upstream import UpstreamConnection
from gateway.revocation.entry import Entry, Kind, fact_key
from gateway.revocation.state import Event
from gateway.revocation.view import View
from gateway.routes.compile import compile_routes
from gateway.telemetry.access import AccessLog
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import SecurityLog, configure
from gateway.telemetry.metrics import Layout, WorkerMetrics
from gateway.telemetry.slots import Cells
from gateway.tokens.jwk import parse_key_set

_REQUESTS: Final = 10_000
_REPEATS: Final = 15
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 01 Jan 2023 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 94\r\nConnection: keep-alive\r\n\r\n" + b"x" * 94
)


class Swallowing:
    """A transport whose other side is always fast and never heard of again."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: bytes) -> None:
        self.last = data

    def writelines(self, pieces: list[bytes]) -> None:
        self.last = b"".join(pieces)

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...


def measure(place: Place, options: Options) -> reports.Report:
    """The fastest of many runs, for each kind of request."""
    with gateway.ready(place) as running:
        configuration = running.configuration
    token = place.issuer.mint()
    kinds = uvloop.run(_measure(configuration, place.issuer.key_set_path, token))
    return reports.Report(
        title="The Python of one request, without sockets",
        columns=("request", "µs"),
        rows=tuple((kind, f"{time_us:.2f}") for kind, time_us in kinds.items()),
        values={"us": kinds},
    )


async def _measure(configuration: Path, key_set: Path, token: Token) -> dict[str, float]:
    plane, view = _plane(configuration, key_set)
    allowed = _request(token, b"/")
    same = _run(plane, lambda number: allowed, has_answer=True)
    paths = [_request(token, b"/orders/%d" % number) for number in range(1000)]
    other_paths = _run(plane, lambda number: paths[number % 1000], has_answer=True)
    heads = [_request(token, b"/", b"X-Client-Trace: %d" % number) for number in range(1000)]
    other_heads = _run(plane, lambda number: heads[number % 1000], has_answer=True)
    _revoke(view, token)
    refused = _run(plane, lambda number: allowed, has_answer=False)
    return {
        "allowed, the same again": same,
        "allowed, another path each time": other_paths,
        "allowed, another header block each time": other_heads,
        "refused, revoked token": refused,
    }


def _request(token: Token, path: bytes, *lines: bytes) -> bytes:
    own = [b"GET %b HTTP/1.1" % path, b"Host: localhost:8080", b"Authorization: Bearer " + token.text.encode()]
    return b"\r\n".join([*own, b"User-Agent: bench", b"Accept: */*", *lines, b"", b""])


def _plane(configuration: Path, key_set: Path) -> tuple[Plane, View]:
    """What a worker builds, with a replica that is live for ever and nothing in it."""
    config = load(configuration).config
    layout = Layout.of(config)
    metrics = WorkerMetrics(layout, Cells.create(layout.block, 1).block(0))
    view = View(config.store.max_entries)
    view.adopt("bench", 0.0)
    view.meet(Event.DECLARED)
    view.meet(Event.GRANTED)
    view.proven_at = math.inf
    known = Known.of(config, view, [b"csrf"])
    known.issuers[ISSUER].adopt(parse_key_set(key_set.read_bytes(), config.issuers[0].algorithms))
    descriptor = os.open(configuration.with_name("access.log"), os.O_WRONLY | os.O_CREAT)
    loop = asyncio.get_running_loop()
    lines = LineWriter(descriptor, metrics.log_dropped)
    configure(config.log.level, config.log.format, "bench", lines)
    access = AccessLog(lines)
    denials = Denials(metrics, SecurityLog(loop.time), known.fingerprint)
    report = Report(metrics, access, denials, known, [route.name for route in config.routes])
    plane = Plane(
        loop=loop,
        config=config,
        clock=Clock(),
        routes=compile_routes(config.routes),
        known=known,
        report=report,
        claim_once=_never,
        refused=lambda verdict: None,
    )
    plane.pools.update((name, Pool(name, upstream, plane)) for name, upstream in config.upstreams.items())
    return plane, view


async def _never(token: Verified, route: str) -> bool:
    raise AssertionError("no route here is for one use")


def _revoke(view: View, token: Token) -> None:
    now = int(time.time())
    key = fact_key(Kind.TOKEN, ISSUER, token.token_id)
    view.apply(Entry(1, "1-0", "", Kind.TOKEN, key, now, now + LIFETIME_S, "bench"))


def _run(plane: Plane, request: Callable[[int], bytes], *, has_answer: bool) -> float:
    """Microseconds per request, in the fastest repeat."""
    client, upstream = ClientConnection(plane), UpstreamConnection(plane.pools["app"], plane)
    to_client, to_upstream = Swallowing(), Swallowing()
    client.connection_made(to_client)  # type: ignore[arg-type]  # it need not be a real one
    upstream.connection_made(to_upstream)  # type: ignore[arg-type]
    plane.pools["app"].put_back(upstream)
    requests = [request(number) for number in range(_REQUESTS)]
    best = math.inf
    for _ in range(_REPEATS):
        to_client.last = b""
        client.data_received(requests[0])
        if has_answer:
            upstream.data_received(_ANSWER)
        if to_client.last[9:12] != (b"200" if has_answer else b"401"):
            raise BenchError(f"answered {to_client.last[:200]!r}")
        start = time.perf_counter()
        for raw in requests:
            client.data_received(raw)
            if has_answer:
                upstream.data_received(_ANSWER)
        best = min(best, time.perf_counter() - start)
    return best / _REQUESTS * 1e6
