"""The security events: each moves one counter that nothing else moves, is one event of the trail, and is one line."""

import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from audit.auditing import everything
from data_plane import configuration
from deciding import IDP
from issuing import NOW, ec_signer
from signed_in import ANDROID, FIREFOX, HOME, OURS, OwnWorld, SignedIn

from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.config.load import load
from gateway.config.schema import Fingerprint
from gateway.denials import AFTER_ROTATION_S, TAIL_S, Asker, Denials
from gateway.enforce.calm import Calm
from gateway.enforce.notice import Fingerprints
from gateway.enforce.verdict import Allow, Deny, Verdict
from gateway.reasons import Reason
from gateway.revocation.entry import Kind, Revocation
from gateway.store.client import Store
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import Layout, WorkerMetrics
from gateway.telemetry.reading import SupervisorFacts
from gateway.telemetry.slots import Cells

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "security-events.md").read_text()
ALICE = "alice@example.com"


class Watched(OwnWorld):
    """A world whose refusals are told in all three places, and where all three can be read."""

    def tell_through(self, trail: Trail, metrics: WorkerMetrics, exposition: Exposition) -> None:
        self.trail, self.exposition = trail, exposition
        rules = Fingerprint()
        self.known.fingerprint = Fingerprints(rules, self.known.fingerprint.reader, Calm(rules, lambda since: 0))
        self.denials = Denials(metrics, SecurityLog(lambda: self.boot), self.known.fingerprint, OURS, trail)

    def tell(self, verdict: Verdict) -> None:
        assert isinstance(verdict, Deny), verdict
        self.denials.tell(verdict, Asker(HOME, "0" * 32, None), "app", self.now)
        self.denials.tell_noticed(self.now)

    def revoke_session(self, alice: SignedIn) -> None:
        self.apply(Kind.SESSION, Revocation(Kind.SESSION, alice.record.sid, OURS).key, int(self.now))

    def counted(self) -> dict[str, float]:
        self.boot += 1
        text = self.exposition.page("")[0].decode()
        return {series: float(value) for series, value in re.findall(r"^(gateway_\w+_total(?:\{.*\})?) (\S+)$", text, re.M)}


@pytest.fixture
async def world(tmp_path: Path, store: Store) -> AsyncIterator[Watched]:
    layout = Layout.of(load(configuration(tmp_path, "http://127.0.0.1:1")).config)
    cells = Cells.create(layout.block, 2)
    world = Watched()
    facts = SupervisorFacts(running=1, configured=1, restarts=0, is_store_up=True)
    exposition = Exposition(layout, cells, 2.0, lambda: facts, lambda: world.boot)
    trail = Trail(store, Clock(), max_length=10_000, keep_s=3600)
    world.tell_through(trail, WorkerMetrics(layout, cells.block(0)), exposition)
    yield world
    cells.close()


def replayed(world: Watched) -> None:
    alice = world.sign_in()
    world.revoke_session(alice)
    world.now += TAIL_S + 1
    world.tell(world.decides(alice))


def looping(world: Watched) -> None:
    token = world.token(sub="alice", jti="one")
    world.now += 3600
    for _ in range(10):
        world.tell(world.verdict(token))


def refreshed_late(world: Watched) -> None:
    alice = world.sign_in()
    world.revoke_session(alice)
    world.now += TAIL_S + 1
    world.tell(world.decides(alice, access=None))


def from_another_device(world: Watched) -> None:
    alice = world.sign_in()
    world.tell(world.decides(alice, agent=ANDROID))


def flooded(world: Watched) -> None:
    world.denials.tell_flood("account", ALICE, "203.0.113.0/24", "0" * 32, world.now)


def forged(world: Watched) -> None:
    alice = world.sign_in()
    world.denials.keys_changed(OURS, world.now)
    world.tell(world.decides(alice, access=alice.minted.access[:-8] + b"AAAAAAAA"))


