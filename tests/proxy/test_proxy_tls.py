"""TLS towards applications, which are verified, and towards clients; and sockets that need none."""

import asyncio
import contextlib
import os
import resource
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from backends import RecordingBackend, plain
from certificates import Certificate, authority, issued, self_signed
from data_plane import DataPlane, RawClient, Start, configuration, data_plane
from exchanging import alice, closed_without_an_answer, request, until
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gateway.config.load import load
from gateway.proxy.handshake import _refuse_if_left
from gateway.proxy.listener import Listener, bind_shared, server_tls


@asynccontextmanager
async def tls_backend(certificate: Certificate, folder: Path) -> AsyncIterator[RecordingBackend]:
    """An application that speaks TLS."""
    backend = RecordingBackend()
    backend.server = await asyncio.start_server(
        backend._serve, "127.0.0.1", 0, ssl=certificate.server_context(folder), limit=1 << 20
    )
    try:
        yield backend
    finally:
        backend.server.close()
        backend.close_connections()


@pytest.fixture
def authorities(tmp_path: Path) -> str:
    """The file of the authorities to trust."""
    return str(authority().written(tmp_path, "authority")[0])


# Towards applications.


@pytest.mark.parametrize(
    "certificate",
    [self_signed(), issued("other.example"), issued(is_expired=True)],
    ids=["self-signed", "for another name", "expired"],
)
async def test_an_upstream_that_cannot_prove_who_it_is_gets_nothing(
    start: Start, tmp_path: Path, authorities: str, certificate: Certificate
) -> None:
    async with tls_backend(certificate, tmp_path) as backend:
        gateway = await start(f"https://localhost:{backend.port}", upstream={"tls": {"ca": authorities}})
        reply = await gateway.ask(request(token=alice()))
        assert (reply.status, reply.reason) == (502, "upstream-unreachable")
        assert backend.requests == []


async def test_an_authority_of_ones_own_is_not_trusted_unless_it_is_named(start: Start, tmp_path: Path) -> None:
    async with tls_backend(issued(), tmp_path) as backend:
        gateway = await start(f"https://localhost:{backend.port}")
        assert (await gateway.ask(request(token=alice()))).status == 502
        assert backend.requests == []


async def test_an_upstream_of_ones_own_authority_is_reached_and_its_connection_used_again(
    start: Start, tmp_path: Path, authorities: str
) -> None:
    async with tls_backend(issued(), tmp_path) as backend:
        gateway = await start(f"https://localhost:{backend.port}", upstream={"tls": {"ca": authorities}})
        body = bytes(2 << 20)
        backend.answer = plain("200 OK", body)
        for _ in range(3):
            reply = await gateway.ask(request(token=alice(), method="POST", body=body))
            assert (reply.status, reply.body) == (200, body)
        assert backend.connections == 1
        assert [received.body for received in backend.requests] == [body] * 3


@pytest.mark.parametrize(
    ("certificate", "settings"),
    [(issued("other.example"), {"server_name": "other.example"}), (self_signed("whoever.example"), {"verify": False})],
    ids=["by another name", "not verified"],
)
async def test_what_is_verified_of_an_upstream_can_be_chosen(
    start: Start, tmp_path: Path, authorities: str, certificate: Certificate, settings: dict[str, Any]
) -> None:
    async with tls_backend(certificate, tmp_path) as backend:
        gateway = await start(f"https://localhost:{backend.port}", upstream={"tls": {"ca": authorities} | settings})
        assert (await gateway.ask(request(token=alice()))).status == 200


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder in which a socket's path is short enough for the kernel."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    yield folder
    shutil.rmtree(folder)


async def test_an_upstream_may_be_a_unix_socket(start: Start, short_folder: Path) -> None:
    backend = RecordingBackend()
    server = await asyncio.start_unix_server(backend._serve, short_folder / "app")
    gateway = await start(f"unix:{short_folder / 'app'}")
    assert (await gateway.ask(request(token=alice()))).status == 200
    assert (await gateway.ask(b"GET /public/ HTTP/1.0\r\n\r\n")).status == 200
    assert [received.values("host") for received in backend.requests] == [[b"shop.example"], [b"localhost"]]
    assert backend.connections == 1
    server.close()
    backend.close_connections()


async def test_a_unix_socket_that_is_not_there_is_unreachable(start: Start, short_folder: Path) -> None:
    gateway = await start(f"unix:{short_folder / 'nobody'}")
    reply = await gateway.ask(request(token=alice()))
    assert (reply.status, reply.reason) == (502, "upstream-unreachable")


# Towards clients.


