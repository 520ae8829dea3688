"""Writing back is a join: whoever does it, in any order and again, nothing is forgotten and nothing is said twice [L4, L5].

Workers that hold any parts of a history merge into a real store, some while nobody is live and some when the epoch is open. What
the store says in the end is what all of them together said, and so does a worker that was live from the opening on.
"""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_process import StoreProcess

from gateway.clock import Clock
from gateway.revocation.continuity import Position, Reply, read_reply
from gateway.revocation.entry import PERMANENT, Kind, fact_key
from gateway.revocation.keys import ENTRIES, KEYS, POLL, STATES, WORKERS
from gateway.revocation.log import RevocationLog
from gateway.revocation.recovery import Recovery
from gateway.revocation.snapshot import read_pages
from gateway.revocation.view import NUMBERS, Fact, View
from gateway.revocation.witness import Head, Proof
from gateway.revocation.witness import Testimony as Witnessed
from gateway.store.client import Store, command, connect
from gateway.store.scripts import run_script

LOST = Position(str(1_700_000_000_000 << 11), 9, "id9")
LATER = 1_900_000_020  # on the minute: a worker knows an expiry no better
KINDS = (Kind.TOKEN, Kind.SESSION, Kind.USER, Kind.VERSION, Kind.BLOCK, Kind.KEY)

Held = list[tuple[int, int, int]]
held = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 5), st.sampled_from([LATER, LATER + 60, LATER + 6000, PERMANENT])), max_size=6
)
parts = st.lists(held, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def process() -> Iterator[StoreProcess]:
    process = StoreProcess(flush="no").start()
    yield process
    process.close()


def fact(number: int, value: int, expires_at: int, sequence: int = 1) -> Fact:
    kind = KINDS[number]
    return Fact(fact_key(kind, "i", f"n{number}"), value, expires_at, sequence, 0, NUMBERS[kind])


def joined(all_parts: list[Held]) -> dict[bytes, tuple[int, int, int]]:
    """By key: the greatest value, the latest expiry, the kind."""
    found: dict[bytes, tuple[int, int, int]] = {}
    for key, value, expires_at, _, _, kind, _ in (fact(*one) for part in all_parts for one in part):
        known = found.get(key, (0, 0, kind))
        found[key] = max(value, known[0]), max(expires_at, known[1]), kind
    return found


def read(view: View) -> dict[bytes, tuple[int, int, int]]:
    return {one.key: (one.value, one.expires_at, one.kind) for some in view.held() for one in some}


async def look(store: Store, *, position: Position | None = None, is_patient: bool = False) -> Reply:
    arguments = ["looker", "live", position.epoch if position else "", position.sequence if position else 0]
    arguments += [position.id if position else "", 500, 1000, "", 0, "", "patient" if is_patient else "", ""]
    return read_reply(await run_script(store, POLL, KEYS, arguments))


async def merge(store: Store, part: Held) -> None:
    """A worker that held this when the log was lost, some of it from an epoch before: a batch may name a fact twice."""
    view = View(segment_bits=1)
    for epoch, facts in ((str(int(LOST.epoch) - 1), part[::2]), (LOST.epoch, part[1::2])):
        view.adopt(epoch, 0.0)
        view.merge(fact(*one, sequence) for sequence, one in enumerate(facts, start=1))
    await merge_all_of(view, store)


async def merge_all_of(view: View, store: Store) -> None:
    recovery = Recovery(store, "worker", 1000, "")
    recovery.note_proof(Reply(0.0, "run"), LOST)
    target, _ = await recovery.enter(LOST.epoch)
    await recovery.write_back(view, target, (await store.info("server"))["run_id"], 0.0)
    assert recovery.merged


async def snapshot(store: Store, reply: Reply) -> View:
    view = View(segment_bits=1)
    view.adopt(reply.epoch, 0.0)
    async for page in read_pages(store, reply.epoch, reply.run_id):
        view.merge(page.facts)
    return view


async def history(url: str, early: list[Held], late: list[Held]) -> None:
    store = connect(url)
    await command(store, "FLUSHALL")
    for part in early:
        await merge(store, part)
    opened = await look(store, is_patient=True)
    assert not opened.waiting
    follower = await snapshot(store, opened)
    assert read(follower) == joined(early)
    for part in late:
        await merge(store, part)
    for entry in (await look(store, position=opened.head_position)).entries:
        follower.apply(entry)
    assert read(follower) == read(await snapshot(store, opened)) == joined(early + late)
    length = await command(store, "XLEN", ENTRIES)
    for part in early + late:
        await merge(store, part)
    assert await command(store, "XLEN", ENTRIES) == length, "what was said is not said again"
    assert read(await snapshot(store, opened)) == joined(early + late)
    await store.aclose()


@given(early=parts, late=parts)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_L4_L5_the_store_says_what_all_workers_together_said(process: StoreProcess, early: list[Held], late: list[Held]) -> None:
    asyncio.run(history(process.url, early, late))


async def test_L5_what_was_lifted_since_is_not_revived_by_who_comes_late(process: StoreProcess) -> None:
    store = connect(process.url)
    await command(store, "FLUSHALL")
    await merge(store, [(4, 5, LATER)])
    opened = await look(store, is_patient=True)
    key = fact(4, 5, LATER).key
    log = RevocationLog(store, Clock(), 1.0)
    (undone,) = await command(store, "HKEYS", "gateway:{log}:revocations")
    await log.undo(undone.hex())
    for expires_at in (LATER, PERMANENT):
        await merge(store, [(4, 5, expires_at)])
        assert not (await snapshot(store, opened)).find(key)
    await merge(store, [(4, 6, PERMANENT)])
    assert (await snapshot(store, opened)).find(key) == 6, "another revocation of it, which nobody has lifted"
    await store.aclose()


async def test_L5_what_was_looked_at_on_another_run_of_the_server_is_not_merged(process: StoreProcess) -> None:
    store = connect(process.url)
    await command(store, "FLUSHALL")
    view = View(segment_bits=1)
    view.adopt(LOST.epoch, 0.0)
    view.merge([fact(4, 5, LATER)])
    recovery = Recovery(store, "worker", 1000, "")
    recovery.note_proof(Reply(0.0, "run"), LOST)
    target, _ = await recovery.enter(LOST.epoch)
    await recovery.write_back(view, target, "the server before the failover", 0.0)
    assert recovery.merged is None, "it has to be done anew"
    assert not await command(store, "EXISTS", STATES, WORKERS)
    await store.aclose()


async def test_L9_who_has_folded_vouches_only_for_what_came_after_it(process: StoreProcess) -> None:
    store = connect(process.url)
    await command(store, "FLUSHALL")
    view = View(max_entries=10, segment_bits=0)
    view.adopt(LOST.epoch, 0.0)
    key = fact_key(Kind.USER, "i", "u")
    view.merge(Fact(bytes([number] * 16), 1000 + number, LATER, number, 0, 1, key) for number in range(1, 12))
    assert view.folded_until
    await merge_all_of(view, store)
    assert (await look(store)).complete_since == view.folded_until + 1
    await store.aclose()


async def test_L5_an_epoch_that_a_witness_s_reader_has_begun_is_not_opened_before_its_facts_are_there(store: Store) -> None:
    """By whoever looks meanwhile: nobody else is known to be missing."""
    recovery = Recovery(store, "worker", 1000, "")
    recovery.remember(Witnessed(Head("log", LOST.epoch, "", ""), Proof(is_whole=True), LOST, b"", ()))
    _, has_begun = await recovery.enter(LOST.epoch)
    assert has_begun
    assert (await look(store)).waiting
