"""The request, top to bottom. One function, stepped by hand (`steps`); every exit meets in `report.finish`.

    match -> decide -> connect -> send -> answer -> relay

Nothing is awaited between the last decision and the first byte to the backend [W4]: after every wait the loop decides again.
"""

from typing import TYPE_CHECKING

from gateway.enforce.decide import decide, judge
from gateway.enforce.verdict import Allow, Deny, NeedsClaim
from gateway.enforce.verified import Verified
from gateway.errors import (
    ClientError,
    ClientGone,
    GatewayError,
    StoreError,
    TooLarge,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
)
from gateway.proxy.live import LiveExchange
from gateway.proxy.report import CLIENT_CLOSED, Record
from gateway.proxy.splice import Tunnel
from gateway.proxy.steps import wait_for_task
from gateway.proxy.upstream import StaleConnection, UpstreamConnection
from gateway.reasons import REFUSALS, Reason
from gateway.routes.route import Route
from gateway.wire.answer import AnswerHead
from gateway.wire.framing import CloseDecoder
from gateway.wire.head import RequestHead
from gateway.wire.respond import CONTINUE, refusal, wants_page
from gateway.wire.rewrite import forwarded_lines, new_request_id, switching_protocols, to_client, to_upstream, trace_lines
from gateway.wire.websocket import accept

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane

# RFC 9110 §9.2.2, less those that change something: what is repeated is repeated without asking.
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
        route = record.route = plane.routes.match(head.method, head.path)
        if route is None:
            return refuse(client, head, record, Reason.NO_ROUTE)
        refuse_announced_body(head, plane)
        pool = plane.pools[route.upstream]
        while True:
            verdict = decide(head.authorization, route, plane.known, now, boot, is_claimed=is_claimed)
            record.verdict = verdict
            if type(verdict) is Deny:
                if verdict.reason is Reason.UNKNOWN_KEY and verdict.issuer is not None:
                    plane.unknown_key(verdict.issuer)
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
            if head.has_body:
                if head.expects_continue:
                    client.transport.write(CONTINUE)
                client.start_body(head, upstream)
            try:
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
        has_body = answer.has_body(head.method)
        is_chunked_out = has_body and answer.content_length is None and head.minor == 1
        if not client.is_body_complete or (has_body and answer.content_length is None and not is_chunked_out):
            client.is_persistent = False
        answer_head = to_client(
            answer, has_body=has_body, is_chunked=is_chunked_out, is_persistent=client.is_persistent, minor=head.minor
        )
        record.is_answered = True
        is_clean = answer.is_persistent and client.is_body_complete
        whole = upstream.whole_body(answer.content_length) if has_body and answer.content_length is not None else None
        if not has_body or whole is not None:
            client.transport.write(answer_head if whole is None else answer_head + whole)
            return None
        client.upstream = upstream
        decoder = answer.decoder()
        is_clean = is_clean and not isinstance(decoder, CloseDecoder)
        if not upstream.relay_body(answer_head, decoder, is_chunked_out=is_chunked_out):
            with Stream.listed(client, verdict.token, route, plane):
                await upstream.finished
        return None
    except Cut as cut:
        is_clean = False
        plane.report.metrics.connection_cut(cut.cause)
        client.transport.abort()
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
        client.transport.abort()
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
    """The request head with everything the gateway has to say. What it consumed is left out, what was not judged is not."""
    added = [forwarded_lines(head, peer, scheme, is_trusted=is_trusted), trace_lines(head, request_id)]
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
    try:
        await ends.ended
    finally:
        if verdict.token is not None:
            plane.live.remove(ends)
        if ends.cause is not None:
            plane.report.metrics.connection_cut(ends.cause)
        ends.end()


def refuse_wrong_handshake(head: RequestHead, answer: AnswerHead) -> None:
    """The backend must have understood the handshake (RFC 6455 §4.1), and switched to what was asked."""
    assert head.upgrade is not None
    if answer.upgrade is None or answer.upgrade.lower() != head.upgrade.lower():
        raise UpstreamBroken("the upstream switched to another protocol")
    if head.upgrade.lower() != b"websocket":
        return
    if answer.field(b"sec-websocket-accept") != accept(head.websocket_key or b""):
        raise UpstreamBroken("the upstream's Sec-WebSocket-Accept is wrong")
    for name in (b"sec-websocket-protocol", b"sec-websocket-extensions"):
        if answer.field(name) is not None and head.field(name) is None:
            raise UpstreamBroken("the upstream chose what the client did not offer")


class Cut(GatewayError):
    """The session ended while its answer was still being sent."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Stream:
    """An answer that is still being sent: listed among the live exchanges while it is, if it is somebody's."""

    __slots__ = ("_client", "_live", "route", "token")

    def __init__(self, client: "ClientConnection", token: Verified, route: Route, plane: "Plane") -> None:
        self._client = client
        self._live = plane.live
        self.token = token
        self.route = route

    @classmethod
    def listed(cls, client: "ClientConnection", token: Verified | None, route: Route, plane: "Plane") -> "Stream | Unlisted":
        """A context manager. Raises Cut at once when the token was revoked while the backend was answering."""
        if token is None:
            return Unlisted()
        verdict = judge(token, route, plane.known, plane.clock.wall(), plane.clock.boot(), is_claimed=True)
        if type(verdict) is Deny:
            raise Cut(cause_of(verdict))
        return cls(client, token, route, plane)

    def cut(self, cause: str) -> None:
        self._client.interrupt(Cut(cause))

    def __enter__(self) -> None:
        self._live.add(self)

    def __exit__(self, *error: object) -> None:
        self._live.remove(self)


class Unlisted:
    """Nobody's answer: there is no session that could end."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def end_if_revoked(live: LiveExchange, plane: "Plane") -> None:
    """Judge a live exchange anew, and end it when it would not be allowed any more."""
    verdict = judge(live.token, live.route, plane.known, plane.clock.wall(), plane.clock.boot(), is_claimed=True)
    if type(verdict) is Deny:
        live.cut(cause_of(verdict))


def cause_of(verdict: Deny) -> str:
    """The label of `gateway_connections_cut_total`."""
    if verdict.kind is not None:
        return verdict.kind.value
    return {Reason.EXPIRED_TOKEN: "expired", Reason.STORE_UNAVAILABLE: "stale"}.get(verdict.reason, "other")


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
        client.transport.abort()
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
        client.transport.abort()


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
