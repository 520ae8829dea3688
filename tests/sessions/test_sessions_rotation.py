"""The rules of rotation, alone: each line of the table, and what the table is for: no false alarm, and no thief for long."""

import heapq
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_making import CAFE, DAY_S, HOME, RULES, TRAIN

from gateway.sessions.rotation import Family, Judgement, Outcome, Presented, judge

NOW = 1_800_000_000.0
FAMILY = Family(
    generation=7,
    used=7,
    version=2,
    delivery="cookie",
    rotated_at=NOW - 400,
    rotated_from=HOME,
    odd_generation=0,
    first_used=NOW - 390,
    access_expires=NOW - 100,
    refresh_expires=NOW + 6 * DAY_S,
    ends=NOW + 20 * DAY_S,
    is_ended=False,
)
JUST_ROTATED = replace(FAMILY, rotated_at=NOW - 5, access_expires=NOW + 295, used=6)


def present(generation: int, version: int = 2, network: str = HOME, **other: object) -> Presented:
    return replace(Presented(generation, version, network), **other)  # type: ignore[arg-type]


def judged(family: Family, presented: Presented, now: float = NOW) -> Judgement:
    return judge(family, presented, now, RULES)


def test_R2_the_present_generation_rotates_once() -> None:
    outcome, after = judged(FAMILY, present(7, network=CAFE)).outcome, judged(FAMILY, present(7, network=CAFE)).family
    assert outcome is Outcome.ROTATED
    assert (after.generation, after.used, after.rotated_at, after.rotated_from) == (8, 7, NOW, CAFE)
    assert (after.access_expires, after.refresh_expires) == (NOW + 300, NOW + 7 * DAY_S)
    assert judged(after, present(7, network=CAFE), NOW + 1) == Judgement(Outcome.REPEATED, after)


def test_R2_the_predecessor_gets_the_same_successor_inside_the_grace_even_when_it_was_used() -> None:
    for used in (6, 7):
        family = replace(JUST_ROTATED, used=used)
        assert judged(family, present(6)) == Judgement(Outcome.REPEATED, family)
    assert judged(replace(JUST_ROTATED, rotated_at=NOW - 30), present(6)).outcome is Outcome.REPEATED


def test_R2_a_repetition_brings_an_access_token_that_lives_though_its_life_is_shorter_than_the_grace() -> None:
    """Else whoever lost the answer would be refused until the grace is over."""
    for access_expires in (NOW - 3, NOW - 0.001, NOW, NOW + 0.5):
        family = replace(JUST_ROTATED, used=7, access_expires=access_expires)
        after = judged(family, present(6), NOW + 0.6).family
        assert after == replace(family, access_expires=NOW + 300.6), "the rotation stays when it was, and the end of the grace"
        assert judged(after, present(6), NOW + 26) == Judgement(Outcome.REUSED, replace(after, is_ended=True))
    over = replace(JUST_ROTATED, access_expires=NOW - 1, refresh_expires=NOW + 10)
    assert judged(over, present(6)).family.access_expires == NOW + 10, "no token outlives its session"


def test_R2_after_the_grace_the_predecessor_gets_the_successor_only_if_nobody_used_that() -> None:
    unused = replace(FAMILY, used=6)
    late = judged(unused, present(6))
    assert late.outcome is Outcome.LATE
    assert late.family == replace(unused, rotated_at=NOW, access_expires=NOW + 300, refresh_expires=NOW + 7 * DAY_S)
    reused = judged(FAMILY, present(6))
    assert reused == Judgement(Outcome.REUSED, replace(FAMILY, is_ended=True))


def test_R2_when_the_successor_is_first_used_late_what_was_on_its_way_is_forgiven_for_the_grace_again_and_no_longer() -> None:
    used = replace(JUST_ROTATED, rotated_at=NOW - 40, used=7, first_used=NOW - 15)
    assert judged(used, present(6)) == Judgement(Outcome.REPEATED, used)
    assert judged(used, present(6), NOW + 15).outcome is Outcome.REPEATED
    assert judged(used, present(6), NOW + 16).outcome is Outcome.REUSED
    assert judged(replace(used, first_used=NOW + 10), present(6), NOW + 21).outcome is Outcome.REUSED, "twice the grace is over"


