"""The command `gateway`. Each command imports what it needs when it runs: `--help` must not wait for a web framework.

Owns options, exit codes (0 done, 1 refused or failed, 2 usage or configuration) and the printed forms; all work happens below.
Commands that act on a running gateway speak to its admin API, whose address and token they read from the same configuration.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gateway import __version__
from gateway.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from gateway.admin.client import AdminClient, Answer
    from gateway.config.load import Loaded

_DEFAULT_PATH: Final = "config/gateway.yaml"
_FAILED: Final = 1
_MISCONFIGURED: Final = 2
_HEALTH_TIMEOUT_S: Final = 3.0

Command = TypeVar("Command", bound=Callable[..., Any])


class _Gateway(click.Group):
    """Turns our errors into one line each and an exit code, for every command alike."""

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            for problem in error.problems:
                _complain(problem)
            ctx.exit(_MISCONFIGURED)
        except GatewayError as error:
            _complain(f"gateway: {error}")
            ctx.exit(_FAILED)


def _config(command: Command) -> Command:
    return click.option(
        "-c",
        "--config",
        "path",
        envvar="GATEWAY_CONFIG",
        default=_DEFAULT_PATH,
        show_default=True,
        metavar="FILE",
        help="The configuration; also $GATEWAY_CONFIG.",
    )(command)


def _json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@click.group(cls=_Gateway, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """The doorman in front of applications: a reverse proxy that refuses revoked tokens."""


@main.command()
@_config
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes, instead of `workers` in the configuration.")
def run(path: str, workers: int | None) -> None:
    """Serve."""
    loaded = _load(path)
    _warn(loaded.warnings)
    from gateway import supervisor

    sys.exit(supervisor.run(loaded, workers=workers))


@main.command()
@click.option("--once", is_flag=True, help="Run the story's own checks and exit.")
def demo(once: bool) -> None:
    """Show everything in one go: embedded store, a sample application, a revocation."""
    from gateway import demo as story

    sys.exit(story.run(once=once) or 0)


@main.command()
@_config
@_json
def check(path: str, as_json: bool) -> None:
    """Find all mistakes of a configuration at once."""
    try:
        loaded = _load(path)
    except ConfigurationError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"ok": False, "problems": error.problems, "warnings": []}, indent=2))
        sys.exit(_MISCONFIGURED)
    config = loaded.config
    counts = {"routes": len(config.routes), "upstreams": len(config.upstreams), "issuers": len(config.issuers)}
    if as_json:
        click.echo(json.dumps({"ok": True, "problems": [], "warnings": list(loaded.warnings), **counts}, indent=2))
        return
    _warn(loaded.warnings)
    summary = ", ".join(_counted(count, name) for name, count in counts.items())
    click.echo(
        f"{click.style('ok', fg='green')}: {path}: {summary}"
        + (f", {_counted(len(loaded.warnings), 'warnings')}" if loaded.warnings else "")
    )


@main.command()
@_config
@click.argument("method")
@click.argument("url")
@click.option("--token", help="The bearer token of the request.")
@click.option("--from", "address", default="127.0.0.1", show_default=True, metavar="IP", help="The client's address.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A further header; repeatable.")
@_json
def explain(path: str, method: str, url: str, token: str | None, address: str, headers: tuple[str, ...], as_json: bool) -> None:
    """Tell which route a request takes, what is decided and why, and what the backend would see."""
    pairs = [_header(header) for header in headers]
    _refuse_unless_address(address)
    loaded = _load(path)
    from dataclasses import asdict

    from gateway.explain import explain as explain_request

    found = explain_request(loaded, method, url, token, address, pairs)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(found.lines()))


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from gateway.config.json_schema import as_text

    click.echo(as_text(), nl=False)


@main.command()
@_config
@click.option("--token-id", metavar="JTI", help="The token with this `jti`.")
@click.option("--session", metavar="SID", help="A session, now and later.")
@click.option("--user", metavar="USER", help="All tokens of a user issued until now; the name as the backend sees it.")
@click.option("--key", metavar="KID", help="Everything a key signed, now and later.")
@click.option("--undo", metavar="ID", help="Lift the revocation with this id.")
@click.option(
    "--issuer", metavar="ISS", help="Only of this issuer. Default: our own for --token-id, every issuer for the others."
)
@click.option("--reason", metavar="TEXT", help="For the records.")
@_json
def revoke(path: str, as_json: bool, issuer: str | None, reason: str | None, undo: str | None, **subjects: str | None) -> None:
    """Revoke, wait until it is enforced, and print the receipt. Exits 1 when a worker has not confirmed in time."""
    chosen = {name: value for name, value in subjects.items() if value is not None}
    if len(chosen) + (undo is not None) != 1:
        raise click.UsageError("name exactly one of --token-id, --session, --user, --key, --undo")
    if undo is not None and (issuer or reason):
        raise click.UsageError("--undo takes neither --issuer nor --reason")
    if not all(chosen.values()) or undo == "":
        raise click.UsageError("an empty name revokes nothing")
    loaded = _load(path)
    if "token_id" in chosen and issuer is None and loaded.config.issuers:
        _complain("gateway: no --issuer: this names a token of the gateway's own, not one of another issuer")
    client = _client(loaded)
    about = {name: value for name, value in (("issuer", issuer), ("reason", reason)) if value is not None}
    answer = client.undo(undo) if undo is not None else client.revoke({**chosen, **about})
    _refuse_unless(answer, 200, 201, 202)
    receipt = answer.data()
    what = (
        f"lifted {undo}"
        if undo
        else "revoked " + " ".join(f"{name.removesuffix('_id')} {value}" for name, value in chosen.items())
    )
    click.echo(answer.body.rstrip("\n") if as_json else "\n".join(_receipt_lines(what, receipt)))
    if answer.status == 202 or not receipt.get("complete"):
        _complain("gateway: not every worker has confirmed yet; it is recorded, and those that are cut off stop by themselves")
        sys.exit(_FAILED)


@main.command()
@_config
@_json
def status(path: str, as_json: bool) -> None:
    """Show workers, replicas, store and upstreams of the running gateway."""
    answer = _client(_load(path)).status()
    _refuse_unless(answer, 200)
    from gateway.admin.outline import outline

    click.echo(answer.body.rstrip("\n") if as_json else "\n".join(outline(answer.data())))


@main.command()
@_config
@_json
def healthcheck(path: str, as_json: bool) -> None:
    """Exit 0 when the running gateway is ready: for containers without curl."""
    answer = _client(_load(path), _HEALTH_TIMEOUT_S).ready()
    is_ready = answer.status == 200
    click.echo(
        json.dumps({"ready": is_ready, "status": answer.status}) if as_json else "ready" if is_ready else answer.body.strip()
    )
    sys.exit(0 if is_ready else _FAILED)


@main.group()
def store() -> None:
    """The store of revocations."""


@store.command()
@_config
@click.option("--again", is_flag=True, help="Declare a lost store anew. Tokens issued before now are then refused.")
@_json
def init(path: str, again: bool, as_json: bool) -> None:
    """Declare the first use of an external store: an empty one is otherwise taken for a lost one."""
    loaded = _load(path)
    if loaded.config.store.url == "embedded":
        done = "the embedded store declares itself"
    else:
        import asyncio

        done = "declared" if asyncio.run(_declare(loaded, again=again)) else "was declared before"
    click.echo(json.dumps({"store": done}) if as_json else done)


@main.command(hidden=True)
def worker() -> None:
    """Started by the supervisor, never by hand."""
    from gateway import worker as process
    from gateway.boot import ENVIRONMENT_NAME, Boot

    if ENVIRONMENT_NAME not in os.environ:
        raise click.UsageError("workers are started by `gateway run`")
    sys.exit(process.main(Boot.from_json(os.environ[ENVIRONMENT_NAME])) or 0)


async def _declare(loaded: "Loaded", *, again: bool) -> bool:
    """True when this call declared it, False when it was declared before."""
    from gateway.clock import Clock
    from gateway.revocation.log import RevocationLog
    from gateway.store.client import connect

    connection = connect(loaded.config.store.url)
    try:
        log = RevocationLog(connection, Clock(), loaded.config.store.max_staleness)
        was_declared = await log.is_declared()
        await log.declare(again=again and was_declared)
        return again or not was_declared
    finally:
        await connection.aclose()


def _load(path: str) -> "Loaded":
    from gateway.config.load import load

    return load(path)


def _client(loaded: "Loaded", timeout_s: float = 15.0) -> "AdminClient":
    from gateway.admin.client import AdminClient

    return AdminClient(loaded.config.admin.listen, loaded.config.admin.tokens[0], timeout_s)


def _refuse_unless(answer: "Answer", *expected: int) -> None:
    if answer.status == 401:
        raise GatewayError("the running gateway does not accept this admin token; is it the one it was started with?")
    if answer.status not in expected:
        raise GatewayError(f"the admin API answered {answer.explanation()}")


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


def _receipt_lines(what: str, receipt: dict[str, Any]) -> list[str]:
    workers, enforced, fenced = (receipt.get(name, 0) for name in ("workers", "enforced_by", "fenced"))
    took_ms = float(receipt.get("took_ms", 0))
    lines = [
        what,
        f"  id        {receipt.get('id')}",
        f"  enforced  by {enforced} of {workers} workers" + (f"; {fenced} more stopped by themselves" if fenced else ""),
        f"  durable   {'yes' if receipt.get('durable') else 'no: the store may forget it in a crash'}",
        f"  took      {took_ms:.{1 if took_ms < 10 else 0}f} ms",
    ]
    uncovered = receipt.get("not_fenced_routes")
    if fenced and uncovered:
        lines.append(f"  but       {', '.join(map(_word, uncovered))} go on in a stopped worker (on_outage)")
    return lines


def _word(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _counted(count: int, plural: str) -> str:
    return f"{count} {plural if count != 1 else plural[:-1]}"


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)


def _complain(text: str) -> None:
    click.echo(click.style(text, fg="red"), err=True)
