"""Parts that fail."""

import asyncio
import logging

import pytest
from supervising import eventually

from gateway.tasks import Tasks


async def test_a_part_that_fails_is_told_by_its_name_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("gateway.tasks.AGAIN_S", 0.0)
    begun: list[int] = []

    async def watch_the_moon() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise ValueError("it is not there")
        await asyncio.Event().wait()

    tasks = Tasks()
    tasks.keep(watch_the_moon)
    await eventually(lambda: len(begun) == 3)
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL] * 2
    assert "watch_the_moon has failed" in caplog.text
    assert "it is not there" in caplog.text
    await tasks.end()
    assert begun == [0, 1, 2]


async def test_what_is_done_once_and_fails_is_told(caplog: pytest.LogCaptureFixture):
    async def go_to_the_moon() -> None:
        raise OSError("no rocket")

    tasks = Tasks()
    tasks.do("the journey", go_to_the_moon())
    await eventually(lambda: "the journey has failed" in caplog.text)
    await tasks.end()
