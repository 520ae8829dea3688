"""The refusals: one word each, the same in the answer, the log, the metric, the audit trail and the docs.

When several hold, the first in the order of judgement is told: that order is how `enforce/decide.py` reads.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """Why a request was refused."""

    BAD_REQUEST = "bad-request"
    TOO_LARGE = "too-large"
    NO_ROUTE = "no-route"
    STORE_UNAVAILABLE = "store-unavailable"
    NO_TOKEN = "no-token"
    MALFORMED_TOKEN = "malformed-token"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_KEY = "unknown-key"
    WRONG_ISSUER = "wrong-issuer"
    WRONG_AUDIENCE = "wrong-audience"
    RETIRED_KEY = "retired-key"
    EXPIRED_TOKEN = "expired-token"
    NOT_YET_VALID = "not-yet-valid"
    LIFETIME_TOO_LONG = "lifetime-too-long"
    REVOKED_TOKEN = "revoked-token"
    OLD_VERSION = "old-version"
    REVOKED_SESSION = "revoked-session"
    UNKNOWN_SESSION = "unknown-session"
    REFRESH_REUSED = "refresh-reused"
    DEVICE_CHANGED = "device-changed"
    NETWORK_CHANGED = "network-changed"
    COUNTRY_CHANGED = "country-changed"
    BLOCKED_USER = "blocked-user"
    CSRF = "csrf"
    FORBIDDEN = "forbidden"
    REPLAYED_TOKEN = "replayed-token"
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_TIMEOUT = "upstream-timeout"


class Refusal(NamedTuple):
    """How a reason is told: the HTTP status, a title for people, and the RFC 6750 error code where one applies."""

    status: int
    title: str
    bearer_error: str | None = None


_INVALID: Final = "invalid_token"

REFUSALS: Final[dict[Reason, Refusal]] = {
    Reason.BAD_REQUEST: Refusal(400, "The request is malformed or ambiguous"),
    Reason.TOO_LARGE: Refusal(431, "The request is larger than allowed here"),
    Reason.NO_ROUTE: Refusal(404, "There is nothing at this address"),
    Reason.STORE_UNAVAILABLE: Refusal(503, "Access cannot be verified at the moment"),
    Reason.NO_TOKEN: Refusal(401, "Sign-in is required"),
    Reason.MALFORMED_TOKEN: Refusal(401, "The token is malformed", _INVALID),
    Reason.BAD_SIGNATURE: Refusal(401, "The token's signature does not match", _INVALID),
    Reason.UNKNOWN_KEY: Refusal(401, "The token was signed with an unknown key", _INVALID),
    Reason.WRONG_ISSUER: Refusal(401, "The token's issuer is not accepted here", _INVALID),
    Reason.WRONG_AUDIENCE: Refusal(401, "The token is meant for somebody else", _INVALID),
    Reason.RETIRED_KEY: Refusal(401, "The key that signed the token was retired", _INVALID),
    Reason.EXPIRED_TOKEN: Refusal(401, "The token has expired", _INVALID),
    Reason.NOT_YET_VALID: Refusal(401, "The token is not valid yet", _INVALID),
    Reason.LIFETIME_TOO_LONG: Refusal(401, "The token lives longer than allowed here", _INVALID),
    Reason.REVOKED_TOKEN: Refusal(401, "The token was revoked", _INVALID),
    Reason.OLD_VERSION: Refusal(401, "The token is older than the user's last revocation", _INVALID),
    Reason.REVOKED_SESSION: Refusal(401, "The session was ended", _INVALID),
    Reason.UNKNOWN_SESSION: Refusal(401, "The session is not known", _INVALID),
    Reason.REFRESH_REUSED: Refusal(401, "The refresh token was used before", _INVALID),
    Reason.DEVICE_CHANGED: Refusal(401, "The token is used from another device", _INVALID),
    Reason.NETWORK_CHANGED: Refusal(401, "The token is used from another network", _INVALID),
    Reason.COUNTRY_CHANGED: Refusal(401, "The token is used from another country", _INVALID),
    Reason.BLOCKED_USER: Refusal(403, "This user is blocked"),
    Reason.CSRF: Refusal(403, "The request did not come from this site"),
    Reason.FORBIDDEN: Refusal(403, "This user may not do that", "insufficient_scope"),
    Reason.REPLAYED_TOKEN: Refusal(401, "The token was used before and serves only once", _INVALID),
    Reason.UPSTREAM_UNREACHABLE: Refusal(502, "The application cannot be reached"),
    Reason.UPSTREAM_TIMEOUT: Refusal(504, "The application did not answer in time"),
}
