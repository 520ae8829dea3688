"""Where a body ends, however its bytes are cut on the way."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, ClientError, TooLarge
from gateway.wire.framing import (
    CHUNK_EXTENSIONS_LIMIT,
    CHUNK_LINE_LIMIT,
    LAST_CHUNK,
    TRAILERS_LIMIT,
    ChunkedDecoder,
    CloseDecoder,
    Decoder,
    LengthDecoder,
    chunk,
)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in segments that end at `places`."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def outcome(decoder: Decoder, segments: Iterable[bytes]) -> tuple[bytes, bytes, bool] | str:
    """The body, what follows it and whether it is done; or that it was refused."""
    body, rest = b"", b""
    try:
        for segment in segments:
            if decoder.is_done:
                rest += segment
            else:
                pieces, rest = decoder.feed(segment)
                body += b"".join(pieces)
                assert decoder.is_done or not rest
    except ClientError:
        return "refused"
    return body, rest, decoder.is_done


places = st.lists(st.integers(min_value=0, max_value=400), max_size=12)
extensions = st.sampled_from([b"", b"", b";a", b";a=b", b' ;a="b c"', b"\t;\xe9"])
trailers = st.sampled_from([b"", b"X: y\r\n", b"X-User: root\r\nY:\r\n"])


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body, and one of the many ways to write it in chunks."""
    body, wire = b"", b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6)):
        size = draw(st.sampled_from(["%x", "%X", "0%x", "00000%x"])) % len(piece)
        wire += size.encode() + draw(extensions) + b"\r\n" + piece + b"\r\n"
        body += piece
    return body, wire + draw(st.sampled_from([b"0", b"000"])) + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"


@given(chunked_bodies(), st.binary(max_size=30), places)
def test_F30_a_chunked_body_is_the_same_however_it_is_cut(encoded: tuple[bytes, bytes], behind: bytes, places: list[int]) -> None:
    body, wire = encoded
    assert outcome(ChunkedDecoder(), cut(wire + behind, places)) == (body, behind, True)


@given(chunked_bodies(), st.integers(min_value=1), places)
def test_a_chunked_body_that_lacks_its_end_is_not_done(encoded: tuple[bytes, bytes], missing: int, places: list[int]) -> None:
    body, wire = encoded
    found = outcome(ChunkedDecoder(), cut(wire[: -(missing % len(wire) or 1)], places))
    assert not isinstance(found, str)
    assert found[1:] == (b"", False)
    assert body.startswith(found[0])


@given(st.binary(max_size=200), st.binary(max_size=30), places)
def test_F30_a_body_of_known_length_is_the_same_however_it_is_cut(body: bytes, behind: bytes, places: list[int]) -> None:
    segments = [b""] if not body else cut(body + behind, places)
    expected = (b"", b"", True) if not body else (body, behind, True)
    assert outcome(LengthDecoder(len(body)), segments) == expected


# fmt: off
FRAGMENTS = [
    b"0", b"1", b"5", b"a", b"F", b"\r\n", b"\r", b"\n", b";", b";x=y", b" ", b"\t", b"X: y", b"hello", b"\r\n\r\n",
    b"\x00", b"_", b"-", b"0x",
]
# fmt: on


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(b"".join), places)
def test_F16_F18_no_segmentation_makes_another_body_of_the_same_bytes(wire: bytes, places: list[int]) -> None:
    assert outcome(ChunkedDecoder(), cut(wire, places)) == outcome(ChunkedDecoder(), [wire])


@given(chunked_bodies(), st.integers(min_value=0), st.integers(min_value=0, max_value=255), places)
def test_a_chunked_body_with_one_wrong_byte_means_the_same_however_it_is_cut(
    encoded: tuple[bytes, bytes], place: int, byte: int, places: list[int]
) -> None:
    wire = bytearray(encoded[1])
    wire[place % len(wire)] = byte
    assert outcome(ChunkedDecoder(), cut(bytes(wire), places)) == outcome(ChunkedDecoder(), [bytes(wire)])


SIZES = ["+5", "-5", "0x5", "5_0", " 5", "5 ", "", "Z", "5;\x01", "5;\x7f", "1" * 16, "0" * 1000, "5,5", "\u0665", "5 a", "5\t5"]


@pytest.mark.parametrize("size", SIZES)
def test_F16_a_malformed_chunk_size_is_refused(size: str) -> None:
    wire = size.encode() + b"\r\nhello\r\n0\r\n\r\n"
    assert outcome(ChunkedDecoder(), [wire]) == "refused"
    assert outcome(ChunkedDecoder(), cut(wire, range(len(wire)))) == "refused"


@pytest.mark.parametrize(
    "wire",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rX0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\nX: a\x00b\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_F17_F18_F19_a_chunk_with_another_line_end_is_refused(wire: bytes) -> None:
    assert outcome(ChunkedDecoder(), [wire]) == "refused"
    assert outcome(ChunkedDecoder(), cut(wire, range(len(wire)))) == "refused"


def test_F17_chunk_lines_and_extensions_are_bounded() -> None:
    with pytest.raises(TooLarge):
        ChunkedDecoder().feed(b"5;" + b"a" * CHUNK_LINE_LIMIT)
    decoder = ChunkedDecoder()
    line = b"1;" + b"a" * 198 + b"\r\nx\r\n"
    with pytest.raises(TooLarge) as refused:
        for _ in range(CHUNK_EXTENSIONS_LIMIT // 199 + 1):
            decoder.feed(line)
    assert refused.value.status == 413


def test_F20_trailers_are_dropped_and_bounded() -> None:
    assert outcome(ChunkedDecoder(), [b"1\r\na\r\n0\r\nX-User: root\r\nHost: b\r\n\r\nGET"]) == (b"a", b"GET", True)
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n")
    with pytest.raises(TooLarge) as refused:
        for number in range(TRAILERS_LIMIT):
            decoder.feed(b"X-%d: y\r\n" % number)
    assert refused.value.status == 431


@pytest.mark.parametrize("make", [ChunkedDecoder, CloseDecoder, lambda: LengthDecoder(5)])
def test_a_decoder_that_got_nothing_yet_is_not_done(make: Callable[[], Decoder]) -> None:
    decoder = make()
    assert not decoder.is_done
    assert b"".join(decoder.feed(b"")[0]) == b""
    assert not decoder.is_done


def test_an_empty_body_is_done_before_it_begins() -> None:
    assert LengthDecoder(0).is_done


def test_a_body_without_a_length_never_ends_by_itself() -> None:
    assert outcome(CloseDecoder(), [b"a", b"b" * 1000]) == (b"a" + b"b" * 1000, b"", False)


def test_what_is_incomplete_is_held_back_only_up_to_a_line() -> None:
    decoder = ChunkedDecoder()
    pieces, _ = decoder.feed(b"10\r\nabc")
    assert pieces == [b"abc"]
    with pytest.raises(BadRequest):
        decoder.feed(b"x" * 13 + b"yy")


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_pieces_travel_on_as_one_chunk(pieces: list[bytes]) -> None:
    wire = b"".join(chunk(pieces)) + LAST_CHUNK
    assert outcome(ChunkedDecoder(), [wire]) == (b"".join(pieces), b"", True)
    assert wire.count(b"\r\n") >= 2
    assert not chunk([b"", b""])
