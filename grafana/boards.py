"""The five boards: which questions each answers, in which order. The questions themselves are in `rows/`, a file each."""

from typing import Final

from grafana.board import Board
from grafana.rows.answers import ANSWERS
from grafana.rows.applications import ADDRESSES, QUICK, THERE
from grafana.rows.arrival import ARRIVAL
from grafana.rows.attack import ATTACK
from grafana.rows.dropped import DROPPED
from grafana.rows.evidence import EVIDENCE
from grafana.rows.guessing import GUESSING, REFUSED
from grafana.rows.health import HEALTH
from grafana.rows.keys import KEYS
from grafana.rows.replica import REPLICA
from grafana.rows.revoked import REVOKED_NOW
from grafana.rows.stolen import ELSEWHERE, STOLEN
from grafana.rows.store import STORE
from grafana.rows.why import WHY
from grafana.rows.workers import CARRIED, ENOUGH, TAKEN

BOARDS: Final = (
    Board(
        "gateway-overview",
        "Gateway / Overview",
        "Is it healthy, is anybody attacking, whom, since when, and did my revocation arrive everywhere? Red means act.",
        (HEALTH, ATTACK, ARRIVAL, WHY),
    ),
    Board(
        "gateway-security",
        "Gateway / Security",
        "Who uses what he should not have: replays, other people's sessions, guessed passwords, forged tokens.",
        (STOLEN, ELSEWHERE, GUESSING, REFUSED, EVIDENCE),
    ),
    Board(
        "gateway-revocation",
        "Gateway / Revocation",
        "Is every revocation enforced by every worker, how fast, what did it end, and are store and keys in order?",
        (REPLICA, REVOKED_NOW, STORE, KEYS),
    ),
    Board(
        "gateway-upstreams",
        "Gateway / Upstreams",
        "Are the applications there, are they quick, and what do they answer?",
        (THERE, ADDRESSES, QUICK, ANSWERS),
    ),
    Board(
        "gateway-capacity",
        "Gateway / Capacity",
        "Are there enough workers, what does each carry, and is anything dropped?",
        (ENOUGH, CARRIED, TAKEN, DROPPED),
    ),
)
