"""The breaker of the fingerprint: a wrong setting of ours must not log everybody out, and a thief must not trip it [S2]."""

from gateway.config.schema import Fingerprint
from gateway.enforce.calm import Calm
from gateway.enforce.fingerprint import COUNTRY, DEVICE, DOUBTFUL_NETWORK, NETWORK, Mismatch, Signal

STRICT = Fingerprint.model_validate({"network": {"changed": "deny"}, "country": {"changed": "end_session"}})
NOW = 1000.0


class Site:
    """A worker with a number of sessions in use, and a clock."""

    def __init__(self, active: int = 0, rules: Fingerprint = STRICT) -> None:
        self.active = active
        self.questions: list[float] = []
        self.now = NOW
        self.calm = Calm(rules, self._count)

    def _count(self, since: float) -> int:
        self.questions.append(since)
        return self.active

    def differ(self, sessions: range, *mismatches: Mismatch) -> frozenset[Signal]:
        subdued: frozenset[Signal] = frozenset()
        for number in sessions:
            subdued = self.calm.note(f"session-{number}", mismatches, self.now)
        return subdued


def test_S2_twenty_sessions_are_no_storm_however_few_there_are() -> None:
    site = Site(active=20)
    assert not site.differ(range(20), COUNTRY)
    assert site.differ(range(20, 21), COUNTRY) == {Signal.COUNTRY}


def test_S2_five_in_a_hundred_are_no_storm_however_many_they_are() -> None:
    site = Site(active=1000)
    assert not site.differ(range(50), COUNTRY)
    site.now += 1
    assert site.differ(range(50, 51), COUNTRY) == {Signal.COUNTRY}


def test_S2_one_session_that_differs_again_and_again_counts_once() -> None:
    site = Site(active=1)
    for _ in range(1000):
        assert not site.differ(range(1), NETWORK)


def test_S2_what_differed_a_minute_ago_does_not_count() -> None:
    site = Site(active=20)
    site.differ(range(20), COUNTRY)
    site.now += 59.9
    assert site.differ(range(20, 21), COUNTRY)
    site.now += 0.1
    assert not site.differ(range(21, 22), COUNTRY)


def test_S2_a_storm_is_over_when_a_minute_was_calm() -> None:
    site = Site(active=20)
    assert site.differ(range(50), COUNTRY)
    assert site.calm.subdued(NOW + 59) == {Signal.COUNTRY}
    assert site.calm.subdued(NOW + 60) == frozenset()
    assert site.calm.note("session-1", (COUNTRY,), NOW + 61) == frozenset()


def test_S2_a_session_that_differs_again_stays_in_the_count() -> None:
    site = Site(active=20)
    site.differ(range(20), COUNTRY)
    site.now += 40
    site.differ(range(1), COUNTRY)
    site.now += 30  # the other nineteen are forgotten
    assert not site.differ(range(100, 119), COUNTRY)
    assert site.differ(range(119, 120), COUNTRY) == {Signal.COUNTRY}


def test_S2_another_device_never_trips_the_breaker() -> None:
    site = Site(active=1)
    assert not site.differ(range(1000), DEVICE)


def test_S2_phones_that_change_their_network_do_not_switch_the_country_off() -> None:
    site = Site(active=100)
    assert site.differ(range(100), NETWORK) == {Signal.NETWORK}
    assert site.differ(range(20), NETWORK, COUNTRY) == {Signal.NETWORK}


def test_S2_both_signals_can_be_subdued_at_once() -> None:
    assert Site(active=100).differ(range(100), NETWORK, COUNTRY) == {Signal.NETWORK, Signal.COUNTRY}


def test_S2_what_is_only_told_anyway_is_not_counted_so_nobody_is_woken_for_it() -> None:
    site = Site(active=100, rules=Fingerprint())  # network: alert
    assert not site.differ(range(1000), NETWORK)
    assert site.differ(range(1000), COUNTRY) == {Signal.COUNTRY}


def test_S2_a_change_between_ipv4_and_ipv6_is_not_counted() -> None:
    assert not Site(active=100).differ(range(1000), DOUBTFUL_NETWORK)


def test_the_active_sessions_are_counted_once_a_second_and_only_when_many_differ() -> None:
    site = Site(active=100_000)
    site.differ(range(20), COUNTRY)
    assert site.questions == []
    site.differ(range(20, 1000), COUNTRY)
    assert site.questions == [NOW - 60]
    site.now += 1
    site.differ(range(1000, 1100), COUNTRY)
    assert site.questions == [NOW - 60, NOW - 59]


def test_B1_the_names_are_bounded_and_so_many_are_a_storm_on_the_largest_site() -> None:
    site = Site(active=10**9)
    assert not site.differ(range(Calm.MOST - 1), COUNTRY)
    assert site.differ(range(Calm.MOST - 1, Calm.MOST + 5000), COUNTRY) == {Signal.COUNTRY}
    assert sum(map(len, site.calm._seen.values())) == Calm.MOST
