"""The life of keys on a real store, with workers that follow the log and one that hangs."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from following import SetClock
from ring_worker import (
    DAY_S,
    ISSUER,
    SECRETS,
    RingWorker,
    a_log,
    a_rotation,
    age,
    age_all,
    hang,
    ring_worker,
    states,
    unhang,
)
from store_process import StoreProcess, until, until_awaited

from gateway.errors import KeySetError, KeyUnknown, StoreConflict, StoreLost, StoreUnavailable
from gateway.keys import rotation as rotation_module
from gateway.keys.rotation import Rotation
from gateway.keys.store import LEADER, RING, fetch, lead, load
from gateway.store.client import Store, command, connect
from gateway.tokens import ring as ring_module
from gateway.tokens.issue import ACCESS, sign
from gateway.tokens.ring import KEY_SET_MAX_AGE_S, Ring, SigningKey


@pytest.fixture
async def epoch(store: Store) -> str:
    return await a_log(store).declare()


@pytest.fixture
async def rotation(store: Store, epoch: str) -> Rotation:
    """A supervisor's, in a ring with one key that signs."""
    made = a_rotation(store, deadline_s=0.3)
    await made.ensure()
    return made


@pytest.fixture
async def workers(store_url: str, epoch: str) -> AsyncIterator[list[RingWorker]]:
    """Two of them, that know each other."""
    known: list[RingWorker] = []
    async with ring_worker(store_url, others=known) as one, ring_worker(store_url, others=known) as two:
        await one.until_live()
        await two.until_live()
        known += [one, two]
        yield known


def signing(ring: Ring) -> SigningKey:
    assert ring.signing is not None
    return ring.signing


async def test_an_empty_ring_gets_a_key_that_signs(store: Store, epoch: str, workers: list[RingWorker]) -> None:
    receipt = await a_rotation(store).ensure()
    assert receipt is not None
    assert (receipt.complete, receipt.workers, receipt.enforced_by) == (True, 2, 2)
    assert [states(worker.ring) for worker in workers] == [["signing"], ["signing"]]
    assert sign(signing(workers[0].ring), ACCESS, {})
    assert await a_rotation(store).ensure() is None, "once"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "HS256"])
async def test_the_key_is_of_the_configured_algorithm(store: Store, epoch: str, algorithm: str) -> None:
    rotation = a_rotation(store, algorithm=algorithm)
    await rotation.ensure()
    assert signing(await rotation.ring()).algorithm == algorithm


async def test_supervisors_that_start_at_once_make_one_key(store: Store, epoch: str) -> None:
    await asyncio.gather(*(a_rotation(store).ensure() for _ in range(4)))
    assert states(await load(store, SECRETS)) == ["signing"]


async def test_T4_every_worker_knows_a_key_before_anybody_signs_with_it(
    store: Store, rotation: Rotation, workers: list[RingWorker]
) -> None:
    for _ in range(5):
        assert (await rotation.rotate()).complete
    assert [worker.unknown_to_others for worker in workers] == [[], []]
    assert states(workers[0].ring) == ["retiring"] * 5 + ["signing"]
    assert workers[0].ring == workers[1].ring == await rotation.ring()


async def test_T4_a_receipt_is_not_complete_before_the_ring_was_read(store: Store, store_url: str, rotation: Rotation) -> None:
    async with ring_worker(store_url, max_staleness=60.0) as worker:
        await worker.until_live()
        before = signing(worker.ring)
        worker.may_read.clear()
        receipt = await rotation.rotate()
        assert (receipt.workers, receipt.enforced_by, receipt.complete) == (1, 0, False)
        assert signing(await rotation.ring()) == before, "next does not sign"
        assert states(await rotation.ring()) == ["signing", "next"]
        worker.may_read.set()
        await worker.until_live()
        assert (await rotation.rotate()).complete
        assert states(await rotation.ring()) == ["retiring", "signing"], "the key that waited is the one that signs"