def reused(world: Watched) -> None:
    alice = world.sign_in()
    verdict = world.decides(alice, bearer=alice.minted.access)
    world.tell(Deny(Reason.REFRESH_REUSED, "", verdict.token))  # type: ignore[union-attr]


def admitted_meanwhile(world: Watched) -> None:
    alice = world.sign_in()
    verdict = world.decides(alice)
    assert isinstance(verdict, Allow) and verdict.token
    world.known.unchecked.note(verdict.token, "app", world.now, world.boot + 1)
    world.now += 1
    world.denials.look_again(world.known, world.now)  # no proof of freshness was asked for since
    world.apply(Kind.SESSION, Revocation(Kind.SESSION, alice.record.sid, OURS).key, int(world.now) - 1)
    world.view.proven_at = world.boot + 1
    for _ in range(2):
        world.denials.look_again(world.known, world.now)


EVENTS: dict[str, tuple[Callable[[Watched], None], set[str], list[str], list[str]]] = {
    "a": (
        replayed,
        {'gateway_revoked_use_total{age="replay",kind="session"}'},
        ["replay"],
        [f"Token revoked rejected sub={ALICE} jti="],
    ),
    "b": (
        looping,
        {"gateway_expired_token_loops_total"},
        ["expired-loop", "refusal", "refusal"],
        ["Expired token in a loop sub=alice jti=one "],
    ),
    "c": (
        refreshed_late,
        {'gateway_refreshes_total{outcome="revoked"}', 'gateway_revoked_use_total{age="replay",kind="session"}'},
        ["refresh-after-revocation", "replay"],
        ["Refresh after revocation rejected sub=", "Token revoked rejected sub="],
    ),
    "d": (
        from_another_device,
        {'gateway_fingerprint_mismatches_total{action="deny",signal="device"}'},
        ["fingerprint", "refusal"],
        [f"Session used by another client sub={ALICE} sid="],
    ),
    "e": (
        flooded,
        {'gateway_login_floods_total{by="account"}'},
        ["login-flood"],
        [f"Failed logins by the hundred by=account user={ALICE} count=100 window=600s client_network=203.0.113.0/24 "],
    ),
    "f": (
        forged,
        {'gateway_signature_failures_total{keys="rotated",reason="bad-signature",signer="own"}'},
        ["signature-failure"],
        [f"Token signature mismatch iss={OURS} kid="],
    ),
    "h": (
        admitted_meanwhile,
        {'gateway_admitted_although_revoked_total{kind="session"}'},
        ["admitted-although-revoked"],
        [f"Admitted although revoked sub={ALICE} jti="],
    ),
    "g": (reused, set(), ["refresh-reuse"], ["Refresh after revocation rejected sub="]),  # its rotation counted it
}


