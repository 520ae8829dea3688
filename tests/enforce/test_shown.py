"""What a request shows of its client: who is a person, and that a doubled field says nothing."""

import pytest

from gateway.enforce.shown import DOUBLED, Shown, shown_by
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import RoleMemory
from gateway.wire.head import HeadReader


def shown(*lines: str) -> Shown:
    raw = "\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "", ""]).encode("latin-1")
    return shown_by(HeadReader(RoleMemory(), 100, 8192, CookieNames.of(is_secure=True)).read(raw))


@pytest.mark.parametrize(
    ("lines", "is_navigation"),
    [
        (["Sec-Fetch-Mode: navigate", "Accept: application/json"], True),
        (["Sec-Fetch-Mode: cors", "Accept: text/html"], False),
        (["Sec-Fetch-Mode: websocket"], False),
        (["Sec-Fetch-Mode: navigate", "Sec-Fetch-Mode: cors"], False),
        (["Accept: text/html,application/xhtml+xml"], True),
        (["Accept: application/json"], False),
        (["Accept: */*"], False),
        ([], False),
    ],
)
def test_a_person_is_who_navigates(lines: list[str], is_navigation: bool) -> None:
    assert shown(*lines).is_navigation is is_navigation


def test_names_are_read_in_any_case_and_a_doubled_field_equals_nothing() -> None:
    found = shown("USER-AGENT: curl/8", "origin: https://a", "Origin: https://a", "X-csrf-Token: echo ")
    assert (found.agent, found.origin, found.echo, found.site) == (b"curl/8", DOUBLED, b"echo", None)


def test_a_connection_that_repeats_its_header_block_is_looked_at_once() -> None:
    reader = HeadReader(RoleMemory(), 100, 8192, CookieNames.of(is_secure=True))
    block = b" HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\n\r\n"
    first = shown_by(reader.read(b"GET /a" + block))
    assert shown_by(reader.read(b"GET /b" + block)) is first
