"""The heads that go on: built from parts, so that nothing can travel that nobody looked at."""

import re

import pytest

from gateway.wire.answer import AnswerHead, AnswerMemory, AnswerReader
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import RoleMemory
from gateway.wire.head import HeadReader, RequestHead
from gateway.wire.rewrite import forwarded_lines, new_request_id, switching_protocols, to_client, to_upstream, trace_of


def request(*lines: str, line: str = "GET /a?b HTTP/1.1", host: str | None = "shop.example") -> RequestHead:
    raw = "\r\n".join([line, *([f"Host: {host}"] if host else []), *lines, "", ""]).encode("latin-1")
    return HeadReader(RoleMemory(), 100, 8192, CookieNames.of(is_secure=True)).read(raw)


def answer(*lines: str, status: str = "200 Whatever") -> AnswerHead:
    return AnswerReader(AnswerMemory(CookieNames.of(is_secure=True))).read(
        "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")
    )


def test_a_request_goes_on_with_its_own_address_host_and_fields_and_what_was_added() -> None:
    head = request("Accept: */*", "X-User: root", "Connection: close", "Cookie: a=b")
    assert to_upstream(head, b"backend:8000", (b"X-User: alice\r\n", b"Via: 1.1 gateway\r\n")) == (
        b"GET /a?b HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nCookie: a=b\r\nX-User: alice\r\nVia: 1.1 gateway\r\n"
    )


@pytest.mark.parametrize("target", ["/%61%2e?x=/../", "//a//b;c?d", "/caf%c3%a9", "/a?", "/?%zz"])
def test_what_is_matched_is_what_is_forwarded(target: str) -> None:
    head = request(line=f"GET {target} HTTP/1.1")
    sent = to_upstream(head, b"x", ())
    assert sent.split(b" ")[1] == head.path + head.query
    again = HeadReader(RoleMemory(), 100, 8192, CookieNames.of(is_secure=True)).read(sent + b"\r\n")
    assert (again.path, again.query) == (head.path, head.query)


def test_a_request_without_a_host_gets_the_upstreams_name() -> None:
    assert b"\r\nHost: backend:8000\r\n" in to_upstream(request(line="GET / HTTP/1.0", host=None), b"backend:8000", ())


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        (["Content-Length: 5"], [b"Content-Length: 5"]),
        (["Content-Length: 0"], [b"Content-Length: 0"]),
        (["Transfer-Encoding: chunked"], [b"Transfer-Encoding: chunked"]),
        ([], []),
        (["Upgrade: custom/1", "Connection: Upgrade, X-A", "X-A: 1"], [b"Connection: Upgrade", b"Upgrade: custom/1"]),
        (["Upgrade: h2c", "Connection: Upgrade"], []),
        (["Connection: keep-alive, X-A", "X-A: 1", "TE: trailers", "Keep-Alive: 5"], []),
    ],
)
def test_the_framing_of_a_request_is_written_anew(lines: list[str], framing: list[bytes]) -> None:
    sent = to_upstream(request(*lines, line="POST / HTTP/1.1" if "Upgrade" not in str(lines) else "GET / HTTP/1.1"), b"x", ())
    assert sent.split(b"\r\n")[2:-1] == framing


def test_H13_H18_what_a_stranger_claims_about_the_way_here_is_not_repeated() -> None:
    head = request(
        "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Forwarded: for=1.1.1.1"
    )
    sent = forwarded_lines(head, b"203.0.113.9", b"http", is_trusted=False)
    assert sent == (
        b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.example\r\nVia: 1.1 gateway\r\n"
    )
    assert head.lines == []


def test_what_a_trusted_proxy_says_is_passed_on_with_the_proxy_itself() -> None:
    head = request(
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.example", "Via: 1.0 edge"
    )
    assert forwarded_lines(head, b"10.0.0.1", b"http", is_trusted=True) == (
        b"X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\n"
        b"Via: 1.0 edge, 1.1 gateway\r\n"
    )


def test_a_trusted_proxy_that_says_nothing_or_nonsense_leaves_what_we_know() -> None:
    head = request("X-Forwarded-Proto: gopher")
    sent = forwarded_lines(head, b"10.0.0.1", b"https", is_trusted=True)
    assert b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n" in sent


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "lines", [(), ("tracestate: a=b",), ("traceparent: x",), (f"traceparent: {PARENT}", f"traceparent: {PARENT}")]
)
def test_a_request_without_a_trace_begins_one_named_after_its_id(lines: tuple[str, ...]) -> None:
    head = request(*lines)
    assert trace_of(head, b"f" * 32) == (b"f" * 32, None)
    assert head.tracestate is None


