"""Sessions, rotation and revocation against real workers that are killed: nothing acknowledged is lost, nobody is signed out.

Three walks of the model; `make chaos ARGS='-k walk'` takes two hundred.
"""

from pathlib import Path

import pytest
from model.outcome import Fate, broken_promise, is_honest
from model.rough_gateway import rough_gateway
from model.walk import Graves, Walk

SEEDS = (1, 2, 3)


def test_nothing_acknowledged_is_lost_and_nobody_is_signed_out_while_processes_die(tmp_path: Path):
    graves = Graves()
    with rough_gateway(tmp_path, keys=len(SEEDS)) as gateway:
        for seed in SEEDS:
            Walk(gateway, seed, graves, faults=1).run()
    assert graves.counts["walks"] == len(SEEDS)
    assert graves.counts["receipts"] > 0
    assert graves.guests or graves.visitors
    assert graves.counts["faults that met nobody"] == 0


@pytest.mark.parametrize(
    ("fate", "told", "is_settled", "is_broken"),
    [
        (Fate.ENDED, "200", False, True),
        (Fate.ENDED, "401 revoked-session", True, False),
        (Fate.ENDED, "503 store-unavailable", False, False),
        (Fate.ALIVE, "401 refresh-reused", False, True),
        (Fate.ALIVE, "503 store-unavailable", False, False),
        (Fate.ALIVE, "503 store-unavailable", True, True),
        (Fate.OWED, "200", False, False),
        (Fate.OWED, "200", True, True),
        (Fate.OPEN, "200", True, False),
        (Fate.OPEN, "502 upstream-unreachable", True, True),
    ],
)
def test_an_answer_is_judged_by_what_was_acknowledged(fate: Fate, told: str, is_settled: bool, is_broken: bool):
    assert (broken_promise(fate, told, is_settled=is_settled) is not None) is is_broken


def test_W3_a_receipt_that_counts_wrongly_is_a_lie():
    assert is_honest({"enforced_by": 1, "fenced": 1, "workers": 2, "complete": True})
    assert not is_honest({"enforced_by": 1, "fenced": 0, "workers": 2, "complete": True})
