"""The request, top to bottom. One function, stepped by hand (`steps`); every exit meets in `report.finish`.

    match -> decide -> connect -> send -> answer -> relay
               └ what only the store knows, then decide again (`settle`)

Nothing is awaited between the last decision and the first byte to the backend [W4]: after every wait the loop decides again.
"""

from typing import TYPE_CHECKING

from gateway.enforce.decide import NOTHING_DONE, decide
from gateway.enforce.verdict import Allow
from gateway.enforce.verified import Verified
from gateway.errors import ClientError, ClientGone, GatewayError, StoreError, TooLarge
from gateway.proxy.live import STALE, Cut, Stream, Upload, cause_to_end, end_if_revoked
from gateway.proxy.outgoing import head_lines
from gateway.proxy.refuse import fail, refuse
from gateway.proxy.renewal import cookies_of
from gateway.proxy.report import CLIENT_CLOSED, Record
from gateway.proxy.settle import settle
from gateway.proxy.splice import Tunnel
from gateway.proxy.traced import told
from gateway.proxy.uploads import Uploads, is_small
from gateway.proxy.upstream import StaleConnection, UpstreamConnection
from gateway.reasons import Reason
from gateway.routes.own import OWN_BODY_LIMIT
from gateway.routes.route import Route
from gateway.wire.answer import AnswerHead
from gateway.wire.framing import CloseDecoder
from gateway.wire.head import RequestHead
from gateway.wire.respond import CONTINUE
from gateway.wire.rewrite import new_request_id, switching_protocols, to_client, trace_of
from gateway.wire.websocket import refuse_wrong_handshake

if TYPE_CHECKING:
    from gateway.proxy.balancer import Balancer
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane
    from gateway.proxy.pool import Pool

# Idempotent (RFC 9110 §9.2.2): doing it twice is doing it once. TRACE never gets here.
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


