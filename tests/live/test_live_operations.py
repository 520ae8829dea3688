"""What goes wrong in operation: a store that hangs, dies or is wiped, a killed worker, a stop. And what an operator asks."""

import json
import os
import re
import resource
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
from issuing import key_set, rsa_signer
from patience import PATIENCE_S
from running_gateway import ISSUER, RunningGateway, StartGateway, complete, eventually
from steady_clients import SteadyClients
from store_process import StoreProcess
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

UNAVAILABLE = "503 store-unavailable"
COUNTERS = ("gateway_requests_total", "gateway_decisions_total", "gateway_revoked_use_total", "gateway_request_duration_seconds")


@pytest.fixture
def declared(store_process: StoreProcess, start_gateway: StartGateway) -> Iterator[RunningGateway]:
    """A gateway on an external store that its operator has declared. A replica is trusted for half a second."""
    gateway = start_gateway(is_awaited=False, store={"url": store_process.url, "max_staleness": "500ms"})
    assert gateway.command("store init").returncode == 0
    eventually(gateway.is_ready)
    yield gateway
    store_process.thaw()


def test_L5_an_external_store_must_be_declared_and_until_then_nothing_is_let_in(
    store_process: StoreProcess, start_gateway: StartGateway
):
    gateway = start_gateway(is_awaited=False, store={"url": store_process.url})
    token = gateway.token()
    assert gateway.told_everywhere("/who", token) == {UNAVAILABLE}
    assert not gateway.is_ready()
    assert gateway.call("POST", "/v1/revocations", json={"user": "alice"}).status_code == 503
    assert gateway.command("store init").stdout == "declared\n"
    eventually(gateway.is_ready)
    assert gateway.told_everywhere("/who", token) == {"200"}
    assert gateway.command("store init").stdout == "was declared before\n"


@pytest.mark.parametrize("outage", ["freeze", "kill"])
def test_an_outage_of_the_store_is_503_until_it_answers_and_then_nothing_was_forgotten(
    declared: RunningGateway, store_process: StoreProcess, outage: str
):
    gateway = declared
    good, revoked = gateway.token(), gateway.token(sid="revoked-before")
    gateway.revoke(session="revoked-before")
    getattr(store_process, outage)()
    eventually(lambda: gateway.told_everywhere("/who", good) == {UNAVAILABLE})
    answer = gateway.ask("/who", good)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "set-cookie" not in answer.headers
    assert gateway.told_everywhere("/public/who") == {"200"}
    assert gateway.told_everywhere("/stale/who", good) == {"200"}
    assert gateway.told_everywhere("/stale/who", revoked) == {"401 revoked-session"}
    assert gateway.told_everywhere("/who") == {"401 no-token"}
    eventually(lambda: gateway.metrics()["gateway_store_up"] == 0)
    done = gateway.command("revoke", "--user", "somebody", "--json")
    assert done.returncode == 1
    assert "The store did not answer" in done.stderr
    if outage == "freeze":
        store_process.thaw()
    else:
        store_process.start()
    eventually(lambda: gateway.told_everywhere("/who", good) == {"200"})
    assert gateway.told_everywhere("/who", revoked) == {"401 revoked-session"}
    gateway.revoke(user="after-the-outage")
    assert gateway.told_everywhere("/who", gateway.token(sub="after-the-outage", iat=1)) == {"401 lifetime-too-long"}


def test_a_wiped_store_is_never_read_as_nothing_is_revoked(declared: RunningGateway, store_process: StoreProcess):
    gateway = declared
    good, revoked = gateway.token(), gateway.token(sid="before-the-wipe")
    gateway.revoke(session="before-the-wipe")
    before = gateway.metrics()["gateway_store_recoveries_total"]
    store_process.flush()

    def is_over() -> bool:
        assert gateway.told_everywhere("/who", revoked) == {"401 revoked-session"}
        assert gateway.told_everywhere("/who", good) <= {"200", UNAVAILABLE}
        return gateway.metrics()["gateway_store_recoveries_total"] == before + 1 and gateway.is_ready()

    eventually(is_over)
    eventually(lambda: gateway.told_everywhere("/who", good) == {"200"})


