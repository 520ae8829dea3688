"""What tests of the audit trail share: a clock that stands still, events, and a look at everything the store holds."""

from dataclasses import replace

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.read import Query, Reader, Recorded
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.store.client import Store, command

NOON = 1_735_732_800.0
NETWORK = "192.0.2.0/24"
ALICE = "alice@example.com"


class StillClock(Clock):
    """Shows what it is set to."""

    def __init__(self, now: float = NOON) -> None:
        super().__init__()
        self.now = now

    def wall(self) -> float:
        return self.now


class Losses:
    """What the callbacks were told."""

    def __init__(self) -> None:
        self.lost = 0
        self.written = 0

    def on_lost(self, events: int) -> None:
        self.lost += events

    def on_written(self, events: int) -> None:
        self.written += events


def login(number: int = 0, **changes: object) -> Event:
    event = Event(NOON + number, Action.LOGIN, Outcome.SUCCESS, user=ALICE, session=f"s{number}", network=NETWORK)
    return replace(event, **changes)  # type: ignore[arg-type]


def trail_of(store: Store, clock: Clock | None = None, losses: Losses | None = None, **options: object) -> Trail:
    losses = losses or Losses()
    settings: dict[str, object] = {"max_length": 10_000, "keep_s": 3600.0, **options}
    return Trail(store, clock or StillClock(), on_lost=losses.on_lost, on_written=losses.on_written, **settings)  # type: ignore[arg-type]


async def everything(store: Store, query: Query | None = None) -> list[Recorded]:
    """All events, oldest first, read in many small pages."""
    found: list[Recorded] = []
    cursor = None
    while True:
        page = await Reader(store).newest(query or Query(), cursor, limit=7)
        found += page.events
        cursor = page.cursor
        if cursor is None:
            return found[::-1]


async def told(store: Store) -> list[tuple[str, str, int]]:
    """Action, reason and count of all events, oldest first."""
    return [(str(one.event.action), one.event.reason, one.event.count) for one in await everything(store)]


async def all_bytes(store: Store) -> bytes:
    """Every key and every value of the whole store."""
    readers = {
        b"stream": ("XRANGE", "-", "+"),
        b"hash": ("HGETALL",),
        b"zset": ("ZRANGE", 0, -1),
        b"string": ("GET",),
    }
    found = [b""]
    for key in await command(store, "KEYS", "*"):
        name, *rest = readers[await _type(store, key)]
        found += [key, repr(await command(store, name, key, *rest)).encode()]
    return b"\n".join(found)


async def _type(store: Store, key: bytes) -> bytes:
    kind = await command(store, "TYPE", key)
    return kind if isinstance(kind, bytes) else kind.encode()
