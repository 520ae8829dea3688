"""Bytes to a request head: what is refused, what is read, and that one request never colours the next."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, ClientError, TooLarge
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import RoleMemory
from gateway.wire.head import LONGEST_KEPT_BLOCK, HeadReader, RequestHead, refuse_hopeless

GET = "GET / HTTP/1.1"
WEBSOCKET = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


def reader(fields: int = 100, uri: int = 8192) -> HeadReader:
    return HeadReader(RoleMemory(), fields, uri, CookieNames.of(is_secure=True))


def head(line: str, *lines: str) -> bytes:
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


def read(*lines: str, line: str = GET, host: str | None = "shop.example") -> RequestHead:
    """One head with a good request line and a good Host, unless the test is about these."""
    return reader().read(head(line, *([] if host is None else [f"Host: {host}"]), *lines))


def refusal(*lines: str, line: str = GET, host: str | None = "shop.example") -> int:
    """The status with which a head is refused; 0 when it is not."""
    try:
        read(*lines, line=line, host=host)
    except ClientError as error:
        return error.status
    return 0


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET / HTTP/1.1", 0),
        ("PATCH /a?b HTTP/1.1", 0),
        ("M-SEARCH / HTTP/1.1", 0),
        ("GET  / HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /", 400),
        ("GET / HTTP/0.9", 400),
        ("GET / HTTP/1.2", 400),
        ("GET / HTTP/2.0", 400),
        ("GET / HTTP/01.1", 400),
        ("GET / HTTP/1.32", 400),
        ("GET / http/1.1", 400),
        ("GET / XTTP/1.1", 400),
        ("get / HTTP/1.1", 400),
        ("Get / HTTP/1.1", 400),
        ("G=T / HTTP/1.1", 400),
        ("GET\x00 / HTTP/1.1", 400),
        ("X" * 33 + " / HTTP/1.1", 400),
        ("NOSUCHMETHOD / HTTP/1.1", 400),
        ("PRI * HTTP/2.0", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("GET http://other.example/ HTTP/1.1", 400),
        ("GET shop.example:443 HTTP/1.1", 400),
        ("TRACE / HTTP/1.1", 405),
        ("TRACK / HTTP/1.1", 405),
        ("CONNECT shop.example:443 HTTP/1.1", 405),
        ("CONNECT / HTTP/1.1", 405),
        (f"GET /{'a' * 8192} HTTP/1.1", 414),
    ],
)
def test_F22_F32_F35_a_request_line_has_one_form(line: str, status: int) -> None:
    assert refusal(line=line) == status


@pytest.mark.parametrize(
    "lines",
    [
        ["X : a"],
        [" X: a"],
        ["X: a", " b"],
        ["X\t: a"],
        ["X\xe9: a"],
        ["X(: a"],
        ["X"],
        [": a"],
        ["X: a\x00b"],
        ["X: a\x01b"],
        ["X: a\x7fb"],
        ["X: a\x0bb"],
        ["X: a\rb"],
        ["X: a\nY: b"],
    ],
)
def test_F08_to_F12_a_malformed_field_is_refused(lines: list[str]) -> None:
    assert refusal(*lines) == 400


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: -1"],
        ["Content-Length: 0x5"],
        ["Content-Length: 05"],
        ["Content-Length: 5.0"],
        ["Content-Length: 1_0"],
        ["Content-Length:"],
        ["Content-Length: 5 5"],
        ["Content-Length: 9999999999999999999"],
        ["Content-Length: 18446744073709551616"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: ,chunked"],
        ["Transfer-Encoding: chunked;a=b"],
        ['Transfer-Encoding: "chunked"'],
        ["Transfer-Encoding:"],
        ["Transfer-Encoding: \x0bchunked"],
        ["Transfer_Encoding: chunked"],
        ["Content_Length: 5"],
    ],
)
def test_F01_to_F15_a_body_whose_length_is_in_doubt_is_refused(lines: list[str]) -> None:
    assert refusal(*lines, line="POST / HTTP/1.1") == 400


def test_F21_HTTP_1_0_has_no_transfer_codings() -> None:
    assert refusal("Transfer-Encoding: chunked", line="POST / HTTP/1.0") == 400


def test_a_body_is_announced_by_its_length_or_by_chunks() -> None:
    assert read("Content-Length: 17", line="POST / HTTP/1.1").content_length == 17
    assert read("Content-Length: 17 \t", line="POST / HTTP/1.1").content_length == 17
    assert read("Transfer-Encoding: Chunked", line="POST / HTTP/1.1").chunked
    assert read("Content-Length: 1").has_body
    assert not read("Content-Length: 0").has_body
    assert not read().has_body


@pytest.mark.parametrize(
    "host",
    [
        "a",
        "shop.example",
        "shop.example:8080",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:443",
        "a_b.example",
        "xn--caf-dma.example",
        "a:65535",
    ],
)
def test_a_host_is_a_name_or_an_address_with_an_optional_port(host: str) -> None:
    assert read(host=host).host == host.encode()
    assert read(host=host + "  ").host == host.encode()


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a, b",
        "a b",
        "user@shop.example",
        "shop.example/admin",
        "shop.example\\x",
        "a\tb",
        "a:99999",
        "a:",
        "a:b",
        "[::1",
        "::1",
        "shop.example.",
        ".shop.example",
        "shop..example",
        "a?b",
        "a#b",
        "caf\xe9",
    ],
)
def test_F33_a_host_that_is_none_is_refused(host: str) -> None:
    assert refusal(host=host) == 400


def test_F33_a_host_is_there_exactly_once() -> None:
    assert refusal("Host: shop.example") == 400
    assert refusal("Host: other.example") == 400
    assert refusal(host=None) == 400
    assert refusal(host=None, line="GET / HTTP/1.0") == 0


def test_J52_two_authorization_fields_are_refused_even_when_equal() -> None:
    assert refusal("Authorization: Bearer a", "authorization: Bearer a") == 400
    assert refusal("Authorization: Bearer a", "Authorization: Bearer b") == 400
    assert read("Authorization: Bearer a \t").authorization == b"Bearer a"


def test_lines_are_what_travels_on_as_it_came_and_in_order() -> None:
    request = read(
        "Accept: */*",
        "X-User: root",
        "COOKIE: a=b;  c=d",
        "TE: trailers",
        "X-Real-IP: 1.2.3.4",
        "X-B:  two ",
        "Authorization: Bearer a",
    )
    assert request.lines == [b"Accept: */*", b"COOKIE: a=b;  c=d", b"X-B: two "]


@pytest.mark.parametrize(
    ("version", "lines", "is_persistent"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: keep-alive"], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", ["Connection: CLOSE, X-A"], False),
        ("1.1", ["Connection: keep-alive, close"], False),
        ("1.1", ["Connection: X-A", "Connection: close"], False),
        ("1.1", ["Connection: closed"], True),
        ("1.0", [], False),
        ("1.0", ["Connection: Keep-Alive"], True),
        ("1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_a_connection_persists_as_its_options_say(version: str, lines: list[str], is_persistent: bool) -> None:
    assert read(*lines, line=f"GET / HTTP/{version}").is_persistent is is_persistent


def test_fields_that_Connection_names_stay_here() -> None:
    request = read("X-A: 1", "x-b: 2", "X-C: 3", "Connection: X-B,\tx-c", "CONNECTION: , x-none")
    assert request.lines == [b"X-A: 1"]


@pytest.mark.parametrize("name", ["Cookie", "Accept", "Origin", "Referer"])
def test_H06_an_end_to_end_field_cannot_be_taken_away(name: str) -> None:
    assert read(f"{name}: x", f"Connection: {name.upper()}").lines == [f"{name}: x".encode()]


def test_H06_what_the_decision_and_the_trace_rest_on_cannot_be_taken_away() -> None:
    request = read(
        "Authorization: Bearer a",
        "X-Request-Id: r-1",
        "Via: 1.1 x",
        "Connection: authorization, x-request-id, via",
    )
    assert (request.authorization, request.request_id, request.via) == (b"Bearer a", b"r-1", b"1.1 x")


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding"])
def test_H06_naming_a_field_that_frames_the_request_is_refused(name: str) -> None:
    assert refusal(f"Connection: close, {name}") == 400


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        (WEBSOCKET, b"websocket"),
        (("Upgrade: WebSocket", "Connection: keep-alive, upgrade", "Sec-WebSocket-Key: x"), b"WebSocket"),
        (("Upgrade: custom/1", "Connection: Upgrade"), b"custom/1"),
        (("Upgrade: custom/1", "Connection: Upgrade", "Content-Length: 0"), b"custom/1"),
        (("Upgrade: custom/1",), None),
        (("Upgrade: custom/1", "Connection: close"), None),
        (("Upgrade: custom/1, websocket", "Connection: Upgrade"), None),
        (("Upgrade: custom/1", "Upgrade: other", "Connection: Upgrade"), None),
        (("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"), None),
        (("Upgrade: H2C", "Connection: Upgrade"), None),
        (("Upgrade: HTTP/2.0", "Connection: Upgrade"), None),
        (("Upgrade: TLS/1.0", "Connection: Upgrade"), None),
        (("Upgrade:", "Connection: Upgrade"), None),
    ],
)
def test_an_upgrade_is_one_token_that_Connection_asks_for(lines: tuple[str, ...], upgrade: bytes | None) -> None:
    request = read(*lines)
    assert request.upgrade == upgrade
    assert not any(line.lower().startswith((b"upgrade", b"connection", b"http2")) for line in request.lines)


def test_an_upgrade_is_for_GET_on_HTTP_1_1() -> None:
    assert read("Upgrade: custom/1", "Connection: Upgrade", line="POST / HTTP/1.1").upgrade is None
    assert read("Upgrade: custom/1", "Connection: Upgrade", line="GET / HTTP/1.0").upgrade is None


@pytest.mark.parametrize(
    "lines",
    [
        (*WEBSOCKET, "Content-Length: 5"),
        (*WEBSOCKET, "Transfer-Encoding: chunked"),
        WEBSOCKET[:2],
        (*WEBSOCKET, WEBSOCKET[2]),
    ],
)
def test_a_handshake_with_a_body_or_without_its_one_key_is_refused(lines: tuple[str, ...]) -> None:
    assert refusal(*lines) == 400


def test_a_websocket_handshake_is_a_GET() -> None:
    assert refusal(*WEBSOCKET, line="POST / HTTP/1.1") == 400


def test_the_websocket_key_is_read_and_travels_on() -> None:
    request = read(*WEBSOCKET)
    assert request.websocket_key == b"dGhlIHNhbXBsZSBub25jZQ=="
    assert request.lines == [WEBSOCKET[2].encode()]


def test_F25_an_expectation_is_100_continue_once_or_refused() -> None:
    assert read("Expect: 100-Continue", "Content-Length: 1").expects_continue
    assert not read("Expect: 100-continue", "Content-Length: 1", line="POST / HTTP/1.0").expects_continue
    assert refusal("Expect: x 100-continue") == 400
    assert refusal("Expect: 200-ok") == 400
    assert refusal("Expect: 100-continue", "Expect: 100-continue") == 400
    assert read("Expect: 100-continue", "Content-Length: 1").lines == []


def test_claims_about_the_way_here_are_read_and_do_not_travel_on() -> None:
    request = read(
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-For: 2.2.2.2 ",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: a",
        "Via: 1.0 p",
        "Via: 1.1 q",
    )
    assert request.forwarded_for == b"1.1.1.1, 2.2.2.2"
    assert (request.forwarded_proto, request.forwarded_host) == (b"https", b"a")
    assert request.via == b"1.0 p, 1.1 q"
    assert request.lines == []


@pytest.mark.parametrize("claimed", ["a b", "a/b", "a, b", "", "a:99999x"])
def test_a_claimed_host_that_is_none_is_not_read(claimed: str) -> None:
    assert read(f"X-Forwarded-Host: {claimed}").forwarded_host is None


@pytest.mark.parametrize("text", ["r-1", "0af7651916cd43dd8448eb211c80319c", "A.b_c~d-e", "x" * 64])
def test_a_well_formed_request_id_is_kept(text: str) -> None:
    assert read(f"X-Request-Id: {text}").request_id == text.encode()


@pytest.mark.parametrize("text", ["", "a b", "x" * 65, "<script>", 'a"', "a\xe9", "a,b", "a\tb"])
def test_any_other_request_id_is_ignored(text: str) -> None:
    assert read(f"X-Request-Id: {text}").request_id is None


GOOD_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_that_is_said_twice_is_said_by_nobody() -> None:
    for times in (2, 3):
        head = read(*[f"traceparent: {GOOD_TRACE}"] * times, "tracestate: a=b")
        assert (head.traceparent, head.tracestate) == (None, None)
    assert read("traceparent: nonsense", f"Traceparent: {GOOD_TRACE}").traceparent is None


def test_the_state_of_a_trace_may_come_in_pieces_and_goes_nowhere_without_it() -> None:
    head = read("tracestate: a=1, b=2", f"traceparent: {GOOD_TRACE}", "TraceState: c=3")
    assert (head.traceparent, head.tracestate) == (GOOD_TRACE.encode(), b"a=1,b=2,c=3")
    assert head.lines == []
    assert read("tracestate: a=1").tracestate is None
    assert read("tracestate: a=1", "traceparent: nonsense").tracestate is None


def test_connection_cannot_name_a_trace_away() -> None:
    head = read("Connection: traceparent, tracestate", f"traceparent: {GOOD_TRACE}", "tracestate: a=1")
    assert (head.traceparent, head.tracestate) == (GOOD_TRACE.encode(), b"a=1")


def test_F31_fields_and_target_are_limited() -> None:
    few = reader(fields=3, uri=10)
    assert few.read(head(GET, "Host: a", "X: 1", "Y: 2")).lines == [b"X: 1", b"Y: 2"]
    with pytest.raises(TooLarge) as refused:
        few.read(head(GET, "Host: a", "X: 1", "Y: 2", "Z: 3"))
    assert refused.value.status == 431
    with pytest.raises(TooLarge) as refused:
        few.read(head("GET /1234567890 HTTP/1.1", "Host: a"))
    assert refused.value.status == 414


def test_a_field_is_found_by_its_name_in_lower_case() -> None:
    request = read("Accept: a", "ACCEPT: b")
    assert request.field(b"accept") == b"a"
    assert request.field(b"origin") is None


# What a connection may bring, in any order: each must be read as if it were the first.
BLOCKS = [
    ("Host: a",),
    ("Host: b", "Authorization: Bearer x"),
    ("Host: a", "Content-Length: 5"),
    ("Host: a", "Transfer-Encoding: chunked"),
    ("Host: a", "Connection: close"),
    ("Host: a", *WEBSOCKET),
    ("Host: a", "X: 1", "Connection: X"),
    ("Host: a", "X-Request-Id: r-1", "Expect: 100-continue"),
    ("Host: a", "X-Padding: " + "x" * LONGEST_KEPT_BLOCK),
    ("Host: a", "Host: a"),
    ("Host: a", "X : 1"),
    ("X-Only: 1",),
]
LINES = [
    "GET / HTTP/1.1",
    "GET /other?q HTTP/1.1",
    "POST / HTTP/1.1",
    "HEAD / HTTP/1.1",
    "GET / HTTP/1.0",
    "GET /../x HTTP/1.1",
    "FOO / HTTP/1.1",
]


def meaning(by: HeadReader, raw: bytes) -> object:
    """Everything that a head says, or how it is refused."""
    try:
        found = by.read(raw)
    except ClientError as error:
        return type(error), error.status
    names = [name for name in dir(found) if not name.startswith("_") and name not in ("at", "field")]
    return {name: getattr(found, name) for name in names}


@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(BLOCKS)), min_size=2, max_size=8))
def test_each_head_of_a_connection_is_read_as_if_it_were_the_first(requests: list[tuple[str, tuple[str, ...]]]) -> None:
    one = reader()
    for line, block in requests:
        raw = head(line, *block)
        found = meaning(one, raw)
        assert found == meaning(reader(), raw)
        if isinstance(found, tuple):
            break  # refused: nothing behind it is read


def test_a_repeated_block_of_fields_with_another_address_keeps_the_first_head_as_it_was() -> None:
    one = reader()
    first = one.read(head("GET /a?x HTTP/1.1", "Host: a", "X: 1"))
    second = one.read(head("GET /b HTTP/1.1", "Host: a", "X: 1"))
    assert (first.path, first.query) == (b"/a", b"?x")
    assert (second.path, second.query) == (b"/b", b"")


def test_a_repeated_request_is_recognised_only_when_it_is_that_very_one() -> None:
    one = reader()
    raw = head("GET /a?x HTTP/1.1", "Host: a", "X: 1")
    assert one.repeated(raw) is None
    first = one.read(raw)
    assert one.repeated(raw) is first
    for other in (raw[:-1], raw + b"G", raw + raw, raw.replace(b"/a?x", b"/a?y"), raw.replace(b"GET", b"PUT"), b""):
        assert one.repeated(other) is None
    second = one.read(head("GET /b HTTP/1.1", "Host: a", "X: 1"))
    assert one.repeated(raw) is None
    assert one.repeated(head("GET /b HTTP/1.1", "Host: a", "X: 1")) is second
    one.rest()
    assert one.repeated(head("GET /b HTTP/1.1", "Host: a", "X: 1")) is None


def test_of_a_long_head_nothing_is_kept_while_the_connection_idles() -> None:
    one = reader()
    one.read(head(GET, "Host: a"))
    assert one._last is not None
    one.read(head(GET, "Host: a", "X: " + "y" * LONGEST_KEPT_BLOCK))
    assert (one._last, one._last_block) == (None, b"")
    one.read(head(GET, "Host: a"))
    one.rest()
    assert (one._last, one._last_block) == (None, b"")
    assert one.read(head(GET, "Host: b")).host == b"b"


@pytest.mark.parametrize(
    "beginning",
    [
        b"\x16\x03\x01",
        b" GET",
        b"get /",
        b"1",
        b"\x00",
        b"GET / HTTP/1.1\nHost",
        b"GET / HTTP/1.1\r\nX: a\nY",
        b"GET / HTTP/1.1\rX",
        b"G\x00",
        b"GET\r\r",
    ],
)
def test_a_beginning_that_can_never_become_a_head_is_refused_at_once(beginning: bytes) -> None:
    with pytest.raises(BadRequest):
        refuse_hopeless(beginning)


@given(st.sampled_from(LINES), st.sampled_from(BLOCKS), st.integers(min_value=1, max_value=200))
def test_no_beginning_of_a_well_formed_head_is_hopeless(line: str, block: tuple[str, ...], length: int) -> None:
    refuse_hopeless(head(line, *block)[:length])


@given(st.text("GET \r\n\x00a:", min_size=1, max_size=12))
def test_hopeless_is_a_bare_CR_a_bare_LF_or_NUL(text: str) -> None:
    raw = b"G" + text.encode()
    is_hopeless = re.search(rb"\r(?=[^\n])|(?<!\r)\n|\x00", raw) is not None
    try:
        refuse_hopeless(raw)
        assert not is_hopeless
    except BadRequest:
        assert is_hopeless
