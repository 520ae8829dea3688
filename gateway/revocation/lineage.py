"""A lost store, and the way out of it without an operator [L5]: who begins a new epoch, who follows, who stays away.

    what the store shows                                     a worker that was live in epoch E of log L
    nothing, never declared                                  begins a new epoch: it was emptied, or replaced by an empty one
    L, an older epoch; or E without my last entry            begins a new epoch: restored, rolled back, forked, a tail lost
    L, a younger epoch                                       writes its facts back and follows: others have begun it, or an
                                                             operator has declared L again
    another log, declared after my last proof                the same: an operator has declared what came in place of mine
    another log, declared before                             stays away: somebody else's store. Nothing is written there

Who was never live knows nothing to begin from: it follows what is declared, if it is not older than what its host saw.

Owns no data, does no I/O. What is done about it: recovery.py.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.clock import LARGEST_STORE_OFFSET_S
from gateway.revocation.continuity import Finding, Position, Reply, judge


class WayOut(StrEnum):
    """What a worker does about a store that is not, or not yet, the one it follows."""

    FOLLOW = "follow"
    BEGIN = "begin a new epoch"
    STAY_AWAY = "stay away"


@dataclass(frozen=True, slots=True)
class History:
    """Up to where a worker was live, in which log, and when that was last proven, by the store's clock."""

    log: str
    position: Position
    proven_at: float


def way_out(
    history: History | None, epoch: str, reply: Reply, *, is_broken: bool = False, log_seen: tuple[int, int] = (0, 0)
) -> WayOut:
    """What to do about a store that gave this answer.

    `epoch` is the one whose facts the worker holds, "" for none; `is_broken`: it is this one, but lacks our last entry;
    `log_seen` is what the host saw of the log.
    """
    if history is None:
        is_known = bool(reply.epoch) and (int(reply.epoch), reply.head) >= log_seen
        is_next = epoch == "" or (epoch == reply.epoch and not is_broken) or int(reply.epoch or 0) > int(epoch)
        return WayOut.FOLLOW if is_known and is_next else WayOut.STAY_AWAY
    if not reply.epoch:
        return WayOut.BEGIN
    is_younger = int(reply.epoch) > int(epoch)
    if reply.log != history.log:
        is_answer = is_younger and declared_at(reply.epoch) >= history.proven_at - LARGEST_STORE_OFFSET_S
        return WayOut.FOLLOW if is_answer else WayOut.STAY_AWAY
    if is_younger:
        return WayOut.FOLLOW
    is_behind = reply.epoch == history.position.epoch and reply.head < history.position.sequence
    return WayOut.BEGIN if reply.epoch != epoch or is_broken or is_behind else WayOut.FOLLOW


def is_surpassed(position: Position, log: str, address: str, store_address: str, reply: Reply) -> bool:
    """Whether a store that answered so at a witness's position has all that the witness knows, or is none of its business.

    A store at another address that holds another log was chosen by an operator: nothing of the witness belongs there.
    """
    if reply.log == log and reply.epoch:
        return judge(position, reply, len(reply.entries)) in (Finding.CONTINUOUS, Finding.BELOW_FLOOR)
    return address != store_address


def declared_at(epoch: str) -> float:
    """The second of an epoch's declaration (lua/common.lua)."""
    return (int(epoch) >> 11) / 1000
