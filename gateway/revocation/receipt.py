"""Who has to enforce a revocation, who does, and who is provably stopped. Pure.

The append names the members of that moment. Each of them ends up in one of two columns, or stays open until the deadline:

    enforced   it published a position at or behind the entry, under the same incarnation and epoch [W1]
    fenced     it left, or 1.25 × its max_staleness passed on the waiter's clock since the append [W2]: had it renewed
               its lease since, it would have been handed the entry before it could prove anything; as it did not, it
               has stopped itself

`complete` iff nobody is open. A receipt never claims more than that [W3]: routes that serve while the store is away
are not stopped by the fence, so it names them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

FENCE_FACTOR: Final = 1.25
MEMBER_STATES: Final = ("live", "draining", "missing", "merged")
"""Who may be deciding. The last two are members of before a loss, or of another run of the server: they stop themselves if
they are not heard of, and are live again only behind what was appended meanwhile [L5]."""


@dataclass(frozen=True, slots=True)
class Member:
    """A line of the register. `renewals` counts polls; `label` is for people."""

    incarnation: str
    state: str
    epoch: str
    position: int
    max_staleness_s: float
    renewals: int
    renewed_at: float
    label: str = ""

    @property
    def is_counted(self) -> bool:
        """Whether a receipt has to wait for it."""
        return self.state in MEMBER_STATES


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a revocation. `durable`: on the disk, or acknowledged by a replica."""

    id: str
    enforced_by: int
    fenced: int
    workers: int
    complete: bool
    durable: bool
    took_ms: float
    not_fenced_routes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The API's answer. The routes are named only where the receipt relies on a fence."""
        answer: dict[str, Any] = {
            "id": self.id,
            "enforced_by": self.enforced_by,
            "fenced": self.fenced,
            "workers": self.workers,
            "complete": self.complete,
            "durable": self.durable,
            "took_ms": self.took_ms,
        }
        if self.not_fenced_routes:
            answer["not_fenced_routes"] = list(self.not_fenced_routes)
        return answer


class Tally:
    """The members that one append named, and what was heard of them since. Per revocation."""

    __slots__ = ("_enforced", "_epoch", "_left", "_members", "_sequence", "_since")

    def __init__(self, members: Iterable[Member], epoch: str, sequence: int, since: float) -> None:
        self._members = {member.incarnation: member for member in members if member.is_counted}
        self._epoch = epoch
        self._sequence = sequence
        self._since = since
        self._enforced: set[str] = set()
        self._left: set[str] = set()
        for member in self._members.values():
            self.hear(member.incarnation, member.epoch, member.position)

    @property
    def workers(self) -> int:
        """How many have to enforce it."""
        return len(self._members)

    def hear(self, incarnation: str, epoch: str, position: int) -> None:
        """A worker published its position."""
        if incarnation in self._members and epoch == self._epoch and position >= self._sequence:
            self._enforced.add(incarnation)

    def hear_left(self, incarnation: str) -> None:
        """A worker left the register, or was struck from it."""
        if incarnation in self._members:
            self._left.add(incarnation)

    def hear_register(self, members: Iterable[Member], epoch: str, head: int) -> bool:
        """The whole register, read anew: for messages that were missed. Whether it is of the log that has the entry.

        Who is not in it has left, but only in a register of the log that has the entry: one that was emptied or rolled back
        names nobody, and stops nobody either.
        """
        if epoch != self._epoch or head < self._sequence:
            return False
        register = {member.incarnation: member for member in members}
        for incarnation in self._members:
            if incarnation in register:
                self.hear(incarnation, register[incarnation].epoch, register[incarnation].position)
            else:
                self.hear_left(incarnation)
        return True

    def enforced(self) -> int:
        """How many enforce it."""
        return len(self._enforced)

    def fenced(self, now: float) -> int:
        """How many do not, and are provably stopped at this moment of the waiter's clock."""
        return sum(1 for member in self._members.values() if self._is_fenced(member, now))

    def is_complete(self, now: float) -> bool:
        """Whether nobody is open."""
        return self.enforced() + self.fenced(now) == self.workers

    def next_fence(self, now: float) -> float:
        """Seconds until the next open member is fenced; 0 when none is open."""
        open_members = [m for m in self._members.values() if m.incarnation not in self._enforced and not self._is_fenced(m, now)]
        return min((self._since + FENCE_FACTOR * m.max_staleness_s - now for m in open_members), default=0.0)

    def _is_fenced(self, member: Member, now: float) -> bool:
        if member.incarnation in self._enforced:
            return False
        return member.incarnation in self._left or now - self._since > FENCE_FACTOR * member.max_staleness_s
