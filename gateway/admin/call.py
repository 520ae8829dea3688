"""One request to the admin port, read: names in its path, its query, its body.

Everything is read strictly, and everything wrong is told at once by field. Nothing unknown is accepted: a misspelt `sesion`
beside a `user`, or a misspelt filter, would otherwise do more than was meant, or less. Raises `Problem`.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.admin.answers import Problem
from gateway.config.units import parse_duration
from gateway.tokens.strict_json import NotStrictJSON, loads_object

LARGEST_BODY: Final = 16 * 1024
LONGEST_TEXT: Final = 512
_MOST_PARAMETERS: Final = 16

T = TypeVar("T")

# What clients leave as it is in a segment of a path (more than RFC 3986 has: `|` is one), and escapes that are ones. A backslash
# is a slash to some.
_SEGMENT: Final = re.compile(r"(?:[!-~](?<![%/?#\\])|%[0-9A-Fa-f]{2})+")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(slots=True)
class Call:
    """A request that passed the guard. `token` is the place of the admin token it came with, 0 without one.

    `happened` are the steps done so far, one clause each: should a later one fail, its answer tells them.
    """

    request: web.BaseRequest
    query: str = ""
    token: int = 0
    names: tuple[str, ...] = ()
    happened: list[str] = field(default_factory=list)

    @property
    def by(self) -> str:
        """Who asks, as logs and audit name him."""
        return f"admin token {self.token}"

    async def fields(self, *known: str, is_optional: bool = False) -> "Fields":
        """The members of the body's JSON object, none but `known`; `is_optional`: no body is an empty one."""
        headers = self.request.headers
        if is_optional and self.request.content_length in (None, 0) and "Transfer-Encoding" not in headers:
            return Fields({}, known)
        if "Content-Encoding" in headers:
            raise Problem(415, "The body must not be compressed", headers={"Accept-Encoding": "identity"})
        _refuse_media_type(headers.getall("Content-Type", []))
        if self.request.content_length is not None and self.request.content_length > LARGEST_BODY:
            raise _too_large({"Connection": "close"})
        raw = await self.request.read()
        if len(raw) > LARGEST_BODY:
            raise _too_large()
        try:
            return Fields(loads_object(raw), known)
        except NotStrictJSON as error:
            raise Problem(400, "The body is not a JSON object", str(error)) from None

    def parameters(self, *known: str, flags: Collection[str] = ()) -> dict[str, str]:
        """The query's parameters by name; each at most once, none but `known` and `flags`, which may be empty."""
        if _BROKEN_ESCAPE.search(self.query):
            raise Problem(400, "The query cannot be read")
        try:
            pairs = parse_qsl(self.query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
        except ValueError:
            raise Problem(400, "The query cannot be read") from None
        found = dict(pairs)
        errors = {_shown(name): "is not known here" for name in found if name not in (*known, *flags)}
        errors |= {name: wrong for name in known if name in found and (wrong := wrong_text(found[name]))}
        if len(found) < len(pairs):
            errors |= {_shown(name): "comes twice" for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
        refuse_errors(errors)
        return found


class Fields:
    """The members of a body, taken one by one; `finish` refuses what was wrong with any of them, all at once."""

    def __init__(self, members: Mapping[str, Any], known: Collection[str]) -> None:
        self._members = members
        self.errors = {_shown(name): "is not known here" for name in members if name not in known}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def text(self, name: str, default: str | None = None) -> str:
        """Printable text; required without a default. Empty when it is wrong."""
        return self._taken(name, default, "", wrong_text)

    def password(self, name: str) -> str:
        """What somebody types to sign in: the rules for it are told by `login.password_rules`."""
        return self._taken(name, None, "", lambda value: "" if isinstance(value, str) else "must be a string")

    def texts(self, name: str, default: list[str] | None = None) -> list[str]:
        """A list of text."""
        return self._taken(name, default, [], _wrong_texts)

    def flag(self, name: str) -> bool:
        """True or false; false when it is absent."""
        return self._taken(name, False, False, lambda value: "" if isinstance(value, bool) else "must be true or false")

    def finish(self, title: str = "The request is not valid") -> None:
        """After the last one."""
        refuse_errors(self.errors, title)

    def _taken(self, name: str, default: T | None, otherwise: T, wrong: Callable[[Any], str]) -> T:
        if name not in self._members:
            if default is None:
                self.errors[name] = "is required"
            return otherwise if default is None else default
        value: T = self._members[name]
        if said := wrong(value):
            self.errors[name] = said
            return otherwise
        return value


def read_name(segment: str) -> str:
    """A name in a path: percent-encoded UTF-8, one spelling of it refused as little as another, but nothing that is none."""
    if not _SEGMENT.fullmatch(segment):
        raise Problem(400, "The path cannot be read", "A name in it is percent-encoded UTF-8.")
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), segment).encode("latin-1")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "The path cannot be read", "A name in it is percent-encoded UTF-8.") from None
    if name in {".", ".."} or wrong_text(name):
        raise Problem(404, "There is nothing at this address")
    return name


def read_limit(parameters: Mapping[str, str], usual: int, most: int) -> int:
    """The parameter `limit`: how much an answer holds at most."""
    text = parameters.get("limit", str(usual))
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= most:
        refuse_errors({"limit": f"must be a whole number from 1 to {most}"})
    return int(text)


def read_moment(parameters: Mapping[str, str], name: str, now: float) -> float | None:
    """A moment, as seconds since 1970: written so, or as a duration before now (`1h`), or as ISO 8601 (UTC without an offset)."""
    text = parameters.get(name)
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        return max(0.0, now - parse_duration(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError):
        refuse_errors({name: "must be a duration (1h), a date (2025-01-31T12:00:00Z) or seconds since 1970"})
        raise AssertionError from None


def refuse_errors(errors: Mapping[str, str], title: str = "The request is not valid") -> None:
    """422 with one text per wrong field, if there is any."""
    if errors:
        raise Problem(422, title, errors=dict(errors))


def wrong_text(value: object, longest: int = LONGEST_TEXT) -> str:
    """What is wrong with a value that is to be text; empty: nothing."""
    if not isinstance(value, str):
        return "must be a string"
    if not value:
        return "must not be empty"
    if len(value) > longest:
        return f"must not be longer than {longest} characters"
    if not value.isprintable():
        return "must not contain control characters"
    return ""


def _wrong_texts(value: object) -> str:
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        return "must be a list of strings"
    return next((wrong for member in value if (wrong := wrong_text(member))), "")


def _shown(name: str) -> str:
    """An unknown field's name, short enough to be told back. JSON escapes the rest."""
    return name[:64]


def _too_large(headers: Mapping[str, str] | None = None) -> Problem:
    return Problem(413, "The body is too large", f"At most {LARGEST_BODY} bytes are read.", headers)


def _refuse_media_type(content_types: list[str]) -> None:
    """JSON must be called JSON: a form on a foreign page can send `text/plain`, and this it cannot."""
    if len(content_types) == 1:
        media_type, _, parameter = content_types[0].lower().replace(" ", "").partition(";")
        if media_type == "application/json" and parameter in {"", "charset=utf-8", 'charset="utf-8"'}:
            return
    raise Problem(415, "The body must be application/json", headers={"Accept": "application/json"})
