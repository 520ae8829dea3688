"""`gateway demo` as a person runs it: the story judges itself, and every line of the page does what it promises."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from running_demo import (
    WITHIN_S,
    command_line,
    descendants,
    end,
    environment,
    folder_of,
    is_running,
    read_page,
    start,
    url_of,
)

from gateway.demo.theft import SCENES


def test_the_story_is_right_about_itself():
    story = start("--once")
    told, _ = story.communicate(timeout=WITHIN_S)
    assert story.returncode == 0, told
    assert "✗" not in told
    judged = re.search(r"(\d+) answers, none wrong", told)
    assert judged is not None and int(judged[1]) == told.count("✓") >= 85
    for scene in SCENES:
        assert scene.title in told
    for reason in ("device-changed", "network-changed", "refresh-reused", "revoked-session", "old-version"):  # act one
        assert f"→ 401 {reason}" in told
    for reason in ("no-token", "revoked-token", "revoked-session", "old-version", "retired-key"):  # act two
        assert f"401 {reason}" in told
    assert told.count("enforced by 2 of 2, on disk") == 6
    assert re.search(r"the same stream +→ cut", told)
    assert "\x1b" not in told  # nobody looks through a pipe for colours
    assert "Token revoked rejected sub=alice@example.org tokenVersion=1 (expected 2)" in told
    assert "Token revoked rejected sub=alice jti=phone-1" in told
    assert not re.search(r"eyJ[\w-]{20,}", told)


def test_an_answer_that_is_wrong_fails_the_command_and_is_shown():
    story = start("--once")
    assert story.stdout is not None
    told = [story.stdout.readline()]
    while "She fills in the form" not in told[-1]:
        assert told[-1], told
        told.append(story.stdout.readline())
    (application,) = [pid for pid in descendants(story.pid) if "gateway.demo.legacy" in command_line(pid)]
    os.kill(application, signal.SIGKILL)
    rest, _ = story.communicate(timeout=WITHIN_S)
    assert story.returncode == 1
    assert re.search(r"✗ .*→ 502 upstream-unreachable", rest)
    assert re.search(r"\d+ answers, \d+ wrong", rest)
    assert "the last words of the gateway's log" in rest


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_line_of_the_page_does_what_it_promises():
    demo = start()
    try:
        page = read_page(demo)
        steps = steps_of(page)
        assert len(steps) >= 18
        assert next(line for line in page if "http://" in line).strip() == url_of(page)  # nobody has to look for it
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
        last = end(demo)
    assert demo.returncode == 0
    assert "has ended" in last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_leaves_nothing_behind(number: signal.Signals):
    demo = start()
    folder = folder_of(read_page(demo))
    assert folder.stat().st_mode & 0o777 == 0o700
    family = descendants(demo.pid)
    assert len(family) == 6  # the application, the supervisor, the template of workers, two workers, the store
    end(demo, number)
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


def steps_of(page: list[str]) -> list[tuple[str, str]]:
    """The indented lines, each with what the arrow under it promises."""
    steps: list[tuple[str, str]] = []
    for line in page:
        if line.startswith("      → "):
            steps[-1] = (steps[-1][0], line.removeprefix("      → ").partition("   [")[0])
        elif line.startswith("    "):
            steps.append((line.strip(), ""))
    return steps
