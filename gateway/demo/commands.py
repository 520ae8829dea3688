"""What an operator types: real commands, as a person has them in a second terminal, run in the demo's folder.

Lines are data and hold no word that anybody could choose but the names of the demo's own people. Nothing that a browser sends
reaches a command line.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from gateway.demo.acts import Found
from gateway.demo.processes import environment
from gateway.demo.stage import Stage

COMMAND_WITHIN_S: Final = 30.0
LONGEST_OUTPUT: Final = 6000


def preparation(stage: Stage) -> str:
    """The line that makes the others short: the folder with the token files, the configuration, the command."""
    return f'cd {shlex.quote(str(stage.folder))} && export GATEWAY_CONFIG=$PWD/gateway.yaml PATH={_commands()}:"$PATH"'


def type_line(stage: Stage, line: str) -> tuple[int, str]:
    """Run one line; its exit code and all that it printed, as text."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    surroundings = environment() | {"PATH": path, "GATEWAY_CONFIG": str(stage.config), "NO_COLOR": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - the lines are ours
            ["/bin/sh", "-c", line],
            cwd=stage.folder,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {COMMAND_WITHIN_S:.0f} s"
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()[:LONGEST_OUTPUT]


def judge_line(stage: Stage, line: str, brings: str) -> Found:
    """Run one line, which must succeed and print this."""
    code, output = type_line(stage, line)
    return Found(code == 0 and brings in output, "command", "", output or f"exit {code}")


def _commands() -> str:
    return shlex.quote(str(Path(sys.executable).parent))