async def exchange(client: "ClientConnection", head: RequestHead, plane: "Plane") -> None:
    """Serve one request. Ends when its answer, or its tunnel, is over; never raises."""
    clock = plane.clock
    request_id = head.request_id or new_request_id()
    now, boot = clock.wall(), clock.boot()  # read again after every wait, so as good as read at each decision
    address = client.client_address(head)
    record = Record(head.method, head.path, request_id, address, now, boot)
    record.head = head
    record.trace_id, record.traceparent = trace_of(head, request_id)
    if plane.tracer is not None:
        plane.tracer.begin(record, head, is_trusted=client.is_trusted)
    upstream: UpstreamConnection | None = None
    uploads: Uploads | None = None  # among which this one is
    is_clean = True
    is_repeated = False
    done = NOTHING_DONE
    try:
        route = record.route = head.route or plane.routes.match(head.method, head.path)
        if route is None:
            return refuse(client, head, record, plane, Reason.NO_ROUTE)
        head.route = route  # the head is met again when the connection repeats its request
        if head.is_service_worker and not route.allows_service_worker:  # [C2]
            return refuse(client, head, record, plane, Reason.FORBIDDEN, "service workers are not allowed here")
        refuse_announced_body(head, OWN_BODY_LIMIT if route.is_own else plane.limits.body)
        pool = plane.pools[route.upstream]
        while True:
            verdict = record.verdict = decide(head, address, route, plane.known, now, boot, done)
            if type(verdict) is not Allow:
                settled = await settle(verdict, done, client, head, record, plane)
                if settled is None:
                    return None  # it was refused
                done = settled
                now, boot = clock.wall(), clock.boot()
                continue
            if head.has_body and uploads is None and not client.has_gathered:
                is_crowded = not route.is_own and plane.uploads[route.upstream].is_full and not client.has_here(head)
                if route.is_own or (is_crowded and is_small(head)):
                    if head.expects_continue:
                        client.transport.write(CONTINUE)
                    await client.gather_body(head, OWN_BODY_LIMIT)
                    now, boot = clock.wall(), clock.boot()
                    continue
                if is_crowded:
                    await told(plane.uploads[route.upstream].wait(), "place for an upload", record, plane)
                    now, boot = clock.wall(), clock.boot()
                    continue
                uploads = plane.uploads[route.upstream]
                uploads.begin(client)
            if upstream is None or upstream.is_closed:
                upstream = pool.take()
                if upstream is None:
                    upstream = await told(pool.wait(), "upstream connection", record, plane)
                    now, boot = clock.wall(), clock.boot()
                    continue
            body = client.take_body(head) if head.has_body else None
            if uploads is not None:
                uploads.go_on(client)
            is_clean = False
            record.asked_at = boot
            if record.trace is not None:
                record.trace.place = upstream.pool.place
            if verdict.is_stale and verdict.token is not None:
                plane.report.admitted_unchecked(verdict.token, route, now, boot)
            upstream.send_head(
                head_lines(head, record, client, upstream.authority, plane), client, wants_upgrade=head.upgrade is not None
            )
            if body is not None:
                if head.expects_continue and not client.has_gathered:
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
                if is_repeated or not may_repeat(head, pool):
                    raise
                is_repeated = True
                if record.trace is not None:
                    record.trace.ask_again(record, clock.boot())
                upstream = await told(pool.open_fresh(upstream), "upstream connection", record, plane)
                now, boot = clock.wall(), clock.boot()
                is_clean = True

        record.answered_at = clock.boot()
        record.status = answer.status
        if route.is_own:
            record.reason = own_reason(answer)
        if answer.status == 101:
            return await tunnel(client, upstream, head, answer, record, plane)
        if head.upgrade is not None:
            client.is_persistent = False  # bytes meant for a tunnel must not be read as a request
        is_all_sent = body is None or client.is_body_complete
        has_body = answer.has_body(head.method)
        is_chunked_out = has_body and answer.content_length is None and head.minor == 1
        if not is_all_sent or (has_body and answer.content_length is None and not is_chunked_out) or plane.is_draining:
            client.is_persistent = False
        answer_head = to_client(
            answer,
            has_body=has_body,
            is_chunked=is_chunked_out,
            is_persistent=client.is_persistent,
            minor=head.minor,
            is_private=verdict.token is not None and not route.is_shared,
            cookies=b"" if record.renewal is None else cookies_of(record.renewal, plane),
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
        if verdict.token is not None and not upstream.is_end_here:  # what was waiting for its answer was listed nowhere [W1]
            end_before_it_begins(verdict.token, route, plane)
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
        if not record.is_answered:  # nobody was told: what it would have been
            record.status = 503 if cut.cause == STALE else 401
        record.cut_by = cut.cause
        plane.report.metrics.connection_cut(cut.cause)
        client.break_off()
    except ClientGone:
        is_clean = False
        if not record.is_answered:
            record.status = CLIENT_CLOSED
    except GatewayError as error:
        is_clean = is_clean and upstream is not None and isinstance(error, ClientError | StoreError)
        fail(client, head, record, plane, error)
    except Exception as error:
        is_clean = False
        plane.report.broken(error)
        client.break_off()
    finally:
        if uploads is not None:
            uploads.end(client)
        if upstream is not None:
            upstream.end_exchange(is_clean=is_clean)
        plane.report.finish(record, clock.boot())


def end_before_it_begins(token: Verified, route: Route, plane: "Plane") -> None:
    """Judge anew a stream or tunnel whose application took its time to begin it, before anybody hears of it. Raises Cut."""
    if (cause := cause_to_end(token, route, plane)) is not None:
        raise Cut(cause)


def may_repeat(head: RequestHead, pool: "Pool | Balancer") -> bool:
    """Whether the request may be sent again after a stale connection: doing it twice must be doing it once."""
    return pool.config.retries > 0 and not head.has_body and not head.upgrade and head.method in _REPEATABLE


def refuse_announced_body(head: RequestHead, limit: int | None) -> None:
    """Refuse a body that is too long by its own announcement, before anything is asked or forwarded."""
    if limit is not None and head.content_length is not None and head.content_length > limit:
        raise TooLarge("the body is larger than allowed here", 413)


def own_reason(answer: AnswerHead) -> Reason | None:
    """The reason that one of our own endpoints gives for a refusal: it is counted and logged like any other."""
    told = answer.field(b"x-gateway-reason")
    return None if told is None else Reason(told.decode("ascii"))


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
    if verdict.token is not None:
        end_before_it_begins(verdict.token, route, plane)
    record.is_answered = True
    client.is_persistent = False
    ends = Tunnel(client, upstream, plane, token=verdict.token, route=route, is_websocket=is_websocket)
    client.transport.write(switching_protocols(answer, cookies_of(record.renewal, plane)))
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
            record.cut_by = ends.cause
            plane.report.metrics.connection_cut(ends.cause)
        ends.end()
