"""`GET /openapi.json`: the admin API as OpenAPI 3.1 tells it. A table in, a document out; a test compares it with the routes."""

from typing import Any, Final

from gateway import __version__

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 512}
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

RECEIPT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "enforced_by", "fenced", "workers", "complete", "durable", "took_ms"],
    "properties": {
        "id": {"type": "string", "description": "To undo it: DELETE /v1/revocations/{id}."},
        "enforced_by": {"type": "integer", "description": "Workers that enforce it."},
        "fenced": {"type": "integer", "description": "Workers that have provably stopped deciding."},
        "workers": {"type": "integer", "description": "Members when it was appended."},
        "complete": {"type": "boolean", "description": "enforced_by + fenced = workers."},
        "durable": {"type": "boolean", "description": "On disk, or on a second machine, before this answer."},
        "took_ms": {"type": "number"},
        "not_fenced_routes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Routes with `on_outage: stale` or `allow`: a worker counted as fenced may still serve these.",
        },
    },
}

_REVOCATION: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "token_id": _TEXT | {"description": "`jti`; of our own issuer unless one is named."},
        "session": _TEXT | {"description": "`sid`; of every issuer unless one is named."},
        "user": _TEXT | {"description": "The name the backend sees; of every issuer unless one is named."},
        "key": _TEXT | {"description": "`kid`; of every issuer unless one is named."},
        "issuer": _TEXT,
        "reason": _TEXT,
    },
    "oneOf": [{"required": [name]} for name in ("token_id", "session", "user", "key")],
}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "gateway admin API", "version": __version__},
        "paths": {
            "/metrics": {"get": _open("Prometheus or OpenMetrics text, by Accept.", "text/plain")},
            "/livez": {"get": _open("The supervisor's loop turns.", "text/plain")},
            "/readyz": {"get": _readyz()},
            "/openapi.json": {"get": _guarded("This document.", {})},
            "/": {"get": _open("A page that names the endpoints; empty without a token.", "text/html")},
            "/v1/status": {"get": _guarded("Workers, replicas, store, keys, upstreams.", {"type": "object"})},
            "/v1/revocations": {"post": _revoke()},
            "/v1/revocations/{id}": {"delete": _undo()},
        },
        "components": {
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Receipt": RECEIPT,
                "Revocation": _REVOCATION,
                "Problem": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "errors": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                },
            },
        },
    }


def _open(description: str, media_type: str) -> dict[str, Any]:
    return {"summary": description, "responses": {"200": {"description": description, "content": {media_type: {}}}}}


def _readyz() -> dict[str, Any]:
    operation = _open("Every worker is live, or was and one still is.", "text/plain")
    operation["parameters"] = [{"name": "verbose", "in": "query", "schema": {}, "allowEmptyValue": True}]
    operation["responses"]["503"] = {"description": "Not ready, or stopping."}
    return operation


def _guarded(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": description,
        "security": [{"admin": []}],
        "responses": {
            "200": {"description": description, "content": {"application/json": {"schema": schema}}},
            "401": {"description": "No admin token, or a wrong one.", "content": _PROBLEM},
            "403": {"description": "A foreign Host or Origin.", "content": _PROBLEM},
        },
    }


def _receipts(done: str) -> dict[str, Any]:
    receipt = {"application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}}
    return {
        done: {"description": "Enforced by every worker that is not fenced.", "content": receipt},
        "202": {"description": "Recorded, but not complete when the deadline came.", "content": receipt},
        "401": {"description": "No admin token, or a wrong one.", "content": _PROBLEM},
        "403": {"description": "A foreign Host or Origin.", "content": _PROBLEM},
        "503": {"description": "The store did not answer: the result is unknown. Repeating is safe.", "content": _PROBLEM},
    }


def _revoke() -> dict[str, Any]:
    return {
        "summary": "Revoke a token, a session, what a user holds, or a key.",
        "security": [{"admin": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Revocation"}}},
        },
        "responses": {
            **_receipts("201"),
            "400": {"description": "Not a JSON object.", "content": _PROBLEM},
            "413": {"description": "Larger than 16 KiB.", "content": _PROBLEM},
            "415": {"description": "Not application/json.", "content": _PROBLEM},
            "422": {"description": "A field is missing, unknown or wrong; `errors` names each.", "content": _PROBLEM},
        },
    }


def _undo() -> dict[str, Any]:
    return {
        "summary": "Lift a revocation made in error.",
        "security": [{"admin": []}],
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": _TEXT}],
        "responses": {**_receipts("200"), "404": {"description": "No such revocation.", "content": _PROBLEM}},
    }
