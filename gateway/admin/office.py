"""What operators act on beside the log: signing keys, sessions, accounts, the audit trail, the purge.

Lives in the supervisor, on the supervisor's connection to the store. Its tasks are what has to happen once per gateway and
not per worker: the rotation of keys, the scheduled purge, counting sessions. Several gateways on one store may all have one;
each step is safe to take twice.

Owns the supervisor's way to the accounts' database and its hashing thread; neither is loaded before it is wanted. Which act takes
which steps is told by the endpoints (`users.py`, `sessions.py`, `keys.py`…).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.audit.event import Action, Event
from gateway.audit.purge import purge as purge_trail
from gateway.audit.read import Reader
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.errors import GatewayError, StoreError
from gateway.keys.rotation import Rotation
from gateway.keys.secrets import token_secrets
from gateway.login.accounts import Account, Accounts
from gateway.login.address import normalise
from gateway.login.known_devices import KnownDevices
from gateway.login.passwords import Passwords
from gateway.login.refused import Refused
from gateway.login.turns import Turns
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog, RevocationRefused
from gateway.sessions.first_use import FirstUses
from gateway.sessions.model import subject_of
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
from gateway.store.client import Store
from gateway.telemetry.metrics import WorkerMetrics
from gateway.tokens.ring import Change, Ring, State

LOOK_EVERY_S: Final = 2.0
ACCOUNTS_EVERY_S: Final = 10.0
UNTOLD_AFTER_S: Final = 10.0  # longer than anybody takes from the database's word to the log's
MARGIN_S: Final = 60
SCHEDULE: Final = "schedule"

# What `Rotation` calls its changes, in the words of the audit trail; of an expired key nothing is told.
_REASONS: Final = {"keys compromised": "compromised", "keys rotated": "command", "key retired": "command"}

logger: Final = logging.getLogger("gateway.office")

asking: Final[ContextVar[str]] = ContextVar("asking", default=SCHEDULE)
"""Who changes the keys in this task. Set by an endpoint; the schedule is nobody's."""


