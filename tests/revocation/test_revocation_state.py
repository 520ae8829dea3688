"""The table of a replica's states."""

from itertools import product

import pytest

from gateway.revocation.state import TRANSITIONS, Event, State, next_state

MISSING = [(state, event) for state, event in product(State, Event) if event not in TRANSITIONS[state]]


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "event"), MISSING)
def test_a_pair_that_is_not_in_the_table_raises_with_both_names(state: State, event: Event) -> None:
    with pytest.raises(ValueError, match=f"{state}.*{event}"):
        next_state(state, event)


def test_L2_every_state_may_find_the_store_lost() -> None:
    assert all(next_state(state, Event.BROKEN) is State.LOST for state in State)


def test_L5_only_catching_up_leads_to_live_and_lost_never_does_at_once() -> None:
    to_live = {state for state, events in TRANSITIONS.items() if State.LIVE in events.values()}
    assert to_live == {State.CATCHING_UP, State.LIVE}
