"""What the page's files know of the gateway's words, and the colours that are no text's."""

import re

import pytest

from gateway.admin.page.document import FOLDER
from gateway.audit.event import Action
from gateway.audit.ocsf import DETECTION_FINDING, MAPPING
from gateway.reasons import Reason


def test_every_reason_belongs_to_one_kind():
    told = re.findall(r'"([a-z-]+)"', (FOLDER / "picture.js").read_text().partition("const KINDS")[2].partition("];\n\n")[0])
    reasons = [word for word in told if word in list(Reason)]
    assert sorted(reasons) == sorted(Reason)


def test_every_finding_is_an_alarm_and_every_alarm_an_action():
    listed = re.search(r"const ALARMS = \[(.*?)\]", (FOLDER / "events.js").read_text(), re.S)
    assert listed is not None
    alarms = set(re.findall(r'"([a-z-]+)"', listed[1]))
    findings = {str(action) for action, mapped in MAPPING.items() if mapped.class_uid == DETECTION_FINDING}
    assert findings <= alarms <= set(Action)


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_bars_and_edges_can_be_seen(scheme: int):
    """WCAG 2.2, 1.4.11: what is not text has a contrast of 3. Texts are measured in the browser."""
    css = (FOLDER / "page.css").read_text()
    parts = re.findall(r":root \{\n(.*?)\}", css, re.S)
    colours = {
        **dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", parts[0])),
        **dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", parts[scheme])),
    }
    kinds = re.findall(r"\.bar\.([a-z]+) \{", css)
    assert len(kinds) >= 8
    for name in (*kinds, "other", "edge", "accent", "bad"):
        darker, lighter = sorted((luminance(colours[name]), luminance(colours["raised"])))
        assert (lighter + 0.05) / (darker + 0.05) >= 3, name
