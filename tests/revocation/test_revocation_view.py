"""The replica against a plain dict, and the rules it keeps."""

from hashlib import blake2b
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.revocation.entry import PERMANENT, Entry, Kind, everybody_key, fact_key
from gateway.revocation.state import Event, State
from gateway.revocation.table import NEVER, Table, expiry_minutes
from gateway.revocation.view import NUMBERS, Fact, View

LATER = 1_900_000_000


def key(number: int) -> bytes:
    return blake2b(number.to_bytes(4, "big"), digest_size=16).digest()


def entry(sequence: int, number: int, value: int, *, lift: bool = False, expires: int = LATER) -> Entry:
    kind = Kind.LIFT if lift else Kind.USER
    return Entry(sequence, "id", "before", kind, key(number), value, expires, "r", Kind.USER if lift else None)


# A history as the store's script makes it: what each entry says, and what every key's state is after it.
steps = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50), st.booleans()), max_size=40)


def history(changes: list[tuple[int, int, bool]]) -> tuple[list[Entry], list[dict[int, Fact]]]:
    entries, states = [], [dict[int, Fact]()]
    for sequence, (number, value, is_lift) in enumerate(changes, start=1):
        before = states[-1].get(number, Fact(key(number), 0, 0, 0))
        if is_lift:
            remains = before.value // 2
            entries.append(entry(sequence, number, remains, lift=True))
            state = Fact(key(number), remains, LATER, sequence, sequence)
        else:
            entries.append(entry(sequence, number, value))
            state = Fact(key(number), max(before.value, value), LATER, sequence, before.lifted)
        states.append({**states[-1], number: state})
    return entries, states


def read(view: View) -> dict[int, int]:
    return {number: view.find(key(number)) for number in range(6)}


def expected(state: dict[int, Fact]) -> dict[int, int]:
    return {number: state[number].value if number in state else 0 for number in range(6)}


@given(steps)
def test_L4_the_view_says_what_the_log_says(changes: list[tuple[int, int, bool]]) -> None:
    entries, states = history(changes)
    view = View(segment_bits=1)
    for applied, state in zip(entries, states[1:], strict=True):
        view.apply(applied)
        assert read(view) == expected(state)


@given(steps, st.data())
def test_L4_a_snapshot_read_while_the_log_goes_on_then_the_tail_ends_the_same(
    changes: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    entries, states = history(changes)
    known = data.draw(st.integers(0, len(entries)))
    noted = data.draw(st.integers(0, len(entries)))
    view = View(segment_bits=1)
    for applied in entries[:known]:
        view.apply(applied)
    for number in data.draw(st.permutations(range(6))):
        page = states[data.draw(st.integers(noted, len(entries)))]
        if number in page:
            view.merge([page[number]])
            view.merge([page[number]])
    for applied in entries[noted:]:
        view.apply(applied)
    assert read(view) == expected(states[-1])


@given(steps, st.data())
def test_L4_replays_change_nothing(changes: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    entries, states = history(changes)
    view = View(segment_bits=1)
    for applied in entries:
        view.apply(applied)
    revision = view.revision
    if entries:
        for replayed in data.draw(st.lists(st.sampled_from(entries))):
            assert not view.apply(replayed)
    assert read(view) == expected(states[-1])
    assert view.revision == revision


operations = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 2**39 - 1), st.integers(0, 2000)), max_size=300)


@given(operations, st.integers(0, 3))
@settings(max_examples=50)
def test_the_table_is_a_dict(changes: list[tuple[int, int, int]], bits: int) -> None:
    table, model = Table(bits), dict[bytes, tuple[int, int]]()
    for sequence, (number, value, minute) in enumerate(changes, start=1):
        old_value, old_minute = model.get(key(number), (0, 0))
        table.join(key(number), value, minute, sequence, 0, 1, 0)
        model[key(number)] = max(value, old_value), max(minute, old_minute)
    for minute in (0, 500, 1500, NEVER):
        for segment in range(table.segments):
            table.keep(segment, lambda row, minute=minute: row.expires >= minute)  # type: ignore[misc]
        model = {name: fact for name, fact in model.items() if fact[1] >= minute}
        assert table.count == len(model)
        assert all(table.find(key(number)) == model.get(key(number), (0, 0))[0] for number in range(301))


def test_L4_a_reload_merges_and_never_replaces() -> None:
    view = View()
    view.apply(entry(1, 1, 100))
    view.merge([Fact(key(2), 50, LATER, 2)])
    assert view.find(key(1)) == 100


def test_L4_a_lift_wins_by_sequence_and_an_older_report_does_not_revive() -> None:
    view = View()
    view.merge([Fact(key(1), 0, LATER, 6, 6)])
    view.apply(entry(5, 1, 100))
    assert view.find(key(1)) == 0


def test_L4_facts_of_an_ended_epoch_stay_and_no_lift_of_another_epoch_touches_them() -> None:
    view = View()
    view.adopt("7", 0.0)
    view.apply(entry(40, 1, 100))
    view.adopt("8", 1000.0)
    view.apply(entry(2, 1, 90))
    view.apply(entry(3, 1, 0, lift=True))
    assert view.find(key(1)) == 100
    assert view.complete_since == 1000.0


