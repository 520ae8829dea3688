"""A real Prometheus (Debian: prometheus) that scrapes gateways twice a second, and is asked as Grafana would ask it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from live.running_gateway import eventually
from patience import PATIENCE_S
from ports import free_port

from gateway.lifeline import end_with_parent

SCRAPE_S = 0.5
SERIES = tuple[dict[str, str], list[float]]
"""Labels, and values in order of time."""


class PrometheusServer:
    """Per process: one server with a folder of its own. `rules` are files of rules that it evaluates once a second."""

    def __init__(self, folder: Path, targets: Sequence[str], rules: Sequence[Path] = ()) -> None:
        if shutil.which("prometheus") is None:
            pytest.skip("prometheus (Debian: prometheus) is not installed")
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        self._settings = {
            "global": {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms", "scrape_timeout": "400ms", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": "gateway", "static_configs": [{"targets": list(targets)}]}],
        }
        self._client = httpx.Client(base_url=f"http://{self._address}/api/v1", timeout=PATIENCE_S, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "PrometheusServer":
        configuration = self._folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(self._settings))
        command = ["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={self._folder / 'data'}"]
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={self._address}"],
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent(os.getpid()),
            )
        eventually(self._is_ready)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._client.close()

    def at_once(self, expression: str) -> list[SERIES]:
        """An instant query, now. Raises AssertionError when Prometheus refuses the expression."""
        found = self._ask("query", query=expression)
        return [(series["metric"], [float(series["value"][1])]) for series in found]

    def over(self, expression: str, since: float) -> list[SERIES]:
        """A range query from then until now, a value a second."""
        found = self._ask("query_range", query=expression, start=since, end=time.time(), step=1)
        return [(series["metric"], [float(value) for _, value in series["values"]]) for series in found]

    def values_of(self, label: str, match: str) -> list[str]:
        """The values of a label, as a variable of a board asks for them."""
        answer = self._client.get(f"/label/{label}/values", params={"match[]": match})
        return list(answer.json()["data"])

    def _ask(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = self._client.get(f"/{path}", params=parameters)
        assert answer.status_code == 200, f"{parameters['query']}: {answer.text}"
        return list(json.loads(answer.text)["data"]["result"])

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()[-2000:]
        try:
            answer = self._client.get("/query", params={"query": 'up{job="gateway"} == 1'})
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["data"]["result"] != []
