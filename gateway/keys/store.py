"""The ring in the store: read it, and change it together with the log [T4, L8].

    gateway:{log}:ring          kid -> "state since algorithm created box"; revision, change, sequence
    gateway:{log}:ring-leader   who rotates on schedule, with a time to live

The ring lies in the log's slot, so one script changes it, appends the facts about the keys that are gone, and then the entry
by which every worker learns to read it again. A worker acknowledges that entry after it has read the ring, so the receipt of
a change says who has the new keys.

A change is a comparison with the revision that was read: of two supervisors one wins, and the other raises `StoreConflict`.
The times of changes are the store's, told by the script, so that hosts agree on a key's age.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from gateway.errors import KeySetError
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.keys import KEYS
from gateway.revocation.lifetimes import expiry_of
from gateway.revocation.log import RevocationLog, fact_arguments
from gateway.revocation.receipt import Receipt
from gateway.store.client import Argument, Store, command
from gateway.store.scripts import load_script, run_script
from gateway.tokens.ring import Change, Ring, SigningKey, State, sorted_keys
from gateway.tokens.seal import seal, time_text, unseal

RING: Final = "gateway:{log}:ring"
LEADER: Final = "gateway:{log}:ring-leader"
_LUA: Final = Path(__file__).parent / "lua"
_COMMON: Final = Path(__file__).parent.parent / "revocation" / "lua" / "common.lua"
_CHANGE: Final = load_script(_COMMON, _LUA / "ring.lua")
_RESTORE: Final = load_script(_COMMON, _LUA / "restore.lua")
_LEAD: Final = load_script(_LUA / "lead.lua")
_OURS: Final = (b"revision", b"change", b"sequence")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the store held, and its clock. `unreadable` are the kids of rows that no secret opens, `problem` says why."""

    ring: Ring
    store_time: float
    has_old_seals: bool = False  # some row was sealed with a secret that is not the newest
    unreadable: tuple[str, ...] = ()
    problem: str = ""


async def load(store: Store, secrets_: Sequence[bytes]) -> Ring:
    """The ring as it is. Empty when there is none yet.

    Raises `StoreUnavailable`, and `KeySetError` when a key of it cannot be read: part of a ring would call good tokens unknown.
    """
    kept = _read(await command(store, "HGETALL", RING), secrets_, 0.0)
    if kept.problem:
        raise KeySetError(kept.problem)
    return kept.ring


async def fetch(store: Store, secrets_: Sequence[bytes]) -> Kept:
    """The ring for somebody who means to change it, what cannot be read of it too. Raises as `load`, but for single keys."""
    seconds, microseconds = await command(store, "TIME")
    return _read(await command(store, "HGETALL", RING), secrets_, int(seconds) + int(microseconds) / 1e6)


async def commit(
    log: RevocationLog,
    secrets_: Sequence[bytes],
    kept: Kept,
    ring: Ring,
    issuer: str,
    *,
    reason: str,
    drop: Sequence[str] = (),
) -> Receipt:
    """Put `ring` in the place of what was read; who has it now, and refuses what is gone from it.

    A ring without a change is a change too: its receipt says who has the ring. `drop` are unreadable rows to be given up.
    Raises `StoreConflict` when the ring is not the one that was read, and else as `RevocationLog.revoke` does.
    """
    change_id = secrets.token_hex(16)
    changes = ring.changes_since(kept.ring)
    rows = [_row(change, secrets_) for change in changes] + [_dropped(kid) for kid in drop]
    if kept.has_old_seals:
        unchanged = [key for key in ring.keys if key == kept.ring.find(key.kid)]
        rows += [_row(Change(key.kid, key, key), secrets_) for key in unchanged]
    facts = [_fact(key.kid, key.thumbprint, issuer, reason) for key in _newly_gone(changes)]
    facts += [_fact(kid, "", issuer, reason) for kid in drop]
    text = json.dumps({"issuer": issuer, "name": describe(changes)[:512], "reason": reason, "source": "keys"})
    arguments: list[Argument] = [change_id, kept.ring.revision, secrets.token_hex(8), text, len(rows)]
    arguments += chain.from_iterable(rows)
    for number, fact in enumerate(facts):
        raw_id = secrets.token_bytes(16) if number else bytes.fromhex(change_id)
        arguments += fact_arguments(fact, raw_id, expiry_of(fact, {}))
    return await log.append_and_wait(_CHANGE, arguments, change_id, (*KEYS, RING))