async def test_T4_next_does_not_sign_while_one_worker_s_answer_is_open(store: Store, epoch: str, rotation: Rotation) -> None:
    first = signing(await rotation.ring())
    await hang(store, epoch)
    assert not (await rotation.rotate()).complete
    ring = await rotation.ring()
    assert (states(ring), signing(ring)) == (["signing", "next"], first)
    await age_all(store, KEY_SET_MAX_AGE_S)
    receipt = await rotation.step()
    assert receipt is not None
    assert not receipt.complete
    assert states(await rotation.ring()) == ["signing", "next"]
    await unhang(store)
    receipt = await rotation.step()
    assert receipt is not None
    assert receipt.complete
    assert [key.kid for key in (await rotation.ring()).keys] == [key.kid for key in ring.keys], "the same next key"
    assert states(await rotation.ring()) == ["retiring", "signing"]


async def test_T4_a_first_key_does_not_sign_either(store: Store, epoch: str) -> None:
    rotation = a_rotation(store, deadline_s=0.2)
    await hang(store, epoch)
    receipt = await rotation.ensure()
    assert receipt is not None
    assert not receipt.complete
    assert states(await rotation.ring()) == ["next"]
    await unhang(store)
    assert (await a_rotation(store).step()) is not None, "another supervisor goes on, after a crash of the first"
    assert states(await rotation.ring()) == ["signing"]


async def test_T4_on_schedule_a_key_is_published_ahead_then_signs_then_the_old_one_is_gone_then_forgotten(
    store: Store, rotation: Rotation, workers: list[RingWorker]
) -> None:
    first = signing(await rotation.ring())
    assert await rotation.step() is None
    await age(store, first.kid, 7 * DAY_S - KEY_SET_MAX_AGE_S)
    assert await rotation.step() is not None
    ring = await rotation.ring()
    assert states(ring) == ["signing", "next"]
    assert len(ring.published()["keys"]) == 2
    assert await rotation.step() is None, "others may still hold a key set without it"
    await age_all(store, KEY_SET_MAX_AGE_S)
    assert await rotation.step() is not None
    assert states(await rotation.ring()) == ["retiring", "signing"]
    assert await rotation.step() is None

    await age(store, first.kid, 7 * DAY_S + 59)
    assert await rotation.step() is None
    await age(store, first.kid, 2)
    assert await rotation.step() is not None
    assert states(workers[0].ring) == ["gone", "signing"]
    assert workers[0].refuses(first)
    assert not workers[0].refuses(signing(workers[0].ring))

    await age(store, first.kid, 30 * DAY_S)
    assert await rotation.step() is not None
    assert states(await rotation.ring()) == ["signing"]


async def test_T4_a_change_of_algorithm_rotates_at_once(store: Store, rotation: Rotation) -> None:
    changed = a_rotation(store, algorithm="EdDSA")
    assert await changed.step() is not None
    assert [(key.state, key.algorithm) for key in (await rotation.ring()).keys] == [("retiring", "ES256"), ("signing", "EdDSA")]
    assert await changed.step() is None


async def test_a_next_key_of_another_algorithm_never_signs(store: Store, epoch: str, rotation: Rotation) -> None:
    await hang(store, epoch)
    await rotation.rotate()
    await unhang(store)
    changed = a_rotation(store, algorithm="EdDSA")
    await changed.rotate()
    assert [(key.state, key.algorithm) for key in (await rotation.ring()).keys] == [
        ("retiring", "ES256"),
        ("gone", "ES256"),
        ("signing", "EdDSA"),
    ]


async def test_T4_a_key_that_is_retired_is_refused_by_every_worker_when_the_receipt_comes(
    store: Store, rotation: Rotation, workers: list[RingWorker]
) -> None:
    old = signing(await rotation.ring())
    await rotation.rotate()
    assert not any(worker.refuses(old) for worker in workers)
    receipt = await rotation.retire(old.kid)
    assert (receipt.complete, receipt.enforced_by) == (True, 2)
    assert all(worker.refuses(old) for worker in workers)
    assert all(worker.ring.key_set().find(old.kid, "ES256") == old.verifier for worker in workers), "to be told retired-key"
    assert old.kid not in str(workers[0].ring.published())
    assert (await rotation.retire(old.kid)).complete, "again changes nothing"


