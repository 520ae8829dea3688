"""A store that is lost again and again, in every way, under three to five workers: `make chaos ARGS='-k lost_store'`.

Somebody revokes all the while. What got a receipt that names a worker is never missing in a worker whose replica is fresh, and
all workers are live again after each loss. They are of one host and keep its witness file, so that holds as well when all of
them die at once and the store is lost then. `LOSSES_SEED=N` begins there, `LOSSES=1` takes that one alone.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from following import Following, following
from store_process import StoreProcess, until

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog
from gateway.store.client import connect

HISTORIES = int(os.environ.get("LOSSES", "12"))
FIRST = int(os.environ.get("LOSSES_SEED", "0"))
LOSSES_EACH = 12
MAX_STALENESS_S = 0.6
RECOVERED_WITHIN_S = 20.0


class Losing:
    """One store, its workers, and what was acknowledged. Per history."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._store = StoreProcess(flush=self._random.choice(["always", "everysec"])).start()
        self._client = connect(self._store.url)
        self._log = RevocationLog(self._client, Clock(), MAX_STALENESS_S, deadline_s=4.0)
        self._host = Path(tempfile.mkdtemp(prefix="gateway-host-"))
        self._run = secrets.token_hex(8)
        self._dumps: list[Path] = []
        self._workers: list[tuple[Following, AsyncExitStack]] = []
        self._acknowledged: list[Revocation] = []
        self._is_over = False
        self.forgotten: list[str] = []
        self.did: list[str] = []

    async def run(self) -> None:
        await self._log.declare()
        for _ in range(3):
            await self.add_worker()
        await self._until_all_are_live()
        self._dumps.append(self._store.keep_copy())
        beside = [asyncio.create_task(self._watch()), asyncio.create_task(self._revoke())]
        for _ in range(LOSSES_EACH):
            await self._lose()
        await self._until_all_are_live()
        self._is_over = True
        await asyncio.gather(*beside)
        assert len({worker.view.epoch for worker, _ in self._workers}) == 1
        assert self._acknowledged
        for _, stack in self._workers:
            await stack.aclose()
        await self._client.aclose()

    def close(self) -> None:
        self._store.thaw()
        self._store.close()
        shutil.rmtree(self._host)

    async def _lose(self) -> None:
        ways: list[Callable[[], Awaitable[None]]] = [
            self.flush,
            self.restart,
            self.restart_empty,
            self.keep_dump,
            self.restore_dump,
            self.lose_the_tail,
            self.flush_twice,
            self.freeze,
            self.hang_a_worker,
            self.die_at_once,
            self.die_at_once_with_the_store,
            self.end_a_worker,
            self.add_worker,
        ]
        way = self._random.choice(ways)
        self.did.append(way.__name__)
        await way()
        await self._pause(1.0)
        if self._random.random() < 0.5:
            await self._until_all_are_live()

    async def flush(self) -> None:
        self._store.flush()

    async def restart(self) -> None:
        self._store.restart()

    async def restart_empty(self) -> None:
        self._store.flush()
        self._store.restart()

    async def keep_dump(self) -> None:
        self._dumps.append(self._store.keep_copy())

    async def restore_dump(self) -> None:
        self._store.roll_back(self._random.choice(self._dumps))

    async def lose_the_tail(self) -> None:
        dump = self._store.keep_copy()
        await self._pause(0.2)
        self._store.roll_back(dump)

    async def flush_twice(self) -> None:
        self._store.flush()
        await self._pause(0.5)
        self._store.flush()

    async def freeze(self) -> None:
        self._store.freeze()
        await self._pause(1.2)
        self._store.thaw()

    async def hang_a_worker(self) -> None:
        """It does not poll for a while; perhaps the store is emptied meanwhile."""
        worker, _ = self._random.choice(self._workers)
        async with worker.follower._polling:
            if self._random.random() < 0.5:
                self._store.flush()
            await self._pause(1.5)

    async def end_a_worker(self) -> None:
        if len(self._workers) > 2:
            _, stack = self._workers.pop(self._random.randrange(len(self._workers)))
            await stack.aclose()

    async def die_at_once(self) -> None:
        """Every worker, without a word; others take their places."""
        workers, self._workers = self._workers, []
        await asyncio.gather(*(stack.aclose() for _, stack in workers))
        self._run = secrets.token_hex(8)
        for _ in workers:
            await self.add_worker()

    async def die_at_once_with_the_store(self) -> None:
        workers, self._workers = self._workers, []
        await asyncio.gather(*(stack.aclose() for _, stack in workers))
        self._run = secrets.token_hex(8)
        await self._random.choice([self.flush, self.restore_dump, self.restart_empty])()
        for _ in workers:
            await self.add_worker()

    async def add_worker(self) -> None:
        if len(self._workers) < 5:
            stack = AsyncExitStack()
            worker = following(self._store.url, max_staleness=MAX_STALENESS_S, witness=self._host, run=self._run)
            self._workers.append((await stack.enter_async_context(worker), stack))

    async def _until_all_are_live(self) -> None:
        await until(lambda: all(self._is_fresh(worker) for worker, _ in self._workers), RECOVERED_WITHIN_S)

    def _is_fresh(self, worker: Following) -> bool:
        return worker.view.is_fresh(worker.clock.boot(), MAX_STALENESS_S)

    async def _revoke(self) -> None:
        number = 0
        while not self._is_over:
            number += 1
            revocation = Revocation(self._random.choice([Kind.SESSION, Kind.USER, Kind.BLOCK]), f"n{number}")
            try:
                receipt = await self._log.revoke(revocation)
            except GatewayError:
                continue
            finally:
                await self._pause(0.05)
            if receipt.complete and receipt.enforced_by:
                self._acknowledged.append(revocation)

    async def _watch(self) -> None:
        while not self._is_over:
            for worker, _ in self._workers:
                if self._is_fresh(worker):
                    self.forgotten += [fact.name for fact in self._acknowledged if not worker.view.find(fact.key)]
            await asyncio.sleep(0.002)

    async def _pause(self, most_s: float) -> None:
        await asyncio.sleep(self._random.random() * most_s)


def test_lost_store_nothing_acknowledged_is_forgotten_and_all_workers_come_back() -> None:
    for seed in range(FIRST, FIRST + HISTORIES):
        losing = Losing(seed)
        try:
            asyncio.run(losing.run())
        except AssertionError as error:
            raise AssertionError(f"history {seed}, {losing.did}: {error}") from error
        finally:
            losing.close()
        assert not losing.forgotten, f"history {seed}, {losing.did}"
