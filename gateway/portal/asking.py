"""A request to one of our own endpoints, read: what it shows, what it sends, how it wants to be answered.

Bodies are JSON or a form, small, and read strictly: duplicate names, other types, other media types are refused with a word about
what and where (L09). Raises `Refusal`, which the application answers.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.enforce.shown import Shown
from gateway.errors import BadRequest, GatewayError
from gateway.portal.language import Language, language_of
from gateway.reasons import Reason
from gateway.routes.own import OWN_BODY_LIMIT
from gateway.tokens.strict_json import NotStrictJSON, loads_object
from gateway.wire.cookies import CookieNames
from gateway.wire.path import split_target

LARGEST_BODY: Final = OWN_BODY_LIMIT
LONGEST_FIELD: Final = 4096
_MOST_FIELDS: Final = 16
_HOME: Final = "/"


class Refusal(GatewayError):
    """An endpoint does not do what was asked. `reason` is a word of the table, where one fits; `errors` names fields."""

    source = "client"

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        reason: Reason | None = None,
        errors: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        said: str = "",
        clears_cookies: bool = False,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.reason = reason
        self.errors = dict(errors or {})
        self.retry_after_s = retry_after_s
        self.said = said  # the code by which a page tells it
        self.clears_cookies = clears_cookies


class Asking:
    """One request. The fields `X-Gateway-…` come from the data plane: no client can send them."""

    def __init__(self, request: web.Request, names: CookieNames) -> None:
        self.request = request
        self.shown = Shown(list(request.raw_headers))
        headers = request.headers
        self.address = headers.get("X-Gateway-Client", "")
        self.session = headers.get("X-Gateway-Session", "")  # judged by the data plane; empty where none is required
        self.request_id = headers.get("X-Request-Id", "")
        self.authorization = _bytes_of(headers.get("Authorization", "")) or None
        self.access_cookie, self.refresh_cookie = _cookies(headers.get("X-Gateway-Cookies", ""), names)
        self.language: Language = language_of(headers.get("Accept-Language"))
        self.is_for_a_person = self.shown.is_navigation
        self.typed: dict[str, str] = {}  # what a page may show again: never a password

    async def fields(self) -> dict[str, Any]:
        """The body as names and values. Raises Refusal: 400, 413, 415."""
        headers = self.request.headers
        if "Content-Encoding" in headers:
            raise Refusal(415, "The body must not be compressed")
        kind, _, parameters = headers.get("Content-Type", "").partition(";")
        charset = parameters.strip().lower().removeprefix("charset=").strip('"')
        if charset not in ("", "utf-8") and parameters.strip().lower().startswith("charset="):
            raise Refusal(415, "The body must be UTF-8")
        raw = await self._body()
        match kind.strip().lower():
            case "application/json":
                return _read_json(raw)
            case "application/x-www-form-urlencoded":
                fields = _read_form(raw)
                self.typed = {name: fields[name] for name in ("email", "return_to") if name in fields}
                return fields
            case _:
                raise Refusal(415, "The body must be JSON or a form")

    async def _body(self) -> bytes:
        length = self.request.content_length
        if length is not None and length > LARGEST_BODY:
            raise Refusal(413, "The body is too large", f"At most {LARGEST_BODY} bytes are read.", reason=Reason.TOO_LARGE)
        raw = b""
        try:
            while len(raw) <= LARGEST_BODY and not self.request.content.at_eof():
                raw += await self.request.content.read(LARGEST_BODY + 1)
        except (OSError, web.RequestPayloadError) as error:  # nobody hears the answer, and it is no failure of ours
            raise Refusal(400, "The body ended too early") from error
        if len(raw) > LARGEST_BODY:
            raise Refusal(413, "The body is too large", f"At most {LARGEST_BODY} bytes are read.", reason=Reason.TOO_LARGE)
        return raw


def text_fields(fields: Mapping[str, Any], *names: str, optional: tuple[str, ...] = ()) -> list[str]:
    """The named fields as text; optional ones are empty when absent. Raises Refusal 422, which names what is wrong."""
    errors = {name: "is not known here" for name in fields if name not in (*names, *optional)}
    for name in (*names, *optional):
        value = fields.get(name, "" if name in optional else None)
        if value is None:
            errors[name] = "is required"
        elif not isinstance(value, str):
            errors[name] = "must be a string"
        elif len(value) > LONGEST_FIELD:
            errors[name] = f"must not be longer than {LONGEST_FIELD} characters"
    if errors:
        raise Refusal(422, "The request is not complete", errors={name[:64]: wrong for name, wrong in errors.items()})
    return [str(fields.get(name, "")) for name in (*names, *optional)]


def path_here(target: str) -> str:
    """Where a login may lead back to: a path of this site, in the spelling that routes are matched in, or the front page [C3]."""
    try:
        path, query = split_target(target.encode("ascii"))
    except (BadRequest, UnicodeEncodeError):
        return _HOME
    return (path + query).decode("ascii")


def _cookies(raw: str, names: CookieNames) -> tuple[bytes | None, bytes | None]:
    found = dict(pair.partition("=")[::2] for pair in raw.split("; ") if pair)
    access, refresh = found.get(names.access.decode()), found.get(names.refresh.decode())
    return _bytes_of(access) if access else None, _bytes_of(refresh) if refresh else None


def _bytes_of(value: str) -> bytes:
    """A field's value as it came: aiohttp reads it as UTF-8, and keeps what is none in surrogates."""
    return value.encode("utf-8", "surrogateescape")


def _read_json(raw: bytes) -> dict[str, Any]:
    try:
        return loads_object(raw)
    except NotStrictJSON as error:
        raise Refusal(400, "The body cannot be read", f"It is not a JSON object: {error}.") from error


def _read_form(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=_MOST_FIELDS)
    except (ValueError, UnicodeDecodeError) as error:
        raise Refusal(400, "The body cannot be read", "It is not a form.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refusal(400, "The body cannot be read", "A field of the form comes twice.")
    return fields