@pytest.mark.parametrize("family", [FAMILY, JUST_ROTATED])
@pytest.mark.parametrize("generation", [5, 4, 1])
def test_R2_a_grandparent_ends_the_family_also_inside_the_grace_and_from_any_device(family: Family, generation: int) -> None:
    for shown in (present(generation), present(generation, is_same_device=False, is_recognised=False, may_rotate=False)):
        assert judged(family, shown) == Judgement(Outcome.REUSED, replace(family, is_ended=True))


def test_R2_the_predecessor_from_a_browser_of_another_class_ends_the_family() -> None:
    assert judged(JUST_ROTATED, present(6, is_same_device=False)).outcome is Outcome.REUSED
    unused = replace(FAMILY, used=6)
    assert judged(unused, present(6, is_same_device=False)).outcome is Outcome.REUSED


def test_S2_the_predecessor_from_something_that_is_no_known_browser_is_only_refused() -> None:
    shown = present(6, is_same_device=False, is_recognised=False)
    assert judged(JUST_ROTATED, shown) == Judgement(Outcome.REFUSED, JUST_ROTATED)


def test_R2_repeats_from_another_network_in_consecutive_generations_end_the_family() -> None:
    first = judged(JUST_ROTATED, present(6, network=CAFE))
    assert first == Judgement(Outcome.REPEATED, replace(JUST_ROTATED, odd_generation=7))
    assert judged(first.family, present(6, network=TRAIN)) == Judgement(Outcome.REPEATED, first.family), "the same generation"
    next_one = judged(first.family, present(7), NOW + 1).family
    assert judged(next_one, present(7, network=CAFE), NOW + 2).outcome is Outcome.REUSED


def test_R2_one_odd_repeat_is_forgiven_when_the_next_generation_has_none() -> None:
    odd = judged(JUST_ROTATED, present(6, network=CAFE)).family
    quiet = judged(odd, present(7), NOW + 1).family
    later = judged(quiet, present(8), NOW + 2).family
    assert judged(later, present(8, network=CAFE), NOW + 3).outcome is Outcome.REPEATED


def test_R2_a_network_that_is_not_known_is_not_another_one() -> None:
    family = replace(JUST_ROTATED, odd_generation=6)
    assert judged(family, present(6, network="")) == Judgement(Outcome.REPEATED, family)
    unknown = replace(family, rotated_from="")
    assert judged(unknown, present(6, network=CAFE)) == Judgement(Outcome.REPEATED, unknown)


def test_R2_a_generation_above_the_record_means_that_the_store_lost_a_write() -> None:
    recovered = judged(FAMILY, present(9, network=CAFE))
    assert recovered.outcome is Outcome.RECOVERED
    assert (recovered.family.generation, recovered.family.used, recovered.family.rotated_from) == (10, 9, CAFE)


def test_R2_what_was_used_stays_used_when_a_lost_rotation_is_repeated() -> None:
    seen_before = replace(FAMILY, used=8)  # a token of 8 was seen; the write that made it was lost
    after = judged(seen_before, present(7)).family
    assert (after.generation, after.used) == (8, 8)
    assert judged(after, present(7), NOW + 31).outcome is Outcome.REUSED


def test_L8_a_rotation_copies_the_version_of_the_record() -> None:
    assert judged(FAMILY, present(7, version=5)).family.version == 2


def test_L8_a_token_of_an_older_version_gets_no_token_of_the_newer() -> None:
    for generation in (5, 6, 7, 8):
        assert judged(JUST_ROTATED, present(generation, version=1)) == Judgement(Outcome.OUTDATED, JUST_ROTATED)


def test_L8_a_change_of_password_that_the_store_lost_is_recovered_with_the_generation() -> None:
    assert judged(FAMILY, present(8, version=3)).family.version == 3


def test_R6_a_session_of_another_delivery_gets_nothing_and_nothing_changes() -> None:
    for generation in (4, 6, 7, 8):
        assert judged(FAMILY, present(generation, delivery="token")) == Judgement(Outcome.DELIVERY, FAMILY)
    assert judged(FAMILY, present(7, delivery="cookie")).outcome is Outcome.ROTATED


@pytest.mark.parametrize("over", [replace(FAMILY, ends=NOW), replace(FAMILY, refresh_expires=NOW)])
@pytest.mark.parametrize("generation", [4, 6, 7, 8])
def test_an_ended_session_rotates_no_more(over: Family, generation: int) -> None:
    assert judged(over, present(generation)) == Judgement(Outcome.EXPIRED, over)


