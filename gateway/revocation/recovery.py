"""Writing back to a lost store what this worker holds [L5], together with all others who do the same.

No leader. Whoever comes first begins a new epoch in one script (lua/recover.lua); all write back their facts, some hundred per
script (lua/merge.lua), and the register says who is still missing. Nobody becomes live before all were heard, or one of
them waited long enough for the silent to have stopped themselves (lua/poll.lua); who comes later merges then, and his facts
become entries that all enforce.

What is written is a join: the greater value, the later expiry. The same fact of two workers is one revocation, whose id
follows from the epoch, the key and the value. Lifts are not written back, as nobody can tell how they lie in time to what
another branch of the log said: at worst, what was lifted is refused again.

Since when the log is complete is now, unless one of those who merged can vouch for it: it was live in the epoch that was lost,
and its proof was still fresh when it came (then no revocation can have been acknowledged without it), or nobody is missing.

Owns what must be known when the store does not know it any more. Which store may be written to is decided in lineage.py.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from struct import Struct
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.revocation.continuity import Position, Reply
from gateway.revocation.entry import KINDS
from gateway.revocation.keys import KEYS, LEAVE, MEMBERS, MERGE, RECOVER
from gateway.revocation.lineage import History
from gateway.revocation.view import Fact, View
from gateway.revocation.witness import Testimony
from gateway.revocation.witness_lock import RUN_LENGTH
from gateway.store.client import Argument, Store
from gateway.store.scripts import run_script

_log = logging.getLogger(__name__)

FACTS_PER_SCRIPT: Final = 500  # 5 ms of the store's time, in which nobody else is answered
SCRIPTS_AT_ONCE: Final = 2  # as many as there are connections
_FACT: Final = Struct(">16s16sBQQ")
_UNKNOWN_KIND: Final = 1
_TEXT: Final = json.dumps({"reason": "written back after the store was lost", "source": "recovery"})


class Patience:
    """Whether those who are missing have had the time in which they stop themselves [W2], by this process's clock."""

    __slots__ = ("_since", "waiting")

    def __init__(self) -> None:
        self.waiting = ""
        self._since = 0.0

    def note(self, waiting: str, boot: float) -> None:
        """What the store says about the waiting; whatever changes in it is news of somebody, and the time begins anew."""
        if waiting != self.waiting:
            self.waiting, self._since = waiting, boot

    def is_over(self, boot: float) -> bool:
        """Whether the store has waited for long enough."""
        return bool(self.waiting) and boot - self._since > int(self.waiting.partition(" ")[0]) / 1000


@dataclass(frozen=True, slots=True)
class Voucher:
    """Since when what is written back is all there was; `is_fresh`: nobody can have gone on without the one who says it."""

    complete_since: float | None = None
    is_fresh: bool = False


