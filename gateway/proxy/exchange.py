"""The request, top to bottom. One function, stepped by hand (`steps`); every exit meets in `report.finish`.

    match -> decide -> connect -> send -> answer -> relay

Nothing is awaited between the last decision and the first byte to the backend [W4]: after every wait the loop decides again.
"""

from typing import TYPE_CHECKING

from gateway.enforce.decide import decide
from gateway.enforce.verdict import Allow, Deny, NeedsClaim
from gateway.enforce.verified import Verified
from gateway.errors import ClientError, ClientGone, GatewayError, StoreError, TooLarge
from gateway.proxy.live import Cut, Stream, Upload, cause_to_end, end_if_revoked
from gateway.proxy.refuse import fail, refuse
from gateway.proxy.report import CLIENT_CLOSED, Record
from gateway.proxy.splice import Tunnel
from gateway.proxy.steps import wait_for_task
from gateway.proxy.upstream import StaleConnection, UpstreamConnection
from gateway.reasons import Reason
from gateway.routes.route import Route
from gateway.wire.answer import AnswerHead
from gateway.wire.framing import CloseDecoder
from gateway.wire.head import RequestHead
from gateway.wire.respond import CONTINUE
from gateway.wire.rewrite import forwarded_lines, new_request_id, switching_protocols, to_client, to_upstream, trace_lines
from gateway.wire.websocket import refuse_wrong_handshake

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane

# Idempotent (RFC 9110 §9.2.2): doing it twice is doing it once. TRACE never gets here.
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


async def exchange(client: "ClientConnection", head: RequestHead, plane: "Plane") -> None:
    """Serve one request. Ends when its answer, or its tunnel, is over; never raises."""
    clock = plane.clock
    request_id = head.request_id or new_request_id()
    now, boot = clock.wall(), clock.boot()  # read again after every wait, so as good as read at each decision
    record = Record(head.method, head.path, request_id, client.client_address(head), now, boot)
    upstream: UpstreamConnection | None = None
    is_clean = True
    is_claimed = is_repeated = False
    try:
        route = record.route = head.route or plane.routes.match(head.method, head.path)
        if route is None:
            return refuse(client, head, record, Reason.NO_ROUTE)
        head.route = route  # the head is met again when the connection repeats its request
        if head.is_service_worker and not route.allows_service_worker:  # [C2]
            return refuse(client, head, record, Reason.FORBIDDEN, "service workers are not allowed here")
        refuse_announced_body(head, plane)
        pool = plane.pools[route.upstream]
        while True:
            verdict = decide(head.authorization, route, plane.known, now, boot, is_claimed=is_claimed)
            record.verdict = verdict
            if type(verdict) is Deny:
                plane.refused(verdict)
                return refuse(client, head, record, verdict.reason, verdict.detail)
            if type(verdict) is NeedsClaim:
                is_claimed = await wait_for_task(plane.loop.create_task(plane.claim_once(verdict.token, route.name)))
                if not is_claimed:
                    record.verdict = Deny(Reason.REPLAYED_TOKEN, token=verdict.token)
                    return refuse(client, head, record, Reason.REPLAYED_TOKEN)
                now, boot = clock.wall(), clock.boot()
                continue
            assert type(verdict) is Allow
            if upstream is None or upstream.is_closed:
                upstream = pool.take()
                if upstream is None:
                    upstream = await pool.wait()
                    now, boot = clock.wall(), clock.boot()
                    continue
            body = client.take_body(head) if head.has_body else None
            is_clean = False
            record.asked_at = boot
            lines = head_lines(
                head,
                route,
                verdict.token,
                client.peer_bytes,
                plane.scheme,
                pool.authority,
                request_id,
                is_trusted=client.is_trusted,
            )
            upstream.send_head(lines, client, wants_upgrade=head.upgrade is not None)
            if body is not None:
                if head.expects_continue:
                    client.transport.write(CONTINUE)
                client.start_body(body, upstream)
            try:
                if body is None or client.is_body_complete or verdict.token is None:
                    answer = await upstream.answer
                else:
                    with Upload(client, verdict.token, route, plane):
                        answer = await upstream.answer
                break
            except StaleConnection:
                if is_repeated or head.has_body or head.upgrade or head.method not in _REPEATABLE:
                    raise
                is_repeated = True
                upstream = await pool.open_fresh()
                now, boot = clock.wall(), clock.boot()
                is_clean = True

        record.answered_at = clock.boot()
        record.status = answer.status
        if answer.status == 101:
            return await tunnel(client, upstream, head, answer, record, plane)
        if head.upgrade is not None:
            client.is_persistent = False  # bytes meant for a tunnel must not be read as a request
        is_all_sent = body is None or client.is_body_complete
        has_body = answer.has_body(head.method)
        is_chunked_out = has_body and answer.content_length is None and head.minor == 1
        if not is_all_sent or (has_body and answer.content_length is None and not is_chunked_out):
            client.is_persistent = False
        answer_head = to_client(
            answer,
            has_body=has_body,
            is_chunked=is_chunked_out,
            is_persistent=client.is_persistent,
            minor=head.minor,
            is_private=verdict.token is not None and not route.is_shared,
        )
        is_clean = answer.is_persistent and is_all_sent
        whole = upstream.whole_body(answer.content_length) if has_body and answer.content_length is not None else None
        if not has_body or whole is not None:
            record.is_answered = True
            client.transport.write(answer_head if whole is None else answer_head + whole)
            return None
        client.upstream = upstream
        decoder = answer.decoder()
        is_clean = is_clean and not isinstance(decoder, CloseDecoder)
        is_over = upstream.relay_body(answer_head, decoder, is_chunked_out=is_chunked_out)
        record.is_answered = True
        if is_over:
            return None
        record.answered_at = 0.0  # a stream is the application's time, or the client's, not ours
        if verdict.token is None:
            await upstream.finished
        else:
            if (cause := cause_to_end(verdict.token, route, plane)) is not None:
                raise Cut(cause)
            with Stream(client, verdict.token, route, plane):
                await upstream.finished
        return None
    except Cut as cut:
        is_clean = False
        record.status = record.status or 401
        plane.report.metrics.connection_cut(cut.cause)
        client.break_off()
    except ClientGone:
        is_clean = False
        if not record.is_answered:
            record.status = CLIENT_CLOSED
    except GatewayError as error:
        is_clean = is_clean and upstream is not None and isinstance(error, ClientError | StoreError)
        fail(client, head, record, error)
    except Exception as error:
        is_clean = False
        plane.report.broken(error)
        client.break_off()
    finally:
        if upstream is not None:
            upstream.end_exchange(is_clean=is_clean)
        plane.report.finish(record, clock.boot())


