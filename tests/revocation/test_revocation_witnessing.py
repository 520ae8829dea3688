"""Everything dies at once and the store has forgotten: what the host's witness file knew is refused again [L5].

A "host" is a folder; a "life" of it a worker or two that end without a word, as by SIGKILL.
"""

import asyncio
import os
import resource
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from following import MAX_STALENESS_S, WITNESS_KEY, Following, SetClock, following
from store_process import StoreProcess, until, until_awaited

from gateway.clock import Clock
from gateway.revocation.entry import Entry, Kind, Revocation
from gateway.revocation.follower import Follower
from gateway.revocation.keys import RECORD
from gateway.revocation.log import RevocationLog
from gateway.revocation.state import State
from gateway.revocation.witness import Head, read_proof, read_testimony
from gateway.revocation.witness_lock import WitnessLock
from gateway.revocation.witnessing import Witness
from gateway.store.client import connect

ALICE = Revocation(Kind.USER, "alice")
BLOCK = Revocation(Kind.BLOCK, "mallory")
SESSION = Revocation(Kind.SESSION, "s-1", "https://idp.example")


@pytest.fixture
async def log(store_process: StoreProcess) -> AsyncIterator[RevocationLog]:
    client = connect(store_process.url)
    log = RevocationLog(client, Clock(), MAX_STALENESS_S)
    await log.declare()
    yield log
    await client.aclose()


@asynccontextmanager
async def life(url: str, host: Path, *, address: str = "store", run: str = "", seat: int = 0) -> AsyncIterator[Following]:
    """A gateway of one worker, live; its end is sudden."""
    async with following(url, witness=host, run=run or secrets.token_hex(8), address=address, seat=seat) as worker:
        await worker.until_live()
        yield worker


