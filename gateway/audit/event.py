"""What the audit trail tells: one event, the words it is told in, and the bytes it becomes in the store.

    Event ──encode──▶ {"t":1735732800.123,"a":"login","o":"success","n":"192.0.2.0/24",…}   and beside it, a pseudonym
    Event ◀──decode──

One letter per field, nothing for an empty one: a million events take half the memory. The user's name is not among them.
It is replaced by a pseudonym where the event is appended (lua/append.lua), and where it occurs inside another field, a mark
stands for it that `decode` turns back: whoever deletes the link between name and pseudonym has deleted the name from every
event, without touching one.

What never gets into the bytes, whatever the caller passes:

    a whole address          `network` is a prefix, or nothing
    a token                  what looks like a JWT is replaced
    what a stranger typed    of an event that needs no credential, only the fields in `_OF_STRANGERS` are kept
    a request id of words    a client may choose it; only hexadecimal ones are kept
    a reason that is no word what an operator wrote belongs into `text`

This file owns no data and does no I/O.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from gateway.telemetry.access import redact

LONGEST_NAME: Final = 256
LONGEST_TEXT: Final = 512


class Action(StrEnum):
    """What happened. The stream holds the words: one may be added, none may change its meaning."""

    LOGIN = "login"
    LOGIN_FAILED = "login-failed"
    LOGIN_FLOOD = "login-flood"
    LOGOUT = "logout"
    REFRESH = "refresh"
    REFUSAL = "refusal"
    REPLAY = "replay"
    REFRESH_AFTER_REVOCATION = "refresh-after-revocation"
    REFRESH_REUSE = "refresh-reuse"
    EXPIRED_LOOP = "expired-loop"
    SIGNATURE_FAILURE = "signature-failure"
    FINGERPRINT = "fingerprint"
    FINGERPRINT_CALMED = "fingerprint-calmed"
    REVOCATION = "revocation"
    UNDO = "undo"
    SESSION_ENDED = "session-ended"
    SESSION_CORRUPT = "session-corrupt"
    REGISTERED = "registered"
    PASSWORD_CHANGED = "password-changed"
    GROUPS_CHANGED = "groups-changed"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    ERASED = "erased"
    KEY_ROTATED = "key-rotated"
    KEY_RETIRED = "key-retired"
    PURGE = "purge"
    ADMIN = "admin"
    ADMITTED_REVOKED = "admitted-although-revoked"
    EVENTS_LOST = "events-lost"


class Outcome(StrEnum):
    """What came of it."""

    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"
    OBSERVED = "observed"


AGGREGATED: Final = frozenset(
    (
        Action.REFUSAL,
        Action.REPLAY,
        Action.REFRESH_AFTER_REVOCATION,
        Action.REFRESH_REUSE,
        Action.EXPIRED_LOOP,
        Action.SIGNATURE_FAILURE,
        Action.LOGIN_FAILED,
        Action.REFRESH,
        Action.FINGERPRINT,
    )
)
"""What a client can cause as often as it likes: told once, then counted until the minute is over [B1]."""

RETURNS: Final = frozenset((Action.REGISTERED, Action.LOGIN))
"""After these a name that was erased is a name again: its owner came back."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `time` and `since` are seconds since 1970 by the process that saw it.

    `count` events like this one happened between `since` and `time`. `user` is a name as the backend sees it, of a genuine
    token or an existing account, never what somebody typed; empty: nobody is known. `network` is a prefix.
    """

    time: float
    action: Action | str
    outcome: Outcome | str = Outcome.SUCCESS
    reason: str = ""
    user: str = ""
    session: str = ""
    token_id: str = ""
    network: str = ""
    device: str = ""
    route: str = ""
    source: str = ""
    request_id: str = ""
    target: str = ""
    text: str = ""
    count: int = 1
    since: float = 0.0


# Field, its letter in the store, its length there.
_TEXTS: Final = (
    ("reason", "r", 64),
    ("session", "s", 256),
    ("token_id", "j", 256),
    ("network", "n", 64),
    ("device", "d", 128),
    ("route", "p", 128),
    ("source", "b", 64),
    ("request_id", "i", 64),
    ("target", "g", 256),
    ("text", "x", LONGEST_TEXT),
)
_OF_STRANGERS: Final = tuple(row for row in _TEXTS if row[0] in ("reason", "network", "route", "source", "request_id"))
_MAY_NAME: Final = frozenset("sjdbgx")

_NAME_MARK: Final = "\x01"
_NO_CHARACTER: Final = "\ufffd"
_TOKEN_MARK: Final = "eyJ"
_LONGEST_READ: Final = 4096
_REQUEST_ID: Final = re.compile(r"[0-9A-Fa-f-]{16,64}\Z")
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")
_PREFIX: Final = re.compile(r"[0-9A-Fa-f.:]+/\d{1,3}\Z")

_ACTIONS: Final[dict[str, Action | str]] = {action.value: action for action in Action}
_OUTCOMES: Final[dict[str, Outcome | str]] = {outcome.value: outcome for outcome in Outcome}


def needs_no_credential(action: str, user: str) -> bool:
    """Whether anybody can cause such an event: it is kept apart, so that it displaces no other, and tells less."""
    return action in (Action.LOGIN_FAILED, Action.LOGIN_FLOOD) or (not user and action in AGGREGATED)


def encode(event: Event) -> bytes:
    """The event as the stream holds it, without its user."""
    stored: dict[str, Any] = {"t": round(event.time, 3), "a": str(event.action), "o": str(event.outcome)}
    user = event.user
    for field, letter, longest in _OF_STRANGERS if needs_no_credential(event.action, user) else _TEXTS:
        value = getattr(event, field)
        if value:
            if user and letter in _MAY_NAME:
                value = _without_name(value, user)
            elif _NAME_MARK in value:
                value = value.replace(_NAME_MARK, _NO_CHARACTER)
            stored[letter] = _clean(value, longest)
    if not _PREFIX.match(stored.get("n", "")):
        stored.pop("n", None)
    if not _REQUEST_ID.match(stored.get("i", "")):
        stored.pop("i", None)
    if not _WORD.match(stored.get("r", "other")):
        stored["r"] = "other"
    if event.count != 1:
        stored["c"] = event.count
        stored["f"] = round(event.since or event.time, 3)
    return orjson.dumps(stored)


def decode(raw: bytes, user: str) -> Event | None:
    """The event again, about this user; None when the bytes are none of ours. Words of a later version stay as they are."""
    try:
        stored = orjson.loads(raw)
        texts = {field: str(stored[letter]).replace(_NAME_MARK, user) for field, letter, _ in _TEXTS if letter in stored}
        return Event(
            time=float(stored["t"]),
            action=_ACTIONS.get(stored["a"], str(stored["a"])),
            outcome=_OUTCOMES.get(stored["o"], str(stored["o"])),
            user=user,
            count=int(stored.get("c", 1)),
            since=float(stored.get("f", 0.0)),
            **texts,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def shown_name(user: str) -> str:
    """A name as it is kept for people: printable as UTF-8, not endless."""
    return _clean(user.replace(_NAME_MARK, _NO_CHARACTER), LONGEST_NAME)


def _without_name(value: str, user: str) -> str:
    """The field with a mark where it names the user, in whatever case."""
    value = value[:_LONGEST_READ].replace(_NAME_MARK, _NO_CHARACTER).replace(user, _NAME_MARK)
    if user.lower() in value.lower():
        return re.sub(re.escape(user), _NAME_MARK, value, flags=re.IGNORECASE)
    return value


def _clean(value: str, longest: int) -> str:
    """Without tokens, without halves of characters, and cut last: half a token is one too."""
    if _TOKEN_MARK in value:
        value = redact(value[:_LONGEST_READ].encode("utf-8", "replace")).decode("utf-8", "replace")
    value = value[:longest]
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
