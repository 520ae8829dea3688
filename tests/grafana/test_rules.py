"""The alerts on paper: promtool's tests, whether these notice a changed rule, and that rules, program and pages agree.

What really happens is in test_alerts_live.py.
"""

import copy
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_reading import BOARDS, metric_names, panels, selectors
from prometheus_client.metrics_core import Metric

from gateway.cli import main
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.metrics import CODES, Layout
from gateway.telemetry.reading import SupervisorFacts
from gateway.telemetry.slots import Cells

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "grafana" / "alerts"
ROUTES = ROOT / "grafana" / "alertmanager.yml"
PAGES = ROOT / "docs" / "how-to" / "alerts"
FILES = sorted(ALERTS.glob("*.yaml"))
TESTS = sorted((ALERTS / "tests").glob("*.yaml"))
DOCUMENTS: dict[Path, dict[str, Any]] = {path: yaml.safe_load(path.read_text()) for path in FILES}

Rule = dict[str, Any]


@cache
def loaded(path: Path) -> dict[str, Any]:
    """A file of promtool's tests."""
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def rules_of(document: dict[str, Any], kind: str = "alert") -> list[Rule]:
    return [rule for group in document["groups"] for rule in group["rules"] if kind in rule]


RULES = [(path, rule) for path, document in DOCUMENTS.items() for rule in rules_of(document)]
NAMES = sorted({rule["alert"] for _, rule in RULES})


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian: prometheus) is not installed")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)


def amtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("amtool") is None:
        pytest.skip("amtool (Debian: prometheus-alertmanager) is not installed")
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


# What promtool says.


def test_promtool_finds_nothing_to_complain_about():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, FILES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_not_before_and_not_for_ever(path: Path):
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_look_that_finds_it_one_at_that_moment_s_eve_and_one_when_it_is_over():
    missing = []
    for _, rule in RULES:
        variant = {"alertname": rule["alert"]} | rule["labels"]
        if not any(is_bracketed(test, variant) for path in TESTS for test in loaded(path)["tests"]):
            missing.append(variant)
    assert missing == []


def is_bracketed(test: dict[str, Any], variant: dict[str, str]) -> bool:
    """Whether a test sees this alert begin at one look, is without it at an earlier one, and again at a later one."""
    looks = [(seconds(look["eval_time"]), sees(look, variant)) for look in test["promql_expr_test"]]
    begins = [at for at, is_seen in looks if is_seen]
    before = [at for at, is_seen in looks if begins and not is_seen and at < min(begins)]
    after = [at for at, is_seen in looks if begins and not is_seen and at > max(begins)]
    return bool(before and after)


def sees(look: dict[str, Any], variant: dict[str, str]) -> bool:
    return any(variant.items() <= labels.items() for labels in expected_labels(look))


def expected_labels(look: dict[str, Any]) -> list[dict[str, str]]:
    return [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in look["exp_samples"] or ()]


def seconds(text: str) -> int:
    return sum(
        int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for number, unit in re.findall(r"(\d+)([smhd])", text)
    )


# What the tests are worth.


@pytest.mark.parametrize("file", ["security", "revocation", "operation"])
def test_of_each_alert_whose_patience_is_changed_a_test_complains(file: str, tmp_path: Path):
    document = copy.deepcopy(DOCUMENTS[ALERTS / f"{file}.yaml"])
    for rule in rules_of(document):
        rule["for"] = "1m" if rule["for"] == "0s" else "0s"
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump(loaded(ALERTS / "tests" / f"{file}.yaml") | {"rule_files": ["changed.yaml"]})
    )
    done = promtool("test", "rules", str(tmp_path / "tests.yaml"))
    expected = {(rule["alert"], rule["labels"]["severity"]) for rule in rules_of(document)}
    assert expected - complained_of(done.stdout + done.stderr) == set()


def complained_of(text: str) -> set[tuple[str, str]]:
    """Name and severity of the alerts that promtool expected and did not get, or got and did not expect, or not in this state."""
    found = set()
    for expected, got in re.findall(r"exp: (.*)\n\s*got: (.*)", text):
        for sample in {*re.findall(r"\{[^}]*\}", expected)} ^ {*re.findall(r"\{[^}]*\}", got)}:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', sample))
            found.add((labels.get("alertname", ""), labels.get("severity", "")))
    return found


# Conventions.