async def test_L7_retiring_the_key_that_signs_lets_a_successor_sign_first(
    store: Store, rotation: Rotation, workers: list[RingWorker]
) -> None:
    old = signing(await rotation.ring())
    assert (await rotation.retire(old.kid)).complete
    for worker in workers:
        assert states(worker.ring) == ["gone", "signing"]
        assert worker.refuses(old)
        assert all(ring.signing is not None for ring in worker.read if ring.keys), "at no moment nobody signs"
    assert [worker.unknown_to_others for worker in workers] == [[], []]


async def test_L7_the_last_signing_key_is_not_refused_while_its_successor_may_not_sign(
    store: Store, epoch: str, rotation: Rotation, workers: list[RingWorker]
) -> None:
    old = signing(await rotation.ring())
    await hang(store, epoch)
    assert not (await rotation.retire(old.kid)).complete
    assert states(await rotation.ring()) == ["condemned", "next"]
    assert not any(worker.refuses(old) for worker in workers)
    assert sign(signing(await rotation.ring()), ACCESS, {})
    await unhang(store)
    other = a_rotation(store)
    assert await other.step() is not None, "the wish outlives the supervisor that heard it"
    assert states(await rotation.ring()) == ["gone", "signing"]
    assert all(worker.refuses(old) for worker in workers)


async def test_L7_a_next_key_can_be_retired_and_the_schedule_makes_another(store: Store, epoch: str, rotation: Rotation) -> None:
    await hang(store, epoch)
    await rotation.rotate()
    await unhang(store)
    successor = (await rotation.ring()).next
    assert successor is not None
    assert (await rotation.retire(successor.kid)).complete
    assert states(await rotation.ring()) == ["signing", "gone"]
    await rotation.rotate()
    assert states(await rotation.ring()) == ["retiring", "gone", "signing"]


async def test_a_key_that_is_not_there_cannot_be_retired(store: Store, rotation: Rotation) -> None:
    length = await command(store, "HGET", RING, "revision")
    with pytest.raises(KeyUnknown, match="nobody"):
        await rotation.retire("nobody")
    assert await command(store, "HGET", RING, "revision") == length


async def test_T4_after_a_leak_every_key_is_refused_and_a_fresh_one_signs(
    store: Store, epoch: str, rotation: Rotation, workers: list[RingWorker]
) -> None:
    await rotation.rotate()
    await hang(store, epoch)
    await rotation.rotate()
    await unhang(store)
    leaked = (await rotation.ring()).keys
    assert states(Ring(1, leaked)) == ["retiring", "signing", "next"]
    receipt = await rotation.rotate(compromised=True)
    assert (receipt.complete, receipt.enforced_by) == (True, 2)
    for worker in workers:
        assert states(worker.ring) == ["gone"] * 3 + ["signing"]
        assert all(worker.refuses(key) for key in leaked)
        assert not worker.refuses(signing(worker.ring))
    assert signing(await rotation.ring()).kid not in {key.kid for key in leaked}, "a next key may have leaked too"


async def test_T4_a_worker_refuses_the_old_key_before_it_has_the_new_one(
    store: Store, rotation: Rotation, workers: list[RingWorker]
) -> None:
    old = signing(await rotation.ring())
    await rotation.rotate(compromised=True)
    for worker in workers:
        for ring, refused in zip(worker.read, worker.refused_when_read, strict=True):
            if ring.keys and signing(ring).kid != old.kid:
                assert old.kid in refused


