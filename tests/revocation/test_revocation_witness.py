"""The witness file's bytes: what was written is read, torn and damaged are told apart, a stranger's file says nothing [L5]."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.revocation import witness
from gateway.revocation.continuity import Position
from gateway.revocation.view import Fact
from gateway.revocation.witness import (
    FRAME_BYTES,
    Head,
    Proof,
    pack_fact,
    pack_head,
    pack_members,
    pack_position,
    pack_proof,
    read_head,
    read_proof,
    read_testimony,
)

KEY, OTHER_KEY = b"ours", b"theirs"
HEAD = Head("log", "123456", "address", "0123456789abcdef")
PROOF = Proof(1000.5, 7, 8, 9, is_whole=True)
WHOLE = 2**40 - 1

facts = st.builds(
    Fact,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**39 - 1),
    st.integers(0, 2**40 - 1),
    st.integers(0, 2**50),
    st.just(0),
    st.integers(1, 9),
)
batches = st.lists(st.lists(facts, max_size=6), min_size=1, max_size=6)


def position(number: int) -> Position:
    return Position(HEAD.epoch, number, f"id-{number}")


def frames_of(written: list[list[Fact]]) -> bytes:
    """A file as it grows: begun with its position twice, then batch by batch."""
    begun = pack_position(position(0)) * 2
    return begun + b"".join(
        b"".join(map(pack_fact, batch)) + pack_position(position(number)) for number, batch in enumerate(written, start=1)
    )


def read(frames: bytes, proof: Proof = PROOF) -> witness.Testimony:
    testimony = read_testimony(HEAD, proof, frames)
    assert testimony is not None
    return testimony


def keys_of(testimony: witness.Testimony) -> list[tuple[bytes, int]]:
    return [(fact.key, fact.value) for fact in testimony.facts]


def told(written: list[list[Fact]]) -> list[tuple[bytes, int]]:
    return [(fact.key, fact.value) for batch in written for fact in batch]


@given(batches)
def test_L5_what_was_written_is_read(written: list[list[Fact]]) -> None:
    testimony = read(frames_of(written))
    assert testimony.is_whole
    assert testimony.position == position(len(written))
    assert keys_of(testimony) == told(written)
    assert [(fact.expires_at, fact.sequence, fact.kind) for fact in testimony.facts] == [
        (fact.expires_at, fact.sequence, fact.kind) for batch in written for fact in batch
    ]


@given(batches, st.data())
def test_L5_a_torn_tail_is_dropped_and_what_was_acknowledged_before_it_is_whole(
    written: list[list[Fact]], data: st.DataObject
) -> None:
    """Power was lost while the last batch was written: any byte of it may be anything, and it may end anywhere."""
    frames = frames_of(written)
    kept = len(frames_of(written[:-1]))
    tail = bytearray(frames[kept:])
    for at in data.draw(st.lists(st.integers(0, len(tail) - 1), max_size=8)):
        tail[at] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.just(len(tail)) | st.integers(0, len(tail)))
    testimony = read(frames[:kept] + tail[:end])
    assert testimony.is_whole
    assert testimony.position.sequence >= len(written) - 1
    assert keys_of(testimony)[: len(told(written[:-1]))] == told(written[:-1])
    if testimony.position.sequence == len(written):
        assert keys_of(testimony) == told(written)


@given(batches, st.data())
def test_L5_damage_is_left_out_alone_and_a_file_that_lacks_something_vouches_for_nothing(
    written: list[list[Fact]], data: st.DataObject
) -> None:
    frames = bytearray(frames_of(written))
    spoilt = data.draw(st.sets(st.integers(0, len(frames) // FRAME_BYTES - 1), min_size=1, max_size=3))
    for number in spoilt:
        frames[number * FRAME_BYTES + data.draw(st.integers(0, FRAME_BYTES - 1))] ^= data.draw(st.integers(1, 255))
    testimony = read_testimony(HEAD, PROOF, bytes(frames))
    if testimony is None:
        assert {0, 1} <= spoilt
        return
    good = [frame for number, frame in enumerate(_frames(bytes(frames))) if number not in spoilt]
    assert keys_of(testimony) == keys_of(read(b"".join(good) + pack_position(position(0)))), "each frame is judged by itself"
    if testimony.is_whole:
        acknowledged = told(written[: testimony.position.sequence])
        assert keys_of(testimony)[: len(acknowledged)] == acknowledged, "nothing before the position is missing"


def _frames(raw: bytes) -> list[bytes]:
    return [raw[at : at + FRAME_BYTES] for at in range(0, len(raw), FRAME_BYTES)]


def test_L5_a_hole_of_zeros_is_damage() -> None:
    written = [[Fact(bytes([n]) * 16, 1, WHOLE, n, 0, 1)] for n in range(1, 4)]
    frames = bytearray(frames_of(written))
    frames[2 * FRAME_BYTES : 3 * FRAME_BYTES] = bytes(FRAME_BYTES)
    testimony = read(bytes(frames))
    assert (testimony.damaged, testimony.is_whole) == (1, False)
    assert keys_of(testimony) == told(written[1:])


def test_L5_the_members_of_other_hosts_are_the_last_that_were_named() -> None:
    frames = pack_members([("a", 2000), ("b", 1000)]) + pack_position(position(1))
    frames += pack_members([("c" * 32, 3000)]) + pack_position(position(2))
    assert read(frames).members == (("c" * 32, 3000),)


def test_L5_a_head_is_believed_only_with_a_mark_by_one_of_our_keys() -> None:
    raw = pack_head(HEAD, KEY) + pack_proof(PROOF)
    assert read_head(raw, [OTHER_KEY, KEY]) == HEAD
    assert read_head(raw, [OTHER_KEY]) is None
    assert read_head(raw.replace(b'"123456"', b'"123457"'), [KEY]) is None


@given(st.binary(max_size=600))
def test_L5_whatever_a_file_holds_it_is_read_or_left_out(raw: bytes) -> None:
    assert read_head(raw, [KEY]) is None
    assert not read_proof(raw[464:512]).is_whole
    read_testimony(HEAD, PROOF, raw)


@given(st.integers(0, FRAME_BYTES - 1), st.integers(1, 255))
def test_L5_a_damaged_proof_proves_nothing(at: int, flip: int) -> None:
    raw = bytearray(pack_proof(PROOF))
    assert read_proof(bytes(raw)) == PROOF
    raw[at] ^= flip
    assert read_proof(bytes(raw)) == Proof()
