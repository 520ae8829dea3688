"""The gateway of the tutorials: an aiohttp application, PyJWT on every request, three awaited Redis look-ups.

Written the way documentation shows it, without tricks and without mistakes.
`python textbook.py PORT BACKEND_PORT STORE_PORT JWKS`.
"""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import redis.asyncio
from aiohttp import ClientSession, TCPConnector, web

DROPPED = {"host", "authorization", "connection", "keep-alive", "transfer-encoding", "upgrade", "te", "content-length"}
CLIENT = web.AppKey("CLIENT", ClientSession)
STORE = web.AppKey("STORE", redis.asyncio.Redis)
KEY = web.AppKey("KEY", jwt.PyJWK)
BACKEND = web.AppKey("BACKEND", str)


async def proxy(request: web.Request) -> web.Response:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise web.HTTPUnauthorized
    try:
        claims = jwt.decode(token, request.app[KEY], algorithms=["RS256"], audience="shop", issuer="https://idp.example/shop")
    except jwt.InvalidTokenError as error:
        raise web.HTTPUnauthorized from error
    store = request.app[STORE]
    if await store.get(f"revoked:{claims['jti']}"):
        raise web.HTTPUnauthorized
    if await store.get(f"version:{claims['sub']}") == b"2":
        raise web.HTTPUnauthorized
    if await store.get(f"session:{claims['sid']}") == b"ended":
        raise web.HTTPUnauthorized
    headers = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
    headers["X-User"] = claims["sub"]
    async with request.app[CLIENT].request(
        request.method, request.app[BACKEND] + request.path_qs, headers=headers, data=await request.read()
    ) as answer:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in DROPPED}
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


def make(backend_port: int, store_port: int, key_set: Path) -> web.Application:
    app = web.Application()
    app[KEY] = jwt.PyJWK(json.loads(key_set.read_text())["keys"][0])
    app[BACKEND] = f"http://127.0.0.1:{backend_port}"

    async def connections(app: web.Application) -> AsyncIterator[None]:
        app[STORE] = redis.asyncio.Redis(port=store_port)
        async with ClientSession(connector=TCPConnector(limit=256)) as client:
            app[CLIENT] = client
            yield
        await app[STORE].aclose()

    app.cleanup_ctx.append(connections)
    app.router.add_route("*", "/{tail:.*}", proxy)
    return app


if __name__ == "__main__":
    web.run_app(make(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])), host="127.0.0.1", port=int(sys.argv[1]))