async def test_T4_a_leak_that_a_hanging_worker_holds_up_is_finished_by_the_schedule(
    store: Store, epoch: str, rotation: Rotation, workers: list[RingWorker]
) -> None:
    await rotation.rotate()
    retiring, old = (await rotation.ring()).keys
    await hang(store, epoch)
    assert not (await rotation.rotate(compromised=True)).complete
    await until(lambda: all(worker.refuses(retiring) for worker in workers))
    assert states(await rotation.ring()) == ["gone", "condemned", "next"]
    await unhang(store)
    await a_rotation(store).step()
    assert states(await rotation.ring()) == ["gone", "gone", "signing"]
    assert all(worker.refuses(old) for worker in workers)


async def test_a_lost_secret_is_no_dead_end(store: Store, rotation: Rotation) -> None:
    old = signing(await rotation.ring())
    stranger = a_rotation(store, secrets_=(bytes(range(9, 41)),))
    for refused in (stranger.ensure, stranger.step, stranger.rotate, stranger.ring, lambda: stranger.retire(old.kid)):
        with pytest.raises(KeySetError, match="--compromised"):
            await refused()
    assert (await load(store, SECRETS)).signing == old, "nothing is dropped by accident"
    assert (await stranger.rotate(compromised=True)).complete
    ring = await stranger.ring()
    assert states(ring) == ["signing"]
    assert signing(ring).kid != old.kid


async def test_what_is_given_up_unread_is_refused_too(store: Store, store_url: str, rotation: Rotation) -> None:
    old = signing(await rotation.ring())
    await command(store, "HSET", RING, old.kid, "nonsense")
    await rotation.rotate(compromised=True)
    async with ring_worker(store_url) as worker:
        await worker.until_live()
        assert worker.refuses(old)
        assert states(worker.ring) == ["signing"]


async def test_T4_a_replaced_secret_seals_the_ring_anew(store: Store, rotation: Rotation) -> None:
    fresh = bytes(range(7, 39))
    both = a_rotation(store, secrets_=(fresh, SECRETS[0]))
    assert await both.step() is not None
    assert await both.step() is None
    assert (await load(store, (fresh,))).keys == (await both.ring()).keys


@pytest.mark.parametrize("ahead_s", [-40 * DAY_S, 40 * DAY_S])
async def test_L6_a_clock_that_jumped_retires_nothing_early(store: Store, rotation: Rotation, ahead_s: float) -> None:
    """The earlier of two clocks counts: ours may be behind, and the store's is right; ours may be ahead."""
    await rotation.rotate()
    clock = SetClock()
    jumped = a_rotation(store, clock=clock)
    if ahead_s < 0:  # to our clock the store's has jumped ahead, and with it every age
        await age_all(store, 8 * DAY_S)
    clock.ahead_s = ahead_s
    assert await jumped.step() is None
    assert states(await rotation.ring()) == ["retiring", "signing"]


async def test_one_supervisor_at_a_time_looks_after_the_schedule(store: Store, rotation: Rotation) -> None:
    await age_all(store, 8 * DAY_S)
    assert await lead(store, "another supervisor", 30)
    assert await rotation.step() is None
    assert states(await rotation.ring()) == ["signing"]
    assert (await rotation.rotate()).complete, "a command waits for nobody's lease"
    await lead(store, "another supervisor", 0)
    await age_all(store, 8 * DAY_S)
    assert await rotation.step() is not None


async def test_a_dead_supervisor_s_lease_does_not_keep_a_new_gateway_without_keys(store: Store, epoch: str) -> None:
    assert await lead(store, "dead", 30)
    rotation = a_rotation(store)
    assert await rotation.step() is not None
    assert states(await rotation.ring()) == ["signing"]


async def test_commands_at_the_same_time_lose_nothing(store: Store, rotation: Rotation, workers: list[RingWorker]) -> None:
    old = signing(await rotation.ring())
    supervisors = [a_rotation(store) for _ in range(3)]
    done = await asyncio.gather(
        supervisors[0].rotate(), supervisors[1].retire(old.kid), supervisors[2].rotate(), return_exceptions=True
    )
    assert all(not isinstance(one, BaseException) or isinstance(one, StoreConflict) for one in done)
    await supervisors[0].step()
    ring = await rotation.ring()
    assert states(ring).count("signing") == 1
    assert all(worker.refuses(old) for worker in workers)
    assert [worker.unknown_to_others for worker in workers] == [[], []]


