"""The page about reloading says of every key what a reload does with it, and the same as the code."""

import re
from pathlib import Path

from gateway.config.keys import every_key
from gateway.reload_rules import FIXED

PAGE = Path(__file__).parents[2] / "docs/how-to/reload-and-upgrade.md"
ROWS = [
    (re.findall(r"`([a-z_.]+)`", row[1]), row[2].strip())
    for row in re.finditer(r"^\| (`[^|]*) \| ([^|]*) \|$", PAGE.read_text(), re.M)
]


def test_every_key_of_the_schema_has_its_row():
    told = {tuple(key.split(".")) for keys, _ in ROWS for key in keys}
    missing = {
        ".".join(path) for path, _ in every_key() if not any(path[: len(key)] == key or key[: len(path)] == path for key in told)
    }
    assert missing == set()


def test_the_page_names_no_key_that_is_not_there():
    known = {".".join(path) for path, _ in every_key()}
    assert {key for keys, _ in ROWS for key in keys} <= known


def test_the_refused_keys_are_those_that_the_code_refuses():
    assert {key for keys, effect in ROWS if effect.startswith("refused") for key in keys} == {".".join(key) for key in FIXED}
