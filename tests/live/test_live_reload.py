"""A new configuration while people ask: by signal and by file, good and bad, live connections, more and fewer workers, TLS."""

import datetime
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from running_gateway import ROUTES, RunningGateway, eventually
from steady_clients import SteadyClients
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

RESULT = 'gateway_config_reloads_total{{result="{}"}}'
NEW_ROUTE = {"name": "new", "path": "/new/", "access": "public", "upstream": "app"}


@pytest.fixture(scope="module")
def own(upstreams: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One for this file: what a test changes it changes back, or the next one does not mind."""
    gateway = RunningGateway(tmp_path_factory.mktemp("reload"), upstreams, ROUTES, workers=1, timeouts={"drain": "4s"})
    try:
        yield gateway.start()
    finally:
        gateway.stop()
    assert not gateway.leaks()


def reloads(gateway: RunningGateway, result: str = "success") -> float:
    return gateway.metrics()[RESULT.format(result)]


def write(gateway: RunningGateway, **settings: Any) -> None:
    """As an editor does: a new file in the place of the old one."""
    gateway._settings |= settings
    before = gateway.configuration
    gateway.configuration.with_suffix(".new").write_text(yaml.safe_dump(gateway._settings))
    gateway.configuration.with_suffix(".new").replace(before)


def reload(gateway: RunningGateway, **settings: Any) -> None:
    write(gateway, **settings)
    before = reloads(gateway)
    os.kill(gateway.pid, signal.SIGHUP)
    eventually(lambda: reloads(gateway) > before)


def refused(gateway: RunningGateway, text: str) -> str:
    """Write it, wait until it was refused, and say why."""
    before, said = reloads(gateway, "failure"), len(gateway.messages())
    gateway.configuration.write_text(text)
    os.kill(gateway.pid, signal.SIGHUP)
    eventually(lambda: reloads(gateway, "failure") > before)
    return "\n".join(line["message"] for line in gateway.messages()[said:] if "stays as it was" in line["message"])


def test_A04_R24_reloads_under_load_fail_no_request_and_no_counter_falls(own: RunningGateway):
    token = own.token()
    first, seen = own.workers(), [own.metrics()]
    with SteadyClients(own.port, "/who", token).asking() as clients:
        for count in (2, 1):
            reload(own, workers=count, routes=[NEW_ROUTE, *ROUTES] if count == 2 else ROUTES)
            seen.append(own.metrics())
            assert own.told("/new/who") == ("200" if count == 2 else "401 no-token")
            assert len(own.workers()) == count
    assert clients.failures == []
    assert set(clients.told) == {200}
    assert clients.closes > 0
    assert not set(first) & set(own.workers())
    eventually(lambda: own.metrics()["gateway_workers_draining"] == 0)
    seen.append(own.metrics())
    for before, after in pairwise(seen):
        counters = {name for name in before if "_total" in name or "_count" in name or "_sum" in name or "_bucket" in name}
        assert {name for name in counters & after.keys() if after[name] < before[name]} == set()
    served = 'gateway_requests_total{code="200",method="GET",route="app"}'
    eventually(lambda: own.metrics()[served] - seen[0][served] == clients.told[200])  # a page may be 0.2 s old
    assert own.metrics()["gateway_worker_restarts_total"] == 0
    assert own.is_ready()
    receipt = own.call("POST", "/v1/revocations", json={"user": "after-the-reload"}).json()
    assert (receipt["complete"], receipt["enforced_by"], receipt["workers"]) == (True, 1, 1)


def test_a_live_connection_outlasts_a_reload_ends_with_its_session_or_with_the_drain(own: RunningGateway):
    tokens = [own.token(sid=name) for name in ("goes-on", "is-ended")]
    sockets = [
        connect(f"ws://127.0.0.1:{own.port}/echo", additional_headers={"Authorization": f"Bearer {token}"}, proxy=None)
        for token in tokens
    ]
    for client in sockets:
        client.recv()
    reload(own, timeouts={"drain": "5s"})
    goes_on, is_ended = sockets
    goes_on.send("still here")
    assert goes_on.recv() == "still here"
    own.call("POST", "/v1/revocations", json={"session": "is-ended"})
    with pytest.raises(ConnectionClosed):
        is_ended.recv(timeout=5)
    assert is_ended.close_code == 1008
    with pytest.raises(ConnectionClosed):  # the old drain, 4 s
        goes_on.recv(timeout=20)
    assert goes_on.close_code == 1001
    eventually(lambda: own.metrics()["gateway_workers_draining"] == 0)


def test_a_bad_file_changes_nothing_and_every_mistake_is_told_with_its_place(own: RunningGateway):
    good, workers = own.configuration.read_text(), own.workers()
    lines = good.splitlines()
    file = str(own.configuration)
    at = next(number for number, line in enumerate(lines, 1) if line.startswith("workers:"))
    said = refused(own, good.replace("workers: 1", "workers: many").replace("routes:", "rutes:"))
    assert f"{file}:{at}:10: workers: " in said
    assert "did you mean 'routes'?" in said
    assert own.metrics()["gateway_config_last_reload_successful"] == 0
    for key, broken in {
        "admin.listen": good.replace(own.admin.removeprefix("http://"), "127.0.0.1:1"),
        "store.directory": good.replace("directory: store", "directory: elsewhere"),
        "store.url": good.replace("url: embedded", "url: redis://127.0.0.1:1"),
        "store.max_staleness": good.replace("url: embedded", "url: embedded\n  max_staleness: 3s"),
    }.items():
        assert f": {key}: cannot change while the gateway runs" in refused(own, broken)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen on {address}: " in refused(own, good.replace("listen: 127.0.0.1:0", f"listen: {address}", 1))
    assert own.workers() == workers
    assert own.told_everywhere("/who", own.token()) == {"200"}
    since = own.metrics()["gateway_config_last_reload_success_timestamp_seconds"]
    own.configuration.write_text(good + "# as before, by a file that changed\n")
    eventually(lambda: own.metrics()["gateway_config_last_reload_successful"] == 1)
    assert own.metrics()["gateway_config_last_reload_success_timestamp_seconds"] > since


def test_a_moved_address_an_admin_token_and_the_log_follow(own: RunningGateway):
    before = own.port
    second = "another-admin-token-for-tests-of-32-bytes-or-more"
    reload(
        own,
        listen=["127.0.0.1:0", f"unix:{own.folder}/g"],
        log={"level": "debug"},
        admin=own._settings["admin"] | {"token": [own._settings["admin"]["token"], second]},
    )
    assert own.port == before
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{own.folder}/g")
        client.sendall(b"GET /public/who HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert own._client.get(f"{own.admin}/v1/status", headers={"Authorization": f"Bearer {second}"}).status_code == 200
    assert own._client.get(f"{own.admin}/v1/status", headers={"Authorization": "Bearer wrong"}).status_code == 401
    reload(own, listen="127.0.0.1:0", log={})
    assert not Path(f"{own.folder}/g").exists()
    assert own.told("/public/who") == "200"


def test_R24_a_renewed_certificate_is_shown_to_new_connections_and_one_without_its_key_is_not(own: RunningGateway):
    first = issue(own.folder, "first")
    reload(own, tls={"certificate": "chain.pem", "key": "key.pem"})
    assert shown(own) == first
    failed = reloads(own, "failure")
    with SteadyClients(own.port, "/public/who", is_tls=True).asking(2, keep=1) as clients:
        second = issue(own.folder, "second")
        eventually(lambda: shown(own) == second)
        own.folder.joinpath("key.pem").write_bytes(own.folder.joinpath("first.key").read_bytes())
        eventually(lambda: reloads(own, "failure") > failed)
        assert shown(own) == second
        os.kill(own.workers()[0], signal.SIGKILL)  # who comes after it has the pair that was judged, not what lies on the disk
        eventually(lambda: own.metrics()["gateway_worker_restarts_total"] == 1 and all_are_ready(own))
        assert {shown(own) for _ in range(12)} == {second}
    assert len(clients.failures) <= 2  # what the killed worker had in hand
    assert set(clients.told) == {200}
    line = next(line for line in own.messages() if "certificate and key cannot be used together" in line["message"])
    assert f"{own.configuration}:" in line["message"]
    assert ": tls.certificate: " in line["message"]
    reload(own, tls=None)


def all_are_ready(gateway: RunningGateway) -> bool:
    return all(worker["ready"] for worker in gateway.status()["workers"])


def shown(gateway: RunningGateway) -> str:
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", gateway.port), timeout=20)


def issue(folder: Path, name: str) -> str:
    """A new pair in the place of the one before, the key first; the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file in ("key.pem", f"{name}.key"):
        folder.joinpath(file).write_bytes(written)
    folder.joinpath("chain.pem").write_bytes(certificate)
    return certificate.decode()