class TLSDataPlane:
    """A data plane that speaks TLS on one port."""

    def __init__(self, gateway: DataPlane, port: int, context: ssl.SSLContext) -> None:
        self.gateway = gateway
        self.port = port
        self.context = context

    async def connect(self, **options: Any) -> RawClient:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost", limit=1 << 24, **options
        )
        return RawClient(reader, writer)


async def plain_client(port: int) -> RawClient:
    """One that has connected, and does not begin to speak TLS."""
    return RawClient(*await asyncio.open_connection("127.0.0.1", port))


def verifying(authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@asynccontextmanager
async def over_tls(folder: Path, authorities: str, url: str, **changes: Any) -> AsyncIterator[TLSDataPlane]:
    certificate, key = issued().written(folder, "gateway")
    changes["timeouts"] = {"drain": "100ms"} | changes.get("timeouts", {})
    path = configuration(folder, url, tls={"certificate": str(certificate), "key": str(key)}, **changes)
    settings = load(path).config.tls
    assert settings is not None
    async with data_plane(path) as gateway:
        listener = Listener(gateway.plane, server_tls(settings))
        bound = bind_shared("127.0.0.1", 0)
        await listener.start([bound])
        yield TLSDataPlane(gateway, bound.getsockname()[1], verifying(authorities))
        for client in tuple(gateway.plane.clients):
            client.transport.abort()
        await listener.drain()


async def test_a_client_speaks_HTTP_1_1_over_TLS(tmp_path: Path, authorities: str, backend: RecordingBackend) -> None:
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}") as gateway:
        client = await gateway.connect()
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        body = bytes(2 << 20)
        backend.answer = plain("200 OK", body)
        for _ in range(2):
            reply = await client.ask(request(token=alice(), method="POST", body=body))
            assert (reply.status, reply.body) == (200, body)
        assert [received.values("x-forwarded-proto") for received in backend.requests] == [[b"https"]] * 2
        client.close()


async def test_the_last_answer_over_TLS_arrives_whole(tmp_path: Path, authorities: str, backend: RecordingBackend) -> None:
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}") as gateway:
        body = bytes(2 << 20)
        backend.answer = plain("200 OK", body)
        client = await gateway.connect()
        reply = await client.ask(request("/", "Connection: close", token=alice()))
        assert (reply.body, reply.value("Connection")) == (body, "close")
        assert await client.read_to_end() == b""
        refused = await gateway.connect()
        assert (await refused.ask(request("/a b"))).status == 400
        await closed_without_an_answer(refused)


async def test_a_websocket_over_TLS_reaches_an_application_without(tmp_path: Path, authorities: str) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with over_tls(tmp_path, authorities, url) as gateway:
            context = ssl.create_default_context(cafile=authorities)
            headers = {"Authorization": f"Bearer {alice()}"}
            address = f"wss://localhost:{gateway.port}/"
            async with connect(address, ssl=context, additional_headers=headers) as echoing:
                await echoing.send("x" * 100_000)
                assert await echoing.recv() == "x" * 100_000
            await until(lambda: not gateway.gateway.plane.clients)


async def test_whoever_does_not_speak_TLS_gets_nothing(tmp_path: Path, authorities: str, backend: RecordingBackend) -> None:
    settings = {"timeouts": {"tls_handshake": "100ms"}}
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}", **settings) as gateway:
        for sent in (request(token=alice()), b""):
            client = RawClient(*await asyncio.open_connection("127.0.0.1", gateway.port))
            await client.send(sent)
            assert not (await client.read_to_end()).startswith(b"HTTP/")
        assert backend.connections == 0


async def test_a_connection_counts_from_the_moment_it_is_accepted_however_silent_it_is(
    tmp_path: Path, authorities: str, backend: RecordingBackend
) -> None:
    """One address may have three connections, whether or not it speaks TLS on them; another one notices nothing."""
    settings = {"limits": {"per_client": 3}, "timeouts": {"tls_handshake": "1m"}}
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}", **settings) as gateway:
        plane = gateway.gateway.plane
        silent = [await plain_client(gateway.port) for _ in range(3)]
        await until(lambda: repr(plane.admission) == "<Admission 3 connections of 1 clients>")
        assert not plane.clients, "TLS is spoken on none of them"
        assert gateway.gateway.cells[gateway.gateway.layout.connections["client"]] == 3
        for _ in range(5):
            await closed_without_an_answer(await plain_client(gateway.port))
        other = await gateway.connect(local_addr=("127.0.0.2", 0))
        assert (await other.ask(request(token=alice()))).status == 200
        silent[0].close()
        await until(lambda: repr(plane.admission) == "<Admission 3 connections of 2 clients>")
        third = await gateway.connect()
        assert (await third.ask(request(token=alice()))).status == 200
        for client in (*silent, other, third):
            client.close()
        await until(lambda: repr(plane.admission) == "<Admission 0 connections of 0 clients>")
        assert gateway.gateway.cells[gateway.gateway.layout.connections["client"]] == 0


