"""`GET /openapi.json`: the admin API as OpenAPI 3.1 tells it. A table in, a document out.

Tests compare the table with the endpoints, and ask a running gateway everything that the document says can be asked.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from gateway import __version__
from gateway.admin.events import CURSOR_FIELD, LINES, LONGEST_WAIT_S
from gateway.admin.paths import is_name
from gateway.admin.schemas import NAME, SCHEMAS
from gateway.audit.event import Action
from gateway.audit.read import LARGEST_PAGE
from gateway.login.accounts import MOST_PER_PAGE

_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_DONE: Final = "Done, and enforced by every worker that is not fenced."
_MOMENT: Final = {"type": "string", "minLength": 1, "description": "A duration ago (`1h`), ISO 8601, or seconds since 1970."}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `done` is the status of success and the name of its answer's schema, or its media type; `refused`
    are the statuses that it has beside those that every guarded operation has."""

    path: str
    method: str
    summary: str
    done: tuple[int, str]
    body: str = ""
    needs_body: bool = True
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    is_open: bool = False
    has_receipt: bool = False


_EXAMPLES: Final = {
    "user": "alice@example.com",
    "id": "0f6a0c5b1d9e4f7c8a2b3d4e5f607182",
    "kid": "DN8HXlu5mwVw",
}
_NO_ACCOUNT: Final = {404: "There is no account of this name."}
_OFF: Final = {409: "The built-in accounts are off."}
_OPERATIONS: Final = (
    Operation("/metrics", "get", "Prometheus or OpenMetrics text, by Accept.", (200, "text/plain"), is_open=True),
    Operation("/livez", "get", "Whether the supervisor's loop turns.", (200, "text/plain"), is_open=True),
    Operation(
        "/readyz",
        "get",
        "Whether every worker is live, or was and one still is.",
        (200, "text/plain"),
        parameters={"verbose": {}},
        refused={503: "Not ready, or stopping."},
        is_open=True,
    ),
    Operation("/", "get", "The page; with a token, one that names the endpoints.", (200, "text/html"), is_open=True),
    Operation("/openapi.json", "get", "This document.", (200, "application/json")),
    Operation("/v1/status", "get", "Workers, replicas, store, issuers, upstreams, keys, sessions, accounts.", (200, "Status")),
    Operation(
        "/v1/revocations",
        "post",
        "Revoke a token, a session, what a user holds, or a key.",
        (201, "Receipt"),
        "Revocation",
        has_receipt=True,
    ),
    Operation(
        "/v1/revocations/{id}",
        "delete",
        "Lift a revocation made in error, and what it took along.",
        (200, "Receipt"),
        refused={404: "There is no such revocation."},
        has_receipt=True,
    ),
    Operation(
        "/v1/users",
        "get",
        "The built-in accounts by name, a page.",
        (200, "Accounts"),
        parameters={
            "after": NAME | {"description": "`next` of the page before."},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": 100},
        },
        refused=_OFF,
    ),
    Operation(
        "/v1/users",
        "post",
        "Make an account.",
        (201, "Account"),
        "NewAccount",
        refused={409: "The name is taken, or the built-in accounts are off."},
    ),
    Operation("/v1/users/{user}", "get", "One account.", (200, "Account"), refused=_NO_ACCOUNT),
    Operation(
        "/v1/users/{user}",
        "delete",
        "Erase a person: account, sessions, devices, first uses, the name in the audit trail. Says what is kept until when.",
        (200, "Erasure"),
        has_receipt=True,
    ),
    Operation(
        "/v1/users/{user}/password",
        "put",
        "Set an account's password. Every session of it is over at once.",
        (200, "SessionsReceipt"),
        "NewPassword",
        refused=_NO_ACCOUNT,
        has_receipt=True,
    ),
    Operation(
        "/v1/users/{user}/groups",
        "put",
        "Set an account's groups. They count from the next request on.",
        (200, "GroupsReceipt"),
        "Groups",
        refused=_NO_ACCOUNT,
        has_receipt=True,
    ),
    Operation("/v1/users/{user}/block", "get", "Whether a user of any issuer is kept out.", (200, "Block")),
    Operation(
        "/v1/users/{user}/block",
        "post",
        "Keep a user of any issuer out until it is lifted.",
        (201, "Receipt"),
        "Reason",
        needs_body=False,
        has_receipt=True,
    ),
    Operation(
        "/v1/users/{user}/block",
        "delete",
        "Let the user in again.",
        (200, "Receipt"),
        refused={404: "This user is not blocked."},
        has_receipt=True,
    ),
    Operation("/v1/users/{user}/sessions", "get", "An account's sessions.", (200, "Sessions"), refused=_NO_ACCOUNT),
    Operation(
        "/v1/users/{user}/sessions",
        "delete",
        "End every session of an account.",
        (200, "SessionsReceipt"),
        refused=_NO_ACCOUNT,
        has_receipt=True,
    ),
    Operation(
        "/v1/sessions/{id}",
        "delete",
        "End one session of ours.",
        (200, "Receipt"),
        refused={404: "There is no such session."},
        has_receipt=True,
    ),
    Operation("/v1/keys", "get", "Our own signing keys, oldest first.", (200, "Keys")),
    Operation(
        "/v1/keys/rotate",
        "post",
        "Sign with another key. `compromised`: refuse every other one, and remove all sessions.",
        (200, "KeysReceipt"),
        "Rotation",
        needs_body=False,
        has_receipt=True,
    ),
    Operation(
        "/v1/keys/{kid}",
        "delete",
        "Refuse what one key signed; the one that signs is succeeded first.",
        (200, "KeysReceipt"),
        refused={404: "There is no such key."},
        has_receipt=True,
    ),
    Operation(
        "/v1/audit",
        "get",
        "The audit trail: newest first, or as it grows.",
        (200, "Events"),
        parameters={
            "user": NAME | {"description": "A name, or a pseudonym."},
            "action": {"enum": [action.value for action in Action]},
            "since": _MOMENT,
            "until": _MOMENT,
            "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 100},
            "cursor": {"type": "string", "pattern": r"^[0-9]{1,15}-[0-9]{1,15}$"},
            "follow": {"type": "string", "description": "Oldest first, from `since`, after `cursor`, or from now on."},
            "wait": {
                "type": "integer",
                "minimum": 0,
                "maximum": int(LONGEST_WAIT_S),
                "default": 0,
                "description": "With `follow`: how many seconds to wait for the first event.",
            },
            "format": {"enum": ["json", "lines", "ocsf"], "description": "Else by Accept."},
        },
    ),
    Operation("/v1/decisions", "get", "What was decided in the last hour, minute by minute.", (200, "Decisions")),
    Operation("/v1/purge", "post", "Remove what has expired, now.", (200, "Purged"), "Nothing", needs_body=False),
)


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _told(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "gateway admin API", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}}, "schemas": SCHEMAS},
    }


