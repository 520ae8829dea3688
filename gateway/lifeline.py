"""A child process that must not outlive its parent asks the kernel to be signalled when the parent is gone. Linux only.

NB: the signal follows the *thread* that started the child, so children are started from threads that live as long as their
process: the main one.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """What the child calls first, in itself: after a fork, or at the beginning of its program.

    The library is looked up here and not there: a child between fork and exec should do as little as it can. A parent that
    died before the call is noticed by the child's having another one by then.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return ask
