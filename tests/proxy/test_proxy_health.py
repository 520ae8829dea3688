"""The states of an address, as a table: closed, open and half-open of its connects, and ejection for its answers."""

from math import inf

import pytest

from gateway.config.schema import Ejection
from gateway.proxy.health import LONGEST_BREAK_S, NEXT, Event, Health, State


def health(failures: int = 3, longest: str = "1m") -> Health:
    return Health(Ejection.model_validate({"failures": failures, "longest": longest}), chance=lambda: 0.0)


def downed(failures: int = 1) -> Health:
    found = health(failures)
    assert found.connect_failed(0.0)
    return found


def test_every_state_is_in_the_table_and_leads_to_one_that_is():
    assert set(NEXT) == set(State)
    assert {state for following in NEXT.values() for state in following.values()} == set(State)


def test_a_pair_that_is_not_in_the_table_names_both():
    with pytest.raises(AssertionError, match=r"probed.*up"):
        health()._meet(Event.PROBED)


def test_only_failures_in_a_row_break_the_circuit():
    found = health(3)
    for _ in range(5):
        assert not found.connect_failed(0.0)
        assert not found.connect_failed(0.0)
        found.connected(0.0)
    assert found.state is State.UP
    assert [found.connect_failed(0.0) for _ in range(3)] == [False, False, True]
    assert not found.is_reachable


def test_one_probe_at_a_time_and_each_failure_waits_twice_as_long_within_a_bound():
    found, now, waits = downed(), 0.0, []
    for _ in range(8):
        began = now
        while not found.wants_probe(now):
            now += 0.125
        assert not found.wants_probe(now + 60.0), "one is under way"
        waits.append(now - began)
        found.connect_failed(now)
    assert waits == [0.5, 1.0, 2.0, 4.0, *[LONGEST_BREAK_S] * 4]


def test_attempts_of_before_say_nothing_new_and_a_late_connection_is_good_news():
    found = downed()
    assert not found.connect_failed(0.1)
    assert found.connected(0.2)
    assert found.state is State.UP


def test_an_answer_forgets_what_was_before_it():
    found = downed()
    assert found.wants_probe(1.0)
    found.connected(1.0)
    assert found.is_troubled
    found.answered()
    assert not found.is_troubled
    found.connect_failed(2.0)
    assert found.wants_probe(2.5), "as short as the first time"


def test_bad_answers_eject_for_a_time_that_doubles_and_one_more_is_enough_afterwards():
    found = health(3)
    assert [found.answer_failed(0.0, may_eject=True) for _ in range(3)] == [False, False, True]
    assert (found.state, found.is_reachable) == (State.EJECTED, True)
    assert not found.tick(0.9)
    assert found.tick(1.0)
    assert found.answer_failed(1.0, may_eject=True)
    assert not found.tick(2.9)
    assert found.tick(3.0)
    assert found.state is State.UP


def test_when_too_few_are_left_nobody_is_ejected():
    found = health(1)
    assert not found.answer_failed(0.0, may_eject=False)
    assert found.state is State.UP


def test_a_failed_check_holds_until_one_passes():
    found = health(1)
    assert not found.checked(is_well=False), "once may be a mishap"
    assert found.checked(is_well=False)
    assert not found.tick(1e9)
    found.connect_failed(0.0)
    assert found.wants_probe(inf)
    found.connected(1.0)
    assert found.state is State.EJECTED, "that it can be connected to makes it no better"
    assert found.checked(is_well=True)
    assert found.state is State.UP


def test_workers_do_not_come_back_in_step():
    early, late = (Health(Ejection(failures=1), chance=lambda chance=chance: chance) for chance in (1.0, 0.0))
    for found in (early, late):
        found.connect_failed(0.0)
    assert early.wants_probe(0.25)
    assert not late.wants_probe(0.25)
