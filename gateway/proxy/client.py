"""One client connection: bytes in, one exchange at a time, in order.

    HEAD ──a head is complete──> EXCHANGE ──body follows──> BODY ──body ends──> EXCHANGE
      ^                             │  └──101──> TUNNEL ──> closed
      └────── keep-alive ───────────┘  └──refused, bytes still coming──> LINGER ──> closed

Pipelined requests wait, unparsed, in a bounded buffer until the exchange in front of them is over; beyond the bound the
socket is not read. An exchange that ends the connection leaves what follows unread, so it can never be served.

The file is long because it is one state machine: every method asks for the same phase, and two files would share it.
"""

import asyncio
import socket
import struct
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from gateway.errors import ClientError, ClientGone, TooLarge
from gateway.proxy.exchange import exchange
from gateway.proxy.live import end_if_revoked, is_in_doubt
from gateway.proxy.refuse import refuse_head
from gateway.proxy.steps import Stepper, Wait
from gateway.wire.forwarded import parse_address
from gateway.wire.framing import LAST_CHUNK, ChunkedDecoder, Decoder, LengthDecoder, chunk
from gateway.wire.head import HeadReader, RequestHead, refuse_hopeless

if TYPE_CHECKING:
    from gateway.proxy.live import Stream
    from gateway.proxy.plane import Plane
    from gateway.proxy.splice import Tunnel
    from gateway.proxy.upstream import UpstreamConnection

PIPELINE_LIMIT_BYTES = 64 * 1024
HEADS_PER_TURN = 4
"""Of one connection, of those that need no backend: a thousand connections that send ahead must not delay the one that does not,
nor the proof that the replica is fresh. With 32, and a turn for each segment that came, 200 of them held a worker for seconds."""
CHUNKS_PER_TURN = 2048
"""Of one body. A client that sends a byte in a chunk would hold the worker for 20 ms with each segment; this many take 1 ms."""
LINGER_S = 2.0
REST_AFTER_S = 2.0
_BY_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time at all


class Phase(Enum):
    """What the next byte from the client is."""

    HEAD = "head"
    EXCHANGE = "exchange"
    BODY = "body"
    TUNNEL = "tunnel"
    LINGER = "linger"
    CLOSED = "closed"


# A global is five times as fast as an attribute of an Enum on Python 3.11, and these are asked for at every event.
_HEAD: Final = Phase.HEAD
_EXCHANGE: Final = Phase.EXCHANGE
_BODY: Final = Phase.BODY
_TUNNEL: Final = Phase.TUNNEL
_LINGER: Final = Phase.LINGER
_CLOSED: Final = Phase.CLOSED


