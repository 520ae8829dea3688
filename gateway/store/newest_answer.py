"""Asking several servers the same question and believing the newest answer: sentinels about a master, nodes about their cluster.

    a ──► epoch 7: 10.0.0.1        more than half have answered, or the time is up:
    b ──► epoch 8: 10.0.0.2 ◄──    the answer of the highest epoch is the newest
    c ──► (nothing)

One of them may be cut off and not know yet what the others decided, so the first to answer is not simply believed. An answer is
a claim about where to connect and about nothing else: who is reached there is asked himself.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol, TypeVar

from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

LATECOMERS_S: Final = 0.05
"""So long the others have when more than half have answered: giving up an answer costs its connection."""
_KNOWS_NOTHING: Final = (RedisError, OSError, EOFError, RuntimeError, ValueError, LookupError)


class Dated(Protocol):
    """An answer with the epoch of the configuration it tells."""

    @property
    def epoch(self) -> int: ...


D = TypeVar("D", bound=Dated)


async def newest(questions: Sequence[Awaitable[D]], timeout_s: float, nobody: str) -> D:
    """The newest of the answers that came in time. Raises the client library's `ConnectionError(nobody)` when there is none."""
    loop = asyncio.get_running_loop()
    asking = [asyncio.ensure_future(question) for question in questions]
    pending, answers, deadline = set(asking), list[D](), loop.time() + timeout_s
    try:
        while pending and (left_s := deadline - loop.time()) > 0:
            done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            answers += [task.result() for task in done if not isinstance(task.exception(), _KNOWS_NOTHING)]
            if len(answers) > len(asking) // 2:
                deadline = min(deadline, loop.time() + LATECOMERS_S)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    if not answers:
        raise NoConnection(nobody)
    return max(answers, key=lambda answer: answer.epoch)
