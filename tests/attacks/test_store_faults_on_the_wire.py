"""A store that is there and does wrong: replies cut off, reset, swallowed, byte by byte, a store that is full. The whole program,
with a real store behind a proxy that does it.

Asked each time: does anything revoked pass, is what needs the store refused as it should be, and is all well when it is over.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live.running_gateway import eventually
from store_faults import NONE, RESET, SLICED, SWALLOWED, Fault, FaultProxy
from store_process import StoreProcess
from wire_gateway import Wire, wire

from gateway.clock import Clock
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog
from gateway.revocation.receipt import Receipt
from gateway.store.client import connect

UNAVAILABLE = "503 store-unavailable"
MAX_STALENESS_S = 0.5
MOST_CONNECTIONS = 40
"""Of two workers and their supervisor, in the steady state: far below what their pools would allow."""


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def proxy(store: StoreProcess) -> Iterator[FaultProxy]:
    with FaultProxy(store.socket) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def behind(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    settings = {"store": {"url": proxy.url, "max_staleness": f"{MAX_STALENESS_S * 1000:.0f}ms"}}
    with wire(tmp_path_factory.mktemp("behind"), is_awaited=False, **settings) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        yield running
        proxy.fault = NONE


def replies(fault: Fault) -> Callable[[FaultProxy, StoreProcess, bool], None]:
    def set_fault(proxy: FaultProxy, store: StoreProcess, is_on: bool) -> None:
        proxy.fault = fault if is_on else NONE

    return set_fault


def full(proxy: FaultProxy, store: StoreProcess, is_on: bool) -> None:
    store.command("CONFIG", "SET", "maxmemory", 1 if is_on else 0)


@pytest.mark.parametrize("fault", [replies(RESET), full], ids=["reset in mid-reply", "out of memory"])
def test_R05_R07_what_a_store_does_wrong_lets_nobody_in_and_ends_with_it(
    behind: Wire, proxy: FaultProxy, store: StoreProcess, fault: Callable[[FaultProxy, StoreProcess, bool], None]
) -> None:
    gateway = behind.gateway
    sid = f"revoked-{secrets.token_hex(4)}"
    good, revoked = gateway.token(sub="good"), gateway.token(sid=sid)
    gateway.revoke(session=sid)
    fault(proxy, store, True)
    eventually(lambda: behind.everywhere(good) == {UNAVAILABLE})
    answer = behind.show(good)
    assert b"\r\nretry-after: " in answer.head.lower() and b"set-cookie" not in answer.head.lower()
    assert behind.everywhere(revoked) == behind.everywhere(revoked, "/stale/who") == {"401 revoked-session"}
    assert behind.everywhere(good, "/public/who") == behind.everywhere(good, "/stale/who") == {"200"}
    if fault is not full:  # the answer takes its whole deadline: once is enough
        assert gateway.call("POST", "/v1/revocations", json={"session": "unknown"}).status_code == 503
    fault(proxy, store, False)
    eventually(lambda: behind.everywhere(good, times=8) == {"200"})
    assert behind.everywhere(revoked) == {"401 revoked-session"}
    gateway.revoke(session="as ever")
    assert proxy.open <= MOST_CONNECTIONS


def test_R05_replies_that_come_byte_by_byte_are_replies(behind: Wire, proxy: FaultProxy) -> None:
    proxy.fault = SLICED
    token = behind.gateway.token(sid="sliced")
    assert behind.everywhere(token) == {"200"}
    behind.gateway.revoke(session="sliced")
    assert behind.everywhere(token) == {"401 revoked-session"}
    proxy.fault = NONE


def test_whoever_was_let_in_although_revoked_is_told_when_the_log_is_known_again(
    behind: Wire, proxy: FaultProxy, store: StoreProcess
) -> None:
    gateway = behind.gateway
    revoked, good = gateway.token(sub="mallory", sid="meanwhile"), gateway.token(sub="good")
    proxy.fault = SWALLOWED
    eventually(lambda: behind.everywhere(good) == {UNAVAILABLE})
    receipt = asyncio.run(elsewhere(store, Revocation(Kind.SESSION, "meanwhile")))
    assert (receipt.enforced_by, receipt.fenced) == (0, 2)
    assert behind.everywhere(revoked, "/stale/who") == behind.everywhere(good, "/open/who") == {"200"}
    proxy.fault = NONE
    eventually(lambda: behind.everywhere(revoked, "/stale/who", times=8) == {"401 revoked-session"})
    name = 'gateway_admitted_although_revoked_total{kind="session"}'
    eventually(lambda: gateway.metrics()[name] == 2)  # once for each worker

    def lines() -> list[str]:
        return [line["message"] for line in gateway.messages() if line["message"].startswith("Admitted although revoked")]

    eventually(lambda: len(lines()) >= 2)
    assert len(lines()) == 2
    assert all(" sid=meanwhile reason=revoked-session route=stale requests=" in line for line in lines())

    def events() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = gateway.call("GET", "/v1/audit?action=admitted-although-revoked").json()["events"]
        return found

    told = eventually(lambda: len(events()) == 2 and events())
    assert isinstance(told, list)
    assert {(event["user"], event["session"], event["route"], event["outcome"]) for event in told} == {
        ("mallory", "meanwhile", "stale", "observed")
    }
    assert sum(event["count"] for event in told) >= 24


async def elsewhere(store: StoreProcess, revocation: Revocation) -> Receipt:
    """By another gateway, which reaches the store."""
    client = connect(store.url)
    try:
        return await RevocationLog(client, Clock(), MAX_STALENESS_S).revoke(revocation)
    finally:
        await client.aclose()
