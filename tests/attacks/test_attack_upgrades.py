"""Upgrades and WebSocket (W): a tunnel exists only after the backend's 101, and then it is a tunnel, byte for byte.

Handshakes that are refused by form alone (W01, half of W06) are in `attack_families.py`, and sent by `test_attack_framing.py`.
"""

import asyncio
import base64
import contextlib
import hashlib
import time

import pytest
from attack_families import get
from attack_sending import CANARY, answers
from backends import RecordingBackend, raw
from data_plane import DataPlane, RawClient, Start, provider
from patience import PATIENCE_S

from gateway.revocation.entry import PERMANENT, Entry, Kind, Revocation
from gateway.wire.websocket import accept
from gateway.worker import on_entry

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def bearer(**claims: object) -> bytes:
    return b"Authorization: Bearer " + provider().token(**{"sub": "alice", "sid": "s-1", **claims}).encode()


def handshake(*lines: bytes, target: bytes = b"/public/ws", upgrade: bytes = b"websocket", **changes: bytes) -> bytes:
    return get(
        b"Connection: Upgrade",
        b"Upgrade: " + upgrade,
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + KEY,
        *lines,
        target=target,
        **changes,
    )


def switched(*lines: bytes, upgrade: bytes = b"websocket", proof: bytes = ACCEPT) -> bytes:
    fields = [b"Connection: Upgrade", b"Upgrade: " + upgrade, b"Sec-WebSocket-Accept: " + proof, *lines]
    return b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(line + b"\r\n" for line in fields) + b"\r\n"


