"""curl through the gateway, with what its users type: HTTP/1.0, HEAD, uploads, `Expect`, several URLs on one connection."""

import json
import shutil
import subprocess

import pytest
from running_gateway import RunningGateway

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(*arguments: str, given: bytes = b"") -> str:
    """What curl prints, on both outputs."""
    done = subprocess.run(["curl", "-sS", "-m", "20", *arguments], input=given, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode()


def shown(token: str) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {token}"


def test_a_request_with_a_token(gateway: RunningGateway):
    answer = json.loads(curl(*shown(gateway.token(sub="carla")), f"{gateway.url}/who?a=1&b=%2F"))
    assert answer["user"] == "carla"
    assert answer["path"] == "/who?a=1&b=%2F"
    fields = {name.lower(): value for name, value in answer["headers"]}
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-host"] == gateway.url.removeprefix("http://")
    assert "authorization" not in fields


def test_a_refusal_is_problem_json_with_a_challenge(gateway: RunningGateway):
    head, _, body = curl("-i", f"{gateway.url}/who").partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 401 ")
    assert "X-Gateway-Reason: no-token" in head
    assert "WWW-Authenticate: Bearer" in head
    assert "Content-Type: application/problem+json" in head
    problem = json.loads(body)
    assert (problem["status"], problem["reason"]) == (401, "no-token")
    assert f"X-Request-Id: {problem['request_id']}" in head


def test_a_person_gets_a_page(gateway: RunningGateway):
    answer = curl("-i", "-H", "Accept: text/html", f"{gateway.url}/who", *shown("a.b.c"))
    assert "Content-Type: text/html" in answer
    assert "The token is malformed" in answer


def test_http_1_0(gateway: RunningGateway):
    answer = curl("-i", "--http1.0", *shown(gateway.token(sub="carla")), f"{gateway.url}/who")
    assert answer.startswith("HTTP/1.1 200 ")
    assert '"user": "carla"' in answer


def test_head_has_no_body(gateway: RunningGateway):
    assert curl("-I", *shown(gateway.token()), f"{gateway.url}/bytes?n=1000").count("\r\n\r\n") == 1


def test_several_requests_go_over_one_connection(gateway: RunningGateway):
    urls = [f"{gateway.url}/bytes?n=5"] * 3
    answers = curl(*shown(gateway.token()), "-w", "[%{num_connects}]", *urls)
    assert answers.count("[1]") == 1
    assert answers.count("[0]") == 2


def test_an_upload_that_waits_for_100_continue(gateway: RunningGateway):
    body = b"x" * 3_000_000
    sent = curl(
        "-v", *shown(gateway.token()), "-H", "Expect: 100-continue", "--data-binary", "@-", f"{gateway.url}/sum", given=body
    )
    assert "HTTP/1.1 100 Continue" in sent
    assert f'"bytes": {len(body)}' in sent


def test_an_upload_is_not_invited_before_the_decision(gateway: RunningGateway):
    refused = curl("-v", "-H", "Expect: 100-continue", "--data-binary", "@-", f"{gateway.url}/sum", given=b"x" * 3_000_000)
    assert "100 Continue" not in refused
    assert "401 " in refused


def test_an_upload_in_chunks(gateway: RunningGateway):
    body = bytes(range(256)) * 5000
    assert f'"bytes": {len(body)}' in curl(*shown(gateway.token()), "-T", "-", f"{gateway.url}/sum", given=body)


def test_a_path_that_climbs_is_refused(gateway: RunningGateway):
    for path in ("/public/../who", "/public/%2e%2e/who", "/public/..%2fwho"):
        assert "bad-request" in curl("-i", "--path-as-is", f"{gateway.url}{path}")
