"""A compact table from 16-byte keys to small numbers, for a million facts in every worker.

A dict of a million entries takes 150 MiB and stands still for 60 ms when it grows. Here 1024 segments, each a small
hash table of its own in the shape of Python's compact dict, take under 45 bytes per fact and grow one at a time:

    segment   index   array('H')   2^n slots, at most half full: 0 = free, else the number of a row; linear probing
              rows    array('q')   four cells per row, side by side so that a look-up touches one cache line (row 0 is unused)

    row       key      64-bit fingerprint of the key
              fact     value (39 bits) and expiry (24 bits: minutes since 2020, rounded up; all ones = never)
              mark     sequence in the log of the newest change
              target   fingerprint of the not-before that may stand in for it; 0 = none may

The fingerprint is Python's own hash of the bytes: SipHash with a secret of this process, so nobody can look for two
keys that collide in a worker he cannot read. Two of a million facts do by chance once in forty million loads, and then
one more token is refused.

Rows leave only by a rebuild of their segment, so no slot is ever a tombstone. It does not know what a value means, nor
the time. Fast code, plain ugly where it must be: 0.7 µs per look-up among a million (bench/replica.py), most of it
waiting for memory.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

SEGMENT_BITS: Final = 10
NEVER: Final = 2**24 - 1
_EXPIRY_BITS: Final = 24
_FIRST_INDEX: Final = 8
_CELLS: Final = 4
_ORIGIN_S: Final = 1_577_836_800  # 2020-01-01


class Row(NamedTuple):
    """One fact as the table holds it. `key` and `target` are fingerprints; `expires` counts minutes."""

    key: int
    value: int
    expires: int
    mark: int
    target: int


def expiry_minutes(expires_at: float) -> int:
    """Seconds since 1970 as the table's minutes, rounded up: a fact may stay too long, never leave too early."""
    minutes = int(-((_ORIGIN_S - expires_at) // 60))
    return 0 if minutes < 0 else NEVER if minutes > NEVER else minutes


class Table:
    """Facts by key. Not safe for threads; nothing here waits."""

    __slots__ = ("_bits", "_indexes", "_mask", "_rows", "count", "foldable")

    def __init__(self, segment_bits: int = SEGMENT_BITS) -> None:
        self._bits = segment_bits
        self._mask = (1 << segment_bits) - 1
        self._indexes = [array("H", bytes(2 * _FIRST_INDEX)) for _ in range(1 << segment_bits)]
        self._rows = [array("q", bytes(8 * _CELLS)) for _ in range(1 << segment_bits)]
        self.count = 0
        self.foldable = 0

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return self._mask + 1

    def find(self, key: bytes) -> int:
        """The value of the fact, 0 when there is none."""
        fingerprint = hash(key)
        segment = fingerprint & self._mask
        index = self._indexes[segment]
        mask = len(index) - 1
        slot = fingerprint >> self._bits & mask
        while number := index[slot]:
            rows = self._rows[segment]
            if rows[number << 2] == fingerprint:
                return rows[number << 2 | 1] >> _EXPIRY_BITS
            slot = slot + 1 & mask
        return 0

    def get(self, fingerprint: int) -> Row | None:
        """Everything about one fact."""
        index, rows = self._indexes[fingerprint & self._mask], self._rows[fingerprint & self._mask]
        mask = len(index) - 1
        slot = fingerprint >> self._bits & mask
        while number := index[slot]:
            if rows[number << 2] == fingerprint:
                return _read(rows, number)
            slot = slot + 1 & mask
        return None

    def join(self, key: int, value: int, expires: int, mark: int, lifted: int, target: int) -> bool:
        """Take in a report about a fact: the newer mark is right, and only a lift between the two may lower a value."""
        segment = key & self._mask
        index, rows = self._indexes[segment], self._rows[segment]
        mask = len(index) - 1
        slot = key >> self._bits & mask
        while number := index[slot]:
            at = number << 2
            if rows[at] == key:
                known_mark = rows[at + 2]
                if mark <= known_mark:
                    return False
                known = rows[at + 1]
                expires = max(expires, known & NEVER)
                if lifted <= known_mark:
                    value = max(value, known >> _EXPIRY_BITS)
                self.foldable += (target != 0) - (rows[at + 3] != 0)
                rows[at + 1], rows[at + 2], rows[at + 3] = value << _EXPIRY_BITS | expires, mark, target
                return True
            slot = slot + 1 & mask
        index[slot] = number = len(rows) >> 2
        rows.extend((key, value << _EXPIRY_BITS | expires, mark, target))
        self.count += 1
        self.foldable += target != 0
        if number << 1 > mask:
            self._indexes[segment] = self._indexed(rows)
        return True

    def grow_only(self, key: int, value: int, expires: int) -> None:
        """Take in a fact that no lift can touch: the greater value and the later expiry stay."""
        known = self.get(key)
        self.join(key, value, expires, known.mark + 1 if known else 1, 0, 0)

    def rows(self, segment: int) -> Iterator[Row]:
        """The rows of one segment, in no order."""
        rows = self._rows[segment]
        return (_read(rows, number) for number in range(1, len(rows) >> 2))

    def has_expired(self, segment: int, minute: int) -> bool:
        """Whether a rebuild would be worth it: read without making an object of every row."""
        return any(fact & NEVER < minute for fact in self._rows[segment][5::4])

    def keep(self, segment: int, is_wanted: Callable[[Row], bool]) -> int:
        """Rebuild one segment with the rows that are wanted. How many left."""
        kept = array("q", bytes(8 * _CELLS))
        left = 0
        for row in self.rows(segment):
            if is_wanted(row):
                kept.extend((row.key, row.value << _EXPIRY_BITS | row.expires, row.mark, row.target))
            else:
                left += 1
                self.foldable -= row.target != 0
        self.count -= left
        if left:
            self._rows[segment], self._indexes[segment] = kept, self._indexed(kept)
        return left

    def _indexed(self, rows: "array[int]") -> "array[int]":
        size = _FIRST_INDEX
        while size <= (len(rows) >> 2) << 1:
            size <<= 1
        index = array("H", bytes(2 * size))
        mask = size - 1
        for number, key in enumerate(rows[4::4], start=1):
            slot = key >> self._bits & mask
            while index[slot]:
                slot = slot + 1 & mask
            index[slot] = number
        return index


def _read(rows: "array[int]", number: int) -> Row:
    at = number << 2
    fact = rows[at + 1]
    return Row(rows[at], fact >> _EXPIRY_BITS, fact & NEVER, rows[at + 2], rows[at + 3])