class Office:
    """Per process. `ring`, `sessions_count` and `accounts_state` are as of the last look."""

    def __init__(self, config: Config, store: Store, log: RevocationLog, clock: Clock, metrics: WorkerMetrics) -> None:
        self.config = config
        self.store = store
        self.log = log
        self.clock = clock
        self._metrics = metrics
        self.sessions = SessionStore(store, Rules.of(config))
        self.first_uses = FirstUses(store)
        self.accounts = Accounts(config.accounts.database, clock)
        self.passwords = Passwords()
        self.devices = KnownDevices(Turns(store), clock)
        self.services = tuple(filter(None, (urlsplit(config.public_url).hostname, "gateway")))
        self.rotation = Rotation(
            store,
            log,
            config,
            token_secrets(config.tokens.secrets, config.store.directory),
            clock,
            on_change=self._keys_changed,
        )
        self.trail = Trail(store, clock, max_length=config.audit.max_length, keep_s=config.audit.keep, on_lost=metrics.audit_lost)
        self.reader = Reader(store)
        self.ring = Ring()
        self.sessions_count = 0
        self.accounts_state = "off" if not config.has_accounts else "unused"

    def parts(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What runs for as long as the gateway does; to be cancelled."""
        return self.rotation.run, self.trail.run, self._watch, self._watch_accounts, self._purge_now_and_then

    async def close(self) -> None:
        self.passwords.close()
        await self.trail.close()
        await self.accounts.close()

    # Accounts.

    @property
    def has_database(self) -> bool:
        """Whether there is anybody to look for. A file that is not there yet is not made by looking."""
        scheme, _, place = self.config.accounts.database.partition("://")
        return self.config.has_accounts and (not scheme.startswith("sqlite") or Path(place[1:].partition("?")[0]).exists())

    async def account(self, name: str) -> Account | None:
        """The account that this names, in whatever spelling; None: there is none. Raises AccountsError."""
        address = normalise(name)
        if isinstance(address, Refused) or not self.has_database:
            return None
        return await self.accounts.find(address)

    # Facts, and what follows from them.

    def session_fact(self, sid: str, reason: str, source: str) -> Revocation:
        """Ends one session of ours, for as long as one of its tokens could live [L6]."""
        return Revocation(Kind.SESSION, sid, self.config.own_issuer, reason, source, expires_at=self._last_token_dies_at())

    def version_fact(self, sub: str, version: int, reason: str, source: str) -> Revocation:
        """Refuses every token of an account with an older version [L6]."""
        return Revocation(
            Kind.VERSION,
            sub,
            self.config.own_issuer,
            reason,
            source,
            expires_at=self._last_token_dies_at(),
            value=version,
        )

    async def forget(self, sids: Iterable[str]) -> None:
        """Delete the records of ended sessions. They are refused already; the purge removes what this cannot [L8]."""
        ours = [sid for sid in sids if subject_of(sid) is not None]
        try:
            await self.sessions.remove(ours)
        except StoreError as error:
            logger.warning("records of %d ended sessions could not be removed: %s", len(ours), error)

    async def forget_late(self, sub: str) -> None:
        """Delete what a login wrote while its account was erased. It is refused, and ends by itself if this fails."""
        try:
            await self.sessions.remove(await self.sessions.sids(sub))
        except StoreError as error:
            logger.warning("sessions that began while their account was erased are left to expire: %s", error)

    @property
    def forgotten_s(self) -> float:
        """For so long somebody erased may show a token from before, and it is written without his name."""
        tokens = (issuer.max_lifetime + issuer.leeway for issuer in self.config.issuers)
        return max(self.config.tokens.session_ttl, *tokens, 0.0) + MARGIN_S

    # Keys.

    def key_ages(self) -> tuple[tuple[str, float], ...]:
        """Of each key in the ring, its age in seconds."""
        now = self.clock.wall()
        return tuple((key.kid, max(0.0, now - key.created)) for key in self.ring.keys)

    def _keys_changed(self, changes: Sequence[Change], reason: str) -> None:
        """Told by the rotation, whoever asked for it. A new key that signs, and one that is refused, are events."""
        by = asking.get()
        word = SCHEDULE + "d" if by == SCHEDULE else _REASONS.get(reason, "")
        for change in changes:
            state = change.after.state if change.after is not None else State.GONE
            was = change.before.state if change.before is not None else None
            if state is State.SIGNING and was is not State.SIGNING:
                self._record(Action.KEY_ROTATED, word, by, target=change.kid)
            elif state is State.GONE and was is not State.GONE and reason in _REASONS:
                self._metrics.revocation("key", "keys" if by == SCHEDULE else "api")
                self._record(Action.KEY_RETIRED, word, by, target=change.kid)

    # The purge.

    async def purge(self) -> dict[str, int]:
        """Remove what has expired, and nothing else. How many of each. Raises StoreError."""
        sessions = await self.sessions.everyone.purge(self.clock.wall())
        trail = await purge_trail(self.store, keep_s=self.config.audit.keep, forgotten_s=self.forgotten_s)
        return {"sessions": len(sessions), "audit_events": trail.events, "audit_names": trail.names}

    async def _purge_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.config.purge.every)
            try:
                purged = counted(await self.purge())
                logger.info("Purged: %s", purged)
                self._record(Action.PURGE, "", SCHEDULE, text=purged)
            except StoreError as error:
                logger.warning("the purge has to wait: %s", error)

    # Looking.

    async def look(self) -> None:
        """See how keys, sessions and accounts are. Never raises: what does not answer stays as it was seen last."""
        try:
            self.ring = await self.rotation.ring()
            self.sessions_count = await self.sessions.count()
        except GatewayError as error:
            logger.debug("not seen this time: %s", error)
        if self.accounts_state == "unused" and self.has_database:
            await self._look_at_accounts()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _watch_accounts(self) -> None:
        """Whether their database answers. It is also why the first revocation of a user need not wait until it is loaded."""
        while self.config.has_accounts:
            await self._look_at_accounts()
            await asyncio.sleep(ACCOUNTS_EVERY_S)

    async def _look_at_accounts(self) -> None:
        if not self.has_database:
            self.accounts_state = "unused"
            return
        try:
            await self._tell_forgotten_versions()
            self.accounts_state = "up"
        except StoreError as error:
            logger.debug("the log is told later: %s", error)
            self.accounts_state = "up"
        except GatewayError as error:
            if self.accounts_state != "down":
                logger.warning("the accounts' database cannot be used: %s", error)
            self.accounts_state = "down"

    async def _tell_forgotten_versions(self) -> None:
        """Of a version that was raised by somebody who was killed before he told the log. Raises AccountsError, StoreError."""
        for account in await self.accounts.untold(self.clock.wall() - UNTOLD_AFTER_S):
            try:
                await self.log.revoke(self.version_fact(account.sub, account.version, "told late", SCHEDULE))
            except RevocationRefused as error:
                logger.error("The version of %s cannot be told to the log: %s", account.email, error)
                continue
            await self.accounts.tell(account.sub, account.version)
            logger.warning("The log is told late that the version of %s was raised to %d", account.email, account.version)
            event = Event(
                self.clock.wall(), Action.REVOCATION, reason="version", user=account.email, source=SCHEDULE, text="told late"
            )
            self.trail.record(event)
            self._metrics.revocation("version", SCHEDULE)

    def _record(self, action: Action, reason: str, source: str, *, target: str = "", text: str = "") -> None:
        self.trail.record(Event(self.clock.wall(), action, reason=reason, source=source, target=target, text=text))

    def _last_token_dies_at(self) -> float:
        return self.clock.wall() + self.config.tokens.session_ttl + MARGIN_S


def spellings(name: str) -> list[str]:
    """Every name under which this user may come: an account's is normalised, another issuer's is what it is."""
    address = normalise(name)
    return [name] if isinstance(address, Refused) else list(dict.fromkeys((address, name)))


def counted(figures: dict[str, int]) -> str:
    """`3 sessions, 12 audit events`."""
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in figures.items())
