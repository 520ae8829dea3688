"""Commands about a configuration that need no running gateway: `check`, `explain`, `schema`."""

import json
import sys
from typing import TYPE_CHECKING

import click

from gateway.commands.common import FAILED, MISCONFIGURED, complain, config_option, counted, json_option, load, warn
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
@click.option("--live", "is_live", is_flag=True, help="Also ask the store, the key sets and the accounts' database.")
@json_option
def check(path: str, is_live: bool, as_json: bool) -> None:
    """Find all mistakes of a configuration at once."""
    try:
        loaded = load(path)
    except ConfigurationError as error:
        if not as_json:
            warn(error.warnings)
            raise
        click.echo(json.dumps({"ok": False, "problems": error.problems, "warnings": error.warnings}, indent=2))
        sys.exit(MISCONFIGURED)
    config = loaded.config
    warnings = [*loaded.warnings, *_wrong_templates(config.pages.templates)]
    problems: list[str] = []
    if is_live:
        import asyncio

        from gateway.commands.live import look

        for finding in asyncio.run(look(loaded)):
            (problems if finding.is_problem else warnings).append(f"{path}: {finding.text}")
    counts = {"routes": len(config.routes), "upstreams": len(config.upstreams), "issuers": len(config.issuers)}
    if as_json:
        click.echo(json.dumps({"ok": not problems, "problems": problems, "warnings": warnings, **counts}, indent=2))
        sys.exit(FAILED if problems else 0)
    warn(warnings)
    if problems:
        complain("\n".join(problems))
        sys.exit(FAILED)
    summary = ", ".join(counted(count, name) for name, count in counts.items())
    click.echo(
        f"{click.style('ok', fg='green')}: {path}: {summary}" + (f", {counted(len(warnings), 'warnings')}" if warnings else "")
    )


@click.command(short_help="Tell how a request is decided, and why.")
@config_option
@click.argument("method")
@click.argument("url")
@click.option("--token", help="The bearer token of the request.")
@click.option("--from", "address", default="127.0.0.1", show_default=True, metavar="IP", help="The client's address.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A further header; repeatable.")
@json_option
def explain(path: str, method: str, url: str, token: str | None, address: str, headers: tuple[str, ...], as_json: bool) -> None:
    """Tell which route a request takes, what is decided and why, and what the backend would see."""
    pairs = [_header(header) for header in headers]
    _refuse_unless_address(address)
    loaded = load(path)
    from dataclasses import asdict

    from gateway.explain import explain as explain_request

    found = explain_request(loaded, method, url, token, address, pairs)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(found.lines()))


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from gateway.config.json_schema import as_text

    click.echo(as_text(), nl=False)


def _wrong_templates(folder: "Path | None") -> list[str]:
    """What is wrong with the operator's pages: such a page is shown as the gateway's own."""
    if folder is None:
        return []
    from gateway.portal.pages import problems_of

    return [f"pages.templates: {problem}" for problem in dict.fromkeys(problems_of(folder))]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.UsageError("a header is written as 'Name: value'")
    return name.strip(), value.strip()


def _refuse_unless_address(text: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise click.UsageError("--from takes an IP address, such as 192.0.2.7 or 2001:db8::7") from None
