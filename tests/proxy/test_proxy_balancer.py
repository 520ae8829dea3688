"""Several addresses of one upstream: who is asked, who is left out, who comes back, and what a name means."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from backends import RecordingBackend, plain, raw
from data_plane import DataPlane, Start
from exchanging import Held, alice, request, until

from gateway.config.schema import Upstream
from gateway.proxy.balancer import Balancer, Resolve
from gateway.proxy.health import State


@contextmanager
def refusing() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def hanging() -> Iterator[str]:
    """An address where connects get no answer: a backlog that is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def url(backend: RecordingBackend) -> str:
    return f"http://127.0.0.1:{backend.port}"


def balancer(gateway: DataPlane) -> Balancer:
    found = gateway.plane.pools["app"]
    assert isinstance(found, Balancer)
    return found


def states(gateway: DataPlane) -> list[State]:
    return [pool.health.state for pool in balancer(gateway).pools]


def cell(gateway: DataPlane, name: str) -> float:
    return sum(gateway.cells[at + place] for at, places in _counter(gateway, name) for place in range(places))


def _counter(gateway: DataPlane, name: str) -> list[tuple[int, int]]:
    return [(gateway.layout.upstream_retries["app"], 1)] if name == "retries" else [(gateway.layout.upstream_ejections["app"], 3)]


async def ask_often(gateway: DataPlane, times: int) -> list[int]:
    return [(await gateway.ask(request(token=alice()))).status for _ in range(times)]


async def test_each_request_goes_where_the_fewest_are_under_way(start: Start, backend: RecordingBackend) -> None:
    async with RecordingBackend() as other:
        gateway = await start(url(backend), upstream={"url": [url(backend), url(other)]})
        backend.answer = held = Held(plain())
        other.answer = held
        tasks = []
        for number in range(1, 7):
            tasks.append(asyncio.create_task(gateway.ask(request(token=alice()))))
            await until(lambda number=number: len(backend.requests) + len(other.requests) == number)
        assert (len(backend.requests), len(other.requests)) == (3, 3)
        held.gate.set()
        assert [reply.status for reply in await asyncio.gather(*tasks)] == [200] * 6


async def test_nobody_waits_at_an_address_whose_connection_is_idle(start: Start, backend: RecordingBackend) -> None:
    async with RecordingBackend() as other:
        few = {"url": [url(backend), url(other)], "max_connections": 1, "queue_timeout": "10ms", "connect_timeout": "200ms"}
        gateway = await start(url(backend), upstream=few)
        for number in range(16):  # the choice is made twice: for an idle connection, of which one has none, and for a new one
            balancer(gateway).pools[number % 2].close_idle()
            assert await ask_often(gateway, 3) == [200] * 3


async def test_R16_R20_an_address_that_refuses_costs_no_request_and_is_left_out(start: Start, backend: RecordingBackend) -> None:
    with refusing() as dead:
        gateway = await start(dead, upstream={"url": [dead, url(backend)], "ejection": {"failures": 2}})
        body = request("/", token=alice(), method="POST", body=b"once")
        while State.DOWN not in states(gateway) and State.PROBING not in states(gateway):
            assert (await gateway.ask(body)).status == 200
        assert {received.body for received in backend.requests} == {b"once"}
        assert cell(gateway, "retries") == 2
        assert cell(gateway, "ejections") >= 1
        assert await ask_often(gateway, 5) == [200] * 5
        assert cell(gateway, "retries") == 2


async def test_without_retries_a_refused_connect_is_the_request_s_own(start: Start, backend: RecordingBackend) -> None:
    with refusing() as dead:
        gateway = await start(dead, upstream={"url": [dead, url(backend)], "ejection": {"failures": 2}, "retries": 0})
        answers: list[int] = []
        while State.DOWN not in states(gateway) and State.PROBING not in states(gateway):
            answers += await ask_often(gateway, 1)
    assert answers.count(502) == 2


async def test_R20_who_comes_back_is_found_by_a_probe_and_not_by_a_request(start: Start) -> None:
    with refusing() as dead:
        gateway = await start(dead, upstream={"ejection": {"failures": 1}})
        pool = gateway.plane.pools["app"]
        assert await ask_often(gateway, 1) == [502]
        assert "down" in gateway_state(gateway)
    late = RecordingBackend()
    server = await asyncio.start_server(late._serve, "127.0.0.1", int(dead.rpartition(":")[2]))
    await until(lambda: "up" in gateway_state(gateway))
    assert late.requests == []
    assert await ask_often(gateway, 1) == [200]
    assert late.connections == 1, "the probe's connection is used"
    assert repr(pool) == "<Pool app: 1 idle of 1, 0 opening, 0 waiting>"
    server.close()
    late.close_connections()


def gateway_state(gateway: DataPlane) -> str:
    found = gateway.plane.pools["app"]
    assert not isinstance(found, Balancer)
    return found.health.state.value


async def test_a_dead_upstream_that_hangs_is_waited_for_by_the_first_only_and_holds_up_nobody_else(
    start: Start, backend: RecordingBackend
) -> None:
    with hanging() as dead:
        gateway = await start(
            dead,
            upstream={"connect_timeout": "100ms", "ejection": {"failures": 1}},
        )
        assert await ask_often(gateway, 1) == [502]
        pool = gateway.plane.pools["app"]
        # Nothing is opened for it any more: who asks is told before a connect could have been tried.
        for _ in range(3):
            wait = pool.wait()
            assert wait.is_done
            with pytest.raises(Exception, match="down"):
                await wait