def test_L4_facts_of_an_ended_epoch_are_let_go_when_the_present_one_has_them() -> None:
    view = View()
    view.adopt("7", 0.0)
    view.apply(entry(40, 1, 100))
    view.adopt("8", 0.0)
    view.merge(fact._replace(sequence=9) for facts in view.held() for fact in facts)
    view.let_go()
    assert view.find(key(1)) == 100
    view.apply(entry(10, 1, 0, lift=True))
    assert view.find(key(1)) == 0


@given(steps)
def test_L5_what_is_held_is_enough_to_say_it_all_again(changes: list[tuple[int, int, bool]]) -> None:
    """Key, kind, value and expiry come back from the table as they went in; what was lifted is not held."""
    view, again = View(segment_bits=1), View(segment_bits=1)
    for applied in history(changes)[0]:
        view.apply(applied)
    for facts in view.held():
        again.merge(facts)
        assert all(fact.kind == NUMBERS[Kind.USER] and 0 <= fact.expires_at - LATER < 60 for fact in facts)
    assert read(again) == read(view)


def test_L5_what_was_folded_is_not_held_and_says_so() -> None:
    view = View(max_entries=10, fold_margin_s=5, segment_bits=0)
    view.merge([Fact(key(number), 1000 + number, LATER, number, 0, 0, everybody_key("i")) for number in range(1, 12)])
    held = {fact.key for facts in view.held() for fact in facts}
    folded = [number for number in range(1, 12) if key(number) not in held]
    assert folded and view.folded_until == 1000 + max(folded) + 5
    assert view.find(everybody_key("i")) == view.folded_until
    assert everybody_key("i") not in held


def test_L6_facts_leave_by_expiry_and_not_before() -> None:
    view = View(segment_bits=2)
    view.merge([Fact(key(number), 1, LATER + 60 * number, number + 1) for number in range(100)])
    view.merge([Fact(key(1000), 1, PERMANENT, 200)])
    view.purge(LATER + 60 * 50, budget=4)
    assert all(view.find(key(number)) for number in range(50, 100))
    assert not any(view.find(key(number)) for number in range(49))
    view.purge(LATER * 10, budget=4)
    assert view.find(key(1000))
    assert len(view) == 1


def test_L6_an_expiry_is_rounded_up_to_the_minute() -> None:
    assert expiry_minutes(LATER + 1) * 60 + 1_577_836_800 >= LATER + 1
    assert expiry_minutes(PERMANENT) == NEVER
    assert expiry_minutes(1e300) == NEVER
    assert expiry_minutes(-5) == 0


def test_L9_beyond_the_bound_tokens_fold_into_not_befores_and_nothing_is_forgotten() -> None:
    view = View(max_entries=1000, fold_margin_s=10, segment_bits=4)
    users = [fact_key(Kind.USER, "i", f"user{number}") for number in range(50)]
    everybody = everybody_key("i")
    random = Random(1)
    revoked = []
    for sequence in range(1, 5001):
        target = random.choice([*users, everybody])
        at = 1_700_000_000 + sequence
        revoked.append((key(sequence), target, at))
        view.merge([Fact(key(sequence), at, LATER, sequence, 0, 0, target)])
    assert len(view) <= 1000
    for token, target, at in revoked:
        assert view.find(token) == at or view.find(target) >= at + 10
    assert not view.is_over_full


def test_L9_older_facts_fold_first() -> None:
    view = View(max_entries=1000, segment_bits=2)
    for sequence in range(1, 1200):
        view.merge([Fact(key(sequence), sequence, LATER, sequence, 0, 0, everybody_key("i"))])
    kept = [sequence for sequence in range(1, 1200) if view.find(key(sequence))]
    folded = [sequence for sequence in range(1, 1200) if not view.find(key(sequence))]
    assert sum(folded) / len(folded) < sum(kept) / len(kept) / 1.5
    assert view.find(key(1199))


def test_L9_a_lift_cannot_free_what_was_folded() -> None:
    view = View(max_entries=10, segment_bits=0)
    user = fact_key(Kind.USER, "i", "u")
    view.merge([Fact(key(number), 1000 + number, LATER, number, 0, 0, user) for number in range(1, 12)])
    folded = view.find(user)
    assert folded
    view.apply(Entry(50, "id", "b", Kind.USER, user, 5000, LATER, "r"))
    view.apply(Entry(51, "id", "b", Kind.LIFT, user, 0, LATER, "r", Kind.USER))
    assert view.find(user) == folded


def test_L9_what_cannot_fold_is_kept_above_the_bound() -> None:
    view = View(max_entries=10, segment_bits=1)
    view.merge([Fact(key(number), 1, LATER, number + 1) for number in range(100)])
    assert len(view) == 100
    assert view.is_over_full


def test_L3_the_age_of_a_proof_is_computed_when_it_is_asked() -> None:
    view = View()
    assert not view.is_fresh(0.0, 2.0)
    view.meet(Event.DECLARED)
    view.meet(Event.GRANTED)
    view.proven_at = 100.0
    assert view.is_fresh(102.0, 2.0)
    assert not view.is_fresh(102.1, 2.0)
    view.meet(Event.BROKEN)
    assert not view.is_fresh(100.0, 2.0)
    assert view.was_live
    assert view.state is State.LOST
