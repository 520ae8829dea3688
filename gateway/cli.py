"""The command `gateway`: which commands there are, and how what they raise becomes a line and an exit code.

The commands themselves are in `commands/`, one file per subject, loaded when they are asked for; each imports what it needs when
it runs: `--help` must not wait for a web framework.

Exit codes: 0 done, 1 refused or failed, 2 usage or configuration.
"""

import os
from importlib import import_module
from typing import Any, Final

import click

from gateway import __version__
from gateway.errors import ConfigurationError, GatewayError

FAILED: Final = 1
MISCONFIGURED: Final = 2

# Where each is; in the order of the help.
_FILES: Final = {
    "run": "serving",
    "demo": "serving",
    "check": "configuration",
    "explain": "configuration",
    "schema": "configuration",
    "revoke": "revoking",
    "sessions": "sessions",
    "users": "users",
    "keys": "keys",
    "audit": "watching",
    "status": "watching",
    "healthcheck": "watching",
    "purge": "watching",
    "store": "storing",
    "worker": "serving",
}


class _Gateway(click.Group):
    """Loads commands by name, and turns our errors into one line each and an exit code, for every command alike."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_FILES)

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        file = _FILES.get(cmd_name)
        if file is None:
            return None
        command: click.Command = getattr(import_module(f"gateway.commands.{file}"), cmd_name)
        return command

    @property  # type: ignore[override]
    def commands(self) -> dict[str, click.Command]:
        """All of them, loaded."""
        return {name: command for name in _FILES if (command := self.get_command(None, name))}

    @commands.setter
    def commands(self, commands: dict[str, click.Command]) -> None:
        assert not commands

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            for problem in error.problems:
                _complain(problem)
            ctx.exit(MISCONFIGURED)
        except GatewayError as error:
            _complain(f"gateway: {error}")
            ctx.exit(FAILED)


@click.group(cls=_Gateway, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """The doorman in front of applications: a reverse proxy that refuses revoked tokens."""


def _complain(text: str) -> None:
    click.echo(click.style(text, fg="red"), err=True)
