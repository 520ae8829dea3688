"""Which cases of the catalogue are tested, and why the others are not: the two lists together are the whole of it."""

import re
from pathlib import Path

import pytest
from attack_corpus import from_files
from attack_families import families
from test_attack_paths import FORWARDED

TESTS = Path(__file__).parents[1]


def cases(**counts: int) -> set[str]:
    return {f"{letter}{number:02}" for letter, count in counts.items() for number in range(1, count + 1)}


ON_THE_WIRE = cases(F=42, X=15, H=25, U=18, W=18)
OF_IDENTITY = cases(S=38, L=12, A=4, O=8)

ELSEWHERE = {
    "F42": "there is one parser, httptools, without a fallback in Python that could read otherwise",
    "U13": "paths are not rewritten: what is matched is what is forwarded",
    "U15": "routes do not look at Host; that it is one valid host is F33",
    "U16": "routes are prefixes and exact paths, not expressions",
    "O07": "tests/grafana: each trouble raises its alert, which ends with it; they are named by their alerts",
}


def named_by_tests() -> set[str]:
    """The cases that the name of a test names."""
    names = (name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text()))
    return {case for name in names for case in re.findall(r"(?<=_)[FXHUWSLAO][0-9]{2}(?=_)", name)}


def covered() -> set[str]:
    """The cases that a request of the corpus, a table, or the name of a test names."""
    return {case.case for case in (*from_files(), *families())} | set(FORWARDED) | named_by_tests()


@pytest.mark.parametrize("catalogue", [ON_THE_WIRE, OF_IDENTITY], ids=["on the wire", "of identity"])
def test_every_case_is_tested_or_has_a_reason_why_not(catalogue: set[str]) -> None:
    assert catalogue - covered() == set(ELSEWHERE) & catalogue


def test_nothing_is_tested_that_the_catalogue_does_not_know() -> None:
    assert covered() <= ON_THE_WIRE | OF_IDENTITY


def test_the_corpus_is_as_broad_as_it_says() -> None:
    cases = [*from_files(), *families()]
    assert len({str(case) for case in cases}) == len(cases) > 2000


def test_the_reference_says_what_becomes_of_every_case() -> None:
    page = (TESTS.parent / "docs" / "reference" / "http.md").read_text()
    assert set(re.findall(r"\b[FXHUW][0-9]{2}\b", page)) == ON_THE_WIRE
