"""The session store: what a login writes and every worker reads. One script, one round trip, for all that a request waits for.

    create      a login (three round trips: which older sessions there are is asked before, everybody's index written after)
    fetch       the record, at a worker's first sight of a session, or of a new generation of its tokens
    rotate      a refresh token is presented
    renew       a change of password keeps the session that asked
    sids, list  an account's sessions, by name and for people (two)
    remove      the records of sessions that were ended

Ending a session is none of it: that is a fact in the revocation log, which is the commit [L8]. `remove` follows it and may be
repeated. Nothing here is retried; whoever asks knows whether he may. All but `create` and `note_use` can be repeated at will.

Every method raises `StoreUnavailable`. What is no record raises `SessionCorrupt`, for its own session and never for another's
[S37]. Not here: the rules (rotation.py), what is remembered (cache.py), and single flight.
"""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.errors import StoreError, StoreUnavailable
from gateway.sessions.everyone import Everyone
from gateway.sessions.keys import CREATE, GROUPS, LIST, RENEW, ROTATE, SEE, SEEN, index_key, record_key
from gateway.sessions.model import SECRET_BYTES, Login, Record, Use, new_session_id, subject_of
from gateway.sessions.pipeline import run_script_often
from gateway.sessions.rotation import Outcome, Presented, Rules
from gateway.sessions.stored import SessionCorrupt, new_record, read_record, write_groups
from gateway.store.client import Argument, Store, command
from gateway.store.scripts import Script, run_script

_BATCH: Final = 500
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Created:
    """A new session, and the account's older ones that are too many now: to be ended by the caller, oldest first."""

    record: Record
    surplus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What came of a refresh token, at what time of the store, and the record after it; None only when it is absent."""

    outcome: Outcome
    record: Record | None
    at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """An account's living sessions, oldest first, and the sids whose records are damaged: nobody can use those."""

    records: tuple[Record, ...]
    corrupt: tuple[str, ...]


class SessionStore:
    """The sessions in the store. Per process; holds the client, the rules, and `everyone`, the index of all sessions."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self.everyone = Everyone(store)

    async def create(self, login: Login) -> Created:
        """Open a session. The surplus is only named: revoke it, then `remove` it; what was not is named again next time."""
        sid, secret, rules = new_session_id(login.sub), secrets.token_bytes(SECRET_BYTES), self._rules
        if subject_of(sid) is None:
            raise ValueError("a session belongs to an account of ours")
        older = await self.sids(login.sub)
        asked = older if len(older) >= rules.per_user else ()  # whether they live matters when there are too many
        keys = [record_key(sid), index_key(login.sub), *map(record_key, asked)]
        limits = (rules.session_ttl_s, rules.access_ttl_s, rules.refresh_ttl_s, rules.per_user)
        fields = new_record(sid, secret, login)
        answer = await run_script(self._store, CREATE, keys, [sid, *limits, len(asked), *asked, *fields])
        created = Created(read_record(sid, answer[2]), tuple([raw.decode() for raw in answer[3]]))
        with suppress(StoreError):  # the session is there; it is only not counted
            await self.everyone.add(created.record)
        return created

    async def fetch(self, sid: str, generation: int = 0) -> Record | None:
        """The record, or None when there is no such session. `generation`: of the token that the client showed, of either
        kind; that it was seen is then on record [R2]. Never pass what was minted a moment ago: nobody has shown that."""
        _, record, _ = await self._ask(SEE, sid, generation)
        return record

    async def rotate(self, sid: str, presented: Presented) -> Rotation:
        """Rotate by the rules of rotation.py, by the store's time. `reused`: the caller ends the session in the log."""
        rules = self._rules
        outcome, record, at = await self._ask(
            ROTATE,
            sid,
            *(presented.generation, presented.version, presented.network, presented.delivery),
            *(int(presented.is_same_device), int(presented.is_recognised), int(presented.may_rotate)),
            *(rules.grace_s, rules.access_ttl_s, rules.refresh_ttl_s),
        )
        return Rotation(Outcome(outcome), record, at)

    async def renew(self, sid: str, version: int, network: str = "") -> Record | None:
        """After a change of password: this session goes on, in a new generation under the new version; None when it is over.

        A version that is not newer changes nothing.
        """
        rules = self._rules
        _, record, _ = await self._ask(RENEW, sid, version, network, rules.access_ttl_s, rules.refresh_ttl_s)
        return record

    async def sids(self, sub: str) -> tuple[str, ...]:
        """The names of an account's sessions, oldest first. Some may have expired; damaged ones are among them."""
        found = await command(self._store, "ZRANGE", index_key(sub), 0, -1)
        sids = tuple([name for raw in found if subject_of(name := raw.decode("utf-8", "replace")) == sub])
        if len(sids) < len(found):  # an index that somebody edited: what is no name of ours leads nowhere
            await command(self._store, "ZREM", index_key(sub), *set(found).difference(sid.encode() for sid in sids))
        return sids

    async def list(self, sub: str) -> Listed:
        """An account's living sessions."""
        sids = await self.sids(sub)
        if not sids:
            return Listed((), ())
        now, found, corrupt = await run_script(self._store, LIST, [index_key(sub), *map(record_key, sids)], sids)
        records, damaged = [], [raw.decode() for raw in corrupt]
        for raw, fields in found:
            try:
                records.append(read_record(raw.decode(), fields))
            except SessionCorrupt:
                damaged.append(raw.decode())
        living = [record for record in records if not record.is_ended and record.refresh_expires > float(now)]
        return Listed(tuple(living), tuple(damaged))

    async def set_groups(self, sub: str, groups: Sequence[str]) -> tuple[str, ...]:
        """Write an account's new groups into the records of all its sessions; which. Then `touch` them in the log.

        NB: a login that read the account before its groups changed and creates its session after this has the old ones.
        """
        for _ in range(_ATTEMPTS):
            sids = await self.sids(sub)
            keys = [index_key(sub), *map(record_key, sids)]
            answer = await run_script(self._store, GROUPS, keys, [write_groups(groups), *sids])
            if answer[0] == b"changed":
                return tuple([raw.decode() for raw in answer[1]])
        raise StoreUnavailable("the account's sessions change faster than they can be read")

    async def remove(self, sids: Iterable[str]) -> None:
        """Remove the records of sessions that were ended, and every mention of them."""
        await self.everyone.remove(sids)

    async def note_use(self, uses: Sequence[Use]) -> None:
        """When and from where sessions were used, for people. A session that is gone stays gone."""
        calls: list[tuple[str, Sequence[Argument]]] = [
            (record_key(use.sid), (use.sid, use.seen_at, use.network, use.count)) for use in uses
        ]
        for at in range(0, len(calls), _BATCH):
            await run_script_often(self._store, SEEN, calls[at : at + _BATCH])

    async def count(self) -> int:
        """How many sessions there are; see `Everyone.count`."""
        return await self.everyone.count()

    async def _ask(self, script: Script, sid: str, *arguments: Argument) -> tuple[str, Record | None, float]:
        """One script about one session: what it says, the record after it, the time."""
        if subject_of(sid) is None:  # so a name that is not ours reaches no key [L8]
            return Outcome.ABSENT, None, 0.0
        answer = await run_script(self._store, script, [record_key(sid)], [sid, *arguments])
        match answer[0]:
            case b"absent":
                return Outcome.ABSENT, None, 0.0
            case b"corrupt":
                raise SessionCorrupt("the record of a session is damaged, or is not that session's")
            case _:
                return answer[0].decode(), read_record(sid, answer[2]), float(answer[1])
