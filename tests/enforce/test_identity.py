"""The identity that the backend reads: every preset, one value per user, nothing that could end a line."""

from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
from deciding import IDP, World, trusting
from hypothesis import given
from hypothesis import strategies as st
from issuing import OMITTED, rsa_signer

from gateway.enforce.identity import encode, encode_groups, identity_lines
from gateway.enforce.verified import Verified
from gateway.wire.fields import IDENTITY_PRESETS, Role, classify

ALICE: dict[str, Any] = {
    "sub": "alice",
    "sid": "s-1",
    "groups": ["staff", "a,b"],
    "name": "Alice Ångström",
    "email": "alice@shop.example",
}


def lines(preset: str, **claims: Any) -> dict[str, str]:
    """The header lines of a token's user, by name."""
    world = World({IDP: trusting(IDP, rsa_signer(), name_claim="name", email_claim="email")})
    raw = identity_lines(world.allowed(world.token(**claims)), preset)
    assert raw.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in raw.decode("ascii").split("\r\n")[:-1])


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("x-user", {"X-User": "alice", "X-User-Groups": "staff,a%2Cb", "X-Session-Id": "s-1"}),
        (
            "remote-user",
            {
                "Remote-User": "alice",
                "Remote-Groups": "staff,a%2Cb",
                "Remote-Name": "Alice %C3%85ngstr%C3%B6m",
                "Remote-Email": "alice@shop.example",
            },
        ),
        (
            "x-forwarded-user",
            {
                "X-Forwarded-User": "alice",
                "X-Forwarded-Email": "alice@shop.example",
                "X-Forwarded-Groups": "staff,a%2Cb",
                "X-Forwarded-Preferred-Username": "Alice %C3%85ngstr%C3%B6m",
            },
        ),
        (
            "x-auth-request",
            {
                "X-Auth-Request-User": "alice",
                "X-Auth-Request-Email": "alice@shop.example",
                "X-Auth-Request-Groups": "staff,a%2Cb",
                "X-Auth-Request-Preferred-Username": "Alice %C3%85ngstr%C3%B6m",
            },
        ),
        (
            "x-webauth",
            {
                "X-WEBAUTH-USER": "alice",
                "X-WEBAUTH-EMAIL": "alice@shop.example",
                "X-WEBAUTH-FULLNAME": "Alice %C3%85ngstr%C3%B6m",
                "X-WEBAUTH-GROUPS": "staff,a%2Cb",
            },
        ),
    ],
)
def test_each_preset_says_who_it_is_in_its_own_words(preset: str, expected: dict[str, str]) -> None:
    assert lines(preset, **ALICE) == expected


def test_what_a_token_does_not_say_is_left_out() -> None:
    assert lines("x-user", sub="bob", sid=OMITTED, groups=OMITTED) == {"X-User": "bob"}
    assert lines("remote-user", sub="bob", groups=[]) == {"Remote-User": "bob"}


@pytest.mark.parametrize("preset", IDENTITY_PRESETS)
def test_H01_every_header_that_is_set_is_one_that_is_stripped_from_clients(preset: str) -> None:
    token = SimpleNamespace(user="u", groups=("g",), session="s", name="n", email="e")
    raw = identity_lines(cast("Verified", token), preset)
    names = [line.split(b":")[0] for line in raw.split(b"\r\n")[:-1]]
    assert {name.decode() for name in names} <= set(IDENTITY_PRESETS[preset])
    assert {classify(name) for name in names} == {Role.IDENTITY}


printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


@given(printable)
def test_H09_any_user_arrives_as_printable_ASCII_and_can_be_read_back(user: str) -> None:
    encoded = encode(user)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert unquote(encoded) == user


@given(printable, printable)
def test_H09_two_users_never_become_one(one: str, other: str) -> None:
    assert one == other or encode(one) != encode(other)


@given(st.lists(printable, min_size=1, max_size=5))
def test_groups_are_joined_by_commas_and_can_be_taken_apart(groups: list[str]) -> None:
    encoded = encode_groups(tuple(groups))
    assert encoded.isascii()
    assert [unquote(group) for group in encoded.split(",")] == groups


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("alice", "alice"),
        ("José", "Jos%C3%A9"),
        ("100%", "100%"),
        ("%41", "%2541"),
        ("%4", "%4"),
        ("shop|a b@c", "shop|a b@c"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("a\r\nX-User: root", "a%0D%0AX-User: root"),
        ("a\x00\x7f", "a%00%7F"),
    ],
)
def test_what_is_not_printable_ASCII_is_percent_encoded_as_UTF_8(value: str, encoded: str) -> None:
    assert encode(value) == encoded


def test_the_percent_sign_of_a_group_is_always_encoded() -> None:
    assert encode_groups(("100%", "%2C", ",")) == "100%25,%252C,%2C"
