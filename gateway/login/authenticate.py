"""One login, judged: may they try, who is it, is the password right. The order is the point.

    counters   taken before anything is looked up: a flood ends at the store and reaches neither database nor hash
    account    found or not: nothing that can be seen from outside depends on it
    hash       one is computed either way [L01]
    counters   given back when the password was right: failures alone count
    watches    beside the counters: when failures come by the hundred, it is told, and nothing else happens

A device that logged in before has a counter of its own and touches no other, so strangers who exhaust the account's, or
the network's, keep nobody out who is known [B2]. Whoever leaves before his answer has failed: else guesses would be free to those
who hang up. When we fail (the database is away, too many hashes wait) nobody has, and the place is given back.

Not here: blocked users, sessions, audit and metrics. Those are the caller's, and so is telling a person nothing but "wrong".
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.errors import AccountsError
from gateway.login.accounts import Account, Accounts
from gateway.login.address import LONGEST_TYPED, normalise
from gateway.login.known_devices import KnownDevices, Place
from gateway.login.limits import (
    PER_ACCOUNT,
    PER_DEVICE,
    PER_NETWORK,
    Counter,
    Limited,
    Rate,
    Watch,
    give_back,
    give_back_if_possible,
    take_watched,
)
from gateway.login.passwords import LoginBusy, Passwords, Verified
from gateway.login.refused import Refused
from gateway.login.turns import Turns

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rates:
    """How many failures are allowed."""

    per_account: Rate = PER_ACCOUNT
    per_network: Rate = PER_NETWORK
    per_device: Rate = PER_DEVICE


DEFAULT_RATES: Final = Rates()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was typed, and from where."""

    email: str
    password: str = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The password was right. `is_new_device`: no login from there is remembered."""

    account: Account
    is_new_device: bool


@dataclass(frozen=True, slots=True)
class WrongCredentials:
    """Answered the same whatever was wrong. `account` is for the audit alone, which names nobody who does not exist."""

    account: Account | None


async def authenticate(
    attempt: Attempt,
    *,
    store: Turns,
    accounts: Accounts,
    passwords: Passwords,
    devices: KnownDevices,
    rates: Rates = DEFAULT_RATES,
    on_flood: Callable[[str, Account | None], None] = lambda by, account: None,
) -> Authenticated | WrongCredentials | Limited:
    """Judge one login. Also for whoever confirms his password while logged in.

    `on_flood` is told of failures by the hundred: of one `account`, which is None when none has the name, or from one `network`.

    Raises `LoginBusy`, `AccountsUnavailable` and `StoreUnavailable`: nothing was judged, nothing was counted.
    """
    address = normalise(attempt.email)
    name = attempt.email[:LONGEST_TYPED] if isinstance(address, Refused) else address
    is_known = await devices.is_known(name, attempt.place)
    counters, watches = _counters(name, attempt.place, is_known, rates), _watches(name, attempt.place, is_known)
    async with store.in_line(counters[0].key):
        limited, reached = await take_watched(store, counters, watches)
        if limited:
            if reached:
                _tell(reached, await _meant(address, accounts), on_flood)
            return limited
        account: Account | None = None
        try:
            account = None if isinstance(address, Refused) else await accounts.find(address)
            verified = await passwords.verify(attempt.password, account.password if account else None, is_known_device=is_known)
        except (LoginBusy, AccountsError):
            await give_back_if_possible(store, counters, watches, reached)
            raise
        except asyncio.CancelledError:
            _tell(reached, account, on_flood)
            raise
        if account is None or not verified.is_right:
            _tell(reached, account, on_flood)
            return WrongCredentials(account)
        await give_back(store, counters, watches, reached)
    await devices.remember(name, attempt.place)
    return Authenticated(await _rehashed(account, verified, accounts), is_new_device=not is_known)


def _counters(name: str, place: Place, is_known: bool, rates: Rates) -> tuple[Counter, ...]:
    if is_known:
        return (Counter("device", (name, place.network, place.device), rates.per_device),)
    return Counter("account", (name,), rates.per_account), Counter("network", (place.network,), rates.per_network)


def _watches(name: str, place: Place, is_known: bool) -> tuple[Watch, Watch]:
    """Of everybody's failures, those from a known device too: a watch keeps nobody out."""
    return Watch("account", (name,), 0), Watch("network", (place.network,), 0 if is_known else 1)


def _tell(reached: Iterable[Watch], account: Account | None, on_flood: Callable[[str, Account | None], None]) -> None:
    for watch in reached:
        on_flood(watch.kind, account if watch.kind == "account" else None)


async def _meant(address: str | Refused, accounts: Accounts) -> Account | None:
    """Whose name was tried a hundred times: once in so many attempts that reach neither database nor hash otherwise."""
    try:
        return None if isinstance(address, Refused) else await accounts.find(address)
    except AccountsError:
        return None


async def _rehashed(account: Account, verified: Verified, accounts: Accounts) -> Account:
    """With the hash at today's cost, when it could be kept. A login does not fail for want of it."""
    if verified.rehash is None:
        return account
    try:
        is_kept = await accounts.keep_rehash(account.sub, account.password, verified.rehash)
    except AccountsError as error:
        _log.warning("a password's new hash was not kept: %s", error)
        return account
    return replace(account, password=verified.rehash) if is_kept else account
