"""From the replay of a revoked token to the page, with nothing made quicker: 15 s between scrapes and between evaluations.

    PYTHONPATH=tests:tests/grafana .venv/bin/python tests/grafana/measure_page.py

One gateway is scraped as twenty jobs, because Prometheus gives each target a moment of its own within the interval; three kinds
of replays are made at three moments. So sixty pages are measured in two minutes.
"""

import statistics
import tempfile
import time
from pathlib import Path

from alerting_stack import RECOMMENDED, Watch
from live.running_gateway import ISSUER, eventually
from night import TAIL_S, Night
from troubles import target

JOBS = 20
PATIENCE_S = 90.0
KINDS = ("token", "session", "version")
APART_S = 5.0


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    night = Night(folder)
    watch = Watch(folder, {f"job-{number}": [target(night.gateway)] for number in range(JOBS)}, RECOMMENDED)
    try:
        night.begin()
        watch.launch()
        eventually(lambda: all(watch.sees(job) for job in watch.jobs), PATIENCE_S)
        print_figures(measured(night, watch))
    finally:
        watch.stop()
        night.close()


def measured(night: Night, watch: Watch) -> list[float]:
    """Seconds from each replay to each job's page."""
    gateway = night.gateway
    tokens = [gateway.token(jti="token"), gateway.token(sid="session"), gateway.token(sub="version")]
    for subject in ({"token_id": "token", "issuer": ISSUER}, {"session": "session"}, {"user": "shop|version"}):
        gateway.revoke(**subject)
    time.sleep(TAIL_S + 1)
    replayed: dict[str, float] = {}
    for kind, token in zip(KINDS, tokens, strict=True):
        replayed[kind] = time.time()
        assert gateway.ask("/who", token).status_code == 401
        time.sleep(APART_S)
    eventually(lambda: len(watch.pager.told("GatewayRevokedTokenReplayed")) == JOBS * len(KINDS), PATIENCE_S)
    return [page.at - replayed[page.labels["kind"]] for page in watch.pager.told("GatewayRevokedTokenReplayed")]


def print_figures(seconds: list[float]) -> None:
    print(f"{len(seconds)} pages: {min(seconds):.1f} s at best, {statistics.median(seconds):.1f} s the median,", end=" ")
    print(f"{max(seconds):.1f} s at worst")


if __name__ == "__main__":
    main()
