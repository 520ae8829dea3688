"""The application behind `/auth/`: paths and methods, and the one place where refusals become answers.

It is loaded when it is wanted, in a thread: aiohttp, the template engine and the database take half a second, which no worker
spends before it listens. The data plane reaches it over a pair of sockets (`proxy/inside.py`); nobody else does.
"""

import asyncio
import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiohttp import web

_MODULES: Final = ("aiohttp.web", "gateway.portal.application", "jinja2")

logger: Final = logging.getLogger("gateway.portal")


class Portal:
    """Per worker: the application, from its first use on. `arguments` are what a `Desk` is made of."""

    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments
        self._lock = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._close: Callable[[], Any] | None = None

    async def application(self) -> Callable[[], asyncio.Protocol]:
        """The factory of its server protocol."""
        async with self._lock:
            if self._runner is None:
                await asyncio.to_thread(_load)
                from gateway.portal.application import build

                self._runner, self._close = await build(**self._arguments)
        server = self._runner.server
        assert server is not None
        return server

    async def warm_up(self) -> None:
        """Load it before anybody asks. What cannot be loaded is told to who asks."""
        try:
            await self.application()
            await asyncio.to_thread(self._arguments["pages"].prepare)
        except Exception:
            logger.exception("our own endpoints cannot be loaded")

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._close is not None:
            await self._close()


def _load() -> None:
    for name in _MODULES:
        importlib.import_module(name)