class Recovery:
    """What a worker remembers of the log it was live in, and the writing back. Per process."""

    def __init__(self, store: Store, incarnation: str, staleness_ms: int, label: str) -> None:
        self._store = store
        self._incarnation = incarnation
        self._staleness_ms = staleness_ms
        self._label = label
        self._members: dict[bytes, bytes] = {}
        self.history: History | None = None
        self.log = ""
        self.register = ""
        self.merged: tuple[str, str] | None = None  # into which epoch, on which run of the server
        self._can_vouch = True
        self.dead_run = ""  # whose workers knew what the witness file knows: when that was merged they are heard

    @property
    def others(self) -> tuple[tuple[str, int], ...]:
        """The members whose incarnations do not begin as ours, so of other hosts, with their staleness in ms."""
        run = self._incarnation[:RUN_LENGTH].encode()
        lines = sorted(line for line in self._members.items() if not line[0].startswith(run))
        return tuple((name.decode(), int(line.split(b" ")[3])) for name, line in lines)

    def remember(self, testimony: Testimony) -> None:
        """Know what the workers knew that left a witness file. And be waited for, as they would be: what they knew is vouched for
        when it is written back, and an epoch that nobody is missing in opens at once."""
        proof, position = testimony.proof, testimony.position
        self.history = History(testimony.head.log, position, proof.proven_at)
        self.log, self.dead_run, self._can_vouch = testimony.head.log, testimony.head.run, testimony.is_whole
        members = (*testimony.members, (self._incarnation, self._staleness_ms))
        self._members = {name.encode(): _line(testimony, staleness_ms) for name, staleness_ms in members}

    async def strike_the_dead(self) -> None:
        """What the workers of the dead run knew has been merged: nobody need wait for them. Raises `StoreUnavailable`."""
        _, _, register = await run_script(self._store, MEMBERS, KEYS, [])
        for incarnation in register[::2]:
            if incarnation.startswith(self.dead_run.encode()):
                await run_script(self._store, LEAVE, KEYS, [incarnation, ""])

    def note_proof(self, reply: Reply, position: Position) -> None:
        """This worker is live at this position, and these are the members."""
        self.history = History(reply.log, position, reply.store_time)
        if reply.register != self.register:
            self._members, self.register = dict(reply.members), reply.register

    def note_snapshot(self, reply: Reply) -> None:
        """The facts were read: whatever was merged is in the epoch that is followed now."""
        self.log, self.register, self.merged = reply.log, "", None
        self._can_vouch, self.dead_run = True, ""

    def must_merge(self, view: View, reply: Reply) -> bool:
        """Whether the view holds facts that this run of the store's epoch was not given."""
        is_holding = view.is_holding_ended or view.epoch not in ("", reply.epoch)
        return is_holding and self.merged != (reply.epoch, reply.run_id)

    async def enter(self, epoch: str) -> tuple[str, bool]:
        """Begin a new epoch after this lost one, or take part in the one that was begun. Its name, and whether we began it.

        Without a name: "whole", the log came back meanwhile; "refused", it is not ours to write to. Raises `StoreUnavailable`.
        """
        position = self.history.position if self.history else Position(epoch, 0, "")
        may_begin = "live" if self.history else ""
        arguments: list[Argument] = [self._incarnation, may_begin, epoch, position.sequence, position.id, self.log]
        arguments += [secrets.token_hex(8), secrets.randbelow(1 << 11), *chain.from_iterable(self._members.items())]
        match await run_script(self._store, RECOVER, KEYS, arguments):
            case [b"merging", bytes(target), int(has_begun)]:
                return target.decode(), bool(has_begun)
            case [(b"whole" | b"refused") as why]:
                return why.decode(), False
            case _:
                raise StoreUnavailable("the answer to a recovery is not one of ours")

    async def write_back(self, view: View, target: str, run_id: str, age_s: float) -> None:
        """Merge all that the view holds into the epoch, a few facts at a time. `age_s` is that of our proof.

        `run_id` is that of the server that was looked at: another one may lack what this one was given, and is given nothing.
        Raises `StoreUnavailable`; doing it again is safe.
        """
        voucher = self._voucher(view, target, is_fresh=age_s * 1000 <= self._staleness_ms)
        since: Argument = "" if voucher.complete_since is None else int(voucher.complete_since)
        fresh = "fresh" if voucher.is_fresh else ""
        about: list[Argument] = [self._staleness_ms, self._label, run_id]

        async def merge(facts: list[Fact], last: str) -> int | None:
            arguments: list[Argument] = [self._incarnation, view.epoch, target, _TEXT, last, since, fresh, *about]
            arguments.append(b"".join(_packed(fact, view.epoch) for fact in facts))
            try:
                return _read(await run_script(self._store, MERGE, KEYS, arguments))
            except StoreUnavailable:  # once more, rather than all from the beginning: the script looks where it is
                return _read(await run_script(self._store, MERGE, KEYS, arguments))

        added = 0
        for some, last in _batches(view.held()):
            answers = await asyncio.gather(*(merge(facts, last) for facts in some))
            if None in answers:
                _log.warning("epoch %s is gone, or its server is another one: all is written back anew", target)
                return
            added += sum(filter(None, answers))
        _log.warning("wrote back to epoch %s: of %d facts %d were lost", target, len(view), added)
        self.merged = (target, run_id)

    def _voucher(self, view: View, target: str, *, is_fresh: bool) -> Voucher:
        is_member = self.history is not None and self.history.position.epoch == view.epoch
        if not self._can_vouch or not is_member or (self.merged is not None and self.merged[0] != target):
            return Voucher()
        folded = view.folded_until + 1 if view.folded_until else 0
        return Voucher(max(view.complete_since, folded), is_fresh)


def _batches(facts: Iterable[list[Fact]]) -> Iterator[tuple[list[list[Fact]], str]]:
    """Batches that may be sent side by side, so that the store flushes once for both; the "last" one alone, and never none."""
    waiting: list[Fact] = []
    for some in facts:
        waiting += some
        while len(waiting) > SCRIPTS_AT_ONCE * FACTS_PER_SCRIPT:
            yield [waiting[at * FACTS_PER_SCRIPT : (at + 1) * FACTS_PER_SCRIPT] for at in range(SCRIPTS_AT_ONCE)], ""
            waiting = waiting[SCRIPTS_AT_ONCE * FACTS_PER_SCRIPT :]
    while len(waiting) > FACTS_PER_SCRIPT:
        yield [waiting[:FACTS_PER_SCRIPT]], ""
        waiting = waiting[FACTS_PER_SCRIPT:]
    yield [waiting], "last"


def _line(testimony: Testimony, staleness_ms: int) -> bytes:
    """A member of another host as the register has it (lua/common.lua)."""
    epoch, sequence, proven_at = testimony.head.epoch, testimony.position.sequence, testimony.proof.proven_at
    return f"live {epoch} {sequence} {staleness_ms} 0 {proven_at:.0f} of another host".encode()


def _packed(fact: Fact, origin: str) -> bytes:
    key, value, expires_at, _, _, kind, _ = fact
    name = blake2b(b"%s %d %s" % (origin.encode(), value, key), digest_size=16).digest()
    return _FACT.pack(name, key, kind if 0 < kind <= len(KINDS) else _UNKNOWN_KIND, value, expires_at)


def _read(answer: Any) -> int | None:
    match answer:
        case [b"merged", int(added)]:
            return added
        case [b"gone"]:
            return None
        case _:
            raise StoreUnavailable("the answer to a merge is not one of ours")
