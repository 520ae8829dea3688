"""`gateway keys`: the gateway's own signing keys."""

from typing import Any

import click

from gateway.commands.common import ask, config_option, counted, json_option, receipt_lines, segment, show, word


@click.group()
def keys() -> None:
    """The gateway's own signing keys."""


@keys.command("list")
@config_option
@json_option
def list_keys(path: str, as_json: bool) -> None:
    """List them, oldest first."""
    answer = ask(path, "GET", "/v1/keys")
    from gateway.admin.table import date, objects, table

    rows = [
        (key.get("kid"), key.get("algorithm"), key.get("state"), date(key.get("since")), date(key.get("created")))
        for key in objects(answer.data(), "keys")
    ]
    show(answer, table(("kid", "algorithm", "state", "since", "made"), rows), as_json=as_json)


@keys.command()
@config_option
@click.option("--compromised", is_flag=True, help="After a leak: refuse every other key at once, and end all sessions.")
@json_option
def rotate(path: str, compromised: bool, as_json: bool) -> None:
    """Sign with a new key from now on."""
    answer = ask(path, "POST", "/v1/keys/rotate", {"compromised": True} if compromised else {})
    receipt = answer.data()
    what = "retired every other key, and ended all sessions" if compromised else "rotated the signing keys"
    show(answer, receipt_lines(what, receipt, **_about(receipt)), as_json=as_json)


@keys.command()
@config_option
@click.argument("kid")
@json_option
def retire(path: str, kid: str, as_json: bool) -> None:
    """Refuse what the key KID signed. The one that signs is succeeded first."""
    answer = ask(path, "DELETE", f"/v1/keys/{segment(kid)}")
    receipt = answer.data()
    show(answer, receipt_lines(f"retired key {kid}", receipt, **_about(receipt)), as_json=as_json)


def _about(receipt: dict[str, Any]) -> dict[str, str]:
    told = {"signing": word(receipt.get("signing"))}
    if "sessions" in receipt:
        told["ended"] = counted(receipt["sessions"], "sessions")
    return told
