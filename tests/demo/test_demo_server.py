"""The demo's own server among other people's pages: who may ask, under which name, for what; and what it says."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S

from gateway.demo.configuration import IN_A_HURRY
from gateway.demo.issuer import Issuer
from gateway.demo.server import MOST_CONNECTIONS, PageServer, policy_of
from gateway.demo.stage import Stage
from gateway.demo.theatre import DEEDS, Theatre

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Its key takes a tenth of a second to make."""
    return Issuer()


@pytest.fixture
def server(tmp_path: Path, issuer: Issuer) -> Iterator[PageServer]:
    """A page whose gateway is away: every deed fails, and that is no answer of this server's."""
    people = {"alice@example.org": "demo-a", "bob@example.org": "demo-b"}
    away = "127.0.0.1:1"
    stage = Stage(tmp_path, away, away, away, "", "secret-admin-token", IN_A_HURRY, issuer, {}, people, [])
    stage.log.write_text('{"route":"app","path":"/<b>","client":"203.0.113.10"}\n')
    theatre = Theatre(stage)
    theatre.log.read()
    server = PageServer(theatre, "127.0.0.1:0")
    yield server
    theatre.close()
    server.close()


def ask(
    server: PageServer, method: str, path: str, fields: dict[str, str] | None = None, body: object = None, host: str | None = None
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, raw or None, {"Host": host or f"127.0.0.1:{server.port}", **(fields or {})})
        response = connection.getresponse()
        return response.status, dict(response.headers.items()), response.read().decode()
    finally:
        connection.close()


def origin(server: PageServer) -> dict[str, str]:
    return {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin", **JSON}


def test_it_listens_on_loopback_only(server: PageServer):
    others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in {address for address in others if not address.startswith("127.")}:
        with pytest.raises(OSError):
            socket.create_connection((address, server.port), timeout=1).close()


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:{port}.evil.example", "localhost:1", "[::1]:{port}", ""],
)
@pytest.mark.parametrize("path", ["/", "/story", "/state"])
def test_a_name_that_was_made_to_resolve_to_here_is_not_ours(server: PageServer, host: str, path: str):
    status, _, text = ask(server, "GET", path, host=host.format(port=server.port) or " ")
    assert status == 421 and "Alice" not in text


