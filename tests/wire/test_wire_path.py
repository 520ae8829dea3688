"""One spelling of an address: what is matched is what is forwarded, and no backend can read it as another."""

import posixpath
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.path import canonical, split_target, without_parameters

# Honest pieces of a path, and the building blocks of every known bypass.
# fmt: off
HONEST = [
    b"/", b"//", b"a", b"b", b"%61", b"~", b"%7e", b"admin", b"public", b"@", b":", b"*", b"'", b"%25", b"%252e", b"%c3%a9",
    b";x=1", b".", b"%2e", b"%3b", b"%ef%bc%8f",
]
BYPASS = [
    b"..", b"%2E", b".%2e", b"%2f", b"%2F", b"%5c", b"\\", b";", b"..;", b";/", b"%00", b"%0a", b"%7f", b"%", b"%4", b"%zz",
    b"%c0%af", b"%c0%ae", b"%C3", b"%ff", b"#", b"\xc3\xa9", b" ", b"\t", b"\x00",
]
# fmt: on
pieces = st.sampled_from(10 * HONEST + BYPASS)  # with fewer honest ones most examples are refused, which shows nothing here
targets = st.lists(pieces, max_size=7).map(lambda pieces: b"/" + b"".join(pieces))
queries = st.binary(max_size=12).map(lambda raw: b"?" + raw)


def accepted(target: bytes) -> bytes:
    """The canonical path; examples that are refused are not what the test is about."""
    try:
        return split_target(target)[0]
    except BadRequest:
        assume(False)
        raise


@given(targets)
def test_a_canonical_path_is_its_own_canonical_form(target: bytes) -> None:
    path = accepted(target)
    assert canonical(path) == path
    assert split_target(path) == (path, b"")


@given(targets)
def test_U01_no_reading_of_a_canonical_path_leads_anywhere_else(target: bytes) -> None:
    path = accepted(target)
    for reading in (path, without_parameters(path)):
        decoded = unquote_to_bytes(reading)
        assert not {b".", b".."} & set(decoded.split(b"/"))
        assert posixpath.normpath(decoded) == (decoded.rstrip(b"/") or b"/")


@given(targets)
def test_U02_nothing_encoded_in_a_canonical_path_becomes_structure_or_control(target: bytes) -> None:
    path = accepted(target)
    decoded = unquote_to_bytes(path)
    assert decoded.count(b"/") == path.count(b"/")
    assert not set(decoded) & {*range(0x20), 0x7F, ord("\\")}
    decoded.decode("utf-8")
    assert b"//" not in path


@given(targets)
def test_two_spellings_of_one_path_become_one(target: bytes) -> None:
    path = accepted(target)
    spelled = b"".join(
        b"%%%02x" % byte if chr(byte).isalnum() and path[max(0, at - 2) : at].find(b"%") < 0 else bytes((byte,))
        for at, byte in enumerate(path)
    )
    assert canonical(spelled) == path


@given(targets, queries)
def test_a_query_is_forwarded_byte_for_byte_or_refused(target: bytes, query: bytes) -> None:
    path = accepted(target)
    try:
        assert split_target(target + query) == (path, query)
    except BadRequest:
        assert any(byte <= 0x20 or byte >= 0x7F or byte == ord("#") for byte in query)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b"/"),
        (b"/a/b", b"/a/b"),
        (b"/a/", b"/a/"),
        (b"//a///b", b"/a/b"),
        (b"/%61%2D%2e%5F%7E", b"/a-._~"),
        (b"/%c3%a9", b"/%C3%A9"),
        (b"/%2a%3b%25", b"/%2A%3B%25"),
        (b"/a;x=1/b", b"/a;x=1/b"),
        (b"/a.b", b"/a.b"),
        (b"/...", b"/..."),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/..a/b..", b"/..a/b.."),
        (b"/A", b"/A"),
        (b"/[x]|^`{}", b"/[x]|^`{}"),
    ],
)
def test_each_path_has_one_spelling(target: bytes, path: bytes) -> None:
    assert split_target(target)[0] == path


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"a",
        b"http://host/",
        b"host:443",
        b"/public/../admin",
        b"/public/%2e%2e/admin",
        b"/public/.%2e/admin",
        b"/a/.",
        b"/a/..",
        b"/.",
        b"/./a",
        b"/a//../b",
        b"/public/..%2fadmin",
        b"/public/..%5cadmin",
        b"/a\\b",
        b"/a%2Fb",
        b"/public/;/admin",
        b"/public/..;/admin",
        b"/.;/admin",
        b"/public/%3b/admin",
        b"/public/..%3badmin",
        b"/a/..;x=1",
        b"/a#b",
        b"/a%00",
        b"/a%0d%0a",
        b"/%7f",
        b"/%",
        b"/%1",
        b"/%g1",
        b"/%c0%ae",
        b"/%c0%af",
        b"/%ed%a0%80",
        b"/%ff",
        b"/\xc3\xa9",
        b"/a b",
        b"/a\tb",
        b'/"',
        b"/<script>",
        b"/?a b",
        b"/?\xff",
        b"/?#",
    ],
)
def test_a_path_without_a_single_reading_is_refused(target: bytes) -> None:
    with pytest.raises(BadRequest):
        split_target(target)


def test_what_looks_like_a_path_in_a_query_is_not_one() -> None:
    assert split_target(b"/a?/../%2e%2e//%zz\\") == (b"/a", b"?/../%2e%2e//%zz\\")


def test_a_double_encoded_dot_stays_what_it_is() -> None:
    assert split_target(b"/a/%252e%252e/b")[0] == b"/a/%252e%252e/b"


def test_parameters_are_what_a_servlet_container_drops_decoded_or_not() -> None:
    assert without_parameters(b"/a;x=1;y/b%3Bz/c") == b"/a/b/c"
