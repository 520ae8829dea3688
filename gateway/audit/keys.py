"""The trail's scripts and the names of its keys in the store.

    trail      stream   events: what users and operators did, and what was done to them
    strangers  stream   events that need no credential: however many there are, they displace only each other [B1]
    people     hash     digest of a name -> pseudonym
    names      hash     pseudonym -> name: the only place where a name stands
    seen       zset     digest by the second of the last event, for the purge
    forgotten  zset     digest by the second of the erasure
    batch:…    string   the last batch of one process, so that one sent twice is appended once

All share the hash tag `{audit}`, apart from the log's `{log}`: trouble here is none there. No part of a key comes from a
client; a name from a token becomes a digest or a value. All but the last expire by themselves when nothing is appended for
as long as events are kept.
"""

from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway.store.scripts import Script, load_script
from gateway.tokens import base64url

_PREFIX: Final = "gateway:{audit}:"
_LUA: Final = Path(__file__).parent / "lua"

TRAIL: Final = _PREFIX + "trail"
STRANGERS: Final = _PREFIX + "strangers"
PEOPLE: Final = _PREFIX + "people"
NAMES: Final = _PREFIX + "names"
SEEN: Final = _PREFIX + "seen"
FORGOTTEN: Final = _PREFIX + "forgotten"
KEYS: Final = (TRAIL, STRANGERS, PEOPLE, NAMES, SEEN, FORGOTTEN)

PSEUDONYM_MARK: Final = "~"
NOBODY_ANY_MORE: Final = "~erased"
"""Stands for a user whose name was erased before the event was written: not even a pseudonym links such events."""


def batch_key(process: str) -> str:
    """Where the last batch of a process is noted. `process` is ours, and random."""
    return f"{_PREFIX}batch:{process}"


def digest_of(user: str) -> str:
    """How a name is looked up: 22 characters, the same for the same name. Not a secret: who can guess it can verify it."""
    raw = user.encode("utf-8", "surrogatepass")
    return base64url.encode(blake2b(raw, digest_size=16, person=b"gateway audit").digest()).decode()


def _script(name: str) -> Script:
    return load_script(_LUA / "common.lua", _LUA / f"{name}.lua")


APPEND: Final = _script("append")
ERASE: Final = _script("erase")
PURGE: Final = _script("purge")
