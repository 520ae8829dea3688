"""One-time tokens: at most once per issuer, token and route [T5].

One command that sets a key if it is absent. The answer may be lost on its way: then the use is spent and the request
is refused, because a token that may have been used is used. Names reach the key only as a digest in base64url, so
nobody chooses a slot: it is the log's, since a new run of the server that has the log is what tells that uses of before
may be missing (revocation/lua/poll.lua) [L8].
"""

import math
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from gateway.store.client import Store, command

MARGIN_S: Final = 60
"""Kept longer than the token can be valid, so that clocks a little apart do not free it early."""


async def claim_once(store: Store, issuer: str, token_id: str, route: str, expires_at: float) -> bool:
    """Use the token. False: it was used before. `expires_at` is `exp` + leeway + skew. Raises `StoreUnavailable`."""
    expires = max(math.ceil(expires_at), 1) + MARGIN_S
    return bool(await command(store, "SET", once_key(issuer, token_id, route), "1", "NX", "EXAT", expires))


def once_key(issuer: str, token_id: str, route: str) -> str:
    """The key of one use. Every part goes in with its length, so no two uses share a key."""
    digest = blake2b(digest_size=18)
    for part in (issuer, token_id, route):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return f"gateway:{{log}}:once:{urlsafe_b64encode(digest.digest()).decode()}"