def test_a_good_token_is_not_unknown_because_a_key_set_takes_a_second(start_gateway: StartGateway):
    """Neither at the start nor on a replaced worker."""
    with slow_key_set(key_set(rsa_signer())) as url:
        issuer = {"issuer": ISSUER, "audience": "shop", "jwks": url, "algorithms": ["RS256"]}
        gateway = start_gateway(is_awaited=False, issuers=[issuer])
        token = gateway.token()
        assert gateway.told_everywhere("/who", token) <= {"200", UNAVAILABLE}  # on a busy machine the replica may take longer
        eventually(lambda: gateway.told_everywhere("/who", token) == {"200"})
        killed = gateway.workers()[0]
        os.kill(killed, signal.SIGKILL)
        told: set[str] = set()

        def is_replaced() -> bool:
            with suppress(httpx.TransportError):  # a connection that the dead worker had not accepted yet
                told.add(gateway.told("/who", token))
            workers = gateway.status()["workers"]
            return workers[0]["pid"] not in (killed, None) and all(worker["ready"] for worker in workers)

        eventually(is_replaced)
        assert told | gateway.told_everywhere("/who", token) == {"200"}


@contextmanager
def slow_key_set(body: bytes) -> Iterator[str]:
    """The URL of a key set that takes its time, as one behind a cold start does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            Event().wait(1.0)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    server.server_close()


@pytest.fixture
def own(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway()


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """As on most systems: what is started has a low limit, and may raise it."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, allowed), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


def test_a_killed_worker_is_replaced_knows_what_is_revoked_and_no_counter_goes_back(own: RunningGateway):
    good, revoked = own.token(), own.token(jti="revoked-before-the-kill")
    own.revoke(token_id="revoked-before-the-kill", issuer=ISSUER)
    own.told_everywhere("/who", good)
    seen = [own.metrics()]
    killed, spared = own.workers()
    with SteadyClients(own.port, "/who", good).asking() as clients:
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: seen.append(own.metrics()) or own.workers()[0] not in (killed, None))
        eventually(lambda: seen.append(own.metrics()) or all(worker["ready"] for worker in own.status()["workers"]))
    assert len(clients.failures) <= 4  # what it had in hand: who comes later is served by the other, or waits for the successor
    assert set(clients.told) == {200}
    assert own.told_everywhere("/who", revoked) == {"401 revoked-token"}
    assert own.told_everywhere("/who", good) == {"200"}
    assert own.workers()[1] == spared
    seen.append(own.metrics())
    for before, after in pairwise(seen):
        assert {name for name, value in before.items() if name.startswith(COUNTERS) and after[name] < value} == set()
    assert seen[-1]["gateway_worker_restarts_total"] == 1
    assert complete(own.revoke(user="after-the-kill"))


def test_workers_are_forked_from_a_template_and_started_without_one_when_it_is_gone(few_descriptors: None, own: RunningGateway):
    good, children = own.token(), Path(f"/proc/{own.pid}/task/{own.pid}/children")

    def workers() -> set[int]:
        """Also the template: they are one program."""
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split()}
        return {pid for pid, line in lines.items() if line.endswith(b"worker\0")}

    for worker in own.workers():
        allowed, most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        assert allowed == most, "an application that hangs takes a thousand descriptors by itself"
    (template,) = workers() - set(own.workers())
    os.kill(template, signal.SIGKILL)
    killed = own.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: own.workers()[0] not in (killed, None))
    eventually(lambda: own.workers()[0] is not None and all(worker["ready"] for worker in own.status()["workers"]))
    assert own.told_everywhere("/who", good) == {"200"}
    assert workers() - {template} == set(own.workers())


def test_SIGTERM_lets_what_is_in_flight_finish_and_takes_nothing_new(own: RunningGateway, upstreams: dict[str, str]):
    token = own.token()
    assert own.command("healthcheck").returncode == 0
    headers = {"Authorization": f"Bearer {token}"}
    with (
        ThreadPoolExecutor() as threads,
        connect(f"ws://127.0.0.1:{own.port}/echo", additional_headers=headers, proxy=None) as websocket,
    ):
        websocket.recv()
        answer = threads.submit(own.ask, "/held?name=drain", token)
        assert httpx.get(f"{upstreams['app']}/arrived?name=drain").text == "it is here"
        os.kill(own.pid, signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=PATIENCE_S)
        assert websocket.close_code == 1001
        eventually(lambda: not accepts(own.port))
        assert not own.is_ready()
        assert not answer.done()
        httpx.get(f"{upstreams['app']}/release?name=drain")
        assert (answer.result().status_code, answer.result().text) == (200, "released")
    assert own.wait() == 0
    assert [line["code"] for line in own.access_lines() if line["path"] == "/held"] == [200]
    assert [line for line in own.messages() if line.get("level") in ("error", "critical")] == []
    assert [line["message"] for line in own.messages() if "ended: exit code" in line["message"]] != []
    assert not [line for line in own.messages() if re.search(r"ended: (?!exit code 0$)", line["message"])]
    assert own.command("healthcheck").returncode == 1


