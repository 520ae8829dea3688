"""What the night of the live test cannot show, asked of made-up series: `promtool` evaluates the boards' own expressions."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from board_reading import BOARDS, every_query, filled_in

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
DAY_S = 86400


def value(folder: Path, expression: str, series: dict[str, str], at: str) -> float | None:
    """What an expression with one answer is worth at a time, or None: `promtool` expects nothing, and says what it got."""
    asked = {"expr": filled_in(expression), "eval_time": at, "exp_samples": []}
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    got = (done.stdout + done.stderr).partition("got:")[2]
    assert got, done.stderr
    return float(got.rpartition("} ")[2])


def mark(name: str) -> str:
    return str({mark["name"]: mark["expr"] for mark in BOARDS["gateway-overview"]["annotations"]["list"]}[name])


def test_of_two_certificates_the_one_that_expires_first_is_told(tmp_path: Path):
    (asked,) = [query.expression for query in every_query() if query.title == "Certificate expires in"]
    series = {
        f'gateway_tls_certificate_expiry_timestamp_seconds{{job="gateway", instance="{name}"}}': f"{days * DAY_S}x10"
        for name, days in (("a:9090", 30), ("b:9090", 7))
    }
    assert value(tmp_path, asked, series, "10m") == 7 * DAY_S - 600


def test_a_gateway_that_began_anew_is_marked_for_five_minutes(tmp_path: Path):
    series = {'gateway_store_command_seconds_count{job="gateway", instance="a:9090"}': "0+120x10 0+120x20"}
    marked = {at: value(tmp_path, mark("Restarts of a gateway"), series, at) for at in ("10m", "12m", "15m", "17m")}
    assert marked == {"10m": None, "12m": 1, "15m": 1, "17m": None}