def test_an_id_that_a_client_made_up_names_no_trace() -> None:
    trace_id, parent = trace_of(request("X-Request-Id: r-1"), b"r-1")
    assert re.fullmatch(rb"[0-9a-f]{32}", trace_id)
    assert parent is None


def test_a_clients_trace_goes_on() -> None:
    head = request("X-Request-Id: r-1", f"traceparent: {PARENT}", "tracestate: a=b")
    assert trace_of(head, b"r-1") == (b"0af7651916cd43dd8448eb211c80319c", PARENT.encode())
    assert head.tracestate == b"a=b"
    assert head.lines == []


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_an_answer_goes_on_with_our_reason_phrase_and_our_framing() -> None:
    head = answer(
        "Server: x", "X-User: root", "Connection: close, X-A", "Content-Length: 5", "Set-Cookie: a=b", "Set-Cookie: c=d"
    )
    sent = to_client(head, has_body=True, is_chunked=False, is_persistent=True, minor=1)
    assert sent == b"HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "form", "end"),
    [
        (["Transfer-Encoding: chunked"], {"is_chunked": True}, [b"Transfer-Encoding: chunked"]),
        (["Transfer-Encoding: chunked"], {"minor": 0, "is_persistent": False}, [b"Connection: close"]),
        (["Content-Length: 5"], {"minor": 0}, [b"Content-Length: 5", b"Connection: keep-alive"]),
        (["Content-Length: 5"], {"has_body": False}, [b"Content-Length: 5"]),
        (["Content-Length: 5"], {"is_persistent": False}, [b"Content-Length: 5", b"Connection: close"]),
        ([], {"is_persistent": False}, [b"Connection: close"]),
    ],
)
def test_the_framing_of_an_answer_is_ours_to_decide(lines: list[str], form: dict[str, int], end: list[bytes]) -> None:
    decided = {"has_body": True, "is_chunked": False, "is_persistent": True, "minor": 1} | form
    assert to_client(answer(*lines), **decided).split(b"\r\n")[1:-2] == end


def test_X05_an_answer_that_has_no_body_announces_none() -> None:
    sent = to_client(answer("Content-Length: 5", status="204 No"), has_body=False, is_chunked=False, is_persistent=True, minor=1)
    assert sent == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_one_answer_may_go_to_different_clients_in_different_forms() -> None:
    head = answer("Content-Length: 5")
    forms = [
        {"has_body": has_body, "is_chunked": False, "is_persistent": is_persistent, "minor": minor}
        for has_body in (True, False)
        for is_persistent in (True, False)
        for minor in (0, 1)
    ]
    twice = [[to_client(head, **form) for form in forms] for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0] == [to_client(answer("Content-Length: 5"), **form) for form in forms]


def test_a_status_without_a_name_is_passed_on() -> None:
    assert (
        to_client(answer(status="299 X"), has_body=False, is_chunked=False, is_persistent=True, minor=1)
        == b"HTTP/1.1 299 \r\n\r\n"
    )


def test_a_switch_of_protocols_goes_on_with_what_was_negotiated() -> None:
    head = answer("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Accept: x", "X-User: root", status="101 Yes")
    assert switching_protocols(head) == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("told", "passed_on"),
    [
        ([], "private"),
        (["Cache-Control: public, max-age=60"], "private, max-age=60"),
        (["cache-control: s-maxage=60", "Cache-Control: max-age=5"], "private, max-age=5"),
        (["Cache-Control: no-store"], "no-store"),
        (["Cache-Control: Private, must-revalidate"], "Private, must-revalidate"),
        (['Cache-Control: private="x-user", max-age=1'], "private, max-age=1"),
    ],
)
def test_C2_an_answer_to_a_token_is_not_for_shared_caches(told: list[str], passed_on: str) -> None:
    head = answer(*told, "Content-Length: 0")
    sent = to_client(head, has_body=True, is_chunked=False, is_persistent=True, minor=1, is_private=True)
    assert [line for line in sent.split(b"\r\n") if line.lower().startswith(b"cache-control")] == [
        b"Cache-Control: " + passed_on.encode()
    ]
    untouched = to_client(head, has_body=True, is_chunked=False, is_persistent=True, minor=1)
    assert all(line.encode() in untouched for line in told)
