"""What is known of another issuer's session: how it looked when it was first seen here [S3].

We did not see the login, so the first use stands in for it. Every worker may see a "first" use at the same moment; the store
keeps one, in one step, and all of them go by what it kept.

    gateway:first:{<whose>}    hash    <which> -> "created expires [network, device, hints, country, agent]"

`whose` is a digest of (issuer, user), `which` one of the session's name: (issuer, sid), or else (issuer, sub, auth_time), never
jti (enforce/verify.py names it). So no client chooses a slot [L8], one user has a bounded number of them, and erasing a user is
one key. Each lives as long as the issuer's sessions may, and is made anew when it is missing.

While the store is short of memory (`may_record` is False) nothing new is written; what this worker saw first then counts here.
"""

from base64 import urlsafe_b64encode
from dataclasses import astuple, dataclass, fields
from hashlib import blake2b
from typing import Final

import orjson

from gateway.sessions.keys import FIRST_USE, first_uses_key
from gateway.sessions.model import FirstUse
from gateway.store.client import Store, command
from gateway.store.scripts import run_script

PER_USER: Final = 20


@dataclass(frozen=True, slots=True)
class Look:
    """What a request shows of its client; empty: not known."""

    network: str = ""
    device: str = ""
    hints: str = ""
    country: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A use of another issuer's session, perhaps the first. `name` tells the session from all others there are;
    `lifetime_s` is how long one of this issuer may live."""

    issuer: str
    user: str
    name: str
    lifetime_s: float
    look: Look


class FirstUses:
    """The first uses in the store. Per process; holds the client, and `may_record`, which the worker sets."""

    def __init__(self, store: Store, per_user: int = PER_USER) -> None:
        self._store = store
        self._per_user = per_user
        self.may_record = True

    async def get(self, seen: Seen) -> FirstUse:
        """The first use on record; this one, when there is none. Raises `StoreUnavailable`."""
        whose, which = _digest(seen.issuer, seen.user), _digest(seen.name)
        name = f"{whose}.{which}"
        look = orjson.dumps(astuple(seen.look)) if self.may_record else b""
        for _ in range(2):
            arguments = (which, seen.lifetime_s, self._per_user, look)
            kept = await run_script(self._store, FIRST_USE, [first_uses_key(whose)], arguments)
            if kept is None:
                break
            first = _read(name, kept)
            if first is not None:
                return first
            await command(self._store, "HDEL", first_uses_key(whose), which)  # damaged: made anew
        return _first_use(name, 0.0, 0.0, seen.look)

    async def forget(self, issuer: str, user: str) -> None:
        """Erase what is known of one user of an issuer. Raises `StoreUnavailable`."""
        await command(self._store, "UNLINK", first_uses_key(_digest(issuer, user)))


def _first_use(name: str, created: float, expires: float, look: Look) -> FirstUse:
    return FirstUse(name, created, expires, look.network, look.device, look.hints, look.country, look.agent)


def _read(name: str, kept: bytes) -> FirstUse | None:
    """What the store kept, or None when it is damaged."""
    try:
        created, expires, text = kept.split(b" ", 2)
        look = orjson.loads(text)
        if type(look) is not list or len(look) != len(fields(Look)) or not all(type(part) is str for part in look):
            return None
        return _first_use(name, float(created), float(expires), Look(*look))
    except (ValueError, TypeError):
        return None


def _digest(*parts: str) -> str:
    """Every part goes in with its length, so no two names share a digest; 24 characters, a sid has others."""
    digest = blake2b(digest_size=18)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return urlsafe_b64encode(digest.digest()).decode()