class ClientConnection(asyncio.Protocol):
    """One accepted connection."""

    __slots__ = (
        "_body_bytes",
        "_body_limit",
        "_buffer",
        "_decoder",
        "_gathered",
        "_gathering",
        "_has_more",
        "_is_blocked",
        "_is_counted",
        "_is_due",
        "_is_reading",
        "_is_running",
        "_plane",
        "_reader",
        "_reads_on",
        "_stepper",
        "address",
        "deadline",
        "is_persistent",
        "is_trusted",
        "live",
        "peer",
        "peer_bytes",
        "phase",
        "transport",
        "tunnel",
        "upstream",
    )

    def __init__(self, plane: "Plane") -> None:
        # per connection
        self._plane = plane
        self._reader = HeadReader(plane.request_roles, plane.limits.headers, plane.limits.uri, plane.cookie_names)
        self._stepper = Stepper(self._exchange_ended)
        self._buffer = b""
        self._is_reading = True
        self._is_blocked = False  # the client does not read what was written already
        self._is_running = False  # guards against nested runs of `_run`
        self._is_counted = False
        self._is_due = False  # it goes on in the loop's next turn, and not before, whatever comes meanwhile
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set by connection_made
        self.phase = _HEAD
        self.peer = ""
        self.peer_bytes = b""
        self.is_trusted = False
        self.deadline = 0.0  # loop time; 0: none

        # per exchange
        self.is_persistent = True
        self.upstream: UpstreamConnection | None = None
        self.tunnel: Tunnel | None = None
        self.live: Stream | None = None  # a body under way that a revocation ends
        self._decoder: Decoder | None = None
        self._body_bytes = 0
        self._has_more = False  # of the body is here, and waits for its turn: meanwhile the socket is not read
        self._reads_on = False  # after that
        self._gathering: Wait[None] | None = None  # who waits for the whole body, before any upstream is asked
        self._gathered: bytearray | None = None
        self._body_limit: int | None = None

    def __repr__(self) -> str:
        return f"<ClientConnection {self.peer} {self.phase.value}>"

    def admit(self, peername: object) -> bool:
        """Count the connection among its client's; whether it is allowed. It counts until `dismiss`, allowed or not."""
        plane = self._plane
        self.peer, self.is_trusted = plane.trusted.judge(peer_address(peername))
        self.peer_bytes = self.peer.encode()
        self._is_counted = True
        plane.report.metrics.client_connections(+1)
        return plane.admission.admit(self)

    def dismiss(self) -> None:
        """It is closed, or never began."""
        if self._is_counted:
            self._is_counted = False
            self._plane.report.metrics.client_connections(-1)
            self._plane.admission.dismiss(self)

    # What asyncio tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        plane = self._plane
        is_allowed = self._is_counted or self.admit(transport.get_extra_info("peername"))  # TLS counts at `accept`
        plane.clients.add(self)
        self.deadline = plane.tick_time + plane.timeouts.head
        if not is_allowed:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase is _HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            if (self._is_blocked or self._is_due) and len(self._buffer) > PIPELINE_LIMIT_BYTES:
                self.pause_reading()
            self._run()
        elif phase is _BODY:
            self._body_received(data)
        elif phase is _TUNNEL:
            assert self.tunnel is not None
            self.tunnel.from_client(data)
        elif phase is _EXCHANGE:
            self._buffer += data
            if len(self._buffer) > PIPELINE_LIMIT_BYTES:
                self.pause_reading()

    def eof_received(self) -> bool:
        """The client will send no more. Half-closed clients are served only inside a tunnel; anybody else has gone."""
        if self.phase is _TUNNEL:
            assert self.tunnel is not None
            return self.tunnel.client_eof()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        was, self.phase = self.phase, _CLOSED
        self.deadline = 0.0
        self._plane.clients.discard(self)
        self.dismiss()
        if was is _TUNNEL and self.tunnel is not None:
            self.tunnel.end()  # and with it the exchange: at once, or when all others were cut that one fact ends
            return
        self._stepper.throw(ClientGone("the client closed the connection"))

    def pause_writing(self) -> None:
        """The client reads slower than the upstream sends: stop reading there."""
        self._is_blocked = True
        self.deadline = self._plane.tick_time + self._plane.timeouts.write
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        self._is_blocked = False
        patience = self._patience_s()
        self.deadline = 0.0 if patience is None else self._plane.tick_time + patience
        if self.upstream is not None:
            self.upstream.resume_reading()
        self._run()

    def on_deadline(self) -> None:
        """Called by the sweeper: too slow with a head or a body, idle for too long, not reading, or done lingering."""
        self.deadline = 0.0
        if self.phase is _TUNNEL and self.tunnel is not None and not self.tunnel.is_over:
            self.tunnel.end()
        elif self.phase is _LINGER and not self._is_blocked and self.transport.get_write_buffer_size():
            self._is_blocked = True  # it is still reading the last answer, or pretends to
            self.deadline = self._plane.tick_time + self._plane.timeouts.write
        else:
            self.transport.abort()

    # What an exchange does with it.

    def pause_reading(self) -> None:
        self._reads_on = False
        if self._is_reading and not self.transport.is_closing():
            self._is_reading = False
            self.transport.pause_reading()
            if self.phase is _BODY and not self._is_blocked:
                self.deadline = 0.0  # it is the upstream that does not read; a client that does not either keeps its own

    def resume_reading(self) -> None:
        if self._has_more:
            self._reads_on = True
        elif not self._is_reading and not self.transport.is_closing():
            self._is_reading = True
            self.transport.resume_reading()
            if self.phase is _BODY and not self._is_blocked:
                self.deadline = self._plane.tick_time + self._plane.timeouts.body

    def client_address(self, head: RequestHead) -> str:
        """Who the client is, behind trusted proxies or not. Of the way here only the believed part stays in `head`."""
        if self.is_trusted and head.forwarded_for is not None:
            # NB: the head may be the connection's memo of the last one; believing what was believed changes nothing.
            address, head.forwarded_for = self._plane.trusted.believe(self.peer, head.forwarded_for)
            return address
        return self.peer

    def has_here(self, head: RequestHead) -> bool:
        """Whether the whole body came with the head: nobody can be slow with it any more. Not asked of chunked ones."""
        return head.content_length is not None and len(self._buffer) >= head.content_length

    @property
    def has_gathered(self) -> bool:
        """The whole body was waited for, and is here."""
        return self._gathered is not None

    def gather_body(self, head: RequestHead, limit_bytes: int) -> "Wait[None]":
        """The whole body, which is a small one, before anybody is asked: who is slow with it keeps his own connection busy only.

        Raises ClientError, and so does the wait.
        """
        gathering: Wait[None] = Wait()
        self._gathering, self._gathered = gathering, bytearray()
        self._begin_body(head, limit_bytes)
        data, self._buffer = self._buffer, b""
        self._gather(data)
        return gathering

    def take_body(self, head: RequestHead) -> list[bytes]:
        """What is already here of the body, framed. Raises ClientError before a backend has seen anything of the request."""
        if self._gathered is not None:
            whole = [bytes(self._gathered)] if self._gathered else []
            return [*chunk(whole), LAST_CHUNK] if head.chunked else whole
        self._begin_body(head, self._plane.limits.body)
        assert self._decoder is not None
        data, self._buffer = self._buffer, b""
        return self._decode(self._decoder, data) if data else []

    def _begin_body(self, head: RequestHead, limit_bytes: int | None) -> None:
        self._decoder = ChunkedDecoder() if head.chunked else LengthDecoder(head.content_length or 0)
        self._body_bytes = 0
        self._body_limit = limit_bytes

    def start_body(self, pieces: list[bytes], upstream: "UpstreamConnection") -> None:
        """From here on the body goes to `upstream`, beginning with `pieces` of it."""
        self.upstream = upstream
        if not self.is_body_complete:
            self.phase = _BODY
            if isinstance(self._decoder, ChunkedDecoder):
                self._decoder.most = (
                    CHUNKS_PER_TURN  # what was here already is judged as a whole, before a backend sees any of it
                )
            self.deadline = self._plane.tick_time + self._plane.timeouts.body
            upstream.deadline = 0.0  # it is the client's turn
        if pieces:
            upstream.send_body(pieces, is_last=self.is_body_complete)
        self.resume_reading()

    @property
    def is_sending_body(self) -> bool:
        """The client is in the middle of a body that was to be forwarded."""
        return self.phase is _BODY

    def start_tunnel(self, tunnel: "Tunnel", upstream: "UpstreamConnection") -> None:
        """From here on bytes belong to the tunnel, beginning with what came too early."""
        self.tunnel = tunnel
        self.upstream = upstream
        self.phase = _TUNNEL
        self.deadline = self._plane.tick_time + self._plane.timeouts.tunnel
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.from_client(data)
        self.resume_reading()

    @property
    def is_body_complete(self) -> bool:
        return self._decoder is None or self._decoder.is_done

    def skip_body(self, head: RequestHead) -> bool:
        """Drop a body that is here already, so that the connection can go on after a refusal. False: it is not."""
        if self._decoder is not None:  # it was taken for an upstream; what is in the buffer now is the next request
            return self._decoder.is_done
        length = head.content_length or 0
        if head.chunked or head.expects_continue or len(self._buffer) < length:
            return not head.has_body
        self._buffer = self._buffer[length:]
        return True

    def send_body(self, pieces: list[bytes]) -> None:
        """A part of the answer's body, framed already."""
        if not self.transport.is_closing():
            self.transport.writelines(pieces)

    def linger(self) -> None:
        """The last answer is written. Close when the client has it; at once would reset it away (RFC 9112 §9.6)."""
        if self.transport.is_closing():
            return
        self.phase = _LINGER
        self._buffer = b""
        self.deadline = self._plane.tick_time + (self._plane.timeouts.write if self._is_blocked else LINGER_S)
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def break_off(self) -> None:
        """End the connection in the middle of an answer, by a reset: an orderly end may be the answer's end (RFC 9112 §6.3)."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BY_RESET)
        self.transport.abort()

    def interrupt(self, error: BaseException) -> None:
        """End the exchange at hand with an error."""
        self._stepper.throw(error)

    def rest(self, now: float) -> None:
        """Called by the sweeper: a connection that has waited for its next request for a while keeps only what it needs."""
        if self.phase is _HEAD and not self._buffer and self.deadline - now < self._plane.timeouts.keep_alive - REST_AFTER_S:
            self._reader.rest()

    @property
    def is_idle(self) -> bool:
        """It waits for a request, of which nothing is here."""
        return self.phase is _HEAD and not self._buffer

    def cut_tunnel(self, cause: str) -> None:
        """The worker stops: what has no end of its own gets one."""
        if self.phase is _TUNNEL and self.tunnel is not None and not self.tunnel.is_over:
            self.tunnel.cut(cause)

    # Inside.

    def _patience_s(self) -> float | None:
        """How long a client that reads may take for what is next. None: it is not the client's turn."""
        timeouts = self._plane.timeouts
        if self.phase is _BODY:
            return timeouts.body if self._is_reading else None
        return {_HEAD: timeouts.keep_alive, _TUNNEL: timeouts.tunnel, _LINGER: LINGER_S}.get(self.phase)

    def _run(self) -> None:
        """Serve complete heads, one after the other, until one has to wait or none is left."""
        if self._is_running or self._is_due:
            return
        self._is_running = True
        served = 0
        try:
            while self.phase is _HEAD and self._buffer and not self._is_blocked:
                if served == HEADS_PER_TURN:  # the others have waited long enough
                    if len(self._buffer) > PIPELINE_LIMIT_BYTES:
                        self.pause_reading()  # until `_after_exchange` has brought it below
                    self._is_due = True
                    self._plane.lane.add(self._run_on)
                    break
                served += 1
                head = self._next_head()
                if head is None:
                    break
                self.phase = _EXCHANGE
                self.deadline = 0.0
                self.is_persistent = head.is_persistent and not self._plane.is_draining
                if not self._stepper.start(exchange(self, head, self._plane)):
                    break
                self._after_exchange()
        finally:
            self._is_running = False

    def _run_on(self) -> None:
        self._is_due = False
        self._run()

    def _next_head(self) -> RequestHead | None:
        buffer = self._buffer
        if buffer == b"\r":
            self._wait_for_the_rest()
            return None
        if buffer[:2] == b"\r\n":  # RFC 9112 §2.2: one empty line in front of a request is forgiven
            buffer = self._buffer = buffer[2:]
            if not buffer:
                return None
        if (repeated := self._reader.repeated(buffer)) is not None:
            self._buffer = b""
            return repeated
        end = buffer.find(b"\r\n\r\n")
        limit = self._plane.limits.head
        try:
            if end < 0 or end + 4 > limit:
                refuse_hopeless(buffer[:limit])
                if len(buffer) > limit:
                    raise TooLarge("the request head is too large", 431)
                self._wait_for_the_rest()
                return None
            self._buffer = buffer[end + 4 :]
            return self._reader.read(buffer[: end + 4])
        except ClientError as error:
            refuse_head(self, self._plane, error, buffer[:limit])
            return None

    def _wait_for_the_rest(self) -> None:
        """The deadline counts from the first byte: a drip does not extend it."""
        deadline = self._plane.tick_time + self._plane.timeouts.head
        if not self.deadline or self.deadline > deadline:
            self.deadline = deadline
        self.resume_reading()

    def _exchange_ended(self) -> None:
        self._after_exchange()
        self._run()

    def _after_exchange(self) -> None:
        self.upstream = None
        self._decoder = None
        self._has_more = self._reads_on = False
        self._gathering = self._gathered = None
        if self.phase in (_CLOSED, _LINGER):
            return
        if not self.is_persistent or self.transport.is_closing():
            self.linger()
            return
        self.phase = _HEAD
        if not self._is_blocked:
            self.deadline = self._plane.tick_time + self._plane.timeouts.keep_alive
        if len(self._buffer) <= PIPELINE_LIMIT_BYTES:  # else what waits already is served first
            self.resume_reading()

    def _body_received(self, data: bytes) -> None:
        try:
            self._forward_body(data)
        except ClientError as error:
            self.interrupt(error)

    def _forward_body(self, data: bytes) -> None:
        if self.live is not None and is_in_doubt(self.live, self._plane):
            end_if_revoked(self.live, self._plane)
        decoder, upstream = self._decoder, self.upstream
        if self._gathering is not None and not self._gathering.is_done:
            self._gather(data)
            return
        if decoder is None or upstream is None or upstream.is_closed:
            return
        pieces = self._decode(decoder, data)
        has_more = isinstance(decoder, ChunkedDecoder) and decoder.has_more
        if self._is_reading:
            self.deadline = self._plane.tick_time + self._plane.timeouts.body
        elif not self._is_blocked:
            self.deadline = 0.0
        if pieces:
            upstream.send_body(pieces, is_last=decoder.is_done)
        if has_more and not self._has_more:
            self._put_off(decoder)
        if decoder.is_done:
            self.phase = _EXCHANGE
            self.deadline = self._plane.tick_time + self._plane.timeouts.write if self._is_blocked else 0.0

    def _put_off(self, decoder: Decoder) -> None:
        """The rest of what is here of the body has to wait for its turn, and what is not here for the rest."""
        reads_on = self._is_reading or self._reads_on
        self.pause_reading()
        self._has_more, self._reads_on = True, reads_on
        self._plane.lane.add(lambda: self._go_on_with(decoder))

    def _go_on_with(self, decoder: Decoder) -> None:
        if self._decoder is not decoder:
            return  # the exchange has ended meanwhile
        self._has_more = False
        if self.phase is _BODY:
            self._body_received(b"")
        if not self._has_more and self._reads_on:
            self.resume_reading()

    def _gather(self, data: bytes) -> None:
        """A part of a body that is waited for."""
        decoder, gathered, gathering = self._decoder, self._gathered, self._gathering
        assert decoder is not None and gathered is not None and gathering is not None
        pieces, self._buffer = decoder.feed(data) if data else ([], b"")
        self._refuse_long_body(pieces)
        gathered += b"".join(pieces)
        if decoder.is_done:
            self.phase = _EXCHANGE
            self.deadline = 0.0
            gathering.set(None)
        else:
            self.phase = _BODY
            self.deadline = self._plane.tick_time + self._plane.timeouts.body
            self.resume_reading()

    def _decode(self, decoder: Decoder, data: bytes) -> list[bytes]:
        """What of the body is in `data`, framed for the upstream. What follows the body stays in the buffer."""
        pieces, self._buffer = decoder.feed(data)
        self._refuse_long_body(pieces)
        if isinstance(decoder, ChunkedDecoder):
            pieces = chunk(pieces)
            if decoder.is_done:
                pieces.append(LAST_CHUNK)
        return pieces

    def _refuse_long_body(self, pieces: list[bytes]) -> None:
        if self._body_limit is not None:
            self._body_bytes += sum(map(len, pieces))
            if self._body_bytes > self._body_limit:
                raise TooLarge("the body is larger than allowed here", 413)


def peer_address(peername: object) -> str:
    """The peer's address; a unix socket's peer is on this machine, so it is 127.0.0.1."""
    if not isinstance(peername, tuple):
        return "127.0.0.1"
    address = parse_address(str(peername[0]))
    return str(address) if address is not None else ""
