"""Child processes of the demo, and addresses for them.

They get process groups of their own, so that Ctrl-C reaches the demo alone and it ends them in order, by process id; the kernel
ends them should the demo be killed. Owns nothing: who starts a process keeps it.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from gateway.demo.talk import ask
from gateway.lifeline import end_with_parent

END_WITHIN_S: Final = 8.0
_TAIL_LINES: Final = 12


def start(arguments: Sequence[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """A Python with a process group of its own, whose output goes to the log. Settings in our environment are not the demo's."""
    return subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment(),
        process_group=0,
        preexec_fn=end_with_parent(os.getpid(), signal.SIGTERM),
    )


def environment() -> dict[str, str]:
    """Ours, without what would change the demo's configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, and insist when it does not."""
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(address: str, path: str) -> bool:
    """Whether somebody at this address answers 200."""
    with suppress(OSError):
        return ask(address, path).status == 200
    return False


def free_addresses(*wanted: int) -> list[str]:
    """Loopback addresses nobody listens on, the wanted ports where they are free. All are held until all are known."""
    held: list[socket.socket] = []
    try:
        for port in wanted:
            try:
                held.append(socket.create_server(("127.0.0.1", port)))
            except OSError:
                held.append(_somewhere())
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in held]
    finally:
        for listener in held:
            listener.close()


def _somewhere() -> socket.socket:
    """Below the ports that the kernel hands out by itself: one of those may be anybody's before its server is up."""
    while True:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", 21_000 + secrets.randbelow(11_000)))


@contextmanager
def only_demo() -> Iterator[bool]:
    """Whether no other demo of this user runs, claimed until the end.

    A port that is free now may be another demo's in a second. The name lives in Linux's abstract namespace and leaves no
    file behind; elsewhere nobody is the only one.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        is_only = True
        try:
            claim.bind(f"\0gateway-demo-{os.getuid()}")
        except (OSError, ValueError):
            is_only = False
        yield is_only


def tail(log: Path) -> str:
    """The last lines."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
