"""The ring in a real store: read, compared and set, written together with the facts and the entry."""

import pytest
from ring_worker import ISSUER, SECRETS, a_log, age, hang, ring_worker

from gateway.errors import KeySetError, StoreConflict, StoreLost, StoreUnavailable
from gateway.keys.store import LEADER, RING, Kept, commit, fetch, lead, load, restore
from gateway.revocation.entry import PERMANENT, Kind, fact_key
from gateway.revocation.keys import ENTRIES, FACTS, KEYS, STATES
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store, command
from gateway.tokens.material import ALGORITHMS
from gateway.tokens.ring import Ring, SigningKey, new_key


@pytest.fixture
async def log(store: Store) -> RevocationLog:
    made = a_log(store)
    await made.declare()
    return made


async def put(log: RevocationLog, store: Store, ring: Ring, secrets_: tuple[bytes, ...] = SECRETS) -> Ring:
    await commit(log, secrets_, await fetch(store, SECRETS), ring, ISSUER, reason="test")
    return await load(store, SECRETS)


async def entries(store: Store) -> list[tuple[str, bytes]]:
    """Kind and fact key of every entry but the declaration's."""
    found = [fields for _, fields in await command(store, "XRANGE", ENTRIES, "-", "+")]
    return [(entry[b"kind"].decode(), entry[b"key"]) for entry in found][1:]


def a_ring(*algorithms: str) -> Ring:
    """The first signs, the second is next."""
    keys = tuple(new_key(algorithm, 1000.0 + number) for number, algorithm in enumerate(algorithms))
    return Ring(0, keys).promote(keys[0].kid, 2000.0)


async def test_L5_a_ring_that_the_store_lost_is_written_back_with_what_it_says_of_each_key(
    log: RevocationLog, store: Store
) -> None:
    first = await put(log, store, a_ring("ES256", "HS256"))
    ring = await put(log, store, first.promote(first.keys[1].kid, 0.0))
    assert not await restore(store, SECRETS, ring), "nothing was lost"
    await command(store, "DEL", RING)
    assert await restore(store, SECRETS, ring)
    assert await load(store, SECRETS) == ring
    assert (await entries(store))[-1][0] == "ring", "everybody reads it again"
    assert (await put(log, store, ring.with_next(new_key("ES256", 3000.0), 0.0))).revision == ring.revision + 1


async def test_L5_a_newer_ring_stays_and_an_older_one_gives_way(log: RevocationLog, store: Store) -> None:
    first = await put(log, store, a_ring("ES256", "ES256"))
    older = await command(store, "HGETALL", RING)
    second = await put(log, store, first.promote(first.keys[1].kid, 0.0))
    assert not await restore(store, SECRETS, first)
    await command(store, "DEL", RING)
    await command(store, "HSET", RING, *(part for item in older.items() for part in item))
    assert await restore(store, SECRETS, second)
    assert await load(store, SECRETS) == second


async def test_there_is_no_ring_in_a_new_store(store: Store) -> None:
    assert await load(store, SECRETS) == Ring()


async def test_what_was_written_is_read_with_every_algorithm(log: RevocationLog, store: Store) -> None:
    keys = tuple(new_key(algorithm, 1000.0 + number) for number, algorithm in enumerate(sorted(ALGORITHMS)))
    written = Ring(0, (keys[0],))
    for key in keys[1:]:
        written = written.with_next(key, 0.0)
    read = await put(log, store, written)
    assert read.revision == 1
    assert [(key.kid, key.algorithm, key.created, key.state, key.thumbprint) for key in read.keys] == [
        (key.kid, key.algorithm, key.created, key.state, key.thumbprint) for key in written.keys
    ]


async def test_T6_since_is_the_store_s_time_and_stays_while_the_state_does(log: RevocationLog, store: Store) -> None:
    before = (await fetch(store, SECRETS)).store_time
    ring = await put(log, store, a_ring("ES256", "ES256"))
    after = (await fetch(store, SECRETS)).store_time
    assert all(before <= key.since <= after for key in ring.keys), "not what the caller believed"
    signing, successor = ring.keys
    await age(store, signing.kid, 5000)
    aged = await load(store, SECRETS)
    again = await put(log, store, aged.retire(successor.kid, 0.0))
    assert again.find(signing.kid) == aged.find(signing.kid)
    (gone,) = (key for key in again.keys if key.kid == successor.kid)
    assert gone.since >= successor.since


