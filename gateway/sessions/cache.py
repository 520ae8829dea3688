"""What one worker remembers of sessions, so that a request in the steady state asks nobody [S1].

A record may change in the store while its copy is on its way here. The log says so (`evict`), and what it says must win
over a reply that was read before. So whoever fetches takes a marker first, the number of evictions so far. A reply whose
session was evicted since is dirty: it is not kept, and is fetched again.

    begin(sid) ──── the reply is on its way ──── keep(marker, record)      kept; a lower revision never replaces a higher
         └── evict(sid) ──────────────────────── keep(marker, record)      False: fetch again

Only the last few thousand evictions are remembered by name; a reply that took longer than that many is taken for dirty. So
nothing has to be given back when a fetch fails.

"There is no such session" is remembered for a second at most, so that a client who repeats a dead token costs one question a
second; and it dies with the epoch (`clear`), for a store that came back may know it again.

An entry is also held outside, by the verified token that names it (enforce/verified.py). One that leaves the memory for any
reason is marked dirty, so that nobody goes on with what no eviction can reach any more.

Bounded by a second chance: a new entry pushes out the oldest one that was not used since it was last spared. First uses of
other issuers' sessions [S3] live here too, under the names that enforce/verify.py gives them.

No I/O, no clock: `now` is boot time (clock.py), except in `note`, where it is wall time.
"""

from collections import OrderedDict
from enum import Enum
from typing import Final

from gateway.sessions.model import FirstUse, Record, Use

NEGATIVE_S: Final = 1.0
_MOST_ABSENT: Final = 4096
_MOST_EVICTED: Final = 4096
_LONGEST_SEARCH: Final = 64  # spared in a row before one goes in spite of its use: no pause, however busy


