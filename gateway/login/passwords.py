"""Hashing and verifying passwords: argon2id, in one thread of this process, behind a queue that has an end.

A hash is made to be expensive, so it is the cheapest way to bring a gateway down [L05]. Hence one thread, whatever is asked; a
bounded queue in front of it; and beyond that `LoginBusy` at once. The last places of the queue are kept for devices that
logged in before, so a flood of strangers does not keep them out [B2].

Every verification costs one hash: for an account that does not exist, or a password that none can have, a hash that fits
nothing is verified [L01]. `statistics()` counts them.

Measured on 2 cores: 24 ms for a hash at the cost below, so 40 logins a second and worker; 19 MiB, which stay with the process.
The event loop paused for 5 to 16 ms during 50 logins at once (4 without any). A lower priority for the thread was tried: on
a busy machine it is put off while it holds Python's lock, and the loop waits for it, 150 ms instead of 100.

It owns the thread. Not here: who has which hash (accounts.py), how often one may try (limits.py).
"""

import asyncio
import logging
import secrets
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.errors import GatewayError
from gateway.login.password_rules import load_common_passwords, prepare, refuse_new
from gateway.login.refused import Refused

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MOST_WAITING: Final = 96  # 2.4 s for the last one
KEPT_FOR_KNOWN: Final = 16
RETRY_AFTER_S: Final = 2.0
_SALT_BYTES: Final = 16
_TAG_BYTES: Final = 32

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class LoginBusy(GatewayError):
    """More passwords wait to be hashed than can be in time. Nothing was judged; a repetition in `RETRY_AFTER_S` is safe."""

    is_retry_safe = True


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash costs (RFC 9106). The defaults are OWASP's for argon2id; others rehash at the next login."""

    memory_kib: int = 19456
    passes: int = 2


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether the password was right; then `rehash` is its hash at today's cost, or None when it has it already."""

    is_right: bool
    rehash: str | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Hashes computed to verify and to keep, requests turned away, requests in the queue now."""

    verified: int
    hashed: int
    turned_away: int
    waiting: int


class Passwords:
    """The hashing thread and its queue. Per process; nothing is loaded or started before its first use."""

    def __init__(
        self, cost: Cost | None = None, *, most_waiting: int = MOST_WAITING, kept_for_known: int = KEPT_FOR_KNOWN
    ) -> None:
        self._cost = cost or Cost()
        self._most_waiting = most_waiting
        self._most_strangers = most_waiting - kept_for_known
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._hasher: PasswordHasher | None = None
        self._waiting = self._verified = self._hashed = self._turned_away = 0
        #: The form of a hash whose tag nobody knows a password for. A hash would have to be computed to look more genuine.
        self._fits_nothing = (
            f"$argon2id$v=19$m={self._cost.memory_kib},t={self._cost.passes},p=1${_random(_SALT_BYTES)}${_random(_TAG_BYTES)}"
        )

    async def verify(self, typed: str, kept: str | None, *, is_known_device: bool = False) -> Verified:
        """Compare what was typed with the kept hash; None: there is no account. Raises `LoginBusy`."""
        password = prepare(typed)
        if isinstance(password, Refused):
            password, kept = "", None
        return await self._in_thread(lambda: self._verify_now(password, kept), is_known_device)

    async def choose(self, typed: str, address: str, services: tuple[str, ...] = ()) -> str | Refused:
        """The hash of a new password for the account of this address, or why it cannot be one. Raises `LoginBusy`."""
        password = prepare(typed)
        if isinstance(password, Refused):
            return password
        await asyncio.to_thread(load_common_passwords)
        if refused := refuse_new(password, address, services):
            return refused
        return await self._in_thread(lambda: self._hash_now(password), is_known=False)

    def statistics(self) -> Statistics:
        """What was done so far."""
        return Statistics(self._verified, self._hashed, self._turned_away, self._waiting)

    def close(self) -> None:
        """Whoever waits is cancelled; the hash that runs ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], _T], is_known: bool) -> _T:
        if self._waiting >= (self._most_waiting if is_known else self._most_strangers):
            self._turned_away += 1
            raise LoginBusy("too many passwords wait to be hashed")
        self._waiting += 1
        try:
            if self._hasher is None:
                self._hasher = await asyncio.to_thread(_load, self._cost)
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    def _verify_now(self, password: str, kept: str | None) -> Verified:
        assert self._hasher is not None
        if not self._is_right(kept or self._fits_nothing, password) or not kept:
            return Verified(is_right=False)
        return Verified(is_right=True, rehash=self._hash_now(password) if self._hasher.check_needs_rehash(kept) else None)

    def _is_right(self, kept: str, password: str) -> bool:
        """Whether they belong together. One hash is computed, and counted, whatever the answer."""
        from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

        assert self._hasher is not None
        try:
            is_right: bool = self._hasher.verify(kept, password)
        except VerifyMismatchError:
            is_right = False
        except (InvalidHashError, VerificationError):  # before anything was computed
            _log.error("an account's password hash cannot be read; its owner cannot log in until it is set anew")
            return self._is_right(self._fits_nothing, password)
        self._verified += 1
        return is_right

    def _hash_now(self, password: str) -> str:
        assert self._hasher is not None
        self._hashed += 1
        return self._hasher.hash(password)


def _load(cost: Cost) -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(cost.passes, cost.memory_kib, 1, _TAG_BYTES, _SALT_BYTES)


def _random(length: int) -> str:
    return b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
