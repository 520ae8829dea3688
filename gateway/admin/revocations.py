"""What `POST /v1/revocations` and its undoing are asked for: from a JSON body to a `Revocation`.

Everything wrong with a body is told at once, by field. Nothing unknown is accepted: a misspelt `sesion` beside a `user` would
otherwise revoke more than was meant, or less.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from gateway.admin.answers import Problem
from gateway.revocation.entry import Kind, Revocation
from gateway.tokens.strict_json import NotStrictJSON, loads_object

LARGEST_BODY: Final = 16 * 1024
LONGEST_TEXT: Final = 512

SUBJECTS: Final = {"token_id": Kind.TOKEN, "session": Kind.SESSION, "user": Kind.USER, "key": Kind.KEY}
_FURTHER: Final = ("issuer", "reason")
ID_DIGITS: Final = 32
_ID: Final = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]+\.")


def read_revocation(
    raw: bytes, content_types: Sequence[str], own_issuer: str, issuers: Collection[str], source: str
) -> Revocation:
    """What the body asks for. Raises Problem: 415, 413, 400, or 422 with one text per wrong field."""
    _refuse_media_type(content_types)
    if len(raw) > LARGEST_BODY:
        raise Problem(413, "The body is too large", f"At most {LARGEST_BODY} bytes are read.")
    try:
        body = loads_object(raw)
    except NotStrictJSON as error:
        raise Problem(400, "The body is not a JSON object", str(error)) from None
    return _revocation(body, own_issuer, issuers, source)


def read_id(text: str) -> str:
    """The id in the path. What cannot be an id is not looked up."""
    if _ID.fullmatch(text):
        return text
    has = "other characters" if len(text) == ID_DIGITS else len(text)
    raise no_such_revocation(f"an id has {ID_DIGITS} hexadecimal digits, this has {has}")


def no_such_revocation(why: str = "it never was, or it has expired") -> Problem:
    return Problem(404, "There is no such revocation", why)


def _refuse_media_type(content_types: Sequence[str]) -> None:
    """JSON must be called JSON: a form on a foreign page can send `text/plain`, and this it cannot."""
    if len(content_types) == 1:
        media_type, _, parameter = content_types[0].lower().replace(" ", "").partition(";")
        if media_type == "application/json" and parameter in {"", "charset=utf-8", 'charset="utf-8"'}:
            return
    raise Problem(415, "The body must be application/json", headers={"Accept": "application/json"})


def _revocation(body: Mapping[str, Any], own_issuer: str, issuers: Collection[str], source: str) -> Revocation:
    errors = {name: "is not a field of a revocation" for name in body if name not in SUBJECTS and name not in _FURTHER}
    errors = {_shown(name): text for name, text in errors.items()}
    for name in (*SUBJECTS, *_FURTHER):
        if name in body and (wrong := _wrong_text(body[name])):
            errors[name] = wrong
    if "token_id" not in errors and _TOKEN.match(body.get("token_id", "")):
        errors["token_id"] = "is a whole token; its jti is asked for, and a token belongs into no request and no log"
    named = [name for name in SUBJECTS if name in body]
    if len(named) != 1:
        errors.setdefault(
            named[1] if named else "token_id", f"exactly one of {', '.join(SUBJECTS)} must be given, not {len(named)}"
        )
    if "issuer" in body and "issuer" not in errors and body["issuer"] not in {own_issuer, *issuers}:
        errors["issuer"] = "is not an issuer of this gateway; configured are " + ", ".join(sorted({own_issuer, *issuers}))
    if errors:
        raise Problem(422, "The revocation is not valid", errors=errors)
    kind = SUBJECTS[named[0]]
    return Revocation(
        kind=kind,
        name=body[named[0]],
        issuer=body.get("issuer", own_issuer if kind is Kind.TOKEN else ""),
        reason=body.get("reason", ""),
        source=source,
    )


def _wrong_text(value: object) -> str:
    if not isinstance(value, str):
        return "must be a string"
    if not value:
        return "must not be empty"
    if len(value) > LONGEST_TEXT:
        return f"must not be longer than {LONGEST_TEXT} characters"
    if not value.isprintable():
        return "must not contain control characters"
    return ""


def _shown(name: str) -> str:
    """An unknown field's name, short enough to be told back. JSON escapes the rest."""
    return name[:64]
