"""The rules of rotation [R2]: what a refresh token gets, by the generation it carries and what its session's record says.

A refresh token is good for one rotation. Yet its successor may be lost on the way, and fifty tabs may show the same token
at once; so the predecessor gets the *same* successor again, for a while. A thief and his victim show the same tokens too, but
not for long: whoever comes later holds a generation that was used up, and that ends the session for both.

    presented        the session's record says                                   outcome
    ───────────      ─────────────────────────────────────────────────────       ───────────────────────────────────────
    any              another delivery than the caller serves [R6]                delivery    nothing changes
    any              over, idle or for good                                      expired
    any              ended for reuse before, its tombstone not yet enforced      reused      so that it is written again
    any              its account's version grew meanwhile [L8]                   outdated    nothing revives
    n + k            generation n: the store lost a write                        recovered   counted from n + k, rotated
    n                                                                            rotated
    n - 1            after the grace, and n was used                             reused      ends
    n - 1            from a device of another class, a known browser             reused      ends
    n - 1            … something that is no known browser                        refused     media players, webviews
    n - 1            from another network, as it was for n - 1 already           reused      ends
    n - 1            inside the grace                                            repeated    the same successor; its access
                                                                                             token lives on if it was over
    n - 1            after it, n was never used                                  late        the same one, dated anew
    less                                                                         reused      ends

The grace is `grace_s` from the rotation. When the answer was lost and the successor was first used late in that time, what was on
its way with the predecessor meanwhile is forgiven for as long again, from the first use.

`late` dates the successor anew, because what was minted minutes ago would come out expired: the same generation and the same
token ids, later times. Where a fingerprint refuses the request anyway (`may_rotate` is false) the answer is `barred` in place
of everything that would give tokens; reuse is told first.

This is the specification. `lua/rotate.lua` does the same inside the store, by the store's time, and is tested against it with
generated histories. No data, no I/O.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from gateway.config.schema import Config
from gateway.sessions.model import Record


class Outcome(StrEnum):
    """What came of a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    LATE = "late"
    RECOVERED = "recovered"
    REUSED = "reused"
    REFUSED = "refused"
    EXPIRED = "expired"
    OUTDATED = "outdated"
    BARRED = "barred"
    DELIVERY = "delivery"
    ABSENT = "absent"
    """There is no such session. The store's answer, never this table's."""

    @property
    def has_tokens(self) -> bool:
        """Whether tokens are minted from the record that comes with it."""
        return self in _WITH_TOKENS


_WITH_TOKENS: Final = frozenset((Outcome.ROTATED, Outcome.REPEATED, Outcome.LATE, Outcome.RECOVERED))


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about sessions; seconds."""

    grace_s: float
    access_ttl_s: float
    refresh_ttl_s: float
    session_ttl_s: float
    per_user: int

    @classmethod
    def of(cls, config: Config) -> Self:
        tokens, sessions = config.tokens, config.sessions
        return cls(sessions.grace, tokens.access_ttl, tokens.refresh_ttl, tokens.session_ttl, sessions.per_user)


@dataclass(frozen=True, slots=True)
class Presented:
    """A genuine refresh token, and who shows it. Empty network: not known, never a mismatch. Empty delivery: any will do."""

    generation: int
    version: int
    network: str = ""
    delivery: str = ""
    is_same_device: bool = True
    is_recognised: bool = True  # a browser we know, so that "another device" is more than a guess [S2]
    may_rotate: bool = True
    device: str = ""  # its class, for the records; judged is `is_same_device`


@dataclass(frozen=True, slots=True)
class Family:
    """The part of a record that the rules read and write."""

    generation: int
    used: int
    version: int
    delivery: str
    rotated_at: float
    rotated_from: str
    odd_generation: int
    first_used: float
    access_expires: float
    refresh_expires: float
    ends: float
    is_ended: bool

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(**{name: getattr(record, name) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome, and the family after it: the same object when nothing is written."""

    outcome: Outcome
    family: Family


def judge(family: Family, presented: Presented, now: float, rules: Rules) -> Judgement:
    """What this refresh token gets. `now` is the store's time."""
    if presented.delivery and presented.delivery != family.delivery:
        return Judgement(Outcome.DELIVERY, family)
    if now >= family.ends or now >= family.refresh_expires:
        return Judgement(Outcome.EXPIRED, family)
    if family.is_ended:
        return Judgement(Outcome.REUSED, family)
    if presented.version < family.version:
        return Judgement(Outcome.OUTDATED, family)
    if presented.generation >= family.generation:
        return _rotate(family, presented, now, rules)
    if presented.generation == family.generation - 1:
        return _repeat(family, presented, now, rules)
    return _end(family)


def _rotate(family: Family, presented: Presented, now: float, rules: Rules) -> Judgement:
    if not presented.may_rotate:
        return Judgement(Outcome.BARRED, family)
    is_lost = presented.generation > family.generation
    after = replace(
        _dated(family, now, rules),
        generation=presented.generation + 1,
        used=max(family.used, presented.generation),
        # L8: from the record, never the user's present one. A record that lost writes may have lost that of a change of
        # password too, and the token shows that this session was part of it.
        version=max(family.version, presented.version) if is_lost else family.version,
        rotated_from=presented.network,
    )
    return Judgement(Outcome.RECOVERED if is_lost else Outcome.ROTATED, after)


def _repeat(family: Family, presented: Presented, now: float, rules: Rules) -> Judgement:
    is_in_grace = _is_in_grace(family, now, rules)
    if not is_in_grace and family.used >= family.generation:
        return _end(family)
    if not presented.is_same_device:
        return _end(family) if presented.is_recognised else Judgement(Outcome.REFUSED, family)
    is_odd = _is_odd(family, presented)
    if is_odd and family.odd_generation == family.generation - 1:
        return _end(family)
    if not presented.may_rotate:
        return Judgement(Outcome.BARRED, family)
    after = replace(family, odd_generation=family.generation) if is_odd and family.odd_generation != family.generation else family
    if is_in_grace:
        return Judgement(Outcome.REPEATED, _prolonged(after, now, rules))
    return Judgement(Outcome.LATE, _dated(after, now, rules))


def _is_in_grace(family: Family, now: float, rules: Rules) -> bool:
    """Since the rotation; since the first use too, whose answer may have been lost at first, but never for twice as long."""
    since_rotation = now - family.rotated_at
    if since_rotation <= rules.grace_s:
        return True
    is_just_used = family.used >= family.generation and now - family.first_used <= rules.grace_s
    return is_just_used and since_rotation <= 2 * rules.grace_s


def _is_odd(family: Family, presented: Presented) -> bool:
    return bool(presented.network and family.rotated_from and presented.network != family.rotated_from)


def _dated(family: Family, now: float, rules: Rules) -> Family:
    """With the times of tokens made now. Nothing outlives the session's absolute end."""
    return replace(
        family,
        rotated_at=now,
        access_expires=min(now + rules.access_ttl_s, family.ends),
        refresh_expires=min(now + rules.refresh_ttl_s, family.ends),
    )


def _prolonged(family: Family, now: float, rules: Rules) -> Family:
    """With an access token that is not over yet: where it lives for less than the grace, its repetition would come out expired.

    The rotation stays when it was, and so does the end of the grace.
    """
    if now < math.floor(family.access_expires):  # `exp` is rounded down
        return family
    return replace(family, access_expires=min(now + rules.access_ttl_s, family.refresh_expires))


def _end(family: Family) -> Judgement:
    return Judgement(Outcome.REUSED, replace(family, is_ended=True))
