"""What a store can do to a follower: die, hang, restart, answer errors [R01-R08].

None of it ends the follower, and none of it proves anything.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from following import MAX_STALENESS_S, Following, following
from store_process import StoreProcess, until

from gateway.clock import Clock
from gateway.errors import StoreUnavailable
from gateway.revocation.entry import Kind, Revocation, fact_key
from gateway.revocation.keys import ENTRIES, RECORD, STATES, WORKERS
from gateway.revocation.log import RevocationLog
from gateway.revocation.state import State
from gateway.store.client import Store, command, connect

ALICE = fact_key(Kind.USER, "", "alice")
RECOVERY_S = 2.0

ERRORS = [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair",
    "MOVED 3999 127.0.0.1:1",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "BUSY Redis is busy running a script.",
    "NOSCRIPT No matching script.",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Errors writing to the AOF file",
    "CLUSTERDOWN The cluster is down",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOPERM this user has no permissions",
    "ERR something else",
]
ANSWERS = [f"-{error}\r\n".encode() for error in ERRORS] + [
    b"+OK\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*3\r\n:1\r\n:2\r\n$-1\r\n",
    b"$100\r\nhalf an answer",
    b"not RESP at all\r\n",
    b"",
]


@asynccontextmanager
async def at_work(process: StoreProcess) -> AsyncIterator[tuple[Following, RevocationLog, Store]]:
    """A live follower on a declared store that holds one revocation."""
    client = connect(process.url)
    log = RevocationLog(client, Clock(), MAX_STALENESS_S)
    await log.declare()
    async with following(process.url) as worker:
        await worker.until_live()
        await log.revoke(Revocation(Kind.USER, "alice"))
        yield worker, log, client
    await client.aclose()


async def until_stale(worker: Following) -> None:
    await until(lambda: not worker.is_fresh)


async def until_recovered(worker: Following) -> None:
    """Within the promised time of the store answering, with slack for a busy machine in the deadline only."""
    await until(lambda: worker.is_fresh, deadline_s=10 * RECOVERY_S)


async def test_R01_a_store_that_is_not_there_at_the_start_is_waited_for(store_process: StoreProcess) -> None:
    client = connect(store_process.url)
    await RevocationLog(client, Clock(), MAX_STALENESS_S).declare()
    store_process.kill()
    async with following(store_process.url) as worker:
        await worker.until_failed_again(3)
        assert worker.view.state is State.EMPTY
        assert not worker.follower.statistics.is_store_up
        store_process.start()
        await worker.until_live()
    await client.aclose()


async def test_R02_R03_a_store_that_dies_makes_the_view_stale_and_its_return_makes_it_fresh(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, _, _):
        store_process.kill()
        await until_stale(worker)
        assert worker.view.state is State.LIVE
        assert worker.view.find(ALICE)
        store_process.start()
        await until_recovered(worker)
        assert worker.follower.statistics.snapshots == 1, "the log was whole, nothing had to be read again"


async def test_R04_a_store_that_hangs_makes_the_view_stale(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, _, _):
        store_process.freeze()
        await until_stale(worker)
        store_process.thaw()
        await until_recovered(worker)


async def test_R04_a_store_whose_writes_pause_proves_nothing(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, _, client):
        await command(client, "CLIENT PAUSE", 60_000, "WRITE")
        await until_stale(worker)
        await command(client, "CLIENT UNPAUSE")
        await until_recovered(worker)


async def test_R07_out_of_memory_is_no_proof(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, _, client):
        await command(client, "CONFIG SET", "maxmemory", 1)
        await until_stale(worker)
        assert worker.view.find(ALICE)
        await command(client, "CONFIG SET", "maxmemory", 0)
        await until_recovered(worker)


async def test_R07_forgotten_scripts_are_sent_again(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, log, client):
        for _ in range(3):
            await command(client, "SCRIPT FLUSH")
            assert (await log.revoke(Revocation(Kind.USER, "bob"))).enforced_by == 1
        assert not worker.follower.statistics.failures


async def test_R07_a_busy_store_is_no_proof(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, _, client):
        await command(client, "CONFIG SET", "busy-reply-threshold", 10)
        with pytest.raises(StoreUnavailable):
            await command(client, "EVAL", "while true do end", 0)
        await until_stale(worker)
        assert worker.view.state is State.LIVE
        await command(client, "SCRIPT KILL")
        await until_recovered(worker)


@pytest.mark.parametrize("name", [RECORD, ENTRIES, WORKERS])
async def test_R08_keys_of_a_wrong_type_are_no_proof(store_process: StoreProcess, name: str) -> None:
    async with at_work(store_process) as (worker, _, client):
        await command(client, "RENAME", name, "gateway:{log}:aside")
        await command(client, "SET", name, "nonsense")
        await until_stale(worker)
        assert worker.view.find(ALICE)
        await command(client, "RENAME", "gateway:{log}:aside", name)
        await until_recovered(worker)


async def test_R08_facts_of_a_wrong_shape_are_no_snapshot(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (_, _, client):
        await command(client, "HSET", STATES, "short", "x")
        async with following(store_process.url) as newcomer:
            await newcomer.until_failed_again(3)
            assert newcomer.view.state is State.CATCHING_UP
            await command(client, "HDEL", STATES, "short")
            await newcomer.until_live()


async def test_L2_a_lost_store_that_returns_whole_is_believed_again(store_process: StoreProcess) -> None:
    async with at_work(store_process) as (worker, _, _):
        whole = store_process.keep_copy()
        store_process.flush()
        await worker.until_lost()
        store_process.roll_back(whole)
        await until_recovered(worker)
        assert worker.view.state is State.LIVE


@pytest.mark.parametrize("answer", ANSWERS)
async def test_R07_whatever_a_store_answers_the_follower_lives_and_nothing_is_proven(answer: bytes, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()
                if not answer or b"half" in answer:
                    break
        writer.close()

    socket = tmp_path / "s"
    server = await asyncio.start_unix_server(serve, socket)
    async with following(f"unix://{socket}", max_staleness=0.4) as worker:
        await worker.until_failed_again(3)
        assert worker.view.state is State.EMPTY
        assert not worker.view.was_live
        assert not worker.task.done()
    server.close()
