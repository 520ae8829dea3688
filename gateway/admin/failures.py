"""What an operator is told when an act could not be done, or not to its end: 503, and how far it came.

Nothing here pretends: an append whose answer was lost may have happened, and the steps before it did. Every act may be
repeated, and says so.
"""

from collections.abc import Sequence
from typing import Final

from gateway.admin.answers import Problem
from gateway.errors import AccountsError, GatewayError, KeySetError, StoreConflict, StoreError, StoreLost
from gateway.login.passwords import LoginBusy

RETRY_AFTER_S: Final = 2
REPEAT: Final = "Repeat it; repeating is safe."
STORE: Final = "The store did not answer"
UNAVAILABLE: Final = {"reason": "store-unavailable"}


def failure(error: GatewayError, happened: Sequence[str], *, is_reading: bool = False) -> Problem:
    """The answer to an act that ended in this error, after these steps. `is_reading`: nothing was to be changed."""
    title, said, members = _told(error, is_first=not happened)
    if is_reading:
        said = f"{error}."
    elif happened:
        said = f"Done so far: {'; '.join(happened)}. Of the next step: {said}"
    return Problem(503, title, said, headers={"Retry-After": str(RETRY_AFTER_S)}, **members)


def _told(error: GatewayError, *, is_first: bool) -> tuple[str, str, dict[str, str]]:
    """Title, what is known, and further members of the document."""
    match error:
        case StoreLost():
            return STORE, f"Nothing was recorded: {error}.", UNAVAILABLE
        case StoreConflict():
            return "Somebody else was quicker", f"It was not done: {error}. {REPEAT}", {}
        case StoreError():
            return STORE, f"The result is unknown: it may or may not have been recorded. {REPEAT}", UNAVAILABLE
        case AccountsError():
            # The database is asked before the log is told, but for an erasure, whose steps are known.
            known = "Whether it has the change is unknown" + ("; nothing was revoked." if is_first else ".")
            return "The accounts' database did not answer", f"{known} {REPEAT} ({error})", {}
        case LoginBusy():
            return "Too many passwords wait to be hashed", f"Nothing was changed. {REPEAT}", {}
        case KeySetError():
            return "The signing keys cannot be read", f"{error}.", {}
    return "The gateway could not do it", f"{error}.", {}
