"""Key sets from real files and a real server: kept current, never replaced by something broken, never asked for too often.

Time is the test's: a source waits until the test moves the clock, so no test waits.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from issuing import ec_signer, hs_signer, key_set, rsa_signer, write_key_set
from patience import PATIENCE_S

from gateway.config.schema import IssuerConfig
from gateway.errors import KeySetError
from gateway.tokens.jwk import MAX_BYTES, KeySet
from gateway.tokens.jwks import HINT_INTERVAL_S, KEPT_S, KeySetSource, Schedule, Timing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GOOD, NEWER = key_set(rsa_signer("a")), key_set(rsa_signer("b"))


class HandMovedClock:
    """A clock that stands until it is moved; whoever waits for it is woken then, and only then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._waiting: list[asyncio.Event] = []
        self._is_waiting = asyncio.Event()

    @property
    def timing(self) -> Timing:
        return Timing(lambda: self.now, lambda: 1_800_000_000 + self.now, self._wait)

    async def _wait(self, event: asyncio.Event, timeout_s: float) -> None:
        self._waiting.append(event)
        self._is_waiting.set()
        await event.wait()
        self._waiting.remove(event)

    async def settle(self) -> None:
        """Return when the source has done all it had to do and waits."""
        await asyncio.wait_for(self._is_waiting.wait(), PATIENCE_S)

    async def move(self, seconds: float) -> None:
        """Let time pass, and the source do what was due."""
        await self.settle()
        self.now += seconds
        self._is_waiting.clear()
        for event in self._waiting:
            event.set()
        await self.settle()


class KeyServer:
    """An issuer's key endpoint that answers as it is told and counts what it is asked."""

    def __init__(self) -> None:
        self.answer: Handler | bytes = GOOD
        self.requests: list[web.Request] = []
        self.other_requests = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/keys":
            self.other_requests += 1
            return web.Response(body=NEWER)
        self.requests.append(request)
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer)
        return await self.answer(request)


class Setting:
    """A source with its clock and everything it reported."""

    def __init__(self, jwks: str, directory: Path, **settings: Any) -> None:
        algorithms = settings.pop("algorithms", ("RS256", "ES256"))
        config = IssuerConfig.model_validate(
            {"issuer": "https://idp.example", "audience": "shop", "jwks": jwks, "algorithms": list(algorithms)},
            context={"directory": directory},
        )
        self.clock = HandMovedClock()
        self.changes: list[KeySet] = []
        self.source = KeySetSource(config, directory, self.changes.append, timing=self.clock.timing, **settings)

    def kids(self) -> list[Any]:
        return [] if self.source.current is None else list(self.source.current.keys)


@pytest.fixture
async def server() -> AsyncIterator[tuple[KeyServer, str]]:
    keys = KeyServer()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", keys.handle)
    running = TestServer(app)
    await running.start_server()
    yield keys, str(running.make_url("/keys"))
    await running.close()


@pytest.fixture
async def remote(server: tuple[KeyServer, str], tmp_path: Path) -> AsyncIterator[tuple[KeyServer, Setting]]:
    keys, url = server
    setting = Setting(url, tmp_path)
    yield keys, setting
    await setting.source.close()


# ── the schedule ─────────────────────────────────────────────────────────────


def test_a_set_is_refreshed_ahead_of_its_end() -> None:
    schedule = Schedule(0)
    assert schedule.due_at == 0
    schedule.started(0)
    schedule.succeeded(2)
    assert schedule.due_at == 2 + 0.8 * KEPT_S


def test_failures_are_tried_again_with_growing_pauses_and_a_success_forgets_them() -> None:
    schedule = Schedule(0)
    pauses = []
    for _ in range(8):
        schedule.started(100)
        schedule.failed(100)
        pauses.append(schedule.due_at - 100)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    schedule.succeeded(200)
    schedule.failed(200)
    assert schedule.due_at == 201


