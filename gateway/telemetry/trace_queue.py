"""Spans on their way out: a bounded queue, and the thread that empties it. Putting one in never waits.

    put ──> deque, at most 4096 exchanges ──256 spans at a time, or what half a second brought──> thread ──> deliver
              full: dropped, counted                                                                refused: counted

OpenTelemetry's own BatchSpanProcessor does the same, but what it drops is in its log only, one warning for each, and its end may
take as long as the receiver likes. What was thrown away must be a metric here, and a worker ends within its bound.

Owns the queue and the thread. What is done with a batch is `deliver`'s business: it may take its time.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gateway.telemetry.tracing import Span

LIMIT_EXCHANGES: Final = 4096
BATCH_SPANS: Final = 256
GATHER_S: Final = 0.5
_GATHERED_EXCHANGES: Final = 128

logger: Final = logging.getLogger("gateway.tracing")


class SpanQueue:
    """Per process: the spans that wait, and the thread that sends them.

    `put` is for the event loop. `counted` is told how many spans were `delivered`, `failed` or `dropped`; of these the thread
    tells the first two, and the loop the last.
    """

    __slots__ = (
        "_counted",
        "_deadline",
        "_deliver",
        "_gather",
        "_gather_s",
        "_is_awake",
        "_is_closing",
        "_is_over",
        "_sending",
        "_thread",
        "_waiting",
        "_wake",
    )

    def __init__(
        self, deliver: Callable[[Sequence[Span]], bool], counted: Callable[[str, int], None], gather_s: float = GATHER_S
    ) -> None:
        self._deliver = deliver
        self._counted = counted
        self._gather_s = gather_s
        self._waiting: deque[list[Span]] = deque()
        self._is_awake = False
        self._is_closing = False
        self._is_over = False
        self._deadline = 0.0
        self._sending = 0
        self._wake = threading.Event()
        self._gather = threading.Event()
        self._thread = threading.Thread(target=self._run, name="span-sender", daemon=True)
        self._thread.start()

    def put(self, spans: list[Span]) -> None:
        """Take the spans of one exchange, or drop them when there is no room."""
        waiting = self._waiting
        if len(waiting) >= LIMIT_EXCHANGES or self._is_closing:
            self._counted("dropped", len(spans))
            return
        waiting.append(spans)
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()
        elif len(waiting) == _GATHERED_EXCHANGES:
            self._gather.set()

    def close(self, timeout_s: float = 1.0) -> None:
        """Send what waits, for at most so long. What is left then is dropped; of what is under way nobody will know."""
        self._deadline = time.monotonic() + timeout_s
        self._is_closing = True
        self._gather.set()
        self._wake.set()
        self._thread.join(timeout_s)
        self._is_over = True
        if self._thread.is_alive():
            self._counted("failed", self._sending)
            self._counted("dropped", sum(map(len, tuple(self._waiting))))

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait()
            self._gather.wait(self._gather_s)
            # In this order: what comes from now on either is in the queue already or wakes us again.
            self._gather.clear()
            self._wake.clear()
            self._is_awake = False
            self._empty()
        self._empty()

    def _empty(self) -> None:
        while self._waiting and not (self._is_closing and time.monotonic() > self._deadline):
            batch: list[Span] = []
            while self._waiting and len(batch) < BATCH_SPANS:
                batch += self._waiting.popleft()
            self._sending = len(batch)
            outcome = "delivered" if self._send(batch) else "failed"
            if not self._is_over:
                self._counted(outcome, len(batch))

    def _send(self, batch: list[Span]) -> bool:
        try:
            return self._deliver(batch)
        except Exception:  # whatever it is, the next batch may fare better
            logger.exception("spans could not be sent")
            return False
