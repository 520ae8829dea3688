"""A compact table from 16-byte keys to small numbers, for a million facts in every worker.

A dict of a million entries takes 150 MiB and stands still for 60 ms when it grows. Here 1024 segments, each a small
hash table of its own in the shape of Python's compact dict, take under 53 bytes per fact and grow one at a time:

    segment   index   array('H')   2^n slots, at most half full: 0 = free, else the number of a row; linear probing
              rows    array('q')   five cells per row, side by side (row 0 is unused)

    row       key      16 bytes in two cells: a fact can be written back to a store that has lost it [L5]
              key
              fact     value (39 bits) and expiry (24 bits: minutes since 2020, rounded up; all ones = never)
              mark     sequence in the log of the newest change, and the kind of the fact (4 bits)
              target   hash of the not-before that may stand in for it; 0 = none may

The slot is chosen by Python's own hash of the key: SipHash with a secret of this process, so nobody can look for keys
that crowd one segment of a worker he cannot read.

Rows leave only by a rebuild of their segment, so no slot is ever a tombstone. It does not know what a value means, nor
the time. Fast code, plain ugly where it must be: 0.7 µs per look-up among a million (bench/replica.py), most of it
waiting for memory.
"""

from array import array
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

SEGMENT_BITS: Final = 10
NEVER: Final = 2**24 - 1
_EXPIRY_BITS: Final = 24
_KIND_BITS: Final = 4
_KINDS: Final = 2**_KIND_BITS - 1
_FIRST_INDEX: Final = 8
_CELLS: Final = 5
_ROW_BYTES: Final = 8 * _CELLS
_KEY_BYTES: Final = 16
_ORIGIN_S: Final = 1_577_836_800  # 2020-01-01
_halves: Final = Struct("=qq").unpack
_whole: Final = Struct("=qq").pack


class Row(NamedTuple):
    """One fact as the table holds it. `target` is a hash; `expires` counts minutes."""

    key: bytes
    value: int
    expires: int
    sequence: int
    kind: int
    target: int


def expiry_minutes(expires_at: float) -> int:
    """Seconds since 1970 as the table's minutes, rounded up: a fact may stay too long, never leave too early."""
    minutes = int(-((_ORIGIN_S - expires_at) // 60))
    return 0 if minutes < 0 else NEVER if minutes > NEVER else minutes


def expiry_seconds(minutes: int) -> int:
    """The table's minutes as seconds since 1970. Not for `NEVER`."""
    return _ORIGIN_S + 60 * minutes


def key_of_hash(fingerprint: int) -> bytes:
    """A key for what is known by its hash alone."""
    return _whole(fingerprint, 0)


class Table:
    """Facts by key. Not safe for threads; nothing here waits."""

    __slots__ = ("_bits", "_indexes", "_mask", "_rows", "count", "foldable")

    def __init__(self, segment_bits: int = SEGMENT_BITS) -> None:
        self._bits = segment_bits
        self._mask = (1 << segment_bits) - 1
        self._indexes = [array("H", bytes(2 * _FIRST_INDEX)) for _ in range(1 << segment_bits)]
        self._rows = [array("q", bytes(_ROW_BYTES)) for _ in range(1 << segment_bits)]
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
        number = index[slot]
        if not number:
            return 0
        first, second = _halves(key)
        rows = self._rows[segment]
        while number:
            at = number * 5
            if rows[at] == first and rows[at + 1] == second:
                return rows[at + 2] >> 24
            slot = slot + 1 & mask
            number = index[slot]
        return 0

    def get(self, key: bytes) -> Row | None:
        """Everything about one fact."""
        fingerprint = hash(key)
        index, rows = self._indexes[fingerprint & self._mask], self._rows[fingerprint & self._mask]
        mask = len(index) - 1
        slot = fingerprint >> self._bits & mask
        first, second = _halves(key)
        while number := index[slot]:
            at = number * _CELLS
            if rows[at] == first and rows[at + 1] == second:
                return _read(rows, at)
            slot = slot + 1 & mask
        return None

    def join(self, key: bytes, value: int, expires: int, sequence: int, lifted: int, kind: int, target: int) -> bool:
        """Take in a report about a fact: the newer sequence is right, and only a lift between the two may lower a value."""
        fingerprint = hash(key)
        segment = fingerprint & self._mask
        index, rows = self._indexes[segment], self._rows[segment]
        mask = len(index) - 1
        slot = fingerprint >> self._bits & mask
        first, second = _halves(key)
        while number := index[slot]:
            at = number * _CELLS
            if rows[at] == first and rows[at + 1] == second:
                known_sequence = rows[at + 3] >> _KIND_BITS
                if sequence <= known_sequence:
                    return False
                known = rows[at + 2]
                expires = max(expires, known & NEVER)
                if lifted <= known_sequence:
                    value = max(value, known >> _EXPIRY_BITS)
                self.foldable += (target != 0) - (rows[at + 4] != 0)
                rows[at + 2] = value << _EXPIRY_BITS | expires
                rows[at + 3], rows[at + 4] = sequence << _KIND_BITS | kind, target
                return True
            slot = slot + 1 & mask
        index[slot] = number = len(rows) // _CELLS
        rows.extend((first, second, value << _EXPIRY_BITS | expires, sequence << _KIND_BITS | kind, target))
        self.count += 1
        self.foldable += target != 0
        if number << 1 > mask:
            self._indexes[segment] = self._indexed(rows)
        return True

    def grow_only(self, key: bytes, value: int, expires: int, kind: int = 0) -> None:
        """Take in a fact that no lift can touch: the greater value and the later expiry stay."""
        known = self.get(key)
        self.join(key, value, expires, known.sequence + 1 if known else 1, 0, kind, 0)

    def rows(self, segment: int) -> Iterator[Row]:
        """The rows of one segment, in no order."""
        rows = self._rows[segment]
        return (_read(rows, at) for at in range(_CELLS, len(rows), _CELLS))

    def has_expired(self, segment: int, minute: int) -> bool:
        """Whether a rebuild would be worth it: read without making an object of every row."""
        return any(fact & NEVER < minute for fact in self._rows[segment][_CELLS + 2 :: _CELLS])

    def keep(self, segment: int, is_wanted: Callable[[Row], bool]) -> int:
        """Rebuild one segment with the rows that are wanted. How many left."""
        rows = self._rows[segment]
        kept = array("q", bytes(_ROW_BYTES))
        left = 0
        for at in range(_CELLS, len(rows), _CELLS):
            if is_wanted(_read(rows, at)):
                kept.extend(rows[at : at + _CELLS])
            else:
                left += 1
                self.foldable -= rows[at + 4] != 0
        self.count -= left
        if left:
            self._rows[segment], self._indexes[segment] = kept, self._indexed(kept)
        return left

    def _indexed(self, rows: "array[int]") -> "array[int]":
        size = _FIRST_INDEX
        while size <= (len(rows) // _CELLS) << 1:
            size <<= 1
        index = array("H", bytes(2 * size))
        mask = size - 1
        raw = rows.tobytes()
        for number, at in enumerate(range(_ROW_BYTES, len(raw), _ROW_BYTES), start=1):
            slot = hash(raw[at : at + _KEY_BYTES]) >> self._bits & mask
            while index[slot]:
                slot = slot + 1 & mask
            index[slot] = number
        return index


def _read(rows: "array[int]", at: int) -> Row:
    fact, mark = rows[at + 2], rows[at + 3]
    key = _whole(rows[at], rows[at + 1])
    return Row(key, fact >> _EXPIRY_BITS, fact & NEVER, mark >> _KIND_BITS, mark & _KINDS, rows[at + 4])
