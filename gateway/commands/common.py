"""What commands share: options, the way to a running gateway, and how receipts and complaints are printed.

Commands that act on a running gateway speak to its admin API, whose address and token they read from the same configuration.
With `--json` they print exactly what it answered.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import click

from gateway.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from gateway.admin.client import AdminClient, Answer
    from gateway.config.load import Loaded

DEFAULT_PATH: Final = "config/gateway.yaml"
FAILED: Final = 1
MISCONFIGURED: Final = 2
TIMEOUT_S: Final = 20.0  # a receipt takes 5 s at most, and some acts need two
NOT_COMPLETE: Final = "gateway: not every worker has confirmed yet; it is recorded, and those that are cut off stop by themselves"

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    return click.option(
        "-c",
        "--config",
        "path",
        envvar="GATEWAY_CONFIG",
        default=DEFAULT_PATH,
        show_default=True,
        metavar="FILE",
        help="The configuration; also $GATEWAY_CONFIG.",
    )(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def load(path: str) -> "Loaded":
    """The configuration. Raises ConfigurationError."""
    from gateway.config.load import load

    return load(path)


def client(path: str, timeout_s: float = TIMEOUT_S) -> "AdminClient":
    """The way to the running gateway, which goes on while its file is mistaken. Raises ConfigurationError."""
    from gateway.admin.client import AdminClient
    from gateway.config.load import load_admin

    try:
        admin, is_sound = load_admin(path)
    except ConfigurationError as error:
        hint = "a gateway that runs goes on with what it read before: name a copy of that with -c"
        raise ConfigurationError([*error.problems, f"{path}: {hint}"]) from None
    if not is_sound:
        complain(f"gateway: {path} has mistakes, which `gateway check` tells; the running gateway is asked all the same")
    return AdminClient(admin.listen, admin.tokens[0], timeout_s)


def ask(path: str, method: str, target: str, body: dict[str, Any] | None = None) -> "Answer":
    """One request to the running gateway of this configuration, which has to do what it asks. Raises GatewayError."""
    answer = client(path).request(method, target, body)
    refuse_unless(answer, 200, 201, 202)
    return answer


def refuse_unless(answer: "Answer", *expected: int) -> None:
    """Raises GatewayError with what the gateway said."""
    if answer.status == 401:
        raise GatewayError("the running gateway does not accept this admin token; is it the one it was started with?")
    if answer.status not in expected:
        raise GatewayError(f"the admin API answered {answer.explanation()}")


def segment(name: str) -> str:
    """A name as a part of a path."""
    if not name:
        raise click.UsageError("an empty name names nobody")
    return quote(name, safe="@")


def show(answer: "Answer", lines: Sequence[str], *, as_json: bool) -> None:
    """Print the answer as it came, or these lines. Ends the command with 1 when the receipt is not complete."""
    click.echo(answer.body.rstrip("\n") if as_json else "\n".join(lines))
    if answer.status == 202:
        complain(NOT_COMPLETE)
        sys.exit(FAILED)


def receipt_lines(what: str, receipt: dict[str, Any], **further: str) -> list[str]:
    """A receipt for people; `further` lines stand before the figures."""
    workers, enforced, fenced = (receipt.get(name, 0) for name in ("workers", "enforced_by", "fenced"))
    took_ms = float(receipt.get("took_ms", 0))
    lines = [
        what,
        *(f"  {name:<8}  {value}" for name, value in further.items()),
        f"  id        {receipt.get('id')}",
        f"  enforced  by {enforced} of {workers} workers" + (f"; {fenced} more stopped by themselves" if fenced else ""),
        f"  durable   {'yes' if receipt.get('durable') else 'no: the store may forget it in a crash'}",
        f"  took      {took_ms:.{1 if took_ms < 10 else 0}f} ms",
    ]
    uncovered = receipt.get("not_fenced_routes")
    if fenced and uncovered:
        lines.append(f"  but       {', '.join(map(word, uncovered))} go on in a stopped worker (on_outage)")
    return lines


def word(value: Any) -> str:
    """Text as it is; what a terminal would obey is escaped."""
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def counted(count: int, plural: str) -> str:
    return f"{count} {plural if count != 1 else plural[:-1]}"


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)


def complain(text: str) -> None:
    click.echo(click.style(text, fg="red"), err=True)
