"""Which address of an upstream a request goes to, when there are several, or a name that may mean several.

    take, wait      the address with the fewest requests under way; among equals, any
    elsewhere       the next best, for a request that could not be connected: nothing of it was sent
    resolve         names are looked up again; new addresses join, gone ones end when their exchanges do

Whom it chooses from: the addresses that are up; when there is none, those that are ejected, because a bad answer is better than
none and a check may be wrong; when these are gone too, nobody, and the request fails at once. Half of the addresses at most
are ejected for bad answers: those a client can provoke.

Owns the addresses, and a pool for each. A name is its own address until the first lookup has answered, and what was found stays
in use while later ones fail or hang. An upstream with one address that is no name has a pool and no balancer.
"""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from gateway.config.address import Address
from gateway.config.schema import Upstream
from gateway.errors import UpstreamUnreachable
from gateway.proxy.check import Checker
from gateway.proxy.connector import Connector, Place
from gateway.proxy.health import State
from gateway.proxy.pool import Alone, Pool, Waiting, states_of
from gateway.proxy.steps import Wait
from gateway.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane

MOST_ADDRESSES: Final = 64  # of one name
AFTER_A_FAILURE_S: Final = 1.0

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host. Raises OSError."""


class Host:
    """What one entry of `url` means at the moment."""

    def __init__(self, named: Address) -> None:
        self.named = named
        self.found = [named]
        self.lookup: asyncio.Task[None] | None = None  # one at a time: a resolver that hangs is not asked again
        self.due_at = 0.0 if is_name(named) else float("inf")
        self.failure = ""


class Balancer:
    """The addresses of one upstream, in one worker. To an exchange it is a pool."""

    def __init__(self, name: str, config: Upstream, plane: "Plane", resolve: Resolve | None = None) -> None:
        # per process
        self.name = name
        self.config = config
        self._plane = plane
        self._resolve = resolve or look_up
        self._hosts = [Host(address) for address in config.addresses]
        self._pools: dict[Place, Pool] = {}
        self._usable: list[Pool] = []
        self._leaving: set[Pool] = set()
        self._connector = Connector(config, plane.loop)
        self._checker = Checker(config, plane, self._connector)
        self._meet_addresses()

    def __repr__(self) -> str:
        told = ", ".join(f"{place.address} {pool.health.state.value}" for place, pool in self._pools.items())
        return f"<Balancer {self.name}: {told}>"

    @property
    def pools(self) -> tuple[Pool, ...]:
        """One for each address."""
        return tuple(self._pools.values())

    def take(self) -> UpstreamConnection | None:
        """An idle connection to the address with the fewest requests, or None."""
        pool = self._choose(self._usable)
        return None if pool is None else pool.take()

    def wait(self) -> Wait[UpstreamConnection]:
        """A connection to come; see `Pool.wait`."""
        pool = self._choose(self._usable)
        if pool is not None:
            return pool.wait()
        wait: Wait[UpstreamConnection] = Wait()
        wait.fail(UpstreamUnreachable("no address of it can be reached"))
        return wait

    def open_fresh(self, stale: UpstreamConnection) -> Wait[UpstreamConnection]:
        """After a stale connection: a new one, to any address."""
        stale.pool.close_idle()
        self._plane.report.metrics.upstream_retry(self.name)
        pool = self._choose(self._usable)
        if pool is not None:
            pool.close_idle()
        return self.wait() if pool is None else pool.wait()

    def tick(self, now: float) -> None:
        """Time passes for the addresses, the names and the checks."""
        for pool in (*self._pools.values(), *self._leaving):
            pool.tick(now)
        self._leaving = {pool for pool in self._leaving if not pool.is_empty}
        for host in self._hosts:
            if host.due_at <= now and host.lookup is None:
                host.lookup = self._plane.loop.create_task(self._look_up(host))
        self._checker.tick(now, self.pools)

    async def close(self) -> None:
        """Close all connections; for the end of the worker."""
        lookups = [host.lookup for host in self._hosts if host.lookup is not None]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        await self._checker.close()
        for pool in (*self._pools.values(), *self._leaving):
            await pool.close()

    # What its pools tell and ask.

    def noticed(self, pool: Pool) -> None:
        """An address was tried, or is in another state."""
        self._take_stock()

    def may_eject(self, pool: Pool) -> bool:
        """Half of the addresses at most."""
        out = sum(other.health.state is not State.UP for other in self._pools.values() if other is not pool)
        return 2 * (out + 1) <= len(self._pools)

    def elsewhere(self, failed: Pool, waiting: Waiting) -> bool:
        """Give the request to the next best address, of which it has one try less."""
        pool = self._choose([pool for pool in self._usable if pool is not failed])
        if pool is None or not pool.enqueue(Waiting(waiting.wait, waiting.deadline, waiting.tries - 1)):
            return False
        self._plane.report.metrics.upstream_retry(self.name)
        return True

    # The choice.

    def _choose(self, among: list[Pool]) -> Pool | None:
        if len(among) < 2:
            return among[0] if among else None
        least = min(pool.load for pool in among)
        return random.choice([pool for pool in among if pool.load == least])  # noqa: S311 - spreads load, keeps no secret

    def _take_stock(self) -> None:
        """Which addresses are used from now on."""
        plane, pools = self._plane, self.pools
        up = [pool for pool in pools if pool.health.state is State.UP]
        self._usable = up or [pool for pool in pools if pool.health.state is State.EJECTED]
        plane.report.metrics.upstream_addresses(self.name, states_of(pools))
        plane.report.metrics.upstream_up(self.name, any(not pool.is_failing for pool in self._usable), plane.clock.boot())
        if any(pool.is_failing for pool in pools):
            for host in self._hosts:
                host.due_at = min(host.due_at, plane.loop.time() + AFTER_A_FAILURE_S) if is_name(host.named) else host.due_at

    # The addresses.

    async def _look_up(self, host: Host) -> None:
        """Ask what the name means. A failure changes nothing: a resolver that is gone is not the application's end."""
        assert host.named.host is not None and host.named.port is not None
        failure, found = "", host.found
        try:
            addresses = await self._resolve(host.named.host, host.named.port)
            found = [Address(host=address, port=host.named.port) for address in sorted(set(addresses))[:MOST_ADDRESSES]]
        except (OSError, UnicodeError) as error:
            failure = type(error).__name__
        host.lookup = None
        host.due_at = self._plane.loop.time() + self.config.resolve_every * (1.0 - random.random() / 4.0)  # noqa: S311
        if (failure, found) != (host.failure, host.found):
            self._plane.report.upstream_resolved(self.name, host.named.host, len(found), failure)
        host.failure = failure
        if found and found != host.found:
            host.found = found
            self._meet_addresses()

    def _meet_addresses(self) -> None:
        """New addresses get a pool; the pools of gone ones end."""
        places = [Place(address, host.named) for host in self._hosts for address in host.found]
        gone = [pool for place, pool in self._pools.items() if place not in places]
        self._pools = {place: self._pools.get(place) or self._pool_at(place) for place in places}
        self._usable = list(self._pools.values())
        self._leaving.update(gone)
        self._take_stock()
        for pool in gone:
            pool.leave()

    def _pool_at(self, place: Place) -> Pool:
        return Pool(self.name, self.config, self._plane, place, self._connector, self)


def build_upstream(name: str, config: Upstream, plane: "Plane") -> Pool | Balancer:
    """What serves an upstream: a pool alone where nothing is to be chosen, looked up or checked."""
    addresses = config.addresses
    if len(addresses) > 1 or is_name(addresses[0]) or config.health.path is not None:
        return Balancer(name, config, plane)
    pool = Pool(name, config, plane, Place(addresses[0], addresses[0]), Connector(config, plane.loop), Alone(plane))
    plane.report.metrics.upstream_addresses(name, states_of([pool]))
    return pool


def is_name(address: Address) -> bool:
    """A host that is to be looked up. Not `localhost`: it is one machine by two addresses, of which few applications use both."""
    if address.host is None or address.host == "localhost":
        return False
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        return True
    return False


async def look_up(host: str, port: int) -> list[str]:
    """All addresses of a host, by the system's resolver, which has its own deadline and is asked by another thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
