"""After 101: two connections become one. Bytes go both ways as they come, with back-pressure, half-close and an idle limit.

The tunnel ends when one side is gone, when nothing moves for `timeouts.tunnel`, or when the session does: then a WebSocket
client is told close code 1008, at a frame's end if the backend is not in the middle of one, and both sides are closed. What is
written down about a tunnel that was cut can wait: first all that a revocation ends are cut (`suspects.py`).
"""

from typing import TYPE_CHECKING

from gateway.enforce.verified import Verified
from gateway.proxy.live import end_if_revoked, is_in_doubt
from gateway.proxy.steps import Wait
from gateway.proxy.suspects import close_later, write_down_later
from gateway.routes.route import Route
from gateway.wire.websocket import GOING_AWAY, POLICY_VIOLATION, FrameCounter, close_frame

if TYPE_CHECKING:
    import asyncio

    from gateway.proxy.client import ClientConnection
    from gateway.proxy.plane import Plane
    from gateway.proxy.upstream import UpstreamConnection


class Tunnel:
    """One upgraded connection. `is_over` when both sides are closed; `ended` is set then, or a moment later."""

    __slots__ = ("_client", "_frames", "_is_half_closed", "_plane", "_upstream", "cause", "ended", "is_over", "route", "token")

    def __init__(
        self,
        client: "ClientConnection",
        upstream: "UpstreamConnection",
        plane: "Plane",
        *,
        token: Verified | None,
        route: Route,
        is_websocket: bool,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._plane = plane
        self._frames = FrameCounter() if is_websocket else None
        self._is_half_closed = False
        self.token: Verified = token  # type: ignore[assignment]  # listed in `live` only when there is one
        self.route = route
        self.cause: str | None = None
        self.is_over = False
        self.ended: Wait[None] = Wait()

    def from_client(self, data: bytes) -> None:
        if self.token is not None and is_in_doubt(self, self._plane):
            end_if_revoked(self, self._plane)
        if not self.is_over and not self._upstream.is_closed:
            self._client.deadline = self._plane.tick_time + self._plane.timeouts.tunnel
            self._upstream.transport.write(data)

    def from_upstream(self, data: bytes) -> None:
        if self.token is not None and is_in_doubt(self, self._plane):
            end_if_revoked(self, self._plane)
        if not self.is_over and not self._client.transport.is_closing():
            self._client.deadline = self._plane.tick_time + self._plane.timeouts.tunnel
            if self._frames is not None:
                self._frames.feed(data)
            self._client.transport.write(data)

    def client_eof(self) -> bool:
        """True keeps the connection open for what the backend still has to say."""
        return self._half_close(self._upstream.transport)

    def upstream_eof(self) -> bool:
        """True keeps the connection open for what the client still has to say."""
        return self._half_close(self._client.transport)

    def cut(self, cause: str) -> None:
        """The session is over."""
        if self.is_over:
            return
        self.cause = cause
        self.is_over = True
        self._client.deadline = self._plane.tick_time + self._plane.timeouts.write
        client = self._client.transport
        if self._frames is not None and self._frames.is_between_frames and not client.is_closing():
            code, reason = (GOING_AWAY, b"shutting down") if cause == "drain" else (POLICY_VIOLATION, b"session ended")
            client.write(close_frame(code, reason))
        else:
            client.abort()
        close_later(self._close, self._plane)

    def end(self) -> None:
        """Close both sides, once; what was written still gets out where it is read. One that was cut is closed without this."""
        if self.is_over:
            return
        self.is_over = True
        self._client.deadline = self._plane.tick_time + self._plane.timeouts.write
        self._client.transport.close()
        self._upstream.close_gently()
        self.ended.set(None)

    def _close(self) -> None:
        """After `cut`. What was written gets out to the client, where it is read, and not to the backend."""
        self._client.transport.close()
        self._upstream.close()
        write_down_later(self.ended, self._plane)

    def _half_close(self, other: "asyncio.Transport") -> bool:
        """Pass one side's end on to the other. TLS has no half-close, and the second end is the whole end."""
        if self.token is not None and is_in_doubt(self, self._plane):
            end_if_revoked(self, self._plane)
        if self._is_half_closed or self.is_over or not other.can_write_eof():
            self.end()
            return False
        self._is_half_closed = True
        other.write_eof()
        return True
