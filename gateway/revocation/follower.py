"""The task that keeps a worker's view up to date with the log, and proves that it is.

    look ──► snapshot, page by page ──► poll until the head is applied ──► live
                                          ▲                              │
                                          └── wait: an entry or ¼ max_staleness

One poll is one atomic script in the store: it renews this worker's lease (a write, so only a master can answer), shows
the entry at our position, what follows, the head, the time. Its answer is judged (continuity.py), its entries are
applied and handed to `on_entry`, and only then does it count as a proof, dated by when it was **sent** [L3]. The poll
after entries publishes the new position, when the live connections are cut that they end; that is the acknowledgement a
revoker waits for [W1].

The blocking read on the second connection ends the wait early and proves nothing. A revocation that it brought, shown to
follow our position, is refused from then on, a round trip earlier; that moves nothing. The poll it wakes brings it again.
It reads without renewing the lease, and so proves nothing either, but is spared a flush of the store's disk; the poll
behind that one proves and acknowledges.

Losing the store. No answer, or an error for an answer: the view stays as it is, its proof grows old, and `decide`
refuses by itself. A store that answers but is not the one we knew: the state is `lost`, and whatever it says about
revocations is not believed. What leads out is decided in lineage.py: most often we begin a new epoch in that store, or
find one begun, write back all facts we hold, wait until the others have or have stopped themselves, and then follow it
from its snapshot as at a start. Facts in the view go on being refused all the while. A worker that was never live has
nothing to write back; a first start on a store that was never declared is lost to it [L5]: the store may be new, it
may be wiped, and a guess would let every revoked token in.

A new run of the server (another `run_id`) that has our last entry may still have dropped entries that we had not seen. So it
grants no lease before all members have shown that it has theirs, or have stopped themselves. A server that flushes before
it answers (`is_durable`, the embedded store) drops none.

Owns two connections and the position. Decides nothing about requests.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Final

from gateway.clock import LARGEST_STORE_OFFSET_S, Clock
from gateway.errors import StoreError, StoreUnavailable
from gateway.revocation.continuity import Finding, Position, Reply, judge, read_news, read_reply
from gateway.revocation.entry import Entry, Kind
from gateway.revocation.keys import ENTRIES, KEYS, LEAVE, POLL, PURGE
from gateway.revocation.lineage import WayOut, declared_at, is_surpassed, way_out
from gateway.revocation.recovery import Patience, Recovery
from gateway.revocation.snapshot import PAGE_FACTS, read_pages
from gateway.revocation.state import Event, State
from gateway.revocation.view import View
from gateway.revocation.witness import Testimony
from gateway.revocation.witnessing import Standing, Witness
from gateway.store.client import command, connect, store_errors
from gateway.store.scripts import run_script

_log = logging.getLogger(__name__)

ENTRIES_PER_POLL: Final = 500
_NEWS_AT_ONCE: Final = 16  # the poll brings them all; 500 of them here would hold the loop for 5 ms more
ENTRIES_KEPT_S: Final = 3600
_FIRST_PAUSE_S: Final = 0.02
_POISON_SLACK_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 0.25
_RECOVERY_PAUSE_S: Final = 0.05
_PURGE_EVERY_S: Final = 30.0
_PURGE_BUDGET: Final = 200
_SEGMENTS_PER_POLL: Final = 8
_READ_ON_AFTER_S: Final = 0.02
# The server looks ten times a second (`hz`) whether a blocking read's time is over. A deadline that does not wait for that costs
# the connection, and whoever makes a new one twice a second may miss that he was called.
_STORE_TICK_S: Final = 0.12


def _ignore(_: object) -> None:
    return


async def _nothing() -> None:
    return


@dataclass(slots=True)
class FollowerStatistics:
    """What metrics and status want to know. Read it, never write it."""

    is_store_up: bool = False
    position: int = 0
    head: int = 0
    polls: int = 0
    failures: int = 0
    poisoned: int = 0
    snapshots: int = 0
    recoveries: int = 0
    last_error: str = ""


class Follower:
    """Follows the log into one view. Per process; `run()` is its task, `leave()` its end.

    `on_entry` is called after the view has the entry. It must not wait; when it raises, the entry is not acknowledged and comes
    again. `on_foreseen` is called before that for some, when the view refuses by them already. `on_snapshot` is as `on_entry`
    for facts that were read all at once. `enforce` is awaited after each and before the acknowledgement: live connections end
    there. `on_ring` reads our signing keys; it is awaited before an entry that says they changed is acknowledged.
    `on_command` gets the seconds a poll took, `on_enforced` the seconds from the append of an entry until it is enforced here,
    by the store's clock. `log_seen` is the epoch and sequence that other workers of this host are known to have reached.
    `witness` is this host's file: read before the store is believed, kept up to date while this worker is live.
    """

    def __init__(
        self,
        store_url: str,
        view: View,
        clock: Clock,
        *,
        incarnation: str,
        max_staleness: float,
        on_entry: Callable[[Entry], None] = _ignore,
        on_foreseen: Callable[[Entry], None] = _ignore,
        on_snapshot: Callable[[], None] = lambda: None,
        enforce: Callable[[], Awaitable[None]] = _nothing,
        on_ring: Callable[[], Awaitable[None]] = _nothing,
        on_poison: Callable[[str], None] = _ignore,
        on_command: Callable[[float], None] = _ignore,
        on_enforced: Callable[[float], None] = _ignore,
        on_recovery: Callable[[], None] = lambda: None,
        on_write_back: Callable[[], Awaitable[None]] = _nothing,
        largest_skew_s: float = 0.0,
        label: str = "",
        log_seen: tuple[int, int] = (0, 0),
        is_durable: bool = False,
        witness: Witness | None = None,
    ) -> None:
        # per process
        self._view = view
        self._clock = clock
        self._incarnation = incarnation
        self._label = label
        self._log_seen = log_seen
        self._max_staleness_s = max_staleness
        self._interval_s = max_staleness / 4
        self._largest_skew_s = largest_skew_s
        self._on_entry = on_entry
        self._on_foreseen = on_foreseen
        self._on_snapshot = on_snapshot
        self._enforce = enforce
        self._on_ring = on_ring
        self._on_poison = on_poison
        self._on_command = on_command
        self._on_enforced = on_enforced
        self._on_recovery = on_recovery
        self._on_write_back = on_write_back
        self._is_durable = is_durable
        self._store = connect(store_url, timeout_s=min(1.0, max_staleness / 2), max_connections=2)
        self._waiter = connect(store_url, timeout_s=self._interval_s + 1.0, max_connections=2)
        self._polling = asyncio.Lock()
        self._wanted = "live"
        self.statistics = FollowerStatistics()
        self._recovery = Recovery(self._store, incarnation, int(max_staleness * 1000), label)
        self._patience = Patience()
        self._witness = witness
        self._is_witness_heard = witness is None
        # per epoch
        self._position: Position | None = None
        self._acknowledged: Position | None = None  # or about to be: up to here everything is enforced
        self._unenforced: list[Entry] = []
        self._is_broken = False
        self._run_id = ""
        self._is_woken = False
        self._foreseen: frozenset[str] = frozenset()  # ids of entries that are refused already
        self._is_ring_due = False
        self._next_purge = 0.0

    def __repr__(self) -> str:
        return f"<Follower {self._incarnation} {self._view.state} at {self._position}>"

    @property
    def is_clock_right(self) -> bool:
        """Whether our wall clock and the store's agree well enough to judge tokens [T6]."""
        return abs(self._clock.store_offset_s) <= LARGEST_STORE_OFFSET_S

    async def run(self) -> None:
        """Follow until cancelled or `leave()`. Nothing the store does ends it."""
        pause_s = _FIRST_PAUSE_S
        try:
            while self._wanted != "gone":
                try:
                    await self._step()
                    pause_s = _FIRST_PAUSE_S
                    await self._wait_for_news()
                except StoreError as error:
                    self._note_failure(str(error))
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                except Exception as error:  # the task's root: an error here must neither end it nor prove anything
                    _log.exception("the follower stumbled")
                    self._note_failure(repr(error))
                    await asyncio.sleep(_LONGEST_PAUSE_S)
        finally:
            await self._close()

    def drain(self) -> None:
        """From the next poll on this worker is registered as draining: still a member, receipts count it."""
        if self._wanted == "live":
            self._wanted = "draining"

    async def leave(self) -> None:
        """After the last exchange: strike this worker from the register. The view proves nothing from here on."""
        self._wanted = "gone"
        self._view.proven_at = float("-inf")
        try:
            async with self._polling:
                await run_script(self._store, LEAVE, KEYS, [self._incarnation, ""])
        finally:
            await self._close()

    async def _step(self) -> None:
        if self._position is not None or await self._begin():
            await self._catch_up()
            if self._position is not None:
                await self._purge()
            else:  # what was followed is no more, and there is no time to lose
                await self._begin()

    async def _begin(self) -> bool:
        """Look at the store and, if it may be followed, read its facts; before that, give it those it has lost."""
        if not self._is_witness_heard:
            await self._hear_witness()
        reply = await self._poll(None)
        way = way_out(self._recovery.history, self._view.epoch, reply, is_broken=self._is_broken, log_seen=self._log_seen)
        if way is WayOut.STAY_AWAY:
            self._meet(Event.BROKEN, f"the store is {'not the one that was known' if reply.epoch else 'not declared'}")
        elif way is WayOut.BEGIN or self._recovery.must_merge(self._view, reply):
            if self._view.state is not State.LOST:
                self._meet(Event.BROKEN, f"the store has {f'epoch {reply.epoch}' if reply.epoch else 'lost everything'}")
            target = await self._enter() if way is WayOut.BEGIN or self._view.epoch != reply.epoch else reply.epoch
            if target:
                age_s = self._clock.boot() - self._view.proven_at
                await self._on_write_back()
                await self._recovery.write_back(self._view, target, reply.run_id, age_s)
        elif not reply.waiting:
            await self._read_snapshot(reply)
        if self._witness is not None and self._recovery.merged and await self._witness.has_ended(self._recovery.dead_run):
            await self._recovery.strike_the_dead()
        return self._position is not None

    async def _hear_witness(self) -> None:
        """What this host knew before all its workers ended: a store that is behind it is lost, and given it back [L5]."""
        assert self._witness is not None
        seen = await self._witness.read(whole=False)
        if seen is not None:
            reply = await self._poll(seen.position, is_reading=True)
            head, address = seen.head, self._witness.address
            if not is_surpassed(seen.position, head.log, head.address, address, reply):
                testimony = await self._witness.read(whole=True)
                if testimony is not None:
                    await self._take_up(testimony, reply)
        self._is_witness_heard = True

    async def _take_up(self, testimony: Testimony, reply: Reply) -> None:
        """From here on this worker is one that was live where the witness stood, and has not looked since."""
        position, proof, view = testimony.position, testimony.proof, self._view
        _log.error("the store is not what this host's witness file knew: epoch %s at %d", position.epoch, position.sequence)
        view.adopt(position.epoch, proof.complete_since, proof.uses_since)
        view.position, view.folded_until = position.sequence, max(view.folded_until, proof.folded_until)
        facts = testimony.facts
        while some := list(islice(facts, PAGE_FACTS)):
            view.merge(some)
            await asyncio.sleep(0)
        self._recovery.remember(testimony)
        self._is_broken = reply.epoch == position.epoch

    async def _enter(self) -> str:
        """The epoch into which what was lost is written back; "" for none."""
        target, has_begun = await self._recovery.enter(self._view.epoch)
        if target == "whole" and self._recovery.history is not None:
            self._position, self._is_broken = self._recovery.history.position, False
        if not target.isdecimal():
            _log.warning("nothing is written back: the store is %s", target)
            return ""
        if has_begun:
            self.statistics.recoveries += 1
            _log.error("store lost: epoch %s at %d; epoch %s begins", self._view.epoch, self._view.position, target)
            self._on_recovery()
        return target

    async def _read_snapshot(self, reply: Reply) -> None:
        view = self._view
        if view.state is not State.CATCHING_UP or reply.epoch != view.epoch:
            self._meet(Event.DECLARED, f"epoch {reply.epoch}")
        # A declaration by an operator is no recovery: nobody has vouched for what was before it.
        known = int(view.epoch or self._log_seen[0])
        is_vouched = bool(reply.recovers) and self._recovery.log in ("", reply.log)
        since = declared_at(reply.epoch) if known and known != int(reply.epoch) and not is_vouched else 0.0
        view.adopt(reply.epoch, max(reply.complete_since, since), max(reply.uses_since, since))
        async for page in read_pages(self._store, reply.epoch, reply.run_id):
            for fact in view.merge(page.facts, page.store_time + self._largest_skew_s + _POISON_SLACK_S):
                self._report_poison(f"fact {fact.key.hex()}: not-before {fact.value} lies in the future")
        view.let_go()
        self.statistics.snapshots += 1
        self._is_ring_due = True
        await self._read_ring()
        self._on_snapshot()
        self._recovery.note_snapshot(reply)
        self._position, self._is_broken = reply.head_position, False

    async def _catch_up(self) -> None:
        """Poll until an answer reaches the head and brings nothing new: then our position is published and proven."""
        while self._wanted != "gone":
            assert self._position is not None
            await self._read_ring()
            is_enforced = await self._is_enforced()
            if self._witness is not None:
                self._witness_it((), is_proof=False)  # of the position, should the entries have been cut short
                await self._witness.settled()
            is_reading, self._is_woken = self._is_woken or not is_enforced, False
            if is_enforced:
                self._acknowledged = self._position
            elif self._clock.boot() - self._view.proven_at > self._interval_s:
                await self._renew()
            sent_at = self._clock.boot()
            reply = await self._poll(self._position, is_reading=is_reading)
            finding = judge(self._position, reply, ENTRIES_PER_POLL)
            if finding is not Finding.CONTINUOUS:
                self._note_break(finding, reply)
                return
            if self._view.state is State.LOST:
                self._meet(Event.RETURNED, "the store is the one we knew")
            for entry in reply.entries:
                self._apply(entry, reply.store_time)
            await self._read_ring()
            self._note_progress(reply)
            is_proof = self._position.sequence == reply.head and reply.granted in ("live", "draining")
            if is_proof:
                self._meet(Event.GRANTED, f"at {self._position.sequence}")
                self._view.proven_at = max(self._view.proven_at, sent_at)
                self._recovery.note_proof(reply, self._position)
            self._witness_it(reply.entries, is_proof=is_proof)
            if not reply.entries and self._position.sequence == reply.head and not is_reading:
                return

    def _witness_it(self, entries: Sequence[Entry], *, is_proof: bool) -> None:
        """These entries go into this host's witness file; the next poll acknowledges them when they are there."""
        history = self._recovery.history
        if self._witness is None or self._view.state is not State.LIVE or history is None or self._position is None:
            return
        standing = Standing(history.log, self._position, history.proven_at, self._recovery.others)
        self._witness.keep(self._view, standing, entries, is_proof=is_proof)

    def _apply(self, entry: Entry, store_time: float) -> None:
        """One entry: into the view, then no live connection goes on before it is judged, then it is behind us."""
        assert self._position is not None
        if entry.kind is Kind.RING:
            self._is_ring_due = True
        elif entry.kind is Kind.TOUCH:
            self._on_entry(entry)
        elif self._is_poison(entry, store_time):
            self._report_poison(f"entry {entry.sequence}: not-before {entry.value} of {entry.name!r} lies in the future")
        else:
            self._view.apply(entry)
            self._on_entry(entry)
            if entry.id not in self._foreseen:
                self._unenforced.append(entry)
        self._position = Position(self._position.epoch, entry.sequence, entry.id)

    def _is_poison(self, entry: Entry, store_time: float) -> bool:
        """Whether it is a not-before that lies in the future: it would refuse whoever logs in [L7]."""
        return entry.kind is Kind.USER and entry.value > store_time + self._largest_skew_s + _POISON_SLACK_S

    def _refuse_early(self, news: Sequence[Entry]) -> None:
        """Refuse by what nobody has proven yet. It may be of a server that is none any more: so it moves nothing, and what the
        log says counts beside it."""
        store_time = self._clock.wall() + self._clock.store_offset_s
        for entry in news:
            if not self._is_poison(entry, store_time):  # else the poll judges, by the store's own time
                self._view.foresee(entry)
                self._on_foreseen(entry)
                self._unenforced.append(entry)
        self._foreseen = frozenset(entry.id for entry in self._unenforced)

    async def _is_enforced(self) -> bool:
        """End the live connections that must end [W1]. False: they are many, and the log is read on meanwhile."""
        try:
            async with asyncio.timeout(_READ_ON_AFTER_S):
                await self._enforce()
        except TimeoutError:
            return False
        now = self._clock.wall() + self._clock.store_offset_s
        while self._unenforced:
            self._on_enforced(max(0.0, now - self._unenforced.pop().appended_at))
        return True

    async def _renew(self) -> None:
        """Prove that the facts are known, and acknowledge nothing new: of what is still to be ended not a byte passes."""
        acknowledged, sent_at = self._acknowledged, self._clock.boot()
        if acknowledged is None:
            return
        reply = await self._poll(acknowledged)
        is_continuous = judge(acknowledged, reply, ENTRIES_PER_POLL) is Finding.CONTINUOUS
        assert self._position is not None
        if is_continuous and reply.head_position == self._position and reply.granted in ("live", "draining"):
            self._view.proven_at = max(self._view.proven_at, sent_at)

    async def _read_ring(self) -> None:
        """When it changed, before anything is proven: nobody signs or verifies with keys that are known to be old."""
        if self._is_ring_due:
            await self._on_ring()
            self._is_ring_due = False

    async def _poll(self, position: Position | None, *, is_reading: bool = False) -> Reply:
        arguments: list[str | int] = [
            self._incarnation,
            "reading" if is_reading else self._wanted,
            position.epoch if position else "",
            position.sequence if position else 0,
            position.id if position else "",
            ENTRIES_PER_POLL,
            int(self._max_staleness_s * 1000),
            self._label,
            int(self._view.complete_since),
            self._recovery.register,
            "patient" if self._patience.is_over(self._clock.boot()) else "",
            "durable" if self._is_durable else "",
        ]
        async with self._polling:
            if self._wanted == "gone":
                raise StoreUnavailable("this worker has left")
            wall, started = self._clock.wall(), monotonic()
            reply = read_reply(await run_script(self._store, POLL, KEYS, arguments))
        took_s = monotonic() - started
        self._on_command(took_s)
        self._patience.note(reply.waiting, self._clock.boot())
        self._clock.store_offset_s = reply.store_time - (wall + took_s / 2)
        self.statistics.polls += 1
        self.statistics.is_store_up = True
        return reply

    async def _wait_for_news(self) -> None:
        """Until an entry is appended behind our position, or it is time for the next poll. What is read proves nothing [L3]."""
        position = self._position
        if position is None or self._patience.waiting or self._view.state is State.LOST:
            is_soon = self._patience.waiting or self._recovery.merged is not None
            await asyncio.sleep(_RECOVERY_PAUSE_S if is_soon else self._interval_s)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._interval_s + _STORE_TICK_S
        block_ms = max(1, int(1000 * max(self._interval_s / 2, self._interval_s - _STORE_TICK_S)))
        try:
            async with asyncio.timeout_at(deadline):
                behind, block = f"{position.epoch}-{position.sequence}", ("COUNT", _NEWS_AT_ONCE, "BLOCK", block_ms)
                found = await command(self._waiter, "XREAD", *block, "STREAMS", ENTRIES, behind)
                self._is_woken = bool(found)
                self._refuse_early(read_news(found, position))
        except (StoreUnavailable, TimeoutError):
            await asyncio.sleep(max(0.0, deadline - loop.time()))

    async def _purge(self) -> None:
        """Our own expired facts a little at each poll; the store's now and then, whoever comes first."""
        self._view.purge(self._clock.wall(), _SEGMENTS_PER_POLL)
        now = self._clock.boot()
        if now < self._next_purge or not self.is_clock_right:
            return
        self._next_purge = now + _PURGE_EVERY_S
        dropped, trimmed = await run_script(self._store, PURGE, KEYS, [int(self._clock.wall()), _PURGE_BUDGET, ENTRIES_KEPT_S])
        if dropped >= _PURGE_BUDGET or trimmed >= _PURGE_BUDGET:
            self._next_purge = now

    def _note_break(self, finding: Finding, reply: Reply) -> None:
        if finding is Finding.BELOW_FLOOR and self._view.state is not State.LOST:
            self._meet(Event.BELOW_FLOOR, f"the log begins at {reply.floor}")
            self._position = None
            return
        self._meet(Event.BROKEN, f"the log is {finding}")
        is_broken, history = finding is Finding.BROKEN, self._recovery.history
        way = way_out(history, self._view.epoch, reply, is_broken=is_broken, log_seen=self._log_seen)
        if way is not WayOut.STAY_AWAY:
            self._position, self._is_broken = None, is_broken

    def _note_progress(self, reply: Reply) -> None:
        assert self._position is not None
        if self._run_id not in ("", reply.run_id):
            _log.warning("store restarted, log intact: position=%d run_id=%s", self._position.sequence, reply.run_id)
        self._run_id = self._view.run_id = reply.run_id
        self.statistics.position = self._view.position = self._position.sequence
        self.statistics.head = reply.head
        self.statistics.last_error = ""
        self._view.complete_since = max(self._view.complete_since, reply.complete_since)
        self._view.uses_since = max(self._view.uses_since, reply.uses_since)

    def _note_failure(self, text: str) -> None:
        if self.statistics.is_store_up or not self.statistics.failures:
            _log.warning("store unavailable: %s", text)
        self.statistics.is_store_up = False
        self.statistics.failures += 1
        self.statistics.last_error = text

    def _report_poison(self, text: str) -> None:
        self.statistics.poisoned += 1
        _log.error("poisoned revocation not applied: %s", text)
        self._on_poison(text)

    def _meet(self, event: Event, why: str) -> None:
        before = self._view.state
        self._view.meet(event)
        if before is not self._view.state:
            level = logging.ERROR if self._view.state is State.LOST else logging.INFO
            _log.log(level, "replica %s -> %s: %s", before, self._view.state, why)

    async def _close(self) -> None:
        if self._witness is not None:
            await self._witness.close()
        for client in (self._waiter, self._store):
            with store_errors():
                await client.aclose()
