"""The admin port and everything that the gateway writes down, under attack: who may ask, what a body may be, what a stranger's
text can do to logs and metrics, and that no output ever holds a token.

The rules themselves are tested in `tests/admin/`; here they are asked of the running program, byte by byte.
"""

import gzip
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from issuing import compact
from live.running_gateway import ADMIN_TOKEN, CALM_STORE, eventually
from wire_gateway import PATIENCE_S, Answer, Wire, read_answer, wire

pytestmark = pytest.mark.xdist_group("live2")

TOKEN = ADMIN_TOKEN.encode()
AUTHORIZED = b"Authorization: Bearer " + TOKEN
JSON = b"Content-Type: application/json"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("admin"), store=CALM_STORE) as running:
        yield running


def connect(running: Wire) -> socket.socket:
    host, _, port = running.gateway.admin.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def ask(running: Wire, line: bytes, *lines: bytes, body: bytes = b"", host: bytes = b"localhost") -> Answer:
    """One request to the admin port, as it is written here."""
    head = b"\r\n".join((line + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *lines))
    with connect(running) as client:
        client.sendall(head + b"\r\n\r\n" + body)
        return read_answer(client)


def post(running: Wire, body: bytes, *lines: bytes, authorized: bytes = AUTHORIZED) -> Answer:
    return ask(running, b"POST /v1/revocations", authorized, JSON, b"Content-Length: %d" % len(body), *lines, body=body)


CREDENTIALS = {
    "none": b"X: y",
    "wrong": b"Authorization: Bearer " + b"x" * len(TOKEN),
    "one byte short": b"Authorization: Bearer " + TOKEN[:-1],
    "one byte long": b"Authorization: Bearer " + TOKEN + b"x",
    "empty": b"Authorization: Bearer ",
    "as Basic": b"Authorization: Basic " + TOKEN,
    "in a list": b"Authorization: Bearer x, Bearer " + TOKEN,
    "not ASCII": b"Authorization: Bearer \xff\xfe",
    "in a cookie": b"Cookie: token=" + TOKEN,
    "two fields": AUTHORIZED + b"\r\n" + AUTHORIZED,
    "two fields, one wrong": b"Authorization: Bearer x\r\n" + AUTHORIZED,
    "another field": b"X-Authorization: Bearer " + TOKEN,
}


@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_A01_B3_without_the_token_nothing_is_told_and_nothing_done(attacked: Wire, credential: bytes):
    answers = [ask(attacked, line, credential) for line in (b"GET /v1/status", b"GET /openapi.json", b"GET /v1/unknown")]
    answers.append(post(attacked, b'{"user":"everybody"}', authorized=credential))
    assert {answer.status for answer in answers} == {401}
    assert not any(TOKEN in answer.head + answer.body for answer in answers)
    assert attacked.show(attacked.gateway.token(sub="everybody", iat=int(time.time()) - 5)).told == "200"


def test_A01_a_users_token_is_no_admin_token_and_an_admin_token_no_users(attacked: Wire):
    token = attacked.gateway.token(groups=["staff", "admin"]).encode()
    assert ask(attacked, b"GET /v1/status", b"Authorization: Bearer " + token).status == 401
    assert attacked.show(ADMIN_TOKEN).told == "401 malformed-token"


@pytest.mark.parametrize("host", [b"evil.example", b"127.0.0.1.evil.example", b"127.0.0.1@evil", b"2130706433", b"0.0.0.0", b""])
def test_A01_B3_another_name_is_refused_even_with_the_token(attacked: Wire, host: bytes):
    assert ask(attacked, b"GET /v1/status", AUTHORIZED, host=host).status == 403
    assert ask(attacked, b"GET /v1/status", AUTHORIZED, b"X-Forwarded-Host: localhost", host=host).status == 403


@pytest.mark.parametrize("line", [b"Origin: null", b"Origin: http://evil.example", b"Sec-Fetch-Site: cross-site"])
def test_A01_B3_a_page_is_refused_and_gets_no_word_of_CORS(attacked: Wire, line: bytes):
    refused = ask(attacked, b"POST /v1/revocations", AUTHORIZED, JSON, line, b"Content-Length: 0")
    asked = ask(attacked, b"OPTIONS /v1/revocations", line, b"Access-Control-Request-Method: POST")
    assert {refused.status, asked.status} == {403}
    assert b"access-control-" not in (refused.head + asked.head).lower()


def test_A01_O02_the_public_port_does_not_know_the_admin_paths(attacked: Wire):
    for path in ("/metrics", "/v1/status", "/livez", "//metrics", "/v1/revocations"):
        assert attacked.get(path, AUTHORIZED).told == "401 malformed-token"
    assert not attacked.arrived or not any(b"metrics" in request.target for request in attacked.arrived)


