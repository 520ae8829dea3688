"""What the workers of one host tell each other about their witness file: places on a disk, read back, torn, shared and stale."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.revocation.continuity import Position
from gateway.revocation.witness_lock import RUNS, SEATS, Reached, WitnessLock, lacks

RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
positions = st.builds(Position, st.integers(1, 2**63).map(str), st.integers(0, 2**63), st.just("id"))


def at(sequence: int, epoch: int = 7) -> Position:
    return Position(str(epoch), sequence, "id")


def test_one_has_the_lock_and_it_is_free_when_he_is_gone(tmp_path: Path) -> None:
    one, two = WitnessLock(tmp_path, RUN, 0), WitnessLock(tmp_path, OTHER, 0)
    assert (one.take(), two.take()) == (True, False)
    assert (one.take(), two.holder()) == (True, RUN)
    one.close()
    assert two.take()
    assert one.holder() == OTHER


def test_what_is_published_is_read_by_others_and_half_of_it_by_nobody(tmp_path: Path) -> None:
    one, two = WitnessLock(tmp_path, RUN, 0), WitnessLock(tmp_path, RUN, 1)
    assert two.published() is None
    one.take()
    one.publish(Reached.of("log", at(5)))
    published = two.published()
    assert published is not None
    assert [published.covers(Reached.of("log", at(sequence))) for sequence in (4, 5, 6)] == [True, True, False]
    assert not published.covers(Reached.of("log", at(5, epoch=6))), "of another epoch nobody knows"
    assert not published.covers(Reached.of("another log", at(5)))
    file = tmp_path / "witness.lock"
    raw = bytearray(file.read_bytes())
    raw[30] ^= 1
    file.write_bytes(raw)
    assert two.published() is None


@given(mark=positions, end=positions)
def test_a_file_that_ends_before_a_mark_lacks_something(
    tmp_path_factory: pytest.TempPathFactory, mark: Position, end: Position
) -> None:
    folder = tmp_path_factory.mktemp("host")
    assert not lacks(folder, "log", end), "nobody has marked anything"
    lock = WitnessLock(folder, RUN, 3)
    lock.mark(Reached.of("log", mark))
    assert lacks(folder, "log", end) == ((int(mark.epoch), mark.sequence) > (int(end.epoch), end.sequence))
    assert not lacks(folder, "another log", end)
    lock.close()


def test_every_seat_has_a_place_and_a_worker_that_is_behind_takes_nobody_s_mark_away(tmp_path: Path) -> None:
    locks = [WitnessLock(tmp_path, run, seat) for run in (RUN, OTHER) for seat in range(SEATS)]
    for lock in locks:
        lock.mark(Reached.of("log", at(1)))
    locks[SEATS // 2].mark(Reached.of("log", at(9)))
    for lock in reversed(locks[SEATS:]):
        lock.mark(Reached.of("log", at(2)))
    assert lacks(tmp_path, "log", at(8))
    assert not lacks(tmp_path, "log", at(9))
    for lock in locks:
        lock.close()


def test_a_mark_that_cannot_be_read_may_have_been_any(tmp_path: Path) -> None:
    lock = WitnessLock(tmp_path, RUN, 0)
    lock.mark(Reached.of("log", at(1)))
    file = tmp_path / "witness.behind"
    raw = bytearray(file.read_bytes())
    assert len(raw) == SEATS * RUNS * 32
    raw[next(place for place, byte in enumerate(raw) if byte)] ^= 1
    file.write_bytes(raw)
    assert lacks(tmp_path, "log", at(100))
    lock.close()
