"""A revoked session of another issuer may outlive the denial of it, if its owner keeps using it; so use renews the denial [L6].

The store decides whether anything has to be done (half of the denial's life must be over); here only the asking is limited: once
per session and hour, in the background, never on the way of a request. What gets no answer is asked again by the next use.
"""

import asyncio
import logging
from typing import Final

from gateway.errors import StoreError
from gateway.revocation.log import RevocationLog

ASK_AGAIN_S: Final = 3600.0
MOST_REMEMBERED: Final = 10_000
MOST_AT_ONCE: Final = 8

_log = logging.getLogger(__name__)


class Renewals:
    """Per process: which revoked sessions were asked about lately, and the questions under way."""

    def __init__(self, log: RevocationLog, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._loop = loop
        self._asked: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def session_used(self, issuer: str, session: str) -> None:
        """A token of a revoked session was refused. Returns at once."""
        now = self._loop.time()
        asked_at = self._asked.get((issuer, session))
        if asked_at is not None and now - asked_at < ASK_AGAIN_S:
            return
        if len(self._tasks) >= MOST_AT_ONCE:
            return
        if len(self._asked) >= MOST_REMEMBERED:
            for oldest in list(self._asked)[: MOST_REMEMBERED // 2]:
                del self._asked[oldest]
        self._asked[issuer, session] = now
        task = self._loop.create_task(self._renew(issuer, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the questions under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _renew(self, issuer: str, session: str) -> None:
        try:
            for named in (issuer, ""):  # the session was revoked for its issuer or for every one; the other is not there to renew
                await self._log.renew(named, session)
        except StoreError as error:
            self._asked.pop((issuer, session), None)
            _log.warning("the denial of a session in use could not be renewed: %s", error)
