"""One person, one account name [L07]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.login.address import LONGEST_ADDRESS, normalise
from gateway.login.refused import Refused

SAME = [
    "admin@example.com",
    "Admin@Example.COM",
    "  admin@example.com ",
    "\u00a0admin@example.com",
    "ａｄｍｉｎ＠ｅｘａｍｐｌｅ．ｃｏｍ",
    "admin@example。com",
    "admin@exam\u200bple.com",
    "adm\u2170n@example.com",  # a small roman numeral one
]


@pytest.mark.parametrize("typed", SAME)
def test_L07_every_spelling_of_one_address_is_one_account(typed: str) -> None:
    assert normalise(typed) == "admin@example.com"


REFUSED = [
    ("", Refused.ADDRESS_WITHOUT_AT),
    ("admin", Refused.ADDRESS_WITHOUT_AT),
    ("a@b@c", Refused.ADDRESS_WITHOUT_AT),
    ("a＠b@c", Refused.ADDRESS_WITHOUT_AT),
    ("@example.com", Refused.ADDRESS_LOCAL_PART),
    ("admin\0@example.com", Refused.ADDRESS_LOCAL_PART),
    ("adm\u200bin@example.com", Refused.ADDRESS_LOCAL_PART),
    ("аdmin@example.com", Refused.ADDRESS_LOCAL_PART),  # begins with a Cyrillic letter
    ("admın@example.com", Refused.ADDRESS_LOCAL_PART),  # without its dot
    ("İ@example.com", Refused.ADDRESS_LOCAL_PART),
    ("\ud800@example.com", Refused.ADDRESS_LOCAL_PART),
    ("a b@example.com", Refused.ADDRESS_LOCAL_PART),
    ('"a b"@example.com', Refused.ADDRESS_LOCAL_PART),
    ("a(x)@example.com", Refused.ADDRESS_LOCAL_PART),
    (".a@example.com", Refused.ADDRESS_LOCAL_PART),
    ("a.@example.com", Refused.ADDRESS_LOCAL_PART),
    ("a..b@example.com", Refused.ADDRESS_LOCAL_PART),
    ("a" * 65 + "@example.com", Refused.ADDRESS_LOCAL_PART),
    ("a\r\nb@example.com", Refused.ADDRESS_LOCAL_PART),
    ("a@", Refused.ADDRESS_DOMAIN),
    ("a@example.com.", Refused.ADDRESS_DOMAIN),
    ("a@example..com", Refused.ADDRESS_DOMAIN),
    ("a@-example.com", Refused.ADDRESS_DOMAIN),
    ("a@exa mple.com", Refused.ADDRESS_DOMAIN),
    ("a@example.com\n", Refused.ADDRESS_DOMAIN),
    ("a@example.com\0", Refused.ADDRESS_DOMAIN),
    ("a@[127.0.0.1]", Refused.ADDRESS_DOMAIN),
    ("a@example_x.com", Refused.ADDRESS_DOMAIN),
    ("a@℀.com", Refused.ADDRESS_DOMAIN),  # becomes "a/c"
    ("a@xn--zzzzzz.com", Refused.ADDRESS_DOMAIN),  # says it is IDNA and is not
    ("a@" + "x" * 64 + ".com", Refused.ADDRESS_DOMAIN),
    ("a@" + "\u00fc" * 200 + ".com", Refused.ADDRESS_DOMAIN),
    ("a@" + "ab." * 100 + "com", Refused.ADDRESS_DOMAIN),
    ("a" * 60 + "@" + "ab." * 66 + "com", Refused.ADDRESS_TOO_LONG),
    ("a" * 10**6, Refused.ADDRESS_TOO_LONG),
    ("a" + "\u0301" * 10**5 + "@example.com", Refused.ADDRESS_TOO_LONG),
]


@pytest.mark.parametrize(("typed", "refused"), REFUSED)
def test_L07_what_could_be_taken_for_another_is_no_account(typed: str, refused: Refused) -> None:
    assert normalise(typed) is refused


def test_L07_tags_and_dots_are_other_accounts() -> None:
    assert len({normalise(typed) for typed in ("ab@example.com", "a.b@example.com", "ab+tag@example.com")}) == 3


def test_L07_a_domain_of_another_script_shows_what_it_is() -> None:
    assert normalise("a@bücher.example") == normalise("a@XN--BCHER-KVA.example") == "a@xn--bcher-kva.example"
    assert normalise("a@аpple.com") == "a@xn--pple-43d.com"
    assert normalise("a@faß.de") != normalise("a@fass.de")


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[\w.+-]{1,20}@[\w.-]{1,30}")))
def test_L07_a_normalised_address_is_short_plain_and_stays_what_it_is(typed: str) -> None:
    address = normalise(typed)
    if isinstance(address, str):
        assert normalise(address) == address
        assert address.isascii() and address.isprintable() and " " not in address
        assert address.count("@") == 1
        assert len(address) <= LONGEST_ADDRESS
        if typed.upper().lower() == typed.lower():  # "SS" is no large "ß"
            assert normalise(f" {typed.upper()} ") in (address, *Refused)


def test_a_refusal_is_no_address_and_says_what() -> None:
    assert not isinstance(Refused.ADDRESS_DOMAIN, str)
    assert len({refused.word for refused in Refused}) == len({refused.text for refused in Refused}) == len(Refused)
