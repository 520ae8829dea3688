"""Where an issuer's key set comes from, and keeping it current: a file that is watched, or a URL that is fetched.

It owns one task per issuer, the key set in force and the time of the next look. It does not verify tokens; whoever does
is told of another set through `on_change`, and gives hints with `unknown_kid`.

    file   looked at every second (path behind links, inode, size, time of change), read again when that differs
    URL    kept 10 minutes, fetched again at 80 % of that, after a failure with growing pauses, and for an unknown kid;
           two fetches for unknown kids are at least 30 seconds apart (and from every other fetch), so a stranger who
           sends random kids cannot make us call the issuer more often (J55)

A set that cannot be had, read or trusted never replaces the one before it (J56). All work is done by the one task, so there
is never a second fetch beside the first. A fetch is bounded in time and bytes, follows no redirect, uses no proxy
of the environment, keeps no cookies and does not inflate.
"""

import asyncio
import contextlib
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import KeySetError
from gateway.tokens.jwk import MAX_BYTES, KeySet, is_url, parse_key_set, refuse_secrets_from_url

if TYPE_CHECKING:
    from gateway.config.schema import IssuerConfig

KEPT_S: Final = 600.0
REFRESHED_AT: Final = 0.8
HINT_INTERVAL_S: Final = 30.0
FETCH_TIMEOUT_S: Final = 10.0
FILE_POLL_S: Final = 1.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_SETTLED_S: Final = 2.0  # a file changed later than this before it was read may change again within one tick of its clock

_log = logging.getLogger(__name__)


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set or the time is over, whichever is first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


@dataclass(frozen=True, slots=True)
class Timing:
    """The times a source lives by; a test passes its own."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    wait: Callable[[asyncio.Event, float], Awaitable[None]] = wait_for_event


class Schedule:
    """When to fetch next. Pure: it is told the time, and waits for nothing."""

    __slots__ = ("_latest", "_pause_s", "due_at")

    def __init__(self, now: float) -> None:
        self.due_at = now
        self._latest = now
        self._pause_s = _FIRST_PAUSE_S

    def started(self, now: float) -> None:
        self._latest = now

    def succeeded(self, now: float) -> None:
        self._pause_s = _FIRST_PAUSE_S
        self.due_at = now + KEPT_S * REFRESHED_AT

    def failed(self, now: float) -> None:
        self.due_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def hint(self) -> None:
        """An unknown kid was seen: fetch as soon as the interval since the latest fetch allows it."""
        self.due_at = min(self.due_at, self._latest + HINT_INTERVAL_S)


class KeySetSource:
    """One issuer's key set, kept current. `current` is the set in force, `error` why the latest look brought none."""

    def __init__(
        self,
        issuer: "IssuerConfig",
        directory: Path,
        on_change: Callable[[KeySet], None],
        *,
        timing: Timing | None = None,
        fetch_timeout_s: float = FETCH_TIMEOUT_S,
    ) -> None:
        refuse_secrets_from_url(issuer.jwks, issuer.algorithms)
        self.issuer = issuer.issuer
        self.location = issuer.jwks if is_url(issuer.jwks) else str(directory / issuer.jwks)
        self._algorithms = issuer.algorithms
        self._on_change = on_change
        self._timing = timing or Timing()
        self._fetch_timeout_s = fetch_timeout_s
        self._schedule = Schedule(self._timing.monotonic())
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._file_seen: tuple[object, ...] | None = None

        self.current: KeySet | None = None
        self.error: str | None = None
        self.fetched_at: float | None = None  # wall clock, when the set in force was last confirmed
        self.fetches = 0

    async def start(self) -> None:
        """Try once, without raising when it fails, then keep the set current until `close`."""
        await self._look()
        self._task = asyncio.create_task(self._keep_current(), name=f"key set of {self.issuer}")

    async def close(self) -> None:
        """End the task and the fetch it may be in."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def unknown_kid(self) -> None:
        """A token named a key that is not in the set. Cheap, never waits; to be called from the data plane."""
        if is_url(self.location):
            self._schedule.hint()
            self._wake.set()

    async def _keep_current(self) -> None:
        while True:
            await self._wait_until_due()
            await self._look()

    async def _wait_until_due(self) -> None:
        while (remaining_s := self._schedule.due_at - self._timing.monotonic()) > 0:
            # NB: a hint moves `due_at` and sets the event; nothing is awaited between reading the one and clearing the other.
            self._wake.clear()
            await self._timing.wait(self._wake, remaining_s)

    async def _look(self) -> None:
        try:
            await self._look_once()
        except Exception:  # the root of this task: whatever happened, the issuer's keys must go on being looked at
            _log.exception("looking for the key set of %r failed unexpectedly", self.issuer)
            self.error = "an unexpected error, see the log"
            self._schedule.failed(self._timing.monotonic())

    async def _look_once(self) -> None:
        if is_url(self.location):
            await self._look_at_url()
        else:
            self._look_at_file()

    async def _look_at_url(self) -> None:
        self._schedule.started(self._timing.monotonic())
        self.fetches += 1
        try:
            from gateway.tokens.fetch import fetch  # a key set in a file need not wait for aiohttp

            self._take(await fetch(self.location, self._fetch_timeout_s))
        except KeySetError as error:
            self._schedule.failed(self._timing.monotonic())
            self._report(str(error))
        else:
            self._schedule.succeeded(self._timing.monotonic())

    def _look_at_file(self) -> None:
        self._schedule.due_at = self._timing.monotonic() + FILE_POLL_S
        try:
            seen = _identify(self.location)
            if seen == self._file_seen:
                return
            self._file_seen = seen if _is_settled(seen) else None
            self._take(_read(self.location))
        except OSError as error:
            self._file_seen = None
            self._report(f"{type(error).__name__}: {error.strerror}")
        except KeySetError as error:
            self._report(str(error))

    def _take(self, raw: bytes) -> None:
        keys = parse_key_set(raw, self._algorithms)
        self.error = None
        self.fetched_at = self._timing.wall()
        if keys == self.current:
            return
        self.current = keys
        counted = f"{len(keys.keys)} {'key' if len(keys.keys) == 1 else 'keys'}"
        _log.info("key set of %r in force: %s, %d passed over", self.issuer, counted, len(keys.passed_over))
        self._on_change(keys)

    def _report(self, problem: str) -> None:
        if problem != self.error:
            kept = "no key set yet" if self.current is None else "the one before stays in force"
            _log.warning("key set of %r from %s cannot be used (%s): %s", self.issuer, self.location, kept, problem)
        self.error = problem


def _identify(path: str) -> tuple[object, ...]:
    """What changes when the file's content does: also when a link on the way is turned (as Kubernetes does)."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise KeySetError("not a regular file")
    return os.path.realpath(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_settled(seen: tuple[object, ...]) -> bool:
    changed_at = seen[-1]
    assert isinstance(changed_at, int)
    return time.time() - changed_at / 1e9 > _SETTLED_S


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)
