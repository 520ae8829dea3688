"""When a worker is stuck, and how long its successor waits."""

import logging
import os
import signal
import sys

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


@pytest.mark.parametrize(("number", "level"), [(signal.SIGTERM, logging.INFO), (signal.SIGKILL, logging.WARNING)])
async def test_an_end_outside_a_stop_is_a_warning(number: signal.Signals, level: int, caplog: pytest.LogCaptureFixture):
    nothing = os.open(os.devnull, os.O_RDONLY)
    boot = Boot(0, 1, 0, nothing, nothing, (), nothing, -1, "", "", os.getpid())
    child = Child(boot, [sys.executable, "-c", "import signal; signal.pause()"], lambda: 0.0, lambda child: None)
    child.start(1.0)
    os.close(nothing)
    child.signal(number)
    os.waitid(os.P_PID, child.pid or 0, os.WEXITED | os.WNOWAIT)
    with caplog.at_level(logging.INFO, "gateway.supervisor"):
        assert child.reap(2.0)
    assert [(record.levelno, "ended" in record.message) for record in caplog.records] == [(level, True)]
