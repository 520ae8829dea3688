"""The admin port: metrics, health, the admin API. It lives in the supervisor and never touches a client's request.

Built on aiohttp's low-level server and a table of endpoints instead of its Application: the paths are few and exact
(`//metrics`, `/v1/../metrics` and `/metrics/` are nothing), a path that is not in the table is not told apart from
one that is until the token was judged, and every failure is answered in one place, in our words.

    path               who may ask
    /metrics           anybody who reaches the port, under any name: scrapers and probes know neither names nor tokens
    /livez /readyz     the same
    /                  the page, which holds nothing of this gateway and asks for the token; with a token, the list of endpoints
    everything else    a loopback or listed Host, no foreign Origin, and the token        [B3]
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from gateway.admin import events, guard, health, keys, revocations, sessions, upkeep, users
from gateway.admin.acts import Acts
from gateway.admin.answers import Problem, bytes_answer, json_answer, text_answer
from gateway.admin.call import Call, read_name
from gateway.admin.desk import Desk
from gateway.admin.erasure import erase
from gateway.admin.failures import failure
from gateway.admin.history import History
from gateway.admin.office import Office
from gateway.admin.openapi import document
from gateway.admin.page.document import Page
from gateway.admin.paths import Paths
from gateway.admin.status import status_document
from gateway.config.schema import Config
from gateway.errors import GatewayError
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics

EXEMPT_PATHS: Final = frozenset({"/metrics", "/livez", "/readyz"})

logger: Final = logging.getLogger("gateway.admin")

Endpoint = Callable[[Call], Awaitable[web.StreamResponse]]


class Admin:
    """Per process: the endpoints and what they act through."""

    def __init__(
        self,
        config: Config,
        config_path: str,
        overview: health.Overview,
        office: Office,
        exposition: Exposition,
        metrics: WorkerMetrics,
        security: SecurityLog,
        history: History,
    ) -> None:
        self._config = config
        self._config_path = config_path
        self._overview = overview
        self._exposition = exposition
        self._names = guard.allowed_names(config.admin.listen, config.admin.allowed_hosts)
        self._desk = Desk(config, office, Acts(metrics, security, office.trail, office.clock), history)
        self._page = Page()
        self.endpoints: dict[str, dict[str, Endpoint]] = {
            "/metrics": {"GET": self._get_metrics},
            "/livez": {"GET": self._get_livez},
            "/readyz": {"GET": self._get_readyz},
            "/": {"GET": self._get_page},
            "/openapi.json": {"GET": self._get_openapi},
            "/v1/status": {"GET": self._get_status},
        }
        for path, methods in _AT_THE_DESK.items():
            self.endpoints[path] = {method: self._at_the_desk(act) for method, act in methods.items()}
        self._paths = Paths(self.endpoints)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Guard, find, call. Every failure leaves through here, as problem+json in our words."""
        call = Call(request)
        try:
            path, _, call.query = request.raw_path.partition("?")
            call.token = self._guard(request, path)
            endpoint, call.names = self._find(request.method, path)
            return await endpoint(call)
        except Problem as problem:
            return problem.answer()
        except GatewayError as error:
            logger.warning("The admin API could not do what it was asked (%s): %s", ", ".join(call.happened) or "nothing", error)
            if call.happened:
                self._desk.acts.tell_failed(call, error)
            return failure(error, call.happened, is_reading=request.method in ("GET", "HEAD")).answer()
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
        if not _leads_to_the_page(request, path) and not guard.is_same_origin(
            headers.getall("Origin", []), headers.getall("Sec-Fetch-Site", []), hosts[0]
        ):
            raise Problem(403, "The admin port does not serve other sites")
        token = guard.which_token(headers.getall("Authorization", []), self._config.admin.tokens) or 0
        if not token and path != "/":
            raise Problem(401, "The admin token is required", headers={"WWW-Authenticate": 'Bearer realm="gateway admin"'})
        return token

    def _find(self, method: str, path: str) -> tuple[Endpoint, tuple[str, ...]]:
        """The endpoint, and the names in its path. Raises Problem."""
        found = self._paths.find(path)
        if found is None:
            raise Problem(404, "There is nothing at this address")
        template, names = found
        methods = self.endpoints[template]
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            allowed = ", ".join(methods)
            raise Problem(405, "This method is not served here", f"Served are: {allowed}.", headers={"Allow": allowed})
        return endpoint, tuple(map(read_name, names))

    def _at_the_desk(self, act: "Act") -> Endpoint:
        return lambda call: act(self._desk, call)

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
        if not call.token:
            return self._page.answer()
        names = "".join(f"<li>{method} {path}\n" for path, methods in self.endpoints.items() for method in methods)
        page = f"<!doctype html><title>gateway</title>\n<h1>gateway</h1>\n<ul>\n{names}</ul>\n"
        return text_answer(page, content_type="text/html; charset=utf-8")

    async def _get_openapi(self, call: Call) -> web.StreamResponse:
        return json_answer(document())

    async def _get_status(self, call: Call) -> web.StreamResponse:
        store = await upkeep.store_document(self._desk)
        told = status_document(self._overview, store, self._config_path)
        return json_answer(told | await upkeep.office_document(self._desk))


def _leads_to_the_page(request: web.BaseRequest, path: str) -> bool:
    """A click on a link, wherever that is; never a script's request."""
    headers = request.headers
    is_navigation = guard.is_navigation(headers.getall("Sec-Fetch-Mode", []), headers.getall("Sec-Fetch-Dest", []))
    return path == "/" and request.method in ("GET", "HEAD") and is_navigation


Act = Callable[[Desk, Call], Awaitable[web.StreamResponse]]

_AT_THE_DESK: Final[dict[str, dict[str, Act]]] = {
    "/v1/revocations": {"POST": revocations.post_revocation},
    "/v1/revocations/{id}": {"DELETE": revocations.delete_revocation},
    "/v1/users": {"GET": users.list_users, "POST": users.add_user},
    "/v1/users/{user}": {"GET": users.show_user, "DELETE": erase},
    "/v1/users/{user}/password": {"PUT": users.set_password},
    "/v1/users/{user}/groups": {"PUT": users.set_groups},
    "/v1/users/{user}/block": {"GET": users.show_block, "POST": users.block, "DELETE": users.unblock},
    "/v1/users/{user}/sessions": {"GET": sessions.list_sessions, "DELETE": sessions.end_sessions},
    "/v1/sessions/{id}": {"DELETE": sessions.end_session},
    "/v1/keys": {"GET": keys.list_keys},
    "/v1/keys/rotate": {"POST": keys.rotate},
    "/v1/keys/{kid}": {"DELETE": keys.retire},
    "/v1/audit": {"GET": events.read_audit},
    "/v1/decisions": {"GET": upkeep.decisions},
    "/v1/purge": {"POST": upkeep.purge},
}