async def test_a_full_queue_is_told_at_once_and_its_clients_keep_their_connections(
    start: Start, backend: RecordingBackend
) -> None:
    gateway = await start(backend.port, upstream={"max_connections": 1, "max_waiting": 1})
    backend.answer = held = Held(plain())
    first = asyncio.create_task(gateway.ask(request("/1", token=alice())))
    await backend.wait_for(lambda: len(backend.requests) == 1)
    second = asyncio.create_task(gateway.ask(request("/2", token=alice())))
    await until(lambda: "1 waiting" in repr(gateway.plane.pools["app"]))
    client = await gateway.connect()
    reply = await client.ask(request("/3", token=alice()))
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")
    held.gate.set()
    assert [(await task).status for task in (first, second)] == [200, 200]
    assert (await client.ask(request("/4", token=alice()))).status == 200
    client.close()


async def test_R16_bad_answers_eject_an_address_but_never_the_last_and_are_not_repeated(
    start: Start, backend: RecordingBackend
) -> None:
    async with RecordingBackend(raw(b"")) as broken:
        gateway = await start(
            url(broken), upstream={"url": [url(broken), url(backend)], "ejection": {"failures": 2, "longest": "1h"}}
        )
        answers: list[int] = []
        while State.EJECTED not in states(gateway):
            answers += await ask_often(gateway, 1)
        assert answers.count(502) == len(broken.requests) == 2
        backend.answer = raw(b"")
        await ask_often(gateway, 4)
        assert states(gateway).count(State.UP) >= 1


async def test_a_status_of_500_is_an_answer(start: Start, backend: RecordingBackend) -> None:
    async with RecordingBackend(plain("500 Broken")) as broken:
        gateway = await start(url(broken), upstream={"url": [url(broken), url(backend)], "ejection": {"failures": 1}})
        await ask_often(gateway, 8)
        assert states(gateway) == [State.UP, State.UP]
        assert cell(gateway, "retries") == 0


async def test_a_check_ejects_who_is_not_well_and_takes_it_back(start: Start, backend: RecordingBackend) -> None:
    async with RecordingBackend(plain("503 Starting")) as other:
        health = {"path": "/healthz", "every": "100ms"}
        gateway = await start(url(other), upstream={"url": [url(other), url(backend)], "health": health})
        await until(lambda: states(gateway) == [State.EJECTED, State.UP])
        asked = len([received for received in other.requests if received.target == b"/"])
        assert await ask_often(gateway, 4) == [200] * 4
        assert len([received for received in other.requests if received.target == b"/"]) == asked
        assert other.requests[0].values("x-user") == []
        other.answer = plain()
        await until(lambda: states(gateway) == [State.UP, State.UP])
        other.answer = backend.answer = plain("503 Ill")
        await until(lambda: states(gateway) == [State.EJECTED, State.EJECTED])
        assert await ask_often(gateway, 1) == [503], "a check may be wrong: bad is better than nobody"


@asynccontextmanager
async def named(gateway: DataPlane, port: int, resolve: Resolve) -> AsyncIterator[Balancer]:
    config = Upstream.model_validate({"url": f"http://shop.test:{port}", "resolve_every": "1s"})
    made = gateway.plane.pools["app"] = Balancer("app", config, gateway.plane, resolve)
    yield made


async def test_R30_all_addresses_of_a_name_are_used_and_connections_to_gone_ones_end(
    gateway: DataPlane, backend: RecordingBackend
) -> None:
    known = ["127.0.0.2"]

    async def resolve(host: str, port: int) -> list[str]:
        assert host == "shop.test"
        return list(known)

    port = backend.port
    other = RecordingBackend()
    server = await asyncio.start_server(other._serve, "127.0.0.2", port)
    async with named(gateway, port, resolve) as upstream:
        await until(lambda: [str(pool.place.address) for pool in upstream.pools] == [f"127.0.0.2:{port}"])
        assert await ask_often(gateway, 1) == [200]
        assert len(other.requests) == 1
        assert other.open_connections == 1
        known[:] = ["127.0.0.1"]
        upstream._hosts[0].due_at = 0.0
        await other.wait_for(lambda: other.open_connections == 0)
        assert await ask_often(gateway, 1) == [200]
        assert len(backend.requests) == 1
    server.close()


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_R30_a_resolver_that_fails_or_hangs_changes_nothing(
    gateway: DataPlane, backend: RecordingBackend, how: str
) -> None:
    asked = 0

    async def resolve(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        if asked == 1:
            return ["127.0.0.1"]
        if how == "fails":
            raise socket.gaierror("no such name")
        await asyncio.Event().wait()
        raise AssertionError

    async with named(gateway, backend.port, resolve) as upstream:
        await until(lambda: asked == 1 and upstream._hosts[0].lookup is None)
        upstream._hosts[0].due_at = 0.0
        await until(lambda: asked == 2)
        assert await ask_often(gateway, 3) == [200] * 3
        assert [str(pool.place.address) for pool in upstream.pools] == [f"127.0.0.1:{backend.port}"]
