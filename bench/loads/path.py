"""The Python of one request, without sockets: the real data plane between two transports that swallow what they are given.

What remains is what tuning can change: reading heads, the decision, rewriting, metrics, the access line. It holds
still where whole-system figures move with the machine. The rest of a request's CPU is the kernel's and the event loop's.
"""

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
from bench.tokens import ISSUER, LIFETIME_S, USER, Token
from gateway.clock import Clock
from gateway.config.load import load
from gateway.enforce.verify import record_name
from gateway.inside import Inside, build_inside, build_plane
from gateway.proxy.client import ClientConnection
from gateway.proxy.plane import Plane
from gateway.proxy.upstream import UpstreamConnection
from gateway.revocation.entry import Entry, Kind, fact_key
from gateway.revocation.state import Event
from gateway.revocation.view import View
from gateway.sessions.model import COOKIE, SECRET_BYTES, FirstUse, Record, new_session_id, new_subject
from gateway.telemetry.access import AccessLog
from gateway.telemetry.lines import LineWriter
from gateway.telemetry.log import configure
from gateway.telemetry.metrics import Layout, WorkerMetrics
from gateway.telemetry.slots import Cells
from gateway.tokens.jwk import parse_key_set
from gateway.tokens.ring import Ring, new_key
from gateway.wire.cookies import CookieNames

_REQUESTS: Final = 10_000
_REPEATS: Final = 15
_NETWORK: Final = "127.0.0.0/24"
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
    plane, inside, view = await _plane(configuration, key_set)
    bearer = b"Authorization: Bearer " + token.text.encode()
    _has_been_used(inside, token)
    allowed = _request(b"/", bearer)
    same = _run(plane, lambda number: allowed, has_answer=True)
    paths = [_request(b"/orders/%d" % number, bearer) for number in range(1000)]
    other_paths = _run(plane, lambda number: paths[number % 1000], has_answer=True)
    heads = [_request(b"/", bearer, b"X-Client-Trace: %d" % number) for number in range(1000)]
    other_heads = _run(plane, lambda number: heads[number % 1000], has_answer=True)
    of_a_session = _request(b"/", *_signed_in(inside, plane.cookie_names))
    session = _run(plane, lambda number: of_a_session, has_answer=True)
    _revoke(view, token)
    refused = _run(plane, lambda number: allowed, has_answer=False)
    await inside.close()
    return {
        "allowed, the same again": same,
        "allowed, another path each time": other_paths,
        "allowed, another header block each time": other_heads,
        "allowed, a session in cookies, the same again": session,
        "refused, revoked token": refused,
    }


def _request(path: bytes, *lines: bytes) -> bytes:
    own = [b"GET %b HTTP/1.1" % path, b"Host: localhost:8080", b"User-Agent: bench", b"Accept: */*"]
    return b"\r\n".join([*own, *lines, b"", b""])


async def _plane(configuration: Path, key_set: Path) -> tuple[Plane, Inside, View]:
    """What a worker builds, with a replica that is live for ever and nothing in it, and no store behind it."""
    config = load(configuration).config
    layout = Layout.of(config)
    metrics = WorkerMetrics(layout, Cells.create(layout.block, 1).block(0))
    view = View(config.store.max_entries)
    view.adopt("bench", 0.0)
    view.meet(Event.DECLARED)
    view.meet(Event.GRANTED)
    view.proven_at = math.inf
    clock = Clock()
    inside = build_inside(config, [b"s" * 32], view, clock, metrics, f"unix://{configuration.with_name('nowhere')}", 0)
    inside.known.issuers[ISSUER].adopt(parse_key_set(key_set.read_bytes(), config.issuers[0].algorithms))
    inside.mint.ring = Ring().with_next(new_key("ES256", 0.0), 0.0)
    inside.mint.ring = inside.mint.ring.promote(inside.mint.ring.keys[0].kid, 0.0)
    inside.known.adopt_own(inside.mint.ring.key_set())
    descriptor = os.open(configuration.with_name("access.log"), os.O_WRONLY | os.O_CREAT)
    lines = LineWriter(descriptor, metrics.log_dropped)
    configure(config.log.level, config.log.format, "bench", lines)
    return build_plane(config, inside, clock, metrics, AccessLog(lines)), inside, view


def _has_been_used(inside: Inside, token: Token) -> None:
    """The first use of the token's session is known, from where the requests come."""
    name = record_name(inside.known.issuers[ISSUER], USER, token.session, None)
    _keep(inside, name, FirstUse(name, time.time(), time.time() + LIFETIME_S, network=_NETWORK))


def _signed_in(inside: Inside, names: CookieNames) -> tuple[bytes, ...]:
    """The header lines of a browser that is signed in here; the worker has its record."""
    sub, now = new_subject(), time.time()
    record = Record(
        sid=new_session_id(sub),
        sub=sub,
        user="bench@example.com",
        version=1,
        groups=(),
        delivery=COOKIE,
        created=now,
        ends=now + LIFETIME_S,
        generation=1,
        used=1,
        rotated_at=now,
        access_expires=now + LIFETIME_S,
        refresh_expires=now + LIFETIME_S,
        secret=b"s" * SECRET_BYTES,
        revision=1,
        network=_NETWORK,
    )
    minted = inside.mint.mint(record)
    _keep(inside, record.sid, record)
    shown = ((names.access, minted.access), (names.refresh, minted.refresh), (names.csrf, minted.csrf.encode()))
    cookies = b"; ".join(b"%b=%b" % pair for pair in shown)
    return b"Cookie: theme=dark; " + cookies, b"Sec-Fetch-Site: same-origin"


def _keep(inside: Inside, name: str, record: Record | FirstUse) -> None:
    sessions = inside.known.sessions
    sessions.keep(sessions.begin(name), record, Clock().boot())


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
