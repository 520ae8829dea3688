"""The admin port: metrics, health, the admin API. It lives in the supervisor and never touches a client's request.

Built on aiohttp's low-level server and a table of endpoints instead of its Application: the paths are few and exact
(`//metrics`, `/v1/../metrics` and `/metrics/` are nothing), a path that is not in the table is not told apart from
one that is until the token was judged, and aiohttp's own error page, which repeats what the sender sent and names
versions [O06], is replaced in the one place where it is made.

    path               who may ask
    /metrics           anybody who reaches the port, under any name: scrapers and probes know neither names nor tokens
    /livez /readyz     the same
    /                  an empty page; with a token, the list of endpoints
    everything else    a loopback or listed Host, no foreign Origin, and the token        [B3]
"""

import asyncio
import logging
import os
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from gateway.admin import guard, health
from gateway.admin.answers import Problem, bytes_answer, json_answer, text_answer
from gateway.admin.openapi import document
from gateway.admin.revocations import LARGEST_BODY, no_such_revocation, read_id, read_revocation
from gateway.admin.status import status_document
from gateway.config.address import Address
from gateway.config.schema import Config
from gateway.errors import StoreError, StoreLost
from gateway.listeners import CannotListen, Listeners
from gateway.revocation.log import RevocationLog, RevocationRefused
from gateway.revocation.receipt import Receipt
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics

RETRY_AFTER_S: Final = 2
FAREWELL_S: Final = 2.0
EXEMPT_PATHS: Final = frozenset({"/metrics", "/livez", "/readyz"})
SOURCE: Final = "api"

