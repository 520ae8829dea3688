"""A worker's follower at work on a real store, for tests that need one or two of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from store_process import until

from gateway.clock import Clock
from gateway.revocation.entry import Entry
from gateway.revocation.follower import Follower
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.revocation.witnessing import Witness

MAX_STALENESS_S = 1.0
WITNESS_KEY = b"a key for the marks of witness files"


class SetClock(Clock):
    """A clock that a test may move: `ahead_s` for the wall, `boot_ahead_s` for boot time."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0
        self.boot_ahead_s = 0.0
        real = self.boot
        self.boot = lambda: real() + self.boot_ahead_s

    def wall(self) -> float:
        return super().wall() + self.ahead_s


@dataclass
class Following:
    """The follower, its view, and what it handed on."""

    follower: Follower
    view: View
    clock: Clock
    task: asyncio.Task[None]
    incarnation: str
    entries: list[Entry] = field(default_factory=list)
    poisoned: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_fresh(self) -> bool:
        return self.view.is_fresh(self.clock.boot(), MAX_STALENESS_S)

    async def until_live(self) -> None:
        await until(lambda: self.is_fresh)

    async def until_lost(self) -> None:
        await until(lambda: self.view.state is State.LOST)

    async def until_polled_again(self, times: int = 2) -> None:
        polls = self.follower.statistics.polls
        await until(lambda: self.follower.statistics.polls >= polls + times)

    async def until_failed_again(self, times: int = 2) -> None:
        failures = self.follower.statistics.failures
        await until(lambda: self.follower.statistics.failures >= failures + times)


async def nothing() -> None:
    """There is no ring."""


@asynccontextmanager
async def following(
    url: str,
    *,
    max_entries: int = 1_000_000,
    clock: Clock | None = None,
    max_staleness: float = MAX_STALENESS_S,
    on_snapshot: Callable[[View], None] = lambda view: None,
    on_ring: Callable[[], Awaitable[None]] = nothing,
    log_seen: tuple[int, int] = (0, 0),
    witness: Path | None = None,
    run: str = "",
    address: str = "store",
    seat: int = 0,
) -> AsyncIterator[Following]:
    """A follower that runs until the end of the block. `witness` is the folder of its host's file, `run` its gateway's."""
    clock = clock or Clock()
    view = View(max_entries)
    incarnation = run + secrets.token_hex(8)
    problems: list[str] = []
    entries: list[Entry] = []
    poisoned: list[str] = []
    follower = Follower(
        url,
        view,
        clock,
        incarnation=incarnation,
        max_staleness=max_staleness,
        on_entry=entries.append,
        on_snapshot=lambda: on_snapshot(view),
        on_ring=on_ring,
        on_poison=poisoned.append,
        label="worker 0",
        log_seen=log_seen,
        witness=Witness(witness, [WITNESS_KEY], address, incarnation, clock, problems.append, seat=seat) if witness else None,
    )
    task = asyncio.create_task(follower.run())
    try:
        yield Following(follower, view, clock, task, incarnation, entries, poisoned, problems)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
