"""Fifty people sign in at once: how long does everybody else wait meanwhile?

A password is hashed in a thread on purpose slowly; the event loop beside it must go on turning. What is measured is what another
client sees: the longest of the answers that it gets one after another until the last login is answered, through one
worker on one core. The same before the logins tells what the machine does to an answer by itself.
"""

import json
import select
import time
from typing import Final

from bench.budgets import at_most, taken_beside
from bench.client import Connection
from bench.loads import Options
from bench.place import Place
from bench.process import BenchError, Bystanders
from bench.report import Report
from bench.systems import gateway

_LOGINS: Final = 50
_ACCOUNTS: Final = 10
_BUDGET_MS: Final = 20.0
_BEFORE_S: Final = 1.0
_PAUSE_S: Final = 0.001
_PASSWORD: Final = "a phrase for benchmarks"


def measure(place: Place, options: Options) -> Report:
    """The longest answer of each round, and the median round."""
    if (reason := gateway.missing()) is not None:
        raise BenchError(reason)
    bystanders = Bystanders()
    rounds = []
    with gateway.ready(place) as running:
        emails = [f"person-{number}@example.com" for number in range(_ACCOUNTS)]
        for email in emails:
            _Asked(running.port, "/auth/register", email).read(201)
        for _ in range(options.rounds):
            with Connection(running.port) as other:
                quiet_ms = _until(other, running.token.text, time.perf_counter() + _BEFORE_S)
                start = time.perf_counter()
                storm_ms = _storm(other, running.token.text, running.port, emails)
                rounds.append((quiet_ms, storm_ms, time.perf_counter() - start))
    rounds.sort(key=lambda one: one[1])
    quiet_ms, storm_ms, took_s = rounds[len(rounds) // 2]
    return Report(
        title=f"{_LOGINS} logins at once, one worker, one core; the median of {len(rounds)} rounds",
        columns=("", "ms"),
        rows=(
            ("longest answer to somebody else, no logins", f"{quiet_ms:.1f}"),
            ("longest answer to somebody else, during the logins", f"{storm_ms:.1f}"),
            ("until all had their session", f"{took_s * 1000:.0f}"),
        ),
        verdicts=taken_beside(bystanders.percent(), (at_most("longest answer beside 50 logins", storm_ms, _BUDGET_MS, "ms"),)),
        values={"quiet_ms": quiet_ms, "storm_ms": storm_ms, "took_s": took_s, "rounds": rounds},
    )


def _storm(other: Connection, token: str, port: int, emails: list[str]) -> float:
    """Milliseconds of the longest answer until every login has its own."""
    logins = [_Asked(port, "/auth/login", emails[number % len(emails)]) for number in range(_LOGINS)]
    longest_ms = 0.0
    while logins:
        longest_ms = max(longest_ms, _once(other, token))
        answered, _, _ = select.select([login.connection.socket for login in logins], [], [], _PAUSE_S)
        for login in [one for one in logins if one.connection.socket in answered]:
            login.read(200)
            logins.remove(login)
    return longest_ms


def _until(other: Connection, token: str, end: float) -> float:
    longest_ms = 0.0
    while time.perf_counter() < end:
        longest_ms = max(longest_ms, _once(other, token))
        time.sleep(_PAUSE_S)
    return longest_ms


def _once(other: Connection, token: str) -> float:
    start = time.perf_counter()
    status, body = other.request("/", token)
    if status != 200:
        raise BenchError(f"answered {status}: {body[:200]!r}")
    return (time.perf_counter() - start) * 1000


class _Asked:
    """A request for a session, or for an account, that is on its way."""

    def __init__(self, port: int, path: str, email: str) -> None:
        body = json.dumps({"email": email, "password": _PASSWORD}).encode()
        self.connection = Connection(port)
        self.connection.send_head("POST", path, None, length=len(body), headers={"Content-Type": "application/json"})
        self.connection.socket.sendall(body)

    def read(self, expected: int) -> None:
        """The answer, which must be the expected one."""
        status, body = self.connection.read()
        self.connection.close()
        if status != expected:
            raise BenchError(f"answered {status} instead of {expected}: {body[:200]!r}")
