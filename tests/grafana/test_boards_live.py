"""Every query of every panel, asked of a real Prometheus that has watched a gateway through a night with everything in it.

A panel that asks for a metric, a label or a value that is not there draws an empty chart, and nobody notices until the night in
which it would have been needed. One stack for the whole file.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_reading import BOARDS, Asked, every_query, filled_in
from live.running_gateway import eventually
from night import Night
from prometheus_server import SERIES, PrometheusServer

RULES = sorted((Path(__file__).resolve().parents[2] / "grafana" / "alerts").glob("*.yaml"))
RATE_INTERVAL = "4s"
# What this night cannot show; test_boards_rules.py feeds these with made-up series.
NOT_TONIGHT = {
    "gateway-overview / Certificate expires in": "the gateway does not serve TLS here",
}


class Watched:
    """The night, with the one who watched it."""

    def __init__(self, prometheus: PrometheusServer, since: float) -> None:
        self._prometheus = prometheus
        self._since = since

    def ask(self, query: Asked) -> list[SERIES]:
        shown = f"{math.ceil(time.time() - self._since) + 5}s"
        expression = filled_in(query.expression, RATE_INTERVAL, shown)
        return self._prometheus.at_once(expression) if query.is_instant else self._prometheus.over(expression, self._since)

    def figure(self, title: str) -> float:
        """What a panel with one figure shows now."""
        (query,) = [query for query in every_query() if query.title == title and query.board == "gateway-overview"]
        ((_, (value,)),) = self.ask(query)
        return value

    def largest(self, title: str, legend: str = "") -> float:
        """The largest value that a line or a band ever had."""
        return max(largest(self.ask(query)) for query in every_query() if query.title == title)

    def mark(self, name: str) -> list[SERIES]:
        marks = {mark["name"]: mark["expr"] for mark in BOARDS["gateway-overview"]["annotations"]["list"]}
        return self._prometheus.over(filled_in(marks[name]), self._since)

    def values_of(self, label: str, match: str) -> list[str]:
        return self._prometheus.values_of(label, match)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("night")
    night = Night(folder)
    prometheus = PrometheusServer(tmp_path_factory.mktemp("prometheus"), [night.gateway.admin.removeprefix("http://")], RULES)
    try:
        night.begin()
        since = time.time()
        prometheus.start()
        night.pass_by()
        watched = Watched(prometheus, since)
        eventually(lambda: watched.figure("Revoked tokens replayed") > 0 and watched.figure("Alerts firing") > 0)
        yield watched
    finally:
        prometheus.stop()
        night.close()


def test_every_query_of_every_panel_returns_data(watched: Watched):
    silent = {query.where for query in every_query() if not any_figure(watched.ask(query))}
    assert silent == set(NOT_TONIGHT)


def test_the_overview_says_who_attacked_and_how(watched: Watched):
    for title, least in {
        "Revoked tokens replayed": 2,
        "Refresh tokens replayed": 1,
        "Sessions seen elsewhere": 1,
        "Forged tokens": 2,
        "Login floods": 1,
        "Expired tokens in a loop": 1,
        "Revocations": 6,
        "Allowed without proof": 1,
        "Upstreams lost": 1,
    }.items():
        assert round(watched.figure(title)) >= least, title


def test_the_overview_is_green_where_nothing_is_wrong(watched: Watched):
    for title in ("Gateways silent", "Without store", "Workers that do not enforce"):
        assert watched.figure(title) == 0, title
    assert watched.figure("Yes, if it is older than") < 2
    assert watched.figure("From revocation to enforcement, p99") < 2


def test_the_objectives_count_what_the_gateway_could_not_answer(watched: Watched):
    """A handful of 5xx among hundreds of requests; what was refused for the client's fault counts neither way."""
    assert 0.9 < watched.figure("Availability") < 1
    assert 0.9 < watched.figure("Answered within 2.5 s") <= 1
    assert watched.figure("Error budget left, 30 days") < 0


def test_a_worker_that_died_and_a_version_that_came_are_marked_in_every_chart(watched: Watched):
    eventually(lambda: any_figure(watched.mark("Workers replaced")))  # with a scrape from after its successor's start
    eventually(lambda: any_figure(watched.mark("Deploys")))
    assert not watched.mark("Restarts of a gateway")


def test_the_variables_find_the_gateway(watched: Watched):
    assert watched.values_of("job", "gateway_build_info") == ["gateway"]
    assert len(watched.values_of("instance", 'gateway_build_info{job=~"gateway"}')) == 1


def any_figure(found: list[SERIES]) -> bool:
    """There is a series, and it says something: a ratio of nothing is not a number."""
    return any(math.isfinite(value) for _, values in found for value in values)


def largest(found: list[SERIES]) -> float:
    return max(value for _, values in found for value in values if math.isfinite(value))
