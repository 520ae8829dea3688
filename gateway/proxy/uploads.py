"""How many of an upstream's connections uploads may hold that are still on their way: three quarters of them.

A body is passed on as it comes, so whoever is slow with one holds a connection for as long as he likes. A few hundred such
clients would hold all of them. So beyond the share

    a body of 16 KiB at most    is waited for, whole, before a connection is taken: who is slow with it holds his own only
    any other                   waits for a place, as long as a request may wait for a connection; then 502

and whatever has no body, or brings one of an announced length with its head, never waits here. Below the share nothing
is different.

Owns who is under way and who waits, of one upstream in one worker. That a body is complete is noticed when a place is wanted.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from gateway.config.schema import Upstream
from gateway.errors import UpstreamUnreachable
from gateway.proxy.steps import Wait
from gateway.wire.head import RequestHead

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection

SMALL_BYTES: Final = 16 * 1024
LOOKS_EVERY_S: Final = 0.1
"""While somebody waits."""


class Uploads:
    """The share of one upstream. Per process: `_begun`, who has a place; `_sending`, whose body goes on; `_queue`, who waits."""

    def __init__(self, config: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        connections = config.max_connections * len(config.addresses)
        self._most = max(1, connections * 3 // 4)
        self._most_waiting = connections - self._most + config.max_waiting // 4
        self._patience_s = config.queue_timeout
        self._loop = loop
        self._begun: set[ClientConnection] = set()
        self._sending: set[ClientConnection] = set()
        self._queue: deque[Wait[None]] = deque()

    def __repr__(self) -> str:
        return f"<Uploads: {len(self._begun) + len(self._sending)} of {self._most}, {len(self._queue)} waiting>"

    @property
    def is_full(self) -> bool:
        if len(self._begun) + len(self._sending) >= self._most:
            self._sending = {client for client in self._sending if not client.is_body_complete}
        return len(self._begun) + len(self._sending) >= self._most

    def begin(self, client: "ClientConnection") -> None:
        """It may wait for a connection, and has a place meanwhile."""
        self._begun.add(client)

    def go_on(self, client: "ClientConnection") -> None:
        """It has a connection; what is not here of its body follows."""
        self._begun.discard(client)
        if not client.is_body_complete:
            self._sending.add(client)

    def end(self, client: "ClientConnection") -> None:
        """The exchange is over."""
        self._begun.discard(client)
        self._sending.discard(client)

    def wait(self) -> Wait[None]:
        """There may be a place. Fails with UpstreamUnreachable."""
        wait: Wait[None] = Wait()
        if not self._queue:
            self._loop.call_later(LOOKS_EVERY_S, self._look)
        if len(self._queue) < self._most_waiting:
            self._queue.append(wait)
            self._loop.call_later(self._patience_s, wait.fail, UpstreamUnreachable("too many uploads are under way"))
        else:
            wait.fail(UpstreamUnreachable("too many uploads are under way, and too many wait"))
        return wait

    def _look(self) -> None:
        self._queue = deque(wait for wait in self._queue if is_wanted(wait))
        while self._queue and not self.is_full:
            wait = self._queue.popleft()
            if is_wanted(wait):
                wait.set(None)  # and whoever waited has begun, or waits for something else
        if self._queue:
            self._loop.call_later(LOOKS_EVERY_S, self._look)


def is_wanted(wait: Wait[None]) -> bool:
    """Its exchange is still there, and its time is not over."""
    return wait.wake is not None and not wait.is_done


def is_small(head: RequestHead) -> bool:
    """Whether the body says of itself that it is a small one."""
    return head.content_length is not None and head.content_length <= SMALL_BYTES