def test_J55_hints_bring_the_next_fetch_forward_but_never_nearer_than_the_interval() -> None:
    schedule = Schedule(0)
    schedule.started(100)
    schedule.succeeded(101)
    for _ in range(1000):
        schedule.hint()
    assert schedule.due_at == 100 + HINT_INTERVAL_S


# ── from a URL ───────────────────────────────────────────────────────────────


async def test_the_set_is_there_after_start_and_change_is_told_once(remote: tuple[KeyServer, Setting]) -> None:
    keys, setting = remote
    await setting.source.start()
    assert setting.kids() == ["a"]
    assert (setting.source.error, setting.source.fetched_at) == (None, 1_800_001_000)
    await setting.clock.move(KEPT_S * 0.8 + 1)
    assert len(keys.requests) == 2
    assert len(setting.changes) == 1
    keys.answer = NEWER
    await setting.clock.move(KEPT_S * 0.8 + 1)
    assert setting.kids() == ["b"]
    assert setting.changes[-1] is setting.source.current


async def test_before_it_is_due_nothing_is_fetched(remote: tuple[KeyServer, Setting]) -> None:
    keys, setting = remote
    await setting.source.start()
    await setting.clock.move(KEPT_S * 0.8 - 1)
    assert len(keys.requests) == 1


async def test_J55_a_thousand_unknown_kids_are_one_fetch_in_30_seconds(remote: tuple[KeyServer, Setting]) -> None:
    keys, setting = remote
    await setting.source.start()
    await setting.clock.move(60)
    for round_ in range(1, 4):
        for _ in range(1000):
            setting.source.unknown_kid()
        await setting.clock.move(0)
        assert len(keys.requests) == 1 + round_
        await setting.clock.move(HINT_INTERVAL_S)


async def test_J58_an_unknown_kid_soon_after_a_fetch_is_looked_for_when_the_interval_is_over(
    remote: tuple[KeyServer, Setting],
) -> None:
    keys, setting = remote
    await setting.source.start()
    keys.answer = NEWER
    setting.source.unknown_kid()
    await setting.clock.move(HINT_INTERVAL_S - 1)
    assert setting.kids() == ["a"]
    await setting.clock.move(1)
    assert setting.kids() == ["b"]


async def test_hints_during_a_fetch_do_not_start_a_second_one(remote: tuple[KeyServer, Setting]) -> None:
    keys, setting = remote
    release, asked = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        await release.wait()
        return web.Response(body=GOOD)

    keys.answer = slow
    starting = asyncio.create_task(setting.source.start())
    await asyncio.wait_for(asked.wait(), PATIENCE_S)
    for _ in range(100):
        setting.source.unknown_kid()
    release.set()
    await starting
    await setting.clock.settle()
    assert (len(keys.requests), setting.kids()) == (1, ["a"])


async def _status_500(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500, body=NEWER)