@pytest.mark.parametrize("method", [b"PUT", b"PATCH", b"DELETE", b"TRACE", b"OPTIONS", b"CONNECT", b"QUERY"])
def test_A01_another_method_does_nothing_whatever_it_says_it_is(attacked: Wire, method: bytes):
    refused = ask(attacked, method + b" /v1/revocations", AUTHORIZED, b"X-HTTP-Method-Override: POST")
    assert (refused.status, refused.body and json.loads(refused.body)["status"]) == (405, 405)
    overridden = ask(attacked, b"GET /v1/status", AUTHORIZED, b"X-HTTP-Method-Override: " + method)
    assert overridden.status == 200


BODIES: dict[str, tuple[int, bytes, tuple[bytes, ...]]] = {
    "deep": (400, b'{"user":' + b"[" * 8000 + b"]" * 7999 + b"}", ()),
    "NaN": (400, b'{"user":NaN}', ()),
    "two users": (400, b'{"user":"a","user":"b"}', ()),
    "UTF-16": (400, '{"user":"a"}'.encode("utf-16"), ()),
    "a surrogate": (400, b'{"user":"\\ud800"}', ()),
    "a line break": (422, b'{"user":"a\\r\\nb"}', ()),
    "turned text": (422, '{"user":"a\u202eb"}'.encode(), ()),
    "too long": (413, b'{"user":"' + b"a" * 20_000 + b'"}', ()),
    "compressed": (415, gzip.compress(b'{"user":"a"}'), (b"Content-Encoding: gzip",)),
    "compressed and broken": (415, b"not gzip", (b"Content-Encoding: gzip",)),
    "a bomb": (415, zlib.compress(b'{"user":"' + b"a" * 8_000_000 + b'"}', 9), (b"Content-Encoding: deflate",)),
    "an unknown coding": (415, b'{"user":"a"}', (b"Content-Encoding: foo",)),
}


@pytest.mark.parametrize(("status", "body", "lines"), BODIES.values(), ids=BODIES.keys())
def test_A02_L09_a_malformed_body_is_refused_without_a_stumble(
    attacked: Wire, status: int, body: bytes, lines: tuple[bytes, ...]
):
    answer = post(attacked, body, *lines)
    assert answer.status == status
    assert b"Traceback" not in answer.body and b"aiohttp" not in answer.head + answer.body
    assert not [line for line in attacked.gateway.messages() if "exception" in line]


@pytest.mark.parametrize("body", [b"zz\r\nxx\r\n0\r\n\r\n", b'5\r\n{"useXX\r\n0\r\n\r\n', b"-1\r\n", b"fffffffffffffffff\r\n"])
def test_A02_a_broken_chunk_is_a_bad_request(attacked: Wire, body: bytes):
    answer = ask(attacked, b"POST /v1/revocations", AUTHORIZED, JSON, b"Transfer-Encoding: chunked", body=body)
    assert (answer.status, b"aiohttp" in answer.head + answer.body) == (400, False)
    assert not [line for line in attacked.gateway.messages() if "exception" in line]


def test_O04_a_whole_token_for_its_id_is_refused_before_it_is_written_anywhere(attacked: Wire):
    token = attacked.gateway.token()
    answer = post(attacked, json.dumps({"token_id": token[:500]}).encode())
    assert answer.status == 422 and b"is a whole token" in answer.body
    assert token[:100] not in attacked.gateway.path("messages").read_text()


def test_A02_a_client_that_leaves_during_its_revocation_leaves_it_done_or_not_and_nothing_broken(attacked: Wire):
    for body, length in ((b'{"us', 100), (b'{"user":"left"}', 15)) * 10:
        with connect(attacked) as client:
            client.sendall(
                b"POST /v1/revocations HTTP/1.1\r\nHost: localhost\r\n"
                + AUTHORIZED + b"\r\n" + JSON + b"\r\nContent-Length: %d\r\n\r\n" % length + body
            )  # fmt: skip
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: attacked.show(attacked.gateway.token(sub="left", iat=int(time.time()) - 5)).told == "401 old-version")
    attacked.gateway.revoke(user="stayed")
    assert not [line for line in attacked.gateway.messages() if "exception" in line]


def test_D01_three_hundred_silent_connections_do_not_keep_the_admin_port_from_answering(attacked: Wire):
    silent = [connect(attacked) for _ in range(300)]
    for client in silent:
        client.sendall(b"GET /v1/st")
    assert attacked.gateway.is_ready()
    attacked.gateway.revoke(user="during")
    for client in silent:
        client.close()


