"""How a worker is started: forked from the template while there is one, as a program of its own otherwise.

Owns the template. What is started is watched by `child.py`.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from gateway.boot import Boot
from gateway.template import Process, Template

WORKER_COMMAND: Final = (sys.executable, "-m", "gateway", "worker")

logger: Final = logging.getLogger("gateway.supervisor")


class Launcher:
    """Per supervisor. `command` starts a worker, which finds its `Boot` in the environment."""

    __slots__ = ("_command", "_template")

    def __init__(self, command: Sequence[str] = WORKER_COMMAND, template: Template | None = None) -> None:
        self._command = command
        self._template = template

    def __call__(self, boot: Boot) -> Process:
        """A new worker. Raises OSError: there are no processes, descriptors or memory left."""
        self.prepare()
        if self._template is not None:
            try:
                return self._template.fork(boot)
            except OSError as error:  # it may have forked all the same: no second one gets this letter
                self._give_up(error)
                raise
        return subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            env=boot.environment(os.environ),
            pass_fds=boot.descriptors(),
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C reaches the supervisor alone, which then tells the workers to finish
        )

    def prepare(self) -> None:
        """Wait until the template has imported everything, or do without."""
        if self._template is not None:
            try:
                self._template.wait()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning("Workers are started as programs of their own from now on: %s", error)
        self.close()

    def close(self) -> None:
        """End the template. Workers live on."""
        if self._template is not None:
            self._template.close()
            self._template = None