async def test_T4_who_did_not_see_the_last_change_changes_nothing(log: RevocationLog, store: Store) -> None:
    read = await fetch(store, SECRETS)
    await commit(log, SECRETS, read, a_ring("ES256"), ISSUER, reason="test")
    kept, length = await command(store, "HGETALL", RING), await command(store, "XLEN", ENTRIES)
    with pytest.raises(StoreConflict):
        await commit(log, SECRETS, read, a_ring("EdDSA"), ISSUER, reason="test")
    assert (await command(store, "HGETALL", RING), await command(store, "XLEN", ENTRIES)) == (kept, length)


async def test_L8_facts_come_first_and_then_one_entry_of_kind_ring(log: RevocationLog, store: Store) -> None:
    ring = await put(log, store, a_ring("ES256", "EdDSA"))
    signing, successor = ring.keys
    ring = await put(log, store, ring.retire_all(0.0).with_next(new_key("ES256", 3000.0), 0.0))
    assert ring.next is not None
    await put(log, store, ring.promote(ring.next.kid, 0.0))

    def fact(key: SigningKey) -> tuple[str, bytes]:
        return "key", fact_key(Kind.KEY, ISSUER, key.kid, key.thumbprint)

    news = ("ring", bytes(16))
    assert await entries(store) == [news, fact(successor), news, fact(signing), news]


async def test_L6_a_key_s_fact_is_permanent_and_news_leave_no_fact(log: RevocationLog, store: Store) -> None:
    ring = await put(log, store, a_ring("ES256", "EdDSA"))
    assert await command(store, "HLEN", STATES) == 0
    await put(log, store, ring.retire(ring.keys[1].kid, 0.0))
    ((key, expires),) = zip(*[iter(await command(store, "ZRANGE", FACTS, 0, -1, "WITHSCORES"))] * 2, strict=True)
    assert float(expires) == PERMANENT
    assert key == fact_key(Kind.KEY, ISSUER, ring.keys[1].kid, ring.keys[1].thumbprint)


async def test_L7_what_was_retired_in_error_can_be_undone_all_at_once(log: RevocationLog, store: Store, store_url: str) -> None:
    ring = await put(log, store, a_ring("ES256", "EdDSA"))
    before = await fetch(store, SECRETS)
    later = before.ring.with_next(new_key("ES256", 4000.0), 0.0)
    for key in ring.keys[1:]:
        later = later.retire(key.kid, 0.0)
    assert later.next is not None
    receipt = await commit(log, SECRETS, before, later.retire(later.next.kid, 0.0), ISSUER, reason="test")
    async with ring_worker(store_url) as worker:
        await worker.until_live()
        gone = [key for key in worker.ring.keys if not key.signs]
        assert len(gone) == 2
        assert all(worker.refuses(key) for key in gone)
        await log.undo(receipt.id)
        assert not any(worker.refuses(key) for key in gone)


async def test_W1_a_repeated_change_is_written_once_and_names_the_same_position(log: RevocationLog, store: Store) -> None:
    """The answer of the first attempt may have been lost: `append_and_wait` sends the very same arguments again."""
    repeating = Repeating(log)
    read = await fetch(store, SECRETS)
    await commit(repeating, SECRETS, read, a_ring("ES256", "EdDSA"), ISSUER, reason="test")  # type: ignore[arg-type]
    read = await fetch(store, SECRETS)
    receipt = await commit(repeating, SECRETS, read, read.ring.retire(read.ring.keys[1].kid, 0.0), ISSUER, reason="test")  # type: ignore[arg-type]
    assert [kind for kind, _ in await entries(store)] == ["ring", "key", "ring"]
    assert (await load(store, SECRETS)).revision == 2
    assert receipt.complete


async def test_W1_the_receipt_of_a_repeated_change_waits_for_the_change_and_not_for_something_older(store: Store) -> None:
    log = a_log(store, deadline_s=0.2)
    await hang(store, await log.declare())
    read = await fetch(store, SECRETS)
    receipt = await commit(Repeating(log), SECRETS, read, a_ring("ES256"), ISSUER, reason="test")  # type: ignore[arg-type]
    assert (receipt.workers, receipt.enforced_by, receipt.complete) == (1, 0, False)


