"""The shapes of bodies and answers of the admin API, as JSON Schema: the components of its OpenAPI document.

No behaviour and no text that a program reads; a test holds the answers of a running gateway against them.
"""

from typing import Any, Final

from gateway.admin.call import LONGEST_TEXT
from gateway.audit.event import Action, Outcome
from gateway.login.accounts import LONGEST_GROUP, MOST_GROUPS
from gateway.telemetry.metrics import DECISIONS, REASONS
from gateway.tokens.ring import State

Schema = dict[str, Any]

NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
_SECONDS: Final[Schema] = {"type": "integer", "description": "Seconds since 1970."}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _either_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    return {"type": "object", "properties": required | (optional or {}), "required": list(required), **more}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_RECEIPT_MEMBERS: Final[dict[str, Schema]] = {
    "id": {"type": "string", "description": "To undo it: DELETE /v1/revocations/{id}."},
    "enforced_by": _COUNT | {"description": "Workers that enforce it."},
    "fenced": _COUNT | {"description": "Workers that have provably stopped deciding."},
    "workers": _COUNT | {"description": "Members when it was appended."},
    "complete": {"type": "boolean", "description": "enforced_by + fenced = workers."},
    "durable": {"type": "boolean", "description": "On disk, or on a second machine, before this answer."},
    "took_ms": {"type": "number"},
}
_NOT_FENCED: Final[dict[str, Schema]] = {
    "not_fenced_routes": _list({"type": "string"})
    | {"description": "Routes with `on_outage: stale` or `allow`: a worker counted as fenced may still serve these."}
}
RECEIPT: Final[Schema] = _object(_RECEIPT_MEMBERS, _NOT_FENCED)

REVOCATION: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "token_id": NAME | {"description": "`jti`; of our own issuer unless one is named. Ours take their session along."},
        "session": NAME | {"description": "`sid`; of every issuer unless one is named."},
        "user": NAME
        | {"description": "The name the backend sees; of every issuer unless one is named. An account's version is raised."},
        "key": NAME | {"description": "`kid`; of every issuer unless one is named."},
        "issuer": NAME | {"description": "One of the configured issuers, or our own."},
        "reason": NAME | {"description": "For the records; write no names here."},
    },
    "oneOf": [{"required": [name]} for name in ("token_id", "session", "user", "key")],
}

