"""What must be true of a token or a cookie jar, whatever fails meanwhile: the whole model.

    ALIVE   nobody ended it              let in, or 503 and broken connections while something fails; never signed out
    ENDED   its end was acknowledged     never let in again, by any worker, after any fault
    OWED    its end is under way         let in or not for a moment; refused once everything works again
    OPEN    nobody knows (no answer)     let in or refused; once everything works again every worker says the same

It knows no sockets and no time.
"""

from enum import Enum


class Fate(Enum):
    """What is known of a session or a token."""

    ALIVE = "alive"
    ENDED = "ended"
    OWED = "owed"
    OPEN = "open"


REFUSED = ("401", "403")
PASSED = "200"
AWAY = ("0", "503")


def broken_promise(fate: Fate, told: str, *, is_settled: bool) -> str | None:
    """What is wrong with this answer (`200`, `401 revoked-token`, `0` for a connection that broke). None: nothing."""
    status = told.partition(" ")[0]
    if status not in (PASSED, *REFUSED, *AWAY):
        return "an answer that no fault explains"
    if fate is Fate.ENDED and status == PASSED:
        return "let in although its end was acknowledged"
    if fate is Fate.ALIVE and status in REFUSED:
        return "signed out although nobody ended it"
    if fate is Fate.OWED and is_settled and status == PASSED:
        return "let in although its end was promised and everything works again"
    if fate is Fate.ALIVE and is_settled and status in AWAY:
        return "not let in although everything works again"
    return None


def is_honest(receipt: dict[str, object]) -> bool:
    """A receipt is complete exactly when everybody is accounted for [W3]."""
    enforced, fenced, workers = (receipt[name] for name in ("enforced_by", "fenced", "workers"))
    assert isinstance(enforced, int) and isinstance(fenced, int) and isinstance(workers, int)
    return receipt["complete"] is (enforced + fenced == workers)
