"""`GET /openapi.json`: valid, complete, and true: whatever it says can be asked is asked of a running gateway.

The generated requests come from schemathesis, a program of its own; its seed is fixed, and a run takes some seconds.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
from schemathesis.specs.openapi.definitions import OPENAPI_31
from store_process import StoreProcess
from supervising import TOKENS, Running, configuration, running

from gateway.admin.openapi import document
from gateway.clock import Clock
from gateway.revocation.log import RevocationLog
from gateway.store.client import connect

ALICE = {"email": "alice@example.com", "password": "seven green horses", "groups": ["staff"]}
# What no schema can say: an address is one, a password is no common one, an issuer is configured, text is printable.
BEYOND_THE_SCHEMA = "positive_data_acceptance"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    store = StoreProcess().start()
    client = connect(store.url)
    await RevocationLog(client, Clock(), 2.0).declare()
    await client.aclose()
    async with running(configuration(tmp_path_factory.mktemp("gateway"), store.url)) as gateway:
        assert (await gateway.call("POST", "/v1/users", json=ALICE))[0] == 201
        yield gateway
    store.close()


async def test_the_document_is_valid(gateway: Running):
    _, _, told = await gateway.call("GET", "/openapi.json")
    assert told == document()
    assert [str(error) for error in jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(told)] == []
    for name, schema in told["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator({"components": told["components"], **schema})  # raises when it is none
        assert name[0].isupper()


async def test_every_operation_says_what_a_program_needs(gateway: Running):
    operations = [operation for methods in document()["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) == len(operations)
    for operation in operations:
        assert operation["summary"].endswith(".")
        assert all(answer["description"] for answer in operation["responses"].values())
        is_open = "security" not in operation
        assert is_open == ("401" not in operation["responses"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/users", None),
        ("GET", "/v1/users/{user}", None),
        ("GET", "/v1/users/{user}/sessions", None),
        ("PUT", "/v1/users/{user}/groups", {"groups": ["staff"]}),
        ("POST", "/v1/users/{user}/block", None),
        ("GET", "/v1/users/{user}/block", None),
        ("DELETE", "/v1/users/{user}/block", None),
        ("DELETE", "/v1/users/{user}/sessions", None),
        ("POST", "/v1/keys/rotate", {}),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/status", None),
        ("GET", "/v1/audit", None),
        ("GET", "/v1/decisions", None),
        ("POST", "/v1/purge", {}),
    ],
)
async def test_an_answer_is_what_the_document_says_and_nothing_more(
    gateway: Running, method: str, path: str, body: dict[str, Any] | None
):
    told = document()
    status, _, answer = await gateway.call(method, path.replace("{user}", "alice@example.com"), json=body)
    content = told["paths"][path][method.lower()]["responses"][str(status)]["content"]
    schema = content["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    validator = jsonschema_rs.Draft202012Validator({"components": told["components"], **schema})
    assert [str(error) for error in validator.iter_errors(answer)] == []
    assert set(answer) <= set(told["components"]["schemas"][name]["properties"])


async def test_whatever_the_document_allows_is_answered_as_it_says(gateway: Running, tmp_path: Path):
    asked = document()
    follow = asked["paths"]["/v1/audit"]["get"]
    follow["parameters"] = [one for one in follow["parameters"] if one["name"] != "wait"]  # half a minute, where it is told so
    written = tmp_path / "openapi.json"
    written.write_text(json.dumps(asked))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", str(written), "--url", gateway.supervisor.admin_address),
        *("--header", f"Authorization: Bearer {TOKENS[0]}", "--phases", "examples,coverage,fuzzing"),
        *("--checks", "all", "--exclude-checks", BEYOND_THE_SCHEMA, "--max-examples", "5", "--seed", "1"),
        *("--generation-database", "none", "--no-shrink", "--warnings", "off", "--no-color"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-6000:]
    operations = sum(len(methods) for methods in asked["paths"].values())
    assert f"Tested: {operations}" in output.decode()