logger: Final = logging.getLogger("gateway.admin")


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed the guard. `token` is the place of the token it came with, 0 without one."""

    request: web.BaseRequest
    query: str
    token: int
    name: str = ""


class Admin:
    """Per process: the endpoints and what they read from. Changes nothing but the revocation log."""

    def __init__(
        self,
        config: Config,
        config_path: str,
        overview: health.Overview,
        log: RevocationLog,
        exposition: Exposition,
        metrics: WorkerMetrics,
        security: SecurityLog,
    ) -> None:
        self._config = config
        self._config_path = config_path
        self._overview = overview
        self._log = log
        self._exposition = exposition
        self._metrics = metrics
        self._security = security
        self._names = guard.allowed_names(config.admin.listen, config.admin.allowed_hosts)
        self._issuers = frozenset(issuer.issuer for issuer in config.issuers)
        self.endpoints: dict[str, dict[str, Endpoint]] = {
            "/metrics": {"GET": self._get_metrics},
            "/livez": {"GET": self._get_livez},
            "/readyz": {"GET": self._get_readyz},
            "/": {"GET": self._get_page},
            "/openapi.json": {"GET": self._get_openapi},
            "/v1/status": {"GET": self._get_status},
            "/v1/revocations": {"POST": self._post_revocation},
            "/v1/revocations/{id}": {"DELETE": self._delete_revocation},
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Guard, find, call. Every failure leaves through here, as problem+json in our words."""
        try:
            path, _, query = request.raw_path.partition("?")
            token = self._guard(request, path)
            endpoint, name = self._find(request.method, path)
            return await endpoint(Call(request, query, token, name))
        except Problem as problem:
            return problem.answer()
        except StoreError as error:
            logger.warning("The store did not answer the admin API: %s", error)
            return store_problem(error).answer()
        except (web.HTTPException, ConnectionError):
            return Problem(400, "The request cannot be read").answer()
        except Exception:
            logger.exception("An admin endpoint failed")
            return Problem(500, "The gateway failed", "Its log says why.").answer()

    def _guard(self, request: web.BaseRequest, path: str) -> int:
        """The place of the token presented (0: none, and none needed). Raises Problem."""
        if path in EXEMPT_PATHS:
            return 0
        headers = request.headers
        hosts = headers.getall("Host", [])
        if not guard.is_host_allowed(hosts, self._names):
            raise Problem(
                403, "The admin port is not known under this name", "Use a loopback name, or list it in admin.allowed_hosts."
            )
        if not guard.is_same_origin(headers.getall("Origin", []), headers.getall("Sec-Fetch-Site", []), hosts[0]):
            raise Problem(403, "The admin port does not serve other sites")
        token = guard.which_token(headers.getall("Authorization", []), self._config.admin.tokens) or 0
        if not token and path != "/":
            raise Problem(401, "The admin token is required", headers={"WWW-Authenticate": 'Bearer realm="gateway admin"'})
        return token

    def _find(self, method: str, path: str) -> tuple["Endpoint", str]:
        """The endpoint, and the last part of its path where that is a name. Raises Problem."""
        name = ""
        if match := _NAMED.fullmatch(path):
            path, name = match["collection"] + "{id}", match["name"]
        methods = self.endpoints.get(path)
        if methods is None:
            raise Problem(404, "There is nothing at this address")
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            allowed = ", ".join(methods)
            raise Problem(405, "This method is not served here", f"Served are: {allowed}.", headers={"Allow": allowed})
        return endpoint, name

    async def _get_metrics(self, call: Call) -> web.StreamResponse:
        body, content_type = self._exposition.page(call.request.headers.get("Accept", ""))
        return bytes_answer(body, content_type)

    async def _get_livez(self, call: Call) -> web.StreamResponse:
        return text_answer("alive\n")

    async def _get_readyz(self, call: Call) -> web.StreamResponse:
        is_verbose = any(part.partition("=")[0] == "verbose" for part in call.query.split("&"))
        status, text = health.readiness_page(self._overview, is_verbose)
        return text_answer(text, status)

    async def _get_page(self, call: Call) -> web.StreamResponse:
        page = "<!doctype html><title></title>\n"
        if call.token:
            names = "".join(f"<li>{method} {path}\n" for path, methods in self.endpoints.items() for method in methods)
            page = f"<!doctype html><title>gateway</title>\n<h1>gateway</h1>\n<ul>\n{names}</ul>\n"
        return text_answer(page, content_type="text/html; charset=utf-8")

    async def _get_openapi(self, call: Call) -> web.StreamResponse:
        return json_answer(document())

    async def _get_status(self, call: Call) -> web.StreamResponse:
        try:
            register = await self._log.members()
            store = {"epoch": register.epoch or None, "head": register.head, "members": len(register.members)}
        except StoreError:
            store = {"epoch": None, "head": None, "members": None}
        return json_answer(status_document(self._overview, store, self._config_path))

    async def _post_revocation(self, call: Call) -> web.StreamResponse:
        headers = call.request.headers
        if "Content-Encoding" in headers:
            raise Problem(415, "The body must not be compressed", headers={"Accept-Encoding": "identity"})
        if call.request.content_length is not None and call.request.content_length > LARGEST_BODY:
            raise Problem(413, "The body is too large", f"At most {LARGEST_BODY} bytes are read.", {"Connection": "close"})
        revocation = read_revocation(
            await call.request.read(),
            headers.getall("Content-Type", []),
            self._config.own_issuer,
            self._issuers,
            SOURCE,
        )
        try:
            receipt = await self._log.revoke(revocation)
        except RevocationRefused as error:
            raise Problem(422, "The revocation is not valid", str(error)) from None
        return self._told(call, receipt, revocation.kind.value, revocation.name, 201)

    async def _delete_revocation(self, call: Call) -> web.StreamResponse:
        name = read_id(call.name)
        try:
            receipt = await self._log.undo(name)
        except RevocationRefused as error:
            raise no_such_revocation(str(error)) from None
        return self._told(call, receipt, "lift", name, 200)

    def _told(self, call: Call, receipt: Receipt, kind: str, subject: str, status: int) -> web.StreamResponse:
        """Count it, log who did it, and hand the receipt out. 202: not complete at the deadline [W3]."""
        self._metrics.revocation(kind, SOURCE)
        self._security.revocation(
            kind=kind,
            subject=subject,
            by=f"admin token {call.token}",
            receipt=receipt.id,
            is_complete=receipt.complete,
        )
        return json_answer(receipt.as_json(), status if receipt.complete else 202)


Endpoint = Callable[[Call], Awaitable[web.StreamResponse]]

_NAMED: Final = re.compile(r"(?P<collection>/v1/revocations/)(?P<name>[^/]+)")


def store_problem(error: StoreError) -> Problem:
    """503 that does not pretend: an append whose answer was lost may have happened; a lost store refused it."""
    if isinstance(error, StoreLost):
        detail = f"Nothing was recorded: {error}."
    else:
        detail = "The result is unknown: the revocation may or may not have been recorded. Repeat it; repeating is safe."
    return Problem(
        503, "The store did not answer", detail, headers={"Retry-After": str(RETRY_AFTER_S)}, reason="store-unavailable"
    )


class AdminListener:
    """The admin port's socket and connections. `address` has port 0 resolved."""

    def __init__(self, admin: Admin) -> None:
        self._runner = web.ServerRunner(_Server(admin.answer), handle_signals=False, shutdown_timeout=FAREWELL_S)
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
        except OSError as error:
            raise CannotListen(f"cannot listen on {listen}: {error.strerror or error}") from error
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
    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
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
