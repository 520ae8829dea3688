"""The admin port from outside: a real supervisor, real workers, a real store, aiohttp's client and raw sockets."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from patience import PATIENCE_S
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from store_process import StoreProcess
from supervising import ISSUER, TOKENS, Running, configuration, eventually, running

from gateway import __version__
from gateway.admin.answers import SECURITY_HEADERS
from gateway.admin.schemas import RECEIPT
from gateway.clock import Clock
from gateway.revocation.log import RevocationLog
from gateway.store.client import connect

JSON = {"Content-Type": "application/json"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One for the whole file: nothing here hurts it, and starting one costs two seconds."""
    store = StoreProcess().start()
    client = connect(store.url)
    await RevocationLog(client, Clock(), 2.0).declare()
    await client.aclose()
    async with running(configuration(tmp_path_factory.mktemp("gateway"), store.url)) as gateway:
        yield gateway
    store.close()


async def revoke(gateway: Running, **what: Any) -> tuple[int, dict[str, Any]]:
    status, _, receipt = await gateway.call("POST", "/v1/revocations", json=what)
    return status, receipt


async def raw(gateway: Running, request: bytes) -> bytes:
    host, _, port = gateway.supervisor.admin_address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "what",
    [
        {"token_id": "t-1", "issuer": ISSUER},
        {"token_id": "our-own"},
        {"session": "s-1"},
        {"user": "alice", "issuer": ISSUER, "reason": "left the company"},
        {"user": "älïce 北京"},
        {"key": "k-1"},
    ],
)
async def test_W3_a_revocation_answers_with_its_receipt(gateway: Running, what: dict[str, str]):
    status, receipt = await revoke(gateway, **what)
    assert status == 201
    assert set(receipt) == set(RECEIPT["required"])
    assert (receipt["enforced_by"], receipt["fenced"], receipt["workers"]) == (2, 0, 2)
    assert (receipt["complete"], receipt["durable"]) == (True, True)
    assert receipt["took_ms"] > 0


async def test_L7_a_revocation_can_be_undone_once(gateway: Running):
    _, receipt = await revoke(gateway, user="alice")
    status, _, lifted = await gateway.call("DELETE", f"/v1/revocations/{receipt['id']}")
    assert (status, lifted["complete"], lifted["enforced_by"]) == (200, True, 2)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("0" * 31 + "1", "it never was, or it has expired"),
        ("deadbeef", "an id has 32 hexadecimal digits, this has 8"),
        ("x" * 32, "an id has 32 hexadecimal digits, this has other characters"),
    ],
)
async def test_an_undo_of_nothing_says_why(gateway: Running, name: str, why: str):
    status, _, problem = await gateway.call("DELETE", f"/v1/revocations/{name}")
    assert (status, problem["detail"]) == (404, why)


@pytest.mark.parametrize("name", ["0" * 31 + "1", "unknown", "..", "%2e%2e", "a" * 5000, "*"])
async def test_what_was_never_revoked_cannot_be_undone(gateway: Running, name: str):
    answer = await raw(
        gateway,
        f"DELETE /v1/revocations/{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[0]}\r\n"
        "Connection: close\r\n\r\n".encode(),
    )
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"token_id"}),
        ({"reason": "none"}, {"token_id"}),
        ({"user": "alice", "session": "s"}, {"user"}),
        ({"user": "alice", "sesion": "s"}, {"sesion"}),
        ({"user": ""}, {"user"}),
        ({"user": 1}, {"user"}),
        ({"user": None}, {"user"}),
        ({"user": ["alice"]}, {"user"}),
        ({"user": "x" * 513}, {"user"}),
        ({"user": "a\r\nb"}, {"user"}),
        ({"user": "a\x00"}, {"user"}),
        ({"user": "alice", "issuer": "https://evil.example"}, {"issuer"}),
        ({"user": "alice", "reason": "x" * 513, "at": 1}, {"reason", "at"}),
    ],
)
async def test_A02_every_wrong_field_is_named(gateway: Running, body: dict[str, Any], fields: set[str]):
    status, headers, problem = await gateway.call("POST", "/v1/revocations", json=body)
    assert status == 422
    assert headers["Content-Type"] == "application/problem+json"
    assert set(problem["errors"]) == fields


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"user":"alice"', JSON, 400),
        (b'{"user":"alice","user":"bob"}', JSON, 400),
        (b'{"user":NaN}', JSON, 400),
        (b'\xef\xbb\xbf{"user":"alice"}', JSON, 400),
        (b'{"user":"\xff"}', JSON, 400),
        (b'{"user":"alice"}', {}, 415),
        (b'{"user":"alice"}', {"Content-Type": "text/plain"}, 415),
        (b'{"user":"alice"}', {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"user":"alice"}', {"Content-Type": "application/json; charset=latin-1"}, 415),
        (b'{"user":"alice"}', {"Content-Type": "application/json; charset=utf-8"}, 201),
        (b'{"user":"%s"}' % (b"a" * 17_000), JSON, 413),
    ],
)
async def test_A02_a_body_that_is_not_plain_json_is_refused(
    gateway: Running, body: bytes, headers: dict[str, str], expected: int
):
    skipped = {"skip_auto_headers": ["Content-Type"]}
    status, _, _ = await gateway.call("POST", "/v1/revocations", data=body, headers=headers, **skipped)
    assert status == expected


