"""The script inside the store does what the table says: the same histories to both, on a real store.

A history has several presenters, who hold what they were given (or not: answers get lost), come from several networks and
devices, and let time pass; the store may lose a write. After each step outcome and record are compared.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from session_making import CAFE, DAY_S, HOME, RULES, TRAIN, let_pass, login, look, raw_record, sessions

from gateway.sessions.keys import record_key
from gateway.sessions.model import Record
from gateway.sessions.rotation import Family, Outcome, Presented, Rules, judge
from gateway.sessions.store import SessionStore
from gateway.sessions.stored import FIELDS
from gateway.store.client import Store, command, connect

PRESENTERS = 3


@dataclass(frozen=True)
class Show:
    """A presenter shows the refresh token that he holds, or one that is `off` from it. A lost answer changes nothing for him."""

    who: int
    off: int
    version_off: int
    network: str
    delivery: str
    is_same_device: bool
    is_recognised: bool
    may_rotate: bool
    is_lost: bool


@dataclass(frozen=True)
class Use:
    """A presenter uses an access token of what he holds."""

    who: int


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class NewPassword:
    """The account's password is changed from this session; one presenter gets the answer."""

    who: int


@dataclass(frozen=True)
class LoseWrites:
    """The store goes back to what it knew before the last step."""


def mostly(usual: object, *others: object, weight: int = 8) -> st.SearchStrategy:
    return st.sampled_from((usual,) * weight + others)


who = st.integers(0, PRESENTERS - 1)
shows = st.builds(
    Show,
    who=who,
    off=st.sampled_from((0, 0, 0, -1, -1, -2, 1)),
    version_off=mostly(0, -1, 1, weight=16),
    network=st.sampled_from((HOME, HOME, CAFE, TRAIN, "")),
    delivery=mostly("", "cookie", "token", weight=12),
    is_same_device=mostly(True, False, weight=4),
    is_recognised=st.booleans(),
    may_rotate=mostly(True, False),
    is_lost=mostly(False, True, weight=2),
)
waits = st.builds(Wait, st.sampled_from((0.5, 5.0, 29.0, 31.0, 31.0, 31.0, 299.0, 400.0, DAY_S, 6.9 * DAY_S, 7.1 * DAY_S)))
rare = st.one_of(st.builds(NewPassword, who), st.builds(LoseWrites))
kinds = (shows,) * 9 + (st.builds(Use, who),) * 2 + (waits,) * 3 + (rare,)
steps = st.sampled_from(kinds).flatmap(lambda kind: kind)  # NB: one_of gives equal alternatives one weight

# Histories that a generator seldom finds.
SHOW = Show(0, 0, 0, HOME, "", True, True, True, False)
LOST = replace(SHOW, is_lost=True)
PREDECESSOR = replace(SHOW, off=-1)
ELSEWHERE = replace(PREDECESSOR, network=CAFE)
LONG_GRACE = Wait(31.0)
REUSE_BY_NETWORKS = [SHOW, ELSEWHERE, SHOW, ELSEWHERE]
ONE_ODD_IN_BETWEEN = [SHOW, ELSEWHERE, SHOW, SHOW, ELSEWHERE]
LATE_TWICE = [LOST, LONG_GRACE, LOST, LONG_GRACE, replace(LOST, network=CAFE), Use(0), LONG_GRACE, SHOW]
USED_SUCCESSOR = [SHOW, Use(0), LONG_GRACE, PREDECESSOR, SHOW]
USED_LATE = [LOST, Wait(29.0), SHOW, Use(0), Wait(5.0), PREDECESSOR, Wait(24.9), PREDECESSOR, Wait(5.2), PREDECESSOR]
USED_TOO_LATE = [LOST, Wait(29.0), SHOW, Wait(29.0), Use(0), Wait(5.0), PREDECESSOR]
PLAYER = [SHOW, replace(PREDECESSOR, is_same_device=False, is_recognised=False), SHOW]
OTHER_BROWSER = [SHOW, replace(PREDECESSOR, is_same_device=False), SHOW]
PASSWORD_CHANGED = [SHOW, NewPassword(1), SHOW, replace(SHOW, who=1)]
WRITES_LOST = [SHOW, SHOW, LoseWrites(), SHOW, LoseWrites(), NewPassword(0), LoseWrites(), SHOW]
BARRED = [
    SHOW,
    replace(SHOW, may_rotate=False),
    replace(ELSEWHERE, may_rotate=False),
    LONG_GRACE,
    replace(LOST, may_rotate=False),
]
OVER = [SHOW, Wait(7.1 * DAY_S), SHOW]
WEEKS = [SHOW, Wait(6.9 * DAY_S)] * 4
NEAR_THE_END = [*WEEKS, SHOW, Wait(2.399 * DAY_S), SHOW, Wait(100.0), SHOW]
SIGHT_OF_A_LOST_ROTATION = [SHOW, LoseWrites(), Use(0), PREDECESSOR, LONG_GRACE, PREDECESSOR]
OTHER_DELIVERY = [replace(SHOW, delivery="token"), replace(SHOW, delivery="cookie")]


