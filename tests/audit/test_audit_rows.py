"""Repetitions are counted per minute [B1]."""

import pytest
from auditing import ALICE, NETWORK, NOON

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.rows import MOST_MINUTES, Rows

REASON = "expired-token"


def add(rows: Rows, now: float = NOON, **changes: str) -> bool:
    fields = {
        "action": "refusal",
        "reason": REASON,
        "user": "",
        "session": "",
        "network": NETWORK,
        "route": "app",
        "outcome": "denied",
    }
    return rows.add(now, **(fields | changes))


def taken(rows: Rows) -> list[Event]:
    rows.close_minute(0, early=True)
    return rows.take(10_000)


def test_B1_the_first_is_told_at_once_and_the_others_are_counted():
    rows = Rows()
    assert [add(rows, NOON + second) for second in range(50)] == [True] + [False] * 49
    (event,) = taken(rows)
    assert event == Event(NOON + 49, Action.REFUSAL, Outcome.DENIED, REASON, network=NETWORK, route="app", count=49, since=NOON)


def test_B1_what_happened_once_is_told_once():
    rows = Rows()
    add(rows)
    assert taken(rows) == []


def test_B1_nobody_known_is_counted_by_network_and_reason():
    rows = Rows()
    assert add(rows)
    assert add(rows, network="198.51.100.0/24")
    assert add(rows, reason="no-token")
    assert not add(rows, session="made up")
    assert not add(rows, route="other")


def test_B1_a_user_is_counted_by_session_and_reason_wherever_he_is():
    rows = Rows()
    assert add(rows, user=ALICE, session="s1")
    assert not add(rows, user=ALICE, session="s1", network="198.51.100.0/24")
    assert add(rows, user=ALICE, session="s2")
    assert add(rows, user="bob", session="s1")


def test_B1_network_and_route_are_told_if_they_were_the_same_for_all():
    rows = Rows()
    add(rows, user=ALICE, session="s1")
    add(rows, user=ALICE, session="s1", network="198.51.100.0/24")
    add(rows, user="bob", session="s1")
    add(rows, user="bob", session="s1", route="other")
    found = {event.user: (event.network, event.route) for event in taken(rows)}
    assert found == {ALICE: ("", "app"), "bob": (NETWORK, "")}


@pytest.mark.parametrize("second, is_first", [(59.9, False), (60.0, True), (3600.0, True)])
def test_B1_a_new_minute_begins_anew(second: float, is_first: bool):
    rows = Rows()
    add(rows)
    assert add(rows, NOON + second) is is_first


def test_B1_strangers_have_a_bound_and_overflow_into_a_row_without_network():
    rows = Rows(most_strangers=3)
    firsts = sum(add(rows, network=f"10.0.{number}.0/24") for number in range(100))
    assert firsts == 4
    assert len(rows) == 4
    events = taken(rows)
    assert [(event.network, event.route, event.count) for event in events] == [("", "", 96)]


def test_B1_the_bounds_are_those_of_one_minute():
    rows = Rows(most=2, most_strangers=2)
    for minute in range(3):
        for number in range(5):
            add(rows, NOON + 60 * minute, network=f"10.0.{number}.0/24")
            add(rows, NOON + 60 * minute, user=f"user{number}", session="s")
        assert len(rows) == 2 + 2 + 1
        assert not add(rows, NOON + 60 * minute, user="user1", session="s")


def test_B1_users_have_a_bound_too():
    rows = Rows(most=3)
    firsts = sum(add(rows, user=f"user{number}", session="s") for number in range(100))
    assert firsts == 4
    assert [(event.user, event.session, event.network, event.count) for event in taken(rows)] == [("", "", "", 96)]


def test_B1_strangers_do_not_crowd_out_users():
    rows = Rows(most=2, most_strangers=2)
    for number in range(100):
        add(rows, network=f"10.0.{number}.0/24")
    add(rows, user=ALICE, session="s")
    assert not add(rows, user=ALICE, session="s")
    assert (ALICE, 1) in [(event.user, event.count) for event in taken(rows)]


def test_B1_reasons_that_nobody_thought_of_do_not_grow_the_table():
    rows = Rows(most_strangers=0)
    for number in range(10_000):
        add(rows, reason=f"reason-{number}")
    assert len(rows) < 100
    assert sum(event.count for event in taken(rows)) + len(rows) > 9_000


def test_B1_nothing_is_counted_twice_or_not_at_all():
    rows = Rows(most=5, most_strangers=5)
    told = 0
    for number in range(3000):
        user = f"u{number % 9}" if number % 2 else ""
        told += add(rows, NOON + number / 20, user=user, session="s", network=f"10.0.{number % 23}.0/24")
        if number % 500 == 0:
            told += sum(event.count for event in rows.take(1000))
    told += sum(event.count for event in taken(rows))
    assert told + rows.dropped == 3000


def test_B1_minutes_that_nobody_takes_are_bounded_and_counted():
    rows = Rows()
    for minute in range(MOST_MINUTES + 5):
        for _ in range(10):
            add(rows, NOON + 60 * minute)
    rows.close_minute(0, early=True)
    assert rows.dropped == 5 * 9
    assert sum(event.count for event in rows.take(1000)) == MOST_MINUTES * 9


def test_B1_a_minute_is_taken_in_portions():
    rows = Rows()
    for number in range(100):
        add(rows, network=f"10.0.{number}.0/24")
        add(rows, network=f"10.0.{number}.0/24")
    rows.close_minute(NOON + 60)
    assert [len(rows.take(40)) for _ in range(4)] == [40, 40, 20, 0]
    assert not rows.is_waiting


def test_what_is_dropped_is_told():
    rows = Rows()
    for _ in range(5):
        add(rows)
    rows.close_minute(NOON + 60)
    for _ in range(3):
        add(rows, NOON + 61)
    assert rows.drop() == 4 + 2
    assert (len(rows), rows.is_waiting, taken(rows)) == (0, False, [])
