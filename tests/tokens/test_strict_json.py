"""JSON with one meaning only: what is refused, and that both readers mean the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed_json import EVERY_BODY

from gateway.tokens.strict_json import MAX_DEPTH, NotStrictJSON, loads_object

WHOLE_NUMBERS = st.integers(-(2**63), 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE_NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


@pytest.mark.parametrize("body", EVERY_BODY, ids=lambda body: repr(body[:24]))
def test_J32_J36_J37_a_body_without_one_meaning_is_refused(body: bytes) -> None:
    with pytest.raises(NotStrictJSON) as refused:
        loads_object(body)
    assert refused.value.__cause__ is None  # the text of the parser repeats the body


@given(OBJECTS)
def test_every_writer_is_understood(document: dict[str, Any]) -> None:
    for text in (
        json.dumps(document),
        json.dumps(document, separators=(",", ":")),
        json.dumps(document, ensure_ascii=False, separators=(",", ":")),
        json.dumps(document, indent=2),
    ):
        assert _same(loads_object(text.encode()), document)


@given(st.binary(max_size=40) | st.text('{}[]":,1-e.\\utrnfa \n', max_size=24).map(str.encode))
def test_whatever_the_bytes_there_is_a_strict_object_or_a_refusal(body: bytes) -> None:
    try:
        value = loads_object(body)
    except NotStrictJSON:
        return
    assert _same(value, json.loads(body))


@given(OBJECTS, st.data())
def test_a_name_twice_is_refused_wherever_it_is(document: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(TEXTS)
    twice = f"{json.dumps(name)}:1,{json.dumps(name)}:{json.dumps(data.draw(VALUES))}"
    inner = f'{{"outer":{json.dumps(document)},"list":[{{{twice}}}]}}'
    for text in (f"{{{twice}}}", inner):
        with pytest.raises(NotStrictJSON):
            loads_object(text.encode())


def test_depth_is_bounded_at_its_limit_and_not_before() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    assert loads_object(nested(MAX_DEPTH))
    with pytest.raises(NotStrictJSON):
        loads_object(nested(MAX_DEPTH + 1))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert loads_object(json.dumps({"a": [{} for _ in range(1000)]}).encode())


def test_depth_hidden_behind_an_equal_name_is_refused() -> None:
    hidden = b'{"a":' + b"[" * 900 + b"]" * 900 + b',"a":1}'
    with pytest.raises(NotStrictJSON):
        loads_object(hidden)


def test_integers_are_exact_up_to_64_bits() -> None:
    assert loads_object(b'{"a": 18446744073709551615, "b": -9223372036854775808}') == {"a": 2**64 - 1, "b": -(2**63)}


def _same(left: Any, right: Any) -> bool:
    """Equal in value and in type: 1, 1.0 and True are three things."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
