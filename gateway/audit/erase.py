"""Erasing a person from the trail, without touching an event: the link between name and pseudonym is cut.

The events stay, under a pseudonym that leads nowhere; names inside their texts were marks for it already. Processes may
still hold events with the name, and tokens from before may still be shown: for `forgotten_s` they are written without name
and without pseudonym, unless the person registers or logs in again.
"""

from typing import Final

from gateway.audit.event import Event, encode
from gateway.audit.keys import ERASE, KEYS, digest_of
from gateway.store.client import Argument, Store
from gateway.store.scripts import run_script

FORGOTTEN_S: Final = 30 * 86400.0
"""As long as a session lives by default, so as long as anybody may show a token of his."""


async def erase(store: Store, event: Event, *, keep_s: float, forgotten_s: float = FORGOTTEN_S) -> str | None:
    """Erase the event's user, and write the event itself, in one step. The pseudonym that remains; None: there was no name.

    Repeating it is safe. Raises `StoreUnavailable`: then it may or may not have happened.
    """
    arguments: list[Argument] = [digest_of(event.user), encode(event), max(1, int(forgotten_s)), max(1, int(keep_s))]
    pseudonym = await run_script(store, ERASE, KEYS, arguments)
    return pseudonym.decode() if pseudonym else None
