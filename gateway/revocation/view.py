"""A worker's replica of the facts: what `decide` asks instead of the store.

It is a join [L4]. Facts come in three ways, in any mixture and any number of times: entries of the log, rows of a
snapshot, and whole epochs that ended. Each carries the sequence of its newest change, and the store's script is the
only one that computes what a change results in, so of two reports about one key the one with the higher sequence is right:

    sequence not above what the key has    nothing new
    a lift lies between                    the reported value replaces ours (0: nothing remains)
    else                                   the greater value and the later expiry of both

So facts leave by expiry or by a lift and in no other way. A lifted fact stays as a row of value 0 until its expiry: an
older report that comes late finds it there and revives nothing.

Tables: `_followed` holds the facts of the present epoch. `_kept` are those of epochs that ended: their sequences mean
nothing in a later one, so nothing in them changes. They are written back to the store [L5] and then forgotten, because
the present epoch has them (`let_go`). `_own` is what this worker alone says, which no lift can touch and only grows: what it
refuses before the store knows, and not-befores into which facts were folded; it is found by the hash of a key, since of a
not-before to fold into only that is kept.

Folding [L9]: above `max_entries` the older half of a segment's token facts, those that name a not-before which may
stand in for them, become that not-before. It is the second of the revocation plus a margin for issuers' clocks that
run ahead, so every folded token stays refused; others of the same user (or, when the user is not known, of the same
issuer) issued before are refused with them: it over-refuses, it never forgets. Sessions, blocks, keys, versions and
not-befores never fold, since no not-before says what they say; if they alone exceed the bound, the bound gives way
(`is_over_full`), not the facts. What was folded cannot be written back; `folded_until` says which tokens it concerns.

The view knows no time, no store and no log. Ages are judged by who asks: `proven_at` is in boot time and says when the
request of the newest proof of freshness was sent [L3].
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final, NamedTuple

from gateway.revocation.entry import KINDS, LARGEST_VALUE, NO_KEY, PERMANENT, Entry, Kind
from gateway.revocation.state import Event, State, next_state
from gateway.revocation.table import NEVER, SEGMENT_BITS, Row, Table, expiry_minutes, expiry_seconds, key_of_hash

DEFAULT_MAX_ENTRIES: Final = 5_000_000
NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS, start=1)}
"""How a kind is told in a byte."""

_USER: Final = NUMBERS[Kind.USER]


class Fact(NamedTuple):
    """What the store holds for one key: a row of a snapshot. A tuple, because a snapshot is a million of them.

    `kind` is the position in `KINDS` plus one; 0 where it does not matter.
    """

    key: bytes
    value: int
    expires_at: int
    sequence: int
    lifted: int = 0
    kind: int = 0
    fold_into: bytes = NO_KEY


class View:
    """The facts, and what is known about them. Per process."""

    __slots__ = (
        "_fold_margin_s",
        "_fold_next",
        "_followed",
        "_kept",
        "_max_entries",
        "_own",
        "_purge_next",
        "_room",
        "_segment_bits",
        "complete_since",
        "epoch",
        "find",
        "folded_until",
        "position",
        "proven_at",
        "revision",
        "run_id",
        "state",
        "uses_since",
        "was_live",
    )

    def __init__(
        self,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        *,
        fold_margin_s: int = 300,
        segment_bits: int = SEGMENT_BITS,
    ) -> None:
        self._max_entries = max_entries
        self._fold_margin_s = fold_margin_s
        self._segment_bits = segment_bits
        self._followed = Table(segment_bits)
        self._kept: tuple[Table, ...] = ()
        self._own: Table | None = None
        #: The value of the fact with a key; 0: no such fact. Mostly the one table's own method: a call less is 0.05 µs of 0.6.
        self.find: Callable[[bytes], int] = self._followed.find
        self._room = max_entries
        self._purge_next = 0
        self._fold_next = 0
        self.state = State.EMPTY
        self.proven_at = -inf
        self.was_live = False
        self.revision = 0
        self.complete_since = 0.0
        self.uses_since = 0.0  # what else the store holds (uses of one-time tokens) is complete since then [T5]
        self.folded_until = 0  # tokens issued up to that second may be refused by a fact that was folded
        self.epoch = ""
        self.position = 0  # up to which entry of the epoch's log this is
        self.run_id = ""  # of the server on which that was seen

    def __len__(self) -> int:
        return sum(table.count for table in self._tables())

    @property
    def is_over_full(self) -> bool:
        """More facts than `max_entries`, and nothing left that can fold."""
        return len(self) > self._max_entries

    def _find_everywhere(self, key: bytes) -> int:
        own = 0 if self._own is None else self._own.find(key_of_hash(hash(key)))
        return max((own, self._followed.find(key), *(table.find(key) for table in self._kept)))

    def is_fresh(self, boot_now: float, max_staleness_s: float) -> bool:
        """Whether the absence of a fact may be read as "not revoked"."""
        return self.state is State.LIVE and boot_now - self.proven_at <= max_staleness_s

    def meet(self, event: Event) -> None:
        """Go to the next state."""
        self.state = next_state(self.state, event)
        self.was_live = self.was_live or self.state is State.LIVE

    def adopt(self, epoch: str, complete_since: float, uses_since: float = 0.0) -> None:
        """Begin to follow an epoch. What is known of the one before stays, beyond the reach of lifts, until it is let go."""
        if epoch != self.epoch:
            if self._followed.count:
                self._kept = (*self._kept, self._followed)
                self._followed = Table(self._segment_bits)
                self.revision += 1
            self.epoch = epoch
            self.position = 0
            self._make_room()
        self.complete_since = max(self.complete_since, complete_since)
        self.uses_since = max(self.uses_since, uses_since)

    @property
    def is_holding_ended(self) -> bool:
        """Whether there are facts of epochs that ended."""
        return bool(self._kept)

    def held(self) -> Iterator[list[Fact]]:
        """All that can be written back to a store, some hundreds at a time. The view may change in between."""
        for table in (*self._kept, self._followed):
            for segment in range(table.segments):
                facts = [_fact(row) for row in table.rows(segment) if row.value]
                if facts:
                    yield facts

    def followed(self) -> Iterator[list[Fact]]:
        """The facts of the present epoch with their sequences, lifted ones too, a segment at a time, as `held`."""
        table = self._followed
        for segment in range(table.segments):
            yield [_fact(row) for row in table.rows(segment)]

    def fact(self, key: bytes) -> Fact | None:
        """What the present epoch says about a key, with its sequence."""
        row = self._followed.get(key)
        return None if row is None else _fact(row)

    def let_go(self) -> None:
        """The present epoch has the facts of those that ended: they were written back and read again."""
        if self._kept:
            self._kept = ()
            self._make_room()
            self.revision += 1

    def apply(self, entry: Entry) -> bool:
        """One entry of the log, in its order or again. Whether anything changed."""
        lifted = entry.sequence if entry.kind is Kind.LIFT else 0
        before = self.revision
        kind = NUMBERS[entry.lifted_kind or entry.kind]
        self.merge([Fact(entry.key, entry.value, entry.expires_at, entry.sequence, lifted, kind, entry.fold_into)])
        return self.revision != before

    def foresee(self, entry: Entry) -> None:
        """Refuse by an entry before it is known to be of the log: said at the present position, it gives way to all behind it."""
        kind = NUMBERS[entry.kind]
        self.merge([Fact(entry.key, entry.value, entry.expires_at, self.position, 0, kind, entry.fold_into)])

    def merge(self, facts: Iterable[Fact], latest_not_before: float = inf) -> list[Fact]:
        """What the store says about some keys. Not-befores later than the latest are not applied but returned [L7].

        A snapshot passes here fact by fact: 1.3 µs each, so what is not a loop over all of them stays out of it.
        """
        poisoned: list[Fact] = []
        news = 0
        table = self._followed
        join = table.join
        for key, value, expires_at, sequence, lifted, kind, fold_into in facts:
            if value > latest_not_before and kind == _USER:
                poisoned.append(Fact(key, value, expires_at, sequence, lifted, kind, fold_into))
                continue
            if value > LARGEST_VALUE:
                value = LARGEST_VALUE
            target = 0 if fold_into == NO_KEY else hash(fold_into)
            news += join(key, value, expiry_minutes(expires_at), sequence, lifted, kind, target)
            if table.count > self._room and table.foldable:
                self._fold()
        self.revision += news
        return poisoned

    def enforce_locally(self, key: bytes, value: int, expires_at: int) -> None:
        """Refuse by a fact that the store may not have yet: a log-out whose answer was lost [R5]. No lift reaches it."""
        self._say_alone(hash(key), value, expiry_minutes(expires_at))
        self._make_room()
        self.revision += 1

    def purge(self, now: float, budget: int = 64) -> int:
        """Drop what expired before `now` from the next `budget` segments, coming round to all in turn. How many left."""
        minute = expiry_minutes(now)
        left = 0
        for _ in range(min(budget, self._followed.segments)):
            for table in self._tables():
                if table.has_expired(self._purge_next, minute):
                    left += table.keep(self._purge_next, lambda row: row.expires >= minute)
            self._purge_next = (self._purge_next + 1) % self._followed.segments
        self._make_room()
        return left

    def _tables(self) -> tuple[Table, ...]:
        return (self._followed, *self._kept, *(() if self._own is None else (self._own,)))

    def _say_alone(self, fingerprint: int, value: int, expires: int) -> None:
        if self._own is None:
            self._own = Table(self._segment_bits)
        self._own.grow_only(key_of_hash(fingerprint), value, expires)

    def _make_room(self) -> None:
        self.find = self._find_everywhere if self._kept or self._own is not None else self._followed.find
        self._room = self._max_entries - (len(self) - self._followed.count)

    def _fold(self) -> None:
        """One segment's older token facts become not-befores. Called for every fact above the bound, while any can fold."""
        segment = self._fold_next
        self._fold_next = (segment + 1) % self._followed.segments
        foldable = sorted(row.value for row in self._followed.rows(segment) if row.target and row.value)
        if not foldable:
            return
        newest = foldable[(len(foldable) - 1) // 2]
        for row in self._followed.rows(segment):
            if _folds(row, newest):
                self._say_alone(row.target, row.value + self._fold_margin_s, row.expires)
                self.folded_until = max(self.folded_until, row.value + self._fold_margin_s)
        self._followed.keep(segment, lambda row: not _folds(row, newest))
        self._make_room()


def _folds(row: Row, newest: int) -> bool:
    return bool(row.target) and 0 < row.value <= newest


def _fact(row: Row) -> Fact:
    expires_at = PERMANENT if row.expires == NEVER else expiry_seconds(row.expires)
    return Fact(row.key, row.value, expires_at, row.sequence, 0, row.kind)
