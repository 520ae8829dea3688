"""Our reading of a request against h11's, over the whole corpus: both accept or both refuse, or the difference is listed here.

h11 is an independent parser of the same RFCs, written to be correct and not to be a gateway. Where it is more lenient the table
says why we are not; where both accept, they must agree on where the body is and what follows it: that is what smuggling is about.
"""

import re
from collections import Counter
from dataclasses import dataclass

import h11
from attack_corpus import Case, from_files
from attack_families import families
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ClientError
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import RoleMemory
from gateway.wire.framing import ChunkedDecoder, LengthDecoder
from gateway.wire.head import HeadReader, refuse_hopeless

HEAD_LIMIT = 32 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser makes of some bytes. `body` and `rest` count when it accepts."""

    verdict: str  # "accepted", "refused", "unfinished"
    body: bytes = b""
    rest: bytes = b""

    def __str__(self) -> str:
        return self.verdict


def ours(raw: bytes) -> Reading:
    """As a connection reads it: see `gateway/proxy/client.py`."""
    raw = raw.removeprefix(b"\r\n")
    end = raw.find(b"\r\n\r\n")
    try:
        if end < 0 or end + 4 > HEAD_LIMIT:
            refuse_hopeless(raw[:HEAD_LIMIT])
            return Reading("refused" if len(raw) > HEAD_LIMIT else "unfinished")
        head = HeadReader(RoleMemory(), 100, 8192, CookieNames.of(is_secure=True)).read(raw[: end + 4])
        decoder = ChunkedDecoder() if head.chunked else LengthDecoder(head.content_length or 0)
        pieces, rest = decoder.feed(raw[end + 4 :])
    except ClientError:
        return Reading("refused")
    return Reading("accepted", b"".join(pieces), rest) if decoder.is_done else Reading("unfinished")


def h11s(raw: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    body = b""
    try:
        connection.receive_data(raw)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return Reading("unfinished")
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                return Reading("accepted", body, connection.trailing_data[0])
    except h11.RemoteProtocolError:
        return Reading("refused")


ALL = [*from_files(), *families()]


def differing() -> dict[str, list[tuple[Case, Reading, Reading]]]:
    """Where the verdicts differ, by case."""
    found: dict[str, list[tuple[Case, Reading, Reading]]] = {}
    for case in ALL:
        mine, theirs = ours(case.raw), h11s(case.raw)
        if mine.verdict != theirs.verdict:
            found.setdefault(case.case, []).append((case, mine, theirs))
    return found


# Where we refuse and h11 does not, with how many requests of the corpus: every one of them, no more and no fewer.
STRICTER: dict[str, tuple[int, str]] = {
    "F01": (206, "h11 lets Transfer-Encoding win over Content-Length; what a backend lets win is unknown"),
    "F02": (6, "the same, or a body that h11 still waits for"),
    "F05": (1, "httptools takes no tab behind `chunked`"),
    "F07": (69, "h11 has no backend that folds `_` and `.` into `-`"),
    "F09": (31, "h11 joins folded lines"),
    "F10": (15, "h11 takes a bare LF for a line end"),
    "F11": (2, "h11 waits for the rest of a head that cannot end any more"),
    "F12": (27, "h11 lets control characters other than NUL, CR and LF stand in values"),
    "F13": (8, "h11 takes equal lengths for one"),
    "F14": (7, "h11 takes leading zeros, lists of equal lengths, and lengths beyond 64 bits"),
    "F16": (8, "h11 takes blanks behind a chunk size, and sizes beyond 60 bits"),
    "F17": (8, "h11 lets any byte but LF stand in a chunk extension, and any number of extensions"),
    "F18": (4, "the same: a bare CR in an extension"),
    "F20": (3, "h11 joins folded trailers, and bounds one trailer section by its buffer only"),
    "F21": (3, "h11 decodes chunks on HTTP/1.0"),
    "F22": (4, "h11 takes any digits for a version"),
    "F24": (8, "fields that begin with a blank, fold, or imitate Content-Length, as in F07 and F09"),
    "F25": (9, "h11 leaves unknown expectations to the application"),
    "F31": (7, "h11 bounds the head as a whole, and only while it is incomplete"),
    "F32": (20, "h11 takes any token for a method, and waits for the end of what is not HTTP"),
    "F33": (86, "h11 asks for one Host and does not read it"),
    "F34": (20, "h11 leaves the target to the application"),
    "F35": (48, "the same"),
    "F36": (12, "the same, and CONNECT"),
    "F37": (8, "the same, and TRACE"),
    "F40": (1, "a folded line, as in F09"),
    "H06": (42, "h11 leaves Connection to the application"),
    "H07": (1, "a folded line, as in F09"),
    "U01": (22, "h11 leaves the target to the application: dot segments"),
    "U02": (18, "the same: encoded slashes and backslashes"),
    "U03": (21, "the same: dot segments with parameters"),
    "U05": (25, "the same: escapes that are no UTF-8"),
    "U06": (15, "the same: encoded control characters"),
    "U07": (9, "the same: fragments"),
    "U10": (2, "the same: quotes and angle brackets"),
    "U11": (3, "h11 bounds the head as a whole"),
    "W01": (4, "h11 lets an upgrade have a body"),
    "W06": (7, "h11 leaves the handshake to the application"),
}

# Where we accept and h11 does not, by name: these are few, and each needs a better reason.
MORE_LENIENT = {
    "F16 allowed b'5 ;x'": "RFC 9112 §7.1.1 allows blanks before the `;` of an extension (BWS); extensions end here",
    "F16 allowed b'5\\t;x=y'": "the same",
    "F41 an empty line in front": "RFC 9112 §2.2 asks servers to ignore one",
    "H08 dropped 'Transfer-Encoding: chunked' twice": "trailers are dropped, so what they would mean as headers does not matter",
}


def test_every_difference_from_h11_is_listed_and_every_listed_one_occurs() -> None:
    differences = [(case, mine) for found in differing().values() for case, mine, _ in found]
    stricter = Counter(case.case for case, mine in differences if mine.verdict == "refused")
    assert stricter == {case: count for case, (count, _) in STRICTER.items()}
    assert {str(case) for case, mine in differences if mine.verdict != "refused"} == set(MORE_LENIENT)


def test_what_both_accept_has_the_same_body_and_the_same_end() -> None:
    readings = [(str(case), ours(case.raw + b"GET /canary"), h11s(case.raw + b"GET /canary")) for case in ALL]
    both = [reading for reading in readings if reading[1].verdict == reading[2].verdict == "accepted"]
    assert [name for name, mine, theirs in both if mine != theirs] == []
    assert len(both) > 90


GOOD = [case.raw for case in from_files() if case.is_accepted]
MARKS = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"\x0b",
    b"\x85",
    b"\xff",
    b"_",
    b"-",
    b"\r\n ",
    b"chunked",
    b"\r\n\r\n",
]


@settings(max_examples=3000, deadline=None, derandomize=True)
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.sampled_from(MARKS)), max_size=3),
)
def test_after_any_small_damage_what_we_accept_h11_accepts_alike(raw: bytes, damage: list[tuple[float, int, bytes]]) -> None:
    """Bytes are taken out of good requests and others put in: we may refuse what h11 accepts, never read it otherwise."""
    for where, length, mark in damage:
        at = int(where * len(raw))
        raw = raw[:at] + mark + raw[at + length :]
    mine, theirs = ours(raw), h11s(raw)
    if mine.verdict == "accepted" and not is_known_leniency(raw):
        assert theirs == mine


def is_known_leniency(raw: bytes) -> bool:
    """The reasons of MORE_LENIENT, for any request."""
    return (
        raw.startswith(b"\r\n")
        or re.search(rb"\r\n[0-9A-Fa-f]+[ \t]+;", raw) is not None
        or (b"\r\n0\r\n" in raw and b"\r\n0\r\n\r\n" not in raw)
    )
