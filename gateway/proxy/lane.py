"""The slow lane: costly work for one client at a time, a piece in each turn of the event loop.

Some input costs far more than it weighs: a body of one-byte chunks takes 80 ms of processor time for a megabyte, a row of forged
tokens 60 µs for each of its requests. Done at once, for each of twenty such clients in each turn of the loop, it makes a turn of
half a second, and everybody else waits for it. Here all of them together get one piece in a turn: whoever asks for little is
served between two pieces, however many others ask for much.

Owns the queue, which holds a connection at most once. The pieces must be small: a millisecond or two.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class SlowLane:
    """One per worker."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, piece: Callable[[], None]) -> None:
        """To be called in a later turn, after those that wait already."""
        self._waiting.append(piece)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        piece = self._waiting[0]
        try:
            piece()
        finally:
            self._waiting.popleft()
            if self._waiting:
                self._loop.call_soon(self._turn)