def test_nothing_outlives_the_absolute_end() -> None:
    after = judged(replace(FAMILY, ends=NOW + 60, refresh_expires=NOW + 60), present(7)).family
    assert after.access_expires == after.refresh_expires == after.ends == NOW + 60


@pytest.mark.parametrize("generation", [6, 7, 8])
def test_R2_a_family_that_ended_for_reuse_says_so_until_its_tombstone_is_written(generation: int) -> None:
    ended = replace(JUST_ROTATED, is_ended=True)
    assert judged(ended, present(generation)) == Judgement(Outcome.REUSED, ended)


@pytest.mark.parametrize("generation", [6, 7, 9])
def test_a_request_that_a_fingerprint_refuses_gets_no_tokens_and_changes_nothing(generation: int) -> None:
    shown = present(generation, network=CAFE, may_rotate=False)
    assert judged(JUST_ROTATED, shown) == Judgement(Outcome.BARRED, JUST_ROTATED)


def test_R2_reuse_is_told_before_the_fingerprint() -> None:
    assert judged(FAMILY, present(6, may_rotate=False)).outcome is Outcome.REUSED


# What the table is for.

GRACE_S, ACCESS_TTL_S = 30, 60
FAST = replace(RULES, grace_s=GRACE_S, access_ttl_s=ACCESS_TTL_S)
START = replace(FAMILY, generation=1, used=0, version=1, rotated_at=NOW, access_expires=NOW + ACCESS_TTL_S)

_requests = st.tuples(
    st.sampled_from((0, 0, 1, 5, 20, 40, 90, 400)),  # seconds since the request before
    st.integers(0, 20),  # on the way there
    st.one_of(st.none(), st.integers(0, 10)),  # on the way back; None: the answer is lost
)


@given(st.lists(_requests, max_size=40))
def test_R2_one_browser_with_any_number_of_tabs_and_lost_answers_is_never_taken_for_a_thief(
    requests: list[tuple[int, int, int | None]],
) -> None:
    """Each request takes no longer than the grace, there and back; the browser refreshes when its access token is over."""
    family, jar, jar_expires = START, 1, START.access_expires
    events: list[tuple[float, int, str, int, float, int | None]] = []
    now = NOW
    for number, (gap, there, back) in enumerate(requests):
        now += gap
        heapq.heappush(events, (now, number, "send", there, 0.0, back))
    while events:
        at, number, what, value, expires, back = heapq.heappop(events)
        if what == "send":
            heapq.heappush(events, (at + value, number, "refresh" if at >= jar_expires else "use", jar, 0.0, back))
        elif what == "use":
            if value > family.used:
                family = replace(family, used=value, first_used=at)
        elif what == "refresh":
            outcome, family = (judgement := judge(family, Presented(value, 1, HOME), at, FAST)).outcome, judgement.family
            assert outcome.has_tokens, outcome
            if back is not None:
                heapq.heappush(events, (at + back, number, "answer", family.generation, family.access_expires, None))
        elif value >= jar:
            jar, jar_expires = value, expires


@given(st.lists(st.tuples(st.sampled_from(("victim", "thief")), st.integers(31, 3600), st.booleans()), max_size=30))
def test_R2_a_thief_and_his_victim_cannot_both_go_on(steps: list[tuple[str, int, bool]]) -> None:
    """Even from one network and one kind of device: as soon as one has used what he got, the other ends it for both."""
    family, held, now = replace(START, used=1), {"victim": 1, "thief": 1}, NOW
    for who, gap, is_lost in steps:
        now += gap
        is_behind = family.used > held[who]
        outcome, family = (judgement := judge(family, Presented(held[who], 1, HOME), now, FAST)).outcome, judgement.family
        assert (outcome is Outcome.REUSED) == family.is_ended == is_behind
        if family.is_ended:
            return
        if not is_lost:
            held[who] = family.generation
            family = replace(family, used=max(family.used, held[who]))


@given(st.integers(0, 29), st.integers(0, 29))
def test_R2_a_thief_who_repeats_inside_the_grace_from_elsewhere_has_two_generations_at_most(first: int, second: int) -> None:
    family, now = START, NOW + ACCESS_TTL_S
    for generation, delay in ((1, first), (2, second)):
        family = judge(family, Presented(generation, 1, HOME), now, FAST).family
        repeated = judge(family, Presented(generation, 1, CAFE), now + delay, FAST)
        family, now = repeated.family, now + ACCESS_TTL_S
    assert repeated.outcome is Outcome.REUSED
