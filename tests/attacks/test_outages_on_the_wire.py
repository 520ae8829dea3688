"""What an attacker hopes for: a moment in which the gateway does not know what is revoked. The store is frozen, killed,
emptied and rolled back, workers are stopped and killed in the middle of a revocation; all on a running program with two workers.

Asked each time: does anything revoked pass, does the receipt claim more than is true, do the routes keep to their own
`on_outage`, and is everything well again within two seconds of the store answering.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest
from live.running_gateway import ISSUER, complete, eventually
from store_process import StoreProcess
from wire_gateway import Wire, at_once, wire

pytestmark = pytest.mark.xdist_group("live2")

UNAVAILABLE = "503 store-unavailable"
RECOVERY_S = 2.0
ROUTES_ASKED = ("/who", "/stale/who", "/open/who", "/optional/who", "/public/who")


@pytest.fixture
def store_process() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture
def outage(store_process: StoreProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A gateway on an external store that was declared. A replica is trusted for half a second."""
    settings: dict[str, Any] = {"store": {"url": store_process.url, "max_staleness": "500ms"}}
    with wire(tmp_path_factory.mktemp("outage"), is_awaited=False, **settings) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        yield running
        store_process.thaw()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A gateway whose workers a test stops and kills. Its own store; a replica is trusted for the usual two seconds."""
    with wire(tmp_path_factory.mktemp("stopped")) as running:
        yield running


def told(running: Wire, token: str) -> dict[str, set[str]]:
    return {path: running.everywhere(token, path, times=12) for path in ROUTES_ASKED}


WHEN_UNKNOWN = {
    "/who": {UNAVAILABLE},
    "/stale/who": {"200"},
    "/open/who": {"200"},
    "/optional/who": {UNAVAILABLE},
    "/public/who": {"200"},
}
WHEN_REVOKED = {path: {"401 revoked-session"} for path in ROUTES_ASKED} | {"/public/who": {"200"}}


def test_R02_R03_R04_R13_no_outage_lets_a_revoked_token_in_and_each_ends_by_itself(outage: Wire, store_process: StoreProcess):
    gateway = outage.gateway
    good, revoked = gateway.token(sub="good"), gateway.token(sid="revoked")
    gateway.revoke(session="revoked")
    for end, recover in ((store_process.freeze, store_process.thaw), (store_process.kill, store_process.start)):
        end()
        eventually(lambda: outage.everywhere(good) == {UNAVAILABLE})
        assert told(outage, good) == WHEN_UNKNOWN
        assert told(outage, revoked) == WHEN_REVOKED
        assert outage.show(gateway.token(), "/once/pay").told == UNAVAILABLE
        answer = outage.show(good)
        assert b"\r\nretry-after: " in answer.head.lower() and b"set-cookie" not in answer.head.lower()
        eventually(lambda: not gateway.is_ready())
        if end == store_process.freeze:  # the answer takes its whole deadline
            refused = gateway.call("POST", "/v1/revocations", json={"user": "unknown-result"})
            assert (refused.status_code, refused.json()["reason"]) == (503, "store-unavailable")
            assert "The result is unknown" in refused.json()["detail"]
        recover()
        eventually(lambda: outage.everywhere(good, times=8) == {"200"})
        assert told(outage, revoked) == WHEN_REVOKED
        eventually(gateway.is_ready)
    gateway.revoke(user="after")


def test_R09_R13_L5_a_store_that_forgot_is_noticed_and_given_back_what_the_workers_know(
    outage: Wire, store_process: StoreProcess
):
    gateway = outage.gateway
    good, revoked = gateway.token(sub="good"), gateway.token(sid="revoked")
    older = store_process.keep_copy()
    gateway.revoke(session="revoked")
    for lose in (lambda: store_process.roll_back(older), store_process.flush):
        lose()
        recovered_at = time.monotonic() + RECOVERY_S
        while time.monotonic() < recovered_at:
            assert told(outage, revoked) == WHEN_REVOKED
        eventually(lambda: outage.everywhere(good, times=8) == {"200"})
        eventually(lambda: {line["process"] for line in gateway.messages() if "-> lost: " in line["message"]} == BOTH)
        eventually(gateway.is_ready)
        receipt = gateway.call("POST", "/v1/revocations", json={"user": "later"}).json()
        assert (receipt["enforced_by"], receipt["workers"], receipt["complete"]) == (2, 2, True)
    killed = gateway.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: killed not in gateway.workers() and gateway.status()["workers"][0]["ready"])
    assert outage.everywhere(revoked, times=40) == {"401 revoked-session"}, "a new worker knows it from the store"


def test_L5_a_worker_that_starts_on_a_rolled_back_store_does_not_let_in_what_the_others_know(
    outage: Wire, store_process: StoreProcess
):
    gateway = outage.gateway
    revoked = gateway.token(sid="revoked")
    older = store_process.keep_copy()
    gateway.revoke(session="revoked")
    killed = gateway.workers()[0]
    os.kill(killed, signal.SIGKILL)
    store_process.roll_back(older)

    def is_there() -> bool:
        assert outage.everywhere(revoked) <= {"401 revoked-session", UNAVAILABLE, "0"}
        worker = gateway.status()["workers"][0]
        return worker["pid"] not in (killed, None) and worker["ready"]

    eventually(is_there)
    assert outage.everywhere(revoked, times=40) == {"401 revoked-session"}


BOTH = {"worker 0", "worker 1"}


def revoking(running: Wire, threads: ThreadPoolExecutor, **subject: str) -> "Future[httpx.Response]":
    return threads.submit(running.gateway.call, "POST", "/v1/revocations", json=subject)


def test_W2_W3_a_stopped_worker_is_fenced_and_not_before_it_has_stopped_itself(stopped: Wire):
    gateway = stopped.gateway
    token = gateway.token(sid="fenced")
    assert stopped.everywhere(token) == {"200"}
    halted, other = gateway.workers()
    os.kill(halted, signal.SIGSTOP)
    try:
        started = time.monotonic()
        receipt = gateway.call("POST", "/v1/revocations", json={"session": "fenced"}).json()
        took_s = time.monotonic() - started
    finally:
        os.kill(halted, signal.SIGCONT)
    assert (receipt["enforced_by"], receipt["fenced"], receipt["workers"], receipt["complete"]) == (1, 1, 2, True)
    assert took_s > 2.5  # 1.25 × max_staleness
    assert receipt["not_fenced_routes"] == ["stale", "open"]
    assert stopped.everywhere(token) <= {"401 revoked-session", UNAVAILABLE}
    eventually(lambda: stopped.everywhere(gateway.token()) == {"200"})
    assert gateway.workers() == [halted, other]
    assert stopped.everywhere(token, "/stale/who") == {"401 revoked-session"}


def test_W2_a_worker_killed_during_a_revocation_is_counted_as_stopped_and_its_successor_knows(stopped: Wire):
    gateway = stopped.gateway
    token = gateway.token(sid="killed")
    eventually(lambda: all(worker["ready"] for worker in gateway.status()["workers"]))
    killed, spared = gateway.workers()
    os.kill(killed, signal.SIGSTOP)  # it cannot answer, so the revocation waits for it
    with ThreadPoolExecutor() as threads:
        waiting = revoking(stopped, threads, session="killed")
        eventually(lambda: stopped.show(token).status != 200 or gateway.status()["store"]["head"])
        os.kill(killed, signal.SIGKILL)
        receipt = waiting.result().json()
    assert (receipt["enforced_by"], receipt["fenced"], receipt["workers"], receipt["complete"]) == (1, 1, 2, True)
    assert stopped.everywhere(token) == {"401 revoked-session"}
    eventually(lambda: gateway.workers()[0] not in (killed, None) and gateway.status()["workers"][0]["ready"])
    assert stopped.everywhere(token) == {"401 revoked-session"}
    assert gateway.workers()[1] == spared


def test_A02_a_hundred_revocations_at_once_are_a_hundred_complete_receipts(stopped: Wire):
    gateway = stopped.gateway
    eventually(lambda: all(worker["ready"] for worker in gateway.status()["workers"]))
    answers = at_once(100, lambda number: gateway.call("POST", "/v1/revocations", json={"session": f"at-once-{number}"}))
    assert {answer.status_code for answer in answers} == {201}
    assert len({complete(answer.json())["id"] for answer in answers}) == 100
    assert {stopped.show(gateway.token(sid=f"at-once-{number}")).told for number in range(100)} == {"401 revoked-session"}


def test_A02_W2_a_worker_that_hangs_delays_receipts_and_no_revocation(stopped: Wire):
    gateway = stopped.gateway
    eventually(lambda: all(worker["ready"] for worker in gateway.status()["workers"]))
    tokens = [gateway.token(sid=f"undelayed-{number}") for number in range(80)]
    halted = gateway.workers()[0]
    os.kill(halted, signal.SIGSTOP)
    try:
        answers = at_once(80, lambda number: gateway.call("POST", "/v1/revocations", json={"session": f"undelayed-{number}"}))
    finally:
        os.kill(halted, signal.SIGCONT)
    receipts = [answer.json() for answer in answers]
    assert {(receipt["enforced_by"], receipt["fenced"], receipt["complete"]) for receipt in receipts} == {(1, 1, True)}
    assert max(receipt["took_ms"] for receipt in receipts) < 5_000  # one fence, not one after the other
    assert {stopped.show(token).told for token in tokens} <= {"401 revoked-session", UNAVAILABLE}


def test_A02_the_same_revocation_and_its_undoing_at_once_end_in_one_of_the_two_everywhere(stopped: Wire):
    gateway, token = stopped.gateway, stopped.gateway.token(jti="contested")
    receipts = [gateway.revoke(token_id="contested", issuer=ISSUER) for _ in range(4)]
    undone = at_once(8, lambda number: gateway.call("DELETE", f"/v1/revocations/{receipts[number // 2]['id']}"))
    assert {answer.status_code for answer in undone} == {200}  # undoing is repeated safely
    assert stopped.everywhere(token) == {"200"}
    assert gateway.call("DELETE", f"/v1/revocations/{'0' * 31}1").status_code == 404


def test_W2_W4_nothing_flows_in_a_live_connection_of_a_worker_that_was_fenced(stopped: Wire):
    """The worker is stopped; the receipt calls it fenced; when it goes on, what came meanwhile must not be passed on first."""
    gateway, backend = stopped.gateway, stopped.background
    writers: list[asyncio.StreamWriter] = []
    usual = backend.backend.answer

    async def begin(request: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if request.values("upgrade"):
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: stream\r\nConnection: upgrade\r\n\r\n")
        elif request.target == b"/download":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n1")
        else:
            return await usual(request, reader, writer)
        writers.append(writer)
        await reader.read(1)
        return False

    async def speak(words: bytes) -> None:
        for writer in writers:
            if not writer.is_closing():
                writer.write(words)

    def everybody_speaks(words: bytes) -> None:
        backend.run(speak(words))
        for client in uploads:
            with suppress(OSError):
                client.sendall(words)

    backend.backend.answer = begin
    token = gateway.token(sid="tunnelled")
    clients = [stopped.open(token, "/tunnel", "Upgrade: stream", "Connection: upgrade") for _ in range(12)]
    clients += [stopped.open(token, "/download") for _ in range(12)]
    uploads = [stopped.begin_upload(token) for _ in range(12)]
    eventually(lambda: len(writers) == 24)
    halted = gateway.workers()[0]
    os.kill(halted, signal.SIGSTOP)
    try:
        everybody_speaks(b"before ")  # so that these are the first it hears of, and not the store
        receipt = gateway.call("POST", "/v1/revocations", json={"session": "tunnelled"}).json()
        assert (receipt["fenced"], receipt["complete"]) == (1, True)
        everybody_speaks(b"after the receipt")
    finally:
        os.kill(halted, signal.SIGCONT)
        backend.backend.answer = usual
    assert not [rest for rest in map(stopped.rest_of, clients) if b"after the receipt" in rest]
    for client in uploads:
        stopped.rest_of(client)
    assert not stopped.reached("/upload")
    assert not [broken for broken in backend.backend.broken if b"after the receipt" in broken]
