"""`gateway demo` as a child process, for tests: started, read until it has printed its page, ended; who its children are."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

WITHIN_S = 120
# As `gateway demo`, but with lifetimes that a test can wait for.
IN_A_HURRY = (
    "import sys; from gateway import demo; from gateway.demo.configuration import IN_A_HURRY; "
    "sys.exit(demo.run(once=False, times=IN_A_HURRY))"
)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTEST_"))}


def start(*arguments: str, command: tuple[str, ...] = ("-m", "gateway", "demo")) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def start_in_a_hurry() -> "subprocess.Popen[str]":
    return start(command=("-c", IN_A_HURRY))


def read_page(demo: "subprocess.Popen[str]") -> list[str]:
    """What it prints, until it has printed all of it."""
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Ctrl-C ends everything"):
            return lines
    raise AssertionError("\n".join(lines))


def end(demo: "subprocess.Popen[str]", number: signal.Signals = signal.SIGINT) -> str:
    """What it said last."""
    demo.send_signal(number)
    last, _ = demo.communicate(timeout=WITHIN_S)
    return last


def folder_of(page: list[str]) -> Path:
    return Path(re.findall(r"(/\S+/gateway-demo-\w+)/gateway\.log", "\n".join(page))[0])


def url_of(page: list[str]) -> str:
    """Where the page is: the first address that is printed."""
    return re.findall(r"http://127\.0\.0\.1:\d+/", "\n".join(page))[0]


def address_of(page: list[str], name: str) -> str:
    """`host:port` of the gateway, the application, admin."""
    return re.findall(rf"^  {name} +http://(\S+)", "\n".join(page), re.M)[0]


def descendants(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        children = [int(child) for child in found.read().split()]
    return children + [below for child in children for below in descendants(child)]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
