"""`gateway run` as a process of its own, with everything an operator and a client have: ports, commands, two output files.

Started by its command, stopped by its process id. Whatever a test asks goes over real sockets; each `ask` is a new
connection, because the kernel spreads connections over the workers and not requests.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from issuing import Provider, Signer, key_set, rsa_signer
from patience import PATIENCE_S
from ports import free_port

from gateway.lifeline import end_with_parent

ADMIN_TOKEN = "an-admin-token-for-tests-of-32-bytes-or-more"
ISSUER = "https://idp.example"
CONNECTIONS = 24
"""New connections that reach both of two workers but once in 2^23 times."""

PATIENT: dict[str, Any] = {"max_staleness": "10s"}
CALM_STORE: dict[str, Any] = {"url": "embedded", "directory": "store"} | PATIENT
"""For tests that are not about outages: others may keep the machine so busy that a worker's polls are seconds apart."""

T = TypeVar("T")


def eventually(ask: Callable[[], T], within_s: float = PATIENCE_S) -> T:
    """The first true answer. Waits for what other processes bring about; fails by deadline, never by being early."""
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"did not happen within {within_s:.0f} s"
        time.sleep(0.02)
    return answer


def environment() -> dict[str, str]:
    """Ours without settings for a gateway, and without the pytest of this process."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTEST_"))} | {"NO_COLOR": "1"}


class Child:
    """A process that says on its first line of output that it is there, as JSON. Ended by `stop`."""

    def __init__(self, script: Path) -> None:
        command = [sys.executable, str(script)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
        assert self._process.stdout is not None
        self.says: dict[str, Any] = json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


class RunningGateway:
    """A gateway with two workers. `settings` are top-level keys of its configuration; `keys` are what its issuer publishes."""

    def __init__(self, folder: Path, upstreams: dict[str, str], routes: list[dict[str, Any]], **settings: Any) -> None:
        self.folder = folder
        self.signers: list[Signer] = [rsa_signer()]
        self.shown: list[str] = []
        self._said = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "workers": 2,
            "admin": {"listen": f"127.0.0.1:{free_port()}", "token": ADMIN_TOKEN},
            "store": {"url": "embedded", "directory": "store"},
            "issuers": [{"issuer": ISSUER, "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"]}],
            "upstreams": {name: {"url": url} for name, url in upstreams.items()},
            "routes": routes,
        } | settings
        self._client = httpx.Client(timeout=PATIENCE_S, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self.url = ""

    @property
    def configuration(self) -> Path:
        return self.folder / "gateway.yaml"

    @property
    def admin(self) -> str:
        return f"http://{self._settings['admin']['listen']}"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def write(self) -> None:
        """The configuration and the key set, as they are now."""
        self.publish()
        self.configuration.write_text(yaml.safe_dump(self._settings))

    def publish(self, *further: Signer) -> None:
        """The issuer's keys, and further ones from now on."""
        self.signers += further
        fresh = self.folder / "keys.new"
        fresh.write_bytes(key_set(*self.signers))
        fresh.replace(self.folder / "keys.json")

    def start(self) -> "RunningGateway":
        """Start it and wait until it is ready."""
        self.launch()
        eventually(lambda: self.is_ready() or self._refuse_if_ended())
        return self

    def launch(self) -> "RunningGateway":
        """Start it and wait until it listens."""
        self.write()
        command = [sys.executable, "-m", "gateway", "run", "-c", str(self.configuration)]
        self._said = len(self.messages())
        with self.path("access").open("ab") as access, self.path("messages").open("ab") as messages:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=access,
                stderr=messages,
                env=environment(),
                preexec_fn=end_with_parent(os.getpid()),  # tests that are broken off leave nothing that runs
            )
        self.url = eventually(lambda: self._announced() or self._refuse_if_ended())
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and wait; its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Until it has ended; its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()

    def path(self, output: str) -> Path:
        """The file of `access` lines (standard output) or of `messages` (standard error)."""
        return self.folder / f"{output}.log"

    def token(self, *, signer: Signer | None = None, **claims: Any) -> str:
        """A good token, issued now; remembered, because no output may ever hold it."""
        provider = Provider(ISSUER, "shop", signer or self.signers[0], now=int(time.time()))
        token = provider.token(**claims)
        self.shown.append(token)
        return token

    def ask(self, path: str, token: str | None = None, method: str = "GET", **options: Any) -> httpx.Response:
        """One request on a connection of its own."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._client.request(method, f"{self.url}{path}", headers=headers, **options)

    def told(self, path: str, token: str | None = None) -> str:
        """Status and reason of one request: `200`, `401 revoked-token`."""
        answer = self.ask(path, token)
        return f"{answer.status_code} {answer.headers.get('X-Gateway-Reason', '')}".strip()

    def told_everywhere(self, path: str, token: str | None = None) -> set[str]:
        """The same over so many connections that every worker was asked."""
        return {self.told(path, token) for _ in range(CONNECTIONS)}

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The admin API."""
        return self._client.request(method, f"{self.admin}{path}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, **options)

    def revoke(self, **subject: str) -> dict[str, Any]:
        """Revoke over the API. The receipt, which must be a complete one."""
        answer = self.call("POST", "/v1/revocations", json=subject)
        assert answer.status_code == 201, answer.text
        return complete(answer.json())

    def undo(self, receipt: dict[str, Any]) -> dict[str, Any]:
        answer = self.call("DELETE", f"/v1/revocations/{receipt['id']}")
        assert answer.status_code == 200, answer.text
        return complete(answer.json())

    def command(self, name: str, *arguments: str, deadline_s: float = PATIENCE_S) -> "subprocess.CompletedProcess[str]":
        """A command that reads this gateway's configuration."""
        command = [sys.executable, "-m", "gateway", *name.split(" "), "-c", str(self.configuration), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False, env=environment())

    def is_ready(self) -> bool:
        try:
            return self._client.get(f"{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def status(self) -> dict[str, Any]:
        return self.call("GET", "/v1/status").json()

    def workers(self) -> list[int]:
        """Their process ids, in order."""
        return [worker["pid"] for worker in self.status()["workers"]]

    def metrics(self) -> dict[str, float]:
        """Every series with its value: `name{labels}`."""
        text = self._client.get(f"{self.admin}/metrics").text
        return {series: float(value) for series, value in re.findall(r"^([a-z]\S*?(?:\{.*\})?) (\S+)$", text, re.M)}

    def access_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path("access").read_text().splitlines()]

    def messages(self) -> list[dict[str, Any]]:
        """What it wrote on standard error. A line that is not ours (a traceback of a crash) is a message of nobody's."""
        lines = self.path("messages").read_text().splitlines() if self.path("messages").exists() else []
        return [json.loads(line) if line.startswith("{") else {"message": line, "process": ""} for line in lines]

    def who_refused(self, words: str) -> set[str]:
        """The processes that logged the use of something revoked, by a piece of the line."""
        return {
            line["process"]
            for line in self.messages()
            if line["message"].startswith("Token revoked rejected") and words in line["message"]
        }

    def leaks(self) -> list[str]:
        """Tokens, or their signatures, or the admin token, that some output holds."""
        output = self.path("access").read_bytes() + self.path("messages").read_bytes()
        secrets = [*self.shown, *(token.rpartition(".")[2] for token in self.shown), ADMIN_TOKEN]
        return [secret for secret in secrets if secret.encode() in output]

    def _announced(self) -> str:
        for line in self.messages()[self._said :]:
            if found := re.match(r"Listening on (http://[^ ,]+)", line["message"]):
                return found[1]
        return ""

    def _refuse_if_ended(self) -> str:
        assert self._process is not None
        assert self._process.poll() is None, self.path("messages").read_text()[-3000:]
        return ""


def complete(receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt, after a look at whether both workers enforce it and the store has it on disk."""
    assert receipt["complete"] is True
    assert receipt["durable"] is True
    assert (receipt["enforced_by"], receipt["fenced"], receipt["workers"]) == (2, 0, 2)
    assert re.fullmatch(r"[0-9a-f]{32}", receipt["id"])
    return receipt


StartGateway = Callable[..., RunningGateway]
"""What the fixture `start_gateway` gives: a gateway of the test's own, with settings."""

ROUTES: list[dict[str, Any]] = [
    {"name": "django-public", "path": "/django/public/", "access": "public", "upstream": "django"},
    {"name": "django", "path": "/django/", "upstream": "django"},
    {"name": "public", "path": "/public/", "access": "public", "upstream": "app"},
    {"name": "optional", "path": "/optional/", "access": "optional", "upstream": "app"},
    {"name": "staff", "path": "/staff/", "groups": ["staff"], "upstream": "app"},
    {"name": "once", "path": "/once/", "token_use": "once", "upstream": "app"},
    {"name": "stale", "path": "/stale/", "on_outage": "stale", "upstream": "app"},
    {"name": "echo", "path": "/echo", "upstream": "socket"},
    {"name": "app", "path": "/", "upstream": "app"},
]
"""What the live tests share."""
