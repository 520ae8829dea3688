"""One registration, judged: is the address one, is the password good, is there room, is the name free.

The hash is computed before the name is asked for, so a name that is taken takes as long as one that is free [L03]; that it is
taken is said, as the API promises, and the limit per network keeps it from being asked for a whole list. Registering does not
log in. Whether registration is open at all is the caller's to know.
"""

from dataclasses import dataclass

from gateway.errors import AccountsError
from gateway.login.accounts import Account, AccountExists, Accounts
from gateway.login.address import normalise
from gateway.login.limits import REGISTRATIONS_PER_NETWORK, Counter, Limited, Rate, give_back, give_back_if_possible, take
from gateway.login.passwords import LoginBusy, Passwords
from gateway.login.refused import Refused
from gateway.login.turns import Turns


@dataclass(frozen=True, slots=True)
class NameTaken:
    """The account is there already; nothing was changed."""


async def register(
    email: str,
    password: str,
    network: str,
    *,
    store: Turns,
    accounts: Accounts,
    passwords: Passwords,
    services: tuple[str, ...] = (),
    rate: Rate = REGISTRATIONS_PER_NETWORK,
) -> Account | NameTaken | Refused | Limited:
    """Make an account. What is refused for its form costs nobody a place.

    `services`: names and hosts of ours, which are no passwords. Raises as `authenticate`.
    """
    address = normalise(email)
    if isinstance(address, Refused):
        return address
    counters = (Counter("register", (network,), rate),)
    if limited := await take(store, counters):
        return limited
    try:
        hashed = await passwords.choose(password, address, services)
        if isinstance(hashed, Refused):
            await give_back(store, counters)
            return hashed
        return await accounts.create(address, hashed)
    except AccountExists:
        return NameTaken()
    except (LoginBusy, AccountsError):
        await give_back_if_possible(store, counters)
        raise
