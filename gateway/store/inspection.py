"""What a store's own settings say about the promises that rest on it: for an operator who asks before users do.

    problem    the gateway would not work on it, or could let somebody in who was revoked
    warning    it works, and something could be lost, or hidden for a time, that need not be

Everything is asked of the servers themselves: `INFO`, `CONFIG GET` (closed on many services: then that is said), `ROLE`, `TIME`,
and of sentinels how long they wait. Nothing is written. What each finding is about stands in docs/how-to/store.md.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.clock import LARGEST_STORE_OFFSET_S, Clock
from gateway.errors import StoreError
from gateway.store.client import Store, command, each_server, store_errors
from gateway.store.failover_pool import FailoverPool
from gateway.store.fitness import failover_after_s, has_failover, problems_of, problems_of_lag, settings_of
from gateway.store.sentinel import SentinelPlace

OLDEST_VERSION: Final = (6, 2)  # SET … EXAT, XTRIM MINID
LEAST_SENTINELS: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about the store, with what to do about it."""

    text: str
    is_problem: bool = False


async def inspect(store: Store, clock: Clock) -> list[Finding]:
    """All findings, problems first. A store that does not answer is one."""
    try:
        found = [finding async for finding in _inspected(store, clock)]
    except StoreError as error:
        found = [Finding(f"does not answer: {error}", is_problem=True)]
    return sorted(dict.fromkeys(found), key=lambda finding: not finding.is_problem)


async def _inspected(store: Store, clock: Clock) -> AsyncIterator[Finding]:
    if isinstance(store.connection_pool, FailoverPool) and isinstance(store.connection_pool.place, SentinelPlace):
        place = store.connection_pool.place
        if place.sentinels < LEAST_SENTINELS:
            yield Finding(f"{place.sentinels} sentinels are named: less than three cannot agree on a failover when one is away")
    async for server in each_server(store):
        with store_errors():
            about = {section: await server.info(section) for section in ("server", "memory", "persistence", "replication")}
        settings = await settings_of(server)
        failover_s = await failover_after_s(store, settings)
        for finding in (*_of_server(about, store), *_of_disk(about, settings), *_of_replicas(about, failover_s)):
            yield finding
        for problem in problems_of_lag(settings, failover_s):
            yield Finding(problem, is_problem=True)
        offset_s = await _offset_s(server, clock)
        if abs(offset_s) > LARGEST_STORE_OFFSET_S:
            yield Finding(
                f"its clock and this machine's are {abs(offset_s):.1f} s apart: no worker is ready beyond"
                f" {LARGEST_STORE_OFFSET_S:g} s; synchronise them",
                is_problem=True,
            )


def _of_server(about: Mapping[str, Any], store: Store) -> Iterator[Finding]:
    version = str(about["server"].get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST_VERSION:
        yield Finding(f"version {version} is too old; take 6.2 or later", is_problem=True)
    if about["replication"].get("role") != "master":
        yield Finding("it is a replica, which takes no writes; name its master, or the sentinels", is_problem=True)
    for problem in problems_of(about["memory"], about["replication"], has_failover=has_failover(store)):
        yield Finding(problem, is_problem=True)
    policy = about["memory"].get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not about["memory"].get("maxmemory"):
        yield Finding(f"maxmemory-policy is {policy}, which forgets revocations once maxmemory is set; set it to noeviction")


def _of_disk(about: Mapping[str, Any], settings: Mapping[str, str]) -> Iterator[Finding]:
    disk, replicas = about["persistence"], about["replication"].get("connected_slaves", 0)
    if disk.get("aof_last_write_status", "ok") != "ok":
        yield Finding("it cannot write its append-only file; look at its log and its disk", is_problem=True)
    if not disk.get("aof_enabled"):
        yield Finding(
            "appendonly is no: when it and all workers die at once, what it has not written yet is forgotten; set it to yes"
        )
    elif not settings:
        yield Finding("CONFIG is closed here, so nothing can be said about appendfsync; see that it is always")
    elif settings.get("appendfsync") != "always" and not replicas:
        yield Finding(
            f"appendfsync is {settings.get('appendfsync')} and it has no replica: what is acknowledged is not on a disk yet"
            " (receipts say durable: false); set it to always, or add a replica"
        )


def _of_replicas(about: Mapping[str, Any], failover_s: float) -> Iterator[Finding]:
    replicas = int(about["replication"].get("connected_slaves", 0))
    if failover_s and not replicas:
        yield Finding("a master has no replica: when it dies, nobody takes over")
    if failover_s and replicas == 1:
        yield Finding(
            "a master has one replica: with min-replicas-to-write 1 nothing can be revoked from the death of either until it is"
            " back; add a second one"
        )


async def _offset_s(server: Store, clock: Clock) -> float:
    before = clock.wall()
    answer = await command(server, "TIME")
    seconds, microseconds = (int(part) for part in answer)
    return seconds + microseconds / 1e6 - (before + clock.wall()) / 2
