"""A gateway's knowledge for tests of the decision: real keys, a real replica, a clock that the test sets.

world = World()                                   one issuer, a live and empty replica, the time is NOW
world.ask(token=world.token(sub="alice"))         the verdict on a required route
world.revoke(Kind.USER, "alice")                  an entry of the log arrives
"""

from dataclasses import dataclass, field, replace
from typing import Any

from issuing import NOW, Provider, Signer, key_set, rsa_signer

from gateway.config.schema import Fingerprint
from gateway.enforce.calm import Calm
from gateway.enforce.csrf import Csrf
from gateway.enforce.decide import Done, decide
from gateway.enforce.device import Devices
from gateway.enforce.issuer import Issuer
from gateway.enforce.known import Known
from gateway.enforce.network import Networks
from gateway.enforce.notice import Fingerprints
from gateway.enforce.signs import SignReader
from gateway.enforce.verdict import Allow, Deny, Verdict
from gateway.enforce.verified import Verified
from gateway.revocation.entry import PERMANENT, Entry, Kind, Revocation
from gateway.revocation.state import Event
from gateway.revocation.view import View
from gateway.routes.route import Access, Route
from gateway.tokens.jwk import parse_key_set
from gateway.wire.head import RequestHead

IDP = "https://idp.example"
OTHER_IDP = "https://other.example"
OURS = "https://gateway.example"
BOOT = 5_000.0
MAX_STALENESS_S = 2.0
STALE_LIMIT_S = 300.0


def route(access: Access = Access.REQUIRED, **changes: Any) -> Route:
    return replace(Route("app", b"/", "app", access), **changes)


REQUIRED = route()


def trusting(name: str, *signers: Signer, **settings: Any) -> Issuer:
    """An issuer whose keys are known."""
    algorithms = {signer.algorithm for signer in signers}
    issuer = Issuer(name, frozenset(("shop",)), frozenset(algorithms), **settings)
    issuer.adopt(parse_key_set(key_set(*signers), sorted(algorithms)))
    return issuer


def live_view() -> View:
    view = View()
    view.meet(Event.DECLARED)
    view.meet(Event.GRANTED)
    view.proven_at = BOOT
    return view


def verdict_name(verdict: Verdict) -> str:
    """A verdict in one word: its reason, `allow`, `stale` or `claim`."""
    if isinstance(verdict, Deny):
        return verdict.reason.value
    if isinstance(verdict, Allow):
        return "stale" if verdict.is_stale else "allow"
    return "claim"


@dataclass
class World:
    """Everything a decision rests on."""

    issuers: dict[str, Issuer] = field(default_factory=lambda: {IDP: trusting(IDP, rsa_signer())})
    view: View = field(default_factory=live_view)
    now: float = NOW
    boot: float = BOOT
    sequence: int = 0

    def __post_init__(self) -> None:
        self.provider = Provider(IDP)
        rules = Fingerprint(foreign="ignore")
        self.known = Known(
            self.view,
            self.issuers,
            max_staleness_s=MAX_STALENESS_S,
            stale_limit_s=STALE_LIMIT_S,
            csrf=Csrf.of(OURS, [], [b"a key"], is_enabled=True),
            fingerprint=Fingerprints(rules, SignReader(Devices(), Networks()), Calm(rules, lambda since: 0)),
            own_issuer=OURS,
            own_audience="gateway",
        )

    def token(self, **claims: Any) -> str:
        """A good token of the first issuer; `header` and claims replace those of a good one."""
        return self.provider.token(**claims)

    def verdict(
        self, token: str | None = None, *, on: Route = REQUIRED, authorization: str | None = None, is_claimed: bool = False
    ) -> Verdict:
        shown = f"Bearer {token}" if token is not None else authorization
        head = RequestHead(b"GET", b"/", b"", 1, [])
        head.authorization = None if shown is None else shown.encode()
        done = Done(is_claimed=is_claimed, is_without_record=True)
        return decide(head, "192.0.2.1", on, self.known, self.now, self.boot, done)

    def ask(self, token: str | None = None, **situation: Any) -> str:
        return verdict_name(self.verdict(token, **situation))

    def allowed(self, token: str, **situation: Any) -> Verified:
        """The token's record, when it is let through."""
        verdict = self.verdict(token, **situation)
        assert isinstance(verdict, Allow), verdict
        assert verdict.token is not None
        return verdict.token

    def revoke(self, kind: Kind, name: str, issuer: str = IDP, *, value: int = int(NOW), **more: Any) -> Entry:
        """A fact arrives. `value` is the second of the revocation, or the smallest accepted version."""
        revocation = Revocation(kind, name, issuer, **more)
        return self.apply(revocation.kind, revocation.key, value)

    def lift(self, entry: Entry) -> None:
        """The fact is lifted, and nothing remains of it."""
        self.apply(Kind.LIFT, entry.key, 0)

    def apply(self, kind: Kind, key: bytes, value: int) -> Entry:
        self.sequence += 1
        number = self.sequence
        entry = Entry(number, f"id-{number}", f"id-{number - 1}", kind, key, value, PERMANENT, f"revocation-{number}")
        assert self.view.apply(entry)
        return entry
