"""Writing to the log: revoke, undo, declare; and the receipt that says who enforces it.

A revocation is one script: the fact, the entry, and the names of the members that must enforce it, in one atomic step.
Then the waiter listens to the positions they publish. What was published before its subscription is confirmed it reads in
the register, which it also reads every now and then, should a message be missed. Whoever stays silent is fenced by the
waiter's clock (receipt.py).

An answer that is lost on its way leaves it open whether the entry was appended: the same request is sent again under
the same id, which appends once. Until the deadline; then `StoreUnavailable`, and nothing was promised.

Not here: deciding what is refused (enforce), following (follower.py), and deleting session records.
"""

import asyncio
import json
import math
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, NamedTuple

from redis.asyncio.client import PubSub

from gateway.clock import Clock
from gateway.errors import GatewayError, StoreConflict, StoreError, StoreLost, StoreUnavailable
from gateway.revocation.entry import KINDS, LARGEST_VALUE, Kind, Revocation
from gateway.revocation.entry import NEWS as NO_FACTS
from gateway.revocation.keys import ACKS, CLEAR, DECLARE, KEYS, LEAVE, MEMBERS, NEWS, REVOKE, STATES, UNDO
from gateway.revocation.lifetimes import Expiry, Lifetimes, expiry_of, largest_skew_s
from gateway.revocation.receipt import Member, Receipt, Tally
from gateway.revocation.view import View
from gateway.store.client import Argument, Store, command, store_errors
from gateway.store.durability import Durability
from gateway.store.scripts import Script, run_script

DEADLINE_S: Final = 5.0
SILENCE_S: Final = 60.0
_REGISTER_EVERY_S: Final = 0.25
_PAUSE_S: Final = 0.05
_LONGEST_TEXT: Final = 512
_STATE: Final = Struct(">QQ")  # the beginning of a row of states, as lua/common.lua packs it


class RevocationRefused(GatewayError):
    """The request makes no sense to the log: an unknown id, or a not-before in the future [L7]."""

    source = "client"


@dataclass(frozen=True, slots=True)
class Register:
    """Who follows the log, and where it ends."""

    epoch: str
    head: int
    members: tuple[Member, ...]


class Said(NamedTuple):
    """What is said about one fact: its value (0: nothing), and until when."""

    value: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Appended:
    epoch: str
    sequence: int
    members: tuple[Member, ...]


