"""Live connections end with their session: WebSockets with close code 1008, event streams and downloads by a torn connection.

The client and the server are the `websockets` library and aiohttp; nothing of it is ours.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from patience import PATIENCE_S
from running_gateway import RunningGateway, eventually
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


def socket_of(gateway: RunningGateway, token: str | None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return connect(f"ws://127.0.0.1:{gateway.port}/echo", additional_headers=headers, proxy=None)


async def test_messages_of_every_size_come_back(gateway: RunningGateway):
    async with socket_of(gateway, gateway.token(sub="wendy")) as client:
        assert await client.recv() == "user wendy"
        for message in ("", "short", b"\x00" * 70_000, "long " * 40_000, ["in ", "frag", "ments"]):
            await client.send(message)
            assert await client.recv() == ("in fragments" if isinstance(message, list) else message)
        await asyncio.wait_for(await client.ping(), PATIENCE_S)
    assert client.close_code == 1000


async def test_an_upgrade_without_a_good_token_is_refused_as_any_request(gateway: RunningGateway):
    with pytest.raises(InvalidStatus) as refused:
        await socket_of(gateway, None)
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["X-Gateway-Reason"] == "no-token"


@pytest.mark.parametrize(("subject", "claim"), [("session", "sid"), ("user", "sub")])
async def test_revocation_closes_the_websockets_of_both_workers_with_1008(gateway: RunningGateway, subject: str, claim: str):
    name = f"websocket-{subject}"
    async with sockets(gateway, gateway.token(**{claim: name}), 12) as doomed, sockets(gateway, gateway.token(), 4) as spared:
        await asyncio.to_thread(gateway.revoke, **{subject: name})
        for client in doomed:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(client.recv(), PATIENCE_S)
            assert (client.close_code, client.close_reason) == (1008, "session ended")
        for client in spared:
            await client.send("still here")
            assert await asyncio.wait_for(client.recv(), PATIENCE_S) == "still here"


async def test_a_websocket_ends_when_its_token_expires(gateway: RunningGateway):
    now = int(time.time())
    # Already expired, within the leeway of 30 s that is forgiven: a second or two are left.
    async with socket_of(gateway, gateway.token(iat=now - 60, exp=now - 28)) as client:
        await client.recv()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), PATIENCE_S)
        assert client.close_code == 1008


def test_an_event_stream_is_torn_off_and_never_looks_complete(gateway: RunningGateway):
    token = gateway.token(sid="event-stream")
    with (
        httpx.Client(timeout=PATIENCE_S, trust_env=False) as client,
        client.stream("GET", f"{gateway.url}/ticks", headers={"Authorization": f"Bearer {token}"}) as answer,
    ):
        lines = (line for line in answer.iter_lines() if line)
        assert [next(lines) for _ in range(3)] == ["data: tick 1", "data: tick 2", "data: tick 3"]
        gateway.revoke(session="event-stream")
        with pytest.raises(httpx.TransportError):
            for _ in lines:
                pass


def test_W1_a_receipt_comes_after_the_end_of_every_connection_that_it_speaks_of(gateway: RunningGateway):
    token = gateway.token(sub="crowd")
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(begun_stream(gateway, token)) for _ in range(120)]
        gateway.revoke(user="crowd")
        assert [has_ended(client) for client in crowd] == [True] * len(crowd)


def test_a_download_under_way_is_torn_off(gateway: RunningGateway):
    token = gateway.token(sub="downloader")
    with raw_download(gateway, token, 1 << 30) as client:
        assert client.recv(65536)
        gateway.revoke(user="downloader")
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(1 << 20):
                received += len(piece)
        assert received < 1 << 30
    eventually(lambda: gateway.metrics()['gateway_connections_cut_total{cause="user"}'] >= 1)


@contextlib.asynccontextmanager
async def sockets(gateway: RunningGateway, token: str, number: int) -> AsyncIterator[list[ClientConnection]]:
    """So many WebSockets, each greeted by the application."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(socket_of(gateway, token)) for _ in range(number)]
        for client in opened:
            assert str(await client.recv()).startswith("user ")
        yield opened


@contextlib.contextmanager
def raw_download(gateway: RunningGateway, token: str, size: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as client:
        client.sendall(f"GET /bytes?n={size} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        yield client


@contextlib.contextmanager
def begun_stream(gateway: RunningGateway, token: str) -> Iterator[socket.socket]:
    """An event stream whose answer has begun."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as client:
        client.sendall(f"GET /ticks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        yield client


def has_ended(client: socket.socket) -> bool:
    """Whether the end of the connection is here already, without waiting for it."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True
