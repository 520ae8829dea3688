"""Keys of facts, and what a revocation becomes."""

from itertools import combinations

import pytest

from gateway.revocation.entry import KEY_BYTES, NO_KEY, Kind, Revocation, everybody_key, fact_key


def test_L8_parts_of_a_key_cannot_flow_into_each_other() -> None:
    spellings = [("a", "bc"), ("ab", "c"), ("abc",), ("", "abc"), ("abc", ""), ("a", "b", "c"), ("{a}", "bc"), ("a\x00bc",)]
    keys = [fact_key(Kind.USER, "i", *names) for names in spellings]
    assert all(len(key) == KEY_BYTES for key in keys)
    assert all(one != other for one, other in combinations(keys, 2))


def test_a_key_tells_kinds_and_issuers_apart() -> None:
    keys = {fact_key(kind, issuer, "x") for kind in Kind for issuer in ("", "a", "b")}
    assert len(keys) == len(Kind) * 3


def test_a_name_that_is_not_proper_unicode_has_a_key_too() -> None:
    assert fact_key(Kind.USER, "i", "\ud800") != fact_key(Kind.USER, "i", "?")


def test_a_revocation_of_a_key_names_the_thumbprint_when_it_is_known() -> None:
    assert Revocation(Kind.KEY, "k", "i").key == fact_key(Kind.KEY, "i", "k")
    assert Revocation(Kind.KEY, "k", "i", thumbprint="t").key == fact_key(Kind.KEY, "i", "k", "t")


def test_L9_a_token_folds_into_its_user_or_else_into_everybody() -> None:
    assert Revocation(Kind.TOKEN, "j", "i", user="u").fold_into == fact_key(Kind.USER, "i", "u")
    assert Revocation(Kind.TOKEN, "j", "i").fold_into == everybody_key("i")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TOKEN])
def test_L9_what_a_not_before_cannot_say_does_not_fold(kind: Kind) -> None:
    assert Revocation(kind, "x", "i", user="u").fold_into == NO_KEY
