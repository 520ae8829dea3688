"""What the processes of former configurations have counted, told on under the present one.

    cells of a former configuration ── its last worker has ended ──> settled, by name ──┐
    cells of one whose workers still finish what they began ────────────────────────────┴──> the last block of the present cells

A configuration lays out its cells by its own routes, so nothing keeps its place from one to the next; names do. The sums are put
into one block more, which whoever adds up the blocks adds up too: no reader knows of former configurations, and no counter falls.
A route that is gone is told no more; when it comes back, it goes on from where it was.

Exemplars are not carried on: they stand for a few minutes anyway. Owns the settled sums; cells are handed in.
"""

from collections.abc import Iterable
from typing import Final

from gateway.telemetry.metrics import KEY_PLACES, SIDES, Layout
from gateway.telemetry.slots import Cells

Blocks = list["memoryview[float]"]
KEPT_KEYS: Final = KEY_PLACES


class FormerCounts:
    """Per supervisor. `retire` cells when others take their place, `settle` them when nobody writes there any more."""

    __slots__ = ("_key_uses", "_retired", "_settled")

    def __init__(self) -> None:
        self._settled: dict[str, list[float]] = {}
        self._key_uses: dict[float, float] = {}
        self._retired: dict[Cells, tuple[Layout, Blocks]] = {}

    def retire(self, layout: Layout, cells: Cells) -> None:
        """Its processes still count. NB: all its blocks but the last, which holds what was carried on to it."""
        self._retired[cells] = (layout, list(cells.every_block())[:-1])

    def settle(self, cells: Cells) -> None:
        """Its last process has ended: keep the sums, let go of the cells."""
        retired = self._retired.pop(cells)
        self._settled = _sums([retired], self._settled)
        self._key_uses = dict(list(_key_uses([retired], self._key_uses).items())[-KEPT_KEYS:])

    def write(self, layout: Layout, block: "memoryview[float]") -> None:
        """Tell it all in the last block of the present cells. Written over and over: no sum in it ever falls."""
        sums = _sums(self._retired.values(), self._settled)
        for name, (at, length) in layout.block.sums().items():
            for place, value in enumerate(sums.get(name, ())[:length], at):
                block[place] = value
        uses = _key_uses(self._retired.values(), self._key_uses)
        for at, (number, tokens) in zip(range(layout.key_uses, layout.key_uses + 2 * KEY_PLACES, 2), uses.items(), strict=False):
            block[at], block[at + 1] = number, tokens
        for side in SIDES:
            block[layout.connections[side]] = sum(
                cells[was.connections[side]] for was, blocks in self._retired.values() for cells in blocks
            )


def _sums(retired: Iterable[tuple[Layout, Blocks]], settled: dict[str, list[float]]) -> dict[str, list[float]]:
    sums = {name: list(values) for name, values in settled.items()}
    for layout, blocks in retired:
        for name, (at, length) in layout.block.sums().items():
            columns = zip(*(cells[at : at + length] for cells in blocks), strict=True)
            counted = [sum(column) for column in columns]
            known = sums.get(name, [0.0] * length)
            sums[name] = [one + other for one, other in zip(known, counted, strict=True)]
    return sums


def _key_uses(retired: Iterable[tuple[Layout, Blocks]], settled: dict[float, float]) -> dict[float, float]:
    uses = dict(settled)
    for layout, blocks in retired:
        for cells in blocks:
            for at in range(layout.key_uses, layout.key_uses + 2 * KEY_PLACES, 2):
                if cells[at]:
                    uses[cells[at]] = uses.get(cells[at], 0.0) + cells[at + 1]
    return uses