@pytest.mark.parametrize("lines", [b"", b"Host: 127.0.0.1:%d\r\nHost: evil.example\r\n"])
def test_no_name_and_two_names_are_not_ours_either(server: PageServer, lines: bytes):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        filled = lines % server.port if lines else lines
        connection.sendall(b"GET /story HTTP/1.1\r\n" + filled + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 421 ")


def test_localhost_is_ours(server: PageServer):
    assert ask(server, "GET", "/", host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("path", ["/next", "/scene", "/over", "/do"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:{port}"},  # this page, under the other name: another origin all the same
        {"Origin": "http://127.0.0.1:1"},  # another port of this machine
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_plays_nothing(server: PageServer, path: str, sent: dict[str, str]):
    before = state_of(server)
    fields = {name: value.format(port=server.port) for name, value in sent.items()}
    assert ask(server, "POST", path, {**fields, **JSON}, {"scene": 2, "who": "alice", "what": "open"})[0] == 403
    assert state_of(server)["version"] == before["version"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_reads_nothing_but_may_link_here(server: PageServer, site: str):
    for path in ("/", "/story", "/state"):
        assert ask(server, "GET", path, {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})[0] == 403
    assert ask(server, "GET", "/story", {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})[0] == 403
    status, headers, _ = ask(server, "GET", "/", {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})
    assert status == 200 and "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, {"scene": 1}, 415),  # what a form of any site could send
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"scene=1", 415),
        ({"Transfer-Encoding": "chunked"}, None, 415),
        ({}, b"x" * 2000, 413),
        ({"Content-Length": "-1"}, None, 413),
        ({"Content-Length": "+5"}, None, 413),
        ({}, b"{", 400),
        ({}, b"\xff\xfe", 400),
        ({}, [1], 400),
        ({}, {}, 422),
        ({}, {"scene": 99}, 422),
        ({}, {"scene": -1}, 422),
        ({}, {"scene": "x"}, 422),
        ({}, {"scene": None}, 422),
        ({}, {"scene": [0]}, 422),
    ],
)
def test_a_body_is_read_strictly(server: PageServer, fields: dict[str, str], body: object, status: int):
    assert ask(server, "POST", "/scene", origin(server) | fields, body)[0] == status
    assert state_of(server)["scene"] == 0


@pytest.mark.parametrize(("who", "what"), [("alice", "steal"), ("thief", "sign-in"), ("root", "open"), ("alice", "__init__")])
def test_what_nobody_can_do_is_not_done(server: PageServer, who: str, what: str):
    assert ask(server, "POST", "/do", origin(server), {"who": who, "what": what})[0] == 422


def test_a_gateway_that_is_away_is_said_and_breaks_nothing(server: PageServer):
    for who, what in DEEDS:
        assert ask(server, "POST", "/do", origin(server), {"who": who, "what": what})[0] == 200
    ask(server, "POST", "/do", origin(server), {"who": "alice", "what": "open"})
    assert "the gateway did not answer" in state_of(server)["trouble"]
    ask(server, "POST", "/over", origin(server), {})
    assert state_of(server)["trouble"] == ""


@pytest.mark.parametrize("path", ["/favicon.ico", "/../page.html", "/page.html", "/next"])
def test_there_is_nothing_else(server: PageServer, path: str):
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("query", ["version=x", "line=-1", "version=1e9", "version=" + "9" * 400])
def test_a_number_is_a_number(server: PageServer, query: str):
    assert ask(server, "GET", f"/state?{query}")[0] == 422


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_served(server: PageServer, method: str):
    status, headers, _ = ask(server, method, "/state")
    assert status == 501 and "Access-Control-Allow-Origin" not in headers


def test_everything_is_said_with_the_same_care(server: PageServer):
    for path in ("/", "/story", "/state", "/nothing"):
        _, headers, _ = ask(server, "GET", path)
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy and "*" not in policy


def test_the_page_is_one_file_without_a_handler_a_style_or_an_address_of_others():
    from importlib.resources import files

    page = files("gateway.demo").joinpath("page.html").read_text()
    assert page.count("<script>") == page.count("<style>") == 1
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        " style=",
        '<link rel="stylesheet',
    ):
        assert forbidden not in page
    addresses = page.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1", "")
    assert "https://" not in addresses and addresses.count("http://") == 1  # which is cut off where an address is shown
    assert policy_of(page).count("sha256-") == 2


def test_neither_a_whole_token_nor_the_admin_token_leaves_the_process(server: PageServer):
    theatre = server._server.theatre
    value = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiJ0LTEiLCJnZW4iOjF9." + "s" * 86
    theatre.cast.alice.jar(theatre.cast.site).take([f"access={value}; Max-Age=60; HttpOnly"])
    told = ask(server, "GET", "/state")[2] + ask(server, "GET", "/story")[2] + ask(server, "GET", "/")[2]
    assert "eyJhbGciOi…" in json.loads(ask(server, "GET", "/state")[2])["browsers"]["alice"]["cookies"][0]["short"]
    assert "s" * 20 not in told and "secret-admin-token" not in told


def test_the_log_comes_once(server: PageServer):
    assert [line["fields"]["path"] for line in state_of(server)["log"]] == ["/<b>"]
    assert json.loads(ask(server, "GET", "/state?line=1")[2])["log"] == []


def test_connections_have_a_bound_and_those_beyond_are_closed(server: PageServer):
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) for _ in range(MOST_CONNECTIONS)]
    try:
        for connection in held:  # each one is being served, not merely waiting to be accepted
            connection.sendall(b"GET /story HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port)
            assert connection.recv(64).startswith(b"HTTP/1.1 200")
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as one_more:
            assert one_more.recv(1) == b""
    finally:
        for connection in held:
            connection.close()


def state_of(server: PageServer) -> dict[str, object]:
    document: dict[str, object] = json.loads(ask(server, "GET", "/state")[2])
    return document
