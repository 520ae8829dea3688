"""Small damage to good input: what a mutation fuzzer does, as data, so that hypothesis can shrink what it finds.

An `Edit` says where, as a part of the length; how many bytes are taken out; and what is put in: one of the marks that mean
something to some parser, any bytes, or a part of another input. Decides nothing about what is right.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from hypothesis import strategies as st

MARKS: Final = (
    b"",
    b"\r\n",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"=",
    b'"',
    b"\\",
    b"%",
    b"%2e",
    b"%2F",
    b"..",
    b"/",
    b"?",
    b"#",
    b"_",
    b"-",
    b"\x80",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"0",
    b"1e999",
    b"-1",
    b"18446744073709551616",
    b"chunked",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X-User: eve\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"${",
    b"&a ",
    b"*a",
    b"!!python/name:os.system ",
    b"\n  - ",
    b"<<: ",
)
LONGEST: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of damage. `repeats`: the mark stands there so many times."""

    where: float
    taken: int
    mark: bytes
    repeats: int = 1


def damaged(raw: bytes, edits: list[Edit]) -> bytes:
    """The input after all edits, one after the other."""
    for edit in edits:
        at = int(edit.where * (len(raw) + 1))
        raw = (raw[:at] + edit.mark * edit.repeats + raw[at + edit.taken :])[:LONGEST]
    return raw


def edits() -> st.SearchStrategy[list[Edit]]:
    marks = st.sampled_from(MARKS) | st.binary(max_size=4)
    where = st.floats(0, 1, exclude_max=True)
    return st.lists(st.builds(Edit, where, st.integers(0, 8), marks, st.sampled_from((1, 1, 1, 2, 40))), max_size=4)


def random_edits(random: Random, seeds: tuple[bytes, ...]) -> list[Edit]:
    """Some, of which one in four brings in a part of another seed."""
    return [_random_edit(random, seeds) for _ in range(random.choice((1, 1, 2, 3, 5)))]


def _random_edit(random: Random, seeds: tuple[bytes, ...]) -> Edit:
    kind = random.randrange(8)
    if kind < 4:
        mark = random.choice(MARKS)
    elif kind < 6:
        mark = random.randbytes(random.randrange(1, 5))
    else:
        other = random.choice(seeds)
        at = random.randrange(len(other) + 1)
        mark = other[at : at + random.choice((2, 8, 40, 400))]
    return Edit(random.random(), random.choice((0, 0, 1, 2, 8, 100)), mark, random.choice((1, 1, 1, 1, 2, 30, 2000)))
