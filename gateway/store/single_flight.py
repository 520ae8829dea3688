"""A question that several tasks have at the same moment is asked once, and they share the answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """One question. `heard` is called with each answer, before whoever asked goes on."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], heard: Callable[[T], None]) -> None:
        self._ask = ask
        self._heard = heard
        self._asking: asyncio.Task[T] | None = None

    async def answer(self) -> T:
        """The answer to a question that may be under way already. Whoever is cancelled takes nothing from the others."""
        return await asyncio.shield(self.begin())

    def begin(self) -> "asyncio.Task[T]":
        """The question under way, for whoever waits otherwise. Its failure need not be looked at."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._ended)
        return self._asking

    async def close(self) -> None:
        """Give up the question under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is None:
            self._heard(task.result())