@pytest.mark.parametrize("which", EVENTS)
async def test_each_is_counted_recorded_and_written_once(
    world: Watched, store: Store, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    happen, counters, events, lines = EVENTS[which]
    before = world.counted()
    with caplog.at_level(logging.WARNING):
        happen(world)
    after = world.counted()
    assert {series for series, value in after.items() if value > before.get(series, 0.0)} == counters
    assert sum(after.values()) - sum(before.values()) == len(counters), "once each"
    await world.trail.close()
    assert sorted(str(one.event.action) for one in await everything(store)) == events
    assert sorted(caplog.messages) == sorted(line for line in caplog.messages if line.startswith(tuple(lines)))
    assert len(caplog.messages) == len(lines)


@pytest.mark.parametrize("which", EVENTS)
def test_the_page_tells_them(which: str) -> None:
    row = re.search(rf"^\| {which} \| .*$", PAGE, re.M)
    assert row, which
    _, counters, events, lines = EVENTS[which]
    for named in (
        *counters,
        events[0],
        *(" ".join(line.split(" sub=")[0].split(" by=")[0].split(" iss=")[0:1]) for line in lines[:1]),
    ):
        assert named.partition("{")[0] in row[0], named


async def test_the_rest_of_a_loop_is_one_refusal_more(world: Watched, store: Store) -> None:
    looping(world)
    await world.trail.close()
    told = {(str(one.event.action), one.event.count, one.event.token_id) for one in await everything(store)}
    assert told == {("refusal", 1, "one"), ("refusal", 9, ""), ("expired-loop", 1, "one")}


async def test_a_tail_alarms_nobody(world: Watched, store: Store) -> None:
    alice = world.sign_in()
    world.revoke_session(alice)
    before = world.counted()
    world.tell(world.decides(alice, access=None))
    grown = {series for series, value in world.counted().items() if value > before.get(series, 0.0)}
    assert grown == {'gateway_revoked_use_total{age="tail",kind="session"}'}
    await world.trail.close()
    assert [str(one.event.action) for one in await everything(store)] == ["refusal"]


def signatures(world: Watched) -> dict[str, float]:
    return {series: value for series, value in world.counted().items() if "signature" in series and value}


def test_a_token_of_a_retired_key_is_a_signature_failure_after_a_rotation(world: Watched) -> None:
    alice = world.sign_in()
    key = world.ring.signing
    assert key is not None
    world.apply(Kind.KEY, Revocation(Kind.KEY, key.kid, OURS, thumbprint=key.thumbprint).key, int(world.now))
    world.tell(world.decides(alice))
    assert signatures(world) == {}, "what was on its way"
    world.now += TAIL_S + 1
    world.tell(world.decides(alice))
    assert signatures(world) == {'gateway_signature_failures_total{keys="rotated",reason="retired-key",signer="own"}': 1}


@pytest.mark.parametrize(
    ("ago_s", "keys"), [(None, "settled"), (0, "rotated"), (AFTER_ROTATION_S - 1, "rotated"), (AFTER_ROTATION_S, "settled")]
)
def test_what_another_issuers_keys_did_not_sign_is_told_by_when_they_changed(
    world: Watched, ago_s: float | None, keys: str
) -> None:
    if ago_s is not None:
        world.denials.keys_changed(IDP, world.now - ago_s)
    world.denials.keys_changed(OURS, world.now)
    world.tell(world.verdict(world.token(header={"kid": "another"})))
    assert signatures(world) == {f'gateway_signature_failures_total{{keys="{keys}",reason="unknown-key",signer="other"}}': 1}


def test_a_client_chooses_no_label(world: Watched) -> None:
    series = set(world.counted())
    world.provider.signer = replace(ec_signer("x" * 100))
    for claims in ({"iss": OURS}, {"iss": "https://elsewhere.example"}, {"sub": "a" * 200}):
        verdict = world.verdict(world.token(header={"kid": f"k{len(claims)}"}, **claims))
        world.tell(verdict)
    world.tell(world.decides(world.sign_in(), agent=f"{FIREFOX} {'x' * 500}", bearer=b"e.y.J"))
    assert set(world.counted()) == series


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_another_client_is_told_with_what_was_done(world: Watched, caplog: pytest.LogCaptureFixture, mode: str) -> None:
    rules = Fingerprint(mode=mode)  # type: ignore[arg-type]
    world.known.fingerprint = Fingerprints(rules, world.known.fingerprint.reader, Calm(rules, lambda since: 0))
    world.denials._fingerprints = world.known.fingerprint
    alice = world.sign_in()
    with caplog.at_level(logging.WARNING):
        world.decides(alice, address="198.51.100.9")
        world.denials.tell_noticed(world.now)
    action = "alert" if mode == "enforce" else "observe"
    assert caplog.messages == [
        f"Session used by another client sub={ALICE} sid={alice.record.sid} signal=network action={action}"
        " device=Firefox|Linux|desktop client=198.51.100.9"
    ]


def test_what_is_remembered_of_rotations_is_bounded_by_the_configuration(world: Watched) -> None:
    for number in range(100):
        world.denials.keys_changed(IDP, NOW + number)
    assert len(world.denials._rotated) == 1
