"""How an exchange waits without a task: stepped by whoever has news for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.proxy.steps import Stepper, Wait, wait_for_task


class Story:
    """A stepper and everything that happened, in order."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.stepper = Stepper(lambda: self.events.append("ended"))

    def start(self, coroutine: Coroutine[Wait[Any], None, None]) -> bool:
        return self.stepper.start(coroutine)

    async def waiting(self, *waits: Wait[Any]) -> None:
        for wait in waits:
            try:
                self.events.append(await wait)
            except ValueError as error:
                self.events.append(error)


@pytest.fixture
def story() -> Story:
    return Story()


async def nothing() -> None:
    """Ends without a wait."""


def test_a_coroutine_that_never_waits_ends_within_start(story: Story) -> None:
    assert story.start(nothing()) is True
    assert story.events == []
    assert not story.stepper.is_waiting


def test_a_result_that_is_there_already_is_not_waited_for(story: Story) -> None:
    wait: Wait[int] = Wait()
    wait.set(1)
    assert story.start(story.waiting(wait)) is True
    assert story.events == [1]


def test_whoever_waits_goes_on_before_set_returns(story: Story) -> None:
    wait: Wait[int] = Wait()
    assert story.start(story.waiting(wait)) is False
    assert story.stepper.is_waiting
    wait.set(1)
    assert story.events == [1, "ended"]
    assert not story.stepper.is_waiting


def test_the_first_result_counts(story: Story) -> None:
    wait: Wait[int] = Wait()
    wait.set(1)
    wait.set(2)
    wait.fail(ValueError("late"))
    story.start(story.waiting(wait))
    assert story.events == [1]
    failed: Wait[int] = Wait()
    failed.fail(ValueError("first"))
    failed.set(2)
    story.start(story.waiting(failed))
    assert str(story.events[-1]) == "first"
    assert wait.is_done
    assert failed.is_done


def test_a_failed_wait_raises_where_it_is_waited_for(story: Story) -> None:
    wait: Wait[int] = Wait()
    story.start(story.waiting(wait))
    error = ValueError("no")
    wait.fail(error)
    assert story.events == [error, "ended"]


def test_the_end_is_told_once_after_the_last_wait(story: Story) -> None:
    waits: list[Wait[int]] = [Wait(), Wait(), Wait()]
    story.start(story.waiting(*waits))
    for number, wait in enumerate(waits):
        assert "ended" not in story.events
        wait.set(number)
    assert story.events == [0, 1, 2, "ended"]


def test_results_may_come_in_any_order(story: Story) -> None:
    waits: list[Wait[int]] = [Wait(), Wait(), Wait()]
    story.start(story.waiting(*waits))
    waits[2].set(2)
    waits[1].set(1)
    assert story.events == []
    waits[0].set(0)
    assert story.events == [0, 1, 2, "ended"]


def test_an_error_can_be_thrown_to_where_it_waits_and_the_wait_is_over(story: Story) -> None:
    wait: Wait[int] = Wait()
    story.start(story.waiting(wait))
    story.stepper.throw(ValueError("gone"))
    assert [str(event) for event in story.events] == ["gone", "ended"]
    wait.set(1)
    assert len(story.events) == 2, "nobody waits for it any more"
    assert wait.wake is None


def test_what_was_thrown_may_be_caught_and_something_else_waited_for(story: Story) -> None:
    first: Wait[int] = Wait()
    second: Wait[int] = Wait()
    story.start(story.waiting(first, second))
    error = ValueError("no")
    story.stepper.throw(error)
    assert story.events == [error]
    second.set(2)
    assert story.events == [error, 2, "ended"]


def test_nothing_can_be_thrown_where_nobody_waits(story: Story) -> None:
    story.stepper.throw(ValueError("nobody"))
    story.start(nothing())
    story.stepper.throw(ValueError("nobody"))
    assert story.events == []


def test_one_stepper_runs_one_coroutine_after_the_other(story: Story) -> None:
    for number in range(3):
        wait: Wait[int] = Wait()
        assert story.start(story.waiting(wait)) is False
        wait.set(number)
    assert story.events == [0, "ended", 1, "ended", 2, "ended"]


async def test_a_task_is_waited_for_and_its_result_or_error_arrives(story: Story) -> None:
    async def bring(result: int) -> int:
        if not result:
            raise ValueError("nothing to bring")
        return result

    good, bad = (asyncio.create_task(bring(number)) for number in (1, 0))
    story.start(story.waiting(wait_for_task(good), wait_for_task(bad)))
    await asyncio.wait([good, bad])
    await asyncio.sleep(0)
    assert [str(event) for event in story.events] == ["1", "nothing to bring", "ended"]


async def test_a_task_goes_on_when_nobody_waits_for_it_any_more(story: Story) -> None:
    gate = asyncio.Event()
    done: list[bool] = []

    async def claim() -> None:
        await gate.wait()
        done.append(True)

    task = asyncio.create_task(claim())
    story.start(story.waiting(wait_for_task(task)))
    story.stepper.throw(ValueError("the client left"))
    gate.set()
    await task
    assert done == [True]
