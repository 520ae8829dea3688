"""The scripts of the session store, and the names of their keys.

All that one account's sessions need lies in one slot, under the tag `{sub}`, so one script can change it together [L8]. `sub`
is ours, random base64url; another issuer's user is named by a digest. Every script names all its keys, and works in a
cluster.

    gateway:session:{<sub>}:<sid>   hash        the record (stored.py), expires with its tokens
    gateway:sessions:{<sub>}        sorted set  the account's sids by creation; may name records that have expired
    gateway:sessions:all            sorted set  every sid by the time it may be over (everyone.py); written after the commit
    gateway:first:{<whose>}         hash        first uses of one user of another issuer (first_use.py)
"""

from hashlib import sha1
from pathlib import Path
from typing import Final

from gateway.sessions.stored import FIELDS, MARGIN_S, SCHEMA
from gateway.store.scripts import Script

ALL: Final = "gateway:sessions:all"
_LUA: Final = Path(__file__).parent / "lua"


def record_key(sid: str) -> str:
    """Where the record of that session lies. Give it only what `model.subject_of` has accepted."""
    return f"gateway:session:{{{sid.partition('.')[0]}}}:{sid}"


def index_key(sub: str) -> str:
    """Where the account's sids are listed."""
    return f"gateway:sessions:{{{sub}}}"


def first_uses_key(whose: str) -> str:
    """Where the first uses of one user of another issuer lie; `whose` is a digest."""
    return f"gateway:first:{{{whose}}}"


def _layout() -> str:
    """What the scripts share with stored.py, as Lua: the fields by name, and the position of each as a constant."""
    names = ", ".join(f"'{name}'" for name in FIELDS)
    constants = ", ".join(name.upper() for name in FIELDS)
    positions = ", ".join(str(position) for position in range(1, len(FIELDS) + 1))
    return (
        f"local FIELDS = {{{names}}}\nlocal {constants} = {positions}\nlocal LAYOUT, MARGIN = '{SCHEMA.decode()}', {MARGIN_S}\n"
    )


def _script(name: str) -> Script:
    parts = (_layout(), *((_LUA / f"{part}.lua").read_text("utf-8") for part in ("common", name)))
    text = "\n".join(parts)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


CREATE: Final = _script("create")
ROTATE: Final = _script("rotate")
SEE: Final = _script("see")
RENEW: Final = _script("renew")
GROUPS: Final = _script("groups")
LIST: Final = _script("list")
SEEN: Final = _script("seen")
FIRST_USE: Final = _script("first_use")