def test_O01_no_client_makes_a_series(attacked: Wire):
    gateway = attacked.gateway
    attacked.get("/public/first")
    eventually(lambda: gateway.metrics())
    before = set(gateway.metrics())

    def stranger(number: int) -> None:
        method, path = (b"GET", b"POST", b"M%d" % number)[number % 3], b"/public/p%d?q=%d" % (number, number)
        attacked.send(
            method + b" " + path + b" HTTP/1.1\r\nHost: h%d\r\nUser-Agent: u%d\r\nConnection: close\r\n\r\n" % ((number,) * 2)
        )
        attacked.show(gateway.token(header={"kid": f"kid-{number}"}, sub=f"sub-{number}", iss=f"https://{number}.example"))
        attacked.show(gateway.token(sub=f"sub-{number}", sid=f"sid-{number}", groups=[f"g-{number}"]), f"/p{number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(stranger, range(300)))
    eventually(lambda: sum(v for name, v in gateway.metrics().items() if name.startswith("gateway_requests_total")) >= 900)
    new = set(gateway.metrics()) - before
    assert len(new) <= 40, sorted(new)[:10]  # combinations of closed labels that were seen for the first time
    assert not [name for name in new if re.search(r"(?:kid|sub|sid|p|u|h|M)-?\d{1,3}\b", name)]


HOSTILE = ['"', "\\", "\x1b[31m", '\r\n{"level":"info"}', "\u2028", "\u009b", "\u202e", "A" * 200, "\x7f", "{}", "status=200 "]


def test_O03_whatever_a_stranger_writes_every_line_stays_one_line_of_printable_JSON(attacked: Wire):
    gateway = attacked.gateway
    for text in HOSTILE:
        attacked.show(gateway.token(header={"kid": f"kid {text}"}))
        attacked.show(gateway.token(iss=f"https://{text}"))
        attacked.show(gateway.token(sub=f"name {text}", sid=f"sid {text}"))
        raw = text.encode()
        attacked.get("/public/" + "".join(f"%{byte:02x}" for byte in raw))
        attacked.send(b"GET /public/" + raw + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        attacked.get("/public/agent", b"User-Agent: " + raw, b"X-Request-Id: " + raw, b"Referer: " + raw)
    gateway.call("POST", "/v1/revocations", json={"session": 's "id=x" status=200', "reason": '"\\'})
    assert attacked.show(gateway.token(sid='s "id=x" status=200')).told == "401 revoked-session"
    for size in (7_000, 100_000):
        attacked.get("/public/" + "a" * size)
        attacked.get("/public/agent", b"User-Agent: " + b"u" * size)
        attacked.show(gateway.token(header={"kid": "k" * min(size, 6_000)}))
    eventually(lambda: len(gateway.access_lines()) > len(HOSTILE))
    for output in ("access", "messages"):
        lines = gateway.path(output).read_bytes().splitlines()
        assert max(map(len, lines)) < 8192
        assert all(0x20 <= byte < 0x7F for line in lines for byte in line)
        assert all(isinstance(json.loads(line), dict) for line in lines if not line.startswith(b"warning: "))


def test_O04_O06_a_token_is_in_no_output_whatever_way_it_came(attacked: Wire):
    gateway = attacked.gateway
    token = gateway.token(sub="careless")
    with_spaces = compact(b' {"alg":"RS256","kid":"key-1","typ":"at+jwt"}', json.loads(payload_of(token)), gateway.signers[0])
    gateway.shown.append(with_spaces)
    answers = []
    for each in (token, with_spaces, token + "tampered"):
        answers += [
            attacked.show(each),
            attacked.get(f"/public/{each}"),
            attacked.get(f"/{each}?token={each}", f"Authorization: Bearer {each}"),
            attacked.get("/public/" + each.replace("eyJ", "%65%79%4a")),
            attacked.get("/who", f"Cookie: access={each}", f"Referer: http://a/?t={each}", f"User-Agent: {each}"),
            attacked.get("/who", f"Authorization: Bearer {each} "),
            attacked.get("/who", f"Authorization: Bearer {each},{each}"),
            attacked.get("/once/x", f"X-Request-Id: {each}", f"Authorization: Bearer {each}"),
            attacked.get("/who", f"Accept: text/html, {each}", "Sec-Fetch-Mode: navigate", f"X-{each}: a"),
            attacked.send(f"GET /who?{each} HTTP/9.9\r\nHost: {each}\r\n\r\n".encode()),
        ]
    gateway.call("POST", "/v1/revocations", json={"user": "careless"})
    answers.append(attacked.show(token))
    secrets = [token.rpartition(".")[2], with_spaces.rpartition(".")[2], ADMIN_TOKEN]
    told = b"".join(answer.head + answer.body for answer in answers if b"x-gateway-reason" in answer.head.lower())
    pages = gateway.call("GET", "/metrics").text + gateway.call("GET", "/v1/status").text
    eventually(lambda: any(line["user"] == "careless" for line in gateway.access_lines()))
    outputs = [told, pages.encode(), *(Path(gateway.path(name)).read_bytes() for name in ("access", "messages"))]
    assert not [secret for secret in secrets if any(secret.encode() in output for output in outputs)]
    assert b"Traceback" not in told and b"\r\nserver:" not in told.lower()


def payload_of(token: str) -> bytes:
    from issuing import unbase64url

    return unbase64url(token.split(".")[1])
