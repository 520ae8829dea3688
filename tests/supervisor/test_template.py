"""Workers that are forked: real processes, which are the children of the one that asked for them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.running_gateway import eventually

from gateway.boot import Boot, hand_over
from gateway.template import Forked, Template

TINY = (sys.executable, str(Path(__file__).with_name("tiny_template.py")))


@pytest.fixture
def template() -> Iterator[Template]:
    template = Template.start(TINY)
    assert template is not None
    yield template
    template.close()


class Born:
    """A worker of the template, and the line to it."""

    def __init__(self, template: Template, index: int = 0) -> None:
        self.line, theirs = socket.socketpair()
        memory = hand_over(b"")
        boot = Boot(index, 1, 0, memory, memory, (memory,), memory, theirs.fileno(), "", "", os.getpid())
        template.wait()
        self.process: Forked = template.fork(boot)
        theirs.close()
        os.close(memory)
        self.line.settimeout(20)
        self.said = [int(word) for word in self.line.recv(256).split()]

    def tell(self, order: str) -> None:
        self.line.sendall(order.encode())


def test_a_forked_worker_is_our_child_in_a_group_of_its_own_and_we_see_how_it_ends(template: Template):
    born = [Born(template, index) for index in range(3)]
    assert [worker.said for worker in born] == [
        [worker.process.pid, os.getpid(), worker.process.pid, index] for index, worker in enumerate(born)
    ]
    for worker, order in zip(born, ("0", "7", "sleep"), strict=True):
        assert worker.process.poll() is None
        worker.tell(order)
    born[2].process.send_signal(signal.SIGKILL)
    for worker, code in zip(born, (0, 7, -signal.SIGKILL), strict=True):
        assert eventually(lambda worker=worker: [worker.process.poll()] != [None] and [worker.process.poll()]) == [code]
    born[0].process.send_signal(signal.SIGTERM)  # to nobody: the id may be another's by now


def test_a_worker_whose_line_has_ended_already_does_not_begin(template: Template):
    """The supervisor has waited too long for it, and may have started another one in its place."""
    line, theirs = socket.socketpair()
    memory = hand_over(b"")
    line.close()
    template.wait()
    forked = template.fork(Boot(0, 1, 0, memory, memory, (), memory, theirs.fileno(), "", "", os.getpid()))
    os.close(memory)
    assert eventually(lambda: [forked.poll()] != [None] and [forked.poll()]) == [0]
    theirs.close()


def test_workers_outlive_their_template_and_there_are_no_more(template: Template):
    worker = Born(template)
    template._process.kill()
    template._process.wait()
    assert worker.process.poll() is None
    with pytest.raises(OSError, match=r"ended|pipe|reset"):
        Born(template)
    worker.tell("0")
    assert eventually(lambda: worker.process.poll() == 0)


def test_nobody_outlives_the_supervisor(tmp_path: Path):
    script = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from supervisor.test_template import TINY, Born, Template
template = Template.start(TINY)
worker = Born(template)
worker.tell("sleep")
print(template._process.pid, worker.process.pid, flush=True)
signal.pause()
"""
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    pids = [int(pid) for pid in supervisor.stdout.readline().split()]
    assert len(pids) == 2
    supervisor.kill()
    supervisor.communicate(timeout=20)
    eventually(lambda: not any(is_alive(pid) for pid in pids))


def is_alive(pid: int) -> bool:
    """Dead, or a zombie that some ancestor of the tests will bury."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_template_that_cannot_import_is_noticed_and_said():
    template = Template.start((sys.executable, "-c", "raise SystemExit(3)"))
    assert template is not None
    with pytest.raises(OSError, match=r"ended|reset"):
        template.wait()
    template.close()
