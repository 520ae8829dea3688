"""The compose file's own configurations, with nothing but places changed, and with Prometheus asking more often.

The gateway, its store (docker/store.conf, by redis-server) and Prometheus with the alerts, without containers:
declared, signed in, revoked, replayed, counted. What fires then, and when: `tests/grafana/test_alerts_live.py`.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis
import yaml
from live.running_gateway import environment, eventually
from packed import COMPOSE, CONFIGURATION, DOCKER, ROOT, adapted, made_secrets
from packed_gateway import PackedGateway
from patience import PATIENCE_S
from ports import free_port


@dataclass
class Stack:
    """Per process. `declared` are what `gateway store init` said first, and second."""

    gateway: PackedGateway
    client: httpx.Client
    prometheus: httpx.Client
    store: redis.Redis
    declared: list[str]

    def asked(self, path: str, **parameters: str) -> list[dict[str, object]]:
        """Prometheus' API, empty while it does not answer."""
        try:
            data = self.prometheus.get(f"/api/v1/{path}", params=parameters).json()["data"]
        except httpx.TransportError:
            return []
        return list(next(iter(data[name] for name in ("result", "groups", "alerts") if name in data)))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for program, package in {"redis-server": "redis-server", "prometheus": "prometheus"}.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} (Debian: {package}) is not installed")
    folder = tmp_path_factory.mktemp("stack")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield from _running(folder, made_secrets(folder), processes)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _running(folder: Path, secrets: Path, processes: list[subprocess.Popen[bytes]]) -> Iterator[Stack]:
    store, public, admin, application, watch = (free_port() for _ in range(5))
    password = (secrets / "store_password").read_text()
    start(processes, folder, "redis-server", str(store_configuration(folder, secrets, store)))
    server = redis.Redis(port=store, password=password)
    eventually(lambda: pings(server))
    start(processes, folder, sys.executable, "-m", "gateway.demo.legacy", str(application))
    gateway = PackedGateway(gateway_configuration(folder, secrets, store, public, admin, application), f"127.0.0.1:{admin}")
    declared = [gateway.say("store", "init").stdout.strip() for _ in range(2)]
    start(processes, folder, *prometheus(folder, admin, watch))
    client = httpx.Client(base_url=f"http://127.0.0.1:{public}", trust_env=False, timeout=PATIENCE_S)
    observer = httpx.Client(base_url=f"http://127.0.0.1:{watch}", trust_env=False, timeout=PATIENCE_S)
    try:
        yield Stack(gateway.start(), client, observer, server, declared)
    finally:
        ended = gateway.stop()
        client.close()
        observer.close()
    assert ended == 0, gateway.log[-3000:]


def start(processes: list[subprocess.Popen[bytes]], folder: Path, *command: str) -> None:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment()))


def pings(server: redis.Redis) -> bool:
    try:
        return bool(server.ping())
    except redis.ConnectionError:
        return False


def store_configuration(folder: Path, secrets: Path, port: int) -> Path:
    data = folder / "store"
    data.mkdir()
    path = folder / "store.conf"
    places = {"dir /data": f"dir {data}", "port 6379": f"port {port}\nbind 127.0.0.1", "/run/secrets": str(secrets)}
    path.write_text(adapted((DOCKER / "store.conf").read_text(), **places))
    return path


def gateway_configuration(folder: Path, secrets: Path, store: int, public: int, admin: int, application: int) -> Path:
    path = folder / "gateway.yaml"
    places = {
        "listen: 0.0.0.0:8080": f"listen: 127.0.0.1:{public}",
        "admin.gateway:9090": f"127.0.0.1:{admin}",
        "@store:6379": f"@127.0.0.1:{store}",
        "application:8000": f"127.0.0.1:{application}",
        "/run/secrets": str(secrets),
        "/var/lib/gateway": str(folder),
    }
    path.write_text(adapted(CONFIGURATION, **places))
    return path


def prometheus(folder: Path, admin: int, port: int) -> list[str]:
    """Its command. Every 15 s is too seldom for a test: the one thing that is not a place."""
    path = folder / "prometheus.yml"
    places = {
        "rules/*.yaml": f"{ROOT}/grafana/alerts/*.yaml",
        "alertmanager:9093": "127.0.0.1:9",
        "admin.gateway:9090": f"127.0.0.1:{admin}",
        "15s": "500ms",
    }
    path.write_text(adapted((DOCKER / "prometheus.yml").read_text(), **places))
    (retention,) = (word for word in COMPOSE["services"]["prometheus"]["command"] if "retention" in word)
    settings = [f"--config.file={path}", f"--storage.tsdb.path={folder / 'prometheus'}", retention]
    return ["prometheus", *settings, f"--web.listen-address=127.0.0.1:{port}"]


def test_the_store_forgets_nothing_and_nobody_without_the_password_gets_in(stack: Stack):
    told = stack.store.config_get("*")
    assert {name: told[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "save")} == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    port = int(stack.store.connection_pool.connection_kwargs["port"])
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port, retry=None).get("anything")
    health = redis.Redis(port=port, username="health", password="any")
    assert health.ping()
    with pytest.raises(redis.exceptions.NoPermissionError):
        health.get("anything")


def test_the_store_is_declared_once(stack: Stack):
    assert stack.declared == ["declared", "was declared before"]


def test_prometheus_reaches_the_gateway_and_knows_the_rules_under_the_job_of_the_boards(stack: Stack):
    eventually(lambda: stack.asked("query", query='up{job="gateway"} == 1'))
    loaded = {group["name"] for group in stack.asked("rules")}
    shipped = {
        group["name"] for path in (ROOT / "grafana/alerts").glob("*.yaml") for group in yaml.safe_load(path.read_text())["groups"]
    }
    assert loaded == shipped


def test_who_is_revoked_is_out_and_prometheus_counts_the_replay(stack: Stack):
    cookies = stack.gateway.sign_in(stack.client)
    assert stack.client.get("/", headers=cookies).text == "Hello alice@example.com\n"
    receipt = stack.gateway.revoke("--user", "alice@example.com", "--reason", "laptop stolen")
    assert (receipt["complete"], receipt["durable"]) == (True, True)

    assert stack.client.get("/", headers=cookies).status_code == 401
    assert stack.client.get("/about").status_code == 200
    eventually(lambda: stack.asked("query", query='gateway_revoked_use_total{job="gateway"} > 0'))
