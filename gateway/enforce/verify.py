"""Is this token genuine: shape, issuer, key, signature, audience. The expensive half of the decision, done once per token.

It owns nothing: bytes and issuers in, `Verified` or `Refused` out, never an exception, whatever the bytes. It knows no
revocations, and `authenticate` no time: both are judged for each request, on what this file returns.

The order of judgement is the order in which reasons are told, `malformed-token`, the key's reasons, `wrong-issuer`,
`wrong-audience`; only the issuer must come before its keys. What an attacker controls before the signature is checked is
at most 8 KiB, parsed once by bounded readers.

What the header says is believed in four places only: `alg` must equal the key's own algorithm, `kid` names a key in the
issuer's set in memory, `typ` must be one of the configured, and the presence of `crit`, `b64`, `zip`, `enc` or a nested
`cty` refuses the token. `jwk`, `jku`, `x5c`, `x5u` and `x5t` are never read (issuers do send them), so nothing is fetched.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.enforce.claims import (
    Malformed,
    read_audiences,
    read_date,
    read_display_text,
    read_generation,
    read_groups,
    read_issuer,
    read_lenient_date,
    read_mapped_text,
    read_optional_date,
    read_optional_text,
    read_user,
    read_version,
)
from gateway.enforce.issuer import Issuer, media_type
from gateway.enforce.verified import Own, Verified, judge_time
from gateway.reasons import Reason
from gateway.sessions.model import session_of, subject_of
from gateway.tokens import base64url
from gateway.tokens.base64url import NotBase64URL
from gateway.tokens.jwk import MAX_KEY_ID, Key
from gateway.tokens.strict_json import NotStrictJSON, loads_object

__all__ = ["MAX_TOKEN_BYTES", "Refused", "Verified", "authenticate", "judge_time", "verify"]

MAX_TOKEN_BYTES: Final = 8 * 1024

# Each would change what the other parts mean (RFC 7515 section 4.1.11, RFC 7797, RFC 7516). We understand none of them.
_REFUSED_PARAMETERS: Final = frozenset(("crit", "b64", "zip", "enc"))


class Refused(NamedTuple):
    """Why a token is not accepted. `detail` is our own text; `issuer` and `kid` come from the token, unverified.

    `unknown-key` is the one refusal that newer keys could change: it is the hint to fetch them.
    """

    reason: Reason
    detail: str
    issuer: str | None = None
    kid: str | None = None


class _Header(NamedTuple):
    algorithm: str
    kid: str | None
    type: str | None


def verify(token: bytes, issuers: Mapping[str, Issuer], now: float) -> Verified | Refused:
    """Whether `token` is genuine and usable at `now` (seconds since 1970): `authenticate` and then `judge_time`.

    A caller that keeps the result, or that judges retired keys before time, calls the two by itself.
    """
    verdict = authenticate(token, issuers)
    if isinstance(verdict, Refused):
        return verdict
    reason = judge_time(verdict, issuers[verdict.issuer], now)
    return verdict if reason is None else Refused(reason, "by the clock", verdict.issuer, verdict.key_id)


def authenticate(token: bytes, issuers: Mapping[str, Issuer]) -> Verified | Refused:
    """Whether `token` is genuine, whatever the time: signed by a key of one of `issuers`, for one of its audiences.

    NB: an expired token is genuine too. `judge_time` must be asked before the result is acted upon.
    """
    try:
        return _authenticate(token, issuers)
    except (Malformed, NotBase64URL, NotStrictJSON) as malformed:
        return Refused(Reason.MALFORMED_TOKEN, str(malformed))


def _authenticate(token: bytes, issuers: Mapping[str, Issuer]) -> Verified | Refused:
    header_part, payload_part, signature_part = _split(token)
    header = _read_header(loads_object(base64url.decode(header_part)))
    claims = loads_object(base64url.decode(payload_part))
    signature = base64url.decode(signature_part)

    name = read_issuer(claims)
    issued_at, expires_at = read_date(claims, "iat"), read_date(claims, "exp")
    not_before = read_optional_date(claims, "nbf")
    audiences = read_audiences(claims)
    token_id, subject = read_optional_text(claims, "jti"), read_optional_text(claims, "sub")

    issuer = issuers.get(name)
    if issuer is None:
        return Refused(Reason.WRONG_ISSUER, "no configured issuer has this name", name, header.kid)
    if header.type not in issuer.types:
        raise Malformed("typ is not one of the issuer's types")
    mapped_user = read_user(claims, issuer.user_claim)
    groups = read_groups(claims, issuer.groups_claim)
    session = read_mapped_text(claims, issuer.session_claim)
    version = read_version(claims, issuer.version_claim)
    auth_time = None if issuer.is_own else read_lenient_date(claims, "auth_time")
    own = _read_own(claims, issuer, subject, session, token_id) if issuer.is_own else None
    display_name = read_display_text(claims, issuer.name_claim)
    email = read_display_text(claims, issuer.email_claim)

    key = _find_key(header, issuer)
    if isinstance(key, Refused):
        return key
    if not key.verifies(token[: -len(signature_part) - 1], signature):
        return Refused(Reason.BAD_SIGNATURE, "the signature does not match", name, header.kid)
    if issuer.audiences.isdisjoint(audiences):
        return Refused(Reason.WRONG_AUDIENCE, "none of the audiences is ours", name, header.kid)

    return Verified(
        issuer=issuer.name,  # the one string of the configuration, not one per token
        subject=mapped_user if subject is None else subject,
        user=issuer.user_prefix + mapped_user,
        groups=groups,
        name=display_name,
        email=email,
        token_id=token_id,
        session=session,
        version=version,
        key_id=key.thumbprint if key.kid is None else key.kid,
        thumbprint=key.thumbprint,
        algorithm=key.algorithm,
        issued_at=issued_at,
        not_before=not_before,
        expires_at=expires_at,
        usable_from=max(issued_at, not_before or 0.0) - issuer.leeway,
        usable_until=expires_at + issuer.exp_leeway,
        generation=issuer.generation,
        own=own,
        auth_time=auth_time,
        record_name=record_name(issuer, mapped_user if subject is None else subject, session, auth_time),
    )


def _read_own(claims: dict[str, Any], issuer: Issuer, subject: str | None, session: str | None, token_id: str | None) -> Own:
    """What a token of ours says beside. It names its session three times, and every time the same one: whoever is asked about it
    later may rely on any of them."""
    if session is None or token_id is None or subject_of(session) != subject or session_of(token_id) != session:
        raise Malformed("sub, sid and jti are not of one session")
    return Own(read_generation(claims), "rt+jwt" in issuer.types)


def record_name(issuer: Issuer, subject: str, session: str | None, auth_time: float | None) -> str:
    """What a worker remembers the token's session by: our own by its id, another's first use by (issuer, sid), or, when it has
    no sid, by (issuer, sub, auth_time); never by jti, which changes with each token of one login [S3].

    No part can hold the separator: control characters are refused everywhere.
    """
    if issuer.is_own:
        return session or ""
    if session is not None:
        return f"{issuer.name}\0sid\0{session}"
    return "" if auth_time is None else f"{issuer.name}\0sub\0{subject}\0{auth_time:.0f}"


def _split(token: bytes) -> list[bytes]:
    if len(token) > MAX_TOKEN_BYTES:
        raise Malformed(f"longer than {MAX_TOKEN_BYTES} bytes")
    if token.count(b".") != 2:  # before splitting: a token may be eight thousand dots
        raise Malformed("not three parts: neither encrypted tokens nor the JSON serialization are accepted")
    return token.split(b".")


def _read_header(header: dict[str, Any]) -> _Header:
    if not _REFUSED_PARAMETERS.isdisjoint(header):
        raise Malformed("the header asks for an extension (crit, b64, zip, enc)")
    algorithm, kid, token_type = header.get("alg"), header.get("kid"), header.get("typ")
    if type(algorithm) is not str:
        raise Malformed("alg is missing or not a string")
    if "kid" in header and (type(kid) is not str or not 0 < len(kid) <= MAX_KEY_ID):
        raise Malformed(f"kid is not a string of 1 to {MAX_KEY_ID} characters")
    if "typ" in header and type(token_type) is not str:
        raise Malformed("typ is not a string")
    _refuse_nested(header)
    return _Header(algorithm, kid, None if token_type is None else media_type(token_type))


def _refuse_nested(header: dict[str, Any]) -> None:
    content_type = header.get("cty")
    if "cty" in header and (type(content_type) is not str or media_type(content_type) == "jwt"):
        raise Malformed("a token inside a token is not accepted")


def _find_key(header: _Header, issuer: Issuer) -> Key | Refused:
    """The key the token must have been signed with. A token whose `alg` is not the key's own never gets to a verifier."""
    if header.algorithm not in issuer.algorithms:  # "none" in every spelling ends here
        return Refused(Reason.BAD_SIGNATURE, "not one of the issuer's algorithms", issuer.name, header.kid)
    key = None if issuer.keys is None else issuer.keys.find(header.kid, header.algorithm)
    if key is None:
        return Refused(Reason.UNKNOWN_KEY, "no such key in the issuer's set", issuer.name, header.kid)
    if key.algorithm != header.algorithm:
        return Refused(Reason.BAD_SIGNATURE, "the key serves another algorithm", issuer.name, header.kid)
    return key
