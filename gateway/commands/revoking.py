"""`gateway revoke`: revoke a token, a session, a user or a key, and lift a revocation made in error."""

import click

from gateway.commands.common import (
    client,
    complain,
    config_option,
    json_option,
    load,
    receipt_lines,
    refuse_unless,
    segment,
    show,
)
from gateway.errors import ConfigurationError


@click.command()
@config_option
@click.option("--token-id", metavar="JTI", help="The token with this `jti`; one of ours takes its session along.")
@click.option("--session", metavar="SID", help="A session, now and later.")
@click.option("--user", metavar="USER", help="All tokens of a user issued until now; the name as the backend sees it.")
@click.option("--key", metavar="KID", help="Everything a key signed, now and later.")
@click.option("--undo", metavar="ID", help="Lift the revocation with this id.")
@click.option(
    "--issuer", metavar="ISS", help="Only of this issuer. Default: our own for --token-id, every issuer for the others."
)
@click.option("--reason", metavar="TEXT", help="For the records.")
@json_option
def revoke(path: str, as_json: bool, issuer: str | None, reason: str | None, undo: str | None, **subjects: str | None) -> None:
    """Revoke, wait until it is enforced, and print the receipt. Exits 1 when a worker has not confirmed in time."""
    chosen = {name: value for name, value in subjects.items() if value is not None}
    if len(chosen) + (undo is not None) != 1:
        raise click.UsageError("name exactly one of --token-id, --session, --user, --key, --undo")
    if undo is not None and (issuer or reason):
        raise click.UsageError("--undo takes neither --issuer nor --reason")
    if not all(chosen.values()) or undo == "":
        raise click.UsageError("an empty name revokes nothing")
    connection = client(path)
    if "token_id" in chosen and issuer is None and _has_other_issuers(path):
        complain("gateway: no --issuer: this names a token of the gateway's own, not one of another issuer")
    about = {name: value for name, value in (("issuer", issuer), ("reason", reason)) if value is not None}
    if undo is not None:
        what = f"lifted {undo}"
        answer = connection.request("DELETE", f"/v1/revocations/{segment(undo)}")
    else:
        what = "revoked " + " ".join(f"{name.removesuffix('_id')} {value}" for name, value in chosen.items())
        answer = connection.request("POST", "/v1/revocations", {**chosen, **about})
    refuse_unless(answer, 200, 201, 202)
    show(answer, receipt_lines(what, answer.data()), as_json=as_json)


def _has_other_issuers(path: str) -> bool:
    try:
        return bool(load(path).config.issuers)
    except ConfigurationError:  # the running gateway has read another one
        return True
