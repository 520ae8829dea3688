"""What was counted under a former configuration is told on, by name, and never less of it."""

from gateway.telemetry.former_counts import FormerCounts
from gateway.telemetry.metrics import ALLOW, Layout, WorkerMetrics
from gateway.telemetry.slots import Cells


class Former:
    """Cells of two workers under one configuration, with the supervisor's block and that of what is carried on."""

    def __init__(self, *routes: str) -> None:
        self.layout = Layout(routes, ["app"], [], has_exemplars="traced" in routes)
        self.cells = Cells.create(self.layout.block, 4)
        self.one, self.two, self.supervisor = (WorkerMetrics(self.layout, self.cells.block(index)) for index in range(3))

    def serve(self, route: str, times: int) -> None:
        for _ in range(times):
            self.one.route(route).finish(b"GET", 200, ALLOW, None, 0.001, -1.0)

    def told(self, carried: FormerCounts, route: str) -> float:
        """Requests of a route, in all blocks."""
        carried.write(self.layout, self.cells.block(3))
        at, length = self.layout.block.sums()[f"requests {route}"]
        return sum(sum(cells[at : at + length]) for cells in self.cells.every_block())


def test_counts_go_on_under_a_layout_in_which_everything_has_another_place():
    carried, before, after = FormerCounts(), Former("app", "traced"), Former("new", "other", "app")
    before.serve("app", 3)
    carried.retire(before.layout, before.cells)
    assert after.told(carried, "app") == 3
    before.serve("app", 2)  # what it had in hand
    after.serve("app", 1)
    assert after.told(carried, "app") == 6
    carried.settle(before.cells)
    assert after.told(carried, "app") == 6
    assert after.told(carried, "new") == 0


def test_several_generations_that_still_count_are_added_up_once_each_whoever_ends_first():
    carried, generations = FormerCounts(), [Former("app"), Former("app", "new"), Former("app")]
    for generation in generations:
        generation.serve("app", 5)
        generation.told(carried, "app")
        carried.retire(generation.layout, generation.cells)
    present = Former("app")
    assert present.told(carried, "app") == 15
    carried.settle(generations[1].cells)
    generations[0].serve("app", 1)
    assert present.told(carried, "app") == 16
    carried.settle(generations[0].cells)
    carried.settle(generations[2].cells)
    assert present.told(carried, "app") == 16


def test_a_route_that_comes_back_goes_on_from_where_it_was():
    carried, before, without, again = FormerCounts(), Former("shop"), Former("app"), Former("shop")
    before.serve("shop", 4)
    carried.retire(before.layout, before.cells)
    carried.settle(before.cells)
    carried.write(without.layout, without.cells.block(3))
    carried.retire(without.layout, without.cells)
    carried.settle(without.cells)
    assert again.told(carried, "shop") == 4


def test_uses_of_a_signing_key_are_added_up_by_the_key_and_connections_until_they_end():
    carried, before, after = FormerCounts(), Former("app"), Former("app")
    before.one.key_used("first", 2)
    before.two.key_used("second", 3)
    before.two.key_used("first", 1)
    before.one.client_connections(+7)
    carried.retire(before.layout, before.cells)
    carried.write(after.layout, after.cells.block(3))
    block = after.cells.block(3)
    at = after.layout.key_uses
    assert sorted(block[at + 1 : at + 5 : 2]) == [3, 3]
    assert block[after.layout.connections["client"]] == 7
    carried.settle(before.cells)
    carried.write(after.layout, block)
    assert sorted(block[at + 1 : at + 5 : 2]) == [3, 3]
    assert block[after.layout.connections["client"]] == 0


def test_the_supervisor_counts_on_in_new_cells_and_takes_its_gauges_along():
    before, after = Former("app"), Former("new", "app")
    before.supervisor.log_seen(7, 9)
    before.supervisor.log_dropped(2)
    before.supervisor.move(after.layout, after.cells.block(2))
    before.supervisor.log_dropped(1)
    assert before.cells.block(2)[before.layout.log_dropped] == 2
    assert before.cells.block(2)[before.layout.log_epoch] == 0
    block = after.cells.block(2)
    assert (block[after.layout.log_dropped], block[after.layout.log_epoch], block[after.layout.log_sequence]) == (1, 7, 9)
