"""One fact may end thousands of live exchanges: nothing of theirs passes from then on, and they end by turns of the loop."""

import asyncio
import time
from collections.abc import Callable

import pytest
from data_plane import DataPlane, RawClient, Start
from exchanging import alice, request, serving, until

from gateway.enforce.verified import Verified
from gateway.proxy import suspects
from gateway.proxy.plane import Plane
from gateway.proxy.steps import Wait
from gateway.proxy.suspects import wait_until_judged, wait_until_written
from gateway.revocation.entry import PERMANENT, Entry, Kind, Revocation
from gateway.routes.route import Route
from gateway.telemetry.metrics import CUT_CAUSES
from gateway.worker import on_entry

MANY = 60
SECRET = b"secret"
SWITCH = b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: custom/1\r\n\r\nhello!\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello!"
UPGRADE = ("Upgrade: custom/1", "Connection: Upgrade")


class Application:
    """Answers `/public/` at once; begins a tunnel, a stream, or an answer that ends with its connection, and keeps its end."""

    def __init__(self) -> None:
        self.live: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.seen = b""  # of what clients sent after their head
        self.may_begin = asyncio.Event()
        self.may_begin.set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /public/"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.live.append((reader, writer))
        await self.may_begin.wait()
        if b"Upgrade: custom/1" in head:
            writer.write(SWITCH)
        elif not head.startswith(b"POST"):
            writer.write(TO_THE_END if head.startswith(b"GET /to-the-end") else CHUNKED)
        while piece := await reader.read(1 << 16):
            self.seen += piece


@pytest.fixture
def application() -> Application:
    return Application()


def revoke_alice(gateway: DataPlane) -> None:
    """Her not-before arrives, as the follower brings it; nothing is ended yet."""
    key = Revocation(Kind.USER, "alice", "https://idp.example").key
    entry = Entry(1, "id-1", "id-0", Kind.USER, key, int(time.time()), PERMANENT, "revocation-1")
    gateway.plane.known.replica.apply(entry)
    on_entry(entry, gateway.plane)


async def live_client(gateway: DataPlane, *lines: str, path: str = "/", method: str = "GET") -> RawClient:
    client = await gateway.connect()
    await client.send(request(path, *lines, token=alice(), method=method))
    if method == "GET":
        await client.reader.readuntil(b"hello!\r\n")
    return client


def cuts(gateway: DataPlane) -> int:
    at = gateway.layout.cuts
    return int(sum(gateway.cells[at : at + len(CUT_CAUSES)]))


@pytest.fixture
def one_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "TURN_S", 0.0)
    monkeypatch.setattr(suspects, "CLOSED_IN_ONE_TURN", 1)


@pytest.fixture
def no_turn_yet(monkeypatch: pytest.MonkeyPatch) -> Callable[[DataPlane], None]:
    """The fact is known, and the loop's next turn has not come: it does when the returned function is called."""
    taken = suspects._take_a_turn
    waiting: list[Plane] = []
    monkeypatch.setattr(suspects, "_take_a_turn", waiting.append)

    def let_it_come(gateway: DataPlane) -> None:
        monkeypatch.setattr(suspects, "_take_a_turn", taken)
        taken(gateway.plane)

    return let_it_come


