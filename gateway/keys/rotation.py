"""The life of our signing keys: made, announced, promoted, retired; on schedule and on command [T4, L7].

    announce   a new key is written as next, and everybody reads it       receipt
    promote    only after a complete receipt: next signs, the one that signed is retiring (or gone, when condemned)

A token must not reach a worker that does not know its key: so there is no promotion without a complete receipt for the next
key, and a receipt that is not complete leaves it next. Whoever comes later (this process, another supervisor, after a crash)
announces the same key again and goes on. The same order makes retiring safe: a signing key that is retired is condemned,
goes on signing until its successor does, and is gone in that very step, with a fact that refuses what it signed.

Every change is a comparison with what was read, so several supervisors may act at once: one wins, the others read again. The
lease only spares them the work. Ages are judged by the earlier of the store's clock and ours: one that jumps ahead retires
nothing early.

Owns a lock, so that this process takes one step at a time. Ending the sessions after a leak is the caller's.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.errors import GatewayError, KeySetError, KeyUnknown, StoreConflict, StoreError
from gateway.keys.schedule import Due, Pace, due
from gateway.keys.store import Kept, commit, describe, fetch, lead, load
from gateway.revocation.log import RevocationLog
from gateway.revocation.receipt import Receipt
from gateway.store.client import Store
from gateway.tokens.ring import Change, Ring, SigningKey, State, new_key

LEASE_S: Final = 30.0  # longer than a step: two receipts of five seconds and the making of an RSA key
TICK_S: Final = 10.0
_PAUSE_S: Final = 1.0
_ATTEMPTS: Final = 10
_ROTATED: Final = "keys rotated"
_RETIRED: Final = "key retired"
_COMPROMISED: Final = "keys compromised"
_EXPIRED: Final = "key expired"

_log = logging.getLogger(__name__)


class Rotation:
    """Changes the ring. Per supervisor. `on_change` is told what became of which key, after the store has it."""

    def __init__(
        self,
        store: Store,
        log: RevocationLog,
        config: Config,
        secrets_: Sequence[bytes],
        clock: Clock,
        *,
        on_change: Callable[[Sequence[Change], str], None] = lambda changes, reason: None,
    ) -> None:
        self._store = store
        self._log = log
        self._secrets = secrets_
        self._clock = clock
        self._issuer = config.own_issuer
        self._pace = Pace.of(config)
        self._on_change = on_change
        self._name = secrets.token_hex(8)
        self._acting = asyncio.Lock()
        self._last_problem = ""

    async def ring(self) -> Ring:
        """All keys, for people. Raises as `gateway.keys.store.load`."""
        return await load(self._store, self._secrets)

    async def ensure(self) -> Receipt | None:
        """A key that signs, when there is none. None: there is. Raises as `rotate`."""
        async with self._acting:
            return None if (await self._fetch()).ring.signing is not None else await self._keep_pace(Due.SUCCESSION)

    async def step(self) -> Receipt | None:
        """What is due on schedule, at most one thing. None: nothing is, or another supervisor sees to it. Raises as `rotate`."""
        async with self._acting:
            kept = await self._fetch()
            what = self._due(kept)
            # Without a signing key nobody can log in, and the lease may be a dead supervisor's.
            if what is Due.NOTHING or (kept.ring.signing is not None and not await self._lead(LEASE_S)):
                return None
            return await self._keep_pace(what)

    async def rotate(self, *, compromised: bool = False) -> Receipt:
        """A new key signs, and the others verify until their tokens have expired.

        `compromised` refuses whatever any of the others signed, at once: those that do not sign before the new key is announced,
        the one that does as soon as the new one signs. Also when they cannot be read: it is the way out of a lost secret.

        A receipt that is not complete means that the new key waits: the schedule goes on with it. Raises `StoreUnavailable`,
        `StoreLost`, `StoreConflict`, and `KeySetError` when the keys cannot be read.
        """
        async with self._acting:
            reason = _COMPROMISED if compromised else _ROTATED
            receipt, ring = await self._change(self._condemned if compromised else self._announced, reason, gives_up=compromised)
            return await self._promote(ring, receipt, reason)

    async def retire(self, kid: str) -> Receipt:
        """What this key signed is refused from now on; of the key that signs: as soon as a new one does [L7].

        Raises `KeyUnknown`, and as `rotate`.
        """

        async def retired(kept: Kept) -> Ring:
            try:
                ring = kept.ring.retire(kid, self._now(kept))
            except KeyError as error:
                raise KeyUnknown(f"no signing key has the kid {kid[:64]!r}") from error
            return await self._with_successor(kept, ring) if _is_condemned(ring) else ring

        async with self._acting:
            receipt, ring = await self._change(retired, _RETIRED)
            return await self._promote(ring, receipt, _RETIRED) if _is_condemned(ring) else receipt

    async def run(self) -> None:
        """The schedule, until cancelled. Nothing the store does ends it."""
        try:
            while True:
                is_done = await self._attempt()
                await asyncio.sleep(TICK_S if is_done else _PAUSE_S)
        finally:
            with suppress(StoreError):
                await self._lead(0)

    async def _attempt(self) -> bool:
        """Whether the rest can wait for the next tick."""
        try:
            receipt = await self.step()
        except GatewayError as error:
            self._report(str(error), is_expected=isinstance(error, StoreError))
            return False
        except Exception:  # the task's root: an error here must not end rotation for good
            _log.exception("the rotation of keys stumbled")
            return False
        self._last_problem = ""
        return receipt is None or not receipt.complete

    def _report(self, problem: str, *, is_expected: bool) -> None:
        if problem != self._last_problem:
            _log.log(logging.WARNING if is_expected else logging.ERROR, "signing keys are not looked after: %s", problem)
        self._last_problem = problem

    async def _keep_pace(self, what: Due) -> Receipt:
        """What is due. Judged again on what is found when somebody else acts at the same time: two of us rotate once."""

        async def kept_in_pace(kept: Kept) -> Ring:
            match self._due(kept):
                case Due.ANNOUNCEMENT | Due.SUCCESSION:
                    return await self._with_successor(kept, kept.ring)
                case Due.TIDYING:
                    return kept.ring.tidy(self._now(kept), self._pace.retiring_s, self._pace.gone_s)
            return kept.ring

        reason = _EXPIRED if what is Due.TIDYING else _ROTATED
        receipt, ring = await self._change(kept_in_pace, reason)
        return await self._promote(ring, receipt, reason) if what is Due.SUCCESSION else receipt

    def _due(self, kept: Kept) -> Due:
        return due(kept.ring, self._now(kept), self._pace, has_old_seals=kept.has_old_seals)

    async def _promote(self, announced: Ring, receipt: Receipt, reason: str) -> Receipt:
        """The next key of `announced` signs, if the receipt for it is complete [T4]; else that receipt."""
        key = announced.next
        if key is None or not receipt.complete:
            return receipt
        kid = key.kid

        async def promoted(kept: Kept) -> Ring:
            now = kept.ring.find(kid)
            if now is None or now.state is State.GONE:
                raise StoreConflict("the new key was retired by somebody else before it signed")
            return kept.ring.promote(kid, self._now(kept)) if now.state is State.NEXT else kept.ring

        return (await self._change(promoted, reason))[0]

    async def _announced(self, kept: Kept) -> Ring:
        return await self._with_successor(kept, kept.ring)

    async def _condemned(self, kept: Kept) -> Ring:
        return await self._with_successor(kept, kept.ring.retire_all(self._now(kept)))

    async def _with_successor(self, kept: Kept, ring: Ring) -> Ring:
        """The ring with a next key of the configured algorithm: the one that waits there, or a new one."""
        if ring.next is not None and ring.next.algorithm == self._pace.algorithm:
            return ring
        return ring.with_next(await self._new_key(kept.store_time), self._now(kept))

    async def _new_key(self, now: float) -> SigningKey:
        return await asyncio.to_thread(new_key, self._pace.algorithm, now)

    async def _change(
        self, change: Callable[[Kept], Awaitable[Ring]], reason: str, *, gives_up: bool = False
    ) -> tuple[Receipt, Ring]:
        """Read, decide, write; again when somebody else wrote in between. The receipt and the ring that was written.

        `gives_up`: what cannot be read is dropped.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            kept = await self._fetch(is_lenient=gives_up)
            ring = await change(kept)
            try:
                receipt = await commit(self._log, self._secrets, kept, ring, self._issuer, reason=reason, drop=kept.unreadable)
            except StoreConflict:
                if attempt == _ATTEMPTS:
                    raise
                continue
            self._note(ring.changes_since(kept.ring), reason)
            return receipt, ring
        raise AssertionError

    def _note(self, changes: Sequence[Change], reason: str) -> None:
        if changes:
            _log.info("signing keys: %s (%s)", describe(changes), reason)
            self._on_change(changes, reason)

    async def _fetch(self, *, is_lenient: bool = False) -> Kept:
        kept = await fetch(self._store, self._secrets)
        if kept.problem and not is_lenient:
            raise KeySetError(kept.problem)
        return kept

    def _now(self, kept: Kept) -> float:
        return min(kept.store_time, self._clock.wall())

    async def _lead(self, lease_s: float) -> bool:
        return await lead(self._store, self._name, lease_s)


def _is_condemned(ring: Ring) -> bool:
    return ring.signing is not None and ring.signing.state is State.CONDEMNED
