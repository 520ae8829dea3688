"""When a worker is stuck, and how long its successor waits."""

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator

import pytest

from gateway.boot import Boot
from gateway.child import (
    GOOD_LIFE_S,
    LONGEST_DELAY_S,
    START_WITHIN_S,
    STUCK_AFTER_S,
    Child,
    describe_exit,
    is_stuck,
    restart_delay,
)
from gateway.launcher import Launcher


def test_the_first_replacement_is_at_once_and_later_ones_wait_longer_up_to_a_bound():
    assert [restart_delay(lives) for lives in range(8)] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_DELAY_S, LONGEST_DELAY_S]
    assert restart_delay(10**9) == LONGEST_DELAY_S
    assert GOOD_LIFE_S > LONGEST_DELAY_S


@pytest.mark.parametrize(
    ("silent_for", "stuck"),
    [(0.0, False), (STUCK_AFTER_S - 0.1, False), (STUCK_AFTER_S + 0.1, True)],
)
def test_a_silent_worker_is_stuck(silent_for: float, stuck: bool):
    assert is_stuck(1000.0, heartbeat_at=1000.0 - silent_for, started_at=0.0, judged_from=0.0) is stuck


@pytest.mark.parametrize(("age", "stuck"), [(STUCK_AFTER_S + 1.0, False), (START_WITHIN_S + 0.1, True)])
def test_a_new_worker_has_longer_until_its_first_beat(age: float, stuck: bool):
    assert is_stuck(1000.0, heartbeat_at=0.0, started_at=1000.0 - age, judged_from=0.0) is stuck


def test_what_was_silent_while_the_supervisor_slept_is_not_held_against_it():
    assert not is_stuck(1000.0, heartbeat_at=100.0, started_at=50.0, judged_from=999.0)
    assert not is_stuck(1000.0, heartbeat_at=0.0, started_at=50.0, judged_from=999.0)
    assert is_stuck(1000.0, heartbeat_at=100.0, started_at=50.0, judged_from=994.0)


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (2, "exit code 2"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_an_end_is_told_in_words(code: int, text: str):
    assert describe_exit(code) == text


TELLS_OF_SIGNALS = """
for number in (signal.SIGTERM, signal.SIGWINCH):
    signal.signal(number, lambda number, frame: os.write(tells, bytes([number])))
os.write(tells, b"!")
while True:
    signal.pause()
"""


@pytest.fixture
def nothing() -> Iterator[int]:
    """A descriptor for whatever a worker inherits."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def child_that(program: str, nothing: int, tells: int = -1) -> Child:
    """Of a worker's life without a worker. `tells` is a descriptor that the program gets as `tells`."""
    boot = Boot(0, 1, 0, nothing, nothing, (), nothing if tells < 0 else tells, -1, "", "", os.getpid())
    program = f"import os, signal; tells = {tells}\n{program}"
    return Child(boot, Launcher([sys.executable, "-c", program]), lambda: 0.0, lambda child: None)


def is_free(descriptor: int, nothing: int) -> bool:
    """Whether it is the first one that the next file would get."""
    given = os.dup(nothing)
    os.close(given)
    return given == descriptor


def bury(child: Child, now: float) -> None:
    os.waitid(os.P_PID, child.pid or 0, os.WEXITED | os.WNOWAIT)
    assert child.reap(now)


@pytest.mark.parametrize(("number", "level"), [(signal.SIGTERM, logging.INFO), (signal.SIGKILL, logging.WARNING)])
async def test_an_end_outside_a_stop_is_a_warning(
    nothing: int, number: signal.Signals, level: int, caplog: pytest.LogCaptureFixture
):
    child = child_that("signal.pause()", nothing)
    child.start(1.0)
    child.signal(number)
    with caplog.at_level(logging.INFO, "gateway.supervisor"):
        bury(child, 2.0)
    assert [(record.levelno, "ended" in record.message) for record in caplog.records] == [(level, True)]


async def test_without_a_free_descriptor_a_start_fails_like_an_early_end_and_is_repeated(
    nothing: int, caplog: pytest.LogCaptureFixture
):
    child = child_that("signal.pause()", nothing)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(nothing)
    os.close(free)
    for further in range(4):  # enough for nothing, for the half of a line, for a line but no process
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + further, hard))
        try:
            child.watch(10.0 * further, judged_from=0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not child.is_running
        assert is_free(free, nothing)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4
    assert restart_delay(4) > 1.0
    child.watch(31.0, judged_from=0.0)
    assert not child.is_running
    child.watch(30.0 + restart_delay(4), judged_from=0.0)
    assert child.is_running
    child.signal(signal.SIGKILL)
    bury(child, 40.0)


async def test_a_worker_is_told_to_end_once_in_each_of_its_lives(nothing: int):
    """A second SIGTERM would mean to hurry. Of signals that are on their way at once SIGWINCH is delivered after SIGTERM."""
    listens, tells = os.pipe()
    child = child_that(TELLS_OF_SIGNALS, nothing, tells)
    for life in (1.0, 2.0):
        child.start(life)
        assert await asyncio.to_thread(os.read, listens, 1) == b"!"
        child.end()
        assert await asyncio.to_thread(os.read, listens, 1) == bytes([signal.SIGTERM])
        child.end()
        child.signal(signal.SIGWINCH)
        assert await asyncio.to_thread(os.read, listens, 1) == bytes([signal.SIGWINCH])
        child.signal(signal.SIGKILL)
        bury(child, life + 0.5)
    os.close(listens)
    os.close(tells)
