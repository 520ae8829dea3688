"""`GET /v1/audit`: filters, pages, lines, and waiting for what comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from store_process import StoreProcess
from supervising import TOKENS, Running, configuration, eventually, running

from gateway.admin.desk import MOST_FOLLOWERS
from gateway.clock import Clock
from gateway.revocation.log import RevocationLog
from gateway.store.client import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    store = StoreProcess().start()
    client = connect(store.url)
    await RevocationLog(client, Clock(), 2.0).declare()
    await client.aclose()
    async with running(configuration(tmp_path_factory.mktemp("gateway"), store.url)) as gateway:
        yield gateway
    store.close()


async def blocks(gateway: Running, user: str, count: int = 1) -> None:
    for number in range(count):
        assert (await gateway.call("POST", f"/v1/users/{user}/block", json={"reason": f"no. {number}"}))[0] == 201


async def audit(gateway: Running, **parameters: Any) -> dict[str, Any]:
    status, _, page = await gateway.call("GET", "/v1/audit", params=parameters)
    assert status == 200, page
    return dict(page)


async def test_whoever_acted_reads_of_it_at_once(gateway: Running):
    await blocks(gateway, "at-once")
    event = (await audit(gateway, limit=1))["events"][0]
    assert (event["action"], event["user"], event["text"]) == ("blocked", "at-once", "no. 0")
    assert event["source"] == "admin token 1"


async def test_pages_lead_from_the_newest_to_the_oldest(gateway: Running):
    await blocks(gateway, "pages", 5)
    told, cursor = [], ""
    while True:
        page = await audit(gateway, user="pages", limit=2, **({"cursor": cursor} if cursor else {}))
        told += [event["text"] for event in page["events"]]
        assert len(page["events"]) <= 2
        if (cursor := page["cursor"]) is None:
            break
    assert told == [f"no. {number}" for number in (4, 3, 2, 1, 0)]
    assert (await audit(gateway, cursor="0-0"))["events"] == []


async def test_filters(gateway: Running):
    before = time.time()
    await blocks(gateway, "filtered")
    await gateway.call("DELETE", "/v1/users/filtered/block")
    actions = [event["action"] for event in (await audit(gateway, user="filtered"))["events"]]
    assert actions == ["unblocked", "blocked"]
    assert len((await audit(gateway, user="filtered", action="blocked"))["events"]) == 1
    assert len((await audit(gateway, user="filtered", since="1h"))["events"]) == 2
    assert len((await audit(gateway, user="filtered", since=f"{before - 1:.3f}"))["events"]) == 2
    assert (await audit(gateway, user="filtered", until=f"{before - 5:.3f}"))["events"] == []
    assert (await audit(gateway, user="nobody"))["events"] == []


async def lines(gateway: Running, parameters: dict[str, str], accept: str = "*/*") -> tuple[list[dict[str, Any]], Any]:
    """The documents, one per line, and the headers."""
    headers = {"Authorization": f"Bearer {TOKENS[0]}", "Accept": accept}
    address = f"{gateway.supervisor.admin_address}/v1/audit"
    async with gateway.client.get(address, params=parameters, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        return [json.loads(line) for line in (await answer.text()).splitlines()], answer.headers


async def test_lines_are_for_programs_that_read_lines(gateway: Running):
    await blocks(gateway, "lines", 3)
    for parameters, accept in (({"format": "lines"}, "*/*"), ({}, "application/x-ndjson"), ({}, "application/jsonl")):
        told, headers = await lines(gateway, {"user": "lines", "limit": "2", **parameters}, accept)
        assert [event["text"] for event in told] == ["no. 2", "no. 1"]
        assert headers["X-Gateway-Cursor"] == told[-1]["id"]
    told, _ = await lines(gateway, {"user": "lines", "format": "ocsf"})
    assert {event["type_uid"] for event in told} == {300109}


async def test_following_begins_now_and_waits_for_what_comes(gateway: Running):
    await blocks(gateway, "followed")
    now = await audit(gateway, follow="", user="followed")
    assert now["events"] == []
    waiting = asyncio.create_task(audit(gateway, follow="", user="followed", cursor=now["cursor"], wait=20))
    await blocks(gateway, "somebody-else")
    await blocks(gateway, "followed")
    page = await waiting
    assert [event["user"] for event in page["events"]] == ["followed"]
    again = await audit(gateway, follow="", user="followed", cursor=page["cursor"])
    assert (again["events"], again["cursor"]) == ([], again["cursor"])


async def test_following_from_a_moment_is_oldest_first(gateway: Running):
    await blocks(gateway, "moment", 3)
    page = await audit(gateway, follow="", since="1h", user="moment")
    assert [event["text"] for event in page["events"]] == ["no. 0", "no. 1", "no. 2"]


async def test_B1_so_many_may_wait_and_no_more(gateway: Running):
    parameters = {"follow": "", "user": "never", "wait": "30"}
    asked = [asyncio.create_task(gateway.call("GET", "/v1/audit", params=parameters)) for _ in range(MOST_FOLLOWERS + 3)]
    await eventually(lambda: sum(one.done() for one in asked) >= 3)
    refused = [one.result() for one in asked if one.done()]
    assert [(status, headers["Retry-After"]) for status, headers, _ in refused] == [(503, "2")] * 3
    assert {problem["title"] for _, _, problem in refused} == {"Too many follow the audit trail"}
    assert (await gateway.call("POST", "/v1/users/never/block"))[0] == 201
    answers = await asyncio.gather(*asked)
    assert sum(len(page["events"]) for status, _, page in answers if status == 200) == MOST_FOLLOWERS


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"action": "login "}, "action"),
        ({"action": ""}, "action"),
        ({"user": ""}, "user"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "1-2-3", "follow": ""}, "cursor"),
        ({"since": "soon"}, "since"),
        ({"wait": "31"}, "wait"),
        ({"wait": "1.5", "follow": ""}, "wait"),
        ({"format": "xml"}, "format"),
        ({"usr": "alice"}, "usr"),
    ],
)
async def test_A02_every_wrong_parameter_is_named(gateway: Running, parameters: dict[str, str], wrong: str):
    status, _, problem = await gateway.call("GET", "/v1/audit", params=parameters)
    assert (status, set(problem["errors"])) == (422, {wrong})


@pytest.mark.parametrize("query", ["user=%ff", "user=%", "user=%zz", "&".join(f"a{n}=1" for n in range(20))])
async def test_A02_a_query_that_is_none_is_refused(gateway: Running, query: str):
    address = gateway.supervisor.admin_address.removeprefix("http://")
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET /v1/audit?{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[0]}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.read()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))
    writer.close()


async def test_a_parameter_that_comes_twice_is_refused(gateway: Running):
    status, _, problem = await gateway.call("GET", "/v1/audit", params=[("user", "alice"), ("user", "bob")])
    assert (status, problem["errors"]) == (422, {"user": "comes twice"})
