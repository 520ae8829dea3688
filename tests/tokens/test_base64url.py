"""One spelling per value (J24, J25)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tokens.base64url import NotBase64URL, decode, encode


@given(st.binary(max_size=200))
def test_what_is_encoded_is_decoded(raw: bytes) -> None:
    assert decode(encode(raw)) == raw


@given(st.binary(max_size=60))
def test_a_spelling_is_accepted_only_if_it_is_the_one_we_would_write(text: bytes) -> None:
    try:
        raw = decode(text)
    except NotBase64URL:
        return
    assert encode(raw) == text


@pytest.mark.parametrize(
    "text",
    [
        b"A",
        b"AAAAA",
        b"QQ==",
        b"QUI=",
        b"QQ=",
        b"=",
        b"Q Q",
        b" QQ",
        b"QQ\n",
        b"QQ?",
        b"QQ#",
        b"+/+/",
        b"-_+_",
        b"QR",
        b"QUJ",
        b"Q\xc3\xa9",
        b"QQ\x00",
    ],
    ids=repr,
)
def test_J24_J25_other_spellings_are_refused(text: bytes) -> None:
    with pytest.raises(NotBase64URL):
        decode(text)


def test_every_last_character_with_unused_bits_set_is_refused() -> None:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def accepted(prefix: bytes) -> int:
        count = 0
        for last in alphabet:
            try:
                decode(prefix + bytes([last]))
            except NotBase64URL:
                continue
            count += 1
        return count

    assert accepted(b"Q") == 4  # two of six bits are used
    assert accepted(b"QQ") == 16
    assert accepted(b"QQQ") == 64
