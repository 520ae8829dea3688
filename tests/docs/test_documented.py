"""Nothing that a user can meet is undocumented: configuration keys, commands, reasons, metrics; and no link leads nowhere."""

import re
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config.keys import every_key
from gateway.config.load import load
from gateway.reasons import REFUSALS, Reason
from gateway.telemetry.exposition import Exposition, SupervisorFacts
from gateway.telemetry.metrics import Layout
from gateway.telemetry.slots import Cells

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text()


def test_every_configuration_key_has_a_row():
    page = reference("configuration")
    assert [path for path, _ in every_key() if f"| `{'.'.join(path)}` |" not in page] == []


def test_every_command_and_option_is_documented():
    page = reference("commands")
    missing = []
    commands = [(name, command) for name, command in main.commands.items() if not command.hidden]
    for name, command in list(commands):
        commands += [(f"{name} {inner}", below) for inner, below in getattr(command, "commands", {}).items()]
    for name, command in commands:
        if not getattr(command, "commands", None) and f"## `gateway {name}" not in page:
            missing.append(name)
        missing += [
            f"{name} {option.opts[-1]}"
            for option in command.params
            if option.opts[-1].startswith("--") and option.opts[-1] not in page
        ]
    assert missing == []


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_row_with_its_status(reason: Reason):
    row = re.search(rf"^\| `{reason.value}` \| ([^|]+)\|", reference("refusals"), re.M)
    assert row, f"{reason.value} is not in refusals.md"
    assert str(REFUSALS[reason].status) in row[1]


def test_no_row_tells_of_a_reason_that_does_not_exist():
    told = re.findall(r"^\| `([a-z-]+)` \|", reference("refusals"), re.M)
    assert sorted(told) == sorted(reason.value for reason in Reason)


def test_every_metric_and_its_labels_are_documented():
    page = reference("metrics")
    config = load(ROOT / "config" / "gateway.yaml", {"GATEWAY_ADMIN_TOKEN": "x" * 40}).config
    layout = Layout.of(config)
    cells = Cells.create(layout.block, 2)
    try:
        exposition = Exposition(layout, cells, 2.0, lambda: SupervisorFacts(1, 1, 0, True, 0, (("kid", 1.0),)), lambda: 1.0)
        missing = []
        for metric in exposition.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            row = re.search(rf"^\| `{name}` \| {metric.type} \| ([^|]*)\|", page, re.M)
            labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
            if row is None or set(re.findall(r"`(\w+)`", row[1])) != labels:
                missing.append((name, sorted(labels)))
        assert missing == []
    finally:
        cells.close()


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path):
    broken = []
    for target in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text()
    pages = [str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents and page.name != "README.md"]
    assert [page for page in pages if f"]({page})" not in index] == []


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(file: Path) -> set[str]:
    """The anchors that headings of a Markdown page have, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