async def test_A02_a_chunked_body_is_bounded_too(gateway: Running):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    status, _, _ = await gateway.call("POST", "/v1/revocations", data=endless(), headers=JSON)
    assert status in {400, 413}


async def test_A02_the_same_revocation_twice_and_at_once_is_harmless(gateway: Running):
    answers = await asyncio.gather(*(revoke(gateway, user="alice") for _ in range(20)))
    assert {status for status, _ in answers} == {201}
    assert len({receipt["id"] for _, receipt in answers}) == 20


GUARDED = [("GET", "/v1/status"), ("POST", "/v1/revocations"), ("GET", "/openapi.json"), ("GET", "/v1/unknown"), ("GET", "/x")]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKENS[0][:-1]])
async def test_B3_without_the_token_nothing_is_told(gateway: Running, method: str, path: str, token: str | None):
    status, headers, problem = await gateway.call(method, path, token)
    assert (status, problem["title"]) == (401, "The admin token is required")
    assert headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", TOKENS)
async def test_B3_two_tokens_live_and_are_named_in_the_log(gateway: Running, token: str, caplog: pytest.LogCaptureFixture):
    status, _, _ = await gateway.call("POST", "/v1/revocations", token, json={"user": "alice"})
    assert status == 201
    assert f'by="admin token {TOKENS.index(token) + 1}"' in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize(("host", "expected"), [("localhost", 200), ("ops.internal:1", 200), ("evil.example", 403)])
async def test_B3_a_foreign_host_is_refused(gateway: Running, host: str, expected: int):
    assert (await gateway.call("GET", "/v1/status", headers={"Host": host}))[0] == expected
    assert (await gateway.call("GET", "/", None, headers={"Host": host}))[0] == expected


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz"])
async def test_B3_scrapers_and_probes_need_neither_name_nor_token(gateway: Running, path: str):
    assert (await gateway.call("GET", path, None, headers={"Host": "pod-17.example"}))[0] == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_A01_a_page_of_another_site_is_refused_even_with_the_token(gateway: Running, headers: dict[str, str]):
    status, _, _ = await gateway.call("POST", "/v1/revocations", json={"user": "alice"}, headers=headers)
    assert status == 403


