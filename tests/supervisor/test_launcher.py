"""Workers are forked while there is a template, and are programs of their own otherwise; never two with one letter."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.running_gateway import eventually

from gateway.boot import Boot, hand_over
from gateway.launcher import Launcher
from gateway.template import Forked, Template

TINY = (sys.executable, str(Path(__file__).with_name("tiny_template.py")))
PROGRAM = (sys.executable, "-c", "raise SystemExit(5)")


@pytest.fixture
def boot() -> Iterator[Boot]:
    memory = hand_over(b"5")
    yield Boot(0, 1, 0, memory, memory, (), memory, memory, "", "", os.getpid())
    os.close(memory)


def code_of(process: Forked | subprocess.Popen[bytes]) -> int:
    return eventually(lambda: [process.poll()] != [None] and [process.poll()])[0]


def test_a_template_that_cannot_import_costs_nobody_a_worker(boot: Boot):
    launch = Launcher(PROGRAM, Template.start((sys.executable, "-c", "raise SystemExit(3)")))
    for _ in range(2):
        assert code_of(launch(boot)) == 5
    launch.close()


def test_when_a_template_falls_silent_there_is_no_second_worker_with_the_same_letter(boot: Boot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.template.ANSWERS_WITHIN_S", 0.3)
    template = Template.start(TINY)
    assert template is not None
    launch = Launcher(PROGRAM, template)
    launch.prepare()
    forked = template.fork(boot)
    assert isinstance(forked, Forked)
    template._process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        launch(boot)
    program = launch(boot)
    assert isinstance(program, subprocess.Popen)
    assert code_of(program) == 5
    launch.close()
    assert code_of(forked) is not None
