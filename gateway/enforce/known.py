"""Everything a worker knows when it decides: the replica, the issuers with their keys, the sessions and tokens seen before.

Verification costs 43 to 101 µs, a look-up by the token's bytes 0.2 µs; so the result is kept. It cannot outlive what it
rests on: time is judged at each request, facts whenever the replica's revision changed, and a new key set empties the
memory. A new configuration is a new process.
"""

from collections.abc import Iterable
from typing import Final, Self

from gateway.config.schema import Config
from gateway.enforce.calm import Calm
from gateway.enforce.csrf import Csrf
from gateway.enforce.device import Devices
from gateway.enforce.issuer import Issuer
from gateway.enforce.network import Networks
from gateway.enforce.notice import Fingerprints
from gateway.enforce.signs import SignReader
from gateway.enforce.unchecked import Unchecked
from gateway.enforce.verified import Verified
from gateway.revocation.view import View
from gateway.sessions.cache import SessionCache
from gateway.tokens.jwk import KeySet

REFRESH_LIMIT: Final = 10_000  # shown once in a token's life: kept for the browser that shows it fifty times at once


class TokenMemory:
    """Verified tokens by the bytes of the field or the cookie that held them, bounded.

    Two generations: the older is dropped when the younger is full. A token in use
    moves to the younger generation, so it stays; ten million others only pass through.
    """

    __slots__ = ("_limit", "_old", "_young")

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = max(1, limit // 2)
        self._young: dict[bytes, Verified] = {}
        self._old: dict[bytes, Verified] = {}

    def get(self, token: bytes) -> Verified | None:
        found = self._young.get(token)
        if found is None and self._old:
            found = self._old.pop(token, None)
            if found is not None:
                self.put(token, found)
        return found

    def put(self, token: bytes, verified: Verified) -> None:
        if len(self._young) >= self._limit:
            self._old = self._young
            self._young = {}
        self._young[token] = verified

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class Known:
    """What `decide` may look at. One per worker; only the worker's own tasks change it."""

    __slots__ = (
        "access_cookies",
        "csrf",
        "fingerprint",
        "issuers",
        "max_staleness_s",
        "own_issuer",
        "preset",
        "refresh_cookies",
        "refresh_issuers",
        "replica",
        "sessions",
        "stale_limit_s",
        "tokens",
        "unchecked",
        "verified_by_key",
    )

    def __init__(
        self,
        replica: View,
        issuers: dict[str, Issuer],
        *,
        max_staleness_s: float,
        stale_limit_s: float,
        csrf: Csrf,
        fingerprint: Fingerprints,
        own_issuer: str,
        own_audience: str,
        preset: str = "x-user",
    ) -> None:
        self.replica = replica
        self.issuers = {**issuers, own_issuer: Issuer.of_ours(own_issuer, own_audience)}
        self.refresh_issuers = {own_issuer: Issuer.of_ours(own_issuer, own_audience, is_refresh=True)}
        self.own_issuer = own_issuer
        self.csrf = csrf
        self.fingerprint = fingerprint
        self.sessions = SessionCache()
        # One for each place a token is shown in: what is good in one of them is nothing in another, so it is not found there.
        self.tokens = TokenMemory()  # by the whole Authorization field
        self.access_cookies = TokenMemory()
        self.refresh_cookies = TokenMemory(REFRESH_LIMIT)
        self.unchecked = Unchecked()
        self.verified_by_key: dict[str, int] = {}  # of our own keys, since the worker last looked
        self.max_staleness_s = max_staleness_s
        self.stale_limit_s = stale_limit_s
        self.preset = preset

    @classmethod
    def of(cls, config: Config, replica: View, csrf_keys: Iterable[bytes]) -> Self:
        """What the configuration says, still without keys."""
        network = config.fingerprint.network
        known: Self
        calm = Calm(config.fingerprint, lambda since: known.sessions.count_used_since(since))
        known = cls(
            replica,
            {issuer.issuer: Issuer.from_config(issuer) for issuer in config.issuers},
            max_staleness_s=config.store.max_staleness,
            stale_limit_s=config.store.stale_limit,
            csrf=Csrf.of(config.public_url, config.csrf.trusted_origins, csrf_keys, is_enabled=config.csrf.enabled),
            fingerprint=Fingerprints(config.fingerprint, SignReader(Devices(), Networks(network.ipv4, network.ipv6)), calm),
            own_issuer=config.own_issuer,
            own_audience=config.tokens.audience,
            preset=config.identity.preset,
        )
        return known

    def memory_of(self, token: Verified) -> TokenMemory:
        """Where a token is remembered: by what it is and how it was shown, never by its bytes alone."""
        if token.own is not None and token.own.is_refresh:
            return self.refresh_cookies
        return self.access_cookies if token.is_from_cookie else self.tokens

    def adopt_own(self, keys: KeySet) -> None:
        """Our own keys changed: nothing that was verified before counts as verified any more."""
        self.issuers[self.own_issuer].adopt(keys)
        self.refresh_issuers[self.own_issuer].adopt(keys)
        for memory in (self.tokens, self.access_cookies, self.refresh_cookies):
            memory.clear()
