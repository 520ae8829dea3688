"""The old application behind the gateway: it knows nothing of tokens, and writes down everything that reaches it.

    GET  /…/who        {"user", "groups", "session", "headers"} as it was told
    GET  /…/ticks      an event stream without an end
    WS   /…/socket     says `user NAME`, then repeats what it hears
    POST /…/orders     {"ordered": the body}
    GET  anything      a page: whose orders these are

It sends no caching headers and sets a cookie of its own, as old applications do. It runs on a loop of its own in a thread, so
tests may wait for a gateway meanwhile.
"""

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from html import escape
from typing import Any

from aiohttp import WSMsgType, web
from patience import PATIENCE_S

PAGE = """<!doctype html><html lang="en"><title>{path}</title><link rel="icon" href="data:,">
<h1>Orders of {user}</h1><p id="path">{path}</p><a href="/auth/devices">Your devices</a></html>"""


@dataclass(frozen=True)
class Arrived:
    """One request, as the application got it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def everything(self) -> str:
        """All that was sent, to look for what must not be in it."""
        return "\n".join([self.target, *(f"{name}: {value}" for name, value in self.headers), self.body.decode("latin-1")])


class OldShop:
    """`arrived` is what it got, ever; `failing` makes it answer 503."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="old shop", daemon=True)
        self._thread.start()
        self._runner: web.ServerRunner | None = None
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE_S)
        assert self._runner is not None
        self.port = int(self._runner.addresses[0][1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    def reached(self, mark: str) -> list[Arrived]:
        """The requests with this in their target."""
        return [request for request in self.arrived if mark in request.target]

    async def _start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._serve))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()

    async def _stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        arrived = Arrived(request.method, request.raw_path, headers, await request.read())
        self.arrived.append(arrived)
        last = request.path.rpartition("/")[2]
        match last:
            case "who":
                return web.json_response(_told(arrived))
            case "socket":
                return await _repeat(request)
            case "ticks":
                return await _tick(request)
            case "orders" if request.method == "POST":
                return web.json_response({"ordered": arrived.body.decode()})
        page = PAGE.format(user=escape(request.headers.get("X-User", "nobody")), path=escape(request.path))
        answer = web.Response(text=page, content_type="text/html")
        answer.set_cookie("basket", "3")
        return answer


def _told(arrived: Arrived) -> dict[str, Any]:
    def first(name: str) -> str | None:
        return next(iter(arrived.values(name)), None)

    return {
        "user": first("X-User"),
        "groups": first("X-User-Groups"),
        "session": first("X-Session-Id"),
        "assertion": first("X-Gateway-Assertion"),
        "headers": arrived.headers,
    }


async def _repeat(request: web.BaseRequest) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(f"user {request.headers.get('X-User')}")
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def _tick(request: web.BaseRequest) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await answer.write(b"data: tick\n\n")
            await asyncio.sleep(0.05)
    return answer
