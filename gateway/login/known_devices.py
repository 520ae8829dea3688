"""From where an account logged in before: a network prefix and a class of device, never a cookie (decision 0013) [B2].

    gateway:{limit}:known:<digest of the address>    sorted set: digest of (network, device class) by the second of the last login

At most 20 an account, 90 days each. It is a claim to a counter of one's own and to nothing else: whoever shares network and
device class with the owner gets that counter, and still needs the password. Found by address and not by subject, so that it
can be asked before the database is; so it is forgotten when an account is erased, and when its password was changed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.clock import Clock
from gateway.login.limits import digest
from gateway.login.turns import Turns
from gateway.store.scripts import load_script

MOST_PER_ACCOUNT: Final = 20
KEPT_S: Final = 90 * 86400
_REMEMBER: Final = load_script(Path(__file__).parent / "lua" / "remember_device.lua")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt comes from: the network's prefix (`203.0.113.0/24`) and the class of device (`Firefox|Linux|desktop`)."""

    network: str
    device: str


class KnownDevices:
    """Per process; holds nothing but what it was given."""

    def __init__(self, store: Turns, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def is_known(self, address: str, place: Place) -> bool:
        """Whether this account logged in from there. Raises `StoreUnavailable`."""
        at = await self._store.command("ZSCORE", _key(address), _member(place))
        return at is not None and float(at) > self._clock.wall() - KEPT_S

    async def remember(self, address: str, place: Place) -> None:
        """A login from there succeeded. Raises `StoreUnavailable`."""
        now = int(self._clock.wall())
        await self._store.run(_REMEMBER, [_key(address)], [_member(place), now, KEPT_S, MOST_PER_ACCOUNT])

    async def forget(self, address: str, *, but: Place | None = None) -> None:
        """All of them: the account is erased; or all `but` the one that just changed its password. Raises `StoreUnavailable`."""
        await self._store.command("DEL", _key(address))
        if but is not None:
            await self.remember(address, but)


def _key(address: str) -> str:
    return f"gateway:{{limit}}:known:{digest(address)}"


def _member(place: Place) -> str:
    return digest(place.network, place.device)
