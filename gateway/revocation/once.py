"""One-time tokens: at most once per issuer, token and route [T5].

One script that sets a key if it is absent. The answer may be lost on its way: then the use is spent and the request
is refused, because a token that may have been used is used. Names reach the key only as a digest in base64url, so
nobody chooses a slot: it is the log's [L8].

Uses have no entries that would show that some are missing. So the script sets nothing on another run of the server than the
one on which this worker has seen its log last, nor in another epoch, nor where its last entry is missing: the worker looks
first, and then knows since when uses are remembered (lua/poll.lua).
"""

import math
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.revocation.keys import CLAIM, KEYS
from gateway.revocation.view import View
from gateway.store.client import Store
from gateway.store.scripts import run_script

MARGIN_S: Final = 60
"""Kept longer than the token can be valid, so that clocks a little apart do not free it early."""


async def claim_once(store: Store, view: View, issuer: str, token_id: str, route: str, expires_at: float) -> bool:
    """Use the token. False: it was used before. `expires_at` is `exp` + leeway + skew.

    Raises `StoreUnavailable`, also while the store is not, or not yet again, the one that the view is of.
    """
    expires = max(math.ceil(expires_at), 1) + MARGIN_S
    keys = (*KEYS, once_key(issuer, token_id, route))
    answer = await run_script(store, CLAIM, keys, [view.run_id, view.epoch, view.position, expires])
    if answer not in (0, 1):
        raise StoreUnavailable("the store may have forgotten uses of one-time tokens, and was not looked at yet")
    return bool(answer)


def once_key(issuer: str, token_id: str, route: str) -> str:
    """The key of one use. Every part goes in with its length, so no two uses share a key."""
    digest = blake2b(digest_size=18)
    for part in (issuer, token_id, route):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return f"gateway:{{log}}:once:{urlsafe_b64encode(digest.digest()).decode()}"