class Repeating:
    """A log whose answers get lost once."""

    def __init__(self, log: RevocationLog) -> None:
        self._log = log

    async def append_and_wait(self, *arguments: object) -> object:
        await self._log.append_and_wait(*arguments)  # type: ignore[arg-type]
        return await self._log.append_and_wait(*arguments)  # type: ignore[arg-type]


async def test_L5_no_ring_is_written_to_a_store_that_was_never_declared(store: Store) -> None:
    with pytest.raises(StoreLost):
        await commit(a_log(store), SECRETS, Kept(Ring(), 0.0), a_ring("ES256"), ISSUER, reason="test")
    assert await command(store, "DBSIZE") == 0


async def test_L8_the_ring_lies_in_the_log_s_slot(store: Store) -> None:
    assert all(name.startswith("gateway:{log}:") for name in (*KEYS, RING, LEADER))


async def test_T4_a_ring_of_another_secret_is_not_read_and_the_operator_is_told(log: RevocationLog, store: Store) -> None:
    ring = await put(log, store, a_ring("ES256", "ES256"))
    with pytest.raises(KeySetError, match=r"tokens\.secrets"):
        await load(store, (bytes(32),))
    kept = await fetch(store, (bytes(32),))
    assert set(kept.unreadable) == {key.kid for key in ring.keys}


async def test_T4_one_row_that_cannot_be_read_spoils_the_ring(log: RevocationLog, store: Store) -> None:
    """A part of a ring would call good tokens unknown; better an error and a replica that is not acknowledged."""
    ring = await put(log, store, a_ring("ES256", "ES256"))
    await command(store, "HSET", RING, ring.keys[1].kid, "nonsense")
    with pytest.raises(KeySetError):
        await load(store, SECRETS)


async def test_T4_a_row_under_another_name_is_not_a_key(log: RevocationLog, store: Store) -> None:
    ring = await put(log, store, a_ring("ES256"))
    row = await command(store, "HGET", RING, ring.keys[0].kid)
    await command(store, "HSET", RING, "AAAAAAAAAAAA", row)
    with pytest.raises(KeySetError):
        await load(store, SECRETS)


async def test_two_keys_that_sign_are_somebody_s_tampering(log: RevocationLog, store: Store) -> None:
    ring = await put(log, store, a_ring("ES256", "ES256"))
    row = (await command(store, "HGET", RING, ring.keys[1].kid)).decode()
    await command(store, "HSET", RING, ring.keys[1].kid, row.replace("next", "signing", 1))
    with pytest.raises(KeySetError, match="more than one"):
        await load(store, SECRETS)


async def test_a_ring_without_a_revision_is_somebody_s_tampering(log: RevocationLog, store: Store) -> None:
    await put(log, store, a_ring("ES256"))
    await command(store, "HDEL", RING, "revision")
    with pytest.raises(KeySetError, match="revision"):
        await load(store, SECRETS)


async def test_a_key_of_another_type_in_the_ring_s_place_is_a_store_that_cannot_be_used(store: Store) -> None:
    await command(store, "SET", RING, "nonsense")
    with pytest.raises(StoreUnavailable):
        await load(store, SECRETS)


async def test_T4_a_change_seals_anew_what_an_older_secret_had_sealed(log: RevocationLog, store: Store) -> None:
    old, new = SECRETS[:1], (SECRETS[1], SECRETS[0])
    ring = await put(log, store, a_ring("ES256", "EdDSA"), old)
    kept = await fetch(store, new)
    assert kept.has_old_seals
    await commit(log, new, kept, kept.ring, ISSUER, reason="test")
    assert (await load(store, new[:1])).keys == ring.keys, "the older secret is not needed any more"
    assert not (await fetch(store, new)).has_old_seals


async def test_the_lease_is_one_s_own_until_it_is_given_back(store: Store) -> None:
    assert await lead(store, "a", 30)
    assert not await lead(store, "b", 30)
    assert await lead(store, "a", 30)
    assert 0 < await command(store, "PTTL", LEADER) <= 30_000
    assert not await lead(store, "b", 0)
    assert await lead(store, "a", 0)
    assert await lead(store, "b", 30)
