"""One line per event for people, one document per event for programs; attacker's text is only ever text [O03]."""

import json
import re
from dataclasses import replace

import pytest
from auditing import ALICE, NETWORK, NOON, login
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.outline import Outline, document, json_line, timestamp
from gateway.audit.read import Recorded

PSEUDONYM = "~abcdefghijklmnop"
FULL = Event(
    NOON + 0.5,
    Action.REPLAY,
    Outcome.DENIED,
    "revoked-token",
    ALICE,
    "session-1",
    "token-1",
    NETWORK,
    "Firefox|Linux|desktop",
    "app",
    "api",
    "0" * 32,
    "kid-1",
    "a text",
    12,
    NOON,
)


def recorded(event: Event, *, is_erased: bool = False) -> Recorded:
    pseudonym = PSEUDONYM if event.user else ""
    return Recorded("1-0", replace(event, user=PSEUDONYM) if is_erased else event, pseudonym, is_erased)


def line(event: Event, **changes: object) -> str:
    (found,) = Outline().lines([document(recorded(event)) | changes])
    return found


def test_a_document_holds_every_field():
    assert document(recorded(FULL)) == {
        "id": "1-0",
        "time": "2025-01-01T12:00:00.500Z",
        "action": "replay",
        "outcome": "denied",
        "user": ALICE,
        "count": 12,
        "pseudonym": PSEUDONYM,
        "since": "2025-01-01T12:00:00.000Z",
        "reason": "revoked-token",
        "session": "session-1",
        "token_id": "token-1",
        "network": NETWORK,
        "device": "Firefox|Linux|desktop",
        "route": "app",
        "source": "api",
        "request_id": "0" * 32,
        "target": "kid-1",
        "text": "a text",
    }
    assert set(document(recorded(FULL))) == {"id", "pseudonym", *Event.__slots__}


def test_a_document_leaves_out_what_is_empty():
    told = document(recorded(Event(NOON, Action.PURGE)))
    assert told == {
        "id": "1-0",
        "time": "2025-01-01T12:00:00.000Z",
        "action": "purge",
        "outcome": "success",
        "user": None,
        "count": 1,
    }


def test_a_document_of_somebody_erased_has_no_user():
    told = document(recorded(FULL, is_erased=True))
    assert (told["user"], told["pseudonym"]) == (None, PSEUDONYM)


def test_a_line_tells_everything():
    assert line(FULL) == (
        "2025-01-01T12:00:00.500Z  replay x12      denied    revoked-token       alice@example.com         192.0.2.0/24        "
        "session=session-1 jti=token-1 device=Firefox|Linux|desktop route=app target=kid-1 by=api "
        f'request={"0" * 32} since=2025-01-01T12:00:00.000Z text="a text"'
    )


def test_columns_align():
    events = [login(), FULL, Event(NOON, Action.PURGE), replace(FULL, user="somebody.with.a.long.name@example.com")]
    lines = Outline().lines([document(recorded(event)) for event in events])
    networks = {found.index(NETWORK) for found in lines if NETWORK in found}
    assert len(networks) == 1


def test_columns_align_when_lines_come_one_by_one():
    outline = Outline()
    outline.lines([document(recorded(replace(FULL, user="somebody.with.a.long.name@example.com")))])
    (first,), (second,) = (outline.lines([document(recorded(event))]) for event in (FULL, login()))
    assert first.index(NETWORK) == second.index(NETWORK)


def test_a_wide_cell_is_cut():
    assert "x" * 37 + "... " in line(replace(FULL, user="x" * 200))
    assert "x" * 38 not in line(replace(FULL, user="x" * 200))


def test_a_wide_quoted_cell_keeps_its_quotes():
    assert re.search(r'  "(x yx yx yx y)[xy ]+\.\.\."  192', line(replace(FULL, user="x y" * 60)))


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        "\r\x1b[31mred",
        "\x9b31m",
        "\u202eturned around",
        "\x00",
        "\x7f",
        "a  192.0.2.0/24  session=forged",
        'quote " and = sign',
        "\u2028",
        "\ud800",
        "ｗｉｄｅ",
    ],
)
@pytest.mark.parametrize("field", ["user", "session", "device", "source", "target", "text", "token_id", "route"])
def test_O03_text_of_an_attacker_is_one_word_of_one_line(field: str, text: str):
    shown = line(replace(FULL, **{field: text}))
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.count("session=") - shown.count("session=forged") == 1
    assert "session=forged" not in shown or f'"{text}"' in shown


@given(st.text(st.characters(), max_size=80), st.sampled_from(["user", "reason", "session", "text", "action", "network"]))
def test_O03_every_line_is_one_printable_line(text: str, field: str):
    shown = line(replace(FULL, **{field: text}))
    assert shown.isascii()
    assert shown.isprintable()
    raw = json_line(document(recorded(replace(FULL, **{field: text}))))
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    assert b"\x7f" not in raw
    assert json.loads(raw).get(field) == (text or None) or field == "action"


def test_a_name_cannot_pass_itself_off_as_the_pseudonym_of_somebody_erased():
    assert f"  {PSEUDONYM}  " in Outline().lines([document(recorded(FULL, is_erased=True))])[0]
    assert f'  "{PSEUDONYM}"  ' in line(replace(FULL, user=PSEUDONYM))


def test_what_another_version_says_is_shown_as_far_as_it_is_known():
    (shown,) = Outline().lines([{"action": "teleported", "new": 1, "count": None, "user": 7, "text": ["a"]}])
    assert "teleported" in shown
    assert "new" not in shown
    assert Outline().lines([{}])[0].split() == ["-"] * 6


@pytest.mark.parametrize("seconds", [1e300, -1e300, float("inf"), float("nan")])
def test_a_time_that_no_calendar_has_is_no_crash(seconds: float):
    assert timestamp(seconds) == "1970-01-01T00:00:00.000Z"


def test_a_time_is_rounded_to_the_millisecond_it_was_recorded_with():
    assert timestamp(1_735_732_800.123) == "2025-01-01T12:00:00.123Z"
    assert timestamp(1_735_732_800.9999) == "2025-01-01T12:00:01.000Z"
