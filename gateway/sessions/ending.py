"""How a session of ours ends: a fact in the log, which is the commit; then its record goes [L8].

    log-out, end one device, cap, reuse, another device   session      every token of it, now and later
    change of password, revoked user                      version      every token of the account with an older version

Who asks waits for the receipt: when it is here every worker refuses. When the store does not answer, this worker refuses all the
same from now on, the fact is written down and repeated until it is appended, and who asked is told that it is not done [R5].
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.clock import Clock
from gateway.errors import StoreError, StoreUnavailable
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.journal import Journal
from gateway.revocation.log import RevocationLog
from gateway.revocation.receipt import Receipt
from gateway.revocation.view import View
from gateway.sessions.model import subject_of
from gateway.sessions.store import SessionStore

MARGIN_S = 60

_log = logging.getLogger(__name__)


class Ending:
    """Per worker: ends sessions.

    `session_ttl_s` bounds how long a session, and so the denial of it, can matter [L6]. `count` is told kind and source of what
    was revoked.
    """

    def __init__(
        self,
        log: RevocationLog,
        journal: Journal,
        view: View,
        store: SessionStore,
        clock: Clock,
        issuer: str,
        session_ttl_s: float,
        count: Callable[[str, str], None] = lambda kind, source: None,
    ) -> None:
        self._log = log
        self._journal = journal
        self._view = view
        self._store = store
        self._clock = clock
        self._issuer = issuer
        self._session_ttl_s = session_ttl_s
        self._count = count

    async def end(self, sids: Sequence[str], *, reason: str, source: str, device: str = "") -> Receipt | None:
        """End these sessions; None when there is none.

        Raises StoreUnavailable: then they are ended here, and everywhere once the store answers.
        """
        if not sids:
            return None
        first, *others = [replace(self.fact_of(sid, reason=reason, source=source), device=device) for sid in sids]
        receipt = await self.revoke(first, *others)
        await self.forget(sids)
        return receipt

    def fact_of(self, sid: str, *, reason: str, source: str) -> Revocation:
        """The fact that ends one session, for as long as one of its tokens could live."""
        expires_at = self._clock.wall() + self._session_ttl_s + MARGIN_S
        return Revocation(Kind.SESSION, sid, self._issuer, reason, source, expires_at=expires_at)

    def version_fact(self, sub: str, version: int, *, reason: str, source: str) -> Revocation:
        """The fact that refuses every token of an account whose version is older."""
        expires_at = self._clock.wall() + self._session_ttl_s + MARGIN_S
        return Revocation(Kind.VERSION, sub, self._issuer, reason, source, expires_at=expires_at, value=version)

    async def revoke(self, fact: Revocation, *also: Revocation) -> Receipt:
        """Revoke, or promise to. Raises StoreUnavailable when it is promised: enforced here, written down, repeated."""
        fact = replace(fact, id=secrets.token_hex(16))
        try:
            receipt = await self._log.revoke(fact, *also)
        except StoreError as error:
            for pending in (fact, *also):
                self.enforce_here(pending)
            self._journal.add(fact, *also)
            raise StoreUnavailable("it is enforced here, and everywhere once the store answers") from error
        for done in (fact, *also):
            self._count(done.kind.value, done.source)
        return receipt

    def enforce_here(self, fact: Revocation) -> None:
        """Refuse by this fact in this worker, whatever the log says."""
        now = int(self._clock.wall())
        self._view.enforce_locally(fact.key, fact.value or now, int(fact.expires_at or now + self._session_ttl_s))

    async def end_for_fingerprint(self, issuer: str, sid: str, reason: str) -> None:
        """End a session that is used from another client; in the background, refused already. Never raises."""
        fact = replace(self.fact_of(sid, reason=reason, source="fingerprint"), issuer=issuer)
        try:
            await self.revoke(fact)
        except StoreError as error:
            _log.warning("a session that changed its client: %s", error)
        if issuer == self._issuer:
            await self.forget([sid])

    async def forget(self, sids: Sequence[str]) -> None:
        """Delete the records of ended sessions. They are refused already; the purge removes what this cannot."""
        try:
            await self._store.remove([sid for sid in sids if subject_of(sid) is not None])
        except StoreError as error:
            _log.warning("records of %d ended sessions could not be removed: %s", len(sids), error)