class RevocationLog:
    """The writer's side of the log. Per process; holds nothing but the client it was given."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        max_staleness: float,
        *,
        issuers: Mapping[str, Lifetimes] | None = None,
        not_fenced_routes: Sequence[str] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_staleness_s = max_staleness
        self._issuers = dict(issuers or {})
        self._not_fenced_routes = tuple(not_fenced_routes)
        self._deadline_s = deadline_s
        # Whoever waits for a receipt holds one connection, and a second one for the moment of its append: so a worker that
        # hangs delays receipts, and not the appends of those who come after.
        most = store.connection_pool.max_connections
        self._waiting = asyncio.Semaphore(max(1, most // 2))
        self._appending = asyncio.Semaphore(max(1, most // 4))
        self._last_heard: dict[str, tuple[int, float]] = {}

    async def revoke(self, revocation: Revocation, *also: Revocation) -> Receipt:
        """Revoke, and wait until every worker enforces it or is provably stopped, at most until the deadline.

        `also` is revoked in the same step and under the same id: what a revoked thing takes with it.

        Raises `RevocationRefused`, `StoreLost` (the store was never declared, or is empty), and `StoreUnavailable`:
        then it may or may not have been appended; repeating it under the same `id` is safe.
        """
        revocation = replace(revocation, id=revocation.id or secrets.token_hex(16))
        return await self.append_and_wait(REVOKE, self._arguments(revocation, *also), revocation.id)

    async def undo(self, revocation_id: str) -> Receipt:
        """Lift one revocation; what others say about the same key stays. Raises as `revoke` does."""
        arguments: list[Argument] = [secrets.token_hex(8), _raw_id(revocation_id)]
        return await self.append_and_wait(UNDO, arguments, revocation_id)

    async def clear(self, revocation: Revocation) -> Receipt:
        """Lift whatever says this fact, however often it was said. Raises as `revoke` does."""
        return await self.append_and_wait(CLEAR, [secrets.token_hex(8), revocation.key], secrets.token_hex(16))

    async def touch(self, issuer: str, name: str) -> Receipt:
        """The record of a session, or those of an account's sessions, changed: every worker drops its copy.

        Raises as `revoke` does.
        """
        text = _text(issuer=issuer, name=name)
        return await self.append_and_wait(NEWS, [secrets.token_hex(8), Kind.TOUCH.value, text], secrets.token_hex(16))

    async def renew(self, issuer: str, session: str) -> bool:
        """Use of a revoked session was seen: when half of its denial's life is over, it lives on from now [L6].

        Whether that was needed. Waits for nobody: a longer life changes no decision.
        """
        revocation = Revocation(Kind.SESSION, session, issuer, "renewed by use", "use", id=secrets.token_hex(16))
        arguments = self._arguments(revocation)
        arguments[1] = "renew"
        return isinstance(await _append(self._store, REVOKE, KEYS, arguments), _Appended)

    async def declare(self, *, again: bool = False) -> str:
        """Declare the store's first use [L5]; its epoch. Does nothing on a declared store.

        `again` gives a lost one a new epoch: the operator says that what it holds is all there is to know.
        """
        arguments: list[Argument] = [secrets.token_hex(8), secrets.randbelow(1 << 11), "again" if again else ""]
        arguments.append(secrets.token_hex(8))
        epoch, _ = await run_script(self._store, DECLARE, KEYS, arguments)
        return _decoded(epoch)

    async def is_declared(self) -> bool:
        """Whether the store's first use was declared."""
        return bool((await self.members()).epoch)

    async def refuse_lost(self, view: View) -> None:
        """Whether what the store does not have was never there: it is the one this worker follows, and has not gone back.

        Raises `StoreLost`, `StoreUnavailable`.
        """
        register = await self.members()
        if register.epoch != view.epoch or register.head < view.position:
            raise StoreLost("the store is not the one we knew: what it does not have may have been there")

    async def members(self) -> Register:
        """The register, everybody in it."""
        epoch, head, workers = await run_script(self._store, MEMBERS, KEYS, [])
        return Register(_decoded(epoch), int(head), _read_members(workers))

    async def find(self, facts: Sequence[Revocation]) -> tuple[Said, ...]:
        """What the store says about each of these facts now, for people: a decision asks the replica."""
        if not facts:
            return ()
        now = self._clock.wall()
        rows = await command(self._store, "HMGET", STATES, *(fact.key for fact in facts))
        return tuple(_said(row, now) for row in rows)

    async def remove(self, incarnation: str) -> bool:
        """Strike a worker that is certainly dead: its supervisor saw its end. Whether it was there."""
        return bool(await run_script(self._store, LEAVE, KEYS, [incarnation, ""]))

    async def remove_silent(self) -> tuple[str, ...]:
        """Strike the workers not heard of for 60 s, by this process's clock and by what it saw itself: a jump of the
        store's clock silences nobody. Call it every few seconds. Who was struck."""
        now = self._clock.boot()
        members = (await self.members()).members
        heard = {member.incarnation: self._heard(member, now) for member in members}
        self._last_heard = heard
        struck = []
        for incarnation, (renewals, at) in heard.items():
            if now - at > SILENCE_S and await run_script(self._store, LEAVE, KEYS, [incarnation, renewals]):
                struck.append(incarnation)
        return tuple(struck)

    def _heard(self, member: Member, now: float) -> tuple[int, float]:
        renewals, at = self._last_heard.get(member.incarnation, (-1, now))
        return (renewals, at) if renewals == member.renewals else (member.renewals, now)

    def _arguments(self, revocation: Revocation, *also: Revocation) -> list[Argument]:
        arguments: list[Argument] = [math.ceil(largest_skew_s(self._issuers)), ""]
        for number, fact in enumerate((revocation, *also)):
            if fact.kind in (Kind.LIFT, *NO_FACTS) or (fact.kind is Kind.TOKEN and not fact.issuer):
                raise RevocationRefused("a token is revoked by its issuer and its id, and a lift is an undo")
            arguments += fact_arguments(fact, _further_id(revocation.id, number), expiry_of(fact, self._issuers))
        return arguments

    async def append_and_wait(
        self, script: Script, arguments: Sequence[Argument], revocation_id: str, keys: Sequence[str] = KEYS
    ) -> Receipt:
        """Run a script that appends and answers as revoke.lua does; wait for who has to enforce it. Raises as `revoke`."""
        started = self._clock.boot()
        deadline = started + self._deadline_s
        is_kept, was_lost = False, False
        async with self._waiting, self._store.pubsub() as acks:
            while not is_kept:
                async with self._appending, self._own_connection(deadline) as connection:
                    durability = Durability(connection)
                    append = self._append_until(connection, durability, script, keys, arguments, deadline, was_lost=was_lost)
                    appended = await append
                    tally = Tally(appended.members, appended.epoch, appended.sequence, self._clock.boot())
                    durable = await durability.after_append()
                is_kept = await self._listen(acks, tally, deadline)
                was_lost = True
        now = self._clock.boot()
        fenced = tally.fenced(now)
        return Receipt(
            id=revocation_id,
            enforced_by=tally.enforced(),
            fenced=fenced,
            workers=tally.workers,
            complete=tally.is_complete(now),
            durable=durable,
            took_ms=round((now - started) * 1000, 3),
            not_fenced_routes=self._not_fenced_routes if fenced else (),
        )

    @asynccontextmanager
    async def _own_connection(self, deadline: float) -> AsyncIterator[Store]:
        """A client of one connection, opened until the deadline. Raises StoreUnavailable: then nothing was sent."""
        while True:
            connection = self._store.client()
            try:
                with store_errors():
                    await connection.initialize()
                break
            except StoreUnavailable:
                await connection.aclose()
                if self._clock.boot() + _PAUSE_S > deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)
        try:
            yield connection
        finally:
            await connection.aclose()

    async def _append_until(
        self,
        connection: Store,
        durability: Durability,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        deadline: float,
        *,
        was_lost: bool,
    ) -> _Appended:
        """`was_lost`: it was appended before, to a log that is lost; so that log's return is waited for too."""
        while True:
            try:
                await durability.before_append()
                answer = await _append(connection, script, keys, arguments)
                assert isinstance(answer, _Appended)
                return answer
            except RevocationRefused as error:
                if was_lost:
                    raise StoreLost("the store was lost while it was recorded; ask again") from error
                raise
            except StoreError as error:
                is_passing = isinstance(error, StoreUnavailable) or (was_lost and isinstance(error, StoreLost))
                if not is_passing or self._clock.boot() + _PAUSE_S > deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)

    async def _listen(self, acks: PubSub, tally: Tally, deadline: float) -> bool:
        """Until nobody is open. What was published before the subscription is confirmed, the register tells. Errors of the store
        are no news of anybody; the clock goes on.

        False: the log is another one by now, and the entry may be lost with it. A fence is believed only when it is not: who
        writes back to a lost store renews its lease without having been handed the entry [L5, W2].
        """
        while True:
            now = self._clock.boot()
            is_complete = tally.is_complete(now)
            if (is_complete and not tally.fenced(now)) or now >= deadline:
                return True
            wait_s = 0.0 if is_complete else min(_REGISTER_EVERY_S, deadline - now, tally.next_fence(now) + 0.001)
            try:
                with store_errors():
                    if not acks.subscribed:
                        await acks.subscribe(ACKS)
                    message = await acks.get_message(ignore_subscribe_messages=False, timeout=wait_s)
                if message is not None and message["type"] == "message":
                    _hear(tally, message["data"])
                else:
                    register = await self.members()
                    if not tally.hear_register(register.members, register.epoch, register.head):
                        return False
                    if is_complete:
                        return True
            except StoreError:
                if is_complete:  # nobody can renew a lease in it either
                    return True
                await asyncio.sleep(min(_PAUSE_S, max(0.0, deadline - now)))


