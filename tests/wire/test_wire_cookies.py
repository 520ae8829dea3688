"""Our cookies among a browser's: found by their exact names, taken out, never believed twice; and how they are set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.cookies import ACCESS, CSRF, REFRESH, CookieNames, CookieWriter
from gateway.wire.fields import RoleMemory
from gateway.wire.head import HeadReader, RequestHead

SECURE = CookieNames.of(is_secure=True)
PLAIN = CookieNames.of(is_secure=False)


def read(*cookie_lines: str, names: CookieNames = SECURE) -> RequestHead:
    lines = ["GET / HTTP/1.1", "Host: a", *[f"Cookie: {line}" for line in cookie_lines], "", ""]
    return HeadReader(RoleMemory(), 100, 65536, names).read("\r\n".join(lines).encode("latin-1"))


def forwarded(head: RequestHead) -> list[bytes]:
    return [line for line in head.lines if line.lower().startswith(b"cookie")]


def test_ours_are_taken_out_and_what_is_left_is_untouched() -> None:
    head = read('theme="dark; x"; __Host-access=a.b.c;__Host-refresh=r;  lang=fr; __Host-csrf=v')
    assert (head.access_cookie, head.refresh_cookie, head.csrf_cookie) == (b"a.b.c", b"r", b"v")
    assert forwarded(head) == [b'Cookie: theme="dark; x";  lang=fr']
    assert not head.has_doubled_cookie


def test_a_field_of_ours_alone_does_not_travel_on() -> None:
    assert forwarded(read("__Host-access=a; __Host-refresh=b")) == []


def test_a_field_without_ours_travels_on_byte_for_byte() -> None:
    odd = 'a=1;;  b = 2 ; =nameless; access=not-ours; $Version=1; c="\\073"'
    head = read(odd)
    assert forwarded(head) == [f"Cookie: {odd}".encode()]
    assert head.access_cookie is None


@pytest.mark.parametrize(
    "name", ["__host-access", "__Host-access2", "x__Host-access", "__Host-acces", "__Secure-access", "access"]
)
def test_S20_only_the_exact_name_is_ours(name: str) -> None:
    assert read(f"{name}=evil").access_cookie is None


@pytest.mark.parametrize("space", ["\xa0", "\x85", "\xe2\x80\x80"])
def test_S20_no_other_blank_than_space_and_tab_is_trimmed(space: str) -> None:
    assert read(f"{space}__Host-access=evil").access_cookie is None


def test_S21_quotes_and_escapes_mean_nothing_but_themselves() -> None:
    head = read(r'a="x; __Host-access=evil"; b=1')
    assert head.access_cookie == b'evil"', "the semicolon separates, as it does in every browser; the value is no token"
    assert read(r"__Host-access=\145\166").access_cookie == rb"\145\166"


@pytest.mark.parametrize(
    "lines",
    [
        ["__Host-access=a; __Host-access=b"],
        ["__Host-access=a; __Host-access=a"],
        ["__Host-access=a", "__Host-access=b"],
        ["__Host-refresh=; __Host-refresh=b"],
        ["__Host-csrf=a; x=y; __Host-csrf=b"],
    ],
)
def test_S19_one_of_ours_that_comes_twice_is_noticed(lines: list[str]) -> None:
    assert read(*lines).has_doubled_cookie


def test_an_emptied_cookie_is_none() -> None:
    assert read("__Host-access=; __Host-refresh=").access_cookie is None


def test_without_tls_the_names_have_no_prefix_and_those_with_it_are_somebody_elses() -> None:
    head = read("access=a; __Host-access=b", names=PLAIN)
    assert head.access_cookie == b"a"
    assert forwarded(head) == [b"Cookie: __Host-access=b"]


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=200))
def test_whatever_a_field_holds_nothing_of_ours_travels_on(text: str) -> None:
    taken = SECURE.take(text.encode() + b"; __Host-access=secret")
    assert taken is not None
    assert not any(pair.partition(b"=")[0].strip(b" \t") == b"__Host-access" for pair in taken.rest.split(b";"))


def test_S25_what_is_set_is_hidden_bound_to_the_host_and_lives_as_long_as_the_refresh_token() -> None:
    lines = CookieWriter(SECURE, True, "lax").set(access=b"a", refresh=b"r", csrf=b"c", max_age_s=600).split(b"\r\n")
    common = b"; Path=/; Max-Age=600; SameSite=Lax; Secure"
    assert lines == [
        b"Set-Cookie: __Host-access=a" + common + b"; HttpOnly",
        b"Set-Cookie: __Host-refresh=r" + common + b"; HttpOnly",
        b"Set-Cookie: __Host-csrf=c" + common,
        b"",
    ]


def test_R6_where_the_client_holds_its_access_token_only_the_refresh_cookie_is_set() -> None:
    assert CookieWriter(SECURE, True, "strict").set(access=None, refresh=b"r", csrf=None, max_age_s=1).count(b"Set-Cookie") == 1


def test_clearing_names_all_three_with_the_attributes_they_were_set_with() -> None:
    cleared = CookieWriter(PLAIN, False, "strict").clear().decode().splitlines()
    assert [line.partition("=")[0].removeprefix("Set-Cookie: ") for line in cleared] == ["access", "refresh", "csrf"]
    assert all("Path=/; Max-Age=0; SameSite=Strict" in line and "Secure" not in line for line in cleared)


def test_the_places_of_what_is_found() -> None:
    taken = SECURE.take(b"__Host-csrf=1; __Host-refresh=2; __Host-access=3")
    assert taken is not None
    assert taken.found == ((CSRF, b"1"), (REFRESH, b"2"), (ACCESS, b"3"))
