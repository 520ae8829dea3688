"""nginx: as a plain proxy, the limit for everybody; and with Lua and three Redis look-ups, what people build with it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import place as places
from bench.place import PEERS, Place, Running, find
from bench.process import free_port
from bench.systems import System, redis

_MODULES: Final = Path("/usr/lib/nginx/modules")
_NEEDED_FILES: Final = {
    _MODULES / "ndk_http_module.so": "libnginx-mod-http-ndk",
    _MODULES / "ngx_http_lua_module.so": "libnginx-mod-http-lua",
    Path("/usr/share/lua/5.1/nginx/redis.lua"): "lua-nginx-redis",
}


def missing() -> str | None:
    return None if find("nginx") else "nginx is not installed (Debian: nginx-light)"


@contextlib.contextmanager
def plain(
    place: Place, *, backend_port: int | None = None, listen: str = "", server: str = "", location: str = ""
) -> Iterator[Running]:
    """A plain proxy; further directives for listen, server and location as text."""
    port, folder = free_port(), place.new_folder("nginx")
    with places.nginx(
        folder,
        "nginx",
        "nginx.conf",
        cores=(place.cores.system,),
        port=port,
        backend_port=backend_port or place.backend_port,
        listen_options=listen,
        server_options=server,
        location_options=location,
    ) as process:
        yield Running(port, process, place.issuer.mint().text)


def _missing_lua() -> str | None:
    packages = [package for file, package in _NEEDED_FILES.items() if not file.exists()]
    return missing() or redis.missing() or (f"Debian packages not installed: {', '.join(packages)}" if packages else None)


@contextlib.contextmanager
def _with_lua(place: Place) -> Iterator[Running]:
    port, folder = free_port(), place.new_folder("nginx-lua")
    with (
        redis.running(place) as (store_port, store),
        places.nginx(
            folder,
            "nginx",
            "nginx-lua.conf",
            cores=(place.cores.system,),
            port=port,
            backend_port=place.backend_port,
            store_port=store_port,
            script=PEERS / "lookups.lua",
        ) as process,
    ):
        yield Running(port, process, place.issuer.mint().text, also=(store,))


SYSTEMS: Final = (
    System("nginx", "nginx, plain proxy, no checks", missing, plain),
    System("nginx-lua-redis", "nginx + Lua + three Redis look-ups, no signature check", _missing_lua, _with_lua),
)
