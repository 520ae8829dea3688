"""The way to the store and the door where its errors become ours."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from store_process import StoreProcess

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.store.client import Store, command, connect
from gateway.store.scripts import Script, load_script, run_script


@pytest.mark.parametrize("url", ["http://x", "redis+sentinel://x", "", "embedded", "redis://x:notaport"])
def test_an_address_that_cannot_be_used_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        connect(url)


async def test_R01_nobody_at_the_address_is_unavailable(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/none")
    with pytest.raises(StoreUnavailable):
        await command(client, "PING")


async def test_R04_a_store_that_hangs_is_unavailable_after_the_timeout(store_process: StoreProcess) -> None:
    client = connect(store_process.url, timeout_s=0.1)
    await command(client, "PING")
    store_process.freeze()
    with pytest.raises(StoreUnavailable):
        await command(client, "PING")
    store_process.thaw()
    await client.aclose()


async def test_who_finds_every_connection_taken_waits_for_one(store_url: str) -> None:
    client = connect(store_url, max_connections=2)
    answers = await asyncio.gather(*(command(client, "ECHO", str(number)) for number in range(200)))
    assert answers == [str(number).encode() for number in range(200)]
    await client.aclose()


async def test_R04_who_waits_for_a_connection_to_a_store_that_hangs_is_told_in_time(store_process: StoreProcess) -> None:
    client = connect(store_process.url, timeout_s=0.1, max_connections=1)
    await command(client, "PING")
    store_process.freeze()
    failed = await asyncio.gather(*(command(client, "PING") for _ in range(20)), return_exceptions=True)
    store_process.thaw()
    assert [type(failure) for failure in failed] == [StoreUnavailable] * 20
    await command(client, "PING")
    await client.aclose()


async def test_R05_a_cancelled_command_leaves_no_answer_behind_for_the_next(store: Store) -> None:
    for number in range(100):
        asking = asyncio.create_task(command(store, "ECHO", f"old{number}"))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert await command(store, "ECHO", f"new{number}") == f"new{number}".encode()


async def test_cancellation_passes_at_every_moment(store_url: str) -> None:
    for turns in range(40):
        client = connect(store_url)

        async def ask_for_ever(client: Store = client) -> None:
            while True:
                with suppress(StoreUnavailable):
                    await command(client, "PING")

        task = asyncio.create_task(ask_for_ever())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=10)
        assert done, f"swallowed after {turns} turns"
        await client.aclose()


async def test_R07_a_script_the_store_forgot_is_sent_again(store: Store, tmp_path: Path) -> None:
    first, second = tmp_path / "a.lua", tmp_path / "b.lua"
    first.write_text("local function answer() return 42 end")
    second.write_text("return answer()")
    script = load_script(first, second)
    for _ in range(2):
        await command(store, "SCRIPT FLUSH")
        assert await run_script(store, script, [], []) == 42
        assert await run_script(store, script, [], []) == 42


async def test_an_error_inside_a_script_is_unavailable(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await run_script(store, Script("error('no')", "0" * 40), [], [])
