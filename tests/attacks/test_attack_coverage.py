"""Which cases of the catalogue are tested here, and why the others are not: the two lists together are the whole of it."""

import re
from pathlib import Path

from attack_corpus import from_files
from attack_families import families
from test_attack_paths import FORWARDED

CATALOGUE = {
    f"{letter}{number:02}"
    for letter, count in {"F": 42, "X": 15, "H": 25, "U": 18, "W": 18}.items()
    for number in range(1, count + 1)
}

ELSEWHERE = {
    "F42": "there is one parser, httptools, without a fallback in Python that could read otherwise",
    "X10": "the gateway has no cookies yet whose names a backend could take",
    "H24": "fingerprints belong to sessions of the gateway's own, which come with login",
    "H25": "a signed assertion comes with the gateway's own keys; that a backend must not be reachable otherwise is in the docs",
    "U13": "paths are not rewritten: what is matched is what is forwarded",
    "U15": "routes do not look at Host; that it is one valid host is F33",
    "U16": "routes are prefixes and exact paths, not expressions",
    "W11": "refresh belongs to sessions of the gateway's own, which come with login",
    "W18": "cookies are not renewed on a handshake before there are any",
}


def covered() -> set[str]:
    """The cases that a request of the corpus, a table, or the name of a test names."""
    found = {case.case for case in (*from_files(), *families())} | set(FORWARDED)
    for path in Path(__file__).parent.glob("test_*.py"):
        for name in re.findall(r"def (test_\w+)", path.read_text()):
            found |= set(re.findall(r"_([FXHUW][0-9]{2})(?=_)", name))
    return found


def test_every_case_is_tested_or_has_a_reason_why_not() -> None:
    assert CATALOGUE - covered() == set(ELSEWHERE)


def test_nothing_is_tested_that_the_catalogue_does_not_know() -> None:
    assert covered() <= CATALOGUE


def test_the_corpus_is_as_broad_as_it_says() -> None:
    cases = [*from_files(), *families()]
    assert len({str(case) for case in cases}) == len(cases) > 2000


def test_the_reference_says_what_becomes_of_every_case() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "http.md").read_text()
    assert set(re.findall(r"\b[FXHUW][0-9]{2}\b", page)) == CATALOGUE
