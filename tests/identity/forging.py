"""What somebody can make who has stolen a signing key: the ring read from the store with its secret, and tokens with any claims.

forger = Forger(store.url)
forger.access(alice, exp=4102444800)       the claims of alice's access token, one of them changed, well signed
forger.sign("at+jwt", {...})               anything at all
"""

import asyncio
from typing import Any

from browser import Browser
from live.running_gateway import eventually

from gateway.keys.store import load
from gateway.store.client import connect
from gateway.tokens import base64url
from gateway.tokens.issue import sign
from gateway.tokens.ring import Ring, SigningKey

SECRET = bytes(range(32))
SECRETS = [base64url.encode(SECRET).decode()]
FAR = 4_102_444_800  # 2100


class Forger:
    """Holds the key that signed when it was made; a key that is retired later is still in his hands."""

    def __init__(self, store_url: str) -> None:
        key = ring_of(store_url).signing
        assert key is not None
        self.key: SigningKey = key

    def sign(self, token_type: str, claims: dict[str, Any]) -> str:
        return sign(self.key, token_type, claims).decode()

    def access(self, of: Browser, **changes: Any) -> str:
        """An access token like theirs. A change to None leaves the claim out."""
        return self.sign("at+jwt", _changed(of.claims(), changes))

    def refresh(self, of: Browser, **changes: Any) -> str:
        return self.sign("rt+jwt", _changed(of.claims("refresh"), changes))


def _changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not None}


def ring_of(store_url: str) -> Ring:
    """The ring, as soon as there is a key that signs."""

    def found() -> Ring | None:
        ring = asyncio.run(_ring(store_url))
        return ring if ring.signing is not None else None

    ring = eventually(found)
    assert ring is not None
    return ring


async def _ring(store_url: str) -> Ring:
    store = connect(store_url)
    try:
        return await load(store, [SECRET])
    finally:
        await store.aclose()
