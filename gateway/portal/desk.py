"""What the endpoints under `/auth/` share: the worker's knowledge, sessions, accounts; who asks; whether a page of ours sent it.

Built once per worker, with the application. Owns the accounts' database connection and the hashing thread.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.pressure import Memory
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.denials import Asker, Denials
from gateway.enforce.extract import MalformedCredential, bearer
from gateway.enforce.known import Known
from gateway.enforce.revoked import first_fact
from gateway.enforce.session import is_of, prepare
from gateway.enforce.signs import Signs
from gateway.enforce.verdict import Allow, Deny
from gateway.enforce.verified import Verified, minted_now
from gateway.enforce.verify import Refused, authenticate
from gateway.login.accounts import Account, Accounts
from gateway.login.known_devices import KnownDevices, Place
from gateway.login.passwords import Passwords
from gateway.login.turns import Turns
from gateway.portal.asking import Asking, Refusal
from gateway.portal.pages import Pages
from gateway.reasons import REFUSALS, Reason
from gateway.revocation.entry import Kind, fact_key
from gateway.routes.own import OWN_NAME
from gateway.routes.route import Access, Route
from gateway.sessions.cache import Entry
from gateway.sessions.keeper import SessionKeeper
from gateway.sessions.minting import Mint, Minted
from gateway.sessions.model import Record
from gateway.store.client import Store
from gateway.telemetry.metrics import WorkerMetrics
from gateway.wire.cookies import CookieNames, CookieWriter

_ANYWHERE: Final = Route("(any)", b"/", "", Access.REQUIRED)


class Desk:
    """Per worker."""

    def __init__(
        self,
        config: Config,
        known: Known,
        keeper: SessionKeeper,
        mint: Mint,
        trail: Trail,
        metrics: WorkerMetrics,
        store: Store,
        clock: Clock,
        pages: Pages,
        memory: Memory,
        denials: Denials,
    ) -> None:
        self.config = config
        self.known = known
        self.keeper = keeper
        self.mint = mint
        self.metrics = metrics
        self.store = Turns(store)
        self.clock = clock
        self.pages = pages
        self.memory = memory
        self.denials = denials
        self.accounts = Accounts(config.accounts.database, clock)
        self.passwords = Passwords()
        self.devices = KnownDevices(self.store, clock)
        self.names = CookieNames.of(is_secure=config.cookies.secure)
        self.writer = CookieWriter(self.names, config.cookies.secure, config.cookies.same_site)
        self.services = tuple(filter(None, (urlsplit(config.public_url).hostname, "gateway")))
        self._trail = trail

    async def close(self) -> None:
        self.passwords.close()
        await self.accounts.close()

    # Who asks.

    def signs(self, asking: Asking) -> Signs:
        """What the request shows of its client."""
        return self.known.fingerprint.signs(asking.shown, asking.address)

    def place(self, asking: Asking) -> Place:
        """From where somebody tries to sign in."""
        signs = self.signs(asking)
        return Place(signs.network, signs.device.text if signs.device is not None else "")

    async def current(self, asking: Asking) -> Record:
        """The record of the session that asks, which the data plane has judged a moment ago. Raises Refusal, StoreError."""
        entry = self.known.sessions.find(asking.session, self.clock.boot())
        if not isinstance(entry, Entry):
            await self.keeper.fetch(asking.session, 0)
            entry = self.known.sessions.find(asking.session, self.clock.boot())
        if not isinstance(entry, Entry) or not isinstance(entry.record, Record):
            raise refusal_of(Reason.UNKNOWN_SESSION)
        return entry.record

    def genuine(self, raw: bytes | None, *, is_refresh: bool = False) -> Verified | Refused | None:
        """One of our tokens, whatever its age and fate; None: there is none."""
        if raw is None:
            return None
        token = authenticate(raw, self.known.refresh_issuers if is_refresh else self.known.issuers)
        if isinstance(token, Refused):
            return token
        if token.own is None:
            return Refused(Reason.WRONG_ISSUER, "a token of another issuer has no session here")
        return prepare(raw, token, self.known)

    async def may_end(self, token: Verified) -> bool:
        """Whether a genuine token, whatever its age and fate, may end its session. Where its key is not trusted any more anybody
        may have made it, and the session must know it. Raises StoreError."""
        fact = first_fact(token, self.known.replica, 0.0)
        if fact is None or fact[1] is not Kind.KEY:  # it would be told first
            return True
        record = await self.keeper.look(token.session or "")
        return record is not None and is_of(token, record)

    def bearer(self, asking: Asking) -> bytes | None:
        """The bearer token that was shown. Raises Refusal."""
        try:
            return bearer(asking.authorization)
        except MalformedCredential:
            raise refusal_of(Reason.MALFORMED_TOKEN) from None

    def is_blocked(self, user: str) -> bool:
        """Whether this user is kept out, here or everywhere [T2]."""
        issuers = (self.config.own_issuer, "")
        return any(self.known.replica.find(fact_key(Kind.BLOCK, issuer, user)) for issuer in issuers)

    def refuse_when_stale(self) -> None:
        """Our own endpoints never go on without the store. Raises Refusal."""
        if not self.known.replica.is_fresh(self.clock.boot(), self.known.max_staleness_s):
            raise refusal_of(Reason.STORE_UNAVAILABLE)

    # Whether a page of ours sent it [C1].

    def refuse_other_sites(self, asking: Asking) -> None:
        """For what needs no session: with neither header there is no browser that could be abused. Raises Refusal."""
        if self.known.csrf.is_from_here(asking.shown) is False:
            raise refusal_of(Reason.CSRF, said="other-site")

    def refuse_forgery(self, asking: Asking, sid: str) -> None:
        """For what acts on the session of a cookie. Raises Refusal."""
        said = self.known.csrf.is_from_here(asking.shown)
        if said is False or (said is None and not self.known.csrf.is_echoed(asking.shown.echo, sid)):
            raise refusal_of(Reason.CSRF, said="other-site")

    # What goes out.

    def cookies(self, minted: Minted) -> bytes:
        """The lines that bring a session to a browser."""
        return self.writer.set(**minted.cookies)

    def url(self, path: str) -> str:
        """An address of this site. Built from the configuration, never from `Host` [C3]."""
        return self.config.public_url + path

    def judge_minted(self, minted: Minted, judge: Callable[..., object]) -> Verified | Reason:
        """The last decision before tokens are handed out [R4, W4]: a fact may have come while we waited."""
        token = self.genuine(minted.access)
        if not isinstance(token, Verified):
            return Reason.STORE_UNAVAILABLE if token is None else token.reason
        now = self.clock.wall()
        verdict = judge(minted_now(token, now), _ANYWHERE, self.known, now, self.clock.boot())
        return token if isinstance(verdict, Allow) else getattr(verdict, "reason", Reason.STORE_UNAVAILABLE)

    def denied(self, verdict: Deny, asking: Asking) -> None:
        """A token was refused by one of our own endpoints: told as by the data plane."""
        self.denials.tell(verdict, Asker(asking.address, asking.request_id, asking.shown), OWN_NAME, self.clock.wall())

    def flooded(self, asking: Asking, by: str, account: Account | None) -> None:
        """Logins failed by the hundred: of an account, or (None) of a name that none has; or from one network."""
        name = account.email if account is not None else ""
        self.denials.tell_flood(by, name, self.signs(asking).network, asking.request_id, self.clock.wall())

    def record(
        self,
        action: Action,
        asking: Asking,
        *,
        outcome: Outcome = Outcome.SUCCESS,
        user: str = "",
        session: str = "",
        reason: str = "",
        text: str = "",
    ) -> None:
        """An event for the audit trail. `user` is an account's name, never what somebody typed."""
        signs = self.signs(asking)
        device = signs.device.text if signs.device is not None else ""
        self._trail.record(
            Event(
                self.clock.wall(),
                action,
                outcome,
                network=signs.network,
                device=device,
                request_id=asking.request_id,
                user=user,
                session=session,
                reason=reason,
                text=text,
            )
        )


def refusal_of(reason: Reason, detail: str = "", *, said: str = "", clears_cookies: bool = False) -> Refusal:
    """A refusal with a word of the table."""
    told = REFUSALS[reason]
    retry = 2.0 if told.status == 503 else None
    return Refusal(told.status, told.title, detail, reason=reason, retry_after_s=retry, said=said, clears_cookies=clears_cookies)
