"""Where the master of a service is, from the sentinels that watch it.

Every connection asks them when it is made (failover_pool.py) and then asks the server for its role: sentinels learn of a failover
one after the other, and a server that is being demoted or promoted does not know it at once. Once a second whoever takes a
connection that is open asks them, too, so that a master that was cut off, and is told nothing, is left. He waits for a tenth of
a second at most, and when no sentinel answers, the connections there are go on.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NoConnection

from gateway.store.failover_pool import Address
from gateway.store.newest_answer import newest
from gateway.store.single_flight import SingleFlight

CHECK_EVERY_S: Final = 1.0
_MOMENT_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Told:
    """What one sentinel says: the master's address, the epoch of the failover that made it the master, and its own patience."""

    epoch: int
    address: Address
    down_after_s: float


class SentinelPlace:
    """The master of one service. Per pool: one connection to each sentinel, and what they said last."""

    def __init__(self, sentinels: Sequence[Redis], service: str, timeout_s: float) -> None:
        self._sentinels = sentinels
        self._service = service
        self._timeout_s = timeout_s
        self._question = SingleFlight(self._ask_all, self._heard)
        self._address: Address | None = None
        self._asked_at = float("-inf")

    def __repr__(self) -> str:
        return f"<SentinelPlace {self._service} at {self._address}>"

    async def find(self) -> Address:
        """The master's address, from sentinels that are asked now."""
        return await self._question.answer()

    async def is_still_at(self, address: Address) -> bool:
        """As of what was heard last. When that is a second old it is asked anew, and the answer waited for a moment."""
        if asyncio.get_running_loop().time() - self._asked_at > CHECK_EVERY_S:
            await asyncio.wait({self._question.begin()}, timeout=_MOMENT_S)
        return self._address in (None, address)

    @property
    def sentinels(self) -> int:
        """How many are asked."""
        return len(self._sentinels)

    async def down_after_s(self) -> float:
        """How long the sentinels wait for a master before they replace it: the newest configuration's word."""
        questions = [self._ask_one(sentinel) for sentinel in self._sentinels]
        return (await newest(questions, self._timeout_s, "no sentinel answers")).down_after_s

    async def refuse_wrong(self, connection: AbstractConnection) -> None:
        await connection.send_command("ROLE", check_health=False)
        role = (await connection.read_response())[0]
        if role != b"master":
            raise NoConnection(f"the sentinels' master of {self._service} says that it is a {role.decode('utf-8', 'replace')}")

    async def close(self) -> None:
        await self._question.close()
        for sentinel in self._sentinels:
            await sentinel.aclose()

    def _heard(self, address: Address) -> None:
        self._address = address

    async def _ask_all(self) -> Address:
        self._asked_at = asyncio.get_running_loop().time()
        questions = [self._ask_one(sentinel) for sentinel in self._sentinels]
        nobody = f"no sentinel that answers knows a master of {self._service}"
        return (await newest(questions, self._timeout_s, nobody)).address

    async def _ask_one(self, sentinel: Redis) -> _Told:
        flat = await sentinel.execute_command("SENTINEL", "MASTER", self._service)  # type: ignore[no-untyped-call]
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        address = (found[b"ip"].decode(), int(found[b"port"]))
        return _Told(int(found[b"config-epoch"]), address, int(found[b"down-after-milliseconds"]) / 1000)
