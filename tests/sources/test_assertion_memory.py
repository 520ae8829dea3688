"""How long an assertion is kept and how long it lives: the rules of `proxy/assertion.py`, at any time that a test likes."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from gateway.enforce.verified import Verified
from gateway.errors import StoreUnavailable
from gateway.proxy import assertion as module
from gateway.proxy.assertion import Assertions
from gateway.revocation.view import View
from gateway.routes.route import Access, OnOutage, Route
from gateway.sessions.minting import Mint
from gateway.tokens.ring import Ring, new_key

NOW = 1_800_000_000.0
APP = Route("app", b"/", "app", Access.REQUIRED)
OTHER = Route("other", b"/other/", "app", Access.REQUIRED)


def token(shown_as: bytes = b"a.b.c", lives_s: float = 300.0) -> Verified:
    return Verified(
        issuer="https://shop.example", subject="sub-1", user="alice", groups=("staff",), name=None, email=None, token_id="t-1",
        session="s-1", version=1, key_id="k", thumbprint="", algorithm="ES256", issued_at=NOW, not_before=None,
        expires_at=NOW + lives_s, usable_from=NOW, usable_until=NOW + lives_s, generation=0, shown_as=shown_as,
    )  # fmt: skip


@dataclass
class Moment:
    """What an assertion reads of the plane: two clocks, and how old the replica's proof is."""

    wall_s: float = NOW
    boot_s: float = 1000.0
    store_offset_s: float = 0.0
    view: View = field(default_factory=lambda: View(1000))

    def __post_init__(self) -> None:
        self.view.proven_at = self.boot_s

    @property
    def plane(self) -> Any:
        clock = SimpleNamespace(wall=lambda: self.wall_s, boot=lambda: self.boot_s, store_offset_s=self.store_offset_s)
        return SimpleNamespace(clock=clock, known=SimpleNamespace(replica=self.view, max_staleness_s=2.0, stale_limit_s=300.0))

    def later(self, seconds: float, *, is_proven: bool = True) -> "Moment":
        self.wall_s += seconds
        self.boot_s += seconds
        if is_proven:
            self.view.proven_at = self.boot_s
        return self


@pytest.fixture
def mint() -> Mint:
    made = Mint("https://shop.example", "gateway", lambda sid: "csrf")
    key = new_key("ES256", NOW)
    made.ring = Ring().with_next(key, NOW).promote(key.kid, NOW)
    return made


@pytest.fixture
def assertions(mint: Mint) -> Assertions:
    return Assertions("X-Gateway-Assertion", mint)


def claims_of(line: bytes) -> dict[str, Any]:
    name, _, value = line.partition(b": ")
    assert name == b"X-Gateway-Assertion" and value.endswith(b"\r\n")
    return jwt.decode(value.strip(), options={"verify_signature": False})


def test_it_lives_a_minute_and_is_made_anew_after_half_of_it(assertions: Assertions) -> None:
    moment, alice = Moment(), token()
    first = assertions.line(alice, APP, moment.plane)
    claims = claims_of(first)
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 60)
    assert assertions.line(alice, APP, moment.later(29.9).plane) is first
    second = claims_of(assertions.line(alice, APP, moment.later(0.2).plane))
    assert (second["iat"], second["exp"]) == (NOW + 30, NOW + 90)


def test_a_backend_always_gets_one_that_lives_for_half_a_minute_more(assertions: Assertions) -> None:
    moment, alice = Moment(), token(lives_s=3600)
    for _ in range(200):
        claims = claims_of(assertions.line(alice, APP, moment.later(1.7).plane))
        assert claims["exp"] - moment.wall_s >= 29


def test_it_never_outlives_the_token(assertions: Assertions) -> None:
    moment, alice = Moment(), token(lives_s=100)
    for _ in range(99):
        claims = claims_of(assertions.line(alice, APP, moment.later(1.0).plane))
        assert claims["exp"] <= NOW + 100 + 1


def test_it_is_kept_per_token_and_route(assertions: Assertions) -> None:
    moment = Moment()
    alice, again, bob = token(), token(), token(b"d.e.f")
    lines = [assertions.line(one, route, moment.plane) for one in (alice, bob) for route in (APP, OTHER)]
    assert len(set(lines)) == 4
    assert [assertions.line(one, route, moment.plane) for one in (alice, bob) for route in (APP, OTHER)] == lines
    assert assertions.line(again, APP, moment.plane) != lines[0], "the same bytes, verified anew: groups may have changed"


def test_its_times_are_the_stores(assertions: Assertions) -> None:
    """As those of our tokens: all workers of all gateways agree on them [T6]."""
    claims = claims_of(assertions.line(token(), APP, Moment(store_offset_s=5.0).plane))
    assert (claims["iat"], claims["exp"]) == (NOW + 5, NOW + 65)


def test_B5_on_a_stale_replica_it_lives_no_longer_than_the_route_would(assertions: Assertions) -> None:
    stale = Route("stale", b"/", "app", Access.REQUIRED, on_outage=OnOutage.STALE)
    moment = Moment().later(280.0, is_proven=False)
    claims = claims_of(assertions.line(token(lives_s=3600), stale, moment.plane))
    assert claims["exp"] - claims["iat"] == 20
    allow = Route("allow", b"/", "app", Access.REQUIRED, on_outage=OnOutage.ALLOW)
    claims = claims_of(assertions.line(token(lives_s=3600), allow, moment.plane))
    assert claims["exp"] - claims["iat"] == 60


def test_T4_what_was_signed_before_the_keys_changed_is_forgotten(assertions: Assertions, mint: Mint) -> None:
    moment, alice = Moment(), token()
    before = assertions.line(alice, APP, moment.plane)
    key = new_key("ES256", NOW)
    mint.ring = mint.ring.with_next(key, NOW).promote(key.kid, NOW)
    assertions.forget()
    after = assertions.line(alice, APP, moment.plane)
    assert jwt.get_unverified_header(after.partition(b": ")[2].strip())["kid"] == key.kid
    assert after != before


def test_without_a_key_nothing_is_said(assertions: Assertions, mint: Mint) -> None:
    mint.ring = Ring()
    with pytest.raises(StoreUnavailable):
        assertions.line(token(), APP, Moment().plane)


def test_the_memory_is_bounded(assertions: Assertions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", 10)
    moment = Moment()
    for number in range(100):
        assertions.line(token(b"%d" % number), APP, moment.plane)
        assert len(assertions._kept) <= 10
