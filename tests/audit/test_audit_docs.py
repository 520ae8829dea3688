"""The page about the trail tells every action with its OCSF class, every field, and no other."""

import re
from pathlib import Path

from test_audit_outline import FULL, recorded

from gateway.audit.event import Action, Outcome
from gateway.audit.ocsf import MAPPING
from gateway.audit.outline import document

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "audit.md").read_text()


def rows(heading: str) -> dict[str, str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([a-z_-]+)` \| (.*) \|$", section, re.M))


def test_every_action_and_no_other_is_told():
    assert list(rows("Actions")) == [action.value for action in Action]


def test_every_action_is_told_with_its_class_and_activity():
    class_uid = 0
    for action, row in rows("Actions").items():
        last = row.rsplit("|", 1)[1].partition(";")[0]
        match = re.match(r" ?(\d+)[^,]*, (\d+)", last)
        assert match, action
        class_uid = int(match[1])
        assert (class_uid, int(match[2])) == (MAPPING[action].class_uid, MAPPING[action].activity_id), action


def test_every_field_and_no_other_is_told():
    assert set(rows("Fields")) == set(document(recorded(FULL)))


def test_every_outcome_is_told():
    assert re.findall(r"`([a-z]+)` \(|^`success`", rows("Fields")["outcome"]) == ["", *[o.value for o in Outcome][1:]]
