"""The trail in OCSF 1.5: required attributes, ids that agree with each other, nothing lost, nothing that a terminal obeys."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from auditing import ALICE, NETWORK, NOON
from test_audit_outline import FULL, PSEUDONYM, recorded

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.ocsf import MAPPING, mapped, ocsf, ocsf_line
from gateway.audit.outline import document

# From the schema 1.5.0: https://schema.ocsf.io/1.5.0/classes/…; the activities that are used, by their captions.
REQUIRED = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid")
CLASSES: dict[int, tuple[str, int, tuple[str, ...]]] = {
    3001: ("Account Change", 3, ("user",)),
    3002: ("Authentication", 3, ("user", "service")),
    3003: ("Authorize Session", 3, ("user",)),
    6003: ("API Activity", 6, ("actor", "api", "src_endpoint")),
    2004: ("Detection Finding", 2, ("finding_info",)),
}
ACTIVITIES = {
    3001: {1: "Create", 3: "Password Change", 6: "Delete", 9: "Lock", 12: "Unlock"},
    3002: {1: "Logon", 2: "Logoff"},
    3003: {2: "Assign Groups"},
    6003: {0: "Unknown", 1: "Create", 3: "Update", 4: "Delete"},
    2004: {1: "Create"},
}
EMPTY = Event(NOON, Action.PURGE)


def told(event: Event, **changes: object) -> dict[str, Any]:
    return ocsf(document(recorded(replace(event, **changes))))  # type: ignore[arg-type]


@pytest.mark.parametrize("action", Action)
def test_every_action_has_a_class(action: Action):
    assert action in MAPPING


@pytest.mark.parametrize("event, action, outcome", list(product((FULL, EMPTY), Action, Outcome)))
def test_what_the_schema_requires_is_there(event: Event, action: Action, outcome: Outcome):
    line = told(event, action=action, outcome=outcome)
    name, category, attributes = CLASSES[line["class_uid"]]
    assert [attribute for attribute in (*REQUIRED, *attributes) if attribute not in line] == []
    assert (line["class_name"], line["category_uid"]) == (name, category)
    assert line["type_uid"] == line["class_uid"] * 100 + line["activity_id"]
    assert line["activity_id"] == 99 or ACTIVITIES[line["class_uid"]][line["activity_id"]] == line["activity_name"]
    assert line["severity_id"] in (1, 2, 3, 4)
    assert line["metadata"]["version"] == "1.5.0"
    assert {"name", "vendor_name", "version"} <= set(line["metadata"]["product"])
    if "user" in line:
        assert line["user"]["uid"]


@pytest.mark.parametrize(
    "action, reason, type_uid",
    [
        (Action.LOGIN, "", 300201),
        (Action.LOGIN_FAILED, "wrong-credentials", 300201),
        (Action.LOGOUT, "", 300202),
        (Action.SESSION_ENDED, "", 300202),
        (Action.REFRESH, "rotated", 300299),
        (Action.REFRESH, "reused", 200401),
        (Action.REFUSAL, "forbidden", 300399),
        (Action.REPLAY, "revoked-token", 200401),
        (Action.FINGERPRINT, "country", 200401),
        (Action.REVOCATION, "session", 600301),
        (Action.UNDO, "", 600304),
        (Action.PASSWORD_CHANGED, "", 300103),
        (Action.ERASED, "", 300106),
    ],
)
def test_where_an_action_belongs(action: Action, reason: str, type_uid: int):
    assert told(FULL, action=action, reason=reason)["type_uid"] == type_uid


def test_success_and_failure_are_told():
    assert told(FULL, action=Action.LOGIN, outcome=Outcome.SUCCESS)["status_id"] == 1
    assert told(FULL, action=Action.LOGIN_FAILED, outcome=Outcome.FAILURE)["status_id"] == 2
    assert told(FULL, action=Action.REFUSAL, outcome=Outcome.DENIED)["status_id"] == 2
    assert told(FULL, action=Action.REPLAY)["status_id"] == 1, "of a finding: new"


def test_a_replay_is_an_alert_of_high_severity():
    line = told(FULL, action=Action.REPLAY)
    assert (line["severity_id"], line["is_alert"]) == (4, True)
    assert line["evidences"][0]["actor"] == {
        "user": {"uid": PSEUDONYM, "type_id": 1, "type": "User", "name": ALICE},
        "session": {"uid": "session-1"},
    }
    assert line["evidences"][0]["src_endpoint"] == {"name": NETWORK}


def test_time_count_and_period_are_in_milliseconds():
    line = told(FULL)
    assert (line["time"], line["count"], line["start_time"], line["end_time"]) == (
        1735732800500,
        12,
        1735732800000,
        1735732800500,
    )
    assert "count" not in told(EMPTY)


def test_our_own_words_are_there_too():
    assert told(FULL)["unmapped"] == {
        name: value
        for name, value in document(recorded(FULL)).items()
        if name not in ("id", "time", "since", "count", "user", "request_id")
    }


def test_nobody_and_somebody_erased():
    assert told(EMPTY, action=Action.REFUSAL)["user"] == {"uid": "unknown", "type_id": 0, "type": "Unknown"}
    erased = ocsf(document(recorded(replace(FULL, action=Action.LOGIN), is_erased=True)))
    assert erased["user"] == {"uid": PSEUDONYM, "type_id": 1, "type": "User"}


def test_an_action_of_a_later_version_is_unknown_and_no_crash():
    assert mapped({"action": "teleported"}).type_uid == 600300
    assert ocsf({})["time"] == 0
    assert ocsf({"time": "yesterday", "count": 2})["start_time"] == 0


@pytest.mark.parametrize("text", ["é", "\U0001f600", "\x9b31m", "\u202e", "\x7f", "\n", '"', "\ud800"])
def test_O03_a_line_is_one_line_of_printable_ascii(text: str):
    line = ocsf_line(document(recorded(replace(FULL, text=text, user=text, session=text))))
    assert line.endswith(b"\n")
    assert line[:-1].decode().isascii()
    assert line[:-1].decode().isprintable()
    assert json.loads(line)["unmapped"]["text"] == text
