"""Who watches a gateway in earnest: Prometheus with the rules, Alertmanager with its routes, and a pager.

    gateway ◀── Prometheus ──▶ Alertmanager ──▶ pager (an HTTP server in a thread, which notes what arrives and when)

`Pace` makes all of it quicker: what the rules and the routes say in minutes happens in as many hundredths. Nothing else
of either file is touched, so what fires here is what is shipped.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from live.running_gateway import eventually
from patience import PATIENCE_S
from ports import free_port

from gateway.lifeline import end_with_parent

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
RULES = sorted((GRAFANA / "alerts").glob("*.yaml"))
ROUTES = GRAFANA / "alertmanager.yml"
PROGRAMS = {"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}
"""Programs, and the Debian packages they come with."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+)(ms|[smhd])")
# In an expression: a range or a subquery in brackets, and what follows `offset`.
_IN_EXPRESSION = re.compile(r"\[[^\]]+\]|offset [0-9a-z]+")
_OF_RULES = ("for", "keep_firing_for")
_OF_ROUTES = ("group_wait", "group_interval", "repeat_interval")


def duration_s(text: str) -> float:
    """`1h30m` in seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


@dataclass(frozen=True)
class Pace:
    """How often Prometheus looks, and by what all durations are divided."""

    factor: float
    scrape_s: float
    evaluation_s: float

    def quickened(self, text: str) -> str:
        """Every duration in a piece of text."""
        return _DURATION.sub(lambda found: f"{max(0, round(duration_s(found[0]) * 1000 / self.factor))}ms", text)

    def rules(self, path: Path) -> dict[str, Any]:
        """A file of rules with its durations divided."""
        document: dict[str, Any] = yaml.safe_load(path.read_text())
        for rule in (rule for group in document["groups"] for rule in group["rules"]):
            rule["expr"] = _IN_EXPRESSION.sub(lambda found: self.quickened(found[0]), rule["expr"])
            rule.update({name: self.quickened(rule[name]) for name in _OF_RULES if name in rule})
        return document

    def routes(self, pager: str) -> dict[str, Any]:
        """The routes with their durations divided, and their receivers' messages sent to the pager."""
        document: dict[str, Any] = yaml.safe_load(ROUTES.read_text())
        for route in (document["route"], *document["route"]["routes"]):
            route.update({name: self.quickened(route[name]) for name in _OF_ROUTES if name in route})
        for receiver in document["receivers"]:
            for webhook in receiver.get("webhook_configs", ()):
                webhook["url"] = f"{pager}/{receiver['name']}"
        return document


def skip_without_programs() -> None:
    """Before anything else is started."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} (Debian: {package}) is not installed")


RECOMMENDED = Pace(1, 15, 15)
QUICK = Pace(100, 0.25, 0.15)


@dataclass(frozen=True)
class Message:
    """An alert as it arrived: at which receiver, when, and what it says."""

    receiver: str
    at: float
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class Pager:
    """An HTTP server that takes Alertmanager's messages. At `/gone` nobody wants anything any more."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at = time.time()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body.get("alerts", ()):
                    told = Message(self.path[1:], at, alert["status"], alert["labels"], alert["annotations"])
                    pager.messages.append(told)
                self.send_response(410 if self.path == "/gone" else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def told(self, name: str, status: str = "firing", **labels: str) -> list[Message]:
        """The messages of this alert with these labels, in order."""
        return [
            message
            for message in self.messages
            if (message.name, message.status) == (name, status) and labels.items() <= message.labels.items()
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Watch:
    """Per process: Prometheus, Alertmanager and the pager. `jobs` are the targets of each job."""

    folder: Path
    jobs: dict[str, list[str]]
    pace: Pace = QUICK
    pager: Pager = field(default_factory=Pager)

    def __post_init__(self) -> None:
        self._prometheus = f"127.0.0.1:{free_port()}"
        self._alertmanager = f"127.0.0.1:{free_port()}"
        self._client = httpx.Client(timeout=PATIENCE_S, trust_env=False)
        self._processes: list[subprocess.Popen[bytes]] = []

    def launch(self) -> "Watch":
        """Start both; what they say is in their logs."""
        for path in RULES:
            (self.folder / path.name).write_text(yaml.safe_dump(self.pace.rules(path)))
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(self.pace.routes(self.pager.url)))
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(self._settings()))
        self._run(
            "prometheus-alertmanager",
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address={self._alertmanager}",
            "--cluster.listen-address=",
        )
        self._run(
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self._prometheus}",
            f"--query.lookback-delta={self.pace.quickened('5m')}",
        )
        return self

    def wait_until_it_sees(self) -> None:
        """Until every target was reached, and Alertmanager answers."""
        eventually(lambda: self._refuse_if_ended() or all(self.sees(job) for job in self.jobs))

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._client.close()
        self.pager.close()

    def sees(self, job: str) -> bool:
        """Whether the gateways of this job, and Alertmanager, answer."""
        try:
            self._client.get(f"http://{self._alertmanager}/-/ready").raise_for_status()
            found = self.ask("query", query=f'up{{job="{job}"}} == 1')["result"]
        except httpx.HTTPError:
            return False
        return len(found) == len(self.jobs[job])

    def firing(self) -> Iterator[dict[str, str]]:
        """The labels of every alert that fires in Prometheus now."""
        return (alert["labels"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing")

    def fires(self, name: str, **labels: str) -> bool:
        return any(({"alertname": name} | labels).items() <= alert.items() for alert in self.firing())

    def is_inhibited(self, name: str) -> bool:
        """Whether Alertmanager holds such an alert back because of another."""
        alerts = self._client.get(f"http://{self._alertmanager}/api/v2/alerts").json()
        return any(alert["labels"]["alertname"] == name and alert["status"]["inhibitedBy"] for alert in alerts)

    def fired_at(self, name: str, job: str, since: float) -> float:
        """When such an alert fired for the first time since then; infinite: it did not."""
        series = self.ask("query", query=f'ALERTS{{alertname="{name}", job="{job}", alertstate="firing"}}[1h]')["result"]
        return min((float(at) for found in series for at, _ in found["values"] if at >= since), default=float("inf"))

    def ask(self, path: str, **parameters: str) -> Any:
        """Prometheus' API."""
        answer = self._client.get(f"http://{self._prometheus}/api/v1/{path}", params=parameters)
        answer.raise_for_status()
        return answer.json()["data"]

    def _settings(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": _ms(self.pace.scrape_s),
                "scrape_timeout": _ms(min(self.pace.scrape_s, 10)),
                "evaluation_interval": _ms(self.pace.evaluation_s),
            },
            "rule_files": [str(self.folder / path.name) for path in RULES],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in self.jobs.items()],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [self._alertmanager]}]}]},
        }

    def _run(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_parent(os.getpid())))

    def _refuse_if_ended(self) -> bool:
        logs = [self.folder / f"{program}.log" for program in PROGRAMS]
        assert all(process.poll() is None for process in self._processes), "".join(log.read_text()[-1500:] for log in logs)
        return False


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
