"""Which use of what was revoked is an alarm, and which is the tail of it [B6]."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from data_plane import configuration
from issuing import NOW
from signed_in import ANDROID, FIREFOX, HOME, OURS, OwnWorld, SignedIn

from gateway.config.load import load
from gateway.denials import MOST_REMEMBERED, TAIL_S, Asker, Denials
from gateway.enforce.verdict import Deny
from gateway.revocation.entry import Entry, Kind, Revocation
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import REFRESH_OUTCOMES, USE_AGES, USE_KINDS, Layout, WorkerMetrics
from gateway.telemetry.slots import Cells
from gateway.wire.head import RequestHead


class Telling(OwnWorld):
    """Refusals of this world are told, and how they were counted can be asked."""

    def tell_through(self, metrics: WorkerMetrics, layout: Layout, cells: "memoryview[float]") -> None:
        self.metrics, self.layout, self.cells = metrics, layout, cells
        self.denials = Denials(metrics, SecurityLog(lambda: self.boot), self.known.fingerprint, OURS)

    def told(self, alice: SignedIn, *, agent: str = FIREFOX, access: bytes | None = b"") -> str:
        """`session tail`: how one more request with these cookies is counted."""
        before = list(self.cells)
        verdict = self.decides(alice, agent=agent, access=access)
        assert isinstance(verdict, Deny), verdict
        client = RequestHead(b"GET", b"/", b"", 1, [(b"User-Agent", agent.encode())])
        self.denials.tell(verdict, Asker(HOME, "id", client), "app", self.now)
        grown = [
            f"{kind} {age}"
            for number, (kind, age) in enumerate((kind, age) for kind in USE_KINDS for age in USE_AGES)
            if self.cells[self.layout.revoked_use + number] > before[self.layout.revoked_use + number]
        ]
        return ", ".join(grown)

    def refreshes(self, outcome: str) -> float:
        return self.cells[self.layout.refreshes + REFRESH_OUTCOMES.index(outcome)]

    def happens(self, kind: Kind, name: str, value: int, *, source: str = "api", device: str = "") -> None:
        """An entry of the log arrives, and everybody who learns from it learns of it."""
        key = Revocation(kind, name, OURS).key
        self.apply(kind, key, value)
        self.denials.learn(
            Entry(
                self.sequence,
                "1-1",
                "",
                kind,
                key,
                value,
                2**40,
                "r",
                name=name,
                source=source,
                device=device,
                appended_at=self.now,
            )
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Telling]:
    layout = Layout.of(load(configuration(tmp_path, "http://127.0.0.1:1")).config)
    cells = Cells.create(layout.block, 1)
    world = Telling()
    world.tell_through(WorkerMetrics(layout, cells.block(0)), layout, cells.block(0))
    yield world
    cells.close()


@pytest.mark.parametrize("kind", [Kind.SESSION, Kind.VERSION])
def test_B6_what_was_on_its_way_is_a_tail_and_what_comes_later_a_replay(world: Telling, kind: Kind) -> None:
    alice = world.sign_in()
    if kind is Kind.SESSION:
        world.happens(kind, alice.record.sid, int(world.now))
    else:
        world.happens(kind, alice.record.sub, 2)
    word = kind.value
    world.now += TAIL_S
    assert world.told(alice) == f"{word} tail"
    world.now += 1
    assert world.told(alice) == f"{word} replay"


def test_B6_after_ones_own_logout_the_same_device_is_a_tail_and_another_a_replay(world: Telling) -> None:
    alice = world.sign_in()
    world.happens(Kind.SESSION, alice.record.sid, int(world.now), source="logout", device="Firefox|Linux|desktop")
    world.now += 100
    assert world.told(alice) == "session tail"
    assert world.told(alice, agent=ANDROID) == "session replay"


def test_B6_a_session_that_somebody_else_ended_is_replayed_by_whoever_shows_it(world: Telling) -> None:
    alice = world.sign_in()
    world.happens(Kind.SESSION, alice.record.sid, int(world.now), source="api")
    world.now += 100
    assert world.told(alice) == "session replay"


def test_a_refresh_after_a_revocation_is_counted_as_one_unless_it_is_a_tail(world: Telling) -> None:
    alice = world.sign_in()
    world.happens(Kind.SESSION, alice.record.sid, int(world.now))
    world.now += TAIL_S
    assert world.told(alice, access=None) == "session tail"
    assert world.refreshes("revoked") == 0
    world.now += 1
    assert world.told(alice, access=None) == "session replay"
    assert world.refreshes("revoked") == 1
    assert world.told(alice) == "session replay"  # by its access token: nobody tried to renew anything
    assert world.refreshes("revoked") == 1


def test_what_is_remembered_is_bounded(world: Telling) -> None:
    alice = world.sign_in()
    world.happens(Kind.SESSION, alice.record.sid, int(world.now), source="logout", device="Firefox|Linux|desktop")
    for number in range(MOST_REMEMBERED + 1):
        world.denials.learn(
            Entry(1, "1-1", "", Kind.SESSION, b"", 0, 0, "r", name=str(number), source="logout", device="x", appended_at=NOW)
        )
    world.now += 100
    assert world.told(alice) == "session replay"