@pytest.mark.parametrize("lines", [(), UPGRADE], ids=["streams", "tunnels"])
async def test_others_are_answered_while_one_fact_ends_many(
    start: Start, application: Application, one_in_a_turn: None, lines: tuple[str, ...]
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        clients = [await live_client(gateway, *lines) for _ in range(MANY)]
        other = await gateway.connect()
        assert (await other.ask(request("/public/"))).status == 200
        revoke_alice(gateway)
        assert (await other.ask(request("/public/"))).status == 200
        assert 0 < len(gateway.plane.live.suspects) < MANY, "he was answered between two of them"
        await wait_until_judged(gateway.plane)
        assert all(client.transport.is_closing() for client in gateway.plane.clients if client.upstream is not None)
        assert not gateway.plane.pools["app"].load
        await wait_until_written(gateway.plane)
        assert [await client.read_to_end() for client in clients] == [b""] * MANY
        assert (cuts(gateway), len(gateway.plane.live)) == (MANY, 0)


async def test_who_waits_for_the_end_of_some_is_told_when_the_last_is_closed(
    start: Start, application: Application, one_in_a_turn: None
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        for _ in range(5):
            await live_client(gateway, *UPGRADE)
        revoke_alice(gateway)
        waiting = asyncio.create_task(wait_until_judged(gateway.plane))
        while any(not client.transport.is_closing() for client in gateway.plane.clients):
            assert not waiting.done()
            await asyncio.sleep(0)
        await waiting


async def test_a_handful_ends_before_anybody_waits(start: Start, application: Application) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        await live_client(gateway)
        await live_client(gateway, *UPGRADE)
        revoke_alice(gateway)
        waiting = wait_until_judged(gateway.plane)
        with pytest.raises(StopIteration):
            waiting.send(None)
        assert all(client.transport.is_closing() for client in gateway.plane.clients)


async def test_who_goes_on_is_asked_once_and_goes_on(start: Start, application: Application) -> None:
    """A fact may speak of other tokens of the user, or not at all of him: an issuer's keys have changed."""
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway)
        suspects.suspect(gateway.plane.live, gateway.plane)
        await wait_until_judged(gateway.plane)
        application.live[0][1].write(b"6\r\nsecret\r\n")
        assert await client.reader.readuntil(SECRET)
        assert len(gateway.plane.live) == 1


@pytest.mark.parametrize(
    ("path", "lines"), [("/", ()), ("/to-the-end", ()), ("/", UPGRADE)], ids=["stream", "no length", "tunnel"]
)
async def test_what_the_application_begins_late_does_not_begin_for_whoever_was_revoked_meanwhile(
    start: Start, application: Application, path: str, lines: tuple[str, ...]
) -> None:
    """Nothing of it was live when the fact was acknowledged, so nobody waited for its end [W1]."""
    application.may_begin.clear()
    async with serving(application) as port:
        gateway = await start(port)
        client = await gateway.connect()
        await client.send(request(path, *lines, token=alice()) + (SECRET if lines else b""))
        await until(lambda: application.live)
        revoke_alice(gateway)
        await wait_until_judged(gateway.plane)
        application.may_begin.set()
        assert await client.read_to_end() == b""
        assert (application.seen, cuts(gateway), len(gateway.plane.live)) == (b"", 1, 0)
        await until(lambda: not gateway.plane.pools["app"].load)


async def test_a_defect_while_one_is_closed_or_written_down_holds_up_no_other(start: Start, application: Application) -> None:
    async with serving(application) as port:
        plane = (await start(port)).plane
        tries: list[str] = []

        def close() -> None:
            tries.append("close")
            if tries.count("close") == 1:
                raise ZeroDivisionError("a defect of ours")

        class Unwritable(Wait[None]):
            def set(self, value: None) -> None:
                tries.append("write down")
                raise ZeroDivisionError("another one")

        good: Wait[None] = Wait()
        suspects.close_later(close, plane)
        suspects.write_down_later(Unwritable(), plane)
        suspects.write_down_later(good, plane)
        await wait_until_judged(plane)
        assert tries.count("close") == 2, "perhaps one side was closed, and the other was not"
        await until(lambda: good.is_done and not plane.live.is_in_turn)
        await wait_until_written(plane)
        assert tries.count("write down") == 1


# Not a byte of a suspect passes, though its turn has not come.


@pytest.mark.parametrize(
    ("path", "lines", "piece"),
    [("/", (), b"6\r\nsecret\r\n"), ("/", (), b"0\r\n\r\n"), ("/to-the-end", (), SECRET), ("/", UPGRADE, SECRET)],
    ids=["stream", "end of a stream", "answer without a length", "tunnel"],
)
async def test_nothing_that_the_application_sends_reaches_a_suspect(
    start: Start,
    application: Application,
    no_turn_yet: Callable[[DataPlane], None],
    path: str,
    lines: tuple[str, ...],
    piece: bytes,
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway, *lines, path=path)
        revoke_alice(gateway)
        application.live[0][1].write(piece)
        await until(lambda: not gateway.plane.live.suspects)
        no_turn_yet(gateway)
        assert await client.read_to_end() == b""
        assert cuts(gateway) == 1


async def test_an_answer_that_ends_with_its_connection_never_looks_complete_to_a_suspect(
    start: Start, application: Application, no_turn_yet: Callable[[DataPlane], None]
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway, path="/to-the-end")
        revoke_alice(gateway)
        application.live[0][1].close()
        assert await client.read_to_end() == b"", "without the last chunk"
        assert cuts(gateway) == 1


async def test_nothing_that_a_suspect_sends_through_a_tunnel_reaches_the_application(
    start: Start, application: Application, no_turn_yet: Callable[[DataPlane], None]
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway, *UPGRADE)
        revoke_alice(gateway)
        await client.send(SECRET)
        await until(lambda: not gateway.plane.live.suspects)
        no_turn_yet(gateway)
        assert await client.read_to_end() == b""
        assert (application.seen, cuts(gateway)) == (b"", 1)


@pytest.mark.parametrize("side", ["client", "application"])
async def test_the_end_of_one_side_is_the_end_of_a_suspects_tunnel(
    start: Start, application: Application, no_turn_yet: Callable[[DataPlane], None], side: str
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway, *UPGRADE)
        revoke_alice(gateway)
        (client.writer if side == "client" else application.live[0][1]).write_eof()
        await until(lambda: not gateway.plane.live.suspects)
        no_turn_yet(gateway)
        assert await client.read_to_end() == b""
        await until(lambda: cuts(gateway) == 1)


async def test_nothing_that_a_suspect_uploads_reaches_the_application(
    start: Start, application: Application, no_turn_yet: Callable[[DataPlane], None]
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway, "Content-Length: 10", method="POST")
        await until(lambda: application.live)
        revoke_alice(gateway)
        await client.send(SECRET)
        assert await client.read_to_end() == b""
        assert (application.seen, cuts(gateway)) == (b"", 1)


async def test_an_answer_to_half_of_a_body_is_not_for_a_suspect(
    start: Start, application: Application, no_turn_yet: Callable[[DataPlane], None]
) -> None:
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway, "Content-Length: 10", method="POST")
        await until(lambda: application.live)
        revoke_alice(gateway)
        application.live[0][1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + SECRET)
        assert await client.read_to_end() == b""
        assert cuts(gateway) == 1


# A defect of ours.


class Stubborn:
    """A live exchange that cannot be ended, until it can."""

    def __init__(self, token: Verified, route: Route) -> None:
        self.token = token
        self.route = route
        self.is_stubborn = True

    def cut(self, cause: str) -> None:
        if self.is_stubborn:
            raise RuntimeError(f"it cannot be ended by {cause}")


async def test_what_cannot_be_ended_is_never_called_ended_and_keeps_nobody_else(
    start: Start, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_AFTER_A_DEFECT_S", 0.001)
    async with serving(application) as port:
        gateway = await start(port)
        client = await live_client(gateway)
        (other,) = gateway.plane.live
        tunnel = await live_client(gateway, *UPGRADE)
        stubborn = Stubborn(other.token, other.route)
        gateway.plane.live.add(stubborn)
        revoke_alice(gateway)
        waiting = asyncio.create_task(wait_until_judged(gateway.plane))
        assert await client.read_to_end() == b""
        assert await tunnel.read_to_end() == b""
        await until(lambda: cuts(gateway) == 2)
        await wait_until_written(gateway.plane)
        assert list(gateway.plane.live.suspects) == [stubborn]
        assert not waiting.done()
        stubborn.is_stubborn = False
        await waiting
