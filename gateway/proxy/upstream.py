"""One connection to an upstream: a request head out, an answer head in, then a body that is relayed as it comes.

    IDLE ──send──> HEAD ──answer──> BODY ──body ends──> IDLE (back to the pool) or closed
                     └──101──> TUNNEL ──> closed

Bytes that arrive in IDLE belong to nobody: the connection is closed, so no later request can get them for an answer.
"""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from gateway.errors import ClientError, UpstreamBroken, UpstreamError, UpstreamTimeout
from gateway.proxy.live import end_if_revoked, is_in_doubt
from gateway.proxy.steps import Wait
from gateway.wire.answer import AnswerHead, AnswerReader
from gateway.wire.framing import LAST_CHUNK, CloseDecoder, Decoder, chunk

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane
    from gateway.proxy.pool import Pool
    from gateway.proxy.splice import Tunnel

HEAD_LIMIT_BYTES = 64 * 1024
INTERIM_LIMIT = 32


class Phase(Enum):
    """What the next byte from the upstream is."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    TUNNEL = "tunnel"
    CLOSED = "closed"


# A global is five times as fast as an attribute of an Enum on Python 3.11, and these are asked for at every event.
_IDLE: Final = Phase.IDLE
_HEAD: Final = Phase.HEAD
_BODY: Final = Phase.BODY
_TUNNEL: Final = Phase.TUNNEL
_CLOSED: Final = Phase.CLOSED


class StaleConnection(UpstreamBroken):
    """A pooled connection was closed before any byte of an answer: the request may be repeated if it is idempotent."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to one upstream, used by one exchange at a time."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_interim",
        "_is_chunked_out",
        "_is_paused",
        "_plane",
        "_pool",
        "_reader",
        "answer",
        "authority",
        "client",
        "deadline",
        "finished",
        "is_reused",
        "phase",
        "transport",
        "tunnel",
        "wants_upgrade",
    )

    def __init__(self, pool: "Pool", plane: "Plane") -> None:
        # per connection
        self._pool = pool
        self._plane = plane
        self.authority = pool.authority
        self._reader = AnswerReader(pool.answers)
        self._buffer = b""
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set by connection_made
        self.phase = _IDLE
        self.is_reused = False
        self._is_paused = False
        self.deadline = 0.0  # loop time; 0: none

        # per exchange
        self.client: ClientConnection | None = None
        self.answer: Wait[AnswerHead] = Wait()
        self.finished: Wait[None] = Wait()
        self.tunnel: Tunnel | None = None
        self.wants_upgrade = False
        self._decoder: Decoder | None = None
        self._is_chunked_out = False
        self._interim = 0

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self._pool.name} {self.phase.value}>"

    @property
    def pool(self) -> "Pool":
        """Where it belongs: the connections to one address."""
        return self._pool

    @property
    def is_closed(self) -> bool:
        return self.phase is _CLOSED or self.transport.is_closing()

    # What an exchange does with it, in order.

    def send_head(self, head: bytes, client: "ClientConnection", *, wants_upgrade: bool) -> None:
        """Begin an exchange: the answer will be in `answer`."""
        self.client = client
        self.answer = Wait()
        self.wants_upgrade = wants_upgrade
        self._interim = 0
        self.phase = _HEAD
        self.deadline = self._plane.tick_time + self._pool.config.read_timeout
        self.transport.write(head)

    def send_body(self, pieces: list[bytes], *, is_last: bool) -> None:
        """A part of the request's body, framed already. While it is the client who is slow the upstream has no deadline."""
        if not self._is_paused:
            is_awaited = is_last or self.phase is _BODY
            self.deadline = self._plane.tick_time + self._pool.config.read_timeout if is_awaited else 0.0
        self.transport.writelines(pieces)

    def whole_body(self, length: int) -> bytes | None:
        """The body when all `length` bytes of it are here already and nothing else is: the common case, in one piece."""
        body = self._buffer
        if len(body) != length:
            return None
        self._buffer = b""
        return body

    @property
    def is_end_here(self) -> bool:
        """Whether what is here ends as a chunked body does. Taken for its end wrongly, the answer is judged a moment later."""
        return self._buffer.endswith(b"0\r\n\r\n")

    def relay_body(self, head: bytes, decoder: Decoder, *, is_chunked_out: bool) -> bool:
        """Send `head`, then relay the body to the client as it comes. True when it ended already; else `finished` tells.

        Raises UpstreamBroken, and has sent nothing, when what is here of the body is malformed.
        The head goes out with what is here of the body: two writes are two system calls, 4 to 7 µs more.
        """
        self._decoder = decoder
        self._is_chunked_out = is_chunked_out
        self.finished = Wait()
        self.phase = _BODY
        data, self._buffer = self._buffer, b""
        self._relay(data, head)
        return self.finished.is_done

    def start_tunnel(self, tunnel: "Tunnel") -> None:
        """From here on bytes belong to the tunnel, beginning with what came right behind the 101."""
        self.tunnel = tunnel
        self.deadline = 0.0
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.from_upstream(data)

    def pause_reading(self) -> None:
        """The client does not read; it has a deadline for that, the upstream has none meanwhile."""
        if not self.is_closed and not self._is_paused:
            self._is_paused = True
            self.deadline = 0.0
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_closed and self._is_paused:
            self._is_paused = False
            if self.phase is _BODY:
                self.deadline = self._plane.tick_time + self._pool.config.read_timeout
            self.transport.resume_reading()

    def end_exchange(self, *, is_clean: bool) -> None:
        """Give the connection back, or close it when anything of this exchange may still be on its way."""
        self.client = None
        self._decoder = None
        if self.phase is _CLOSED:
            return
        if is_clean and not self._buffer and not self.transport.is_closing():
            self.phase = _IDLE
            self.is_reused = True
            self.resume_reading()
            self._pool.put_back(self)
        else:
            self.close()

    def close(self) -> None:
        """Close at once; whatever was buffered is dropped."""
        if self.phase is _IDLE:
            self._pool.retire(self)
        self.deadline = 0.0
        self.phase = _CLOSED
        self.transport.abort()

    def close_gently(self) -> None:
        """Close when what was written is out, or the upstream does not read it in time. For a tunnel: its end is no answer."""
        if self.phase is not _CLOSED:
            self.deadline = self._plane.tick_time + self._pool.config.read_timeout
            self.phase = _CLOSED
            self.transport.close()

    # What asyncio tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase is _HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._read_head()
        elif phase is _BODY:
            self.deadline = self._plane.tick_time + self._pool.config.read_timeout
            self._judge()
            self._relay(data)
        elif phase is _TUNNEL:
            assert self.tunnel is not None
            self.tunnel.from_upstream(data)
        else:
            self.close()

    def eof_received(self) -> bool:
        if self.phase is _TUNNEL:
            assert self.tunnel is not None
            return self.tunnel.upstream_eof()
        if self.phase is _IDLE:
            self._pool.retire(self)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        was, self.phase = self.phase, _CLOSED
        self.deadline = 0.0
        self._pool.lost(self)
        if was is _HEAD:
            is_stale = self.is_reused and not self._buffer and not self._interim
            if is_stale:
                self.answer.fail(StaleConnection("closed"))
            else:
                self._pool.answer_failed()
                self.answer.fail(UpstreamBroken("the upstream closed without an answer"))
        elif was is _BODY:
            self._body_cut_short(error)
        elif was is _TUNNEL and self.tunnel is not None:
            self.tunnel.end()

    def pause_writing(self) -> None:
        """The upstream reads slower than the client sends: stop reading there. Now it is the upstream's turn."""
        if self.phase is _HEAD:
            self.deadline = self._plane.tick_time + self._pool.config.read_timeout
        if self.client is not None:
            self.client.pause_reading()

    def resume_writing(self) -> None:
        if self.client is not None:
            if self.phase is _HEAD and self.client.is_sending_body:
                self.deadline = 0.0
            self.client.resume_reading()

    def on_deadline(self) -> None:
        """Called by the sweeper."""
        self.deadline = 0.0
        if self.phase in (_IDLE, _CLOSED):
            self.close()
        else:
            self._fail(UpstreamTimeout("the upstream did not answer in time"))

    # Inside.

    def _fail(self, error: UpstreamError) -> None:
        self._pool.answer_failed()
        (self.answer if self.phase is _HEAD else self.finished).fail(error)

    def _read_head(self) -> None:
        while self.phase is _HEAD:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 or end > HEAD_LIMIT_BYTES:
                if len(self._buffer) > HEAD_LIMIT_BYTES or b"\n\n" in self._buffer:
                    self._fail(UpstreamBroken("the upstream's answer has no head"))
                return
            raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
            try:
                head = self._reader.read(raw)
                if head.status >= 200:
                    if self._pool.health.is_troubled:
                        self._pool.health.answered()
                    self.answer.set(head)
                    return
                self._interim_answer(head)
            except UpstreamError as error:
                self._fail(error)
                return

    def _interim_answer(self, head: AnswerHead) -> None:
        """1xx: an asked-for upgrade is the answer, everything else is swallowed, for a while (RFC 9110 §15.2)."""
        self._interim += 1
        if head.status == 101:
            if not self.wants_upgrade:
                raise UpstreamBroken("the upstream switched protocols without being asked")
            self.phase = _TUNNEL
            self.answer.set(head)
        elif self._interim > INTERIM_LIMIT:
            raise UpstreamBroken("the upstream sends interim answers without end")

    def _relay(self, data: bytes, head: bytes | None = None) -> None:
        decoder, client = self._decoder, self.client
        if decoder is None or client is None:
            return
        out = [] if head is None else [head]
        try:
            pieces, self._buffer = decoder.feed(data) if data else ([], b"")
        except ClientError:  # the decoder's word; here it is the upstream that broke the rule
            error = UpstreamBroken("the upstream's chunked body is malformed")
            if head is not None:
                raise error from None  # nothing was sent yet: the client can still be told
            self._fail(error)
            return
        out += chunk(pieces) if self._is_chunked_out else pieces
        if decoder.is_done and self._is_chunked_out:
            out.append(LAST_CHUNK)
        if out:
            client.send_body(out)
        if decoder.is_done:
            self.deadline = 0.0
            self.finished.set(None)

    def _judge(self) -> None:
        """End the exchange when its token is not good any more: before the next piece of its answer, or the answer's end."""
        client = self.client
        if client is not None and client.live is not None and is_in_doubt(client.live, self._plane):
            end_if_revoked(client.live, self._plane)

    def _body_cut_short(self, error: Exception | None) -> None:
        """The connection ended in the body: that is the body's end only where nothing else announces one, and not by a reset."""
        self._judge()
        if error is not None or not isinstance(self._decoder, CloseDecoder):
            self._pool.answer_failed()
            self.finished.fail(UpstreamBroken("the upstream closed in the middle of its answer"))
            return
        self._decoder.is_done = True
        if self._is_chunked_out and self.client is not None:
            self.client.send_body([LAST_CHUNK])
        self.finished.set(None)
