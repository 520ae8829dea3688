"""What leads out of a lost store, case by case [L5]."""

import pytest

from gateway.revocation.continuity import Position, Reply
from gateway.revocation.lineage import History, WayOut, declared_at, way_out

DAY_MS = 86_400_000


def epoch(day: float) -> str:
    """Declared on that day."""
    return str(int(day * DAY_MS) << 11)


OURS = epoch(10)
HISTORY = History("L", Position(OURS, 41, "id41"), proven_at=declared_at(epoch(20)))


def reply(day: float = 10, head: int = 41, log: str = "L") -> Reply:
    return Reply(0.0, "run", epoch(day), head, f"id{head}", log=log)


NOTHING = Reply(0.0, "run")
CASES = {
    "emptied": (NOTHING, False, WayOut.BEGIN),
    "ours, and our last entry is not in it": (reply(), True, WayOut.BEGIN),
    "ours, and its head is behind us": (reply(head=40), False, WayOut.BEGIN),
    "ours, and the log was trimmed": (reply(head=99), False, WayOut.FOLLOW),
    "ours, of an older epoch": (reply(9, head=99), False, WayOut.BEGIN),
    "ours, of a younger epoch": (reply(19, head=1), False, WayOut.FOLLOW),
    "another, declared after our last proof": (reply(21, log="M"), False, WayOut.FOLLOW),
    "another, declared while ours was well": (reply(19, log="M"), False, WayOut.STAY_AWAY),
    "another, older": (reply(9, log="M"), False, WayOut.STAY_AWAY),
    "another, of our epoch's name": (reply(10, log="M"), True, WayOut.STAY_AWAY),
}


@pytest.mark.parametrize("case", CASES)
def test_L5_what_a_worker_does_that_was_live(case: str) -> None:
    answer, is_broken, way = CASES[case]
    assert way_out(HISTORY, OURS, answer, is_broken=is_broken) is way


@pytest.mark.parametrize(
    ("held", "answer", "is_broken", "log_seen", "way"),
    [
        ("", NOTHING, False, (0, 0), WayOut.STAY_AWAY),
        ("", reply(), False, (0, 0), WayOut.FOLLOW),
        ("", reply(), False, (int(OURS), 42), WayOut.STAY_AWAY),
        ("", reply(11, head=1), False, (int(OURS), 42), WayOut.FOLLOW),
        (OURS, reply(), True, (0, 0), WayOut.STAY_AWAY),
        (OURS, reply(), False, (0, 0), WayOut.FOLLOW),
        (OURS, NOTHING, False, (0, 0), WayOut.STAY_AWAY),
        (OURS, reply(9), False, (0, 0), WayOut.STAY_AWAY),
        (OURS, reply(11), False, (0, 0), WayOut.FOLLOW),
    ],
)
def test_L5_what_a_worker_does_that_never_was_live(
    held: str, answer: Reply, is_broken: bool, log_seen: tuple[int, int], way: WayOut
) -> None:
    assert way_out(None, held, answer, is_broken=is_broken, log_seen=log_seen) is way