async def _no_content(_: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def _redirect(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/internal"}, body=NEWER)


async def _compressed(_: web.Request) -> web.StreamResponse:
    return web.Response(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b" + bytes(100))


async def _one_gigabyte(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(1 << 30)})
    await response.prepare(request)
    block = b" " * 65536
    for _ in range((1 << 30) // len(block)):
        await response.write(block)  # raises when the reader has gone, which it must long before the end
    return response


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(NEWER)
    assert request.transport is not None
    request.transport.abort()
    return response


FAULTS: dict[str, Handler | bytes] = {
    "500": _status_500,
    "204": _no_content,
    "a redirect": _redirect,
    "compressed": _compressed,
    "1 GB": _one_gigabyte,
    "cut off": _cut_off,
    "empty": b"",
    "HTML": b"<!doctype html><title>Sign in</title>",
    "no key set": b"{}",
    "no keys": b'{"keys":[]}',
    "one byte too long": GOOD + b" " * (MAX_BYTES + 1 - len(GOOD)),
    "a private key": key_set(rsa_signer("b").private_jwk()),
    "a secret": key_set(hs_signer()),
    "mixed": key_set(rsa_signer("b"), hs_signer()),
    "equal kids": key_set(rsa_signer("b"), ec_signer("b")),
    "equal names": NEWER[:-1] + b',"keys":[]}',
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_J56_a_broken_set_never_replaces_the_good_one_and_is_got_over(
    remote: tuple[KeyServer, Setting], fault: str
) -> None:
    keys, setting = remote
    await setting.source.start()
    before = setting.source.current
    keys.answer = FAULTS[fault]
    await setting.clock.move(KEPT_S)
    assert setting.source.error
    assert setting.source.current is before
    assert setting.source.fetched_at == 1_800_001_000
    keys.answer = NEWER
    await setting.clock.move(1)
    assert (setting.kids(), setting.source.error) == (["b"], None)
    assert keys.other_requests == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_J56_a_broken_set_at_start_is_no_set_and_is_got_over(remote: tuple[KeyServer, Setting], fault: str) -> None:
    keys, setting = remote
    keys.answer = FAULTS[fault]
    await setting.source.start()
    assert (setting.source.current, setting.changes) == (None, [])
    assert setting.source.error
    keys.answer = GOOD
    await setting.clock.move(1)
    assert setting.kids() == ["a"]


async def test_J56_of_a_gigabyte_little_more_than_the_limit_is_read(remote: tuple[KeyServer, Setting]) -> None:
    keys, setting = remote
    written, ended = 0, asyncio.Event()

    async def gigabyte(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while written < 1 << 30:
                await response.write(b" " * 65536)
                written += 65536
        finally:
            ended.set()
        return response

    keys.answer = gigabyte
    await setting.source.start()
    assert setting.source.error == f"the key set is larger than {MAX_BYTES} bytes"
    await asyncio.wait_for(ended.wait(), PATIENCE_S)
    assert written < 32 << 20  # the limit, and what the sockets hold


async def test_J56_an_answer_that_drips_is_given_up(server: tuple[KeyServer, str], tmp_path: Path) -> None:
    keys, url = server
    gone = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.01)
        finally:  # by an error or by being cancelled: the reader hung up
            gone.set()

    keys.answer = drip
    setting = Setting(url, tmp_path, fetch_timeout_s=0.2)
    await setting.source.start()
    assert setting.source.error == "no complete answer within 0.2 s"
    await asyncio.wait_for(gone.wait(), PATIENCE_S)
    await setting.source.close()


async def test_a_server_that_is_not_there_is_tried_again(server: tuple[KeyServer, str], tmp_path: Path) -> None:
    _, url = server
    unused = Setting(url.replace("/keys", "").rsplit(":", 1)[0] + ":1/keys", tmp_path)
    await unused.source.start()
    assert unused.source.error == "the server cannot be reached: ClientConnectorError"
    await unused.clock.move(1)
    assert unused.source.fetches == 2
    await unused.source.close()


async def test_the_request_offers_nothing_and_ignores_the_environment(
    remote: tuple[KeyServer, Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, setting = remote
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    await setting.source.start()
    [request] = keys.requests
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in request.headers


async def test_a_listener_that_fails_does_not_stop_the_source(server: tuple[KeyServer, str], tmp_path: Path) -> None:
    keys, url = server
    setting = Setting(url, tmp_path)

    def explode(_: KeySet) -> None:
        raise RuntimeError("the listener's own mistake")

    setting.source._on_change = explode
    await setting.source.start()
    keys.answer = NEWER
    setting.source._on_change = setting.changes.append
    await setting.clock.move(1)
    assert [list(change.keys) for change in setting.changes] == [["b"]]
    await setting.source.close()


async def test_closing_ends_a_fetch_that_hangs(remote: tuple[KeyServer, Setting]) -> None:
    keys, setting = remote
    await setting.source.start()
    asked, forever = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        asked.set()
        await forever.wait()
        return web.Response()

    keys.answer = hang
    await setting.clock.settle()
    setting.clock.now += KEPT_S
    setting.source.unknown_kid()
    await asyncio.wait_for(asked.wait(), PATIENCE_S)
    await asyncio.wait_for(setting.source.close(), PATIENCE_S)
    forever.set()
    assert setting.kids() == ["a"]


def test_J17_a_secret_from_a_url_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(KeySetError, match="from a file"):
        Setting("https://idp.example/keys", tmp_path, algorithms=["HS256"])


# ── from a file ──────────────────────────────────────────────────────────────


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[tuple[Path, Setting]]:
    path = write_key_set(tmp_path / "keys.json", rsa_signer("a"))
    setting = Setting("keys.json", tmp_path)
    yield path, setting
    await setting.source.close()


async def test_a_file_is_read_at_start_and_again_when_it_is_replaced(local: tuple[Path, Setting]) -> None:
    path, setting = local
    await setting.source.start()
    assert setting.kids() == ["a"]
    write_key_set(path, rsa_signer("b"))
    await setting.clock.move(1)
    assert setting.kids() == ["b"]
    await setting.clock.move(1)
    assert len(setting.changes) == 2


async def test_a_file_written_in_place_with_the_same_length_is_noticed(local: tuple[Path, Setting]) -> None:
    path, setting = local
    await setting.source.start()
    status = path.stat()
    path.write_bytes(GOOD.replace(b'"kid": "a"', b'"kid": "z"'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # within one tick of the file system's clock
    assert path.stat().st_size == status.st_size
    await setting.clock.move(1)
    assert setting.kids() == ["z"]


async def test_an_old_file_that_does_not_change_is_not_read_again(local: tuple[Path, Setting]) -> None:
    path, setting = local
    os.utime(path, (1, 1))
    await setting.source.start()
    confirmed = setting.source.fetched_at
    await setting.clock.move(1)
    assert setting.source.fetched_at == confirmed


async def test_a_link_that_is_turned_is_noticed(tmp_path: Path) -> None:
    for name, kid in (("one", "a"), ("two", "b")):
        (tmp_path / name).mkdir()
        os.utime(write_key_set(tmp_path / name / "keys.json", rsa_signer(kid)), (1, 1))
    (tmp_path / "current").symlink_to("one")
    setting = Setting("current/keys.json", tmp_path)
    await setting.source.start()
    assert setting.kids() == ["a"]
    (tmp_path / "fresh").symlink_to("two")
    (tmp_path / "fresh").replace(tmp_path / "current")
    await setting.clock.move(1)
    assert setting.kids() == ["b"]
    await setting.source.close()


@pytest.mark.parametrize(
    "content", [b"", GOOD[:-20], b"<html>", key_set(rsa_signer("b").private_jwk())], ids=["empty", "half", "html", "private"]
)
async def test_a_broken_file_keeps_the_set_before_it(local: tuple[Path, Setting], content: bytes) -> None:
    path, setting = local
    await setting.source.start()
    path.write_bytes(content)
    await setting.clock.move(1)
    assert setting.kids() == ["a"]
    assert setting.source.error
    write_key_set(path, rsa_signer("b"))
    await setting.clock.move(1)
    assert (setting.kids(), setting.source.error) == (["b"], None)


async def test_a_file_that_goes_and_comes_back_leaves_no_error(local: tuple[Path, Setting]) -> None:
    path, setting = local
    os.utime(path, (1, 1))
    await setting.source.start()
    aside = path.rename(path.with_name("aside"))
    await setting.clock.move(1)
    assert (setting.kids(), setting.source.error) == (["a"], "FileNotFoundError: No such file or directory")
    aside.rename(path)
    await setting.clock.move(1)
    assert setting.source.error is None


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "large"])
async def test_what_is_no_readable_file_is_an_error_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "large":
        path.write_bytes(b" " * (2 * MAX_BYTES))
    setting = Setting("keys.json", tmp_path)
    await setting.source.start()
    assert (setting.source.current, bool(setting.source.error)) == (None, True)
    await setting.source.close()


async def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    write_key_set(tmp_path / "secret.json", hs_signer())
    setting = Setting("secret.json", tmp_path, algorithms=["HS256"])
    await setting.source.start()
    assert setting.kids() == ["key-1"]
    await setting.source.close()
