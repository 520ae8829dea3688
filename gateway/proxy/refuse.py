"""How an exchange ends early: with a refusal, with an error's answer, or, when an answer has begun, with a closed connection.

    a navigation without a token, or with one that cannot be renewed     303 to the login page, and back
    any other refusal of a navigation                                    a page
    everything else                                                      problem+json

Cookies of a rotation go out with a refusal too; cookies of a session that is over are cleared, but only where a person navigates:
a late answer to a script must not take a new session's cookies away [R4].
"""

from typing import TYPE_CHECKING, Final

from gateway.enforce.shown import shown_by
from gateway.enforce.verdict import Deny
from gateway.errors import ClientError, GatewayError, StoreError, TooLarge, UpstreamError, UpstreamTimeout
from gateway.proxy.renewal import cookies_of
from gateway.proxy.report import Record
from gateway.reasons import REFUSALS, Reason
from gateway.wire.cookies import is_mostly_cookies
from gateway.wire.head import RequestHead
from gateway.wire.respond import Form, to_login
from gateway.wire.rewrite import new_request_id

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane

_NO_COOKIES: Final = b'Clear-Site-Data: "cookies"\r\n'
_NAVIGATION: Final = b"\r\nsec-fetch-mode: navigate\r\n"
# A login makes these good again.
_SIGN_IN: Final = frozenset((Reason.NO_TOKEN, Reason.EXPIRED_TOKEN))
# After these the cookies are of no use to anybody, whatever is done.
_OVER: Final = frozenset(
    (
        Reason.EXPIRED_TOKEN,
        Reason.REVOKED_TOKEN,
        Reason.OLD_VERSION,
        Reason.REVOKED_SESSION,
        Reason.UNKNOWN_SESSION,
        Reason.REFRESH_REUSED,
        Reason.RETIRED_KEY,
        Reason.MALFORMED_TOKEN,
        Reason.BAD_SIGNATURE,
    )
)


def refuse(
    client: "ClientConnection",
    head: RequestHead,
    record: Record,
    plane: "Plane",
    reason: Reason,
    detail: str = "",
    status: int | None = None,
) -> None:
    """Answer with a refusal. The connection goes on when nothing on it can be misread: no upgrade, no unread body."""
    must_close = head.upgrade is not None or client.is_sending_body or not client.skip_body(head)
    if must_close or reason in (Reason.BAD_REQUEST, Reason.TOO_LARGE) or plane.is_draining:
        client.is_persistent = False
    is_for_a_person = shown_by(head).is_navigation
    cookies = _cookies(head, record, plane, reason, is_for_a_person=is_for_a_person)
    record.reason = reason
    record.is_answered = True
    close = not client.is_persistent
    if is_for_a_person and reason in _SIGN_IN and plane.login_url:
        record.status = 303
        answer = to_login(plane.login_url, head.path, head.query, reason, record.request_id, cookies=cookies, close=close)
    else:
        record.status = status or REFUSALS[reason].status
        language = plane.language_of(head.field(b"accept-language")) if is_for_a_person else ""
        form = Form(reason, status, detail, language, head.method == b"HEAD", close)
        answer = plane.refusals.answer(form, record.request_id, cookies)
    client.transport.write(answer)


def _cookies(head: RequestHead, record: Record, plane: "Plane", reason: Reason, *, is_for_a_person: bool) -> bytes:
    if record.renewal is not None:
        return cookies_of(record.renewal, plane)
    verdict = record.verdict
    has_cookies = head.access_cookie is not None or head.refresh_cookie is not None
    if not is_for_a_person or not has_cookies or type(verdict) is not Deny or head.authorization is not None:
        return b""
    return plane.cookie_writer.clear() if reason in _OVER or verdict.ends_session else b""


def fail(client: "ClientConnection", head: RequestHead, record: Record, plane: "Plane", error: GatewayError) -> None:
    """Answer an error with its refusal, or, when an answer has begun, end the connection so that it cannot look complete."""
    if record.is_answered:
        client.break_off()
        return
    if isinstance(error, ClientError):
        reason = Reason.TOO_LARGE if isinstance(error, TooLarge) else Reason.BAD_REQUEST
        refuse(client, head, record, plane, reason, str(error), error.status)
    elif isinstance(error, StoreError):
        refuse(client, head, record, plane, Reason.STORE_UNAVAILABLE)
    elif isinstance(error, UpstreamTimeout):
        refuse(client, head, record, plane, Reason.UPSTREAM_TIMEOUT)
    elif isinstance(error, UpstreamError):
        refuse(client, head, record, plane, Reason.UPSTREAM_UNREACHABLE)
    else:
        client.break_off()


def refuse_head(client: "ClientConnection", plane: "Plane", error: ClientError, raw: bytes = b"") -> None:
    """Refuse what is not a request, or not all of one: answer, and read nothing behind it.

    A browser that has more cookies than we read would be refused for ever, whoever planted them: it is told to drop them [S24].
    """
    reason = Reason.TOO_LARGE if isinstance(error, TooLarge) else Reason.BAD_REQUEST
    record = Record(b"-", b"", new_request_id(), client.peer, plane.clock.wall(), plane.clock.boot())
    record.reason, record.status = reason, error.status
    client.is_persistent = False
    is_bomb = error.status == 431 and is_mostly_cookies(raw)
    language = plane.language_of(None) if is_bomb and _NAVIGATION in raw.lower() else ""
    form = Form(reason, error.status, str(error), language, close=True)
    client.transport.write(plane.refusals.answer(form, record.request_id, _NO_COOKIES if is_bomb else b""))
    client.linger()
    plane.report.finish(record, plane.clock.boot())
