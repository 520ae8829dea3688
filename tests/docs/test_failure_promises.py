"""What docs/design promises has a proof: each row of failure.md names a test that exists, or a make target with a place.

So does each name of a test in threat-model.md.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "design" / "failure.md").read_text().partition("\n## Last results")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| fault ")
]
PROOF = re.compile(r"`([^`]+)`")
TARGETS = {
    "make chaos": ROOT / "tests" / "chaos",
    "make bench": ROOT / "bench" / "loads",
    "make soak": ROOT / "tests" / "chaos",
    "make fuzz": ROOT / "tests" / "fuzz",
}


@pytest.fixture(scope="module")
def tests_there_are() -> set[str]:
    """Every test function, the slow ones of tests/chaos too."""
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("*.py"):
        found.update(re.findall(r"^ *(?:async )?def (test_\w+)\(", file.read_text(), re.M))
    return found


def proofs(row: str) -> list[str]:
    return PROOF.findall(row.strip().strip("|").rpartition("|")[2])


def test_every_promise_names_its_proof():
    assert len(ROWS) > 40
    assert [row for row in ROWS if not proofs(row)] == []
    assert [row for row in ROWS if row.count("|") != 6] == []


def test_every_proof_exists(tests_there_are: set[str]):
    makefile = (ROOT / "Makefile").read_text()
    missing = []
    for proof in (proof for row in ROWS for proof in proofs(row)):
        target, _, arguments = proof.partition(" ARGS=")
        if target in TARGETS:
            if not re.search(rf"^{target.split()[1]}:", makefile, re.M):
                missing.append(proof)
            if target == "make bench" and not (TARGETS[target] / f"{arguments.split()[0]}.py").exists():
                missing.append(proof)
        elif proof not in tests_there_are:
            missing.append(proof)
    assert missing == []


def test_every_test_that_the_threat_model_names_exists(tests_there_are: set[str]):
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "design" / "threat-model.md").read_text())
    assert len(named) > 30
    assert [name for name in named if name not in tests_there_are] == []
