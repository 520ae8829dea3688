"""Who waits, who is next, who is put off: without a clock, a network, or luck."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhook.line import MOST_NAMED, MOST_OF_STRANGERS, Line, Pauses, Waiting

MIDDLE = 0.5  # of the spread of a pause: neither more nor less


def line(*numbers: int, pauses: Pauses | None = None) -> Line:
    made = Line(pauses, chance=lambda: MIDDLE)
    for number in numbers:
        assert made.join(f"{number}-0", is_stranger=False)
    return made


def due(line: Line, now: float = 0.0) -> Waiting:
    one = line.next(now)
    assert one is not None
    return one


def failing(line: Line, times: int, *, is_away: bool, now: float = 0.0) -> Iterable[float]:
    """After each failure, how long it is until somebody may be tried."""
    for _ in range(times):
        line.fail(due(line, now), now, is_away=is_away)
        wait_s = line.wait_s(now)
        assert wait_s is not None
        yield wait_s
        now += wait_s


def test_the_oldest_is_next_whatever_the_order_in_which_they_came() -> None:
    made = line(20, 3, 100)
    made.join("3-10", is_stranger=True)
    order = []
    while (one := made.next(0.0)) is not None:
        order.append(one.id)
        made.settle(one, is_delivered=True)
    assert order == ["3-0", "3-10", "20-0", "100-0"]


def test_nobody_waits_for_nobody() -> None:
    assert (line().next(0.0), line().wait_s(0.0), len(line())) == (None, None, 0)
    assert line(1).wait_s(0.0) == 0.0


def test_a_receiver_that_is_away_is_asked_less_and_less_often_and_once_for_all() -> None:
    made = line(1, 2, 3)
    assert list(failing(made, 8, is_away=True)) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_when_it_is_back_everybody_is_due() -> None:
    made = line(1, 2, 3)
    waits = list(failing(made, 5, is_away=True))
    made.settle(due(made, sum(waits)), is_delivered=True)
    assert made.wait_s(sum(waits)) == 0.0
    made.fail(due(made, sum(waits)), sum(waits), is_away=True)
    assert made.wait_s(sum(waits)) == 1.0, "the pauses begin anew"


def test_one_that_is_refused_waits_alone() -> None:
    made = line(1, 2)
    made.fail(due(made), 0.0, is_away=False)
    assert due(made).id == "2-0"
    made.settle(due(made), is_delivered=True)
    assert made.next(4.9) is None
    assert due(made, 5.0).id == "1-0"


def test_one_that_is_refused_again_and_again_waits_longer_and_longer() -> None:
    made = line(1)
    waits = []
    now = 0.0
    for number in range(7):
        made.fail(due(made, now), now, is_away=False)
        waits.append(made.wait_s(now))
        now += waits[-1] or 0.0
        made.join(f"{number + 2}-0", is_stranger=False)
        made.settle(due(made, now), is_delivered=True)  # others are taken meanwhile
    assert waits == [5, 20, 80, 320, 1280, 3600, 3600]


def test_one_at_which_the_receiver_chokes_does_not_stand_in_front() -> None:
    made = line(1, 2)
    made.fail(due(made), 0.0, is_away=True)
    assert due(made, 1.0).id == "2-0"


def test_a_receiver_that_refuses_everything_is_not_asked_for_each_that_waits() -> None:
    made = line(*range(1, 101))
    tried = 0
    while made.next(0.0) is not None:
        made.fail(due(made), 0.0, is_away=False)
        tried += 1
    assert tried == 3
    assert made.wait_s(0.0) == 1.0


@pytest.mark.parametrize(("asked_s", "wait_s"), [(0, 1), (7, 7), (120, 120), (10**9, 3600)])
def test_a_pause_that_is_asked_for_is_kept_within_reason(asked_s: float, wait_s: float) -> None:
    made = line(1)
    made.fail(due(made), 0.0, is_away=True, asked_s=asked_s)
    assert made.wait_s(0.0) == wait_s


def test_a_pause_that_is_asked_for_by_the_way_is_of_that_message() -> None:
    made = line(1, 2)
    made.fail(due(made), 0.0, is_away=False, asked_s=50)
    assert made.wait_s(0.0) == 0.0
    made.settle(due(made), is_delivered=True)
    assert made.wait_s(0.0) == 50


@given(chance=st.floats(0, 1, exclude_max=True), failures=st.integers(1, 2000))
def test_pauses_differ_by_a_quarter_and_never_overflow(chance: float, failures: int) -> None:
    made = Line(chance=lambda: chance)
    made.join("1-0", is_stranger=False)
    now = 0.0
    for _ in range(min(failures, 50)):
        made.fail(due(made, now), now, is_away=True)
        now += made.wait_s(now) or 0.0
    made._failures = failures
    made.fail(due(made, now), now, is_away=True)
    assert 0.75 <= (made.wait_s(now) or 0.0) <= 75.0 + 1e-6


def test_B1_a_flood_of_strangers_displaces_only_strangers() -> None:
    made = line()
    joined = [made.join(f"{number}-0", is_stranger=True) for number in range(MOST_OF_STRANGERS + 100)]
    assert joined == [True] * MOST_OF_STRANGERS + [False] * 100
    assert made.has_room
    for number in range(MOST_NAMED):
        assert made.join(f"{number}-1", is_stranger=False)
    assert not made.has_room
    assert len(made) == MOST_NAMED + MOST_OF_STRANGERS


def test_who_joins_twice_waits_once() -> None:
    made = line(1, 1)
    assert made.named == ("1-0",)


def test_every_change_of_who_waits_shows() -> None:
    made = line(1)
    before = made.revision
    made.join("2-0", is_stranger=True)
    assert (made.revision, made.strangers) == (before + 1, ("2-0",))
    made.settle(due(made), is_delivered=True)
    assert (made.revision, made.named) == (before + 2, ())
