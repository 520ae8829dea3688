"""Cells in shared memory: two processes, one layout."""

import subprocess
import sys

import pytest

from gateway.telemetry.slots import PAGE_CELLS, Block, Cells, SlotsMismatch


def layout(*counters: str) -> Block:
    block = Block()
    block.gauge("heartbeat")
    for name in counters:
        block.counters(name, 3)
    block.close()
    return block


def test_gauges_come_first_and_a_name_has_one_place():
    block = Block()
    assert [block.gauge("a"), block.gauge("b"), block.gauge("a")] == [0, 1, 0]
    assert [block.counters("c", 4), block.counters("d"), block.counters("c", 4)] == [2, 6, 2]
    block.close()
    assert block.gauge_cells == 2
    assert block.size == PAGE_CELLS


def test_nothing_is_added_to_a_closed_block():
    block = layout("requests")
    with pytest.raises(AssertionError):
        block.counters("late")


def test_two_mappings_of_one_memory_see_each_other_and_blocks_do_not_overlap():
    block = layout("requests")
    mine = Cells.create(block, 2)
    theirs = Cells.attach(mine.fd, layout("requests"), 2)
    theirs.block(1)[1] += 5.0
    assert [cells[1] for cells in mine.every_block()] == [0.0, 5.0]
    mine.block(0)[block.size - 1] = 7.0
    assert theirs.block(1)[0] == 0.0
    with pytest.raises(IndexError):
        mine.block(2)
    mine.close()


@pytest.mark.parametrize("names", [("requests", "more"), ("renamed",)])
def test_a_worker_with_another_configuration_is_refused(names: tuple[str, ...]):
    mine = Cells.create(layout("requests"), 1)
    with pytest.raises(SlotsMismatch, match="another version"):
        Cells.attach(mine.fd, layout(*names), 1)
    mine.close()


def test_a_worker_that_counts_on_another_number_of_workers_is_refused():
    mine = Cells.create(layout("requests"), 2)
    with pytest.raises(SlotsMismatch):
        Cells.attach(mine.fd, layout("requests"), 3)
    mine.close()


def test_the_memory_cannot_be_cut_short_by_another_process():
    mine = Cells.create(layout("requests"), 1)
    cut = subprocess.run(
        [sys.executable, "-c", f"import os; os.ftruncate({mine.fd}, 0)"],
        pass_fds=[mine.fd],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in cut.stderr
    assert mine.block(0)[0] == 0.0
    mine.close()


def test_another_process_counts_into_its_block():
    mine = Cells.create(layout("requests"), 1)
    program = f"""
from gateway.telemetry.slots import Block, Cells
block = Block(); block.gauge("heartbeat"); at = block.counters("requests", 3); block.close()
Cells.attach({mine.fd}, block, 1).block(0)[at] += 1.0
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], pass_fds=[mine.fd], check=True)
    assert mine.block(0)[1] == 2.0
    mine.close()
