"""Workers that follow the log and read the ring, as a real one does, for tests of keys; and ways to age a ring in the store."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from following import SetClock
from store_process import until

from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.keys.rotation import Rotation
from gateway.keys.store import RING, load
from gateway.revocation.entry import Kind, fact_key
from gateway.revocation.follower import Follower
from gateway.revocation.keys import WORKERS
from gateway.revocation.log import RevocationLog
from gateway.revocation.view import View
from gateway.store.client import Store, command, connect
from gateway.tokens.ring import Ring, SigningKey

ISSUER = "https://gateway.example"
SECRETS = (bytes(range(32)), bytes(range(1, 33)))
MAX_STALENESS_S = 1.0
DAY_S = 86400.0


def configuration(**tokens: object) -> Config:
    return Config.model_validate({"admin": {"token": "t" * 40}, "public_url": ISSUER, "tokens": tokens})


def a_log(store: Store, *, deadline_s: float = 5.0) -> RevocationLog:
    return RevocationLog(store, Clock(), MAX_STALENESS_S, deadline_s=deadline_s)


def a_rotation(
    store: Store,
    *,
    deadline_s: float = 5.0,
    clock: Clock | None = None,
    secrets_: tuple[bytes, ...] = SECRETS,
    changes: list[str] | None = None,
    **tokens: object,
) -> Rotation:
    """What a supervisor has. Another call is another supervisor."""

    def note(found: object, reason: str) -> None:
        if changes is not None:
            changes.extend(f"{one.kid} {one.after.state if one.after else None}: {reason}" for one in found)  # type: ignore[attr-defined]

    log = a_log(store, deadline_s=deadline_s)
    return Rotation(store, log, configuration(**tokens), secrets_, clock or SetClock(), on_change=note)


@dataclass
class RingWorker:
    """A worker's view and its keys. While `may_read` is not set it hangs in reading the ring."""

    view: View
    follower: Follower
    clock: Clock
    incarnation: str
    ring: Ring = field(default_factory=Ring)
    read: list[Ring] = field(default_factory=list)
    refused_when_read: list[set[str]] = field(default_factory=list)
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    others: list["RingWorker"] = field(default_factory=list)
    unknown_to_others: list[str] = field(default_factory=list)

    def refuses(self, key: SigningKey) -> bool:
        names = ((key.kid,), (key.kid, key.thumbprint))
        return any(self.view.find(fact_key(Kind.KEY, ISSUER, *name)) for name in names)

    def adopt(self, ring: Ring) -> None:
        self.ring = ring
        self.read.append(ring)
        self.refused_when_read.append({key.kid for key in ring.keys if self.refuses(key)})
        if ring.signing is not None:  # from now on it signs with it: whoever is live must know the key already
            self.unknown_to_others += [ring.signing.kid for other in self.others if other.ring.find(ring.signing.kid) is None]

    @property
    def is_fresh(self) -> bool:
        return self.view.is_fresh(self.clock.boot(), MAX_STALENESS_S)

    async def until_live(self) -> None:
        await until(lambda: self.is_fresh)


@asynccontextmanager
async def ring_worker(
    url: str, *, max_staleness: float = MAX_STALENESS_S, others: list[RingWorker] | None = None
) -> AsyncIterator[RingWorker]:
    """A worker that runs until the end of the block."""
    store, view, clock, incarnation = connect(url), View(10_000), Clock(), secrets.token_hex(8)

    async def on_ring() -> None:
        await worker.may_read.wait()
        worker.adopt(await load(store, SECRETS))

    follower = Follower(url, view, clock, incarnation=incarnation, max_staleness=max_staleness, on_ring=on_ring)
    worker = RingWorker(view, follower, clock, incarnation, others=others if others is not None else [])
    worker.may_read.set()
    task = asyncio.create_task(follower.run())
    try:
        yield worker
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.aclose()


async def age(store: Store, kid: str, seconds: float) -> None:
    """The key has been in its state for so much longer."""
    state, since, rest = (await command(store, "HGET", RING, kid)).decode().split(" ", 2)
    await command(store, "HSET", RING, kid, f"{state} {float(since) - seconds:.6f} {rest}")


async def age_all(store: Store, seconds: float) -> None:
    for key in (await load(store, SECRETS)).keys:
        await age(store, key.kid, seconds)


async def hang(store: Store, epoch: str) -> None:
    """Register a worker that will never acknowledge anything, and is not fenced within the life of a test."""
    await command(store, "HSET", WORKERS, "slow", f"live {epoch} 1 60000 7 1000 ")


async def unhang(store: Store) -> None:
    await command(store, "HDEL", WORKERS, "slow")


def states(ring: Ring) -> list[str]:
    return [key.state.value for key in ring.keys]
