"""YAML 1.2, strictly: what a word means, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.strict_yaml import data_of, parse


def read(text):
    tree, problems, _ = parse(text)
    assert tree is not None, problems
    assert problems == []
    return data_of(tree)


def said(text):
    return [str(problem) for problem in parse(text)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.5", 1.5),
        ("~", None),
        ("null", None),
        ("", None),
        ('"true"', "true"),
        ("'10'", "10"),
        ("!!str 10", "10"),
        ("9" * 40, "9" * 40 if False else float("9" * 40)),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("=", "="),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text, value):
    assert read(f"a: {text}") == {"a": value}


def test_a_duplicate_key_is_refused_at_its_second_place():
    tree, problems, _ = parse("a: 1\nb: 2\na: 3\n")
    assert [str(problem) for problem in problems] == ["a: duplicate key; the first is in line 1"]
    assert tree.keys["a"] == (3, 1)


@pytest.mark.parametrize(
    "text", ["a: !!python/object:os.system x", "a: !secret x", "a: !!int 1", "a: !!set {x}", "a: !!binary aGk="]
)
def test_tags_are_refused(text):
    assert any("tag" in problem for problem in said(text))


def test_merge_keys_are_refused():
    assert said("a: &a {x: 1}\nb: {<<: *a}\n") == ["b.<<: merge keys are not part of YAML 1.2; write the keys out"]


def test_an_alias_is_its_anchor():
    assert read("a: &a [1, 2]\nb: *a\n") == {"a": [1, 2], "b": [1, 2]}


def test_aliases_that_multiply_end_early():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
    assert "multiply" in said(bomb)[0]


def test_an_alias_of_itself_ends():
    assert "multiply" in said("a: &a [*a, *a]")[0]


@pytest.mark.parametrize("text", ["[" * 200, "{a: " * 5000, "- " * 3000 + "x", "a: [" + "[" * 100 + "]" * 100 + "]"])
def test_depth_is_bounded(text):
    assert parse(text)[1]


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\ta: 1",
        "a: *nowhere",
        "--- 1\n--- 2\n",
        "a: \x00",
        "a: @x",
        "a: 'x",
        "%YAML 9.9\n---\na: 1",
        "? [a]\n: 1",
    ],
)
def test_what_is_not_yaml_is_a_problem_and_nothing_else(text):
    assert parse(text)[1]


def test_a_message_does_not_quote_what_it_stumbled_over():
    for text in ("token: *S3cretS3cret", "token: !S3cretS3cret! x", "token: &S3cret x\nb: &S3cret y\nc: [S3cret"):
        assert "S3cret" not in " ".join(said(text))


def test_an_unquoted_reference_inside_brackets_is_explained():
    assert said("admin: {token: ${TOKEN}}") == ['not YAML: ${…} inside { } or [ ]; write "${NAME}" in quotes']
    assert "${" not in said("admin: {token: x")[0]


def test_a_tab_is_called_a_tab():
    assert said("a:\n\tb: 1\n") == ["not YAML: a tab indents this line; write spaces"]
    assert said("a:\t- 1\n") == ["not YAML: a tab stands here; write spaces"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: b: c", "a second"),
        ("a: {x: 1\n", "is not closed"),
        ("a: ['x' 'y']", "a comma or the closing bracket is missing"),
        ("a: 'x", "a quotation mark above is not closed"),
        ("a: @x", "nothing begins with this character"),
        ("a: *nowhere", "must be in quotes"),
        ("- a\nb: c\n", "not indented like the ones above"),
        ("--- 1\n--- 2\n", "one file is one document"),
        ('a: "\\q"', "this escape is unknown"),
        ("a: |x\n", "begins in the next line"),
    ],
)
def test_broken_syntax_is_told_in_a_sentence(text, sentence):
    assert said(text)[0].startswith("not YAML: ")
    assert sentence in said(text)[0]


@given(st.text(max_size=200) | st.text(alphabet="{}[]:,-\"'&*!|>%@#\n\t abc0<", max_size=60))
def test_no_text_raises(text):
    tree, problems, (line, column) = parse(text)
    assert tree is not None or problems
    assert line >= 1
    assert column >= 1
