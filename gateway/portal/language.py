"""Which language a person reads, and how a moment is said in it.

English unless the browser asks for French. Only the primary subtag counts (`fr-CA` is French). A field that is malformed or
absurdly long is read as far as it makes sense: it never refuses a request. Times are said in relation to now where that is
what people want to know, so the server needs not know their time zone; months have names here because `strftime` would take
them from the process's locale.

It owns no data and does no I/O.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

LONGEST_READ: Final = 256  # browsers send under 100 characters
_RANGE: Final = re.compile(r"(\*|[a-z]{1,8})(?:-[a-z0-9]{1,8})*(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?\Z")
_LAST_MOMENT: Final = 253_402_300_799  # the year 9999: what a datetime holds


class Language(StrEnum):
    """The tag of a language that the pages speak: what stands in `lang` and `Content-Language`."""

    EN = "en"
    FR = "fr"


DEFAULT: Final = Language.EN
_TAGS: Final = frozenset(tag.value for tag in Language)


def language_of(accept_language: str | bytes | None) -> Language:
    """The language to answer in, from a request's `Accept-Language` (RFC 9110 §12.5.4, lookup of RFC 4647 §3.4)."""
    if not accept_language:
        return DEFAULT
    text = accept_language.decode("latin-1") if isinstance(accept_language, bytes) else accept_language
    return _chosen(text[:LONGEST_READ])


@lru_cache(maxsize=256)
def _chosen(accept_language: str) -> Language:
    weights: dict[str, float] = {}
    for item in accept_language.lower().split(","):
        if match := _RANGE.match(item.strip(" \t")):
            weights[match[1]] = max(weights.get(match[1], 0.0), float(match[2] or 1))
    others = weights.get("*", 0.0)
    # NB: max() keeps the first of equals, and a dict keeps the order of the field: what is named first is preferred.
    order = [Language(tag) for tag in weights if tag in _TAGS] + [tag for tag in Language if tag not in weights]
    best = max(order, key=lambda tag: weights.get(tag, others))
    return best if weights.get(best, others) > 0 else DEFAULT


# fmt: off
_MONTHS: Final = {
    Language.EN: (
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ),
    Language.FR: (
        "janv.", "févr.", "mars", "avr.", "mai", "juin", "juill.", "août", "sept.", "oct.", "nov.", "déc.",
    ),
}
# fmt: on
_UNITS: Final = {
    Language.EN: (("minute", "minutes"), ("hour", "hours"), ("day", "days")),
    Language.FR: (("minute", "minutes"), ("heure", "heures"), ("jour", "jours")),
}
_AGO: Final = {Language.EN: "{n} {unit} ago", Language.FR: "il y a {n} {unit}"}
_NOW: Final = {Language.EN: "just now", Language.FR: "à l’instant"}
_ON: Final = {Language.EN: "on {date}", Language.FR: "le {date}"}


def when(at: float, now: float, language: Language) -> str:
    """A moment of the past as people say it: "just now", "5 minutes ago", "on 12 Nov 2025"; fits after a verb."""
    past_s = now - at
    if not past_s < 7 * 86400:
        return _ON[language].format(date=date(at, language))
    if past_s < 60:
        return _NOW[language]
    size_s, index = (60, 0) if past_s < 3600 else (3600, 1) if past_s < 86400 else (86400, 2)
    n = int(past_s // size_s)
    return _AGO[language].format(n=n, unit=_UNITS[language][index][n > 1])


def date(at: float, language: Language) -> str:
    """The day of a moment, in UTC."""
    moment = _moment(at)
    day = "1er" if language is Language.FR and moment.day == 1 else str(moment.day)
    return f"{day} {_MONTHS[language][moment.month - 1]} {moment.year}"


def exactly(at: float, language: Language) -> str:
    """A moment to the minute, in UTC."""
    return f"{date(at, language)}, {_moment(at):%H:%M} UTC"


def machine_readable(at: float) -> str:
    """A moment for the attribute of a `time` element."""
    return f"{_moment(at):%Y-%m-%dT%H:%M:%SZ}"


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at if 0 <= at <= _LAST_MOMENT else 0, UTC)
