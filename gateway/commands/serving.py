"""Commands that serve: `run`, `demo`, and `worker`, which the supervisor starts."""

import gc
import os
import sys

import click

from gateway.commands.common import config_option, load, warn
from gateway.template import Template


@click.command()
@config_option
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes, instead of `workers` in the configuration.")
def run(path: str, workers: int | None) -> None:
    """Serve."""
    template = Template.start()  # first of all: it imports what workers need while the rest is read
    loaded = load(path)
    warn(loaded.warnings)
    from gateway import supervisor

    sys.exit(supervisor.run(loaded, workers, template))


@click.command(short_help="Show a stolen session, and a revocation.")
@click.option("--once", is_flag=True, help="Run the story's own checks and exit.")
def demo(once: bool) -> None:
    """Show everything in one go: a stolen session as a page, a revocation."""
    from gateway import demo as story

    sys.exit(story.run(once=once) or 0)


@click.command(hidden=True)
def worker() -> None:
    """Started by the supervisor, never by hand."""
    from gateway import template

    is_template = template.ENVIRONMENT_NAME in os.environ
    if is_template:
        gc.disable()  # until everything is imported: there is no garbage among it
    from gateway import worker as process
    from gateway.boot import ENVIRONMENT_NAME, Boot

    if is_template:
        sys.exit(template.serve(os.environ.pop(template.ENVIRONMENT_NAME), process.main))
    if ENVIRONMENT_NAME not in os.environ:
        raise click.UsageError("workers are started by `gateway run`")
    sys.exit(process.main(Boot.from_json(os.environ[ENVIRONMENT_NAME])) or 0)
