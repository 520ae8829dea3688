"""A configuration, and a supervisor that really runs in the test's own loop, with real worker processes.

`tiny_worker.py` is the smallest worker that keeps the contract: it follows the log, beats, listens on nothing. The
supervisor does not know the difference, and the data plane has tests of its own.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from patience import PATIENCE_S

from gateway.config.load import Loaded, load
from gateway.launcher import Launcher
from gateway.supervisor import Supervisor

TOKENS = ("first-admin-token-of-the-tests-0001", "second-admin-token-of-the-tests-02")
ISSUER = "https://idp.example/realms/shop"
TINY_WORKER = (sys.executable, str(Path(__file__).with_name("tiny_worker.py")), "gateway")

CONFIGURATION = """
listen: 127.0.0.1:0
public_url: http://localhost:8080
workers: {workers}
admin: {{listen: "{admin}", token: ["{tokens[0]}", "{tokens[1]}"], allowed_hosts: [ops.internal]}}
store: {{url: "{store}", directory: store, max_staleness: {staleness}}}
issuers:
  - {{issuer: "{issuer}", audience: shop, jwks: keys.json, algorithms: [RS256], claims: {{user: sub}}, user_prefix: ""}}
upstreams: {{app: {{url: "http://127.0.0.1:9"}}}}
routes:
  - {{name: report, path: /report, access: required, on_outage: stale, upstream: app}}
  - {{name: app, path: /, access: required, upstream: app}}
timeouts: {{drain: {drain}}}
"""


def configuration(
    folder: Path, store: str, workers: int = 2, admin: str = "127.0.0.1:0", drain: str = "5s", staleness: str = "2s"
) -> Loaded:
    """A loaded configuration in a file of its own."""
    path = folder / "gateway.yaml"
    path.write_text(
        CONFIGURATION.format(
            workers=workers, admin=admin, store=store, tokens=TOKENS, issuer=ISSUER, drain=drain, staleness=staleness
        )
    )
    (folder / "keys.json").write_text('{"keys": []}')
    return load(path, {})


async def eventually(is_so: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    """Wait for something that other processes bring about. Says what it waited for when it does not come."""
    async with asyncio.timeout(within_s):
        while not is_so():
            await asyncio.sleep(0.02)


class Running:
    """A supervisor that runs, and a client of its admin port."""

    def __init__(self, supervisor: Supervisor, client: aiohttp.ClientSession) -> None:
        self.supervisor = supervisor
        self.client = client
        self.ended: asyncio.Task[int]

    async def call(self, method: str, path: str, token: str | None = TOKENS[0], **options: Any) -> tuple[int, Any, Any]:
        """Status, headers and body (parsed when it is JSON)."""
        headers = options.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {token}", **headers}
        address = self.supervisor.admin_address
        async with self.client.request(method, f"{address}{path}", headers=headers, **options) as answer:
            is_json = answer.content_type.endswith("json")
            return answer.status, answer.headers, await (answer.json(content_type=None) if is_json else answer.text())

    def pids(self) -> list[int | None]:
        return [worker.pid for worker in self.supervisor.workers()]


@asynccontextmanager
async def running(
    loaded: Loaded, command: Sequence[str] = TINY_WORKER, until: str = "is_ready", **options: Any
) -> AsyncIterator[Running]:
    """Run a supervisor until it is ready (or has the address of `until`), and end it in order afterwards."""
    supervisor = Supervisor(loaded, launcher=Launcher(command), **options)
    async with aiohttp.ClientSession() as client:
        gateway = Running(supervisor, client)
        gateway.ended = asyncio.create_task(supervisor.run())
        try:
            await eventually(lambda: gateway.ended.done() or getattr(supervisor, until))
            if gateway.ended.done():
                gateway.ended.result()
            yield gateway
        finally:
            if not gateway.ended.done():
                supervisor.stop()
                async with asyncio.timeout(PATIENCE_S):
                    await gateway.ended
            supervisor.close()


def is_alive(pid: int | None) -> bool:
    """Whether a process with this id exists and is not a zombie."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends_at_once(code: int) -> tuple[str, ...]:
    """The command of a worker that ends as soon as it starts."""
    return (sys.executable, "-c", f"raise SystemExit({code})", "gateway")


def signal_process(pid: int | None, number: int) -> None:
    assert pid is not None
    os.kill(pid, number)