class TunnelBackend:
    """Answers a handshake as told, then is a plain pair of streams for the test."""

    def __init__(self, answer: bytes = switched(), *, is_held: bool = False) -> None:
        self.answer = answer
        self.port = 0
        self.heads: list[bytes] = []
        self.accepted: asyncio.Queue[RawClient] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        if not is_held:
            self.may_answer.set()

    async def __aenter__(self) -> "TunnelBackend":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def end(self) -> RawClient:
        """The backend's end of the tunnel."""
        return await asyncio.wait_for(self.accepted.get(), PATIENCE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await self.may_answer.wait()
            writer.write(self.answer)
            await self.accepted.put(RawClient(reader, writer))


async def opened(gateway: DataPlane, backend: TunnelBackend, request: bytes | None = None) -> tuple[RawClient, RawClient]:
    """Both ends of a new tunnel: the client's and the backend's."""
    client = await gateway.connect()
    await client.send(handshake() if request is None else request)
    assert (await client.read_head())[0] == 101
    return client, await backend.end()


# W02, W03, W04, W05: no tunnel without the backend's word.


async def test_W02_nothing_behind_a_declined_handshake_is_read(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    for request, status in (
        (handshake(target=b"/x"), 401),
        (handshake(b"Authorization: Bearer nonsense", target=b"/x"), 401),
        (handshake(bearer(groups=[]), target=b"/admin/ws"), 403),
        (handshake(target=b"/auth/ws"), 404),
    ):
        client = await gateway.connect()
        await client.send(request + CANARY)
        assert [answer.status for answer in answers(await client.read_to_end())] == [status]
        client.close()
    assert backend.requests == []


NOT_OURS = [b"h2c", b"H2C", b"h2", b"HTTP/2.0", b"TLS/1.0", b"h2c, websocket", b"HTTP/3"]


@pytest.mark.parametrize("upgrade", NOT_OURS)
async def test_W03_h2c_is_never_tunnelled(upgrade: bytes, gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    client = await gateway.connect()
    await client.send(
        get(
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: " + upgrade,
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
            target=b"/public/x",
        )
    )
    assert (await client.read_reply()).status == 200
    assert (await client.ask(get(target=b"/public/next"))).status == 200
    assert [request.target for request in backend.requests] == [b"/public/x", b"/public/next"]
    assert [request.values(name) for request in backend.requests for name in ("upgrade", "connection", "http2-settings")] == [
        []
    ] * 6
    client.close()


@pytest.mark.parametrize(
    "status", [b"200 OK", b"400 Bad Request", b"426 Upgrade Required", b"404 Not Found", b"500 Broken", b"204 No Content"]
)
async def test_W04_a_declined_upgrade_ends_the_connection_and_never_tunnels(
    status: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.requests.clear()
    lines = b"" if status.startswith(b"204") else b"Content-Length: 0\r\n"
    backend.answer = raw(b"HTTP/1.1 %b\r\n%b\r\n" % (status, lines), close=False)
    client = await gateway.connect()
    await client.send(handshake() + CANARY)
    reply = await client.read_reply()
    assert (reply.status, reply.value("Connection")) == (int(status[:3]), "close")
    with contextlib.suppress(ConnectionError):
        await client.send(CANARY)
    assert await client.read_to_end() == b""
    assert [request.target for request in backend.requests] == [b"/public/ws"]
    assert backend.broken == []
    client.close()


async def test_W05_bytes_before_the_101_wait_and_never_reach_a_pooled_connection(start: Start) -> None:
    async with TunnelBackend(is_held=True) as backend:
        gateway = await start(backend.port)
        client = await gateway.connect()
        await client.send(handshake() + b"early" + CANARY)
        async with asyncio.timeout(PATIENCE_S):
            while not backend.heads:
                await asyncio.sleep(0)
        backend.may_answer.set()
        assert (await client.read_head())[0] == 101
        end = await backend.end()
        assert await end.reader.readexactly(5 + len(CANARY)) == b"early" + CANARY
        assert len(backend.heads) == 1
        client.close()
    async with TunnelBackend(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", is_held=True) as backend:
        gateway = await start(backend.port)
        client = await gateway.connect()
        await client.send(handshake() + CANARY)
        async with asyncio.timeout(PATIENCE_S):
            while not backend.heads:
                await asyncio.sleep(0)
        backend.may_answer.set()
        assert [answer.status for answer in answers(await client.read_to_end())] == [400]
        end = await backend.end()
        pool = gateway.plane.pools["app"]
        await pool.close()
        assert await end.read_to_end() == b""
        assert b"canary" not in backend.heads[0]
        client.close()


async def test_W05_what_comes_before_the_101_is_bounded(start: Start) -> None:
    async with TunnelBackend(is_held=True) as backend:
        gateway = await start(backend.port)
        client = await gateway.connect()
        sending = asyncio.create_task(client.send(handshake() + b"x" * 20_000_000))
        async with asyncio.timeout(PATIENCE_S):
            while not backend.heads:
                await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        (served,) = gateway.plane.clients
        assert len(served._buffer) < 1 << 20
        backend.may_answer.set()
        assert (await client.read_head())[0] == 101
        end = await backend.end()
        assert await end.reader.readexactly(20_000_000) == b"x" * 20_000_000
        await sending
        client.close()


# W06: what asks for an upgrade, and what does not.

NO_UPGRADE = {
    "no connection": get(b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY),
    "notupgrade": get(b"Connection: notupgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY),
    "upgrades": get(b"Connection: upgrades, xupgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY),
    "upgrade quoted": get(b'Connection: "upgrade"', b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY),
    "close": get(b"Connection: close", b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY),
    "http/1.0": handshake(version=b"HTTP/1.0"),
    "no upgrade": get(b"Connection: upgrade", b"Sec-WebSocket-Key: " + KEY),
    "an empty upgrade": get(b"Connection: upgrade", b"Upgrade:"),
    "a list": get(b"Connection: upgrade", b"Upgrade: websocket, foo", b"Sec-WebSocket-Key: " + KEY),
    "two upgrades": get(b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY),
    "post of another": get(b"Connection: upgrade", b"Upgrade: foo", method=b"POST"),
}


@pytest.mark.parametrize("request_", NO_UPGRADE.values(), ids=NO_UPGRADE)
async def test_W06_anything_but_the_exact_form_is_a_normal_request(
    request_: bytes, gateway: DataPlane, backend: RecordingBackend
) -> None:
    backend.requests.clear()
    backend.answer = raw(switched(), close=False)
    reply = await gateway.ask(request_)
    assert reply.status == 502  # a 101 that nobody asked for
    (request,) = backend.requests
    assert (request.values("upgrade"), request.values("connection")) == ([], [])


ASKING = [b"Connection: keep-alive, Upgrade", b"connection: UPGRADE", b"Connection: Upgrade,keep-alive", b"Connection:,upgrade ,"]


@pytest.mark.parametrize("connection", ASKING)
async def test_W06_the_exact_token_in_any_list_is_an_upgrade(connection: bytes, start: Start) -> None:
    async with TunnelBackend(switched(upgrade=b"WebSocket")) as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend, get(connection, b"Upgrade: WEBSOCKET", b"Sec-WebSocket-Key: " + KEY))
        assert b"\r\nConnection: Upgrade\r\nUpgrade: WEBSOCKET\r\n" in backend.heads[0]
        await end.send(b"x")
        assert await client.reader.readexactly(1) == b"x"
        client.close()


# W07: the backend must have understood the handshake.

OFFER = (b"Sec-WebSocket-Protocol: chat, superchat", b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
WRONG_101 = {
    "wrong accept": (handshake(), switched(proof=accept(b"other"))),
    "no accept": (handshake(), b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    "empty accept": (handshake(), switched(proof=b"")),
    "another protocol": (handshake(), switched(upgrade=b"foo")),
    "no upgrade": (handshake(), b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: %b\r\n\r\n" % ACCEPT),
    "subprotocol unasked": (handshake(), switched(b"Sec-WebSocket-Protocol: chat")),
    "extension unasked": (handshake(), switched(b"Sec-WebSocket-Extensions: permessage-deflate")),
    "another subprotocol": (handshake(*OFFER), switched(b"Sec-WebSocket-Protocol: other")),
    "another letter case": (handshake(*OFFER), switched(b"Sec-WebSocket-Protocol: CHAT")),
    "another extension": (handshake(*OFFER), switched(b"Sec-WebSocket-Extensions: permessage-deflate, x-evil")),
    "second field": (handshake(*OFFER), switched(b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Protocol: other")),
    "a list in upgrade": (handshake(), switched(upgrade=b"websocket, foo")),
}


@pytest.mark.parametrize(("request_", "answer"), WRONG_101.values(), ids=WRONG_101)
async def test_W07_a_wrong_101_is_a_502(request_: bytes, answer: bytes, start: Start) -> None:
    async with TunnelBackend(answer) as backend:
        gateway = await start(backend.port)
        client = await gateway.connect()
        await client.send(request_ + CANARY)
        assert [reply.status for reply in answers(await client.read_to_end())] == [502]
        assert len(backend.heads) == 1
        end = await backend.end()
        assert await end.read_to_end() == b""
        client.close()


async def test_W07_what_was_offered_may_be_chosen(start: Start) -> None:
    lines = (b"Sec-WebSocket-Protocol: superchat", b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover")
    async with TunnelBackend(switched(*lines)) as backend:
        gateway = await start(backend.port)
        client = await gateway.connect()
        await client.send(handshake(*OFFER))
        status, fields = await client.read_head()
        assert status == 101
        assert dict(fields)["Sec-WebSocket-Protocol"] == "superchat"
        assert all(line in backend.heads[0] for line in OFFER)
        client.close()


# W09, W10, W16: tunnels end with their session.


async def test_W09_a_tunnel_ends_when_its_token_expires(start: Start) -> None:
    issuer = {"issuer": "https://idp.example", "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"], "leeway": "0s"}
    async with TunnelBackend() as backend:
        gateway = await start(backend.port, issuers=[issuer])
        client, end = await opened(gateway, backend, handshake(bearer(exp=int(time.time()) + 1), target=b"/ws"))
        assert await client.read_to_end() == b"\x88\x0f\x03\xf0session ended"
        assert await end.read_to_end() == b""
        client.close()


async def test_W10_a_tunnel_ends_when_its_session_is_revoked(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend, handshake(bearer(sid="s-9"), target=b"/ws"))
        other, _ = await opened(gateway, backend, handshake(bearer(sid="s-10"), target=b"/ws"))
        revoke(gateway, "s-9")
        assert await client.read_to_end() == b"\x88\x0f\x03\xf0session ended"
        assert await end.read_to_end() == b""
        assert len(gateway.plane.live) == 1
        for each in (client, other):
            each.close()


async def test_W10_a_frame_that_is_under_way_is_not_followed_by_a_close(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend, handshake(bearer(sid="s-9"), target=b"/ws"))
        await end.send(b"\x82\x05ab")
        assert await client.reader.readexactly(4) == b"\x82\x05ab"
        revoke(gateway, "s-9")
        assert await client.read_to_end() == b""
        client.close()


def revoke(gateway: DataPlane, session: str) -> None:
    """A revocation arrives, as the follower brings it: into the replica, then to the connections it ends."""
    view = gateway.plane.known.replica
    number, key = view.revision + 1, Revocation(Kind.SESSION, session, "https://idp.example").key
    entry = Entry(
        number, f"id-{number}", f"id-{number - 1}", Kind.SESSION, key, int(time.time()), PERMANENT, f"revocation-{number}"
    )
    view.apply(entry)
    on_entry(entry, gateway.plane)


async def test_W16_tunnels_are_told_when_the_worker_stops(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port, timeouts={"drain": "5m"})
        pairs = [await opened(gateway, backend) for _ in range(100)]
        stopping = asyncio.create_task(gateway.listener.drain())
        ends = [await client.read_to_end() for client, _ in pairs]
        assert ends == [b"\x88\x0f\x03\xe9shutting down"] * 100
        await asyncio.wait_for(stopping, PATIENCE_S)


# W12, W13, W14: after 101 nothing is looked into.

FRAMES = {
    "unmasked": b"\x81\x05hello",
    "reserved bits": b"\xf1\x80\x00\x00\x00\x00",
    "unknown opcode": b"\x83\x80\x00\x00\x00\x00",
    "fragmented control": b"\x09\x80\x00\x00\x00\x00",
    "long control": b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126,
    "not utf-8": b"\x81\x82\x00\x00\x00\x00\xff\xfe",
    "close 999": b"\x88\x82\x00\x00\x00\x00\x03\xe7",
    "close 1005": b"\x88\x82\x00\x00\x00\x00\x03\xed",
    "length of 2^63": b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00x",
    "deflated, unasked": b"\xc1\x87\x00\x00\x00\x00\xcaH\xcd\xc9\xc9\x07\x00",
    "no frame at all": CANARY,
    "every byte": bytes(range(256)) * 16,
    "empty fragments": b"\x01\x80\x00\x00\x00\x00" + b"\x00\x80\x00\x00\x00\x00" * 100_000,
    "line ends": b"\r\n\r\n0\r\n\r\n",
}


async def test_W12_W13_W14_a_tunnel_relays_any_bytes_both_ways(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        for name, frame in FRAMES.items():
            client, end = await opened(gateway, backend)
            await client.send(frame)
            assert await end.reader.readexactly(len(frame)) == frame, name
            await end.send(frame)
            assert await client.reader.readexactly(len(frame)) == frame, name
            client.close()
            end.close()


async def test_W12_bytes_behind_the_101_in_the_same_segment_are_relayed(start: Start) -> None:
    async with TunnelBackend(switched() + b"\x81\x05hello") as backend:
        gateway = await start(backend.port)
        client, _ = await opened(gateway, backend)
        assert await client.reader.readexactly(7) == b"\x81\x05hello"
        client.close()


async def test_W12_large_messages_arrive_whole_under_back_pressure(start: Start) -> None:
    data = bytes(range(256)) * 40_000
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend)
        for near, far in ((client, end), (end, client)):
            sending = asyncio.create_task(near.send(data))
            assert await asyncio.wait_for(far.reader.readexactly(len(data)), PATIENCE_S) == data
            await sending
        client.close()


@pytest.mark.parametrize("is_client_first", [True, False])
async def test_W12_one_side_may_end_before_the_other(is_client_first: bool, start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend)
        first, last = (client, end) if is_client_first else (end, client)
        await first.send(b"bye")
        first.writer.write_eof()
        assert await last.read_to_end() == b"bye"
        await last.send(b"x" * 3_000_000)
        last.writer.write_eof()
        assert await first.read_to_end() == b"x" * 3_000_000


async def test_W12_the_last_bytes_of_a_client_reach_a_backend_that_reads_late(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend)
        end.writer.write_eof()
        assert await client.read_to_end() == b""
        end.writer.transport.pause_reading()
        (served,) = gateway.plane.clients
        assert served.upstream is not None
        sent = 0
        while not served.upstream.transport.get_write_buffer_size():  # until the sockets hold no more
            client.writer.write(b"x" * 4096)
            sent += 4096
            await asyncio.sleep(0)
        client.writer.write_eof()
        for _ in range(100):
            await asyncio.sleep(0)
        end.writer.transport.resume_reading()
        assert len(await end.read_to_end()) == sent
        client.close()


@pytest.mark.parametrize("is_client_first", [True, False])
async def test_W15_a_side_that_is_gone_ends_the_other(is_client_first: bool, start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend)
        first, last = (client, end) if is_client_first else (end, client)
        first.close()
        assert await last.read_to_end() == b""


async def test_W15_a_tunnel_that_nobody_uses_is_closed(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port, timeouts={"tunnel": "1s"})
        client, end = await opened(gateway, backend)
        assert await client.read_to_end() == b""
        assert await end.read_to_end() == b""
        client.close()


async def test_W15_a_client_that_does_not_read_is_held_up_and_then_closed(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port, timeouts={"write": "100ms"})
        client, end = await opened(gateway, backend)
        client.writer.transport.pause_reading()
        sending = asyncio.create_task(end.send(b"x" * 50_000_000))
        assert await end.read_to_end() == b""
        await asyncio.gather(sending, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S):  # and the connection is gone, though nothing of what waits for it was read
            while gateway.plane.clients:
                await asyncio.sleep(0)
        client.close()


async def test_W08_a_bearer_token_is_no_cookie_so_the_origin_does_not_matter(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        for origin in (b"https://evil.example", b"null", b"http://shop.example"):
            client, _ = await opened(gateway, backend, handshake(bearer(), b"Origin: " + origin, target=b"/ws"))
            assert b"\r\nOrigin: " + origin + b"\r\n" in backend.heads[-1]
            client.close()
            reply = await gateway.ask(handshake(b"Origin: " + origin, b"Cookie: access=x", target=b"/ws"))
            assert reply.reason == "no-token"


async def test_W17_identity_is_on_the_handshake_and_spoofs_are_not(start: Start) -> None:
    async with TunnelBackend() as backend:
        gateway = await start(backend.port)
        client, _ = await opened(
            gateway, backend, handshake(bearer(), b"X-User: evil", b"X_User: evil", b"X-Forwarded-For: 6.6.6.6", target=b"/ws")
        )
        head = backend.heads[0]
        assert b"\r\nX-User: alice\r\n" in head
        assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
        assert b"\r\nSec-WebSocket-Key: " + KEY + b"\r\n" in head
        assert b"evil" not in head
        assert b"Bearer" not in head
        client.close()


async def test_W17_other_protocols_are_tunnelled_too(start: Start) -> None:
    async with TunnelBackend(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: foo/1\r\n\r\n") as backend:
        gateway = await start(backend.port)
        client, end = await opened(gateway, backend, get(b"Connection: Upgrade", b"Upgrade: foo/1"))
        await client.send(b"ping")
        assert await end.reader.readexactly(4) == b"ping"
        client.close()
