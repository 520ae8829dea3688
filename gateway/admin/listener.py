"""The admin port's socket.

aiohttp's own error page, which repeats what the sender sent and names versions, is replaced in the one place where it is made,
and its name is taken from every answer [O06].
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from gateway.admin.answers import Problem
from gateway.admin.call import LARGEST_BODY
from gateway.config.address import Address
from gateway.listeners import CannotListen, Listeners

FAREWELL_S: Final = 2.0

Answerer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class AdminListener:
    """The admin port's socket and connections. `address` has port 0 resolved."""

    def __init__(self, answer: Answerer) -> None:
        self._runner = web.ServerRunner(_Server(answer), handle_signals=False, shutdown_timeout=FAREWELL_S)
        self._held = Listeners(())
        self.address: Address = Address()

    async def start(self, listen: Address) -> None:
        """Accept connections. Raises CannotListen when the address cannot be had."""
        await self._runner.setup()
        if listen.is_unix:
            self._held = Listeners.open([listen])
            await web.SockSite(self._runner, socket.socket(fileno=os.dup(self._held.descriptors[0]))).start()
            self.address = listen
            return
        try:
            await web.TCPSite(self._runner, listen.host, listen.port, reuse_address=True).start()
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver can be asked for
            raise CannotListen(f"cannot listen on {listen}: {getattr(error, 'strerror', '') or error}") from error
        self.address = Address(host=listen.host, port=self._runner.addresses[0][1])

    async def close(self) -> None:
        await self._runner.cleanup()
        self._held.close()


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Called before the head of every answer is written, error answers included: nobody learns what serves here."""
        response.headers.popall("Server", None)


class _Protocol(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp answers to a request it cannot parse; its own text repeats the sender's bytes."""
        answer = Problem(status, "The request cannot be read").answer()
        answer.force_close()
        return answer


# No access log: requests to the admin port are few, and what they changed is in the security log.
_SERVER_SETTINGS: Final[dict[str, Any]] = {"access_log": None, "keepalive_timeout": 75.0, "max_line_size": 8190}


class _Server(web.Server):
    def __init__(self, handler: Answerer) -> None:
        super().__init__(handler, request_factory=self._request)

    def __call__(self) -> _Protocol:
        return _Protocol(self, loop=asyncio.get_running_loop(), **_SERVER_SETTINGS)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> _Request:
        return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=LARGEST_BODY)