def _told(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {"summary": operation.summary, "operationId": _name(operation), "responses": _answers(operation)}
    if not operation.is_open:
        told["security"] = [{"admin": []}]
    if parameters := _parameters(operation):
        told["parameters"] = parameters
    if operation.body:
        schema = {"schema": {"$ref": f"#/components/schemas/{operation.body}"}}
        told["requestBody"] = {"required": operation.needs_body, "content": {"application/json": schema}}
    return told


def _name(operation: Operation) -> str:
    """`put_v1_users_user_groups`: for programs made from the document."""
    words = operation.path.replace("{", "").replace("}", "").replace(".", "_").split("/")
    return "_".join(filter(None, (operation.method, *words))) if operation.path != "/" else f"{operation.method}_page"


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if is_name(part)]
    in_path = [{"name": name, "in": "path", "required": True, "schema": NAME, "example": _EXAMPLES[name]} for name in names]
    return in_path + [
        {"name": name, "in": "query", "schema": schema, "allowEmptyValue": name in ("verbose", "follow")}
        for name, schema in operation.parameters.items()
    ]


def _answers(operation: Operation) -> dict[str, Any]:
    status, what = operation.done
    done: dict[str, Any] = {"description": _DONE if operation.has_receipt else operation.summary, "content": _content(what)}
    if what == "Events":
        done["content"][LINES] = {"schema": {}}
        done["headers"] = {CURSOR_FIELD: {"description": "The cursor, where the answer is lines.", "schema": {"type": "string"}}}
    answers: dict[int, dict[str, Any]] = {status: done}
    if operation.has_receipt:
        answers[202] = {"description": "Done, but not enforced everywhere when the deadline came.", "content": _content(what)}
    answers |= {code: {"description": why, "content": _PROBLEM} for code, why in _refused(operation).items()}
    return {str(code): answers[code] for code in sorted(answers)}


def _refused(operation: Operation) -> dict[int, str]:
    """Every status that is no success, and when it comes."""
    if operation.is_open:
        return operation.refused | ({403: "A foreign Host or Origin."} if operation.path == "/" else {})
    refused = {401: "No admin token, or a wrong one.", 403: "A foreign Host or Origin."} | operation.refused
    if any(map(is_name, operation.path.split("/"))):
        refused = {400: "A name in the path is not percent-encoded UTF-8.", 404: "There is nothing of this name."} | refused
    if operation.body:
        refused |= {400: "The body is not a JSON object, or the path cannot be read."}
        refused |= {413: "The body is larger than 16 KiB.", 415: "The body is not application/json."}
    if operation.body or operation.parameters:
        refused |= {422: "A field is missing, unknown or wrong; `errors` names each."}
        refused.setdefault(400, "The query cannot be read.")
    if operation.path != "/openapi.json":
        refused |= {503: "The store or the accounts' database did not answer; what is known to have happened is said."}
    return refused


def _content(what: str) -> dict[str, Any]:
    if "/" in what:
        return {what: {"schema": {"type": "object"}} if what == "application/json" else {}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{what}"}}}
