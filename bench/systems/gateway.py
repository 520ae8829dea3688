"""This gateway: one worker letting through, one refusing a revoked token, and two workers, everything on, embedded store.

The supervisor and the embedded store are in its process tree and count with it. Both of two workers share the one core,
so that CPU per request compares with one worker's.
"""

import contextlib
import functools
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.client import Connection
from bench.place import Place, Running, clean_environment, fill, find
from bench.process import BenchError, Process, can_connect, free_port, owners_of, started, tree, wait_for
from bench.systems import System
from bench.tokens import AUDIENCE, ISSUER, Token

ADMIN_TOKEN: Final = "bench-0123456789abcdef0123456789abcdef"
WITHOUT_TLS: Final = "null"
WITHOUT_TRACING: Final = "null"


def missing() -> str | None:
    return None if find("gateway") else "the gateway is not installed in this environment"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is ready."""

    port: int
    admin_port: int
    process: Process
    token: Token
    configuration: Path
    ready_after_s: float

    def processes(self) -> list[int]:
        """Supervisor, workers, store."""
        return tree(self.process.pid)

    def connection_to_each_worker(self, workers: int, attempts: int = 200) -> list[Connection]:
        """One connection per worker: the kernel spreads them, we keep the first that each worker got."""
        kept: dict[int, Connection] = {}
        for _ in range(attempts):
            connection = Connection(self.port)
            connection.request("/", self.token.text)
            owner = owners_of(self.port, self.processes()).get(connection.local_port)
            if owner is None or owner in kept:
                connection.close()
            else:
                kept[owner] = connection
            if len(kept) == workers:
                return list(kept.values())
        raise BenchError(f"{attempts} connections reached {len(kept)} of {workers} workers")


@contextlib.contextmanager
def ready(
    place: Place,
    *,
    workers: int = 1,
    other_port: int | None = None,
    tls: str = WITHOUT_TLS,
    tracing: str = WITHOUT_TRACING,
    is_pinned: bool = True,
) -> Iterator[Gateway]:
    """Start it and wait for `/readyz`. `/other/` goes to a further backend, everything else to the usual one.

    It runs on the core of the system under test, or, when it is not pinned, wherever the kernel puts it.
    """
    port, admin_port, folder = free_port(), free_port(), place.new_folder("gateway")
    configuration = fill(
        "gateway.yaml",
        folder / "gateway.yaml",
        port=port,
        admin_port=admin_port,
        workers=workers,
        tls=tls,
        tracing=tracing,
        admin_token=ADMIN_TOKEN,
        issuer=ISSUER,
        audience=AUDIENCE,
        key_set=place.issuer.key_set_path,
        backend_port=place.backend_port,
        other_port=other_port or place.backend_port,
    )
    command = [find("gateway") or "", "run", "-c", configuration]
    cores = (place.cores.system,) if is_pinned else place.cores.usable
    began = time.perf_counter()
    with started(command, cores=cores, output=folder / "log", environment=clean_environment()) as process:
        wait_for(lambda: is_ready(admin_port), process, what="readiness")
        yield Gateway(port, admin_port, process, place.issuer.mint(), configuration, time.perf_counter() - began)


def revoke(admin: Connection, what: Mapping[str, str]) -> tuple[int, Any]:
    """One revocation through the admin API: its status and the receipt."""
    return admin.request_json("POST", "/v1/revocations", ADMIN_TOKEN, what)


def is_ready(admin_port: int) -> bool:
    """Does `/readyz` answer 200?"""
    if not can_connect(admin_port):
        return False
    with Connection(admin_port) as admin:
        status, _ = admin.request("/readyz")
        return status == 200


@contextlib.contextmanager
def _letting_through(place: Place, *, workers: int = 1) -> Iterator[Running]:
    with ready(place, workers=workers) as gateway:
        yield Running(gateway.port, gateway.process, gateway.token.text)


@contextlib.contextmanager
def _traced(place: Place, *, ratio: float) -> Iterator[Running]:
    """Spans go to the backend, which swallows them as it answers everything else, on its own core."""
    with ready(place, tracing=f"{{endpoint: 'http://127.0.0.1:{place.backend_port}', sample_ratio: {ratio}}}") as gateway:
        yield Running(gateway.port, gateway.process, gateway.token.text)


@contextlib.contextmanager
def _in_cookies(place: Place) -> Iterator[Running]:
    """The same with a session of the gateway's own: cookies, fingerprint, who sent it."""
    with ready(place) as gateway:
        yield Running(gateway.port, gateway.process, None, lines=signed_in(gateway.port))


def signed_in(port: int, email: str = "bench@example.com") -> tuple[str, ...]:
    """The header lines of a browser in which somebody has just registered and signed in."""
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
    body = json.dumps({"email": email, "password": "a phrase for benchmarks"})
    headers = {"Content-Type": "application/json", "User-Agent": agent}
    cookies: list[str] = []
    for path in ("/auth/register", "/auth/login"):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("POST", path, body, headers)
        answer = client.getresponse()
        if answer.status not in (200, 201):
            raise BenchError(f"{path} was answered {answer.status}: {answer.read()[:200]!r}")
        cookies = [line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie", [])]
        client.close()
    return (f"User-Agent: {agent}", "Sec-Fetch-Site: same-origin", f"Cookie: theme=dark; {'; '.join(cookies)}")


@contextlib.contextmanager
def _refusing(place: Place) -> Iterator[Running]:
    with ready(place) as gateway:
        with Connection(gateway.admin_port) as admin:
            status, receipt = revoke(admin, {"token_id": gateway.token.token_id, "issuer": ISSUER})
        if status != 201:
            raise BenchError(f"the revocation was answered {status}: {receipt}")
        yield Running(gateway.port, gateway.process, gateway.token.text, expected_status=401)


SYSTEMS: Final = (
    System("gateway", "this gateway, everything on", missing, _letting_through),
    System("gateway-cookies", "this gateway, a session in cookies", missing, _in_cookies),
    System("gateway-tracing", "this gateway, every request in a trace", missing, functools.partial(_traced, ratio=1.0)),
    System(
        "gateway-tracing-some", "this gateway, one request of 100 in a trace", missing, functools.partial(_traced, ratio=0.01)
    ),
    System("gateway-refusing", "this gateway, refusing a revoked token", missing, _refusing),
    System(
        "gateway-two-workers",
        "this gateway, two workers on the one core",
        missing,
        functools.partial(_letting_through, workers=2),
    ),
)
