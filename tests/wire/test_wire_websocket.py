"""Where a WebSocket frame ends, against the frames that the `websockets` package writes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key, generate_key

from gateway.wire.websocket import GOING_AWAY, POLICY_VIOLATION, FrameCounter, accept, close_frame

# Around each place where the length is written in another form.
LENGTHS = [0, 1, 5, 124, 125, 126, 127, 128, 65535, 65536, 65537]
frames = st.builds(
    lambda opcode, length, is_final, is_masked: Frame(opcode, bytes(length), fin=is_final).serialize(mask=is_masked),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.sampled_from(LENGTHS) | st.integers(min_value=0, max_value=300),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(frames, min_size=1, max_size=5), st.lists(st.integers(min_value=0), max_size=12))
def test_frames_are_counted_however_they_are_cut(sent: list[bytes], places: list[int]) -> None:
    stream = b"".join(sent)
    ends = {sum(map(len, sent[:count])) for count in range(len(sent) + 1)}
    # Cut anywhere, and most of all near the ends of frames, where headers are.
    near = {end + place % 16 - 2 for end, place in zip(sorted(ends), places, strict=False)}
    edges = sorted(
        {0, len(stream)} | {place % len(stream) for place in places} | {place for place in near if 0 < place < len(stream)}
    )
    counter = FrameCounter()
    assert counter.is_between_frames
    for start, end in pairwise(edges):
        counter.feed(stream[start:end])
        assert counter.is_between_frames == (end in ends), (start, end)


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("length", LENGTHS[:8])
def test_a_frame_byte_by_byte_ends_with_its_last_byte_and_not_before(length: int, is_masked: bool) -> None:
    frame = Frame(Opcode.BINARY, bytes(length)).serialize(mask=is_masked)
    counter = FrameCounter()
    ends = []
    for place in range(len(frame)):
        counter.feed(frame[place : place + 1])
        ends.append(counter.is_between_frames)
    assert ends == [False] * (len(frame) - 1) + [True]


def test_nothing_is_held_of_a_frame_but_its_header() -> None:
    counter = FrameCounter()
    counter.feed(b"\x82\x7f" + (1 << 62).to_bytes(8, "big"))
    counter.feed(bytes(1 << 20))
    assert not counter.is_between_frames
    assert counter._header == b""


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0, max_value=200), max_size=6))
def test_what_is_no_websocket_at_all_never_breaks_the_counter(stream: bytes, places: list[int]) -> None:
    whole, piecewise = FrameCounter(), FrameCounter()
    whole.feed(stream)
    edges = sorted({0, len(stream), *(min(place, len(stream)) for place in places)})
    for start, end in pairwise(edges):
        piecewise.feed(stream[start:end])
    assert piecewise.is_between_frames == whole.is_between_frames


def test_the_answer_to_a_key_is_the_one_of_RFC_6455() -> None:
    for key in ["dGhlIHNhbXBsZSBub25jZQ==", *(generate_key() for _ in range(20))]:
        assert accept(key.encode()).decode() == accept_key(key)


@pytest.mark.parametrize(("code", "reason"), [(POLICY_VIOLATION, "session ended"), (GOING_AWAY, "shutting down"), (1000, "")])
def test_a_close_frame_says_code_and_reason(code: int, reason: str) -> None:
    raw = close_frame(code, reason.encode())
    assert raw == Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)
    counter = FrameCounter()
    counter.feed(raw)
    assert counter.is_between_frames
