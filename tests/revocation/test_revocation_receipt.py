"""Who enforces a revocation and who is provably stopped."""

import pytest

from gateway.revocation.receipt import Member, Receipt, Tally


def member(name: str, state: str = "live", position: int = 10, epoch: str = "7", staleness: float = 2.0) -> Member:
    return Member(name, state, epoch, position, staleness, 1, 0.0)


def tally(*members: Member) -> Tally:
    return Tally(members, "7", 11, since=100.0)


def test_W1_live_and_draining_members_count_and_joining_ones_do_not() -> None:
    assert tally(member("a"), member("b", "draining"), member("c", "joining")).workers == 2


@pytest.mark.parametrize(("incarnation", "epoch", "position"), [("b", "7", 11), ("a", "8", 11), ("a", "7", 10)])
def test_W1_a_position_counts_only_with_its_incarnation_and_epoch_and_behind_the_entry(
    incarnation: str, epoch: str, position: int
) -> None:
    waiting = tally(member("a"))
    waiting.hear(incarnation, epoch, position)
    assert waiting.enforced() == 0
    waiting.hear("a", "7", 11)
    assert waiting.enforced() == 1


def test_W1_a_member_that_had_the_entry_already_is_counted_at_once() -> None:
    assert tally(member("a", position=11)).is_complete(100.0)


def test_W2_a_silent_member_is_fenced_after_one_and_a_quarter_of_its_own_staleness_and_not_before() -> None:
    waiting = tally(member("a", staleness=2.0), member("b", staleness=4.0))
    assert waiting.fenced(102.5) == 0
    assert waiting.next_fence(102.0) == pytest.approx(0.5)
    assert waiting.fenced(102.51) == 1
    assert not waiting.is_complete(105.0)
    assert waiting.is_complete(105.01)


def test_W2_a_member_that_leaves_is_provably_stopped() -> None:
    waiting = tally(member("a"), member("b"))
    waiting.hear("a", "7", 11)
    waiting.hear_left("b")
    assert (waiting.enforced(), waiting.fenced(100.0), waiting.is_complete(100.0)) == (1, 1, True)


def test_W2_who_enforces_and_then_leaves_counts_once() -> None:
    waiting = tally(member("a"))
    waiting.hear("a", "7", 11)
    waiting.hear_left("a")
    assert (waiting.enforced(), waiting.fenced(200.0)) == (1, 0)


def test_W2_the_register_tells_what_messages_did_not() -> None:
    waiting = tally(member("a"), member("b"), member("c"))
    waiting.hear_register([member("a", position=11), member("c", position=10)], "7", 11)
    assert (waiting.enforced(), waiting.fenced(100.0)) == (1, 1)


@pytest.mark.parametrize(("epoch", "head"), [("", 0), ("8", 20), ("7", 10)])
def test_W2_an_emptied_or_rolled_back_register_does_not_stop_anybody(epoch: str, head: int) -> None:
    waiting = tally(member("a"))
    waiting.hear_register([], epoch, head)
    assert waiting.fenced(100.0) == 0


def test_W3_nobody_to_wait_for_is_complete() -> None:
    assert tally().is_complete(100.0)


def test_W3_a_receipt_has_exactly_these_fields_and_names_routes_that_no_fence_stops() -> None:
    fields = {"id", "enforced_by", "fenced", "workers", "complete", "durable", "took_ms"}
    assert set(Receipt("a", 1, 0, 1, True, True, 1.0).as_json()) == fields
    fenced = Receipt("a", 1, 1, 2, True, True, 1.0, ("news",)).as_json()
    assert fenced["not_fenced_routes"] == ["news"]
