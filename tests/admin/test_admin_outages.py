"""The admin port when a worker hangs, a member is silent, or the store is away, undeclared, or reached by a password."""

import asyncio
import json
import secrets
import signal
from pathlib import Path
from typing import Any

from store_process import StoreProcess
from supervising import TOKENS, Running, configuration, eventually, running, signal_process

from gateway.clock import Clock
from gateway.revocation.follower import Follower
from gateway.revocation.log import RevocationLog
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.store.client import Store, connect


async def revoke(gateway: Running, **what: Any) -> tuple[int, dict[str, Any]]:
    status, _, receipt = await gateway.call("POST", "/v1/revocations", json=what)
    return status, receipt


async def silent_member(store_url: str, clock: Clock) -> View:
    """A live worker of somebody else's gateway on the same store, that was cut off a moment ago."""
    view = View(1000)
    follower = Follower(store_url, view, clock, incarnation=secrets.token_hex(16), max_staleness=10.0)
    following = asyncio.create_task(follower.run())
    await eventually(lambda: view.state is State.LIVE)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return view


async def test_W2_a_stopped_worker_counts_as_fenced_and_uncovered_routes_are_named(
    store: Store, store_url: str, clock: Clock, tmp_path: Path
):
    await RevocationLog(store, clock, 2.0).declare()
    async with running(configuration(tmp_path, store_url)) as gateway:
        stopped = gateway.pids()[0]
        signal_process(stopped, signal.SIGSTOP)
        status, receipt = await revoke(gateway, user="alice")
        assert status == 201
        assert (receipt["enforced_by"], receipt["fenced"], receipt["workers"]) == (1, 1, 2)
        assert receipt["not_fenced_routes"] == ["report"]
        signal_process(stopped, signal.SIGCONT)


async def test_W3_an_incomplete_receipt_is_202(store: Store, store_url: str, clock: Clock, tmp_path: Path):
    """With a staleness of 10 s the fence of a silent worker lies behind the deadline of 5 s."""
    await RevocationLog(store, clock, 10.0).declare()
    async with running(configuration(tmp_path, store_url, staleness="10s")) as gateway:
        stranger = await silent_member(store_url, clock)
        status, receipt = await revoke(gateway, user="alice")
        assert status == 202
        assert (receipt["enforced_by"], receipt["fenced"], receipt["workers"], receipt["complete"]) == (2, 0, 3, False)
        assert stranger.state is State.LIVE


async def test_a_store_password_is_never_told(store: Store, clock: Clock, tmp_path: Path):
    loaded = configuration(tmp_path, "redis://operator:hunter2@127.0.0.1:1/0?password=hunter2")
    async with running(loaded, until="admin_address") as gateway:
        status, _, document = await gateway.call("GET", "/v1/status")
        assert (status, document["store"]["url"], document["store"]["up"]) == (200, "redis://127.0.0.1:1/0", False)
        assert "hunter2" not in json.dumps(document)


async def test_a_store_that_is_away_is_503_and_the_result_unknown(store_process: StoreProcess, clock: Clock, tmp_path: Path):
    client = connect(store_process.url)
    await RevocationLog(client, clock, 2.0).declare()
    await client.aclose()
    async with running(configuration(tmp_path, store_process.url)) as gateway:
        store_process.freeze()
        status, headers, problem = await gateway.call("POST", "/v1/revocations", json={"user": "alice"})
        assert (status, headers["Retry-After"], problem["reason"]) == (503, "2", "store-unavailable")
        assert "may or may not have been recorded" in problem["detail"]
        assert (await gateway.call("GET", "/v1/status"))[0] == 200
        await eventually(lambda: not gateway.supervisor.is_ready)
        store_process.thaw()
        await eventually(lambda: gateway.supervisor.is_ready)
        assert (await revoke(gateway, user="alice"))[0] == 201


async def test_L5_an_undeclared_store_takes_nothing_and_says_so(store_url: str, tmp_path: Path):
    async with running(configuration(tmp_path, store_url), until="admin_address") as gateway:
        status, _, problem = await gateway.call("POST", "/v1/revocations", json={"user": "alice"})
        assert status == 503
        assert "Nothing was recorded" in problem["detail"]
        assert "gateway store init" in problem["detail"]


async def test_O02_the_admin_port_can_be_a_unix_socket(store: Store, store_url: str, clock: Clock, tmp_path: Path):
    await RevocationLog(store, clock, 2.0).declare()
    async with running(configuration(tmp_path, store_url, admin="unix:admin.sock")) as gateway:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "admin.sock"))
        head = f"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[0]}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert gateway.supervisor.admin_address == f"unix:{tmp_path / 'admin.sock'}"
