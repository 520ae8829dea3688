"""Reading all facts at once, in pages, while the log goes on.

The reader notes the head, reads the pages, then tails the log from the head it noted. What changed in between shows in a page or in
the tail or in both, and the view is a join, so all three are the same. A scan returns every key that was there from its first to its
last page; keys may come twice. Pages are small enough to be merged in a few milliseconds, and between two the event loop runs.

A page of the store is its facts one behind the other, 81 bytes each, numbers big endian:

    key 16 │ value 8 │ expires 8 │ sequence 8 │ lifted 8 │ kind 1 │ not-before to fold into 16 │ newest revocation 16
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.revocation.entry import KINDS, Kind
from gateway.revocation.keys import KEYS, PAGE
from gateway.revocation.view import Fact
from gateway.store.client import Store
from gateway.store.scripts import run_script

PAGE_FACTS: Final = 2000
_ROW: Final = Struct(">16sQQQQB16s16x")
_USER: Final = KINDS.index(Kind.USER) + 1


@dataclass(frozen=True, slots=True)
class Page:
    """Some facts, and the not-befores among them that lie in the future and must not be applied [L7]."""

    facts: tuple[Fact, ...]
    poisoned: tuple[Fact, ...]


async def read_pages(store: Store, epoch: str, run_id: str, largest_skew_s: float) -> AsyncIterator[Page]:
    """All facts of the epoch. Raises `StoreUnavailable` when the store is not the same run of the same epoch to the end."""
    cursor = b"0"
    while True:
        raw = await run_script(store, PAGE, KEYS, [cursor, PAGE_FACTS])
        try:
            page_run, page_epoch, cursor, rows, now = raw
            page = _read_page(rows, now + largest_skew_s)
        except (ValueError, TypeError, StructError) as error:
            raise StoreUnavailable("a page of the snapshot cannot be read") from error
        if page_run.decode() != run_id or page_epoch.decode() != epoch:
            raise StoreUnavailable("the store changed while the snapshot was read")
        yield page
        if cursor == b"0":
            return


def _read_page(rows: bytes, latest_not_before: float) -> Page:
    poisoned: list[Fact] = []
    facts = tuple(_sound(rows, latest_not_before, poisoned))
    return Page(facts, tuple(poisoned))


def _sound(rows: bytes, latest_not_before: float, poisoned: list[Fact]) -> Iterator[Fact]:
    for key, value, expires, sequence, lifted, kind, fold_into in _ROW.iter_unpack(rows):
        if kind == _USER and value > latest_not_before:
            poisoned.append(Fact(key, value, expires, sequence, lifted, fold_into))
        else:
            yield Fact(key, value, expires, sequence, lifted, fold_into)