class Absent(Enum):
    """The answer "there is no such session"."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Entry:
    """One session as this worker knows it. Read it for as long as `is_dirty` is false."""

    __slots__ = ("agreed", "fetched_at", "is_dirty", "last_network", "last_seen", "record", "spared_at", "uses")

    def __init__(self, record: Record | FirstUse, now: float) -> None:
        self.record = record
        self.fetched_at = now
        self.is_dirty = False
        #: What the fingerprint last found to agree with the record: (agent, hints, address). Belongs to whoever compares.
        self.agreed: tuple[object, ...] | None = None
        # Use that is not written yet.
        self.uses = 0
        self.last_seen = 0.0
        self.last_network = ""
        self.spared_at = 0.0


class Marker:
    """A question on its way, and how many evictions there had been before."""

    __slots__ = ("sid", "since")

    def __init__(self, sid: str, since: int) -> None:
        self.sid = sid
        self.since = since


class SessionCache:
    """The sessions one worker knows.

    Per process: `_entries` in the order of their coming, `_accounts` (the sids of each account among them), `_absent` (until
    when), `_evicted` (the last evictions of sids and accounts, by number; `_forgotten`: up to which they are not known any
    more), `_used` (entries with use that is not written yet).
    """

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = max(1, limit)
        # NB: a plain dict is slow when it loses its first key again and again.
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._accounts: dict[str, set[str]] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._evicted: OrderedDict[str, int] = OrderedDict()
        self._evictions = 0
        self._forgotten = 0
        self._used: list[Entry] = []

    def find(self, sid: str, now: float) -> Entry | Absent | None:
        """What is known of the session; None: nothing, ask the store."""
        entry = self._entries.get(sid)
        if entry is not None:
            return entry
        until = self._absent.get(sid)
        return ABSENT if until is not None and now < until else None

    def begin(self, sid: str) -> Marker:
        """Before the store is asked."""
        return Marker(sid, self._evictions)

    def keep(self, marker: Marker, record: Record | FirstUse | None, now: float) -> bool:
        """The store's reply; None: it knows none. False: it changed meanwhile and nothing was kept, ask again.

        What `find` says afterwards counts, not this reply: a newer one may have come first.
        """
        if self._is_dirty(marker):
            return False
        if record is None:
            self._drop(marker.sid)
            self._remember_absent(marker.sid, now)
        else:
            self._absent.pop(marker.sid, None)
            self._put(marker.sid, record, now)
        return True

    def evict(self, sid: str) -> None:
        """The session's record changed or is no more."""
        self._drop(sid)
        self._absent.pop(sid, None)
        self._remember_evicted(sid)

    def evict_user(self, sub: str) -> None:
        """The same for all sessions of an account."""
        for sid in tuple(self._accounts.get(sub, ())):
            self._drop(sid)
        for sid in [sid for sid in self._absent if _account(sid) == sub]:
            del self._absent[sid]
        self._remember_evicted(sub)

    def clear(self) -> None:
        """A new epoch: nothing that was known of the store holds, nor what is on its way from it."""
        for entry in self._entries.values():
            entry.is_dirty = True
        self._entries.clear()
        self._accounts.clear()
        self._absent.clear()
        self._evicted.clear()
        self._evictions += 1
        self._forgotten = self._evictions

    def note(self, entry: Entry, now: float, network: str) -> None:
        """A request used the session; `now` is wall time."""
        if not entry.uses:
            if len(self._used) >= self._limit:
                return
            self._used.append(entry)
        entry.uses += 1
        entry.last_seen = now
        entry.last_network = network

    def take_uses(self) -> list[Use]:
        """What is to be written of use since the last time; of sessions of our own, for there only it has a place."""
        used, self._used = self._used, []
        uses = [
            Use(entry.record.sid, entry.last_seen, entry.last_network, entry.uses)
            for entry in used
            if isinstance(entry.record, Record)
        ]
        for entry in used:
            entry.uses = 0
        return uses

    def count_used_since(self, since: float) -> int:
        """How many sessions were used since `since`, wall time."""
        return sum(entry.last_seen >= since for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def _is_dirty(self, marker: Marker) -> bool:
        if marker.since < self._forgotten:
            return True
        of_session, of_account = self._evicted.get(marker.sid, 0), self._evicted.get(_account(marker.sid), 0)
        return max(of_session, of_account) > marker.since

    def _remember_evicted(self, name: str) -> None:
        self._evictions += 1
        self._evicted[name] = self._evictions
        self._evicted.move_to_end(name)
        if len(self._evicted) > _MOST_EVICTED:
            _, self._forgotten = self._evicted.popitem(last=False)

    def _remember_absent(self, sid: str, now: float) -> None:
        self._absent[sid] = now + NEGATIVE_S
        self._absent.move_to_end(sid)
        if len(self._absent) > _MOST_ABSENT:
            self._absent.popitem(last=False)

    def _put(self, sid: str, record: Record | FirstUse, now: float) -> None:
        entry = self._entries.get(sid)
        if entry is None:
            self._make_room()
            self._entries[sid] = Entry(record, now)
            self._accounts.setdefault(_account(sid), set()).add(sid)
        elif _revision(record) >= _revision(entry.record):
            entry.record, entry.fetched_at = record, now

    def _drop(self, sid: str) -> None:
        entry = self._entries.pop(sid, None)
        if entry is None:
            return
        entry.is_dirty = True
        account = _account(sid)
        self._accounts[account].discard(sid)
        if not self._accounts[account]:
            del self._accounts[account]

    def _make_room(self) -> None:
        if len(self._entries) < self._limit:
            return
        for _ in range(_LONGEST_SEARCH):
            sid, entry = next(iter(self._entries.items()))
            if entry.last_seen == entry.spared_at:
                break
            entry.spared_at = entry.last_seen
            self._entries.move_to_end(sid)
        self._drop(next(iter(self._entries)))


def _account(sid: str) -> str:
    return sid.partition(".")[0]


def _revision(record: Record | FirstUse) -> int:
    return record.revision if isinstance(record, Record) else 0