def hello() -> bytes:
    """The first bytes of a client that speaks TLS."""
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


async def test_handshakes_take_turns_and_whoever_is_silent_has_begun_none(
    tmp_path: Path, authorities: str, backend: RecordingBackend
) -> None:
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}") as gateway:
        plane = gateway.gateway.plane
        clients = [await plain_client(gateway.port) for _ in range(40)]
        await until(lambda: repr(plane.admission) == "<Admission 40 connections of 0 clients>")
        assert len(plane.lane) == 0
        for client in clients:
            client.writer.write(hello())
        await until(lambda: len(plane.lane) > 10)  # all of them at once, and one is served in each turn of the loop
        answers = [await client.reader.readexactly(1) for client in clients]
        assert answers == [b"\x16"] * len(clients), "a handshake, each of them"
        late = await gateway.connect()
        assert (await late.ask(request(token=alice()))).status == 200
        for client in (*clients, late):
            client.close()
        await until(lambda: repr(plane.admission) == "<Admission 0 connections of 0 clients>")


async def test_silent_connections_take_no_more_places_than_there_are(
    tmp_path: Path, authorities: str, backend: RecordingBackend
) -> None:
    settings = {"limits": {"connections": 4}, "timeouts": {"tls_handshake": "300ms"}}
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}", **settings) as gateway:
        silent = [await plain_client(gateway.port) for _ in range(4)]
        await until(lambda: repr(gateway.gateway.plane.admission) == "<Admission 4 connections of 0 clients>")
        await closed_without_an_answer(await plain_client(gateway.port))
        for client in silent:  # until the time for a handshake is over
            assert not (await client.read_to_end()).startswith(b"HTTP/")
        late = await gateway.connect()
        assert (await late.ask(request(token=alice()))).status == 200
        late.close()


async def test_who_is_silent_when_the_worker_ends_is_let_go(tmp_path: Path, authorities: str, backend: RecordingBackend) -> None:
    settings = {"timeouts": {"tls_handshake": "1m", "drain": "200ms"}}
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}", **settings) as gateway:
        silent = await plain_client(gateway.port)
        await until(lambda: repr(gateway.gateway.plane.admission) == "<Admission 1 connections of 0 clients>")
    await closed_without_an_answer(silent)
    assert repr(gateway.gateway.plane.admission) == "<Admission 0 connections of 0 clients>"


async def test_R26_without_a_descriptor_left_nobody_is_accepted_and_whoever_waits_is_served_when_there_is_one(
    tmp_path: Path, authorities: str, backend: RecordingBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}") as gateway:
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as client:
            client.setblocking(False)
            with open(os.devnull, "rb") as next_free:
                limit = next_free.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, usual[1]))
            try:
                client.connect_ex(("127.0.0.1", gateway.port))
                await until(lambda: "no connection can be accepted: Too many open files" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, usual)
            reader, writer = await asyncio.open_connection(sock=client, ssl=gateway.context, server_hostname="localhost")
            assert (await RawClient(reader, writer).ask(request(token=alice()))).status == 200
            writer.transport.abort()


async def test_TLS_below_1_2_is_not_spoken(tmp_path: Path, authorities: str, backend: RecordingBackend) -> None:
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}") as gateway:
        gateway.context.maximum_version = ssl.TLSVersion.TLSv1_2
        client = await gateway.connect()
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        client.close()
    settings = load(tmp_path / "gateway.yaml").config.tls
    assert settings is not None
    assert server_tls(settings).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_one_client_s_handshakes_hold_up_no_other_client(
    tmp_path: Path, authorities: str, backend: RecordingBackend
) -> None:
    async with over_tls(tmp_path, authorities, f"http://127.0.0.1:{backend.port}") as gateway:
        plane = gateway.gateway.plane
        crowd = [await plain_client(gateway.port) for _ in range(150)]
        other = RawClient(*await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=("127.0.0.2", 0)))
        await until(lambda: repr(plane.admission) == "<Admission 151 connections of 0 clients>")
        for client in crowd:
            client.writer.write(hello())
        await until(lambda: len(plane.lane) > 100)
        other.writer.write(hello())
        assert await other.reader.readexactly(1) == b"\x16"
        assert len(plane.lane) > 50, "they came before, and their client's turn is one in two"
        for client in (*crowd, other):
            client.close()
        await until(lambda: repr(plane.admission) == "<Admission 0 connections of 0 clients>")


def test_no_handshake_begins_with_somebody_who_has_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(hello())
            _refuse_if_left(accepted)
            client.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError):
                _refuse_if_left(accepted)
