"""The log's scripts and the names of its keys in the store.

All keys share the hash tag `{log}`, so they live in one slot and one script can change them together [L8]. No part of
a name comes from a client: facts are members named by digests.
"""

from pathlib import Path
from typing import Final

from gateway.store.scripts import Script, load_script

_PREFIX: Final = "gateway:{log}:"
_LUA: Final = Path(__file__).parent / "lua"

RECORD: Final = _PREFIX + "record"
ENTRIES: Final = _PREFIX + "entries"
WORKERS: Final = _PREFIX + "workers"
FACTS: Final = _PREFIX + "facts"
STATES: Final = _PREFIX + "states"
REVOCATIONS: Final = _PREFIX + "revocations"
ACKS: Final = _PREFIX + "acks"
KEYS: Final = (RECORD, ENTRIES, WORKERS, FACTS, STATES, REVOCATIONS, ACKS)


def _script(name: str) -> Script:
    return load_script(_LUA / "common.lua", _LUA / f"{name}.lua")


POLL: Final = _script("poll")
PAGE: Final = _script("page")
REVOKE: Final = _script("revoke")
UNDO: Final = _script("undo")
CLEAR: Final = _script("clear")
NEWS: Final = _script("news")
PURGE: Final = _script("purge")
DECLARE: Final = _script("declare")
MEMBERS: Final = _script("members")
LEAVE: Final = _script("leave")
RECOVER: Final = _script("recover")
MERGE: Final = _script("merge")
CLAIM: Final = _script("claim")