@pytest.mark.parametrize(("path", "rule"), RULES, ids=lambda value: value["alert"] if isinstance(value, dict) else "")
def test_every_alert_is_told_as_the_others_are(path: Path, rule: Rule):
    name, annotations = rule["alert"], rule["annotations"]
    assert re.fullmatch(r"Gateway([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert re.fullmatch(r"[A-Z][^{}]*\.", annotations["summary"]), "a sentence that is the same each time"
    assert annotations["runbook_url"] == f"https://gateway.example/docs/how-to/alerts/{name}"
    assert re.fullmatch(r"/d/gateway-(overview|security|revocation|upstreams|capacity)", annotations["dashboard_url"])
    assert "for" in rule, "0s is written, too"


def test_the_replay_of_a_revoked_token_waits_for_nothing():
    (group,) = [group for document in DOCUMENTS.values() for group in document["groups"] if speaks_of_replay(group)]
    (rule,) = [rule for rule in group["rules"] if rule["alert"] == "GatewayRevokedTokenReplayed"]
    assert rule["for"] == "0s"
    assert "interval" not in group
    (route,) = [route for route in yaml.safe_load(ROUTES.read_text())["route"]["routes"] if "Replayed" in str(route["matchers"])]
    assert (route["group_wait"], route["group_by"], route["receiver"]) == ("0s", ["..."], "page")


def speaks_of_replay(group: dict[str, Any]) -> bool:
    return any(rule.get("alert") == "GatewayRevokedTokenReplayed" for rule in group["rules"])


def test_no_rule_names_a_job_or_an_instance():
    assert [rule["alert"] for _, rule in RULES if re.search(r"\b(job|instance)\s*(=|!)", rule["expr"])] == []


def test_a_recording_rule_is_named_by_level_metric_and_operation():
    recorded = [rule["record"] for document in DOCUMENTS.values() for rule in rules_of(document, "record")]
    assert recorded
    assert [name for name in recorded if not re.fullmatch(r"job:gateway_[a-z_]+:[a-z]+[0-9]+[mhd]", name)] == []


# Rules and program.

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
OF_PROMETHEUS = {"up"}


def exposed() -> dict[str, Metric]:
    """What a scrape holds, by the names of its series."""
    layout = Layout(["app"], ["shop"], ["https://idp.example"])
    cells = Cells.create(layout.block, 2)
    facts = SupervisorFacts(running=1, configured=1, restarts=0, is_store_up=True, key_ages=(("kid", 1.0),))
    families = list(Exposition(layout, cells, 2.0, lambda: facts, lambda: 0.0).collect())
    cells.close()
    return {f"{family.name}{suffix}": family for family in families for suffix in SUFFIXES[family.type]}


EXPOSED = exposed()
EXPRESSIONS = [
    (rule.get("alert") or rule["record"], rule["expr"]) for document in DOCUMENTS.values() for rule in rules_of(document, "expr")
]


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS)
def test_every_metric_of_a_rule_exists_in_the_program_or_is_recorded(name: str, expression: str):
    recorded = {rule["record"] for document in DOCUMENTS.values() for rule in rules_of(document, "record")}
    named = metric_names(expression)
    assert named
    assert set(named) <= set(EXPOSED) | recorded | OF_PROMETHEUS


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS)
def test_every_label_and_value_of_a_rule_exists_in_the_program(name: str, expression: str):
    for selector in selectors(expression):
        for label, operator, value in selector.matchers:
            known = values(selector.metric, label)
            for word in value.split("|") if "~" in operator else [value]:
                assert any(re.fullmatch(word, one) for one in known), f"{label}={word} is not one of {sorted(known)}"


def values(metric: str, label: str) -> set[str]:
    """All that a label of a closed list can be."""
    if label == "code":
        return set(CODES)
    return {sample.labels[label] for sample in EXPOSED[metric].samples if label in sample.labels}


@pytest.mark.parametrize(("path", "rule"), RULES, ids=lambda value: value["alert"] if isinstance(value, dict) else "")
def test_what_an_alert_tells_of_its_labels_it_has(path: Path, rule: Rule):
    """A label that was summed away would be told as nothing. Which ones an alert has, promtool's tests say."""
    told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
    variant = {"alertname": rule["alert"]} | rule["labels"]
    looks = [look for path in TESTS for test in loaded(path)["tests"] for look in test["promql_expr_test"]]
    seen = [labels for look in looks for labels in expected_labels(look) if variant.items() <= labels.items()]
    assert seen
    assert all(told <= set(labels) for labels in seen)


# Rules and pages.


def test_every_alert_has_its_page_and_every_page_its_alert():
    assert sorted(path.stem for path in PAGES.glob("Gateway*.md")) == NAMES


