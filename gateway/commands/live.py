"""`gateway check --live`: what a configuration names is asked whether it is there and fit. No gateway has to run.

Nothing is written.

    store.url               every server of it: docs/how-to/store.md
    issuers.*.jwks          a key set can be had, and holds keys that may be used
    accounts.database       a database server takes our name and password

Applications are not asked: whether they are there changes by the minute, and the gateway starts without them.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError, StoreError
from gateway.store.inspection import Finding, inspect

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.schema import Config

_EMBEDDED: Final = "embedded"
_DATABASE_WITHIN_S: Final = 5.0


async def look(loaded: "Loaded") -> list[Finding]:
    """All findings, problems first, each `key: what; what to do`."""
    found: list[Finding] = []
    for part in (_store(loaded.config), _key_sets(loaded), _accounts(loaded.config)):
        found += [finding async for finding in part]
    return sorted(found, key=lambda finding: not finding.is_problem)


async def _store(config: "Config") -> AsyncIterator[Finding]:
    """The embedded one is the gateway's own, and set up as it should be."""
    if config.store.url == _EMBEDDED:
        return
    from gateway.clock import Clock
    from gateway.revocation.log import RevocationLog
    from gateway.store.client import connect

    store, clock = connect(config.store.url), Clock()
    try:
        for finding in await inspect(store, clock):
            yield Finding(f"store.url: {finding.text}", finding.is_problem)
        with suppress(StoreError):  # the inspection has said so
            if not await RevocationLog(store, clock, config.store.max_staleness).is_declared():
                text = "store.url: it was never declared, or it lost everything; `gateway store init` declares it"
                yield Finding(text, is_problem=True)
    finally:
        await store.aclose()


async def _key_sets(loaded: "Loaded") -> AsyncIterator[Finding]:
    from gateway.tokens.jwks import KeySetSource

    for number, issuer in enumerate(loaded.config.issuers):
        source = KeySetSource(issuer, loaded.directory, lambda keys: None)
        await source.start()
        await source.close()
        if source.error is not None:
            yield Finding(f"issuers.{number}.jwks: {source.error}", is_problem=True)


async def _accounts(config: "Config") -> AsyncIterator[Finding]:
    from gateway.login.database import refuse_unreachable

    if not config.has_accounts:
        return
    try:
        await refuse_unreachable(config.accounts.database, _DATABASE_WITHIN_S)
    except GatewayError as error:
        yield Finding(f"accounts.database: {error}", is_problem=True)
