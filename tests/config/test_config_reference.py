"""The committed reference: the commented file, its schema and its page say the same as the code."""

import json
import re
import sys
from pathlib import Path

import pytest

from gateway.config.json_schema import as_text, described
from gateway.config.keys import every_key
from gateway.config.load import load
from gateway.config.schema import Config
from gateway.config.strict_yaml import data_of, parse
from gateway.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "config" / "gateway.yaml"
NULL_BY_DEFAULT = {"tls", "webhook", "tracing"}
EXAMPLES = {"issuers", "upstreams", "routes"}
TOKEN = {"GATEWAY_ADMIN_TOKEN": "0123456789abcdef0123456789abcdef"}


def keys_of(data, above=()):
    for key, value in data.items():
        yield (*above, key)
        members = value if isinstance(value, list) else value.values() if (*above, key) == ("upstreams",) else None
        if isinstance(value, dict) and members is None:
            yield from keys_of(value, (*above, key))
        for member in members or ():
            if isinstance(member, dict):
                yield from keys_of(member, (*above, key, "*"))


def test_the_reference_is_accepted_without_a_warning():
    assert load(REFERENCE, TOKEN).warnings == ()


def test_the_reference_without_its_variable_says_what_to_do():
    with pytest.raises(ConfigurationError) as caught:
        load(REFERENCE, {})
    assert len(caught.value.problems) == 1
    assert "GATEWAY_ADMIN_TOKEN is not set; export GATEWAY_ADMIN_TOKEN=" in caught.value.problems[0]


def test_the_reference_names_every_key():
    tree, _, _ = parse(REFERENCE.read_text())
    written = set(keys_of(data_of(tree)))
    in_comments = {path for path, _ in every_key() if len(path) == 2 and path[0] in NULL_BY_DEFAULT}
    assert {path for path, _ in every_key()} == written | in_comments
    for name in (name for block, name in in_comments if block in ("webhook", "tracing")):
        assert re.search(rf"^#   {name}: ", REFERENCE.read_text(), re.M), name
    assert "{certificate: tls/fullchain.pem, key: tls/privkey.pem}" in REFERENCE.read_text()


def test_the_reference_shows_the_defaults():
    given = load(REFERENCE, TOKEN).config
    bare = Config.model_validate({"admin": {"token": TOKEN["GATEWAY_ADMIN_TOKEN"]}}, context={"directory": REFERENCE.parent})
    for name in set(Config.model_fields) - EXAMPLES:
        assert getattr(given, name) == getattr(bare, name), name


def test_the_reference_shows_the_defaults_of_what_is_listed():
    tree, _, _ = parse(REFERENCE.read_text())
    data = data_of(tree)
    definitions = described()["$defs"]
    listed = {"IssuerConfig": data["issuers"][0], "Upstream": data["upstreams"]["app"], "RouteConfig": data["routes"][-1]}
    for block, given in listed.items():
        for name, about in definitions[block]["properties"].items():
            if "default" in about and about["default"] != {} and name != "user_prefix":
                assert given[name] == about["default"], f"{block}.{name}"


def test_every_key_says_its_reason():
    for path, declared in every_key():
        assert declared.description, path
        assert declared.description.endswith("."), path


def test_the_first_line_tells_editors_the_schema():
    assert REFERENCE.read_text().splitlines()[0] == "# yaml-language-server: $schema=gateway.schema.json"


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from docs.generate import pages

    yield pages()
    sys.modules.pop("docs.generate", None)


def test_the_generated_files_are_current(pages):
    for path, text in pages.items():
        assert path.read_text() == text, f"{path.name} is out of date: make schema"


def test_the_page_describes_every_key(pages):
    page = pages[ROOT / "docs" / "reference" / "configuration.md"]
    for path, _ in every_key():
        assert f"| `{'.'.join(path)}` |" in page


def test_the_links_of_the_page_lead_somewhere(pages):
    page = pages[ROOT / "docs" / "reference" / "configuration.md"]
    anchors = {
        re.sub(r"[^a-z0-9_ -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_the_schema_lets_editors_write_references_and_secret_files():
    schema = json.loads(as_text())
    admin = schema["$defs"]["Admin"]
    assert "token_file" in admin["properties"]
    assert admin["anyOf"] == [{"required": ["token"]}, {"required": ["token_file"]}]
    assert {"type": "string", "pattern": r"\$\{"} in schema["properties"]["workers"]["anyOf"]
    assert re.findall(r'"(x-[a-z]+)":', as_text()) == []
    assert schema["additionalProperties"] is False