_GROUPS: Final[Schema] = {
    "type": "array",
    "maxItems": MOST_GROUPS,
    "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_GROUP},
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Receipt": RECEIPT,
    "SessionsReceipt": _object(
        _RECEIPT_MEMBERS | {"sessions": _COUNT | {"description": "Sessions that were there to end."}}, _NOT_FENCED
    ),
    "GroupsReceipt": _object(
        _RECEIPT_MEMBERS | {"groups": _GROUPS, "sessions": _COUNT | {"description": "Sessions that have them."}}, _NOT_FENCED
    ),
    "KeysReceipt": _object(
        _RECEIPT_MEMBERS | {"signing": {"type": ["string", "null"], "description": "The `kid` that signs now."}},
        _NOT_FENCED | {"sessions": _COUNT | {"description": "After `compromised`: records of sessions that were removed."}},
    ),
    "Revocation": REVOCATION,
    "Account": _object(
        {
            "user": NAME | {"description": "The normalised e-mail address: what `X-User` says."},
            "groups": _GROUPS,
            "blocked": {"type": ["boolean", "null"], "description": "Null: the store did not say."},
            "created": _SECONDS,
            "version": {
                "type": "integer",
                "minimum": 1,
                "description": "Older ones are refused when the log says so.",
            },
            "version_raised": _SECONDS,
        }
    ),
    "Accounts": _object(
        {"users": _list(_reference("Account")), "next": _either_null(NAME) | {"description": "`after` of the next page."}}
    ),
    "NewAccount": _object(
        {"email": NAME, "password": {"type": "string"}},
        {"groups": _GROUPS},
        additionalProperties=False,
    ),
    "NewPassword": _object({"password": {"type": "string"}}, additionalProperties=False),
    "Groups": _object({"groups": _GROUPS}, additionalProperties=False),
    "Reason": _object({}, {"reason": NAME}, additionalProperties=False),
    "Rotation": _object({}, {"compromised": {"type": "boolean", "default": False}}, additionalProperties=False),
    "Nothing": {"type": "object", "additionalProperties": False},
    "Session": _object(
        {
            "id": {"type": "string"},
            "device": {"type": "string", "description": "For people: `Firefox on Linux`."},
            "network": {"type": "string", "description": "The prefix it was last used from."},
            "country": {"type": "string", "description": "Of the login; empty when it is not known."},
            "delivery": {"enum": ["cookie", "token"]},
            "created": _SECONDS,
            "last_seen": _SECONDS,
            "expires": _SECONDS | {"description": "When it ends if it is not used, in seconds since 1970."},
            "ends": _SECONDS | {"description": "When it ends in any case, in seconds since 1970."},
            "uses": _COUNT,
        }
    ),
    "Sessions": _object(
        {
            "user": NAME,
            "blocked": {"type": "boolean"},
            "sessions": _list(_reference("Session")),
            "damaged": _list({"type": "string"}) | {"description": "Sessions whose records cannot be read; nobody can use them."},
        }
    ),
    "Block": _object({"user": NAME, "blocked": {"type": "boolean"}}),
    "Erasure": _object(
        {
            "user": NAME,
            "erased": _object(
                {
                    "account": {"type": "boolean"},
                    "sessions": _COUNT,
                    "known_devices": {"type": "boolean"},
                    "first_uses": _list({"type": "string"}) | {"description": "The issuers."},
                    "name_in_audit": {"type": "boolean"},
                }
            ),
            "kept": _list(_object({"what": {"type": "string"}, "until": {"type": "string"}})),
            "receipt": {"anyOf": [_reference("Receipt"), {"type": "null"}]},
        }
    ),
    "Key": _object(
        {
            "kid": {"type": "string"},
            "algorithm": {"enum": ["ES256", "RS256", "EdDSA", "HS256"]},
            "state": {"enum": [state.value for state in State]},
            "created": _SECONDS,
            "since": _SECONDS | {"description": "In this state, in seconds since 1970."},
            "thumbprint": {"type": ["string", "null"], "description": "RFC 7638; null for HS256, whose key is a secret."},
        }
    ),
    "Keys": _object({"revision": _COUNT, "keys": _list(_reference("Key"))}),
    "Event": _object(
        {
            "id": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "action": {"type": "string", "examples": [Action.LOGIN.value]},
            "outcome": {"type": "string", "examples": [Outcome.SUCCESS.value]},
            "user": {"type": ["string", "null"]},
            "count": {"type": "integer", "minimum": 1},
        }
    ),
    "Events": _object(
        {"events": _list(_reference("Event")), "cursor": {"type": ["string", "null"], "description": "Null: that was all."}}
    ),
    "Decisions": _object(
        {
            "since": _SECONDS | {"description": "When the first minute told began, in seconds since 1970."},
            "times": _list(_SECONDS) | {"description": "When each minute ended; the last one lasts until now."},
            "series": _list(
                _object(
                    {
                        "decision": {"enum": list(DECISIONS)},
                        "reason": {"enum": list(REASONS)},
                        "counts": _list(_COUNT) | {"description": "As many as `times`."},
                    }
                )
            )
            | {"description": "None whose counts are all 0."},
        }
    ),
    "Purged": _object({"sessions": _COUNT, "audit_events": _COUNT, "audit_names": _COUNT}),
    "Status": _object(
        {
            "version": {"type": "string"},
            "config": {"type": "string"},
            "ready": {"type": "boolean"},
            "workers": _list({"type": "object"}),
            "store": {"type": "object"},
            "issuers": _list({"type": "object"}),
            "upstreams": _list({"type": "object"}),
            "keys": _list(_reference("Key")),
            "sessions": _COUNT,
            "accounts": _object(
                {
                    "state": {"enum": ["off", "unused", "up", "down"]},
                    "database": {"type": "string"},
                    "registration": {"enum": ["open", "closed"]},
                }
            ),
        }
    ),
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "reason": {"type": "string"},
            "errors": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
}
