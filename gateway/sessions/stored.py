"""A record as the store holds it: a hash whose fields are read in one fixed order, and parsed as if a stranger had written them.

Whoever can write to the store could edit a record; a program of another version may have written it; half of it may be gone.
None of that may crash a worker, let alone let somebody in: what is not exactly a record is `SessionCorrupt`, and the session
is as good as unknown.

It owns the order of the fields, which the scripts share (keys.py), and no data. No I/O.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from gateway.errors import GatewayError
from gateway.sessions.model import COOKIE, SECRET_BYTES, TOKEN, Login, Record, subject_of

SCHEMA: Final = b"1"
FIELDS: Final = (
    "schema",
    "sid",
    "user",
    "version",
    "groups",
    "delivery",
    "created",
    "ends",
    "generation",
    "used",
    "rotated_at",
    "access_expires",
    "refresh_expires",
    "secret",
    "revision",
    "network",
    "device",
    "hints",
    "country",
    "agent",
    "rotated_from",
    "odd_generation",
    "first_used",
    "ended",
    "last_seen",
    "last_network",
    "uses",
)
MARGIN_S: Final = 60
"""A record outlives its tokens by so much: one that comes at the last moment is expired, and not of an unknown session."""

_INSTANT: Final = re.compile(rb"[0-9]{1,12}(\.[0-9]{1,6})?\Z")
_LONGEST_NUMBER: Final = 15  # digits: exact in Lua's doubles
_LONGEST_TEXT: Final = 1024  # bytes

Fields = Sequence[bytes | None]


class SessionCorrupt(GatewayError):
    """What the store holds under a session's name is not the record of that session. The text never repeats what it is."""

    source = "store"


def read_record(sid: str, raw: Fields) -> Record:
    """The record of that session. Raises `SessionCorrupt`."""
    sub = subject_of(sid)
    try:
        if sub is None or len(raw) != len(FIELDS) or raw[0] != SCHEMA or _text(raw[1]) != sid:
            raise ValueError
        return _read(sid, sub, raw)
    except (ValueError, TypeError):
        raise SessionCorrupt("the record of a session is damaged, or is not that session's") from None


def over_at(refresh_expires: float, access_expires: float) -> int:
    """The second from which on nobody needs the record. The scripts count in the same way."""
    return math.ceil(max(refresh_expires, access_expires)) + MARGIN_S


def read_over_at(raw: Sequence[bytes | None]) -> int:
    """The same from the two raw fields, `refresh_expires` and `access_expires`. Raises `SessionCorrupt`."""
    try:
        return over_at(_instant(raw[0]), _instant(raw[1]))
    except (ValueError, TypeError, IndexError):
        raise SessionCorrupt("the record of a session is damaged") from None


def write_groups(groups: Sequence[str]) -> bytes:
    """Groups as a field holds them."""
    return orjson.dumps(list(groups))


def new_record(sid: str, secret: bytes, login: Login) -> list[str | bytes | int]:
    """A value for each field, in their order; empty for what depends on the store's time."""
    values: dict[str, str | bytes | int] = {
        "schema": SCHEMA,
        "sid": sid,
        "user": login.user,
        "version": login.version,
        "groups": write_groups(login.groups),
        "delivery": login.delivery,
        "generation": 1,
        "used": 0,
        "secret": secret,
        "revision": 1,
        "network": login.network,
        "device": login.device,
        "hints": login.hints,
        "country": login.country,
        "agent": login.agent,
        "rotated_from": login.network,
        "odd_generation": 0,
        "first_used": 0,
        "ended": 0,
        "last_network": login.network,
        "uses": 0,
    }
    return [values.get(name, b"") for name in FIELDS]


def _read(sid: str, sub: str, raw: Fields) -> Record:
    record = Record(
        sid=sid,
        sub=sub,
        user=_shown(_text(raw[2])),
        version=_whole(raw[3]),
        groups=_groups(raw[4]),
        delivery=_text(raw[5]),
        created=_instant(raw[6]),
        ends=_instant(raw[7]),
        generation=_whole(raw[8]),
        used=_whole(raw[9]),
        rotated_at=_instant(raw[10]),
        access_expires=_instant(raw[11]),
        refresh_expires=_instant(raw[12]),
        secret=raw[13] or b"",
        revision=_whole(raw[14]),
        network=_text(raw[15]),
        device=_text(raw[16]),
        hints=_text(raw[17]),
        country=_text(raw[18]),
        agent=_text(raw[19]),
        rotated_from=_text(raw[20]),
        odd_generation=_whole(raw[21]),
        first_used=_instant(raw[22]),
        is_ended=_truth(raw[23]),
        last_seen=_instant(raw[24]),
        last_network=_text(raw[25]),
        uses=_whole(raw[26]),
    )
    if not (
        record.delivery in (COOKIE, TOKEN)
        and record.generation >= 1
        and record.revision >= 1
        and len(record.secret) == SECRET_BYTES
        and record.access_expires <= record.ends
        and record.refresh_expires <= record.ends
    ):
        raise ValueError
    return record


def _text(raw: bytes | None) -> str:
    if raw is None or len(raw) > _LONGEST_TEXT:
        raise ValueError
    return raw.decode("utf-8")


def _shown(text: str) -> str:
    if not text or not text.isprintable():  # it goes into headers: no control characters, line ends, marks that reverse text
        raise ValueError
    return text


def _whole(raw: bytes | None) -> int:
    if raw is None or len(raw) > _LONGEST_NUMBER or not raw.isdigit():
        raise ValueError
    return int(raw)


def _instant(raw: bytes | None) -> float:
    if raw is None or not _INSTANT.match(raw):
        raise ValueError
    return float(raw)


def _truth(raw: bytes | None) -> bool:
    if raw not in (b"0", b"1"):
        raise ValueError
    return raw == b"1"


def _groups(raw: bytes | None) -> tuple[str, ...]:
    groups: Any = orjson.loads(raw or b"")  # its error is a ValueError
    if type(groups) is not list or not all(type(group) is str for group in groups):
        raise ValueError
    return tuple([_shown(group) for group in groups])
