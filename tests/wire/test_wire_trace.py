"""`traceparent` and `tracestate`: what is read, what goes on, what is thrown away, by W3C Trace Context, level 2."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.trace import LONGEST_STATE, MOST_MEMBERS, new_traceparent, read_traceparent, read_tracestate, trace_lines

IDS = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
LONG = b"l=" + b"x" * 200
SHORT = [b"%c=" % letter + b"y" * 98 for letter in range(ord("a"), ord("g"))]


@pytest.mark.parametrize(
    ("value", "goes_on_as"),
    [
        (f"00-{IDS}-00", f"00-{IDS}-00"),
        (f"00-{IDS}-01", f"00-{IDS}-01"),
        (f"00-{IDS}-03", f"00-{IDS}-03"),  # the trace id is random: must be passed on (level 2)
        (f"00-{IDS}-ff", f"00-{IDS}-03"),  # flags nobody has defined
        (f"01-{IDS}-01", f"00-{IDS}-01"),  # of a later version what this one knows
        (f"cc-{IDS}-01-what-is-to-come", f"00-{IDS}-01"),
        (f"cc-{IDS}-01-", f"00-{IDS}-01"),
    ],
)
def test_a_well_formed_traceparent_goes_on_as_this_version_writes_it(value: str, goes_on_as: str) -> None:
    assert read_traceparent(value.encode()) == goes_on_as.encode()


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{IDS}",
        f"00-{IDS}-1",
        f"00-{IDS}-01-x",
        f"00-{IDS}-01-",
        f"cc-{IDS}-01.x",
        f"cc-{IDS}-011",
        f"ff-{IDS}-01",
        f"0-{IDS}-01",
        f"00-{IDS.upper()}-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"00_{IDS}_01",
        f"00-{IDS}-0g",
        f"00-{IDS}-01,00-{IDS}-01",
        f" 00-{IDS}-01",
        f"00-{IDS}-01\n",
    ],
)
def test_any_other_names_no_trace(value: str) -> None:
    assert read_traceparent(value.encode()) is None


@given(st.binary(max_size=70))
def test_whatever_comes_is_either_nothing_or_well_formed(value: bytes) -> None:
    read = read_traceparent(value)
    assert read is None or re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", read)


def test_a_new_trace_is_one_that_nobody_samples() -> None:
    assert re.fullmatch(rb"00-f{32}-(?!0{16})[0-9a-f]{16}-00", new_traceparent(b"f" * 32))
    assert new_traceparent(b"f" * 32) != new_traceparent(b"f" * 32)


@pytest.mark.parametrize(
    ("value", "goes_on_as"),
    [
        (b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (b"a=1 , b=2\t,,c=3,", b"a=1,b=2,c=3"),
        (b"0tenant@vendor=x y", b"0tenant@vendor=x y"),
        (b"a_-*/=!;~", b"a_-*/=!;~"),
        (b"a=" + b"v" * 256, b"a=" + b"v" * 256),
    ],
)
def test_a_well_formed_tracestate_goes_on(value: bytes, goes_on_as: bytes) -> None:
    assert read_tracestate(value) == goes_on_as


@pytest.mark.parametrize(
    "value",
    [b"", b", ,", b"a", b"=1", b"a=", b"A=1", b"a=1,a=2", b"a=b=c", b"a=\xe9", b"a b=1", b"a=" + b"v" * 257, b"k" * 257 + b"=1"],
)
def test_of_a_malformed_tracestate_nothing_goes_on(value: bytes) -> None:
    assert read_tracestate(value) is None


def test_a_tracestate_is_bounded_in_members() -> None:
    members = [b"k%d=v" % number for number in range(MOST_MEMBERS + 1)]
    assert read_tracestate(b",".join(members[:-1])) == b",".join(members[:-1])
    assert read_tracestate(b",".join(members)) is None


def test_of_a_long_tracestate_the_long_members_go_first_and_then_the_last() -> None:
    assert read_tracestate(b",".join([*SHORT[:3], LONG, *SHORT[3:4]])) == b",".join(SHORT[:4])
    assert read_tracestate(b",".join([LONG, *SHORT])) == b",".join(SHORT[:5])
    assert read_tracestate(b",".join([LONG, *SHORT[:2]])) == b",".join([LONG, *SHORT[:2]])


@given(st.lists(st.tuples(st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True), st.integers(1, 250)), max_size=40))
def test_what_goes_on_is_never_longer_than_its_bound(members: list[tuple[str, int]]) -> None:
    read = read_tracestate(",".join(f"{key}={'v' * length}" for key, length in members).encode())
    assert read is None or (len(read) <= LONGEST_STATE and read_tracestate(read) == read)


def test_the_last_lines_of_a_head() -> None:
    assert trace_lines(b"r-1", b"00-x", None) == b"X-Request-Id: r-1\r\ntraceparent: 00-x\r\n\r\n"
    assert trace_lines(b"r-1", b"00-x", b"a=b") == b"X-Request-Id: r-1\r\ntraceparent: 00-x\r\ntracestate: a=b\r\n\r\n"
