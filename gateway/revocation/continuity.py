"""What one answer of the store proves: the reply of the poll as an object, and the judgement of it [L2]. Pure.

    me at 41 ──► the store shows what it has at 41, what follows, its head and its floor

    same id at 41, then 42 43 … each naming the one before       CONTINUOUS
    41 lies below the floor (trimmed)                            BELOW_FLOOR   read a snapshot and merge it
    41 missing, or another id; a number left out; a stranger's predecessor; 41 above the head
                                                                 BROKEN        rolled back, forked, or full of holes
    no record, or an epoch that is not mine                      UNDECLARED / OTHER_EPOCH

"Nothing new" is only ever said of a log that was shown to be the one I know. After a failover that dropped an append,
the next append makes the stream look whole again; the id at my position does not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.revocation.entry import NEWS, NO_KEY, Entry, Kind

_UNDECLARED_REPLY_LENGTH: Final = 3
_UNREADABLE: Final = (ValueError, TypeError, IndexError, KeyError, AttributeError)


class Finding(StrEnum):
    """What an answer proves about the log."""

    CONTINUOUS = "continuous"
    BELOW_FLOOR = "below the floor"
    BROKEN = "broken"
    UNDECLARED = "undeclared"
    OTHER_EPOCH = "another epoch"


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a worker has applied the log: the epoch, the sequence, and the id of that entry."""

    epoch: str
    sequence: int
    id: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the poll. `epoch` is empty when the store was never declared; `granted` when no lease was written.

    `log` is the name of the log, the same in all its epochs; `recovers` the epoch whose facts were merged into this one, if any.
    `waiting` is not empty while nobody may become live: "how-long-ms progress run_id" (lua/common.lua). `members` are the
    lines of the register when it is another than the one that was named.
    """

    store_time: float
    run_id: str
    epoch: str = ""
    head: int = 0
    head_id: str = ""
    floor: int = 0
    complete_since: float = 0.0
    id_at_position: str = ""
    granted: str = ""
    entries: tuple[Entry, ...] = ()
    log: str = ""
    waiting: str = ""
    recovers: str = ""
    uses_since: float = 0.0
    register: str = ""
    members: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def head_position(self) -> Position:
        """Where the log ends."""
        return Position(self.epoch, self.head, self.head_id)


def judge(position: Position, reply: Reply, asked: int) -> Finding:
    """What the reply proves to a worker at this position that asked for so many entries."""
    if not reply.epoch:
        return Finding.UNDECLARED
    if reply.epoch != position.epoch:
        return Finding.OTHER_EPOCH
    if position.sequence > reply.head:
        return Finding.BROKEN
    if position.sequence < reply.floor:
        return Finding.BELOW_FLOOR
    if reply.id_at_position != position.id:
        return Finding.BROKEN
    if not follows(position, reply.entries):
        return Finding.BROKEN
    last = reply.entries[-1] if reply.entries else position
    if last.sequence == reply.head and last.id != reply.head_id:
        return Finding.BROKEN
    if last.sequence > reply.head or (last.sequence < reply.head and len(reply.entries) < asked):
        return Finding.BROKEN
    return Finding.CONTINUOUS


def follows(position: Position, entries: Sequence[Entry]) -> bool:
    """Whether these, of the same epoch, are what comes next behind this position, each naming the one before."""
    last: Position | Entry = position
    for entry in entries:
        if entry.sequence != last.sequence + 1 or entry.predecessor != last.id:
            return False
        last = entry
    return True


def read_news(raw: Any, position: Position) -> tuple[Entry, ...]:
    """The revocations that a blocking read brought and that come next behind this position, up to anything else that it brought.

    Raises nothing: what is amiss with the rest is told by the poll.
    """
    entries: list[Entry] = []
    try:
        for at, fields in raw[0][1]:
            entry = _read_entry(at, fields)
            if at.partition(b"-")[0].decode() != position.epoch or entry.kind in (Kind.LIFT, *NEWS):
                break
            entries.append(entry)
    except _UNREADABLE:
        pass
    return tuple(entries) if follows(position, entries) else ()


def read_reply(raw: Any) -> Reply:
    """The poll's answer, parsed. Anything that is not one is a store that cannot be used: `StoreUnavailable`."""
    try:
        store_time = int(raw[0]) + int(raw[1]) / 1e6
        if len(raw) == _UNDECLARED_REPLY_LENGTH:
            return Reply(store_time, raw[2].decode())
        return Reply(
            store_time=store_time,
            run_id=raw[2].decode(),
            epoch=raw[3].decode(),
            head=int(raw[4]),
            head_id=raw[5].decode(),
            floor=int(raw[6]),
            complete_since=float(raw[7]),
            id_at_position=raw[8].decode(),
            granted=raw[9].decode(),
            entries=tuple(_read_entry(position, dict(zip(flat[::2], flat[1::2], strict=True))) for position, flat in raw[10]),
            log=raw[11].decode(),
            waiting=raw[12].decode(),
            recovers=raw[13].decode(),
            uses_since=float(raw[14]),
            register=raw[15].decode(),
            members=tuple(zip(raw[16][::2], raw[16][1::2], strict=True)),
        )
    except _UNREADABLE as error:
        raise StoreUnavailable(f"the store's answer is not one of ours: {type(error).__name__}") from error


def _read_entry(position: bytes, found: Mapping[bytes, bytes]) -> Entry:
    text = json.loads(found[b"text"] or b"{}")
    target = found[b"target"]
    return Entry(
        sequence=int(position.partition(b"-")[2]),
        id=found[b"id"].decode(),
        predecessor=found[b"before"].decode(),
        kind=Kind(found[b"kind"].decode()),
        key=found[b"key"],
        value=int(found[b"value"]),
        expires_at=int(found[b"expires"]),
        revocation=found[b"revocation"].hex(),
        lifted_kind=Kind(found[b"lifted"].decode()) if found[b"lifted"] else None,
        fold_into=target if len(target) == len(NO_KEY) else NO_KEY,
        issuer=str(text.get("issuer", "")),
        name=str(text.get("name", "")),
        reason=str(text.get("reason", "")),
        source=str(text.get("source", "")),
        device=str(text.get("device", "")),
        appended_at=float(found[b"at"]),
    )
