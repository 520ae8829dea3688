"""What the judgements across keys are made of: a finding that stops the start or is only told, and what several rules ask.

Owns no data; a `Draft` is what could be understood of a configuration, so every answer is about what is known so far.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from gateway.config.problems import Location, Problem
from gateway.config.schema import Config, Tokens
from gateway.config.validation import Draft

Member = TypeVar("Member")


class Refused(Problem):
    """Stops the start."""


class Warned(Problem):
    """Is told at the start."""


def needs_file(location: Location, path: Path) -> Iterator[Problem]:
    if not path.is_file():
        yield Refused(location, f"there is no file {path}")


def known(members: Iterable[Member | None]) -> Iterator[tuple[int, Member]]:
    return ((index, member) for index, member in enumerate(members) if member is not None)


def own_issuer(draft: Draft) -> str | None:
    """`iss` of the gateway's own tokens; None while it is not known."""
    tokens: Tokens | None = draft.blocks.get("tokens")
    if tokens is not None and tokens.issuer is not None:
        return tokens.issuer
    named: str | None = draft.blocks.get("public_url")
    return named if "public_url" in draft.explicit else str(Config.model_fields["public_url"].default)


def has_accounts(draft: Draft) -> bool:
    """Whether people can sign in here, by the rule of `Config.has_accounts` [T1]."""
    return "accounts" in draft.explicit or all("user_prefix" in issuer.model_fields_set for _, issuer in known(draft.issuers))
