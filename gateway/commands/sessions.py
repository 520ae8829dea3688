"""`gateway sessions USER`: list an account's sessions, end one or all of them."""

from typing import Any

import click

from gateway.commands.common import ask, config_option, counted, json_option, receipt_lines, segment, show
from gateway.errors import GatewayError


@click.command()
@config_option
@click.argument("user")
@click.option("--end", "ended", metavar="SID", help="End this session.")
@click.option("--end-all", "ends_all", is_flag=True, help="End every session of the user.")
@json_option
def sessions(path: str, user: str, ended: str | None, ends_all: bool, as_json: bool) -> None:
    """List an account's sessions, or end them. USER is its e-mail address."""
    if ended is not None and ends_all:
        raise click.UsageError("--end and --end-all are two things")
    target = f"/v1/users/{segment(user)}/sessions"
    if ends_all:
        answer = ask(path, "DELETE", target)
        count = answer.data().get("sessions", 0)
        show(answer, receipt_lines(f"ended {counted(count, 'sessions')} of {user}", answer.data()), as_json=as_json)
        return
    answer = ask(path, "GET", target)
    document = answer.data()
    if ended is None:
        show(answer, _lines(document), as_json=as_json)
        return
    if ended not in (*(one.get("id") for one in document.get("sessions", ())), *document.get("damaged", ())):
        raise GatewayError(f"{user} has no session of this id; gateway sessions {user} lists them")
    answer = ask(path, "DELETE", f"/v1/sessions/{segment(ended)}")
    show(answer, receipt_lines(f"ended session {ended}", answer.data()), as_json=as_json)


def _lines(document: dict[str, Any]) -> list[str]:
    from gateway.admin.table import date, objects, table, word

    found = objects(document, "sessions")
    blocked = " (blocked)" if document.get("blocked") else ""
    lines = [f"{word(document.get('user'))}{blocked}: {counted(len(found), 'sessions') if found else 'no sessions'}"]
    if found:
        rows = [
            (one.get("id"), one.get("device"), _where(one), date(one.get("created")), date(one.get("last_seen")), _until(one))
            for one in found
        ]
        lines += ["", *table(("session", "device", "network", "signed in", "last seen", "ends"), rows)]
    lines += [f"damaged: {word(sid)}: its user has to sign in again" for sid in document.get("damaged", ())]
    return lines


def _where(session: dict[str, Any]) -> Any:
    network, country = session.get("network"), session.get("country")
    return f"{network} {country}" if network and country else network or country


def _until(session: dict[str, Any]) -> str:
    """When it ends if nobody uses it."""
    from gateway.admin.table import date

    times = [session[name] for name in ("expires", "ends") if isinstance(session.get(name), int)]
    return date(min(times, default=None))
