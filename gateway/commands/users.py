"""`gateway users`: the built-in accounts, and keeping a user out.

Passwords are asked for on a terminal, twice and unseen, or read as one line from standard input. They are never arguments: those
are in everybody's list of processes, and in the shell's history.
"""

import json
import secrets
import sys
from typing import Any, Final

import click

from gateway.commands.common import (
    ask,
    client,
    config_option,
    counted,
    json_option,
    receipt_lines,
    refuse_unless,
    segment,
    show,
    word,
)

_PAGE: Final = 1000
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # no two that look alike
_BLOCKS: Final = 5
_BLOCK: Final = 4  # 5 × 4 characters of 31: 99 bits


def password_option(command: Any) -> Any:
    return click.option("--generate", is_flag=True, help="Make a password, and print it.")(command)


@click.group()
def users() -> None:
    """The built-in accounts, and keeping a user out."""


@users.command("list")
@config_option
@json_option
def list_users(path: str, as_json: bool) -> None:
    """List the accounts."""
    connection = client(path)
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        answer = connection.request("GET", f"/v1/users?limit={_PAGE}" + (f"&after={segment(after)}" if after else ""))
        refuse_unless(answer, 200)
        page = answer.data()
        found += page.get("users", [])
        after = page.get("next") or ""
        if not after:
            break
    if as_json:
        click.echo(json.dumps({"users": found, "next": None}, ensure_ascii=False))
        return
    click.echo("\n".join(_table(found)) if found else "no accounts")


@users.command()
@config_option
@click.argument("email")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group; repeatable.")
@password_option
@json_option
def add(path: str, email: str, groups: tuple[str, ...], generate: bool, as_json: bool) -> None:
    """Make an account."""
    password = _generated() if generate else _asked(email)
    answer = ask(path, "POST", "/v1/users", {"email": email, "password": password, "groups": list(groups)})
    account = answer.data()
    if as_json:
        click.echo(json.dumps(account | {"password": password}) if generate else answer.body.rstrip("\n"))
        return
    lines = [f"made {word(account.get('user'))}", f"  groups    {_listed(account.get('groups'))}"]
    if account.get("blocked"):
        lines.append("  blocked   yes: this name is kept out until gateway users unblock")
    click.echo("\n".join(lines + [f"  password  {password}"] * generate))


@users.command()
@config_option
@click.argument("user")
@password_option
@json_option
def passwd(path: str, user: str, generate: bool, as_json: bool) -> None:
    """Set a password. Every session of the account is over at once."""
    password = _generated() if generate else _asked(user)
    answer = ask(path, "PUT", f"/v1/users/{segment(user)}/password", {"password": password})
    receipt = answer.data()
    if as_json and generate:
        click.echo(json.dumps(receipt | {"password": password}))
        return
    told = {"ended": counted(receipt.get("sessions", 0), "sessions")} | ({"password": password} if generate else {})
    show(answer, receipt_lines(f"set the password of {user}", receipt, **told), as_json=as_json)


@users.command(short_help="Keep a user out until it is lifted.")
@config_option
@click.argument("user")
@click.option("--reason", metavar="TEXT", help="For the records.")
@json_option
def block(path: str, user: str, reason: str | None, as_json: bool) -> None:
    """Keep a user out until it is lifted; of any issuer, with or without an account."""
    answer = ask(path, "POST", f"/v1/users/{segment(user)}/block", {} if reason is None else {"reason": reason})
    show(answer, receipt_lines(f"blocked {user}", answer.data()), as_json=as_json)


@users.command()
@config_option
@click.argument("user")
@json_option
def unblock(path: str, user: str, as_json: bool) -> None:
    """Let a user in again."""
    answer = ask(path, "DELETE", f"/v1/users/{segment(user)}/block")
    show(answer, receipt_lines(f"unblocked {user}", answer.data()), as_json=as_json)


@users.command(short_help="Set the groups of an account.")
@config_option
@click.argument("user")
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.option("--group", "further", multiple=True, metavar="GROUP", help="The same as the argument; repeatable.")
@click.option("--none", "none", is_flag=True, help="Take all groups away.")
@json_option
def groups(path: str, user: str, groups: tuple[str, ...], further: tuple[str, ...], none: bool, as_json: bool) -> None:
    """Set an account's groups: these and no others, from the next request on. Without any: show them."""
    chosen = [*groups, *further]
    if none and chosen:
        raise click.UsageError("--none takes no groups")
    if not none and not chosen:
        answer = ask(path, "GET", f"/v1/users/{segment(user)}")
        show(answer, [_listed(answer.data().get("groups"))], as_json=as_json)
        return
    answer = ask(path, "PUT", f"/v1/users/{segment(user)}/groups", {"groups": chosen})
    receipt = answer.data()
    told = {"groups": _listed(receipt.get("groups")), "in": counted(receipt.get("sessions", 0), "sessions")}
    show(answer, receipt_lines(f"set the groups of {user}", receipt, **told), as_json=as_json)


@users.command(short_help="Erase a person, and print what is kept.")
@config_option
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask, on a terminal.")
@json_option
def erase(path: str, user: str, yes: bool, as_json: bool) -> None:
    """Erase a person (GDPR), and print what is gone and what is kept until when. There is no way back."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Erase {user}, with account, sessions and name in the audit trail?", abort=True, err=True)
    answer = ask(path, "DELETE", f"/v1/users/{segment(user)}")
    show(answer, _erasure(answer.data()), as_json=as_json)


def _erasure(told: dict[str, Any]) -> list[str]:
    erased = told.get("erased", {})
    lines = [f"erased {word(told.get('user'))}"]
    for name, value in (
        ("account", "yes" if erased.get("account") else "there was none"),
        ("sessions", word(erased.get("sessions"))),
        ("devices", "from where the account logged in" if erased.get("known_devices") else "-"),
        ("name", "in the audit trail" if erased.get("name_in_audit") else "was not in the audit trail"),
        *(("uses", f"of sessions at {word(issuer)}") for issuer in erased.get("first_uses", ())),
    ):
        lines.append(f"  {name:<8}  {value}")
    if isinstance(receipt := told.get("receipt"), dict):
        lines += receipt_lines("", receipt)[2:]
    lines.append("kept")
    lines += [f"  {word(entry.get('until')):<24}  {word(entry.get('what'))}" for entry in told.get("kept", ())]
    return lines


def _table(found: list[dict[str, Any]]) -> list[str]:
    from gateway.admin.table import date, table

    rows = [
        (
            account.get("user"),
            _listed(account.get("groups")),
            "yes" if account.get("blocked") else "-",
            date(account.get("created")),
            account.get("version"),
        )
        for account in found
    ]
    return table(("user", "groups", "blocked", "made", "version"), rows)


def _listed(groups: Any) -> str:
    return ", ".join(map(word, groups)) if groups else "-"


def _asked(whose: str) -> str:
    """A new password, from whoever types, or from whatever writes. Raises UsageError when there is none."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Password of {whose}", hide_input=True, confirmation_prompt="Again", err=True))
    try:
        line = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
        line.encode()
    except UnicodeError:
        raise click.UsageError("the password on standard input is not UTF-8") from None
    if not line:
        raise click.UsageError("no password on standard input; type it on a terminal, pipe one line, or use --generate")
    return line


def _generated() -> str:
    """`k7mx-3qpd-…`: easy to read out, hard to guess."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_BLOCK)) for _ in range(_BLOCKS))