def refuse_announced_body(head: RequestHead, plane: "Plane") -> None:
    """Refuse a body that is too long by its own announcement, before anything is asked or forwarded."""
    limit = plane.limits.body
    if limit is not None and head.content_length is not None and head.content_length > limit:
        raise TooLarge("the body is larger than allowed here", 413)


def head_lines(
    head: RequestHead,
    route: Route,
    token: Verified | None,
    peer: bytes,
    scheme: bytes,
    authority: bytes,
    request_id: bytes,
    *,
    is_trusted: bool,
) -> bytes:
    """The request head with everything the gateway has to say. What it consumed is left out, what was not judged is not.

    All but the ids is the same when a connection repeats a request with the same token, and is kept with the head.
    """
    sent = head.sent
    if sent is None or sent[0] is not token:
        sent = head.sent = (token, _lines_without_ids(head, route, token, peer, scheme, authority, is_trusted=is_trusted))
    return sent[1] + trace_lines(head, request_id)


def _lines_without_ids(
    head: RequestHead, route: Route, token: Verified | None, peer: bytes, scheme: bytes, authority: bytes, *, is_trusted: bool
) -> bytes:
    added = [forwarded_lines(head, peer, scheme, is_trusted=is_trusted)]
    if token is not None:
        added.append(token.identity)
    authorization = head.authorization
    if authorization is not None:
        if token is None or route.forward_authorization or route.forward_token == "authorization":
            added.append(b"Authorization: %b\r\n" % authorization)
        elif route.forward_token == "x-access-token":
            added.append(b"X-Access-Token: %b\r\n" % authorization[7:])
    return to_upstream(head, authority, tuple(added))


async def tunnel(
    client: "ClientConnection",
    upstream: UpstreamConnection,
    head: RequestHead,
    answer: AnswerHead,
    record: Record,
    plane: "Plane",
) -> None:
    """After 101: splice until one side, or the session, ends."""
    is_websocket = head.upgrade is not None and head.upgrade.lower() == b"websocket"
    refuse_wrong_handshake(head, answer)
    verdict, route = record.verdict, record.route
    assert type(verdict) is Allow and route is not None
    record.is_answered = True
    client.is_persistent = False
    ends = Tunnel(client, upstream, plane, token=verdict.token, route=route, is_websocket=is_websocket)
    client.transport.write(switching_protocols(answer))
    client.start_tunnel(ends, upstream)
    upstream.start_tunnel(ends)
    if verdict.token is not None:
        plane.live.add(ends)
        end_if_revoked(ends, plane)
    record.answered_at = 0.0
    try:
        await ends.ended
    finally:
        if verdict.token is not None:
            plane.live.remove(ends)
        if ends.cause is not None:
            plane.report.metrics.connection_cut(ends.cause)
        ends.end()