class History:
    """One session, and what each presenter holds of it: (generation, version)."""

    def __init__(self, store: Store, sid: str, rules: Rules) -> None:
        self.store = store
        self.rules = rules
        self.sessions: SessionStore = sessions(store, rules)
        self.sid = sid
        self.held = [(1, 1)] * PRESENTERS
        self.before: list[bytes | None] = []
        self.outcomes: list[Outcome] = []

    async def do(self, step: object) -> None:
        now_known = await raw_record(self.store, self.sid)
        match step:
            case Show():
                await self.show(step)
            case Use(presenter):
                await self.sessions.fetch(self.sid, self.held[presenter][0])
            case Wait(seconds):
                await let_pass(self.store, self.sid, seconds)
                now_known = []  # no write of the store's own
            case NewPassword(presenter):
                record = await look(self.store, self.sid)
                renewed = await self.sessions.renew(self.sid, record.version + 1, CAFE)
                if renewed is not None:
                    self.held[presenter] = (renewed.generation, renewed.version)
            case LoseWrites() if self.before:
                pairs = [part for pair in zip(FIELDS, self.before, strict=True) for part in pair]
                await command(self.store, "HSET", record_key(self.sid), *pairs)
        self.before = now_known

    async def show(self, step: Show) -> None:
        generation, version = self.held[step.who]
        presented = Presented(
            max(1, generation + step.off),
            max(0, version + step.version_off),
            step.network,
            step.delivery,
            step.is_same_device,
            step.is_recognised,
            step.may_rotate,
        )
        before = await look(self.store, self.sid)
        rotation = await self.sessions.rotate(self.sid, presented)
        expected = judge(Family.of(before), presented, rotation.at, self.rules)
        assert rotation.outcome is expected.outcome
        assert rotation.record is not None
        assert written(Family.of(rotation.record)) == written(expected.family)
        assert rotation.record.revision - before.revision == (expected.family != Family.of(before))
        assert untouched(rotation.record) == untouched(before)
        assert rotation.record == await look(self.store, self.sid), "what it answers is what it wrote"
        self.outcomes.append(rotation.outcome)
        if rotation.outcome.has_tokens and not step.is_lost:
            self.held[step.who] = (rotation.record.generation, rotation.record.version)


def written(family: Family) -> Family:
    """Times as the store writes them: to the microsecond."""
    return replace(
        family,
        rotated_at=float(f"{family.rotated_at:.6f}"),
        access_expires=float(f"{family.access_expires:.6f}"),
        refresh_expires=float(f"{family.refresh_expires:.6f}"),
    )


def untouched(record: Record) -> Record:
    """The record without all that a rotation may write."""
    may_change = (*Family.__dataclass_fields__, "revision")
    return replace(record, **{name: 0 for name in may_change if name not in ("ends", "delivery", "first_used")})


async def outcomes_of(store_url: str, history: list[object], rules: Rules = RULES) -> list[Outcome]:
    store = connect(store_url)
    try:
        created = await sessions(store, rules).create(login())
        told = History(store, created.record.sid, rules)
        for step in history:
            await told.do(step)
        return told.outcomes
    finally:
        await store.aclose()


def test_R2_the_script_and_the_table_agree_on_every_history(store_url: str) -> None:
    seen: Counter[Outcome] = Counter()

    @given(st.lists(steps, min_size=4, max_size=25))
    @example(REUSE_BY_NETWORKS)
    @example(ONE_ODD_IN_BETWEEN)
    @example(LATE_TWICE)
    @example(USED_SUCCESSOR)
    @example(USED_LATE)
    @example(USED_TOO_LATE)
    @example(PLAYER)
    @example(OTHER_BROWSER)
    @example(PASSWORD_CHANGED)
    @example(WRITES_LOST)
    @example(BARRED)
    @example(OVER)
    @example(NEAR_THE_END)
    @example(SIGHT_OF_A_LOST_ROTATION)
    @example(OTHER_DELIVERY)
    @settings(max_examples=300)
    def they_agree(history: list[object]) -> None:
        seen.update(asyncio.run(outcomes_of(store_url, history)))

    they_agree()
    assert set(Outcome) - {Outcome.ABSENT} <= set(seen), "a generator that never makes a thief proves nothing"


SHORT_LIVED = replace(RULES, access_ttl_s=10.0)
REPEATED_WHEN_OVER = [
    LOST,
    Wait(5.0),
    LOST,
    Wait(9.5),
    LOST,
    ELSEWHERE,
    Wait(9.5),
    SHOW,
    Wait(5.0),
    PREDECESSOR,
    Wait(29.0),
    SHOW,
]


def test_R2_they_agree_where_an_access_token_lives_for_less_than_the_grace(store_url: str) -> None:
    @given(st.lists(steps, min_size=4, max_size=15))
    @example(REPEATED_WHEN_OVER)
    @settings(max_examples=100)
    def they_agree(history: list[object]) -> None:
        asyncio.run(outcomes_of(store_url, history, SHORT_LIVED))

    they_agree()
