"""Whose turn it is, and how far the receiver was told: in the store, so that of several gateways one tells each event.

    gateway:{webhook}:lease:<digest of the URL>    who; expires by itself when its holder is gone
    gateway:{webhook}:place:<digest of the URL>    name, cursor, ids of what was read and is not told yet

Whoever holds the lease follows the trail from the cursor on. He writes the place once a second while it changes; what he told
after that and before he died is told again by the next, under the same name and id. A receiver of another URL has a place of
its own, and begins with what is new. Only the holder writes: the script looks.

Owns nothing but the client. Raises `StoreUnavailable`, from every method.
"""

import secrets
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway.store.client import Argument, Store
from gateway.store.scripts import load_script, run_script

_PLACE: Final = load_script(Path(__file__).parent / "lua" / "place.lua")
_PREFIX: Final = "gateway:{webhook}:"
_NAME_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class Place:
    """How far it was told.

    `name` is the receiver's, random, and part of its messages' ids: two stores have the same ids of events. `cursor` is None for
    one that was never told anything.
    """

    name: str
    cursor: str | None
    named: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()


class Places:
    """Of one process and one receiver. `keep_s`: longer than so no event is kept, and so no place."""

    def __init__(self, store: Store, url: str, lease_s: float, keep_s: float) -> None:
        digest = blake2b(url.encode(), digest_size=12).hexdigest()
        self._store = store
        self._keys = (f"{_PREFIX}lease:{digest}", f"{_PREFIX}place:{digest}")
        self._who = secrets.token_hex(8)
        self._lease_ms = int(lease_s * 1000)
        self._keep_s = max(1, int(keep_s))

    async def claim(self) -> Place | None:
        """The place, if it is our turn now."""
        arguments: list[Argument] = ["claim", self._who, self._lease_ms, self._keep_s, secrets.token_hex(_NAME_BYTES)]
        found = await run_script(self._store, _PLACE, self._keys, arguments)
        if not found:
            return None
        name, cursor, named, strangers = (b"" if value is None else bytes(value) for value in found)
        return Place(name.decode(), cursor.decode() or None, _ids(named), _ids(strangers))

    async def keep(self, place: Place, *, is_last: bool = False) -> bool:
        """Write how far we came, and go on, or (`is_last`) give the turn away. False: it was not ours any more."""
        cursor, named, strangers = place.cursor or "", " ".join(place.named), " ".join(place.strangers)
        lease_ms = 0 if is_last else self._lease_ms
        arguments: list[Argument] = ["keep", self._who, lease_ms, self._keep_s, cursor, named, strangers]
        return bool(await run_script(self._store, _PLACE, self._keys, arguments))


def _ids(raw: bytes) -> tuple[str, ...]:
    return tuple(raw.decode().split())
