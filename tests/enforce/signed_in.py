"""Somebody who is signed in at this gateway, for tests of the decision: real keys, real tokens, a record in the worker's memory.

world = OwnWorld()
alice = world.sign_in()
world.asks(alice)                              a GET with her cookies: the verdict in one word
world.asks(alice, "POST", origin="https://evil.example")
world.rotate(alice)                            her session's next generation, as the store would have made it
"""

from dataclasses import dataclass, field, replace
from typing import Any

from deciding import OURS, REQUIRED, World
from deciding import verdict_name as foreign_name
from issuing import NOW

from gateway.enforce.decide import NOTHING_DONE, Done, decide
from gateway.enforce.verdict import NeedsRefresh, NeedsSession, Verdict
from gateway.revocation.entry import Kind, Revocation
from gateway.routes.route import Route
from gateway.sessions.minting import Mint, Minted
from gateway.sessions.model import COOKIE, SECRET_BYTES, Record, new_session_id, new_subject
from gateway.tokens.ring import Ring, new_key
from gateway.wire.head import RequestHead

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"
HOME = "203.0.113.7"
ACCESS_S, REFRESH_S = 300, 86400


def verdict_name(verdict: Verdict) -> str:
    """As `deciding.verdict_name`, and what is asked of the store."""
    if isinstance(verdict, NeedsSession):
        return "needs-session"
    if isinstance(verdict, NeedsRefresh):
        return "needs-refresh" if verdict.barred is None else f"barred: {verdict.barred.reason.value}"
    return foreign_name(verdict)


@dataclass
class SignedIn:
    """One browser: its record and the cookies it holds."""

    record: Record
    minted: Minted


@dataclass
class OwnWorld(World):
    """A world in which this gateway has a key that signs."""

    ring: Ring = field(default_factory=lambda: _ring())

    def __post_init__(self) -> None:
        super().__post_init__()
        self.known.adopt_own(self.ring.key_set())
        self.mint = Mint(OURS, "gateway", self.known.csrf.value_of)
        self.mint.ring = self.ring

    def sign_in(self, *, is_known: bool = True, **changes: Any) -> SignedIn:
        """Alice signs in with Firefox at home; what this worker holds of it is what the store has."""
        sub = new_subject()
        signs = {"network": "203.0.113.0/24", "device": "Firefox|Linux|desktop", "agent": "Firefox on Linux"}
        record = Record(
            sid=new_session_id(sub),
            sub=sub,
            user="alice@example.com",
            version=1,
            groups=("staff",),
            delivery=COOKIE,
            created=self.now,
            ends=self.now + 30 * 86400,
            generation=1,
            used=1,
            rotated_at=self.now,
            access_expires=self.now + ACCESS_S,
            refresh_expires=self.now + REFRESH_S,
            secret=b"s" * SECRET_BYTES,
            revision=1,
            **signs,
        )
        record = replace(record, **changes)
        signed_in = SignedIn(record, self.mint.mint(record))
        if is_known:
            self.fetch(record)
        return signed_in

    def rotate(self, signed_in: SignedIn) -> SignedIn:
        """The next generation, as of now; the worker knows of it, nobody has used it."""
        before = signed_in.record
        record = replace(
            before,
            generation=before.generation + 1,
            used=before.generation,
            rotated_at=self.now,
            access_expires=self.now + ACCESS_S,
            refresh_expires=self.now + REFRESH_S,
            revision=before.revision + 1,
        )
        self.fetch(record)
        return SignedIn(record, self.mint.mint(record))

    def fetch(self, record: Record | None, sid: str = "") -> None:
        """The store's answer arrives in the worker's memory; None: there is no such session."""
        sessions = self.known.sessions
        assert sessions.keep(sessions.begin(sid or record.sid if record is not None else sid), record, self.boot)

    def decides(
        self,
        signed_in: SignedIn | None,
        method: str = "GET",
        *,
        on: Route = REQUIRED,
        access: bytes | None = b"",
        refresh: bytes | None = b"",
        bearer: bytes | None = None,
        address: str = HOME,
        agent: str | None = FIREFOX,
        upgrade: bytes | None = None,
        done: Done = NOTHING_DONE,
        **fields: str,
    ) -> Verdict:
        """The verdict on a request with this browser's cookies. `access=None` leaves one out; fields by name with `_` for `-`."""
        pairs = [(b"User-Agent", agent.encode())] if agent is not None else []
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        head = RequestHead(method.encode(), b"/", b"", 1, pairs)
        head.upgrade = upgrade
        if bearer is not None:
            head.authorization = b"Bearer " + bearer
        if signed_in is not None:
            head.access_cookie = signed_in.minted.access if access == b"" else access
            head.refresh_cookie = signed_in.minted.refresh if refresh == b"" else refresh
        return decide(head, address, on, self.known, self.now, self.boot, done)

    def asks(self, signed_in: SignedIn | None, method: str = "GET", **situation: Any) -> str:
        """The verdict in one word."""
        return verdict_name(self.decides(signed_in, method, **situation))

    def end(self, signed_in: SignedIn) -> None:
        """The session is revoked."""
        self.apply(Kind.SESSION, Revocation(Kind.SESSION, signed_in.record.sid, OURS).key, int(self.now))

    def raise_version(self, signed_in: SignedIn, version: int) -> None:
        """The account's version grows."""
        self.apply(Kind.VERSION, Revocation(Kind.VERSION, signed_in.record.sub, OURS).key, version)


def _ring() -> Ring:
    key = new_key("ES256", NOW)
    return Ring().with_next(key, NOW).promote(key.kid, NOW)
