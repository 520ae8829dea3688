"""Reading all facts at once, in pages, while the log goes on.

The reader notes the head, reads the pages, then tails the log from the head it noted. What changed in between shows in
a page or in the tail or in both, and the view is a join, so all three are the same. A scan returns every key that was
there from its first to its last page; keys may come twice. Pages are small enough to be merged in a few milliseconds,
and between two the event loop runs.

A page of the store is its facts one behind the other, 81 bytes each, numbers big endian:

    key 16 │ value 8 │ expires 8 │ sequence 8 │ lifted 8 │ kind 1 │ not-before to fold into 16 │ newest revocation 16
"""

from collections.abc import AsyncIterator, Iterator
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple, cast

from gateway.errors import StoreUnavailable
from gateway.revocation.keys import KEYS, PAGE
from gateway.revocation.view import Fact
from gateway.store.client import Store
from gateway.store.scripts import run_script

PAGE_FACTS: Final = 1000
_ROW: Final = Struct(">16sQQQQB16s16x")


class Page(NamedTuple):
    """Some facts, and the store's time when they were read. The facts can be gone through once."""

    facts: Iterator[Fact]
    store_time: float


async def read_pages(store: Store, epoch: str, run_id: str) -> AsyncIterator[Page]:
    """All facts of the epoch. Raises `StoreUnavailable` when the store is not the same run of the same epoch to the end."""
    cursor = b"0"
    while True:
        cursor, page = _read_page(await run_script(store, PAGE, KEYS, [cursor, PAGE_FACTS]), epoch, run_id)
        yield page
        if cursor == b"0":
            return


def _read_page(raw: Any, epoch: str, run_id: str) -> tuple[bytes, Page]:
    try:
        page_run, page_epoch, cursor, rows, store_time = raw
        facts = cast("Iterator[Fact]", _ROW.iter_unpack(rows))  # the cells of a row are the fields of a Fact
        page = Page(facts, float(store_time))
        is_same = page_run.decode() == run_id and page_epoch.decode() == epoch
    except (ValueError, TypeError, AttributeError, StructError) as error:
        raise StoreUnavailable("a page of the snapshot cannot be read") from error
    if not is_same:
        raise StoreUnavailable("the store changed while the snapshot was read")
    return cursor, page
