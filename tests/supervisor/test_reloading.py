"""When there is a new configuration, and what becomes of it: real files, and somebody who puts them in force and says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from supervising import configuration, eventually

from gateway.config.load import Loaded
from gateway.errors import GatewayError
from gateway.reloading import Reloading


class InForce:
    """Where configurations are put in force. `levels` are those of their logs; while `gate` is closed each one waits."""

    def __init__(self, loaded: Loaded) -> None:
        self.levels: list[str] = []
        self.told: list[bool] = []
        self.failures: list[Exception] = []
        self.waiting = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.path = loaded.path
        self.reloading = Reloading(loaded, self.put, lambda: 1.0, lambda: None, self.told.append)

    async def put(self, loaded: Loaded, pem: tuple[bytes, ...]) -> None:
        self.waiting += 1
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.levels.append(loaded.config.log.level)

    def write(self, level: str) -> None:
        settings = self.path.read_text().partition("log:")[0]
        self.path.write_text(f"{settings}log: {{level: {level}}}\n")

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reloading.follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InForce:
    monkeypatch.setattr("gateway.reloading.LOOK_EVERY_S", 0.02)
    return InForce(configuration(tmp_path, "embedded"))


async def test_a_file_that_changed_before_anybody_looked_at_it_is_seen(in_force: InForce):
    in_force.write("debug")
    async with in_force.following():
        await eventually(lambda: in_force.levels == ["debug"])
        in_force.write("info")
        await eventually(lambda: in_force.levels == ["debug", "info"])
    assert in_force.reloading.reloads.successes == 2


async def test_what_was_read_at_the_start_is_not_taken_for_a_change(in_force: InForce):
    async with in_force.following():
        in_force.write("debug")
        await eventually(lambda: in_force.levels)
    assert in_force.levels == ["debug"]


@pytest.mark.parametrize(
    "error", [GatewayError("the new ones did not come"), OSError("no descriptor"), ValueError("never thought of")]
)
async def test_whatever_goes_wrong_is_told_and_the_next_attempt_is_made(
    in_force: InForce, error: Exception, caplog: pytest.LogCaptureFixture
):
    in_force.failures = [error, error]
    async with in_force.following():
        in_force.reloading.ask()
        await eventually(lambda: in_force.told == [False])
        assert f"stays as it was: {error}" in caplog.text
        assert ("Traceback" in caplog.text) is isinstance(error, ValueError)
        in_force.reloading.renew()
        await eventually(lambda: f"The workers stay as they were: {error}" in caplog.text)
        in_force.reloading.ask()
        await eventually(lambda: in_force.told == [False, True])
    reloads = in_force.reloading.reloads
    assert (reloads.successes, reloads.failures, reloads.is_last_good) == (1, 1, True)


async def test_a_renewal_that_is_asked_for_during_a_reload_keeps_the_new_configuration(in_force: InForce):
    async with in_force.following():
        in_force.reloading.renew()
        await eventually(lambda: in_force.levels == ["info"])
        in_force.gate.clear()
        in_force.write("debug")
        in_force.reloading.ask()
        await eventually(lambda: in_force.waiting == 2)
        in_force.failures = [GatewayError("not yet")]
        in_force.reloading.renew()
        in_force.gate.set()
        await eventually(lambda: in_force.levels == ["info", "info"])  # that reload failed, the renewal had its turn
        in_force.gate.clear()
        in_force.reloading.ask()
        await eventually(lambda: in_force.waiting == 4)
        in_force.reloading.ask()
        in_force.reloading.renew()
        in_force.gate.set()
        await eventually(lambda: len(in_force.levels) > 3)
    assert in_force.levels == ["info", "info", "debug", "debug"]
    assert not in_force.reloading.is_asked


async def test_a_bad_file_is_told_line_by_line_and_waits_to_be_mended(in_force: InForce, caplog: pytest.LogCaptureFixture):
    async with in_force.following():
        in_force.write("loud")
        await eventually(lambda: in_force.told == [False])
        assert "log.level: " in caplog.text
        in_force.write("debug")
        await eventually(lambda: in_force.levels == ["debug"])
