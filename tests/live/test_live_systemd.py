"""What systemd does, by hand: a datagram socket that is told, listening sockets to inherit, a restart that loses nothing."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from running_gateway import ROUTES, RunningGateway, eventually
from steady_clients import SteadyClients

# The environment says for whom it is (LISTEN_PID), which is known only in the process itself, before it becomes the gateway.
LAUNCH = """
import os, sys
inherited, *command = sys.argv[1:]
os.dup2(int(inherited), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "shop", "WATCHDOG_PID": str(os.getpid())}
os.execv(command[0], command)
"""


class Systemd(RunningGateway):
    """A gateway whose listening socket somebody else holds, and that tells what it does."""

    def __init__(self, folder: Path, upstreams: dict[str, str]) -> None:
        self.held = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.held.set_inheritable(True)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind("\0" + f"gateway-test-{os.getpid()}")  # an abstract one: folders of tests are too deep for a path
        self.notices.settimeout(0.02)
        address = f"127.0.0.1:{self.held.getsockname()[1]}"
        super().__init__(folder, upstreams, ROUTES, workers=1, listen=address, timeouts={"drain": "5s"})
        self.url = f"http://{address}"

    def launch(self) -> "Systemd":
        self.write()
        environment = os.environ | {"NOTIFY_SOCKET": f"@gateway-test-{os.getpid()}", "WATCHDOG_USEC": "400000"}
        gateway = [sys.executable, "-m", "gateway", "run", "-c", str(self.configuration)]
        with self.path("access").open("ab") as access, self.path("messages").open("ab") as messages:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(self.held.fileno()), *gateway],
                stdin=subprocess.DEVNULL,
                stdout=access,
                stderr=messages,
                env=environment,
                pass_fds=[self.held.fileno()],
            )
        return self

    def hears(self, words: str) -> str:
        """The next message with these words in it."""
        return eventually(lambda: self._next(words))

    def _next(self, words: str) -> str:
        with suppress(TimeoutError):
            said = self.notices.recv(4096).decode()
            return said if words in said else ""
        return ""

    def close(self) -> None:
        self.stop()
        self.held.close()
        self.notices.close()


@pytest.fixture(scope="module")
def own(upstreams: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    gateway = Systemd(tmp_path_factory.mktemp("systemd"), upstreams)
    try:
        gateway.launch()
        gateway.hears("READY=1")
        yield gateway
    finally:
        gateway.close()


def test_systemd_is_told_of_the_start_of_a_reload_of_a_refused_one_and_that_the_loop_turns(own: Systemd):
    assert own.told_everywhere("/public/who") == {"200"}
    assert own.hears("WATCHDOG=1") == "WATCHDOG=1"
    os.kill(own.pid, signal.SIGHUP)
    said = own.hears("RELOADING=1").split("\n")
    assert said[1].removeprefix("MONOTONIC_USEC=").isdecimal()
    assert "STATUS=Ready: 1 worker on " in own.hears("READY=1")
    good = own.configuration.read_text()
    own.configuration.write_text("listen: nowhere")
    os.kill(own.pid, signal.SIGHUP)
    own.hears("RELOADING=1")
    assert own.hears("READY=1").endswith("the new configuration was refused")
    own.configuration.write_text(good)


def test_a_restart_with_a_socket_that_systemd_holds_loses_no_request(own: Systemd):
    """`systemctl restart`: the old process finishes and ends, and then the new one starts."""
    eventually(own.is_ready)
    before = own.pid
    with SteadyClients(own.held.getsockname()[1], "/public/who").asking() as clients:
        eventually(lambda: clients.told[200] > 50)
        os.kill(own.pid, signal.SIGTERM)
        own.hears("STOPPING=1")
        assert own.wait() == 0
        own.launch()
        own.hears("READY=1")
        asked = clients.told[200]
        eventually(lambda: clients.told[200] > asked + 50)
    assert own.pid != before
    assert clients.failures == []
    assert set(clients.told) == {200}


def test_an_inherited_socket_that_is_none_of_listen_stops_the_start_and_says_so(own: Systemd, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.set_inheritable(True)
        configuration = tmp_path / "gateway.yaml"
        configuration.write_text(own.configuration.read_text().replace(own.admin.removeprefix("http://"), "127.0.0.1:0"))
        configuration.with_name("keys.json").write_text('{"keys": []}')
        command = [sys.executable, "-m", "gateway", "run", "-c", str(configuration)]
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH, str(other.fileno()), *command],
            pass_fds=[other.fileno()],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        where = f"127.0.0.1:{other.getsockname()[1]}"
    assert done.returncode == 1
    assert f"the inherited socket 'shop' is on {where}, and `listen` is {own.url.removeprefix('http://')}" in done.stderr
