"""One run of wrk: requests, errors, latency. The figures come from its Lua hook as JSON, not from its prose."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.place import PEERS, find
from bench.process import BenchError

NAME = "wrk"


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw. Times in milliseconds."""

    requests: int
    duration_s: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.requests / self.duration_s


def missing() -> str | None:
    return None if find(NAME) else "wrk is not installed (Debian: wrk)"


def command(
    port: int,
    token: str | None,
    *,
    seconds: float,
    connections: int = 32,
    scheme: str = "http",
    pause_ms: int = 0,
    lines: Sequence[str] = (),
) -> list[str]:
    """wrk's command line. One thread: it shares its core with the backend. `pause_ms`: the mean pause before a request."""
    words = [find(NAME) or NAME, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    words += ["-s", str(PEERS / "wrk.lua")]
    if token is not None:
        words += ["-H", f"Authorization: Bearer {token}"]
    for line in lines:
        words += ["-H", line]
    return [*words, f"{scheme}://127.0.0.1:{port}/", "--", str(pause_ms)]


def run(
    port: int,
    token: str | None,
    *,
    seconds: float,
    connections: int = 32,
    scheme: str = "http",
    pause_ms: int = 0,
    lines: Sequence[str] = (),
) -> Load:
    """Load a port for so long, each request with these header lines. It runs on the core of this process."""
    words = command(port, token, seconds=seconds, connections=connections, scheme=scheme, pause_ms=pause_ms, lines=lines)
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60, check=False)
    return read(done.stdout, done.stderr)


def read(output: str, errors: str = "") -> Load:
    """The load from what wrk printed."""
    for line in output.splitlines():
        if line.startswith("{"):
            return Load(**json.loads(line))
    raise BenchError(f"wrk said: {output}{errors}")
