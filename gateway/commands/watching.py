"""Commands that look at a running gateway: `status`, `healthcheck`, `audit`; and `purge`."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import click

from gateway.commands.common import (
    FAILED,
    TIMEOUT_S,
    ask,
    client,
    complain,
    config_option,
    json_option,
    refuse_unless,
    show,
)

if TYPE_CHECKING:
    from gateway.admin.client import AdminClient

_HEALTH_TIMEOUT_S: Final = 3.0
_PAGE: Final = 1000
_USUAL: Final = 50
_WAIT_S: Final = 20
_PAUSE_S: Final = 1.0

Document = dict[str, Any]


@click.command(short_help="Show how the running gateway is.")
@config_option
@json_option
def status(path: str, as_json: bool) -> None:
    """Show workers, replicas, store, keys, sessions, accounts and upstreams of the running gateway."""
    answer = ask(path, "GET", "/v1/status")
    from gateway.admin.outline import outline

    show(answer, outline(answer.data()), as_json=as_json)


@click.command(short_help="Exit 0 when the running gateway is ready.")
@config_option
@json_option
def healthcheck(path: str, as_json: bool) -> None:
    """Exit 0 when the running gateway is ready: for containers without curl."""
    answer = client(path, _HEALTH_TIMEOUT_S).request("GET", "/readyz?verbose")
    is_ready = answer.status == 200
    click.echo(
        json.dumps({"ready": is_ready, "status": answer.status}) if as_json else "ready" if is_ready else answer.body.strip()
    )
    sys.exit(0 if is_ready else FAILED)


@click.command()
@config_option
@json_option
def purge(path: str, as_json: bool) -> None:
    """Remove what has expired, now."""
    answer = ask(path, "POST", "/v1/purge", {})
    figures = answer.data()
    names = (("sessions", "sessions"), ("audit_events", "audit events"), ("audit_names", "names in the audit trail"))
    told = ", ".join(f"{figures.get(name, 0)} {words}" for name, words in names)
    show(answer, [f"purged {told}"], as_json=as_json)


@click.command()
@config_option
@click.option("--user", metavar="USER", help="Only about this user (or this pseudonym).")
@click.option("--action", metavar="ACTION", help="Only this action: login, refusal, revocation…")
@click.option("--since", metavar="TIME", help="From then on: 1h, 2025-01-31T12:00:00Z, or seconds since 1970.")
@click.option("--limit", type=click.IntRange(1, 100_000), help=f"The last so many; {_USUAL} without --since, all with it.")
@click.option("--follow", "-f", "is_following", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--ocsf", "as_ocsf", is_flag=True, help="Print OCSF events, one JSON object per line, for a SIEM.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def audit(
    path: str,
    user: str | None,
    action: str | None,
    since: str | None,
    limit: int | None,
    is_following: bool,
    as_ocsf: bool,
    as_json: bool,
) -> None:
    """Show the audit trail, oldest first."""
    if as_ocsf and as_json:
        raise click.UsageError("--ocsf is JSON too; name one of them")
    filters = {name: value for name, value in (("user", user), ("action", action), ("since", since)) if value is not None}
    connection = client(path, TIMEOUT_S + _WAIT_S)
    say = _printer(as_ocsf=as_ocsf, as_json=as_json)
    start = _read(connection, {"follow": "", "limit": "1"})["cursor"] if is_following else ""
    told = _last(connection, filters, limit or (_USUAL if since is None else None))
    say(told)
    if is_following:
        filters.pop("since", None)
        with suppress(KeyboardInterrupt):  # wherever it comes: that is how following ends
            _follow(connection, filters, told[-1]["id"] if told else start, say)


def _last(connection: "AdminClient", filters: dict[str, str], limit: int | None) -> list[Document]:
    """The newest events, oldest first; all there are without a limit."""
    found: list[Document] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        page = _PAGE if limit is None else min(_PAGE, limit - len(found))
        answer = _read(connection, {**filters, "limit": str(page), **({"cursor": cursor} if cursor else {})})
        found += answer["events"]
        cursor = answer["cursor"]
        if cursor is None:
            break
    return found[::-1]


def _follow(connection: "AdminClient", filters: dict[str, str], cursor: str, say: Callable[[list[Document]], None]) -> None:
    """What comes after the cursor, for ever. A gateway that restarts is waited for; the trail is in the store meanwhile."""
    from gateway.errors import GatewayError

    is_told = False
    while True:
        try:
            answer = _read(connection, {**filters, "follow": "", "cursor": cursor, "wait": str(_WAIT_S), "limit": str(_PAGE)})
        except GatewayError as error:
            if not is_told:
                complain(f"gateway: {error}; waiting")
            is_told = True
            time.sleep(_PAUSE_S)
            continue
        is_told = False
        cursor = answer["cursor"]
        say(answer["events"])


def _read(connection: "AdminClient", parameters: dict[str, str]) -> Document:
    answer = connection.request("GET", f"/v1/audit?{urlencode(parameters)}")
    refuse_unless(answer, 200)
    return {"events": [], "cursor": None, **answer.data()}


def _printer(*, as_ocsf: bool, as_json: bool) -> Callable[[list[Document]], None]:
    """Prints events, each at once."""
    from gateway.audit.ocsf import ocsf_line
    from gateway.audit.outline import Outline, json_line

    columns = Outline()

    def say(documents: list[Document]) -> None:
        lines: Iterable[str] = columns.lines(documents)
        if as_ocsf or as_json:
            line = ocsf_line if as_ocsf else json_line
            lines = (line(document).decode().rstrip("\n") for document in documents)
        for text in lines:
            click.echo(text)

    return say
