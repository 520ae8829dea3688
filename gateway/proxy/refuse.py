"""How an exchange ends early: with a refusal, with an error's answer, or, when an answer has begun, with a closed connection."""

from typing import TYPE_CHECKING

from gateway.errors import ClientError, GatewayError, StoreError, TooLarge, UpstreamError, UpstreamTimeout
from gateway.proxy.report import Record
from gateway.reasons import REFUSALS, Reason
from gateway.wire.head import RequestHead
from gateway.wire.respond import refusal, wants_page
from gateway.wire.rewrite import new_request_id

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane


def refuse(
    client: "ClientConnection", head: RequestHead, record: Record, reason: Reason, detail: str = "", status: int | None = None
) -> None:
    """Answer with a refusal. The connection goes on when nothing on it can be misread: no upgrade, no unread body."""
    must_close = head.upgrade is not None or client.is_sending_body or not client.skip_body(head)
    if must_close or reason in (Reason.BAD_REQUEST, Reason.TOO_LARGE):
        client.is_persistent = False
    record.reason = reason
    record.status = status or REFUSALS[reason].status
    record.is_answered = True
    client.transport.write(
        refusal(
            reason,
            status=status,
            request_id=record.request_id,
            detail=detail,
            page=wants_page(head),
            is_head=head.method == b"HEAD",
            close=not client.is_persistent,
        )
    )


def fail(client: "ClientConnection", head: RequestHead, record: Record, error: GatewayError) -> None:
    """Answer an error with its refusal, or, when an answer has begun, end the connection so that it cannot look complete."""
    if record.is_answered:
        client.break_off()
        return
    if isinstance(error, ClientError):
        reason = Reason.TOO_LARGE if isinstance(error, TooLarge) else Reason.BAD_REQUEST
        refuse(client, head, record, reason, str(error), error.status)
    elif isinstance(error, StoreError):
        refuse(client, head, record, Reason.STORE_UNAVAILABLE)
    elif isinstance(error, UpstreamTimeout):
        refuse(client, head, record, Reason.UPSTREAM_TIMEOUT)
    elif isinstance(error, UpstreamError):
        refuse(client, head, record, Reason.UPSTREAM_UNREACHABLE)
    else:
        client.break_off()


def refuse_head(client: "ClientConnection", plane: "Plane", error: ClientError) -> None:
    """Refuse what is not a request: answer, and read nothing behind it."""
    reason = Reason.TOO_LARGE if isinstance(error, TooLarge) else Reason.BAD_REQUEST
    record = Record(b"-", b"", new_request_id(), client.peer, plane.clock.wall(), plane.clock.boot())
    record.reason, record.status = reason, error.status
    client.is_persistent = False
    client.transport.write(
        refusal(
            reason, status=error.status, request_id=record.request_id, detail=str(error), page=False, is_head=False, close=True
        )
    )
    client.linger()
    plane.report.finish(record, plane.clock.boot())
