"""What goes on beside a loop for as long as its owner lives: started here, looked after, ended together.

An exception in a task that nobody awaits is seen by nobody, and what the task did is not done any more. So a part that fails is
told at once, with its name, and begins again after a moment. In a worker a part that fails ends the process instead, because
another one takes its place (`worker.py`); whoever has no such neighbour goes on with what is left.

Owns the tasks. Catches whatever they raise, and logs it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

AGAIN_S: Final = 1.0

logger: Final = logging.getLogger("gateway.supervisor")

Work = Coroutine[Any, Any, None]


class Tasks:
    """Per owner, who calls `end`."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, part: Callable[[], Work]) -> asyncio.Task[None]:
        """Run this part until the end, over and over should it fail. To be cancelled alone when it has to end sooner."""
        return self._start(_kept(part))

    def do(self, name: str, work: Work) -> None:
        """Run this once."""
        self._start(_told(name, work))

    async def end(self) -> None:
        """Cancel them all, and wait until they have ended."""
        await ended(*self._tasks)

    def _start(self, work: Work) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel these, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _kept(part: Callable[[], Work]) -> None:
    while True:
        try:
            return await part()
        except Exception:  # the task's root
            logger.critical("%s has failed, and begins again in %.0f s", part.__qualname__, AGAIN_S, exc_info=True)
        await asyncio.sleep(AGAIN_S)


async def _told(name: str, work: Work) -> None:
    try:
        await work
    except Exception:  # the task's root
        logger.critical("%s has failed", name, exc_info=True)
