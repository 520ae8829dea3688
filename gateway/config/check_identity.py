"""What one key means for another, where it is about identity: tokens, issuers, their users, the accounts, what backends are told.

A part of `check.py`, by the same rules. Owns no data.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.address import Address
from gateway.config.findings import Refused, Warned, has_accounts, known, own_issuer
from gateway.config.problems import Location, Problem
from gateway.config.schema import Accounts, Fingerprint, Identity, IssuerConfig, Pages, Tokens
from gateway.config.validation import Draft

# Names under this prefix are stripped from what clients send, in every spelling a backend might fold into it (wire/fields.py).
_ASSERTION: Final = re.compile(r"X-Gateway-[A-Za-z0-9]+(-[A-Za-z0-9]+)*", re.IGNORECASE)
_TAKEN: Final = frozenset({"x-gateway-reason", "x-gateway-client", "x-gateway-session", "x-gateway-cookies"})
_DATABASES: Final = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+asyncpg")


def own_tokens(draft: Draft) -> Iterator[Problem]:
    tokens: Tokens | None = draft.blocks.get("tokens")
    if tokens is not None and not tokens.access_ttl <= tokens.refresh_ttl <= tokens.session_ttl:
        yield Refused(("tokens",), "access_ttl, refresh_ttl and session_ttl must not become shorter in this order")


def issuers(draft: Draft) -> Iterator[Problem]:
    own = own_issuer(draft)
    seen: dict[str, int] = {own: -1} if own else {}
    for index, issuer in known(draft.issuers):
        if issuer.issuer in seen:
            which = "this gateway's own (tokens.issuer)" if seen[issuer.issuer] < 0 else f"that of issuers.{seen[issuer.issuer]}"
            yield Refused(("issuers", index, "issuer"), f"is the same as {which}")
        seen.setdefault(issuer.issuer, index)
        yield from _key_set(issuer, ("issuers", index))
        if issuer.session_lifetime < issuer.max_lifetime:
            yield Refused(
                ("issuers", index, "session_lifetime"),
                "must not be shorter than max_lifetime",
                "a denied session would come back",
            )


def _key_set(issuer: IssuerConfig, location: Location) -> Iterator[Problem]:
    symmetric = [name for name in issuer.algorithms if name.startswith("HS")]
    is_url = "://" in issuer.jwks
    if symmetric and len(symmetric) < len(issuer.algorithms):
        what = "mixes shared secrets (HS…) with public keys: a public key could be taken for a secret"
        yield Refused((*location, "algorithms"), what, "make two issuers of it, or drop one kind")
    if symmetric and is_url:
        yield Refused(
            (*location, "jwks"),
            f"{symmetric[0]} needs a shared secret, which is never published",
            "name a file with the `oct` key",
        )
    if is_url:
        address = urlsplit(issuer.jwks)
        if address.scheme == "http" and not Address(host=address.hostname, port=1).is_loopback:
            yield Warned((*location, "jwks"), "is fetched without TLS: whoever is on the way can make tokens", "use https://")
    elif not Path(issuer.jwks).is_file():
        yield Warned(
            (*location, "jwks"), f"there is no file {issuer.jwks} yet; until there is, every token of this issuer is refused"
        )


def sources_of_users(draft: Draft) -> Iterator[Problem]:
    """T1: two sources share user names only when the configuration says so."""
    listed = list(known(draft.issuers))
    if len(draft.issuers) + ("accounts" in draft.explicit) > 1:
        for index, issuer in listed:
            if "user_prefix" not in issuer.model_fields_set:
                what = "must be written, because there is more than one source of users"
                yield Refused(("issuers", index, "user_prefix"), what, '"" says that they share their names on purpose')
    for index, issuer in listed:
        for _, other in listed:
            mine, theirs = issuer.user_prefix, other.user_prefix
            if mine != theirs and mine.startswith(theirs):
                both = f"'{mine[len(theirs) :]}x' of {other.issuer} and 'x' of this one"
                what = f"begins like that of another issuer: users {both} are the same to the backend"
                yield Warned(("issuers", index, "user_prefix"), what)


def accounts(draft: Draft) -> Iterator[Problem]:
    """Whether the database can be one. Whether it answers is seen when it is used."""
    block: Accounts | None = draft.blocks.get("accounts")
    if block is None or not has_accounts(draft):
        return
    here: Location = ("accounts", "database")
    scheme, _, rest = block.database.partition("://")
    if scheme not in _DATABASES:
        yield Refused(here, "is of a kind that is not supported", "use sqlite+aiosqlite:// or postgresql+asyncpg://")
    elif scheme.startswith("sqlite") and rest.partition("?")[0].strip("/") in {"", ":memory:"}:
        yield Refused(here, "needs a file: a database in memory is not shared by workers, and ends with them")
    elif scheme.startswith("postgresql") and find_spec("asyncpg") is None:
        yield Refused(here, "PostgreSQL needs its driver, which is not installed", "install the gateway's extra postgres")


def assertion(draft: Draft) -> Iterator[Problem]:
    """A backend believes this header, so no client may send it; and it can verify it only with a public key."""
    identity: Identity | None = draft.blocks.get("identity")
    tokens: Tokens | None = draft.blocks.get("tokens")
    if identity is None or identity.assertion is None:
        return
    here: Location = ("identity", "assertion")
    if not _ASSERTION.fullmatch(identity.assertion):
        what = "must be a header name that begins with X-Gateway-: those are stripped from what clients send"
        yield Refused(here, what, "write X-Gateway-Assertion")
    elif identity.assertion.lower() in _TAKEN:
        yield Refused(here, "is a header the gateway uses for something else", "write X-Gateway-Assertion")
    if tokens is not None and tokens.algorithm == "HS256":
        what = "cannot be verified by any backend while tokens.algorithm is HS256, whose secret is never published"
        yield Refused(here, what, "use ES256")
    if tokens is not None and tokens.audience in {route.name for _, route in known(draft.routes)}:
        what = "is a route's name too: a backend that forgets to look at typ would take an access token for an assertion"
        yield Refused(("tokens", "audience"), what, "rename one of them")


def files(draft: Draft) -> Iterator[Problem]:
    """Files that belong to identity: the database of countries, the operator's pages."""
    fingerprint: Fingerprint | None = draft.blocks.get("fingerprint")
    pages: Pages | None = draft.blocks.get("pages")
    if fingerprint is not None and fingerprint.country.database is not None:
        here: Location = ("fingerprint", "country", "database")
        if not fingerprint.country.database.is_file():
            yield Warned(here, f"there is no file {fingerprint.country.database}: no country is known, so none is judged")
        if find_spec("maxminddb") is None:
            yield Refused(here, "needs a library that is not installed", "install the gateway's extra geoip")
    if pages is not None and pages.templates is not None and not pages.templates.is_dir():
        yield Refused(("pages", "templates"), f"there is no folder {pages.templates}")