@contextmanager
def no_space(file: Path) -> Iterator[None]:
    """That file cannot grow, as on a full disk; what it has can be written over."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def empty(process: StoreProcess, older: Path) -> None:
    process.flush()


def roll_back(process: StoreProcess, older: Path) -> None:
    process.roll_back(older)


@pytest.mark.parametrize("lose", [empty, roll_back])
async def test_L5_what_the_store_lost_when_all_died_at_once_is_given_back_by_the_witness(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, lose: Callable[[StoreProcess, Path], None]
) -> None:
    async with life(store_process.url, tmp_path) as worker:
        await log.revoke(BLOCK)
        older = store_process.keep_copy()
        assert (await log.revoke(ALICE)).complete
        epoch, since = worker.view.epoch, worker.view.complete_since
    lose(store_process, older)
    believed: list[int] = []
    async with following(
        store_process.url, witness=tmp_path, on_snapshot=lambda view: believed.append(view.find(ALICE.key))
    ) as after:
        await until(lambda: after.is_fresh or after.view.state is State.LIVE)
        assert after.view.epoch != epoch
        assert after.view.find(ALICE.key) and after.view.find(BLOCK.key)
        assert all(believed), "nothing was read as complete before"
        assert after.view.complete_since == since, "nobody who was not revoked has to sign in again"
        assert not after.problems
        async with following(store_process.url) as newcomer:
            await newcomer.until_live()
            assert newcomer.view.find(ALICE.key) and newcomer.view.find(BLOCK.key)


async def test_L5_a_receipt_is_not_complete_before_the_witness_has_it(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    async with life(store_process.url, tmp_path) as worker:
        for number in range(20):
            session = Revocation(Kind.SESSION, f"s{number}")
            receipt = await log.revoke(session)
            assert receipt.enforced_by == 1
            testimony = await _reader(tmp_path, worker.clock).read(whole=True)
            assert testimony is not None and testimony.is_whole
            assert session.key in {fact.key for fact in testimony.facts}
            assert testimony.position.sequence == worker.follower.statistics.position


class HeldFlush:
    """A disk on which the flushes of these files take until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.let_go = threading.Event()
        self.waiting = 0
        self._names = names
        self._fdatasync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._flush)

    def _flush(self, descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name in self._names:
            self.waiting += 1
            self.let_go.wait(20)
        self._fdatasync(descriptor)


async def test_L5_a_receipt_waits_for_the_witness_s_flush(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.revocation.witnessing.WITHIN_S", 20.0)
    async with life(store_process.url, tmp_path) as worker:
        await until((tmp_path / "witness").exists)
        held = HeldFlush(monkeypatch, "witness")
        revoking = asyncio.create_task(log.revoke(ALICE))
        await until(lambda: bool(held.waiting))
        assert worker.view.find(ALICE.key), "it is enforced meanwhile"
        assert [member.position for member in (await log.members()).members] == [1], "and not acknowledged"
        assert not revoking.done()
        held.let_go.set()
        assert (await revoking).enforced_by == 1


async def test_L5_a_disk_that_is_late_holds_up_nobody_and_is_told(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(store_process.url, tmp_path) as worker:
        await until((tmp_path / "witness").exists)
        held = HeldFlush(monkeypatch, "witness")
        for session in ("one", "two", "three"):
            assert (await log.revoke(Revocation(Kind.SESSION, session))).enforced_by == 1
        assert worker.problems == ["late"], "it was waited for once"
        assert not await _is_whole(tmp_path), "though nobody could write that into it"
        held.let_go.set()
        await until(lambda: _position(tmp_path) == worker.follower.statistics.position)
        assert await _is_whole(tmp_path)


async def test_L5_a_disk_that_takes_no_mark_either_holds_up_nobody_and_is_told(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(store_process.url, tmp_path) as worker:
        await until((tmp_path / "witness").exists)
        held = HeldFlush(monkeypatch, "witness", "witness.behind")
        for session in ("one", "two", "three"):
            assert (await log.revoke(Revocation(Kind.SESSION, session))).enforced_by == 1
        assert worker.problems == ["late", "unmarked", "unmarked", "unmarked"]
        held.let_go.set()
        await until(lambda: _position(tmp_path) == worker.follower.statistics.position)
        assert await _is_whole(tmp_path)


async def test_L5_W2_a_file_whose_writer_was_fenced_vouches_for_nothing_until_it_has_caught_up(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    """The others acknowledge without it, and it counts as stopped: a complete receipt about what the file lacks."""
    run = secrets.token_hex(8)
    async with (
        life(store_process.url, tmp_path, run=run) as writer,
        life(store_process.url, tmp_path, run=run, seat=1) as other,
    ):
        await log.revoke(BLOCK)
        take_in = await _hang(writer.follower)
        receipt = await log.revoke(ALICE)
        assert (receipt.enforced_by, receipt.fenced, receipt.complete) == (1, 1, True)
        assert not await _is_whole(tmp_path)
        assert other.problems == ["late"]
        writer.follower._on_entry = take_in
        writer.follower._polling.release()
        await until(lambda: _position(tmp_path) == other.follower.statistics.position)
        assert await _is_whole(tmp_path)
        await _hang(writer.follower)
        receipt = await log.revoke(SESSION)
        assert (receipt.enforced_by, receipt.complete) == (1, True)
        since = other.view.complete_since
    store_process.flush()
    lost_at = int(Clock().wall())
    async with life(store_process.url, tmp_path) as after:
        assert after.view.find(ALICE.key) and after.view.find(BLOCK.key)
        assert after.view.complete_since > max(since, lost_at), "what the file lacks is refused with all that is older"


async def test_L5_what_comes_while_the_file_is_written_anew_is_not_missing_in_silence(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(store_process.url, tmp_path):
        await log.revoke(BLOCK)
    held = HeldFlush(monkeypatch, "witness.new")
    async with life(store_process.url, tmp_path) as worker:
        await until(lambda: bool(held.waiting))
        assert (await log.revoke(ALICE)).complete
        assert not await _is_whole(tmp_path), "the former life's, which ends before ALICE"
        held.let_go.set()
        await until(lambda: _position(tmp_path) == worker.follower.statistics.position)
        assert await _is_whole(tmp_path)


async def test_L5_a_store_that_has_all_that_the_witness_knew_is_believed_as_it_is(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    async with life(store_process.url, tmp_path) as worker:
        receipt = await log.revoke(BLOCK)
        await log.revoke(ALICE)
        epoch = worker.view.epoch
    await log.undo(receipt.id)  # while this host is away
    async with life(store_process.url, tmp_path) as after:
        assert after.view.epoch == epoch
        assert after.view.find(ALICE.key) and not after.view.find(BLOCK.key), "a lift stays one"


async def test_L5_a_lift_is_witnessed_too(store_process: StoreProcess, log: RevocationLog, tmp_path: Path) -> None:
    async with life(store_process.url, tmp_path):
        older = store_process.keep_copy()
        receipt = await log.revoke(BLOCK)
        await log.revoke(ALICE)
        await log.undo(receipt.id)
    store_process.roll_back(older)
    async with life(store_process.url, tmp_path) as after:
        assert after.view.find(ALICE.key) and not after.view.find(BLOCK.key)


async def test_L5_the_worker_that_writes_is_followed_by_another_when_it_dies(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    run = secrets.token_hex(8)
    async with life(store_process.url, tmp_path, run=run) as one, life(store_process.url, tmp_path, run=run) as two:
        await log.revoke(BLOCK)
        await log.remove(one.incarnation)
        one.task.cancel()
        await until(one.task.done)
        receipt = await log.revoke(ALICE)
        assert (receipt.enforced_by, receipt.workers) == (1, 1)
        testimony = await _reader(tmp_path, two.clock).read(whole=True)
        assert testimony is not None
        assert {ALICE.key, BLOCK.key} <= {fact.key for fact in testimony.facts}


async def test_L5_who_leaves_gives_the_file_free_and_ends_without_a_word(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    async with life(store_process.url, tmp_path) as worker:
        await log.revoke(BLOCK)
        await worker.follower.leave()
        await worker.task
        assert not worker.problems
        assert WitnessLock(tmp_path, "another", 0).take()


async def test_L5_a_damaged_witness_gives_back_what_it_has_and_vouches_for_nothing(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    async with life(store_process.url, tmp_path):
        await log.revoke(BLOCK)
        await log.revoke(SESSION)
        await log.revoke(ALICE)
    file = tmp_path / "witness"
    raw = bytearray(file.read_bytes())
    at = raw.index(BLOCK.key)
    raw[at] ^= 1
    file.write_bytes(raw)
    store_process.flush()
    lost_at = int(Clock().wall())
    async with life(store_process.url, tmp_path) as after:
        assert after.view.find(ALICE.key) and after.view.find(SESSION.key)
        assert after.view.complete_since > lost_at
        assert after.problems == ["damaged"]


async def test_L5_a_stranger_s_witness_is_left_out(store_process: StoreProcess, log: RevocationLog, tmp_path: Path) -> None:
    async with life(store_process.url, tmp_path):
        await log.revoke(BLOCK)
    file = tmp_path / "witness"
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b'"mark": "', b'"mark": "0'))
    await log.clear(BLOCK)
    async with life(store_process.url, tmp_path) as after:
        assert after.problems == ["foreign"]
        assert not after.view.find(BLOCK.key) and not after.view.complete_since


async def test_L5_the_witness_of_a_store_that_was_left_for_another_says_nothing_there(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    async with life(store_process.url, tmp_path):
        await log.revoke(BLOCK)
    store_process.flush()
    async with following(store_process.url, witness=tmp_path, address="another") as undeclared:
        await undeclared.until_lost()
        await undeclared.until_polled_again()
        assert not store_process.command("EXISTS", RECORD), "an operator declares another store"
    await log.declare()
    async with life(store_process.url, tmp_path, address="another") as after:
        assert not after.view.find(BLOCK.key)


async def test_L5_a_store_that_an_operator_declared_anew_is_given_what_the_witness_knew(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    async with life(store_process.url, tmp_path):
        await log.revoke(BLOCK)
    store_process.flush()
    declared_at = int(Clock().wall())
    await log.declare()
    async with life(store_process.url, tmp_path) as after:
        assert after.view.find(BLOCK.key)
        assert after.view.complete_since >= declared_at


async def test_L5_the_workers_of_another_host_are_waited_for(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    """All died at once; the other host's file may know more, so this one's alone vouches for nothing."""
    one, two = tmp_path / "one", tmp_path / "two"
    async with life(store_process.url, one), life(store_process.url, two) as other:
        await log.revoke(BLOCK)
        await until(lambda: b"M" in _kinds(one))
        assert other.incarnation.encode() in (one / "witness").read_bytes()
    store_process.flush()
    lost_at = int(Clock().wall())
    async with life(store_process.url, one) as after:
        assert after.view.find(BLOCK.key)
        assert after.view.complete_since > lost_at


async def test_L5_two_hosts_that_come_back_together_vouch_for_each_other(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    async with life(store_process.url, one), life(store_process.url, two):
        await log.revoke(BLOCK)
        await until(lambda: b"M" in _kinds(one) and b"M" in _kinds(two))
    store_process.flush()
    async with following(store_process.url, witness=one) as first, following(store_process.url, witness=two) as second:
        for worker in (first, second):
            await worker.until_live()
            assert worker.view.find(BLOCK.key)
            assert not worker.view.complete_since


async def test_L5_a_full_disk_is_told_and_the_file_vouches_for_nothing_until_it_is_written_again(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path
) -> None:
    clock = SetClock()
    async with following(store_process.url, witness=tmp_path, clock=clock) as worker:
        await worker.until_live()
        many = [Revocation(Kind.SESSION, f"s{number}") for number in range(700)]
        await log.revoke(BLOCK, *many)  # a file that is longer than the one with the marks, whose places are allocated
        reader = _reader(tmp_path, worker.clock)
        with no_space(tmp_path / "witness"):
            receipt = await log.revoke(ALICE)
            assert receipt.complete, "nobody waits for a disk"
            await until(lambda: worker.problems == ["write"])
            testimony = await reader.read(whole=True)
        assert testimony is not None and not testimony.is_whole
        assert BLOCK.key in {fact.key for fact in testimony.facts}
        clock.boot_ahead_s += 10
        await until(lambda: _position(tmp_path) == worker.follower.statistics.position)
        assert await _is_whole(tmp_path)
        testimony = await reader.read(whole=True)
        assert testimony is not None and ALICE.key in {fact.key for fact in testimony.facts}


async def test_L5_the_file_is_as_long_as_there_are_facts_and_nobody_else_may_read_it(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.revocation.witnessing.SPARE_FRAMES", 10)
    async with life(store_process.url, tmp_path):
        for _ in range(20):
            receipt = await log.revoke(BLOCK)
            await log.undo(receipt.id)
        file = tmp_path / "witness"
        assert file.stat().st_size < 512 + 48 * 30
        assert file.stat().st_mode & 0o777 == 0o600


def _position(host: Path) -> int:
    raw = (host / "witness").read_bytes()
    testimony = read_testimony(Head("", "1", "", ""), read_proof(raw[464:512]), raw[512:])
    return testimony.position.sequence if testimony is not None else 0


def _reader(host: Path, clock: Clock) -> Witness:
    return Witness(host, [WITNESS_KEY], "store", "another", clock)


async def test_L5_entries_that_were_cut_short_are_not_missing_in_silence(
    store_process: StoreProcess, log: RevocationLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two cannot be taken in, so nothing was told of the first: it is acknowledged, and the file lacks it."""
    async with life(store_process.url, tmp_path) as worker:
        await until((tmp_path / "witness").exists)
        before = worker.follower.statistics.position
        held = HeldFlush(monkeypatch, "witness", "witness.new")
        taking_in = worker.follower._on_entry

        def refuse_the_second(entry: Entry) -> None:
            if entry.key == BLOCK.key:
                raise RuntimeError("not now")

        worker.follower._on_entry = refuse_the_second
        revoking = asyncio.create_task(log.revoke(ALICE, BLOCK))

        async def is_acknowledged() -> bool:
            (member,) = (await log.members()).members
            return member.position > before

        await until_awaited(is_acknowledged)
        assert not await _is_whole(tmp_path)
        worker.follower._on_entry = taking_in
        assert (await revoking).enforced_by == 1
        held.let_go.set()


async def _hang(follower: Follower) -> Callable[[Entry], None]:
    """It neither takes in what is new nor renews its lease. What would have taken it in."""

    def refuse(_: Entry) -> None:
        raise RuntimeError("it hangs")

    taking_in, follower._on_entry = follower._on_entry, refuse
    await follower._polling.acquire()
    return taking_in


async def _is_whole(host: Path) -> bool:
    """What the next life would believe."""
    testimony = await _reader(host, Clock()).read(whole=True)
    return testimony is not None and testimony.is_whole


def _kinds(host: Path) -> set[bytes]:
    raw = (host / "witness").read_bytes()[512:]
    return {raw[at + 4 : at + 5] for at in range(0, len(raw) - 47, 48)}
