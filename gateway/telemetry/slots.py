"""Counters in shared memory: one float64 cell per number, one block of cells per process, one writer per block.

    cells   0                    512                512 + size           512 + n·size
            ┌────────────────────┬──────────────────┬────────────────────┬── … ──────────────────┬────────────────────┐
            │ header             │ block 0          │ block 1            │ block n               │ block n + 1        │
            │ magic, fingerprint │ worker 0         │ worker 1           │ the supervisor itself │ what is carried on │
            └────────────────────┴──────────────────┴────────────────────┴───────────────────────┴────────────────────┘
    block   0                    gauges
            ┌────────────────────┬────────────────────────────────────────┐
            │ gauges             │ counters                               │
            │ set to 0 at start  │ never reset: the block belongs to the  │
            │                    │ index, not to the process behind it    │
            └────────────────────┴────────────────────────────────────────┘

Counting is `cells[i] += 1.0` and costs 0.05 µs; prometheus_client's own files for several processes cost 0.7 µs to
1.4 µs per count and stay behind. It needs no lock: an aligned float64 is written in one piece, and no cell has two
writers. The supervisor only reads (and clears the gauges of a worker it has buried), so the sums grow monotonically
whatever happens to the workers.

The memory is a memfd: it has no name, is inherited, and is gone with the last process. It is sealed against
resizing, so a broken worker cannot cut it short under the supervisor (a read beyond the end would be SIGBUS).

Both sides compute where a number lives from the same names. The fingerprint of these names is in the header: a worker of another
configuration, or of another version of this program, is refused instead of counting into wrong cells. A new configuration has
cells of its own, and what was counted before is carried on by name (`former_counts.py`).

This file knows cells and blocks, not what they count: that is `metrics.py`.
"""

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterable, Mapping
from typing import Final, Self

from gateway.errors import GatewayError

CELL_BYTES: Final = 8
# Header and blocks are whole pages, so two workers on two cores never share a cache line (nor an adjacent-line prefetch).
PAGE_CELLS: Final = 4096 // CELL_BYTES
HEADER_CELLS: Final = PAGE_CELLS
MISMATCH: Final = "the supervisor runs another version of this program, or another configuration: restart the gateway"
MAGIC: Final = 7_519_006_750.0  # RFC 7519 and RFC 6750; exactly representable, as every integer below 2^53


class SlotsMismatch(GatewayError):
    """The shared cells were laid out for another configuration than the one this process has read."""


class Block:
    """Where each number of a block lives, found by name. Gauges first: they are cleared in one piece.

    Names are added in a fixed order; asking for the same name again gives the same place, so two routes that share a
    label share their cells.
    """

    __slots__ = ("_counters", "_gauges", "_is_closed", "_sums", "gauge_cells", "size")

    def __init__(self) -> None:
        self._gauges: dict[str, int] = {}
        self._counters: dict[str, int] = {}
        self._sums: dict[str, tuple[int, int]] = {}
        self._is_closed = False
        self.gauge_cells = 0
        self.size = 0

    def gauge(self, name: str) -> int:
        """Reserve one cell that is cleared when its worker starts."""
        assert not self._is_closed and not self._counters, "gauges come before counters"
        if name not in self._gauges:
            self._gauges[name] = self.gauge_cells
            self.gauge_cells += 1
            self.size += 1
        return self._gauges[name]

    def counters(self, name: str, length: int = 1, *, is_sum: bool = True) -> int:
        """Reserve `length` neighbouring cells that are never cleared; the first one's place.

        `is_sum`: those of two processes are told together by adding them up.
        """
        assert not self._is_closed
        if name not in self._counters:
            self._counters[name] = self.size
            if is_sum:
                self._sums[name] = (self.size, length)
            self.size += length
        return self._counters[name]

    def gauges(self) -> Mapping[str, int]:
        """The place of each gauge, by its name."""
        return self._gauges

    def sums(self) -> Mapping[str, tuple[int, int]]:
        """Place and length of all counters that may be added up, by their name."""
        return self._sums

    def close(self) -> None:
        """Round the size up to whole pages; nothing can be added afterwards."""
        self._is_closed = True
        self.size = -(-self.size // PAGE_CELLS) * PAGE_CELLS

    def fingerprint(self) -> float:
        """48 bits of a hash over every name and place: equal only when both sides agree on all of them."""
        names = "\n".join(f"{name}={at}" for name, at in (*self._gauges.items(), *self._counters.items()))
        digest = hashlib.blake2b(f"{self.size}\n{names}".encode(), digest_size=6).digest()
        return float(int.from_bytes(digest, "big"))


class Cells:
    """The shared memory itself. Its owner closes it; blocks handed out before stay readable until they are dropped."""

    __slots__ = ("_memory", "block_size", "blocks", "fd")

    def __init__(self, fd: int, block: Block, blocks: int) -> None:
        self.fd = fd
        self.block_size = block.size
        self.blocks = blocks
        size = os.fstat(fd).st_size
        if size != _bytes(block, blocks):
            raise SlotsMismatch(MISMATCH)
        self._memory = memoryview(mmap.mmap(fd, size)).cast("d")

    @classmethod
    def create(cls, block: Block, blocks: int) -> Self:
        """Make the memory, all zero, for `blocks` processes."""
        fd = os.memfd_create("gateway-cells", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _bytes(block, blocks))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            cells = cls(fd, block, blocks)
        except OSError:
            os.close(fd)
            raise
        cells._memory[0] = MAGIC
        cells._memory[1] = block.fingerprint()
        return cells

    @classmethod
    def attach(cls, fd: int, block: Block, blocks: int) -> Self:
        """Map the inherited memory. Raises SlotsMismatch when it was laid out from another configuration."""
        cells = cls(fd, block, blocks)
        if cells._memory[0] != MAGIC or cells._memory[1] != block.fingerprint():
            raise SlotsMismatch(MISMATCH)
        return cells

    def block(self, index: int) -> "memoryview[float]":
        """The cells of one process, writable."""
        if not 0 <= index < self.blocks:
            raise IndexError(index)
        start = HEADER_CELLS + index * self.block_size
        return self._memory[start : start + self.block_size]

    def every_block(self) -> Iterable["memoryview[float]"]:
        return map(self.block, range(self.blocks))

    def close(self) -> None:
        """Give the descriptor back. The mapping goes when the last block is dropped."""
        os.close(self.fd)


def _bytes(block: Block, blocks: int) -> int:
    return (HEADER_CELLS + blocks * block.size) * CELL_BYTES
