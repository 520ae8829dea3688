"""`gateway demo` as a person runs it: the story judges itself, and every line of the page does what it promises."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WITHIN_S = 60


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTEST_"))}


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gateway", "demo", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())


def read_page(demo: "subprocess.Popen[str]") -> list[str]:
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Ctrl-C ends everything"):
            return lines
    raise AssertionError("\n".join(lines))


def test_the_story_is_right_about_itself():
    story = start("--once")
    told, _ = story.communicate(timeout=WITHIN_S)
    assert story.returncode == 0, told
    assert "✗" not in told
    assert told.count("✓") >= 30
    for reason in ("no-token", "revoked-token", "revoked-session", "old-version", "retired-key"):
        assert f"401 {reason}" in told
    assert told.count("enforced by 2 of 2, on disk") == 6
    assert re.search(r"the same stream +→ cut", told)
    assert "\x1b" not in told  # nobody looks through a pipe for colours
    assert "Token revoked rejected sub=alice jti=phone-1" in told


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_line_of_the_page_does_what_it_promises():
    demo = start()
    try:
        steps = steps_of(read_page(demo))
        assert len(steps) >= 18
        script = "\n".join(f"echo '=== {number}'\n{command}" for number, (command, _) in enumerate(steps))
        done = subprocess.run(
            ["bash", "-c", f"exec 2>&1\n{script}"],
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            env=environment(),
            check=False,
        )
        outputs = re.split(r"=== \d+\n", done.stdout)[1:]
        for (command, promised), output in zip(steps, outputs, strict=True):
            assert promised in output, f"{command}\n{output}"
    finally:
        demo.send_signal(signal.SIGINT)
        last, _ = demo.communicate(timeout=WITHIN_S)
    assert demo.returncode == 0
    assert "has ended" in last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_leaves_nothing_behind(number: int):
    demo = start()
    folder = folder_of(read_page(demo))
    assert folder.stat().st_mode & 0o777 == 0o700
    family = descendants(demo.pid)
    assert len(family) == 5  # the application, the supervisor, two workers, the store
    demo.send_signal(number)
    demo.communicate(timeout=WITHIN_S)
    assert not [pid for pid in family if is_running(pid)]
    assert not folder.exists()


def test_a_killed_demo_takes_its_processes_with_it():
    demo = start()
    folder = folder_of(read_page(demo))
    family = descendants(demo.pid)
    demo.kill()
    demo.communicate()
    deadline = time.monotonic() + WITHIN_S
    while left := [pid for pid in family if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    shutil.rmtree(folder)  # a killed process cannot tidy up


def folder_of(page: list[str]) -> Path:
    return Path(re.findall(r"(/\S+/gateway-demo-\w+)/gateway\.log", "\n".join(page))[0])


def steps_of(page: list[str]) -> list[tuple[str, str]]:
    """The indented lines, each with what the arrow under it promises."""
    steps: list[tuple[str, str]] = []
    for line in page:
        if line.startswith("      → "):
            steps[-1] = (steps[-1][0], line.removeprefix("      → ").partition("   [")[0])
        elif line.startswith("    "):
            steps.append((line.strip(), ""))
    return steps


def descendants(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        children = [int(child) for child in found.read().split()]
    return children + [below for child in children for below in descendants(child)]


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