@pytest.mark.parametrize(
    "target",
    [
        "//metrics", "/metrics/", "/./metrics", "/x/../v1/status", "/metrics/../v1/status", "/v1/status;a", "/V1/STATUS",
        "/%761/status", "http://localhost/v1/status", "/metrics%00", "/v1//status",
    ],
)  # fmt: skip
async def test_A01_path_tricks_reach_nothing(gateway: Running, target: str):
    answer = await raw(gateway, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))
    answer = await raw(
        gateway,
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[0]}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\x00\x01 <script>\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: SECRET-BYTES\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/revocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: SECRET-BYTES\r\n\r\n",
    ],
)
async def test_O06_a_broken_request_is_answered_in_our_words(
    gateway: Running, request_bytes: bytes, caplog: pytest.LogCaptureFixture
):
    answer = await raw(gateway, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    assert b"Server:" not in head
    assert b"nosniff" in head
    assert json.loads(body)["title"] in {"The request cannot be read", "The admin token is required"}
    assert b"SECRET-BYTES" not in answer
    assert b"aiohttp" not in answer
    assert "Traceback" not in caplog.text


async def test_every_answer_has_the_strict_headers_and_names_no_server(gateway: Running):
    for method, path in [*GUARDED, ("GET", "/metrics"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/"), ("PUT", "/livez")]:
        _, headers, _ = await gateway.call(method, path)
        assert "Server" not in headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
    # The page has a policy of its own: test_admin_page.py.
    headers = (await gateway.call("GET", "/", None))[1]
    assert all(headers[name] == value for name, value in SECURITY_HEADERS.items() if name != "Content-Security-Policy")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/metrics", "GET"),
        ("GET", "/v1/revocations", "POST"),
        ("GET", "/v1/revocations/x", "DELETE"),
        ("PUT", "/livez", "GET"),
    ],
)
async def test_another_method_is_405_and_names_what_is_served(gateway: Running, method: str, path: str, allowed: str):
    status, headers, _ = await gateway.call(method, path)
    assert (status, headers["Allow"]) == (405, allowed)


async def test_head_is_answered_without_a_body(gateway: Running):
    assert (await gateway.call("HEAD", "/livez", None))[::2] == (200, "")


async def test_status_tells_what_an_operator_asks_first(gateway: Running):
    _, receipt = await revoke(gateway, user="alice")
    await eventually(lambda: {worker.reading.position for worker in gateway.supervisor.workers()} != {0})
    status, _, document = await gateway.call("GET", "/v1/status")
    assert status == 200
    assert receipt["complete"]
    assert (document["version"], document["ready"]) == (__version__, True)
    assert document["config"].endswith("/gateway.yaml")
    assert [worker["pid"] for worker in document["workers"]] == gateway.pids()
    for index, worker in enumerate(document["workers"]):
        assert (worker["index"], worker["state"], worker["ready"], worker["restarts"]) == (index, "running", True, 0)
        assert (worker["replica"], worker["connections"]) == ("live", {"client": 1, "upstream": 0})
        assert worker["lag_ms"] < 2000
        assert len(worker["incarnation"]) == 32
    assert document["store"]["up"] is True
    assert document["store"]["head"] >= 1
    assert document["store"]["members"] == 2
    assert document["issuers"] == [{"issuer": ISSUER, "keys": [0, 0], "fetched_at": None}]
    nothing = {"up": 0, "ejected": 0, "down": 0}
    (upstream,) = document["upstreams"]
    assert (upstream["name"], upstream["up"], upstream["addresses"]) == ("app", True, nothing)
    assert [set(server) for server in upstream["servers"]] == [{"address", *nothing}]
    assert not any(token in json.dumps(document) for token in TOKENS)


async def test_the_document_names_every_endpoint_and_no_other(gateway: Running):
    _, _, document = await gateway.call("GET", "/openapi.json")
    _, _, page = await gateway.call("GET", "/")
    told = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert told == {line.removeprefix("<li>") for line in page.splitlines() if line.startswith("<li>")}
    assert document["openapi"] == "3.1.0"


async def test_metrics_are_openmetrics_for_those_who_ask(gateway: Running):
    await revoke(gateway, user="alice")
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    _, headers, page = await gateway.call("GET", "/metrics", None, headers=accept)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert page.endswith("# EOF\n")
    assert "gateway_workers" in {family.name for family in text_string_to_metric_families(page)}


async def keys_revoked(gateway: Running) -> float:
    page = (await gateway.call("GET", "/metrics", None))[2]
    found = re.search(r'gateway_revocations_total\{kind="key",source="api"\} (\S+)', page)
    assert found is not None
    return float(found[1])


async def test_a_revocation_is_counted_by_kind(gateway: Running):
    before = await keys_revoked(gateway)
    await revoke(gateway, key="k-1")
    async with asyncio.timeout(PATIENCE_S):
        while await keys_revoked(gateway) != before + 1:
            pass


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
async def test_promtool_finds_nothing_in_a_live_scrape(gateway: Running):
    await revoke(gateway, user="alice")
    _, _, page = await gateway.call("GET", "/metrics", None)
    check = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=page, text=True, capture_output=True, check=False
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
