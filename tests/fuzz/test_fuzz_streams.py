"""The whole data plane under byte streams of damaged requests, cut at any byte, over real sockets.

The backend keeps every byte. Whatever comes in, it has seen whole requests only, one after the other, each of which h11 reads
too; none says who the user is but the gateway, and without a good token nobody does. A good request afterwards is served, so
nothing hangs.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import h11
import pytest
from attacks.attack_backend import Arrived, ByteBackend
from attacks.attack_corpus import from_files
from data_plane import DataPlane, configuration, data_plane, provider
from fuzz.damaging import damaged, random_edits
from fuzz.fuzz_targets import seeds

from gateway.wire.fields import fold

STREAMS = 150
GOOD = [case.raw for case in from_files() if case.is_accepted]
AT_ONCE = 10
PATIENCE_S = 20
IDENTITY = (b"x-user", b"x-groups", b"x-session")


@pytest.fixture
async def byte_backend() -> AsyncIterator[ByteBackend]:
    async with ByteBackend() as running:
        yield running


@pytest.fixture
async def fuzzed(byte_backend: ByteBackend, tmp_path: Path) -> AsyncIterator[DataPlane]:
    timeouts = {"head": "300ms", "body": "300ms", "keep_alive": "300ms", "write": "1s"}
    path = configuration(tmp_path, f"http://127.0.0.1:{byte_backend.port}", timeouts=timeouts)
    async with data_plane(path) as running:
        yield running


async def test_whatever_comes_in_and_however_it_is_cut_the_backend_sees_whole_requests(
    fuzzed: DataPlane, byte_backend: ByteBackend
) -> None:
    random = Random("streams")
    token = provider().token(sub="alice").encode()
    streams = [stream(random, token) for _ in range(STREAMS)]
    places = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(send(fuzzed, pieces, places) for pieces in streams))
    _, requests = byte_backend.taken()
    assert len(requests) > STREAMS, "much of it is good, and served"
    assert [problem for request in requests if (problem := wrong_with(request))] == []
    good = b"GET /who HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
    assert (await fuzzed.ask(good)).status == 200


def stream(random: Random, token: bytes) -> list[bytes]:
    """A few requests, with and without a good token, some of them damaged, cut anywhere."""
    found = []
    for _ in range(random.randrange(1, 5)):
        raw = random.choice(GOOD if random.random() < 0.8 else seeds("head"))
        if random.random() < 0.3:
            raw = raw.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer " + token + b"\r\n\r\n", 1)
        if random.random() < 0.3:
            raw = raw.replace(b"\r\n", b"\r\n" + random.choice((b"X-User: eve", b"x_user: eve", b"X-USER: alice")) + b"\r\n", 1)
        if b"chunked" in raw and random.random() < 0.5:
            raw += random.choice(seeds("chunked"))
        found.append(damaged(raw, random_edits(random, seeds("head"))) if random.random() < 0.3 else raw)
        if random.random() < 0.7:
            found.append(b"GET /public/between HTTP/1.1\r\nHost: a\r\n\r\n")
    data = b"".join(found)
    if random.random() < 0.2:
        data = data[:400]
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(6)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def send(gateway: DataPlane, pieces: list[bytes], places: asyncio.Semaphore) -> None:
    async with places:
        client = await gateway.connect()
        try:
            for piece in pieces:
                await client.send(piece)
                await asyncio.sleep(0)
            await client.read_to_end(PATIENCE_S)  # the gateway ends it: by a refusal, or a deadline
        except ConnectionError:
            pass
        finally:
            client.close()


def wrong_with(request: Arrived) -> str:
    """What of a request that arrived breaks a promise; empty when nothing does."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(request.head + b"\r\n")
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        return f"h11 does not read it: {error} {request.head!r}"
    assert isinstance(event, h11.Request)
    said = [(fold(name), value) for name, value in event.headers if fold(name) in IDENTITY]
    users = [value for name, value in said if name == b"x-user"]
    if users not in ([], [b"alice"]):
        return f"somebody else said who the user is: {request.head!r}"
    if not users and (said or not event.target.startswith((b"/public/", b"/optional/"))):
        return f"nobody was recognised where somebody must be: {request.head!r}"
    return ""
