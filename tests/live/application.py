"""The application behind the gateway in live tests: aiohttp for HTTP, `websockets` for WebSockets, in one process of its own.

    GET  /…/who             {"user": …, "headers": [[name, value], …]}
    GET  /…/bytes?n=N       N bytes of a known pattern
    POST /…/sum             {"bytes": N, "sum": …} of the body, read as it comes
    GET  /…/ticks           an event stream without an end
    GET  /…/held?name=X     answers when somebody asks /…/release?name=X; /…/arrived?name=X answers when it is here
    WS                      echoes, on the second port

It prints its two ports as JSON when it listens, and ends when its standard input does.
"""

import asyncio
import contextlib
import json
import sys
import zlib

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

PIECE = bytes(range(256)) * 1024  # 256 KiB


async def who(request: web.Request) -> web.Response:
    headers = [[name.decode(), value.decode()] for name, value in request.raw_headers]
    return web.json_response({"user": request.headers.get("X-User"), "path": request.raw_path, "headers": headers})


async def many_bytes(request: web.Request) -> web.StreamResponse:
    left = int(request.query["n"])
    answer = web.StreamResponse(headers={"Content-Length": str(left)})
    await answer.prepare(request)
    while left:
        await answer.write(PIECE[:left])
        left -= min(left, len(PIECE))
    return answer


async def sum_up(request: web.Request) -> web.Response:
    """Adler-32: as long as the bytes are a pattern, it sees a missing, doubled or displaced piece, and is quick."""
    count, total = 0, 1
    async for piece in request.content.iter_any():
        count += len(piece)
        total = zlib.adler32(piece, total)
    return web.json_response({"bytes": count, "sum": total})


async def ticks(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    number = 0
    with contextlib.suppress(ConnectionResetError):  # whoever listened has left
        while True:
            number += 1
            await answer.write(f"data: tick {number}\n\n".encode())
            await asyncio.sleep(0.02)
    return answer


class Held:
    """Requests that wait for another one."""

    def __init__(self) -> None:
        self._released: dict[str, asyncio.Event] = {}
        self._arrived: dict[str, asyncio.Event] = {}

    def _gate(self, gates: dict[str, asyncio.Event], request: web.Request) -> asyncio.Event:
        return gates.setdefault(request.query["name"], asyncio.Event())

    async def hold(self, request: web.Request) -> web.Response:
        self._gate(self._arrived, request).set()
        await self._gate(self._released, request).wait()
        return web.Response(text="released")

    async def arrived(self, request: web.Request) -> web.Response:
        await self._gate(self._arrived, request).wait()
        return web.Response(text="it is here")

    async def release(self, request: web.Request) -> web.Response:
        self._gate(self._released, request).set()
        return web.Response(text="done")


async def echo(connection: ServerConnection) -> None:
    assert connection.request is not None
    await connection.send(f"user {connection.request.headers.get('X-User')}")
    with contextlib.suppress(ConnectionClosed):  # a gateway that cuts a session does not say goodbye to the application
        async for message in connection:
            await connection.send(message)


async def main() -> None:
    application = web.Application(client_max_size=1 << 40)
    held = Held()
    application.router.add_get("/{prefix:.*}who", who)
    application.router.add_get("/{prefix:.*}bytes", many_bytes)
    application.router.add_post("/{prefix:.*}sum", sum_up)
    application.router.add_put("/{prefix:.*}sum", sum_up)
    application.router.add_get("/{prefix:.*}ticks", ticks)
    application.router.add_get("/{prefix:.*}held", held.hold)
    application.router.add_get("/{prefix:.*}arrived", held.arrived)
    application.router.add_get("/{prefix:.*}release", held.release)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with serve(echo, "127.0.0.1", 0) as sockets:
        ports = {"http": runner.addresses[0][1], "websocket": sockets.sockets[0].getsockname()[1]}
        print(json.dumps(ports), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
