"""One worker process as its supervisor sees it: start it, notice that it died or hangs, start another.

         ┌──────────── due ────────────┐
         ▼                             │
    running ──── exits ────▶ waiting ──┘        waiting: 0 s after a good life, then 0.2 s, 0.4 s … 5 s
       │ ▲                      ▲
       │ └─ heartbeat           │
       ├── no heartbeat: SIGKILL┘
       └── retired, exits ────▶ over            its place was taken by the worker of a newer configuration

A worker is stuck when its event loop has not beaten for `STUCK_AFTER_S`. Before its first beat it has `START_WITHIN_S` to
import and connect. What was silent while the supervisor itself did not run (a suspended machine, a debugger) proves
nothing: `judged_from` is when the supervisor last began to look without a break.

Owns one process, the line to it, and its counters; signals go to that process alone, by its id, never before it was found alive.
"""

import logging
import secrets
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from gateway import worker_line
from gateway.boot import Boot
from gateway.template import Process
from gateway.worker_line import Line

STUCK_AFTER_S: Final = 5.0
SILENT_AFTER_S: Final = 1.0  # four beats: others accept what is meant for it, in case it is stuck
START_WITHIN_S: Final = 20.0
RUN: Final = secrets.token_hex(8)  # of this supervisor: its workers' incarnations begin with it, so they know each other
GOOD_LIFE_S: Final = 10.0
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0

logger: Final = logging.getLogger("gateway.supervisor")


def restart_delay(short_lives: int) -> float:
    """How long to wait before the next start, after so many lives in a row that ended within GOOD_LIFE_S."""
    if short_lives == 0:
        return 0.0
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(short_lives - 1, 16))


def is_stuck(now: float, heartbeat_at: float, started_at: float, judged_from: float) -> bool:
    """All times on the boot clock; `heartbeat_at` is 0 before the first beat."""
    if heartbeat_at:
        return now - max(heartbeat_at, judged_from) > STUCK_AFTER_S
    return now - max(started_at, judged_from) > START_WITHIN_S


class Child:
    """Per worker: its boot letter and how often it was replaced. Per life: process, line, incarnation, start, what is lent to it.

    `ended_with` is the exit code of its last life that is over, negative for a signal.

    `launch` begins a process with a letter. `heartbeat` reads the worker's cell, `on_end` is told of every life that is
    over [W2], `on_news` that there is news.
    """

    __slots__ = (
        "_boot",
        "_due_at",
        "_heartbeat",
        "_is_listening",
        "_is_terminated",
        "_is_told_to_end",
        "_launch",
        "_line",
        "_on_end",
        "_on_news",
        "_process",
        "_short_lives",
        "ended_with",
        "is_retired",
        "lent",
        "restarts",
        "started_at",
    )

    def __init__(
        self,
        boot: Boot,
        launch: Callable[[Boot], Process],
        heartbeat: Callable[[], float],
        on_end: Callable[["Child"], None],
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        self._boot = boot
        self._launch = launch
        self._heartbeat = heartbeat
        self._on_end = on_end
        self._on_news = on_news
        self._short_lives = 0
        self.is_retired = False
        self.restarts = 0
        self.ended_with: int | None = None
        self._is_told_to_end = self._is_terminated = False
        self._process: Process | None = None
        self._line: Line | None = None
        self.lent: dict[str, socket.socket] = {}
        self._is_listening = False
        self._due_at = 0.0
        self.started_at = 0.0

    def __repr__(self) -> str:
        return f"<Child {self.index} {self.state} pid={self.pid} restarts={self.restarts}>"

    @property
    def index(self) -> int:
        return self._boot.index

    @property
    def seat(self) -> int:
        return self._boot.seat

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def incarnation(self) -> str:
        return self._boot.incarnation

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def is_prepared(self) -> bool:
        """It has said that it could serve."""
        return self._line is not None and self._line.is_prepared

    def can_serve(self, now: float) -> bool:
        """It could serve, and has been heard of lately."""
        return self.is_prepared and now - self._heartbeat() <= SILENT_AFTER_S

    @property
    def state(self) -> str:
        if self._process is None:
            return "waiting"
        return "running" if self._heartbeat() else "starting"

    def watch(self, now: float, judged_from: float) -> None:
        """Do what is due: bury it, kill it, or start it."""
        if self._process is None:
            if now >= self._due_at and not self.is_retired:
                self.start(now)
        elif not self.reap(now) and is_stuck(now, self._heartbeat(), self.started_at, judged_from):
            logger.error("Worker %d (process %d) is stuck and is killed", self.index, self.pid)
            self.signal(signal.SIGKILL)

    def start(self, now: float) -> None:
        """Begin a life under a fresh incarnation [W1]."""
        if self.started_at:
            self.restarts += 1
        self.started_at = now
        try:
            self._line = Line(self._begin(), self._on_news)
        except OSError as error:  # no descriptors, processes or memory left: as if it had died at once
            self._short_lives += 1
            self._due_at = now + restart_delay(self._short_lives)
            logger.error("Worker %d cannot be started: %s", self.index, error)
        else:
            logger.info("Worker %d started as process %d", self.index, self.pid)

    def _begin(self) -> socket.socket:
        """Begin the process. Our end of the line to it; raises OSError, with nothing left behind."""
        ours, theirs = worker_line.pair()
        with theirs:
            self._boot = replace(self._boot, incarnation=RUN + secrets.token_hex(8), control_fd=theirs.fileno())
            try:
                self._process = self._launch(self._boot)
            except OSError:
                ours.close()
                raise
        return ours

    def lend(self, sockets: Mapping[str, socket.socket]) -> None:
        """Have it accept from these and from no others. What it cannot be told now it is told the next time."""
        line = self._line
        if line is None or not line.is_prepared or self.lent == sockets:
            return
        for name in [name for name in self.lent if name not in sockets]:
            if line.send(f"release {name}"):
                del self.lent[name]
        for name, lent in sockets.items():
            if name not in self.lent and line.send(f"accept {name}", lent):
                self.lent[name] = lent
        if not self._is_listening and self.lent == sockets:
            self._is_listening = line.send("listen")

    def retire(self) -> None:
        """Another worker has its place: it finishes what it has, and is not started again."""
        self.is_retired = True
        if self._line is not None and self._line.send("retire"):
            self._is_told_to_end = True
        else:
            self.end()

    def end(self) -> None:
        """Tell it to finish, once in its life: a second SIGTERM would mean to hurry."""
        if not self._is_terminated:
            self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal to this very process; does nothing when it is gone (its id may belong to another by now)."""
        if self._process is not None:
            self._is_terminated = self._is_terminated or number == signal.SIGTERM
            self._is_told_to_end = self._is_told_to_end or self._is_terminated
            self._process.send_signal(number)

    def reap(self, now: float) -> bool:
        """Notice its end, if it has ended, and decide when the next life begins."""
        if self._process is None or (code := self._process.poll()) is None:
            return False
        is_short = now - self.started_at < GOOD_LIFE_S
        self._short_lives = self._short_lives + 1 if is_short else 0
        self._due_at = now + restart_delay(self._short_lives)
        level = logging.INFO if self._is_told_to_end else logging.WARNING
        logger.log(level, "Worker %d (process %d) ended: %s", self.index, self.pid, describe_exit(code))
        self._is_told_to_end = self._is_terminated = False
        self._process = None
        self.ended_with = code
        self.lent, self._is_listening = {}, False
        if self._line is not None:
            self._line.close()
            self._line = None
        self._on_end(self)
        return True


def describe_exit(code: int) -> str:
    """`exit code 1`, or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
