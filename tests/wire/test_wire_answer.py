"""An upstream's response head: one reading, or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamBroken
from gateway.wire.answer import FIELDS_LIMIT, AnswerHead, AnswerMemory, AnswerReader, AnswerRoles
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import Role
from gateway.wire.framing import ChunkedDecoder, CloseDecoder, LengthDecoder


def raw(*lines: str, line: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


def read(*lines: str, line: str = "HTTP/1.1 200 OK") -> AnswerHead:
    return AnswerReader(AnswerMemory(CookieNames.of(is_secure=True))).read(raw(*lines, line=line))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.0 404 Gone Fishing", 404),
        ("HTTP/1.1 299 X", 299),
        ("HTTP/1.1 599 X", 599),
        ("HTTP/1.1 103 Early Hints", 103),
    ],
)
def test_a_status_line_says_version_and_status(line: str, status: int) -> None:
    assert read(line=line).status == status


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1 99 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 2000 X",
        "HTTP/1.1 20 X",
        "HTTP/1.1  200 X",
        "HTTP/1.2 200 X",
        "HTTP/2 200 X",
        "HTTP/0.9 200 X",
        "http/1.1 200 X",
        "ICY 200 OK",
        "<html>",
        "",
        "HTTP/1.1 200 OK\nX: y",
        "HTTP/1.1 200 O\rK",
    ],
)
def test_X02_any_other_status_line_is_broken(line: str) -> None:
    with pytest.raises(UpstreamBroken):
        read(line=line)


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: +5"],
        ["Content-Length: -5"],
        ["Content-Length: 05"],
        ["Content-Length: 5, 5"],
        ["Content-Length:"],
        ["Content-Length: 9999999999999999999"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding:"],
        ["X : y"],
        ["X: a", " b"],
        ["X: a\x00b"],
        ["X: a\x01b"],
        ["X: a\rb"],
        ["X: a\nSet-Cookie: b"],
        ["no field"],
    ],
)
def test_X02_X03_X04_a_head_with_two_readings_is_broken(lines: list[str]) -> None:
    with pytest.raises(UpstreamBroken):
        read(*lines)


def test_X02_a_transfer_coding_on_HTTP_1_0_is_broken() -> None:
    with pytest.raises(UpstreamBroken):
        read("Transfer-Encoding: chunked", line="HTTP/1.0 200 OK")


def test_X08_fields_are_limited() -> None:
    assert len(read(*["X: y"] * FIELDS_LIMIT).lines) == FIELDS_LIMIT
    with pytest.raises(UpstreamBroken):
        read(*["X: y"] * (FIELDS_LIMIT + 1))


def test_X11_X15_what_is_for_one_connection_or_speaks_for_the_gateway_stays_here() -> None:
    head = read(
        "X-Other-Hop: 1",
        "connection: keep-alive,\tx-other-hop",
        "Server: x",
        "Keep-Alive: timeout=5",
        "Connection: X-Hop",
        "X-Hop: 1",
        "Proxy-Authenticate: Basic",
        "Trailer: X",
        "X-User: root",
        "x_gateway_reason: no-token",
        "Set-Cookie: a=b",
    )
    assert head.lines == [b"Server: x", b"Set-Cookie: a=b"]


@pytest.mark.parametrize(
    ("line", "lines", "is_persistent"),
    [
        ("HTTP/1.1 200 OK", [], True),
        ("HTTP/1.1 200 OK", ["Connection: Close"], False),
        ("HTTP/1.1 200 OK", ["Connection: keep-alive, close"], False),
        ("HTTP/1.0 200 OK", [], False),
        ("HTTP/1.0 200 OK", ["Connection: Keep-Alive"], True),
    ],
)
def test_an_upstream_connection_persists_as_its_answer_says(line: str, lines: list[str], is_persistent: bool) -> None:
    assert read(*lines, line=line).is_persistent is is_persistent


@pytest.mark.parametrize(
    ("line", "method", "has_body"),
    [
        ("HTTP/1.1 200 OK", b"GET", True),
        ("HTTP/1.1 404 No", b"POST", True),
        ("HTTP/1.1 205 Reset", b"POST", True),
        ("HTTP/1.1 200 OK", b"HEAD", False),
        ("HTTP/1.1 204 No", b"GET", False),
        ("HTTP/1.1 304 Same", b"GET", False),
        ("HTTP/1.1 103 Soon", b"GET", False),
    ],
)
def test_X05_whether_a_body_follows_depends_on_the_status_and_the_method(line: str, method: bytes, has_body: bool) -> None:
    assert read("Content-Length: 5", line=line).has_body(method) is has_body


@pytest.mark.parametrize(
    ("lines", "kind"),
    [(["Content-Length: 5"], LengthDecoder), (["Transfer-Encoding: Chunked"], ChunkedDecoder), ([], CloseDecoder)],
)
def test_the_body_is_read_as_it_was_announced(lines: list[str], kind: type) -> None:
    assert type(read(*lines).decoder()) is kind


def test_a_field_is_found_by_its_name_in_lower_case() -> None:
    head = read("Sec-WebSocket-Accept: x", "Upgrade: websocket ", "Connection: Upgrade", line="HTTP/1.1 101 Yes")
    assert head.field(b"sec-websocket-accept") == b"x"
    assert head.field(b"sec-websocket-protocol") is None
    assert head.upgrade == b"websocket"


# fmt: off
HEADS = [
    raw(), raw("Content-Length: 5"), raw("Transfer-Encoding: chunked"), raw("Connection: close"), raw("X: " + "y" * 3000),
    raw("X : y"), raw(line="HTTP/1.1 100 Continue"), raw(line="HTTP/1.0 200 OK"),
    raw("Upgrade: x", "Connection: upgrade", line="HTTP/1.1 101 Yes"),
]
# fmt: on


def meaning(by: AnswerReader, head: bytes) -> object:
    """Everything that an answer's head says, or that it is broken."""
    try:
        found = by.read(head)
    except UpstreamBroken as error:
        return str(error)
    return (
        found.status,
        found.minor,
        found.fields,
        found.lines,
        found.content_length,
        found.chunked,
        found.is_persistent,
        found.upgrade,
    )


@given(st.lists(st.sampled_from(HEADS), min_size=2, max_size=10))
def test_each_answer_is_read_as_if_it_were_the_first(heads: list[bytes]) -> None:
    one = AnswerReader(AnswerMemory(CookieNames.of(is_secure=True)))
    for head in heads:
        assert meaning(one, head) == meaning(AnswerReader(AnswerMemory(CookieNames.of(is_secure=True))), head)


def test_what_is_remembered_of_answers_is_bounded() -> None:
    memory = AnswerMemory(CookieNames.of(is_secure=True))
    reader = AnswerReader(memory)
    for number in range(3 * memory.heads_limit):
        assert reader.read(raw(f"X-{number}: y")).lines == [b"X-%d: y" % number]
        assert len(memory.heads) <= memory.heads_limit
    long = raw("X: " + "y" * memory.longest_head)
    reader.read(long)
    assert long not in memory.heads


def test_roles_of_names_are_remembered_up_to_a_bound_and_long_names_are_not() -> None:
    roles = AnswerRoles()
    for number in range(3 * roles.limit):
        assert roles[b"X-%d" % number] is Role.FORWARD
        assert len(roles) <= roles.limit
    long = b"X-" + b"y" * 1000
    assert roles[long] is Role.FORWARD
    assert long not in roles
