"""What stops when the store's memory is short, and in which order [B1]."""

import pytest
from auditing import StillClock
from store_process import StoreProcess

from gateway.audit.pressure import ASK_EVERY_S, EVERYTHING, Memory, Use, allowed, use_of
from gateway.store.client import Store, command, connect

A, F, R = Use.AUDIT, Use.FIRST_USE, Use.REGISTRATION


@pytest.mark.parametrize(
    "percent, expected",
    [
        (0, {A, F, R}),
        (79.9, {A, F, R}),
        (80, {F, R}),
        (84.9, {F, R}),
        (85, {R}),
        (89.9, {R}),
        (90, set()),
        (100, set()),
        (150, set()),
    ],
)
def test_B1_audit_stops_first_then_first_use_then_registration(percent: float, expected: set[Use]):
    assert allowed(int(percent * 1000), 100_000) == expected


@pytest.mark.parametrize("maximum", [0, -1])
def test_B1_an_unknown_limit_stops_nothing(maximum: int):
    assert allowed(10**12, maximum) == EVERYTHING


def test_B1_revocations_are_not_in_the_table():
    assert sorted(Use) == ["audit", "first-use", "registration"]


async def test_B1_the_stores_own_limit_counts():
    process = StoreProcess("--maxmemory", "100mb", "--maxmemory-policy", "noeviction").start()
    store, clock = connect(process.url), StillClock()
    memory = Memory(store, lambda: clock.now)
    for megabytes, expected in ((50, EVERYTHING), (85, {F, R}), (90, {R}), (95, set())):
        process.command("DEL", "ballast")
        process.command("SETBIT", "ballast", 8 * 1_000_000 * megabytes, 1)
        clock.now += ASK_EVERY_S
        await memory.refresh()
        assert {use for use in Use if memory.allows(use)} == expected, megabytes
    await store.aclose()
    process.close()


def test_a_store_without_a_limit_has_the_machines():
    assert use_of({"used_memory": 5, "maxmemory": 10, "total_system_memory": 100}) == (5, 10)
    assert use_of({"used_memory": 5, "maxmemory": 0, "total_system_memory": 100}) == (5, 100)
    assert use_of({"used_memory": "5"}) == (0, 0)


async def test_the_store_says_how_much_there_is(store: Store):
    used, maximum = use_of(await command(store, "INFO", "memory"))
    assert 0 < used < maximum


async def test_the_store_is_asked_now_and_then(store: Store):
    clock = StillClock()
    memory = Memory(store, lambda: clock.now)

    async def asked() -> int:
        return int((await command(store, "INFO", "commandstats"))["cmdstat_info"]["calls"])

    await memory.refresh()
    before = await asked()
    for _ in range(10):
        await memory.refresh()
    assert await asked() == before + 1, "the question itself"
    clock.now += ASK_EVERY_S
    await memory.refresh()
    assert await asked() == before + 3


async def test_no_answer_changes_nothing(store_process: StoreProcess):
    store = connect(store_process.url)
    memory = Memory(store, StillClock().wall)
    store_process.kill()
    await memory.refresh()
    assert all(memory.allows(use) for use in Use)
    await store.aclose()
