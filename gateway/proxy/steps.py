"""How an exchange waits: a coroutine that its connection steps by hand, without an asyncio task.

A task costs 3 to 5 µs per request on uvloop (create, schedule, wake up): a quarter of the whole budget. An exchange that
finds a pooled connection and gets its answer in one piece waits exactly once, so it is stepped by the callbacks that have
the news: `Wait.set` is called in the upstream's `data_received`, and the exchange goes on in the same turn of the loop.

    async def exchange():                    Stepper.start      runs to the first `await wait`
        …                                    wait.set(value)    runs on to the next
        answer = await wait       <------->  Stepper.throw(e)   the wait raises `e`: a deadline, a client that left

Only `Wait` may be awaited in such a coroutine. What needs a real task (a connect, a store command) runs in one and sets a
`Wait` when it is done (`wait_for_task`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from gateway.errors import StoreUnavailable

T = TypeVar("T")


class Wait(Generic[T]):
    """One result to come, for one waiter. The first `set` or `fail` counts; later ones are ignored."""

    __slots__ = ("_error", "_is_done", "_result", "wake")

    def __init__(self) -> None:
        self._is_done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self.wake: Callable[[], None] | None = None  # set while somebody waits

    @property
    def is_done(self) -> bool:
        return self._is_done

    def set(self, result: T) -> None:
        """The result is here; whoever waits goes on before this returns."""
        if not self._is_done:
            self._is_done = True
            self._result = result
            if self.wake is not None:
                self.wake()

    def fail(self, error: BaseException) -> None:
        """There will be no result; whoever waits gets `error` raised before this returns."""
        if not self._is_done:
            self._is_done = True
            self._error = error
            if self.wake is not None:
                self.wake()

    def __await__(self) -> Generator["Wait[Any]", None, T]:
        if not self._is_done:
            yield self
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set with the flag


class Stepper:
    """Runs one coroutine at a time, from whatever callback has news for it."""

    __slots__ = ("_coroutine", "_ended", "_wait")

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended  # called after each coroutine that had to wait
        self._coroutine: Coroutine[Wait[Any], None, None] | None = None
        self._wait: Wait[Any] | None = None

    @property
    def is_waiting(self) -> bool:
        return self._wait is not None

    def start(self, coroutine: Coroutine[Wait[Any], None, None]) -> bool:
        """Run `coroutine` to its first wait. True when it ended without one; then `ended` is not called."""
        self._coroutine = coroutine
        return self._step(None)

    def throw(self, error: BaseException) -> None:
        """Raise `error` where the coroutine waits. Nothing happens when it does not wait."""
        if self._wait is not None:
            self._wait.wake = None
            self._wait = None
            if self._step(error):
                self._ended()

    def _go_on(self) -> None:
        self._wait = None
        if self._step(None):
            self._ended()

    def _step(self, error: BaseException | None) -> bool:
        coroutine = self._coroutine
        assert coroutine is not None
        try:
            wait = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration:
            self._coroutine = None
            return True
        wait.wake = self._go_on
        self._wait = wait
        return False


def wait_for_task(task: "asyncio.Task[T]") -> Wait[T]:
    """A `Wait` for what an asyncio task brings. The task is not cancelled when nobody waits any more."""
    wait: Wait[T] = Wait()

    def done(task: "asyncio.Task[T]") -> None:
        if task.cancelled():
            wait.fail(StoreUnavailable("the worker stops"))  # nobody else cancels it
        elif (error := task.exception()) is not None:
            wait.fail(error)
        else:
            wait.set(task.result())

    task.add_done_callback(done)
    return wait
