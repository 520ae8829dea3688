"""`gateway store init`: the one command that speaks to the store itself, because before it no gateway is ready."""

import json
from typing import TYPE_CHECKING

import click

from gateway.commands.common import config_option, json_option, load

if TYPE_CHECKING:
    from gateway.config.load import Loaded


@click.group()
def store() -> None:
    """The store of revocations."""


@store.command(short_help="Declare the first use of an external store.")
@config_option
@click.option("--again", is_flag=True, help="Declare a lost store anew. Tokens issued before now are then refused.")
@json_option
def init(path: str, again: bool, as_json: bool) -> None:
    """Declare the first use of an external store: an empty one is otherwise taken for a lost one."""
    loaded = load(path)
    if loaded.config.store.url == "embedded":
        done = "the embedded store declares itself"
    else:
        import asyncio

        done = "declared" if asyncio.run(_declare(loaded, again=again)) else "was declared before"
    click.echo(json.dumps({"store": done}) if as_json else done)


async def _declare(loaded: "Loaded", *, again: bool) -> bool:
    """True when this call declared it, False when it was declared before."""
    from gateway.clock import Clock
    from gateway.revocation.log import RevocationLog
    from gateway.store.client import connect

    connection = connect(loaded.config.store.url)
    try:
        log = RevocationLog(connection, Clock(), loaded.config.store.max_staleness)
        was_declared = await log.is_declared()
        await log.declare(again=again)
        return again or not was_declared
    finally:
        await connection.aclose()
