"""The names of accounts, sessions and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions import keys
from gateway.sessions.keys import index_key, record_key
from gateway.sessions.model import SECRET_BYTES, is_subject, new_session_id, new_subject, session_of, subject_of
from gateway.store.scripts import Script
from gateway.tokens.issue import ACCESS_KIND, REFRESH_KIND, token_id

SUB = "c3ViamVjdC1vbmUh"  # fixed: it is part of the names of tests
SID = f"{SUB}.c2l4dGVlbi1ieXRlcy0hIQ"


def test_T3_a_token_id_names_its_session_and_a_session_its_account() -> None:
    for kind in (ACCESS_KIND, REFRESH_KIND):
        assert session_of(token_id(b"s" * SECRET_BYTES, SID, kind, 7)) == SID
    assert subject_of(SID) == SUB and is_subject(SUB)


def test_S38_names_are_random_and_never_repeat() -> None:
    assert len({new_subject() for _ in range(1000)}) == 1000
    assert len({new_session_id(SUB) for _ in range(1000)}) == 1000
    assert len(SUB) == 16 and len(SID) == 16 + 1 + 22


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        SUB,
        f"{SUB}.",
        f".{SID}",
        f"{SID}.",
        f"{SID}x",
        f"{SID}=",
        f" {SID}",
        f"{SID}\n",
        SID.replace(".", ".."),
        f"{SUB}.{SUB}",
    ],
)
def test_L8_what_is_not_exactly_a_sid_is_none(name: str) -> None:
    assert subject_of(name) is None


def test_L8_one_spelling_per_name_the_unused_bits_of_the_last_character_are_zero() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = [last for last in alphabet if subject_of(SID[:-1] + last) is not None]
    assert SID[-1] in accepted and len(accepted) == 4


@given(st.text(max_size=80))
def test_L8_no_text_that_is_taken_for_a_name_can_choose_a_slot(text: str) -> None:
    assert session_of(text) is None or "{" not in text
    if subject_of(text) is not None:
        assert not set(text) & set("{}:\r\n \0")


def test_L8_all_keys_of_an_account_carry_one_tag() -> None:
    assert record_key(SID) == f"gateway:session:{{{SUB}}}:{SID}"
    assert index_key(SUB) == f"gateway:sessions:{{{SUB}}}"


def test_L8_no_script_makes_up_a_key() -> None:
    scripts = [script for script in vars(keys).values() if isinstance(script, Script)]
    assert len(scripts) == 8
    for script in scripts:
        assert "gateway:" not in script.text
