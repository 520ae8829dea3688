"""The trail in the words of the Open Cybersecurity Schema Framework, so that a SIEM reads it without a parser of ours.

    Account Change       3001  what happened to an account
    Authentication       3002  sessions that begin, go on, end
    Authorize Session    3003  what a session may do: requests refused, groups changed
    API Activity         6003  what operators did
    Detection Finding    2004  what ought to alarm: replays, a refresh token used twice, a changed fingerprint

Takes documents (`outline.document`), as they come from a running gateway. Everything of ours stands under `unmapped` too, in
our words. Without `metadata.profiles`, in version 1.5 of the schema; `type_uid` is class × 100 + activity.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from gateway import __version__
from gateway.audit.event import Action, Outcome
from gateway.audit.outline import json_line

SCHEMA_VERSION: Final = "1.5.0"
ACCOUNT_CHANGE: Final = 3001
AUTHENTICATION: Final = 3002
AUTHORIZE_SESSION: Final = 3003
API_ACTIVITY: Final = 6003
DETECTION_FINDING: Final = 2004

_CLASS_NAMES: Final = {
    ACCOUNT_CHANGE: "Account Change",
    AUTHENTICATION: "Authentication",
    AUTHORIZE_SESSION: "Authorize Session",
    API_ACTIVITY: "API Activity",
    DETECTION_FINDING: "Detection Finding",
}
_CATEGORY_NAMES: Final = {2: "Findings", 3: "Identity & Access Management", 6: "Application Activity"}
_OTHER: Final = 99
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SEVERITIES: Final = {_INFORMATIONAL: "Informational", _LOW: "Low", _MEDIUM: "Medium", _HIGH: "High"}
_STATUSES: Final[dict[str, tuple[int, str]]] = {
    Outcome.SUCCESS: (1, "Success"),
    Outcome.FAILURE: (2, "Failure"),
    Outcome.DENIED: (2, "Failure"),
}
_FINDING_STATUS: Final = (1, "New")  # a finding's status is that of its treatment, which begins here


class Mapped(NamedTuple):
    """Where an action belongs: class, activity and its name, severity when it went as it should."""

    class_uid: int
    activity_id: int
    activity: str
    severity: int = _INFORMATIONAL

    @property
    def type_uid(self) -> int:
        return self.class_uid * 100 + self.activity_id


MAPPING: Final[dict[str, Mapped]] = {
    Action.LOGIN: Mapped(AUTHENTICATION, 1, "Logon"),
    Action.LOGIN_FAILED: Mapped(AUTHENTICATION, 1, "Logon", _LOW),
    Action.LOGOUT: Mapped(AUTHENTICATION, 2, "Logoff"),
    Action.SESSION_ENDED: Mapped(AUTHENTICATION, 2, "Logoff"),
    Action.REFRESH: Mapped(AUTHENTICATION, _OTHER, "Refresh"),
    Action.REFUSAL: Mapped(AUTHORIZE_SESSION, _OTHER, "Refuse", _LOW),
    Action.GROUPS_CHANGED: Mapped(AUTHORIZE_SESSION, 2, "Assign Groups"),
    Action.REGISTERED: Mapped(ACCOUNT_CHANGE, 1, "Create"),
    Action.PASSWORD_CHANGED: Mapped(ACCOUNT_CHANGE, 3, "Password Change"),
    Action.ERASED: Mapped(ACCOUNT_CHANGE, 6, "Delete"),
    Action.BLOCKED: Mapped(ACCOUNT_CHANGE, 9, "Lock"),
    Action.UNBLOCKED: Mapped(ACCOUNT_CHANGE, 12, "Unlock"),
    Action.REVOCATION: Mapped(API_ACTIVITY, 1, "Create"),
    Action.UNDO: Mapped(API_ACTIVITY, 4, "Delete"),
    Action.KEY_ROTATED: Mapped(API_ACTIVITY, 3, "Update"),
    Action.KEY_RETIRED: Mapped(API_ACTIVITY, 4, "Delete"),
    Action.PURGE: Mapped(API_ACTIVITY, 4, "Delete"),
    Action.ADMIN: Mapped(API_ACTIVITY, _OTHER, "Other"),
    Action.ADMITTED_REVOKED: Mapped(DETECTION_FINDING, 1, "Create", _HIGH),
    Action.EVENTS_LOST: Mapped(API_ACTIVITY, _OTHER, "Events lost", _MEDIUM),
    Action.LOGIN_FLOOD: Mapped(DETECTION_FINDING, 1, "Create", _HIGH),
    Action.REPLAY: Mapped(DETECTION_FINDING, 1, "Create", _HIGH),
    Action.REFRESH_AFTER_REVOCATION: Mapped(DETECTION_FINDING, 1, "Create", _HIGH),
    Action.REFRESH_REUSE: Mapped(DETECTION_FINDING, 1, "Create", _HIGH),
    Action.EXPIRED_LOOP: Mapped(DETECTION_FINDING, 1, "Create", _LOW),
    Action.SIGNATURE_FAILURE: Mapped(DETECTION_FINDING, 1, "Create", _MEDIUM),
    Action.FINGERPRINT: Mapped(DETECTION_FINDING, 1, "Create", _MEDIUM),
    Action.FINGERPRINT_CALMED: Mapped(DETECTION_FINDING, 1, "Create", _HIGH),
    Action.SESSION_CORRUPT: Mapped(DETECTION_FINDING, 1, "Create", _MEDIUM),
}
_REUSED: Final = Mapped(DETECTION_FINDING, 1, "Create", _HIGH)
_UNKNOWN: Final = Mapped(API_ACTIVITY, 0, "Unknown")

_UNMAPPED: Final = (
    "action",
    "outcome",
    "reason",
    "pseudonym",
    "session",
    "token_id",
    "network",
    "device",
    "route",
    "source",
    "target",
    "text",
)


def mapped(document: Mapping[str, Any]) -> Mapped:
    """Class and activity. A refresh token used twice is no refresh but a finding; an action of a later version is unknown."""
    if document.get("action") == Action.REFRESH and document.get("reason") in ("reused", "refresh-reused"):
        return _REUSED
    return MAPPING.get(str(document.get("action")), _UNKNOWN)


def ocsf_line(document: Mapping[str, Any]) -> bytes:
    """One line, its newline included, in printable ASCII."""
    return json_line(ocsf(document))


def ocsf(document: Mapping[str, Any]) -> dict[str, Any]:
    """The event as an OCSF object."""
    where = mapped(document)
    told = _common(document, where)
    match where.class_uid:
        case 3001 | 3002 | 3003:
            told |= _iam(document, where)
        case 6003:
            told |= _api(document)
        case _:
            told |= _finding(document, told)
    return told


def _common(document: Mapping[str, Any], where: Mapped) -> dict[str, Any]:
    is_finding = where.class_uid == DETECTION_FINDING
    outcome = str(document.get("outcome"))
    status_id, status = _FINDING_STATUS if is_finding else _STATUSES.get(outcome, (_OTHER, outcome))
    severity = max(where.severity, _LOW) if outcome in (Outcome.FAILURE, Outcome.DENIED) else where.severity
    category = where.class_uid // 1000
    told: dict[str, Any] = {
        "class_uid": where.class_uid,
        "class_name": _CLASS_NAMES[where.class_uid],
        "category_uid": category,
        "category_name": _CATEGORY_NAMES[category],
        "activity_id": where.activity_id,
        "activity_name": where.activity,
        "type_uid": where.type_uid,
        "type_name": f"{_CLASS_NAMES[where.class_uid]}: {'Other' if where.activity_id == _OTHER else where.activity}",
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "status_id": status_id,
        "status": status,
        "time": _milliseconds(document.get("time")),
        "metadata": {
            "version": SCHEMA_VERSION,
            "uid": str(document.get("id", "")),
            "log_name": "audit",
            "product": {"name": "gateway", "vendor_name": "token-gateway", "version": __version__},
        },
        "message": _message(document),
        "unmapped": {name: document[name] for name in _UNMAPPED if document.get(name) is not None},
    }
    if reason := document.get("reason"):
        told["status_detail"] = str(reason)
    count = document.get("count", 1)
    if count != 1:
        told |= {"count": count, "start_time": _milliseconds(document.get("since")), "end_time": told["time"]}
    return told


def _iam(document: Mapping[str, Any], where: Mapped) -> dict[str, Any]:
    told: dict[str, Any] = {"user": _user(document)}
    if session := document.get("session"):
        told["session"] = {"uid": str(session)}
    if where.class_uid == AUTHENTICATION:
        told["service"] = {"name": "gateway"}
        told["auth_protocol_id"], told["auth_protocol"] = _OTHER, "session token"
    if where.class_uid == ACCOUNT_CHANGE:  # it has no session of its own
        told.pop("session", None)
    return told | _source(document)


def _api(document: Mapping[str, Any]) -> dict[str, Any]:
    source = str(document.get("source") or "gateway")
    told: dict[str, Any] = {
        "actor": {"app_name": source},
        "api": {"operation": str(document.get("action"))},
        "src_endpoint": {"name": source},
    }
    resources = [
        {"type": kind, "uid": str(document[name])}
        for name, kind in (("session", "session"), ("token_id", "token"), ("target", "target"))
        if document.get(name)
    ]
    if document.get("user") or document.get("pseudonym"):
        user = _user(document)
        resources.append({"type": "user", "uid": user["uid"], "name": user.get("name", user["uid"])})
    if resources:
        told["resources"] = resources
    return told | _source(document)


def _finding(document: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    actor: dict[str, Any] = {"user": _user(document)}
    if session := document.get("session"):
        actor["session"] = {"uid": str(session)}
    evidence: dict[str, Any] = {"actor": actor} | _source(document)
    return {
        "is_alert": True,
        "finding_info": {
            "uid": told["metadata"]["uid"],
            "title": told["message"],
            "created_time": told["time"],
            "types": [str(document.get("action"))],
        },
        "evidences": [evidence],
    }


def _user(document: Mapping[str, Any]) -> dict[str, Any]:
    """The schema asks for a user where nobody may be known: then it is called unknown."""
    user, pseudonym = document.get("user"), document.get("pseudonym")
    if user is None and pseudonym is None:
        return {"uid": "unknown", "type_id": 0, "type": "Unknown"}
    told = {"uid": str(pseudonym or user), "type_id": 1, "type": "User"}
    return told if user is None else told | {"name": str(user)}


def _source(document: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if network := document.get("network"):  # a prefix is no `ip`
        told["src_endpoint"] = {"name": str(network)}
    if request_id := document.get("request_id"):
        told["http_request"] = {"uid": str(request_id)}
    return told


def _message(document: Mapping[str, Any]) -> str:
    said = [str(document.get("action")), str(document.get("outcome"))]
    if reason := document.get("reason"):
        said.append(str(reason))
    return " ".join(said)


def _milliseconds(stamp: object) -> int:
    try:
        return round(datetime.fromisoformat(str(stamp)).timestamp() * 1000)
    except ValueError:
        return 0