async def restore(store: Store, secrets_: Sequence[bytes], ring: Ring) -> bool:
    """Write back a ring that the store has lost, or has in an older state only [L5]. Whether it had.

    What a newer key of a forked store signed is `unknown-key` then. Raises `StoreUnavailable`; repeating it is safe.
    """
    if not ring.keys:
        return False
    text = json.dumps({"reason": "written back after the store was lost", "source": "recovery"})
    rows = [(key.kid, key.state.value, time_text(key.since), seal(key, secrets_)) for key in ring.keys]
    arguments: list[Argument] = [ring.revision, secrets.token_hex(8), text, *chain.from_iterable(rows)]
    return bool(await run_script(store, _RESTORE, (*KEYS, RING), arguments))


async def lead(store: Store, who: str, lease_s: float) -> bool:
    """Take or extend the lease of the one who rotates on schedule; with 0 seconds give it back. Whether it is his."""
    return bool(await run_script(store, _LEAD, [LEADER], [who, int(lease_s * 1000)]))


def describe(changes: Sequence[Change]) -> str:
    """For logs: `A: next -> signing, B: signing -> retiring`."""
    return ", ".join(f"{change.kid}: {_state(change.before)} -> {_state(change.after)}" for change in changes)


def _read(raw: Mapping[bytes, bytes], secrets_: Sequence[bytes], store_time: float) -> Kept:
    keys, unreadable, problem, has_old_seals = [], [], "", False
    for name, row in raw.items():
        if name in _OURS:
            continue
        kid = name.decode("utf-8", "replace")
        try:
            key, is_newest = unseal(kid, row.decode("utf-8", "replace"), secrets_)
        except KeySetError as error:
            unreadable.append(kid)
            problem = problem or str(error)
            continue
        keys.append(key)
        has_old_seals |= not is_newest
    ring = Ring(_revision(raw), sorted_keys(keys))
    _refuse_impossible(ring)
    return Kept(ring, store_time, has_old_seals, tuple(unreadable), problem)


def _revision(raw: Mapping[bytes, bytes]) -> int:
    text = raw.get(b"revision", b"" if raw else b"0")
    if not text.isdigit():
        raise KeySetError(f"the ring of signing keys has no revision: {RING} in the store was changed by hand")
    return int(text)


def _refuse_impossible(ring: Ring) -> None:
    for what, count in (
        ("signs", sum(key.signs for key in ring.keys)),
        ("is next", sum(key.state is State.NEXT for key in ring.keys)),
    ):
        if count > 1:
            raise KeySetError(f"more than one signing key {what}: {RING} in the store was changed by hand")


def _row(change: Change, secrets_: Sequence[bytes]) -> tuple[str, str, str, str]:
    """What the script takes. Without a time it writes its own: the moment when the key came into its state."""
    if change.after is None:
        return _dropped(change.kid)
    is_as_before = change.before is not None and change.before.state is change.after.state
    since = time_text(change.after.since) if is_as_before else ""
    return change.kid, change.after.state.value, since, seal(change.after, secrets_)


def _dropped(kid: str) -> tuple[str, str, str, str]:
    return kid, "", "", ""


def _newly_gone(changes: Sequence[Change]) -> list[SigningKey]:
    return [
        change.after
        for change in changes
        if change.after is not None
        and change.after.state is State.GONE
        and (change.before is None or change.before.state is not State.GONE)
    ]


def _fact(kid: str, thumbprint: str, issuer: str, reason: str) -> Revocation:
    """Permanent [L6], and with the thumbprint where it is known: another key may have the kid one day."""
    return Revocation(Kind.KEY, kid, issuer, reason, "keys", thumbprint=thumbprint)


def _state(key: SigningKey | None) -> str:
    return "none" if key is None else key.state.value