def test_the_index_tells_each_alert_once_under_each_of_its_severities():
    told = re.findall(r"^\| \[(Gateway\w+)\]\((Gateway\w+)\.md\) \| (\w+) \|", (PAGES / "README.md").read_text(), re.M)
    assert sorted((name, severity) for name, _, severity in told) == sorted(
        {(rule["alert"], rule["labels"]["severity"]) for _, rule in RULES}
    )
    assert all(name == target for name, target, _ in told)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_it_means_what_to_look_at_what_to_do_and_when_it_lies(name: str):
    text = (PAGES / f"{name}.md").read_text()
    assert re.findall(r"^#+ (.+)$", without_blocks(text), re.M) == [
        name,
        "What it means",
        "What to look at",
        "What to do",
        "When it lies",
    ]
    for variant in (rule for _, rule in RULES if rule["alert"] == name):
        assert f"`{variant['labels']['severity']}`" in text
    assert "```promql" in text
    ((board, title),) = re.findall(r"^Panel: \[\w+\]\(\.\./\.\./\.\./grafana/dashboards/([\w-]+)\.json\), \*(.+?)\*", text, re.M)
    assert board == board_of(name)
    assert title in {panel["title"] for panel in panels(BOARDS[board])}


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_a_page_is_one_and_asks_for_what_there_is(name: str, tmp_path: Path):
    text = (PAGES / f"{name}.md").read_text()
    queries = [query for block in re.findall(r"^```promql\n(.*?)^```", text, re.M | re.S) for query in block.split("\n\n")]
    recorded = {rule["record"] for document in DOCUMENTS.values() for rule in rules_of(document, "record")}
    for query in queries:
        assert set(metric_names(query)) <= set(EXPOSED) | recorded | OF_PROMETHEUS | {"ALERTS"}, query
        for selector in (selector for selector in selectors(query) if selector.metric in EXPOSED):
            for label, operator, value in selector.matchers:
                known = values(selector.metric, label)
                for word in value.split("|") if "~" in operator else [value]:
                    assert any(re.fullmatch(word, one) for one in known), f"{label}={word} is not one of {sorted(known)}"
    path = tmp_path / "queries.yaml"
    rules = [{"record": f"of_a_page:{place}", "expr": query} for place, query in enumerate(queries)]
    path.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": rules}]}))
    done = promtool("check", "rules", "--lint=none", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_page_exists_with_its_options(name: str):
    text = (PAGES / f"{name}.md").read_text()
    for line in re.findall(r"^\$ gateway (.+)$", text, re.M) + re.findall(r"`gateway ([a-z][^`]*)`", text):
        command: Any = main
        words = re.sub(r"[|#].*", "", line).split()
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), f"no such command: {line}"
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert [word for word in words if word.startswith("-") and word not in options] == [], line


def board_of(name: str) -> str:
    return next(rule["annotations"]["dashboard_url"] for _, rule in RULES if rule["alert"] == name).removeprefix("/d/")


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def test_the_command_of_the_index_points_every_runbook_elsewhere(tmp_path: Path):
    (command,) = re.findall(r"^\$ (grep -rl .*)$", (PAGES / "README.md").read_text(), re.M)
    for folder in ("grafana", "docker"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("secrets"))
    subprocess.run(["bash", "-c", command.replace("wiki.example.com/gateway", "wiki.test/a/b")], cwd=tmp_path, check=True)
    text = (tmp_path / "grafana" / "alerts" / "security.yaml").read_text()
    assert "runbook_url: https://wiki.test/a/b/docs/how-to/alerts/GatewayRevokedTokenReplayed\n" in text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    left = [str(path) for path in files if b"gateway.example/docs/" in path.read_bytes()]
    assert left == []


# Routes.


def test_amtool_finds_nothing_to_complain_about():
    done = amtool("check-config", str(ROUTES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "page"), ("warning", "ticket"), ("info", "nobody")])
def test_each_severity_goes_to_its_receiver(severity: str, receiver: str):
    done = amtool("config", "routes", "test", f"--config.file={ROUTES}", f"severity={severity}", "alertname=GatewayAnything")
    assert done.stdout.split() == [receiver]


def test_no_security_event_is_ever_held_back_by_a_failure():
    security = {rule["alert"] for rule in rules_of(DOCUMENTS[ALERTS / "security.yaml"])}
    held_back: set[str] = set()
    for rule in yaml.safe_load(ROUTES.read_text())["inhibit_rules"]:
        for matcher in rule["target_matchers"]:
            if found := re.fullmatch(r'alertname=~"(.+)"', matcher):
                held_back |= {name for name in NAMES if re.fullmatch(found[1], name)}
    assert held_back
    assert held_back & security == set()
