"""Paths, methods and handlers of our own endpoints, and how what they raise is answered.

Refusal                  its status; for a person the page it came from with a word about it, or the page of a refusal
StoreError               503 store-unavailable, cookies untouched
accounts, hashes away    503; nothing was judged
anything else            500, in our words, with one log line
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from gateway.errors import AccountsError, GatewayError, StoreError
from gateway.login.passwords import RETRY_AFTER_S, LoginBusy
from gateway.portal import devices, leaving, login, password, refresh
from gateway.portal.answers import page, problem, redirect, refusal_headers
from gateway.portal.asking import LARGEST_BODY, Asking, Refusal, path_here
from gateway.portal.desk import Desk, refusal_of
from gateway.reasons import Reason
from gateway.tokens.ring import KEY_SET_HEADERS

logger: Final = logging.getLogger("gateway.portal")

Handler = Callable[[Desk, Asking], Awaitable[web.StreamResponse]]

_NO_LIMIT: Final = 4 * 1024 * 1024
_PAGES: Final[dict[str, str]] = {"/auth/login": "login", "/auth/register": "register"}


async def build(**arguments: Any) -> tuple[web.AppRunner, Callable[[], Awaitable[None]]]:
    """The running application, and what closes what it owns."""
    desk = Desk(**arguments)
    application = web.Application(client_max_size=LARGEST_BODY)
    application.on_response_prepare.append(_without_server)
    endpoints: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/auth/login", login.login_page),
        ("POST", "/auth/login", login.login),
        ("GET", "/auth/register", login.register_page),
        ("POST", "/auth/register", login.sign_up),
        ("POST", "/auth/refresh", refresh.refresh),
        ("POST", "/auth/logout", leaving.logout),
        ("POST", "/auth/logout-all", leaving.logout_all),
        ("POST", "/auth/password", password.change_password),
        ("GET", "/auth/me", devices.me),
        ("GET", "/auth/sessions", devices.sessions),
        ("DELETE", "/auth/sessions/{sid}", leaving.end_one),
        ("POST", "/auth/sessions/{sid}/end", leaving.end_one),
        ("GET", "/auth/devices", devices.devices_page),
        ("GET", "/.well-known/jwks.json", key_set),
    )
    for method, path, handler in endpoints:
        application.router.add_route(method, path, _answering(desk, handler))
        if method == "GET":
            application.router.add_route("HEAD", path, _answering(desk, handler))
    paths = {path for _, path, _ in endpoints}
    for path in paths:
        allowed = sorted({method for method, other, _ in endpoints if other == path})
        application.router.add_route("*", path, _answering(desk, _wrong_method(allowed)))
    application.router.add_route("*", "/{rest:.*}", _answering(desk, _nothing_here))
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        auto_decompress=False,
        # The data plane has judged sizes already; what this would refuse it would repeat in its answer.
        max_line_size=_NO_LIMIT,
        max_field_size=_NO_LIMIT,
    )
    await runner.setup()
    return runner, desk.close


async def key_set(desk: Desk, asking: Asking) -> web.Response:
    """The public keys, for whoever verifies our tokens or assertions (RFC 7517)."""
    answer = web.json_response(desk.mint.ring.published())
    answer.headers.update(KEY_SET_HEADERS)
    return answer


async def _nothing_here(desk: Desk, asking: Asking) -> web.StreamResponse:
    raise refusal_of(Reason.NO_ROUTE)


def _wrong_method(allowed: list[str]) -> Handler:
    async def refuse(desk: Desk, asking: Asking) -> web.StreamResponse:
        refusal = Refusal(405, "This method is not served here", f"Served are: {', '.join(allowed)}.", reason=Reason.BAD_REQUEST)
        answer = _answer_to(refusal, desk, asking)
        answer.headers["Allow"] = ", ".join(allowed)
        return answer

    return refuse


def _answering(desk: Desk, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        asking = Asking(request, desk.names)
        try:
            response = await handler(desk, asking)
        except Refusal as refusal:
            response = _answer_to(refusal, desk, asking)
        except StoreError as error:
            logger.warning("the store did not answer %s: %s", request.path, error)
            _count_login(desk, request)
            response = _answer_to(refusal_of(Reason.STORE_UNAVAILABLE, str(error), said="unavailable"), desk, asking)
        except (AccountsError, LoginBusy) as error:
            logger.warning("accounts: %s", error)
            _count_login(desk, request)
            busy = Refusal(503, "Signing in is not possible at the moment", retry_after_s=RETRY_AFTER_S, said="unavailable")
            response = _answer_to(busy, desk, asking)
        except GatewayError:
            logger.exception("%s failed", request.path)
            response = _answer_to(Refusal(500, "The gateway failed"), desk, asking)
        except web.HTTPException as error:
            response = _answer_to(Refusal(error.status, "The request cannot be read"), desk, asking)
        except Exception:  # the task's root: one endpoint's mistake ends neither the connection's other requests nor the worker
            logger.exception("%s failed", request.path)
            response = _answer_to(Refusal(500, "The gateway failed"), desk, asking)
        return response

    return answer


async def _without_server(request: web.Request, response: web.StreamResponse) -> None:
    """Nobody learns what serves here."""
    response.headers.popall("Server", None)


def _count_login(desk: Desk, request: web.Request) -> None:
    if request.path == "/auth/login" and request.method == "POST":
        desk.metrics.login("unavailable")


def _answer_to(refusal: Refusal, desk: Desk, asking: Asking) -> web.StreamResponse:
    cookies = desk.writer.clear() if refusal.clears_cookies else b""
    if not asking.is_for_a_person:
        return problem(refusal, asking, cookies)
    came_from = _PAGES.get(asking.request.path)
    if refusal.said and asking.request.path.startswith(("/auth/password", "/auth/sessions")):
        return redirect(desk.url(f"/auth/devices?said={refusal.said}"), cookies)
    if refusal.said and came_from is not None:
        typed = {"email": asking.typed.get("email", ""), "return_to": path_here(asking.typed.get("return_to", "/"))}
        shown = getattr(desk.pages, came_from)(asking.language, said=refusal.said, **typed)
    elif refusal.status == 503 and asking.request.path.startswith("/auth/logout"):
        shown = desk.pages.login(asking.language, said="leaving")
    elif refusal.reason is not None:
        shown = desk.pages.refusal(asking.language, refusal.reason, asking.request_id, refusal.status)
    else:
        shown = desk.pages.error(asking.language, refusal.status, asking.request_id)
    return page(shown.body, {**shown.headers, **refusal_headers(refusal)}, refusal.status, cookies)
