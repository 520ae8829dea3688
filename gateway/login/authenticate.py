"""One login, judged: may they try, who is it, is the password right. The order is the point.

    counters   taken before anything is looked up: a flood ends at the store and reaches neither database nor hash
    account    found or not: nothing that can be seen from outside depends on it
    hash       one is computed either way [L01]
    counters   given back when the password was right: failures alone count

A device that logged in before has a counter of its own and touches no other, so strangers who exhaust the account's, or
the network's, keep nobody out who is known [B2]. Whoever leaves before his answer has failed: else guesses would be free to those
who hang up. When we fail (the database is away, too many hashes wait) nobody has, and the place is given back.

Not here: blocked users, sessions, audit and metrics. Those are the caller's, and so is telling a person nothing but "wrong".
"""

import logging
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
    give_back,
    give_back_if_possible,
    take,
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
) -> Authenticated | WrongCredentials | Limited:
    """Judge one login. Also for whoever confirms his password while logged in.

    Raises `LoginBusy`, `AccountsUnavailable` and `StoreUnavailable`: nothing was judged, nothing was counted.
    """
    address = normalise(attempt.email)
    name = attempt.email[:LONGEST_TYPED] if isinstance(address, Refused) else address
    is_known = await devices.is_known(name, attempt.place)
    counters = _counters(name, attempt.place, is_known, rates)
    async with store.in_line(counters[0].key):
        if limited := await take(store, counters):
            return limited
        try:
            account = None if isinstance(address, Refused) else await accounts.find(address)
            verified = await passwords.verify(attempt.password, account.password if account else None, is_known_device=is_known)
        except (LoginBusy, AccountsError):
            await give_back_if_possible(store, counters)
            raise
        if account is None or not verified.is_right:
            return WrongCredentials(account)
        await give_back(store, counters)
    await devices.remember(name, attempt.place)
    return Authenticated(await _rehashed(account, verified, accounts), is_new_device=not is_known)


def _counters(name: str, place: Place, is_known: bool, rates: Rates) -> tuple[Counter, ...]:
    if is_known:
        return (Counter("device", (name, place.network, place.device), rates.per_device),)
    return Counter("account", (name,), rates.per_account), Counter("network", (place.network,), rates.per_network)


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