async def test_T4_a_key_that_somebody_retired_before_it_signed_is_not_promoted(
    store: Store, epoch: str, rotation: Rotation
) -> None:
    await hang(store, epoch)
    slow = a_rotation(store, deadline_s=20.0)
    rotating = asyncio.create_task(slow.rotate())

    async def is_announced() -> bool:
        return (await rotation.ring()).next is not None

    await until_awaited(is_announced)
    successor = (await rotation.ring()).next
    assert successor is not None
    await rotation.retire(successor.kid)
    await unhang(store)
    with pytest.raises(StoreConflict):
        await rotating
    assert states(await rotation.ring()) == ["signing", "gone"]


async def test_changes_are_told_once_they_are_in_the_store(store: Store, epoch: str) -> None:
    changes: list[str] = []
    rotation = a_rotation(store, changes=changes)
    await rotation.ensure()
    (first,) = (await rotation.ring()).keys
    assert changes == [f"{first.kid} next: keys rotated", f"{first.kid} signing: keys rotated"]
    changes.clear()
    await rotation.retire(first.kid)
    second = signing(await rotation.ring())
    assert changes == [
        f"{first.kid} condemned: key retired",
        f"{second.kid} next: key retired",
        f"{first.kid} gone: key retired",
        f"{second.kid} signing: key retired",
    ]


async def test_a_key_is_made_in_a_thread(store: Store, epoch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []

    def new_key(algorithm: str, now: float) -> SigningKey:
        threads.append(threading.current_thread() is threading.main_thread())
        return ring_module.new_key(algorithm, now)

    monkeypatch.setattr(rotation_module, "new_key", new_key)
    await a_rotation(store).ensure()
    assert threads == [False]


async def test_L5_nothing_is_made_in_a_store_that_was_never_declared(store: Store) -> None:
    with pytest.raises(StoreLost):
        await a_rotation(store).ensure()
    assert await command(store, "DBSIZE") == 0


async def test_T6_a_key_is_as_old_as_the_store_says(store: Store, epoch: str) -> None:
    clock = SetClock()
    clock.ahead_s = 1e6
    rotation = a_rotation(store, clock=clock)
    before = (await fetch(store, SECRETS)).store_time
    await rotation.ensure()
    (key,) = (await rotation.ring()).keys
    after = (await fetch(store, SECRETS)).store_time
    assert before <= key.created <= key.since <= after


async def test_the_schedule_goes_on_through_an_outage_and_gives_its_lease_back(store_process: StoreProcess) -> None:
    store = connect(store_process.url, timeout_s=0.2)
    rotation = a_rotation(store)
    running = asyncio.create_task(rotation.run())

    async def is_signing() -> bool:
        try:
            return (await rotation.ring()).signing is not None
        except StoreUnavailable:
            return False

    try:
        await a_log(store).declare()
        await until_awaited(is_signing)
        store_process.kill()
        with pytest.raises(StoreUnavailable):
            await rotation.step()
        store_process.start()
        await until_awaited(is_signing)
        await age_all(store, 8 * DAY_S)
        assert await rotation.step() is not None
        assert await command(store, "EXISTS", LEADER) == 1
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await command(store, "EXISTS", LEADER) == 0
    await store.aclose()


async def test_what_keeps_the_schedule_from_its_work_is_said_once_and_plainly(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    undeclared = a_rotation(store)
    for _ in range(3):
        assert not await undeclared._attempt()
    (line,) = (record for record in caplog.records if record.name == "gateway.keys.rotation")
    assert (line.levelname, line.exc_info) == ("WARNING", None)
    assert "gateway store init" in line.getMessage()
    await a_log(store).declare()
    assert not await undeclared._attempt(), "there may be more to do at once"
    assert await undeclared._attempt()


def test_the_issuer_of_the_facts_is_our_own(store: Store) -> None:
    assert a_rotation(store)._issuer == ISSUER