def test_SIGTERM_tells_kept_connections_to_close_and_tears_none(own: RunningGateway):
    with SteadyClients(own.port, "/who", own.token(), comes_back=False).asking(3, keep=3) as clients:
        eventually(lambda: clients.told[200] > 30)
        os.kill(own.pid, signal.SIGTERM)
        assert own.wait() == 0
    assert clients.failures == []
    assert clients.closes == 3


def test_L5_nothing_outlives_a_killed_supervisor_and_nothing_is_forgotten(own: RunningGateway):
    good, revoked = own.token(), own.token(sid="before-the-kill")
    own.revoke(session="before-the-kill")
    family = [*own.workers(), *children(own.pid)]
    assert len(set(family)) == 4  # two workers, the template they come from, and the store
    own.stop(signal.SIGKILL)
    eventually(lambda: not any(is_running(pid) for pid in family))
    own.start()
    assert own.told_everywhere("/who", revoked) == {"401 revoked-session"}
    assert own.told_everywhere("/who", good) == {"200"}


def test_status_tells_workers_replicas_and_store(gateway: RunningGateway):
    status = json.loads(gateway.command("status", "--json").stdout)
    assert status["ready"] is True
    assert [worker["index"] for worker in status["workers"]] == [0, 1]
    assert all(is_running(worker["pid"]) for worker in status["workers"])
    assert {worker["replica"] for worker in status["workers"]} == {"live"}
    assert status["store"]["up"] is True
    text = gateway.command("status").stdout
    for worker in status["workers"]:
        assert str(worker["pid"]) in text.split()


def test_explain_tells_route_verdict_and_headers(gateway: RunningGateway):
    token = gateway.token(sub="alice", groups=["staff"])
    done = gateway.command("explain", "GET", "/staff/reports", "--token", token)
    assert done.returncode == 0, done.stderr
    assert "staff" in done.stdout
    assert "X-User: alice" in done.stdout
    refused = gateway.command("explain", "GET", "/staff/reports", "--token", gateway.token(groups=[]))
    assert "forbidden" in refused.stdout


def test_an_access_line_tells_who_and_why_and_never_with_what(gateway: RunningGateway):
    token = gateway.token(sub="logged", sid="logged-session")
    request_id = gateway.ask(f"/who?access_token={token}&path={token}", token).headers.get("X-Request-Id")
    gateway.ask(f"/{token}", token)
    gateway.ask("/who", f"{token}tampered")
    lines = eventually(lambda: [line for line in gateway.access_lines() if line["session"] == "logged-session"][1:])
    assert (lines[0]["user"], lines[0]["route"], lines[0]["method"]) == ("logged", "app", "GET")
    first = next(line for line in gateway.access_lines() if line["session"] == "logged-session")
    assert (first["path"], first["code"], first["decision"], first["reason"]) == ("/who", 200, "allow", None)
    assert request_id is None or first["request_id"] == request_id
    assert not gateway.leaks()


def test_readyz_tells_in_detail(gateway: RunningGateway):
    answer = httpx.get(f"{gateway.admin}/readyz?verbose", trust_env=False)
    assert answer.status_code == 200
    assert "[+] worker 0" in answer.text
    assert "[+] worker 1" in answer.text


def test_the_workers_measure_how_late_their_event_loops_come(gateway: RunningGateway):
    before = gateway.metrics()["gateway_event_loop_lag_seconds_count"]
    eventually(lambda: gateway.metrics()["gateway_event_loop_lag_seconds_count"] > before)


def test_the_admin_port_wants_its_token(gateway: RunningGateway):
    for method, path in (("GET", "/v1/status"), ("POST", "/v1/revocations")):
        assert httpx.request(method, f"{gateway.admin}{path}", trust_env=False).status_code == 401


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        return [int(child) for child in found.read().split()]