def fact_arguments(fact: Revocation, raw_id: bytes, expiry: Expiry) -> list[Argument]:
    """One fact as the scripts take it."""
    return [
        secrets.token_hex(8),
        raw_id,
        fact.kind.value,
        KINDS.index(fact.kind) + 1,
        fact.key,
        min(fact.value, LARGEST_VALUE),
        expiry.at,
        expiry.after_s,
        fact.fold_into,
        _text(issuer=fact.issuer, name=fact.name, reason=fact.reason, source=fact.source, device=fact.device),
    ]


async def _append(store: Store, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> _Appended | None:
    """None: nothing had to be appended."""
    answer = await run_script(store, script, keys, arguments)
    match _decoded(answer[0]):
        case "appended":
            return _Appended(_decoded(answer[1]), int(answer[2]), _read_members(answer[3]))
        case "current":
            return None
        case "undeclared":
            raise StoreLost("the store was never declared, or lost everything: gateway store init declares its first use")
        case "merging":
            raise StoreLost("the store was lost, and the workers are writing back what they know; ask again in a moment")
        case "conflict":
            raise StoreConflict("somebody else changed it at the same time; read it again")
        case "poison":
            raise RevocationRefused("a not-before cannot lie in the future")
        case "unknown":
            raise RevocationRefused("it never was, or it has expired")
        case "too-many":
            raise RevocationRefused("this was revoked too often to lift one of it")
        case other:
            raise StoreUnavailable(f"the store's answer is not one of ours: {other[:20]}")


def _said(row: bytes | None, now: float) -> Said:
    if row is None or len(row) < _STATE.size:
        return Said(0, 0)
    value, expires_at = _STATE.unpack_from(row)
    return Said(value, expires_at) if expires_at > now else Said(0, 0)


def _hear(tally: Tally, raw: bytes) -> None:
    match raw.decode("utf-8", "replace").split(" "):
        case [incarnation, "left"]:
            tally.hear_left(incarnation)
        case [incarnation, epoch, position] if position.isdecimal():
            tally.hear(incarnation, epoch, int(position))


def _read_members(flat: Sequence[bytes]) -> tuple[Member, ...]:
    return tuple(_read_member(name, line) for name, line in zip(flat[::2], flat[1::2], strict=True))


def _read_member(name: bytes, line: bytes) -> Member:
    try:
        state, epoch, position, staleness_ms, renewals, renewed_at, label = line.decode().split(" ", 6)
        return Member(
            name.decode(), state, epoch, int(position), int(staleness_ms) / 1000, int(renewals), float(renewed_at), label
        )
    except ValueError as error:
        raise StoreUnavailable("the register of workers cannot be read") from error


def _raw_id(revocation_id: str) -> bytes:
    try:
        raw = bytes.fromhex(revocation_id)
    except ValueError:
        raw = b""
    if len(raw) != 16 or not any(raw):
        raise RevocationRefused("an id of a revocation is 32 hexadecimal digits")
    return raw


def _further_id(revocation_id: str, number: int) -> bytes:
    """The id of the n-th fact of one revocation: its own, then such as follow from it, so that a repetition has the same ones."""
    raw = _raw_id(revocation_id)
    return raw if not number else blake2b(raw + number.to_bytes(4, "big"), digest_size=len(raw)).digest()


def _text(**parts: str) -> str:
    """For people who read the log later; bounded, because names and reasons are as long as somebody likes."""
    return json.dumps({name: value[:_LONGEST_TEXT] for name, value in parts.items()}, ensure_ascii=True)


def _decoded(raw: Any) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
