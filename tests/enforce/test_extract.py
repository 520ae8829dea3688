"""Where the token is, in one reading."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.enforce.extract import MalformedCredential, bearer


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_J51_the_scheme_is_read_in_any_letter_case(scheme: str) -> None:
    assert bearer(f"{scheme} abc.def.ghi".encode()) == b"abc.def.ghi"


def test_a_request_without_the_field_has_no_token() -> None:
    assert bearer(None) is None


@pytest.mark.parametrize(
    "field", [b"", b"Basic dXNlcjpwYXNz", b"abc.def.ghi", b"Bearerabc", b"Bearers abc", b"Digest a=b", b"DPoP abc"]
)
def test_another_scheme_is_the_applications_business(field: bytes) -> None:
    assert bearer(field) is None


@pytest.mark.parametrize(
    "field",
    [
        b"Bearer",
        b"bearer",
        b"Bearer ",
        b"Bearer  abc",
        b"Bearer\tabc",
        b"Bearer \tabc",
        b"Bearer a b",
        b"Bearer a,b",
        b"Bearer a, Bearer b",
        b"Bearer abc ",
        b"Bearer abc\r",
        b"Bearer abc\n",
        b"Bearer \x00abc",
        b"Bearer abc\x80",
        b'Bearer "abc"',
        b"Bearer caf\xc3\xa9",
    ],
)
def test_J51_what_claims_to_be_a_bearer_token_and_is_not_one_is_malformed(field: bytes) -> None:
    with pytest.raises(MalformedCredential):
        bearer(field)


@given(st.binary(max_size=60))
def test_whatever_is_shown_it_is_no_token_a_token_or_malformed(field: bytes) -> None:
    try:
        token = bearer(field)
    except MalformedCredential:
        assert field.lower().startswith(b"bearer")
    else:
        assert token is None or (field.endswith(token) and b" " not in token and token.isascii())


@given(st.binary(max_size=20))
def test_no_bearer_token_is_ever_taken_for_none(rest: bytes) -> None:
    with suppress(MalformedCredential):
        assert bearer(b"Bearer " + rest) == rest
